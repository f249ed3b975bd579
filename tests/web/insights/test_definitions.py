"""The SQL of the definitions of Insights gives what a recount of the raw rows gives."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from statistics import median
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from community_directory.settings import load_settings
from tests.processes import PROJECT
from tests.roles import app_url, reader_url
from tests.web.insights.raw_rows import ACTIVE, RawRows, make_community

Row = tuple[object, ...]
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
        while cohort and later < this_month:
            active = sum(
                person.is_member
                and any(day.replace(day=1) == later for day in raw.active[person.number])
                for person in cohort
            )
            rows.append((month, number, len(cohort), active))
            later, number = (later + timedelta(days=31)).replace(day=1), number + 1
    return rows


def _day_of(raw: RawRows, person: object) -> date:
    return raw.day(person.joined_at)  # type: ignore[attr-defined]


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


def funnel_steps(raw: RawRows) -> list[Row]:
    people = [raw.people.get(each["accepted_by"]) for each in _sent(raw)]
    joined = [person for person in people if person is not None and person.is_present]
    approved = [person for person in joined if person.approved_at]
    wrote = [person for person in approved if raw.first_message_day(person)]
    stayed = [person for person in wrote if raw.was_active_in_week(person, 4)]
    return [(len(people), len(joined), len(approved), len(wrote), len(stayed), 0)]


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
    monkeypatch.setenv("DIRECTORY_TIME_ZONE", zone)
    load_settings.cache_clear()
    return await make_community(directory, ZoneInfo(zone), since, until)


async def test_the_queries_give_what_the_raw_rows_give(raw: RawRows, directory_url: str) -> None:
    # The values are put in as psql does it.
    period = {":since": f"'{raw.since}'", ":until": f"'{raw.until}'"}
    settings = {"timezone": raw.zone.key}
    for heading, sql in DEFINITIONS.items():
        may_read = app_url if heading in NEED_MORE_RIGHTS else reader_url
        query = re.sub(r":(since|until)\b", lambda found: period[found[0]], sql)
        connection = await asyncpg.connect(may_read(directory_url), server_settings=settings)
        try:
            found = await connection.fetch(query)
        finally:
            await connection.close()
        recounted = RECOUNTS[heading](raw)
        assert recounted, heading
        assert Counter(map(tuple, found)) == Counter(recounted), heading
