"""The SQL of the definitions of Insights gives what a recount of the raw rows gives."""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from statistics import median
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import asyncpg
import httpx
import pytest

from tests.processes import PROJECT
from tests.roles import app_url, reader_url
from tests.web.insights.raw_rows import ACTIVE, MEMBER, Person, RawRows, make_community
from tests.zones import use_zone

Row = tuple[Any, ...]
Recount = Callable[[RawRows], list[Row]]

TEXT = (PROJECT / "docs/reference/insights.md").read_text(encoding="utf-8")
DEFINITIONS = {
    heading: sql
    for section in TEXT.split("\n### ")[1:]
    for heading in [section.partition("\n")[0]]
    for sql in re.findall(r"^```sql\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
}
"""The queries of the page by their headings."""
NEED_MORE_RIGHTS = {"Members by status", "Rooms"}
"""The queries that the reader can't run, as the page says."""

PERIODS = (
    # The clocks go forwards on 30 March, and back on 26 October.
    ("Europe/Berlin", date(2025, 3, 1), date(2025, 3, 31)),
    ("Europe/Berlin", date(2025, 10, 1), date(2025, 10, 31)),
    # The clocks change at midnight: 5 April has 25 hours, and 7 September has no midnight.
    ("America/Santiago", date(2025, 4, 1), date(2025, 4, 30)),
    ("America/Santiago", date(2025, 9, 1), date(2025, 9, 30)),
    # Half an hour, on 6 April and on 5 October.
    ("Australia/Lord_Howe", date(2025, 4, 1), date(2025, 4, 30)),
)


def months_of(raw: RawRows) -> list[date]:
    """Return the first days of the whole months of the period."""
    return [day for day in raw.days() if day.day == 1]


def members(raw: RawRows) -> list[Row]:
    people = raw.people.values()
    return [
        (
            sum(person.is_member for person in people),
            sum(person.is_present for person in people),
            sum(person.is_gone for person in people),
        )
    ]


def people_who_joined(raw: RawRows) -> list[Row]:
    joined = raw.joined()
    return [(sum(each.is_member for each in joined), sum(each.is_gone for each in joined))]


def members_by_status(raw: RawRows) -> list[Row]:
    end = raw.end_of(raw.until)
    statuses = Counter(person.status_at(end) for person in raw.people.values())
    return [(status, number) for status, number in statuses.items() if status is not None]


def active_people(raw: RawRows) -> list[Row]:
    return [(sum(raw.active_days(each, raw.since, raw.until) > 0 for each in raw.present()),)]


def _activity(raw: RawRows, days: Sequence[date]) -> Row | None:
    persons = [
        person
        for person in raw.people.values()
        if not person.row["is_bot"] and raw.active[person.number] & {*days}
    ]
    if not persons:
        return None
    keys = [(person.number, day) for person in persons for day in days]
    return (
        sum(person.is_present for person in persons),
        sum(raw.messages[key] for key in keys),
        sum(raw.reactions[key] for key in keys),
        sum(raw.voice_minutes(*key) for key in keys),
    )


def activity_by_day(raw: RawRows) -> list[Row]:
    counted = {day: _activity(raw, [day]) for day in raw.days()}
    return [(day, *counts) for day, counts in counted.items() if counts]


def activity_by_month(raw: RawRows) -> list[Row]:
    counted = {
        month: _activity(raw, [day for day in raw.days() if day.replace(day=1) == month])
        for month in months_of(raw)
    }
    return [(month, *counts[:2]) for month, counts in counted.items() if counts]


def hours_of_the_week(raw: RawRows) -> list[Row]:
    hours = Counter((local.isoweekday(), local.hour) for _, local in raw.events_of_all())
    return [(*key, number) for key, number in hours.items()]


def tiers(raw: RawRows) -> list[Row]:
    counted = Counter(
        person.row["reputation_tier"] for person in raw.present() if person.row["status"] == ACTIVE
    )
    return list(counted.items())


def _sent(raw: RawRows) -> list[asyncpg.Record]:
    return [each for each in raw.invitations if raw.includes(each["created_at"])]


def invitations(raw: RawRows) -> list[Row]:
    return list(
        Counter(
            "expired" if each["status"] == "pending" else each["status"] for each in _sent(raw)
        ).items()
    )


def time_until_accepted(raw: RawRows) -> list[Row]:
    def label(wait: timedelta) -> str:
        names = ("under 1 h", "1–6 h", "6–24 h", "1–2 days", "2–3 days")
        ends = (1, 6, 24, 48, 72)
        return next(
            (name for name, end in zip(names, ends, strict=True) if wait < timedelta(hours=end)),
            "longer",
        )

    waits = [each["accepted_at"] - each["created_at"] for each in _sent(raw) if each["accepted_at"]]
    return list(Counter(map(label, waits)).items())


def most_active_people(raw: RawRows) -> list[Row]:
    found = []
    for person in raw.present():
        keys = [(person.number, day) for day in raw.days()]
        messages = sum(raw.messages[key] for key in keys)
        reactions = sum(raw.reactions[key] for key in keys)
        minutes = sum(raw.voice_minutes(*key) for key in keys)
        if messages + reactions + minutes:
            found.append((person.number, messages, reactions, minutes))
    found.sort(key=lambda row: (-row[1] - row[2], -row[3], int(row[0].removeprefix("#"))))
    return [*found[:12]]


def rooms(raw: RawRows) -> list[Row]:
    present = {person.number for person in raw.present()}
    found: dict[tuple[str, str], list[asyncpg.Record]] = {}
    for event, _ in raw.events_of_all():
        found.setdefault((event["platform"], event["room_id"]), []).append(event)
    return [
        (
            *room,
            len(events),
            sum(event["event_type"] == "MESSAGE" for event in events),
            len({event["member_id"] for event in events} & present),
        )
        for room, events in found.items()
    ]


def platforms(raw: RawRows) -> list[Row]:
    events = [(event["platform"], event["event_type"]) for event, _ in raw.events_of_all()]
    return [
        (
            platform,
            sum(of == platform for of, _ in events),
            events.count((platform, "MESSAGE")),
        )
        for platform in {platform for platform, _ in events}
    ]


def retention_by_month(raw: RawRows) -> list[Row]:
    rows: list[Row] = []
    this_month = raw.day(datetime.now(raw.zone)).replace(day=1)
    for month in months_of(raw):
        cohort = [person for person in raw.joined() if _day_of(raw, person).replace(day=1) == month]
        later, number = month, 0
        while cohort and later < this_month and number <= 12:
            active = sum(
                person.is_member
                and any(day.replace(day=1) == later for day in raw.active[person.number])
                for person in cohort
            )
            rows.append((month, number, len(cohort), active))
            later, number = (later + timedelta(days=31)).replace(day=1), number + 1
    return rows


def _day_of(raw: RawRows, person: Person) -> date:
    assert person.joined_at is not None
    return raw.day(person.joined_at)


def retention_by_week(raw: RawRows) -> list[Row]:
    return [
        (
            month,
            week,
            len(cohort),
            sum(each.is_member and raw.was_active_in_week(each, week) for each in cohort),
        )
        for month in months_of(raw)
        if (
            cohort := [
                person for person in raw.joined() if _day_of(raw, person).replace(day=1) == month
            ]
        )
        for week in range(1, 13)
    ]


def retention_by_inviter(raw: RawRows) -> list[Row]:
    return [
        (
            inviter,
            week,
            len(cohort),
            sum(each.is_member and raw.was_active_in_week(each, week) for each in cohort),
        )
        for inviter in {person.row["invited_by"] for person in raw.joined()}
        for cohort in [[each for each in raw.joined() if each.row["invited_by"] == inviter]]
        for week in range(1, 13)
    ]


def _accepted(raw: RawRows, sent: Sequence[asyncpg.Record]) -> list[Person]:
    numbers = {each["accepted_by"] for each in sent} - {None}
    return [person for person in raw.present() if person.number in numbers]


def _now(raw: RawRows) -> datetime:
    return datetime.now(raw.zone)


def _steps(raw: RawRows, sent: Sequence[asyncpg.Record], joined: Sequence[Person]) -> Row:
    approved = [person for person in joined if person.approved_at]
    wrote = [person for person in approved if raw.first_message_day(person)]
    stayed = [person for person in wrote if raw.was_active_in_week(person, 4)]
    first_day = raw.day(_now(raw)) - timedelta(days=27)
    open_invitations = [
        each for each in sent if each["status"] == "pending" and each["expires_at"] > _now(raw)
    ]
    pending = [each for each in joined if not each.approved_at and each.row["status"] == "pending"]
    can_write = [
        each
        for each in approved
        if each not in wrote and each.approved_at and raw.day(each.approved_at) >= first_day
    ]
    can_stay = [each for each in wrote if each not in stayed and _day_of(raw, each) >= first_day]
    steps: list[Sequence[object]] = [sent, joined, approved, wrote, stayed]
    waiting: list[Sequence[object]] = [open_invitations, pending, can_write, can_stay]
    return tuple(len(each) for each in (*steps, *waiting))


def funnel_steps(raw: RawRows) -> list[Row]:
    sent = _sent(raw)
    return [_steps(raw, sent, _accepted(raw, sent))]


def times_between_the_steps(raw: RawRows) -> list[Row]:
    sent = _sent(raw)
    hours_to_join, hours_to_approval, days_to_first_message = [], [], []
    for person in _accepted(raw, sent):
        own = [each for each in sent if each["accepted_by"] == person.number]
        invited_at = min(each["created_at"] for each in own)
        accepted_at = min(each["accepted_at"] for each in own)
        hours_to_join.append((accepted_at - invited_at) / timedelta(hours=1))
        if person.approved_at is None:
            continue
        if person.approved_at >= accepted_at:
            hours_to_approval.append((person.approved_at - accepted_at) / timedelta(hours=1))
        first = raw.first_message_day(person)
        if first is not None and first >= raw.day(person.approved_at):
            days_to_first_message.append((first - raw.day(person.approved_at)).days)
    return [
        tuple(
            round(median(values), 6) if values else None
            for values in (hours_to_join, hours_to_approval, days_to_first_message)
        )
    ]


def at_risk(raw: RawRows) -> list[Row]:
    return [
        (person.number, before, during)
        for person in raw.present()
        for before in [raw.active_days(person, *raw.before)]
        for during in [raw.active_days(person, raw.since, raw.until)]
        if person.is_member and before >= 4 and during < before / 2
    ]


def came_back(raw: RawRows) -> list[Row]:
    first, last = raw.before
    return [
        (person.number,)
        for person in raw.present()
        if raw.active_days(person, raw.since, raw.until)
        and not raw.active_days(person, first, last)
        and any(day < first for day in raw.active[person.number])
    ]


def never_spoke(raw: RawRows) -> list[Row]:
    authors = {event["member_id"] for event in raw.events}
    return [
        (person.number,)
        for person in raw.joined()
        if person.is_member and person.number not in authors
    ]


def who_stayed(raw: RawRows) -> list[Row]:
    today = raw.day(datetime.now(raw.zone))
    return [
        (
            inviter,
            len(brought),
            sum(each.is_member for each in brought),
            sum(
                each.is_member
                and raw.active_days(each, today - timedelta(days=28), today - timedelta(days=1)) > 0
                for each in brought
            ),
        )
        for inviter in {person.row["invited_by"] for person in raw.joined()}
        for brought in [[each for each in raw.joined() if each.row["invited_by"] == inviter]]
    ]


def time_to_the_first_message(raw: RawRows) -> list[Row]:
    found: dict[str | None, list[int]] = {}
    for person in raw.joined():
        first = raw.first_message_day(person)
        if person.is_member and first is not None:
            days = max((first - _day_of(raw, person)).days, 0)
            found.setdefault(person.row["invited_by"], []).append(days)
    return [(inviter, median(days)) for inviter, days in found.items()]


def people_by_contributions(raw: RawRows) -> list[Row]:
    counted = Counter(raw.contributions(person) for person in raw.present())
    return [(number, people) for number, people in counted.items() if number]


def the_most_active_tenth(raw: RawRows) -> list[Row]:
    made = sorted(filter(None, map(raw.contributions, raw.present())), reverse=True)
    least = made[-(-len(made) // 10) - 1]
    top = [number for number in made if number >= least]
    return [(len(top), sum(top), round(Decimal(sum(top)) / sum(made), 4))]


RECOUNTS: Mapping[str, Recount] = {
    "Members": members,
    "People who joined": people_who_joined,
    "Members by status": members_by_status,
    "Active people": active_people,
    "Activity by day": activity_by_day,
    "Activity by month": activity_by_month,
    "Hours of the week": hours_of_the_week,
    "Tiers": tiers,
    "Invitations": invitations,
    "Time until accepted": time_until_accepted,
    "Most active people": most_active_people,
    "Rooms": rooms,
    "Platforms": platforms,
    "By month": retention_by_month,
    "By week": retention_by_week,
    "By inviter": retention_by_inviter,
    "Steps": funnel_steps,
    "Times between the steps": times_between_the_steps,
    "At risk": at_risk,
    "Came back": came_back,
    "Never spoke": never_spoke,
    "Who stayed": who_stayed,
    "Time to the first message": time_to_the_first_message,
    "People by contributions": people_by_contributions,
    "The most active tenth": the_most_active_tenth,
}


def test_each_definition_with_a_query_is_recounted() -> None:
    assert {*DEFINITIONS} == {*RECOUNTS}
    # Each query is the only one of its heading, and a block that is no SQL has no result.
    assert TEXT.count("```sql") == len(DEFINITIONS)


@pytest.fixture(params=PERIODS, ids=lambda period: f"{period[0]} {period[1]}")
async def raw(
    request: pytest.FixtureRequest, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> RawRows:
    """Return the rows of a community of this time zone and period."""
    zone, since, until = request.param
    use_zone(monkeypatch, zone)
    return await make_community(directory, ZoneInfo(zone), since, until)


def round_numbers(row: Iterable[object]) -> Row:
    """Return a row whose fractions can be compared."""
    return tuple(round(float(each), 6) if isinstance(each, float) else each for each in row)


async def run_definition(raw: RawRows, directory_url: str, heading: str) -> list[Row]:
    """Return the rows of a query as psql runs it, with a login that has no more rights than needed.

    The period is put in as text, as psql does it.
    """
    period = {":since": f"'{raw.since}'", ":until": f"'{raw.until}'"}
    query = re.sub(r":(since|until)\b", lambda found: period[found[0]], DEFINITIONS[heading])
    may_read = app_url if heading in NEED_MORE_RIGHTS else reader_url
    connection = await asyncpg.connect(
        may_read(directory_url), server_settings={"timezone": raw.zone.key}
    )
    try:
        return [round_numbers(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def test_the_queries_give_what_the_raw_rows_give(raw: RawRows, directory_url: str) -> None:
    for heading, recount in RECOUNTS.items():
        recounted = recount(raw)
        assert recounted, heading
        found = await run_definition(raw, directory_url, heading)
        assert Counter(found) == Counter(map(round_numbers, recounted)), heading


# The pages


async def load_chart(
    client: httpx.AsyncClient, raw: RawRows, chart: str, **choices: str
) -> list[dict[str, str]]:
    """Return the rows of the CSV file of a chart."""
    response = await client.get(
        f"/insights/{chart}.csv", params={"from": str(raw.since), "to": str(raw.until), **choices}
    )
    assert response.status_code == 200, response.text
    rows = csv.DictReader(io.StringIO(response.text.removeprefix("\ufeff")))
    # A text that a spreadsheet would take for a formula is behind an apostrophe.
    return [{column: value.removeprefix("'") for column, value in row.items()} for row in rows]


class Chart(NamedTuple):
    """How the rows of a query and those of a chart's CSV file are the same.

    Attributes:
        path: The path of the file below that of Insights, without its ending.
        columns: The columns of the file that have the values of the query.
        keep: Which rows of the file the query has, too.
        choices: Further parameters of the address.
    """

    path: str
    columns: str
    keep: Callable[[dict[str, str]], bool] = lambda _: True
    choices: Mapping[str, str] = {}


CHARTS = {
    "Hours of the week": Chart(
        "hours", "iso_weekday hour events", lambda row: row["events"] != "0"
    ),
    "Tiers": Chart("growth/tiers", "tier members", lambda row: row["members"] != "0"),
    "Invitations": Chart(
        "growth/outcomes",
        "outcome invitations",
        lambda row: row["outcome"] != "sent" and row["invitations"] != "0",
    ),
    "Time until accepted": Chart(
        "growth/waiting_times",
        "time_until_accepted invitations",
        lambda row: row["invitations"] != "0",
    ),
    "Most active people": Chart("most_active", "member_id messages reactions voice_minutes"),
    "Rooms": Chart(
        "rooms/rooms", "platform room_id events messages people", lambda row: row["events"] != "0"
    ),
    "Platforms": Chart(
        "rooms/platforms", "platform events messages", lambda row: row["events"] != "0"
    ),
    "By month": Chart(
        "retention/cohorts", "joined_month month people active", lambda row: row["people"] != ""
    ),
    "By week": Chart(
        "retention/cohorts",
        "joined_month week people active",
        lambda row: row["people"] != "",
        {"unit": "week"},
    ),
    "By inviter": Chart(
        "retention/cohorts",
        "inviter week people active",
        lambda row: row["people"] != "",
        {"unit": "week", "by": "inviter"},
    ),
    "At risk": Chart("attention/at-risk", "member_id active_days_before active_days"),
    "Came back": Chart("attention/came-back", "member_id"),
    "Never spoke": Chart("attention/never-spoke", "member_id"),
    "Who stayed": Chart("inviters/inviters", "member_id brought members stayed"),
}
"""The charts whose files have the rows of a query."""


async def test_the_pages_show_what_the_queries_give(
    raw: RawRows, directory_url: str, client: httpx.AsyncClient
) -> None:
    for heading, chart in CHARTS.items():
        rows = await load_chart(client, raw, chart.path, **chart.choices)
        shown = [
            tuple(row[column] for column in chart.columns.split())
            for row in rows
            if chart.keep(row)
        ]
        found = {
            tuple("" if each is None else str(each) for each in row)
            for row in await run_definition(raw, directory_url, heading)
        }
        assert shown, heading
        if heading == "Who stayed":
            # Those without a present inviter have no row.
            assert {*shown} < found
        else:
            assert {*shown} == found, heading


async def test_the_pages_sum_what_the_queries_give(
    raw: RawRows, directory_url: str, client: httpx.AsyncClient
) -> None:
    async def run(heading: str) -> list[Row]:
        return await run_definition(raw, directory_url, heading)

    by_day = {
        str(day): (str(people), str(made)) for day, people, made, *_ in await run("Activity by day")
    }
    shown = await load_chart(client, raw, "activity")
    assert {row["since"]: (row["active_people"], row["messages"]) for row in shown} == {
        str(day): by_day.get(str(day), ("0", "0")) for day in raw.days()
    }

    statuses: dict[str, int] = dict(await run("Members by status"))
    last = (await load_chart(client, raw, "growth/members"))[-1]
    assert last["end_of_day"] == str(raw.until)
    assert {status: int(last[status]) for status in MEMBER} == {
        status: statuses.get(status, 0) for status in MEMBER
    }

    [steps] = await run("Steps")
    funnel = await load_chart(client, raw, "funnel/steps")
    assert [int(row["number"]) for row in funnel] == list(steps[:5])
    assert [int(row["waiting"]) for row in funnel[:-1]] == list(steps[5:])
    [times] = await run("Times between the steps")
    hours = [float(row["median_hours"]) for row in funnel if row["median_hours"]]
    assert hours == pytest.approx([*times[:2], 24 * times[2]], abs=0.06)

    counted = await run("People by contributions")
    buckets = await load_chart(client, raw, "contributions/buckets")
    for bucket in buckets:
        least, most = int(bucket["least_contributions"]), int(bucket["most_contributions"] or 10**9)
        inside = [(made, people) for made, people in counted if least <= made <= most]
        assert int(bucket["people"]) == sum(people for _, people in inside)
        assert int(bucket["contributions"]) == sum(made * people for made, people in inside)

    medians: dict[str, float] = dict(await run("Time to the first message"))
    inviters = await load_chart(client, raw, "inviters/inviters")
    assert inviters
    for row in inviters:
        median_days = row["median_days_to_first_message"]
        assert (float(median_days) if median_days else None) == medians.get(row["member_id"])
