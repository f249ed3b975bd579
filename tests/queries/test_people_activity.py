"""People by activity in a period, by joining, and by the steps after an invitation."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from random import Random
from typing import Any
from unittest.mock import patch

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from community_directory.calendar import load_zone, today
from community_directory.database import Parameters, connect, engine
from community_directory.errors import InvalidInput
from community_directory.queries import highlights, people
from community_directory.queries.activity import select_activity, union
from community_directory.queries.filter_values import DayPeriod
from community_directory.queries.folding import fold
from community_directory.queries.people import PEOPLE_SORTS
from community_directory.queries.people_activity import ActivityFilters
from community_directory.settings import load_settings
from community_directory.tables import MemberStatus
from tests.conftest import Server, new_database, raw_pool
from tests.queries.cases import undone
from tests.tables import rows
from tests.zones import use_zone

ZONE = "America/Mexico_City"
PEOPLE = 100
DAYS = 150
"""The number of days before today on which something happened."""
ROOMS = (("telegram", "-1001"), ("telegram", "-1002:7"), ("discord", "-1001"))
STEPS = ("joined", "approved", "message", "week4")
STUCK = (*STEPS[:3], "waiting", *(f"waiting_{step}" for step in STEPS[:3]))
Filters = Mapping[str, str]


@dataclass
class Individual:
    """Somebody in the directory, as Python knows them."""

    member_id: str
    status: str
    is_removed: bool
    is_bot: bool
    is_merged: bool
    joined: date | None
    is_approved: bool
    invited: list[date] = field(default_factory=list)
    """The days on which the invitations were created that they accepted."""
    events: list[tuple[date, str, tuple[str, str]]] = field(default_factory=list)
    """The day, the type and the room of each event."""

    @property
    def active(self) -> set[date]:
        return {day for day, kind, _ in self.events if kind in ("MESSAGE", "REACTION", "VOICE")}

    @property
    def is_present(self) -> bool:
        return not (self.is_bot or self.is_removed or self.status == "banned")

    @property
    def is_member(self) -> bool:
        return self.is_present and self.status != "not_member"

    @property
    def is_gone(self) -> bool:
        return (
            self.joined is not None
            and not self.is_bot
            and not self.is_merged
            and not self.is_member
        )

    def days_of(self, week: int) -> set[date]:
        """Return the days of a week after joining."""
        assert self.joined is not None
        return {self.joined + timedelta(days=7 * (week - 1) + number) for number in range(7)}

    def was_active_in(self, week: int) -> bool:
        return self.joined is not None and bool(self.days_of(week) & self.active)

    def has_ended(self, week: int) -> bool:
        return self.joined is not None and max(self.days_of(week)) < today(ZONE)

    def was_active_in_month(self, number: int) -> bool:
        return self.joined is not None and number in {
            _months_between(self.joined, day) for day in self.active
        }

    def has_ended_month(self, number: int) -> bool:
        return self.joined is not None and _months_between(self.joined, today(ZONE)) > number

    def reached(self, step: str) -> bool:
        steps = {
            "joined": self.is_present and bool(self.invited),
            "approved": self.is_approved,
            "message": any(kind == "MESSAGE" for _, kind, _ in self.events),
            "week4": self.was_active_in(4),
        }
        names = list(steps)
        return all(steps[name] for name in names[: names.index(step) + 1])

    def is_stuck(self, step: str) -> bool:
        if step == "waiting":
            return any(self.is_stuck(each) for each in STUCK if each.startswith("waiting_"))
        last = step.removeprefix("waiting_")
        following = STEPS[STEPS.index(last) + 1]
        # Everybody was approved on the day of joining.
        is_waiting = self.status == "pending" if last == "joined" else not self.has_ended(4)
        is_at = self.reached(last) and not self.reached(following)
        return is_at and is_waiting == step.startswith("waiting_")


def _months_between(first: date, last: date) -> int:
    return 12 * (last.year - first.year) + last.month - first.month


class World:
    """All people, under a name that is short in the report of a failure."""

    def __init__(self, found: list[Individual]) -> None:
        self.found = found

    def expected(self, filters: Filters) -> list[str]:
        return [person.member_id for person in self.found if meets(person, filters)]


def noon(day: date) -> datetime:
    return datetime.combine(day, time(12), load_zone(ZONE)).astimezone(UTC)


def make_people() -> list[Individual]:
    """Return people of every kind, at random, but the same ones on the same day."""
    random, now = Random(40), today(ZONE)
    found = []
    for number in range(1, PEOPLE + 1):
        status = random.choice([*MemberStatus, "active", "active"])
        joined = now - timedelta(days=random.randrange(random.choice([21, DAYS, DAYS])))
        has_joined = status != "not_member" or random.random() < 0.4
        person = Individual(
            member_id=f"#{number}",
            status=status,
            is_removed=number > 3 and random.random() < 0.15,
            is_bot=number > 3 and random.random() < 0.07,
            is_merged=False,
            joined=joined if has_joined else None,
            is_approved=has_joined and random.random() < 0.8,
        )
        busy = random.choice([0, 0, 2, 10, 40])
        first, last = sorted(random.randrange(1, DAYS) for _ in range(2))
        kinds = random.choice([["VOICE"], ["JOIN"], ["MESSAGE", "REACTION"], ["MESSAGE", "VOICE"]])
        if busy and random.random() < 0.2:  # they came back after a long time
            person.events.append((now - timedelta(days=3), kinds[0], ROOMS[0]))
            first = min(70 + first, last)
        for _ in range(busy):
            day = now - timedelta(days=random.randrange(first, last + 1))
            person.events.append((day, random.choice(kinds), random.choice(ROOMS)))
        if number > 1 and random.random() < 0.7:
            person.invited = [joined - timedelta(days=random.randrange(4))]
            if random.random() < 0.2:
                person.invited.append(joined - timedelta(days=60))
        found.append(person)
    return found


async def store(pool: asyncpg.Pool, found: list[Individual]) -> None:
    """Store people, their events and invitations, and roll all days up."""
    now = datetime.now(UTC)
    for person in found:
        await rows.member(
            pool,
            status=person.status,
            is_bot=person.is_bot,
            deleted_at=now if person.is_removed else None,
            created_at=now - timedelta(days=200),
        )
        for day, kind, (platform, room_id) in person.events:
            await rows.event(
                pool,
                member_id=person.member_id,
                event_type=kind,
                platform=platform,
                room_id=room_id,
                occurred_at=noon(day),
                event_metadata={"duration_seconds": 600},
            )
        for day in person.invited:
            await rows.invitation(
                pool,
                created_by="#1",
                status="accepted",
                accepted_by=person.member_id,
                accepted_at=now,
                created_at=noon(day),
            )
    await rows.merged_member(pool, merged_into="#1", status="active")
    await pool.execute("DELETE FROM member_milestones")
    await pool.executemany(
        "INSERT INTO member_milestones (member_id, joined_at, approved_at) VALUES ($1, $2, $3)",
        [
            (each.member_id, noon(each.joined), noon(each.joined) if each.is_approved else None)
            for each in found
            if each.joined is not None and not each.is_bot
        ],
    )
    yesterday = today(ZONE) - timedelta(days=1)
    await highlights.roll_up(yesterday - timedelta(days=DAYS), until=yesterday)


@pytest.fixture(scope="module")
def world() -> World:
    return World(make_people())


@pytest.fixture(autouse=True, scope="module")
async def pool(server: Server, template: str, world: World) -> AsyncIterator[asyncpg.Pool]:
    """Yield the database of all tests here, which only read it."""
    with pytest.MonkeyPatch.context() as patched:
        use_zone(patched, ZONE)
        async with (
            new_database(server, template) as url,
            connect(url, min_size=0),
            raw_pool(url) as pool,
        ):
            await store(pool, world.found)
            yield pool
    load_settings.cache_clear()


@pytest.fixture(autouse=True)
def zone(monkeypatch: pytest.MonkeyPatch) -> None:
    use_zone(monkeypatch, ZONE)


def parsed(value: str) -> date:
    if value == "month":
        return today(ZONE).replace(day=1)
    if value.endswith("d"):
        return today(ZONE) - timedelta(days=int(value[:-1]))
    return date.fromisoformat(value)


def count_days(person: Individual, since: date, until: date) -> int:
    return sum(since <= day <= until for day in person.active)


def meets(person: Individual, filters: Filters) -> bool:
    until = parsed(filters.get("until") or "1d")
    since = parsed(filters["since"]) if filters.get("since") else until - timedelta(days=27)
    before = (since - (until - since) - timedelta(days=1), since - timedelta(days=1))
    later, earlier = count_days(person, since, until), count_days(person, *before)
    contributions = sum(
        kind in ("MESSAGE", "REACTION") and since <= day <= until for day, kind, _ in person.events
    )
    rooms = {room for day, _, room in person.events if since <= day <= until}
    activity = {
        "active": later > 0,
        "inactive": later == 0,
        "at_risk": person.is_member and earlier >= 4 and later < earlier / 2,
        "came_back": person.is_present
        and later > 0
        and earlier == 0
        and count_days(person, date.min, before[0]) > 0,
    }
    standing = {
        "present": person.is_present,
        "member": person.is_member,
        "gone": person.is_gone,
        "ever_member": person.is_gone or person.is_member,
        "removed": person.is_removed and not person.is_bot,
    }
    checks: dict[str, Callable[[str], bool]] = {
        "status": lambda value: standing.get(value, person.status == value),
        "activity": lambda value: activity[value],
        "room": lambda value: any(
            f"{room[0]}:{room[1]}" == value or room[0] == value for room in rooms
        ),
        "contributions_from": lambda value: later > 0 and contributions >= int(value),
        "contributions_to": lambda value: later > 0 and contributions <= int(value),
        "active_week": lambda value: person.was_active_in(int(value)),
        "inactive_week": lambda value: (
            person.has_ended(int(value)) and not person.was_active_in(int(value))
        ),
        "active_month": lambda value: person.was_active_in_month(int(value)),
        "inactive_month": lambda value: (
            person.has_ended_month(int(value)) and not person.was_active_in_month(int(value))
        ),
        "member_from": lambda value: person.joined is not None and person.joined >= parsed(value),
        "member_to": lambda value: person.joined is not None and person.joined <= parsed(value),
        "reached": person.reached,
        "stuck": person.is_stuck,
    }
    if filters.get("invited_from") or filters.get("invited_to"):
        first = parsed(filters.get("invited_from") or "2000-01-01")
        last = parsed(filters.get("invited_to") or "2100-01-01")
        if not any(first <= day <= last for day in person.invited):
            return False
    is_kept = filters.get("status") in ("removed", "gone", "ever_member") or not person.is_removed
    return (
        is_kept
        and not person.is_bot
        and all(check(filters[name]) for name, check in checks.items() if filters.get(name))
    )


PERIODS = st.sampled_from(
    [
        {},
        {"since": "7d"},
        {"since": "90d"},
        {"since": "140d", "until": "20d"},
        {"until": "month"},
        {"since": "50d", "until": "50d"},
        {"since": str(today(ZONE).replace(day=1) - timedelta(days=100))},
    ]
)
OTHER_DAYS = st.sampled_from(["month", "10d", "45d", "100d", ""])
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(
            ["present", "member", "gone", "ever_member", "removed", *MemberStatus]
        ),
        "activity": st.sampled_from(["active", "inactive", "at_risk", "came_back"]),
        "room": st.sampled_from(["telegram:-1001", "telegram:-1002:7", "discord"]),
        "contributions_from": st.sampled_from(["0", "1", "5", "20"]),
        "contributions_to": st.sampled_from(["0", "3", "30"]),
        "active_week": st.sampled_from(["1", "4", "12"]),
        "inactive_week": st.sampled_from(["1", "4", "12"]),
        "active_month": st.sampled_from(["0", "1", "3"]),
        "inactive_month": st.sampled_from(["0", "1", "3"]),
        "member_from": OTHER_DAYS,
        "member_to": OTHER_DAYS,
        "invited_from": OTHER_DAYS,
        "invited_to": OTHER_DAYS,
        "reached": st.sampled_from(["joined", "approved", "message", "week4"]),
        "stuck": st.sampled_from(STUCK),
    },
)
# Most examples have few filters, so that somebody is found.
FEW_FILTERS = st.tuples(
    st.lists(st.sampled_from([*ActivityFilters.__annotations__, "status"]), max_size=3),
    FILTERS,
    PERIODS,
).map(lambda drawn: {name: drawn[1][name] for name in drawn[0] if name in drawn[1]} | drawn[2])


@pytest.mark.parametrize(
    "filters",
    [
        {"status": "present"},
        {"status": "member"},
        {"status": "gone"},
        {"status": "ever_member"},
        {"activity": "active"},
        {"activity": "active", "since": "50d", "until": "30d"},
        {"activity": "inactive"},
        {"activity": "at_risk"},
        {"activity": "at_risk", "since": "60d"},
        {"activity": "came_back"},
        {"room": "telegram:-1001", "since": "100d"},
        {"room": "telegram:-1002:7"},
        {"room": "discord:-1001", "since": "80d", "until": "40d"},
        {"room": "discord", "since": "80d", "until": "40d"},
        {"room": "telegram"},
        {"contributions_from": "3"},
        {"contributions_from": "0", "contributions_to": "0"},
        {"contributions_from": "10", "contributions_to": "30", "since": "140d"},
        {"active_week": "1"},
        {"active_week": "4"},
        {"inactive_week": "1"},
        {"inactive_week": "12"},
        {"active_month": "0"},
        {"active_month": "2"},
        {"inactive_month": "0"},
        {"inactive_month": "3"},
        {"member_from": "60d"},
        {"member_to": "60d"},
        {"invited_from": "60d"},
        {"invited_from": "120d", "invited_to": "60d"},
        {"reached": "joined"},
        {"reached": "approved"},
        {"reached": "message"},
        {"reached": "week4"},
        *({"stuck": step} for step in STUCK),
    ],
)
async def test_each_filter_finds_those_whom_it_asks_for_and_nobody_else(
    world: World, filters: Any
) -> None:
    wanted = world.expected(filters)
    assert 0 < len(wanted) < PEOPLE
    assert await people.numbers(**filters) == wanted
    assert await people.count(**filters) == len(wanted)


@given(filters=FEW_FILTERS, sort=st.sampled_from(PEOPLE_SORTS))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_every_combination_has_the_same_people_in_every_order_and_on_all_pages(
    world: World, filters: dict[str, Any], sort: Any
) -> None:
    wanted = world.expected(filters)
    assert await people.numbers(**filters) == wanted
    with patch.object(people, "_has_window", return_value=False):
        page = await people.search(sort=sort, limit=PEOPLE, **filters)
    in_order = [person.member_id for person in page.items]
    assert sorted(in_order, key=lambda number: int(number[1:])) == wanted
    # Some pages need more than the first members of the order.
    with patch.object(people, "WINDOW_SIZE", 25):
        listed: list[str] = []
        after = None
        while True:
            page = await people.search(sort=sort, limit=9, after=after, with_total=True, **filters)
            assert page.total == len(wanted)
            listed += [person.member_id for person in page.items]
            after = page.next_cursor
            if after is None:
                break
    assert listed == in_order


@pytest.mark.parametrize(
    "filters",
    [
        {"activity": "active", "since": "90d"},
        {"activity": "at_risk", "status": "present"},
        {"room": "telegram:-1001", "since": "90d"},
        {"contributions_from": "1", "since": "20d"},
        {"inactive_week": "1"},
        {"reached": "joined", "invited_from": "120d"},
    ],
)
async def test_a_list_is_in_order_however_postgresql_joins(world: World, filters: Any) -> None:
    wanted = world.expected(filters)
    async with undone() as current:
        # A merge join would be in the order of the numbers.
        await current.connection.execute("SET LOCAL enable_nestloop = off")
        await current.connection.execute("SET LOCAL enable_hashjoin = off")
        page = await people.search(sort="-name", limit=len(wanted) - 1, **filters)
    assert len({person.member_id for person in page.items} & set(wanted)) == len(wanted) - 1
    keys = [(fold(person.name), person.id) for person in page.items]
    assert keys == sorted(keys, reverse=True)


async def test_the_steps_after_an_invitation_leave_nobody_out_and_count_nobody_twice() -> None:
    """Check that those who stopped after a step, and those after the next one, are the step's."""
    reached = {step: set(await people.numbers(reached=step)) for step in STEPS}
    stuck = {step: set(await people.numbers(stuck=step)) for step in STUCK}
    for step, following in pairwise(STEPS):
        stopped = stuck[step] | stuck[f"waiting_{step}"]
        assert reached[step] == reached[following] | stopped
    waiting = stuck.pop("waiting")
    assert waiting == stuck["waiting_joined"] | stuck["waiting_approved"] | stuck["waiting_message"]
    sizes = Counter(number for each in (reached["week4"], *stuck.values()) for number in each)
    assert sizes.keys() == reached["joined"]
    assert set(sizes.values()) == {1}


@pytest.mark.parametrize("since", ["5d", "28d", "95d", "140d"])
async def test_the_filters_sum_a_period_as_insights_does(since: str) -> None:
    period = DayPeriod(parsed(since), parsed("1d"))
    parameters = Parameters()
    sql = f"""
        SELECT member_id, sum(message_count) AS message_count, sum(reaction_count) AS reaction_count
        FROM ({union(select_activity(period, parameters))}) AS parts
        GROUP BY member_id HAVING sum(active_days) > 0
    """
    records = await engine.read(sql, *parameters)
    kept = set(await people.numbers())
    summed = {record["member_id"]: record for record in records if record["member_id"] in kept}
    assert set(await people.numbers(activity="active", since=since)) == summed.keys()
    for least in (1, 4, 9):
        assert set(await people.numbers(contributions_from=least, since=since)) == {
            number
            for number, record in summed.items()
            if record["message_count"] + record["reaction_count"] >= least
        }


@pytest.mark.parametrize(
    "filters",
    [
        {"activity": "asleep"},
        {"activity": ["active"]},
        {"reached": "week5"},
        {"stuck": "week4"},
        {"active_week": "0"},
        {"active_week": "13"},
        {"inactive_week": "-1"},
        {"inactive_week": "four"},
        {"inactive_week": True},
        {"active_month": "13"},
        {"inactive_month": "-1"},
        {"contributions_from": "-1"},
        {"contributions_to": "1000000001"},
        {"contributions_to": "9" * 5000},
        {"contributions_to": 10**5000},
        {"room": ":-1001"},
        {"room": "telegram:"},
        {"room": "x" * 51 + ":1"},
        {"room": "telegram:" + "1" * 256},
        {"room": 7},
        {"since": "tomorrow"},
        {"until": "2026-02-30"},
        {"since": "0d"},
        {"since": "99999d"},
        {"since": "2026-11-02", "until": "2026-11-01"},
        {"since": "2016-01-01", "until": "2026-11-01"},
        {"member_from": "1899-12-31"},
        {"member_to": "2200-01-01"},
        {"invited_from": "00d"},
        {"invited_to": datetime(2026, 1, 31, tzinfo=UTC)},
    ],
)
async def test_a_filter_that_means_nothing_is_refused_in_a_sentence(filters: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        await people.search(**filters)
    assert refused.value.field in {*filters, "until", "platform", "room_id"}
    assert str(refused.value).endswith(".")
    assert len(str(refused.value)) < 200
