"""People as managers look for them: filters, orders, pages, totals and selections."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import Any
from unittest.mock import patch

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from community_directory.calendar import load_zone, today
from community_directory.database import connect
from community_directory.errors import InvalidCursor, InvalidInput
from community_directory.queries import people
from community_directory.queries.folding import fold
from community_directory.queries.pages import MAX_CURSOR_LENGTH
from community_directory.queries.people import PEOPLE_SORTS
from community_directory.queries.reputation import scores_of
from community_directory.tables import MemberStatus, ReputationTier
from tests.conftest import Server, new_database, raw_pool
from tests.queries.cases import undone
from tests.tables import rows
from tests.zones import use_zone

ZONE = "America/Mexico_City"
MEMBERS = 60
PRESENT = 8
"""The number of the first members who are people and were not removed."""
COUNTRIES = ("México", "Chile", "", None)
USERNAMES = ("ana", "ANA_B", "bo", None, None)
Row = dict[str, Any]


async def fill(pool: asyncpg.Pool) -> None:
    """Add people of every kind, at random, but the same ones each time."""
    random, now = Random(247), datetime.now(UTC)
    for number in range(1, MEMBERS + 1):
        is_bot = number > PRESENT and random.random() < 0.15
        github = random.choice(["ana-dev", "bo-dev", None])
        joined = now - timedelta(days=random.randrange(90), hours=random.randrange(24))
        await rows.member(
            pool,
            telegram_id=str(100 + number),
            name=random.choice(["Ana", "Álvaro", "alba", "Bo 101", "Zoë", "100%"]),
            telegram_username=f"{random.choice(['ana', 'bo'])}_{number}",
            primary_role=random.choice(["developer", "Designer", "trader"]),
            organization=random.choice(["Frutero", None]),
            country=random.choice(COUNTRIES),
            github_username=None if github is None else f"{github}{number}",
            github_verified=github is not None and random.random() < 0.5,
            github_verified_at=None if github is None else joined,
            status=random.choice(list(MemberStatus)),
            reputation_score=0 if is_bot else random.choice([0, 100, 101, 600, 2600]),
            invited_by=random.choice([None, *[f"#{n}" for n in range(1, min(number, 8))]]),
            created_at=joined,
            last_active_at=random.choice(
                [None, now - timedelta(days=random.randrange(90), hours=1)]
            ),
            deleted_at=random.choice([None, None, None, now]) if number > PRESENT else None,
            is_bot=is_bot,
        )
    merged = await rows.merged_member(pool, merged_into="#5")
    assert merged["member_id"] == f"#{MEMBERS + 1}"
    for number, platform, account, username in (
        (3, "discord", "9000", "bo"),
        (7, "telegram", "555555", "Second_One"),
    ):
        await rows.account(
            pool, member_id=f"#{number}", platform=platform, account_id=account, username=username
        )
    holders = await pool.fetch(
        "SELECT member_id FROM community_members"
        " WHERE status = 'active' AND deleted_at IS NULL AND NOT is_bot ORDER BY id LIMIT 4"
    )
    for (member_id,), permission in zip(
        holders, ["manage", "review", "invite", "manage"], strict=True
    ):
        await rows.permission(pool, member_id=member_id, permission=permission)


class World:
    """The rows of the database, as Python sees them."""

    def __init__(self, members: list[Row], accounts: list[Row], permissions: list[Row]) -> None:
        self.members, self.accounts, self.permissions = members, accounts, permissions

    def expected(self, filters: Mapping[str, str]) -> list[Row]:
        return [row for row in self.members if self._meets(row, filters)]

    def _meets(self, row: Row, filters: Mapping[str, str]) -> bool:
        wanted = {name: value for name, value in filters.items() if value}
        checks: dict[str, Callable[[Row, str], bool]] = {
            "q": self._has_text,
            "role": lambda row, value: row["primary_role"] == value,
            "country": lambda row, value: row["country"] == value,
            "tier": lambda row, value: row["reputation_score"] in scores_of(ReputationTier(value)),
            "organization": lambda row, value: row["organization"] == value,
            "github": _has_github,
            "inviter": lambda row, value: (
                row["invited_by"]
                in {f"#{self._present(number.strip())}" for number in value.split(",")}
            ),
            "joined_from": lambda row, value: _day(row["created_at"]) >= _parsed_day(value),
            "joined_to": lambda row, value: _day(row["created_at"]) <= _parsed_day(value),
            "permission": self._holds,
        }
        if not all(check(row, wanted[name]) for name, check in checks.items() if name in wanted):
            return False
        return (
            _is_present(row, wanted.get("status", "any"))
            and wanted.get("bot", "people") in ("both", "bots" if row["is_bot"] else "people")
            and _is_quiet(row, wanted)
        )

    def _present(self, number: str) -> str:
        digits = number.removeprefix("#")
        return "5" if digits == str(MEMBERS + 1) else digits

    def _has_text(self, row: Row, text: str) -> bool:
        texts = ("name", "telegram_username", "organization", "github_username")
        searched = fold(" ".join(row[name] for name in texts if row[name] is not None))
        text = text.removeprefix("https://t.me/")
        bare = text.removeprefix("@")
        accounts = [each for each in self.accounts if each["member_id"] == row["member_id"]]
        return (
            fold(bare) in searched
            or row["member_id"] == f"#{self._present(text)}"
            or any((each["username"] or "").lower() == bare.lower() for each in accounts)
            or any(
                text in (each["account_id"], f"{each['platform']}:{each['account_id']}")
                for each in accounts
            )
        )

    def _holds(self, row: Row, permission: str) -> bool:
        held = {
            each["permission"] for each in self.permissions if each["member_id"] == row["member_id"]
        }
        return permission in held or (permission == "none" and not held)

    def key(self, row: Row, sort: str) -> Any:
        """Return the key of a list in ascending order, without the key that breaks ties."""
        keys: dict[str, Callable[[], object]] = {
            "name": lambda: fold(row["name"]),
            "number": lambda: int(row["member_id"][1:]),
            "status": lambda: list(MemberStatus).index(row["status"]),
            "role": lambda: row["primary_role"],
            "country": lambda: row["country"] or "",
            "tier": lambda: row["reputation_score"],
            "score": lambda: row["reputation_score"],
            "inviter": lambda: int((row["invited_by"] or "#0")[1:]),
            "invited": lambda: sum(each["invited_by"] == row["member_id"] for each in self.members),
            "joined": lambda: row["created_at"],
            "active": lambda: row["last_active_at"] or datetime.min.replace(tzinfo=UTC),
        }
        return keys[sort]()

    def in_order(self, found: list[Row], sort: str) -> list[str]:
        column, is_descending = sort.removeprefix("-"), sort.startswith("-")
        blank = {"country": "country", "inviter": "invited_by"}.get(column)
        by_key = sorted(
            found, key=lambda row: (self.key(row, column), row["id"]), reverse=is_descending
        )
        if blank:
            by_key.sort(key=lambda row: row[blank] is None)
        return [row["member_id"] for row in by_key]


def _is_present(row: Row, status: str) -> bool:
    if status == "removed":
        return row["deleted_at"] is not None and row["merged_into"] is None
    return row["deleted_at"] is None and status in ("any", row["status"])


def _has_github(row: Row, kind: str) -> bool:
    if row["github_username"] is None:
        return kind == "none"
    return kind == ("proved" if row["github_verified"] else "unproved")


def _is_quiet(row: Row, wanted: Mapping[str, str]) -> bool:
    active, quiet_days = row["last_active_at"], wanted.get("quiet_days")
    is_never = "never_active" in wanted and active is None
    if quiet_days is None:
        return is_never or "never_active" not in wanted
    longest = datetime.now(UTC) - timedelta(days=int(quiet_days))
    return is_never or (active is not None and active < longest)


def _day(moment: datetime) -> date:
    return moment.astimezone(load_zone(ZONE)).date()


def _parsed_day(value: str) -> date:
    if value == "month":
        return today(ZONE).replace(day=1)
    if value.endswith("d"):
        return today(ZONE) - timedelta(days=int(value[:-1]))
    return date.fromisoformat(value)


@pytest.fixture(scope="module")
async def pool(server: Server, template: str) -> AsyncIterator[asyncpg.Pool]:
    """Yield the database of all tests here, which only read it."""
    async with (
        new_database(server, template) as url,
        connect(url, min_size=0),
        raw_pool(url) as pool,
    ):
        await fill(pool)
        yield pool


@pytest.fixture(scope="module")
async def world(pool: asyncpg.Pool) -> World:
    tables = ("community_members", "member_accounts", "member_permissions")
    found = [[dict(row) for row in await pool.fetch(f"SELECT * FROM {table}")] for table in tables]
    return World(*found)


@pytest.fixture(autouse=True)
def zone(monkeypatch: pytest.MonkeyPatch) -> None:
    use_zone(monkeypatch, ZONE)


TEXTS = [
    *("ana", "Alvaro", "bo", "a", "%", "frut", "#5", "5", f"#{MEMBERS + 1}", "101", "103", "@Bo"),
    *("discord:9000", "9000", "555555", "second_one", "https://t.me/Second_One"),
]
INVITERS = ["#1", "5", f"#{MEMBERS + 1}", f"1, #2,{MEMBERS + 1}"]
DAYS = st.sampled_from(["month", "1d", "30d", "60d", str(today() - timedelta(days=45))])
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "q": st.sampled_from(TEXTS),
        "status": st.sampled_from(["", "any", *MemberStatus, "removed"]),
        "role": st.sampled_from(["", "developer", "Designer"]),
        "country": st.sampled_from(["", "México", "Chile"]),
        "tier": st.sampled_from(["", *ReputationTier]),
        "github": st.sampled_from(["", "proved", "unproved", "none"]),
        "organization": st.sampled_from(["", "Frutero"]),
        "inviter": st.sampled_from(["", *INVITERS]),
        "joined_from": DAYS,
        "joined_to": DAYS,
        "quiet_days": st.sampled_from(["", "7", "60"]),
        "never_active": st.sampled_from(["", "1"]),
        "permission": st.sampled_from(["", "manage", "review", "none"]),
        "bot": st.sampled_from(["", "people", "bots", "both"]),
    },
)
# Most examples have few filters, so that somebody is found.
FEW_FILTERS = FILTERS.flatmap(
    lambda filters: (
        st.lists(st.sampled_from(sorted(filters)), max_size=3, unique=True).map(
            lambda names: {name: filters[name] for name in names}
        )
        if filters
        else st.just(filters)
    )
)


async def pages(sort: Any, limit: int, **filters: Any) -> list[list[str]]:
    """Return the numbers on all pages, read forwards; read backwards they are the same."""
    found, after = [], None
    while True:
        page = await people.search(sort=sort, limit=limit, after=after, **filters)
        found.append([person.member_id for person in page.items])
        after = page.next_cursor
        if after is None:
            break
        assert len(after) <= MAX_CURSOR_LENGTH
    backwards = found[-1:]
    while page.previous_cursor is not None:
        page = await people.search(sort=sort, limit=limit, after=page.previous_cursor, **filters)
        backwards.insert(0, [person.member_id for person in page.items])
    assert backwards == found
    return found


async def test_each_filter_alone_finds_somebody_and_those_whom_it_asks_for(world: World) -> None:
    asked: list[dict[str, Any]] = [
        *({"q": text} for text in TEXTS),
        *({"status": status} for status in ("any", *MemberStatus, "removed")),
        *({"tier": tier} for tier in ReputationTier if tier != "Experienced"),
        *({"github": github} for github in ("proved", "unproved", "none")),
        *({"permission": permission} for permission in ("manage", "review", "invite", "none")),
        *({"bot": bot} for bot in ("people", "bots", "both")),
        *({"inviter": inviter} for inviter in INVITERS),
        {"status": "removed", "bot": "both"},
        {"quiet_days": "60"},
        {"never_active": "1"},
        {"quiet_days": "60", "never_active": "1"},
        {"joined_from": "30d"},
        {"joined_to": "30d"},
    ]
    for filters in asked:
        expected = world.in_order(world.expected(filters), "number")
        assert await people.numbers(**filters) == expected
        assert expected, filters


@given(filters=FEW_FILTERS, sort=st.sampled_from(PEOPLE_SORTS), limit=st.sampled_from([7, 50]))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_a_list_has_those_whom_its_filters_ask_for_and_nobody_else(
    world: World, filters: dict[str, str], sort: str, limit: int
) -> None:
    expected = world.in_order(world.expected(filters), sort)
    found = await pages(sort, limit, **filters)
    assert [number for page in found for number in page] == expected
    assert await people.numbers(**filters) == sorted(expected, key=lambda each: int(each[1:]))
    assert await people.count(**filters) == len(expected)


@pytest.mark.parametrize("sort", PEOPLE_SORTS)
@pytest.mark.parametrize("bot", ["people", "both"])
async def test_every_order_has_the_same_pages_in_both_directions(
    world: World, sort: str, bot: str
) -> None:
    filters = {"bot": bot, "joined_to": "1d"}
    expected = world.in_order(world.expected(filters), sort)
    # Some pages need more than the first members.
    with patch.object(people, "WINDOW_SIZE", 9), patch.object(people, "MANY_INVITED", 3):
        found = await pages(sort, 7, **filters)
    assert [number for page in found for number in page] == expected


async def test_active_in_a_country_never_shows_somebody_banned_or_removed(world: World) -> None:
    page = await people.search(status="active", country="México", limit=100)
    assert page.items
    for person in page.items:
        assert (person.status, person.country, person.deleted_at) == ("active", "México", None)


async def test_a_person_has_the_name_of_the_inviter_and_the_number_of_the_invited(
    world: World,
) -> None:
    by_number = {row["member_id"]: row for row in world.members}
    for person in (await people.search(limit=100)).items:
        inviter = by_number.get(person.invited_by or "")
        assert person.inviter_name == (inviter and inviter["name"])
        assert person.invited_count == world.key(by_number[person.member_id], "invited")
        assert type(person.status) is MemberStatus


async def test_a_total_is_exact_up_to_a_number_and_one_more_above(world: World) -> None:
    everybody = len(world.expected({}))
    assert (await people.search(limit=1)).total is None
    assert (await people.search(limit=1, with_total=True)).total == everybody
    assert (await people.search(limit=1, with_total=True, q="nobody at all")).total == 0
    with patch.object(people, "MAX_TOTAL", everybody - 2):
        assert (await people.search(limit=1, with_total=True)).total == everybody - 1


async def test_the_choices_are_the_values_that_people_have(world: World) -> None:
    found = await people.choices()
    assert set(found.roles) == {"developer", "Designer", "trader"}
    assert set(found.countries) == {"México", "Chile"}


async def test_a_selection_of_too_many_is_refused(world: World) -> None:
    everybody = len(world.expected({}))
    with patch.object(people, "MAX_SELECTION", everybody):
        assert len(await people.numbers()) == everybody
    with patch.object(people, "MAX_SELECTION", everybody - 1), pytest.raises(InvalidInput):
        await people.numbers()


async def test_rows_are_read_of_a_selection_or_of_all_who_are_found(world: World) -> None:
    async def read(**filters: Any) -> list[tuple[str, ...]]:
        async with aclosing(people.batches(["member_id", "name"], **filters)) as batches:
            return [tuple(record) async for records in batches for record in records]

    names = {row["member_id"]: row["name"] for row in world.members}
    found = await people.numbers(status="removed", bot="both")
    assert found
    assert await read(status="removed", bot="both") == [(each, names[each]) for each in found]
    assert await read(selected=["#12", "#3", "#999"]) == [
        ("#3", names["#3"]),
        ("#12", names["#12"]),
    ]
    assert await read(tier="Expert", q="\u0301") == []


@pytest.mark.parametrize(
    "filters",
    [
        {"status": "asleep"},
        {"github": "yes"},
        {"permission": "everything"},
        {"bot": "cyborgs"},
        {"tier": "Legend"},
        {"never_active": "yes"},
        {"quiet_days": "0"},
        {"quiet_days": "-5"},
        {"quiet_days": "36501"},
        {"quiet_days": "1.5"},
        {"quiet_days": True},
        {"joined_from": "yesterday"},
        {"joined_from": "2026-02-30"},
        {"joined_to": "0d"},
        {"joined_to": "9999-12-31"},
        {"joined_to": "0001-01-01"},
        {"joined_to": datetime.combine(date(2026, 1, 31), time())},
        {"q": "x" * 201},
        {"inviter": "1" * 300},
        {"inviter": 10**5000},
        {"inviter": "Ana"},
        {"inviter": "1, Ana"},
        {"inviter": "1,"},
        {"inviter": [1, 2]},
        {"inviter": ",".join(map(str, range(1, 22)))},
    ],
)
async def test_a_filter_that_means_nothing_is_refused(filters: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        await people.search(**filters)
    assert refused.value.field in filters


async def test_a_refused_inviter_is_told_how_to_be_written() -> None:
    with pytest.raises(
        InvalidInput, match=r"^Write the number of an inviter as 48, or several as 48, 55\.$"
    ):
        await people.count(inviter="1, Ana")
    with pytest.raises(InvalidInput, match=r"^Choose at most 20 inviters\.$"):
        await people.count(inviter=",".join(map(str, range(1, 22))))


async def test_cursors_belong_to_one_order(world: World) -> None:
    page = await people.search(sort="name", limit=2)
    with pytest.raises(InvalidCursor):
        await people.search(sort="joined", limit=2, after=page.next_cursor)
    with pytest.raises(InvalidInput):
        await people.search(sort="invited")  # type: ignore[arg-type]


async def test_a_person_who_becomes_active_does_not_shift_the_pages(pool: asyncpg.Pool) -> None:
    async with undone() as current:
        first = await people.search(sort="-active", limit=2)
        later = await people.search(sort="-active", limit=2, after=first.next_cursor)
        await current.connection.execute(
            "UPDATE community_members SET last_active_at = now() WHERE member_id = $1",
            first.items[-1].member_id,
        )
        assert await people.search(sort="-active", limit=2, after=first.next_cursor) == later
