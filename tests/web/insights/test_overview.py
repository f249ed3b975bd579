"""The page Overview: its numbers, recounted from raw events, and the people behind them."""

import html
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from urllib.parse import parse_qsl

import asyncpg
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from community_directory.calendar import today
from community_directory.queries import highlights, members, people
from community_directory.tables import MemberStatus
from community_directory.web.insights.growth import STATUS_BANDS, count_gone, count_statuses
from community_directory.web.insights.hours import count_hours
from community_directory.web.insights.period import CUSTOM, Period
from tests.tables.rows import audit_entry, counted_highlight, event, invitation, member
from tests.web.insights.html_tables import read_table, read_tiles
from tests.web.insights.links import check_invitation_links, check_people_links, read_csv
from tests.web.insights.overview_community import (
    BEFORE,
    PERIOD,
    SINCE,
    UNTIL,
    RawEvent,
    make_community,
    within,
)

DAY = timedelta(days=1)
PATH = f"/insights/?{PERIOD}"


def active_people(events: Iterable[RawEvent]) -> set[str]:
    return {each.person.name for each in events if each.is_activity and each.is_of_present}


def message_count(events: Iterable[RawEvent]) -> int:
    return sum(each.event_type == "MESSAGE" for each in events)


async def test_the_figures_equal_a_recount_of_the_events(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_community(directory, monkeypatch)
    tiles = await read_tiles(client, PATH)
    events, before = within(SINCE, UNTIL), within(BEFORE, SINCE - DAY)
    assert tiles["Active people"][0] == str(len(active_people(events)))
    assert f"against {len(active_people(before))} before" in tiles["Active people"][1]
    assert tiles["Messages"][0] == str(message_count(events))
    assert f"against {message_count(before)} before" in tiles["Messages"][1]
    # Chidi became a member in the period, Eva is a contact, and Bea and Dana came before.
    assert tiles["People who joined"][0] == "1"
    # Only Hui came on fewer than four days, and nobody else less than half as often as before.
    assert tiles["At risk"][0] == "0"


async def test_every_number_of_people_leads_to_exactly_these_people(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_community(directory, monkeypatch)
    links = await check_people_links(client, PATH)
    # The figures and the one below the outcomes, the days and the tiers that have somebody.
    assert len(links) >= 28
    assert max(number for number, _ in links) > 1
    page = (await client.get(PATH)).text
    bars = re.findall(r'<a href="/people/\?([^"]*)" tabindex="-1"><title>[^:]*: (\d+) active', page)
    assert len(bars) == 28
    for query, number in bars:
        assert await people.count(**dict(parse_qsl(html.unescape(query)))) == int(number)


async def test_the_legend_of_the_members_leads_to_them_if_the_period_ends_yesterday(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_community(directory, monkeypatch)
    links = {
        filters["status"]: number
        for number, filters in await check_people_links(client, "/insights/?period=7")
        if set(filters) == {"status"}
    }
    # Gone are Falk and Gil.
    assert links == {"active": 3, "pending": 1, "suspended": 1, "gone": 2}
    earlier = await check_people_links(client, PATH)
    assert {"status": "active"} not in [filters for _, filters in earlier]


async def test_days_have_the_people_and_messages_of_a_recount_in_a_zone_with_summer_time(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_community(directory, monkeypatch)
    rows = await read_csv(client, f"/insights/activity.csv?{PERIOD}")
    assert len(rows) == 28
    for number, row in enumerate(rows):
        day, earlier = SINCE + number * DAY, BEFORE + number * DAY
        assert (row["since"], row["until"]) == (str(day), str(day))
        assert int(row["active_people"]) == len(active_people(within(day, day)))
        assert int(row["messages"]) == message_count(within(day, day))
        assert int(row["active_people_before"]) == len(active_people(within(earlier, earlier)))
    shown = await read_table(client, "Active people and messages", PATH)
    assert [row[1] for row in shown] == [row["active_people"] for row in reversed(rows)]


async def test_a_longer_period_has_months_and_its_ends_only_their_days(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_community(directory, monkeypatch)
    first = date(2025, 6, 20)
    path = f"?from={first}&to={UNTIL}"
    rows = await read_csv(client, f"/insights/activity.csv{path}")
    months = [
        (first, date(2025, 6, 30)),
        (date(2025, 7, 1), date(2025, 7, 31)),
        (date(2025, 8, 1), date(2025, 8, 31)),
        (date(2025, 9, 1), UNTIL),
    ]
    assert [(row["since"], row["until"]) for row in rows] == [
        (str(since), str(until)) for since, until in months
    ]
    for row, month in zip(rows, months, strict=True):
        assert int(row["active_people"]) == len(active_people(within(*month))), month
        assert int(row["messages"]) == message_count(within(*month)), month
    assert len(await check_people_links(client, f"/insights/{path}")) >= len(months)


async def test_the_most_active_people_are_present_and_counted_in_the_period(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_community(directory, monkeypatch)
    done: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for each in within(SINCE, UNTIL):
        if each.is_activity and each.is_of_present:
            done[each.person.name][each.event_type] += 1
    rows = await read_table(client, "People with the most", PATH)
    found = {row[0]: (int(row[2]), int(row[3])) for row in rows}
    assert found == {name: (each["MESSAGE"], each["REACTION"]) for name, each in done.items()}
    sums = [sum(counts) for counts in found.values()]
    assert sums == sorted(sums, reverse=True)


async def test_only_twelve_are_the_most_active_and_voice_decides_between_equals(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    for number in range(14):
        row = await member(directory, name=f"Person {number}")
        await counted_highlight(
            directory,
            member_id=row["member_id"],
            highlight_date=date(2025, 3, 3),
            message_count=5,
            voice_minutes=number,
        )
    rows = await read_table(
        client, "People with the most", "/insights/?from=2025-03-01&to=2025-03-07"
    )
    assert [row[0] for row in rows] == [f"Person {number}" for number in range(13, 1, -1)]


async def test_hours_have_all_events_as_the_clocks_of_the_community_showed_them(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_community(directory, monkeypatch)
    for platform in (None, "telegram", "irc"):
        plain: Counter[tuple[int, int]] = Counter(
            (each.at.weekday(), each.at.hour)
            for each in within(SINCE, UNTIL)
            if platform in (None, each.platform)
        )
        path = f"{PATH}&platform={platform}" if platform else PATH
        rows = await read_table(client, "Events by weekday and hour", path)
        assert [[int(cell) for cell in row[1:]] for row in rows] == [
            [plain[day, hour] for day in range(7)] for hour in range(24)
        ]
        page = (await client.get(path)).text
        assert f"Events: {plain.total()} (" in page
        assert "America/Santiago" in page


async def test_the_choice_of_a_platform_stays_with_another_period(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_community(directory, monkeypatch)
    page = html.unescape((await client.get(f"{PATH}&platform=irc")).text)
    assert 'href="?platform=irc&period=90"' in page
    assert f'href="?{PERIOD}&platform=discord#hours"' in page
    later = (await client.get("/insights/?period=7&platform=irc")).text
    assert "No events were counted in this period" in later
    assert re.search(r'platform=irc#hours" aria-current="true"', later)


@pytest.mark.parametrize("path", [PATH, f"/insights/hours.csv?{PERIOD}"])
@pytest.mark.parametrize("platform", ["mastodon", "<script>", "%00"])
async def test_a_platform_without_any_event_is_refused(
    client: httpx.AsyncClient,
    directory: asyncpg.Pool,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    platform: str,
) -> None:
    await make_community(directory, monkeypatch)
    response = await client.get(f"{path}&platform={platform}")
    assert (response.status_code, "<script>" in response.text) == (400, False)
    assert "The address has a mistake" in response.text


async def test_means_are_shown_where_the_weekdays_are_not_equally_often(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_community(directory, monkeypatch)
    until = SINCE + 8 * DAY  # Monday to Tuesday
    plain = Counter((each.at.weekday(), each.at.hour) for each in within(SINCE, until))
    rows = await read_table(client, "Mean events by weekday", f"/insights/?from={SINCE}&to={until}")
    assert [[float(cell) for cell in row[1:]] for row in rows] == [
        [round(plain[day, hour] / (2 if day < 2 else 1), 1) for day in range(7)]
        for hour in range(24)
    ]


async def test_the_page_says_since_when_hours_are_counted(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    author = (await member(directory))["member_id"]
    await counted_highlight(directory, member_id=author, highlight_date=date(2025, 3, 1))
    await event(directory, member_id=author, occurred_at=datetime(2025, 3, 5, 12, tzinfo=UTC))
    await highlights.roll_up(date(2025, 3, 5))
    said = "Hours are counted since March 5, 2025."
    assert said in (await client.get("/insights/?from=2025-03-01&to=2025-03-14")).text
    assert said not in (await client.get("/insights/?from=2025-03-05&to=2025-03-14")).text


def test_more_events_have_a_darker_shade_and_the_most_the_darkest() -> None:
    period = Period(CUSTOM, date(2025, 3, 3), date(2025, 3, 9))
    events = [(0, hour, hour) for hour in range(24)]
    hours = count_hours(events, period, None, platforms=["irc"], platform=None)
    shades = hours.shades[0]
    assert shades == sorted(shades)
    assert (shades[0], shades[1], shades[23]) == (0, 1, 5)
    assert hours.shades[1:] == [[0] * 24] * 6


CHANGES = (
    ("#5", "active", 42),
    ("#6", "banned", 84),
    ("#6", "active", 21),
    ("#1", "suspended", 14),
)
"""Status changes: the member, the new status, and how many days before the end."""


async def test_growth_shows_how_many_had_each_status_at_each_point(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    end = date(2025, 6, 29)

    def ago(days: int) -> datetime:
        return datetime.combine(end - days * DAY, time(12), UTC)

    async def add(number: str, status: str, days: int, removed: int | None = None) -> object:
        row = await member(
            directory,
            member_id=number,
            status=status,
            created_at=ago(days),
            deleted_at=None if removed is None else ago(removed),
        )
        return row["id"]

    await add("#1", "active", 210)
    await add("#2", "active", 70)
    await add("#3", "active", 140, removed=35)
    await add("#4", "not_member", 140, removed=35)
    await add("#5", "pending", 56)
    await add("#6", "active", 105)
    for number, status, days in CHANGES:
        await members.set_status(number, status, actor="eva")
        await directory.execute(
            "UPDATE directory_audit_log SET changed_at = $3"
            " WHERE member_id = $1 AND changes -> 'status' ->> 1 = $2 AND action = 'UPDATE'",
            number,
            status,
            ago(days),
        )
    # This member's status was changed after they were removed.
    late = await add("#7", "suspended", 140, removed=35)
    changes = {"status": ["active", "suspended"]}
    await audit_entry(directory, member_id="#7", row_id=late, changed_at=ago(21), changes=changes)
    for days, step in ((182, 7), (21, 1)):
        path = f"/insights/members.csv?from={end - (days - 1) * DAY}&to={end}"
        rows = await read_csv(client, path)
        assert [row["end_of_day"] for row in rows] == [
            str(end - number * DAY) for number in range(days, -1, -step)
        ]
        for row in rows:
            # A change is counted from the end of its day on.
            back = (end - date.fromisoformat(row["end_of_day"])).days
            active = (back <= 210) - (back <= 14)  # #1
            active += back <= 70  # #2
            active += 2 * (35 < back <= 140)  # #3, #7
            active += back <= 42  # #5
            active += 84 < back <= 105 or back <= 21  # #6
            counts = (active, 42 < back <= 56, back <= 14, (21 < back <= 84) + 2 * (back <= 35))
            assert [int(row[band]) for band in STATUS_BANDS] == [*map(int, counts)], back


statuses = st.sampled_from([*MemberStatus])
POINTS = 6


@given(
    st.lists(
        st.tuples(
            st.integers(0, POINTS - 1),
            st.none() | st.integers(0, POINTS - 1),
            statuses,
            st.lists(st.tuples(st.integers(1, POINTS - 1), statuses), max_size=4),
        ),
        max_size=8,
    )
)
def test_undoing_the_changes_agrees_with_a_plain_count(
    drawn_people: list[tuple[int, int | None, str, list[tuple[int, str]]]],
) -> None:
    found, changes, plain = [], [], Counter[tuple[str, int]]()
    for came, went, first, drawn in drawn_people:
        later = sorted((point, status) for point, status in drawn if point >= came)
        status = first
        for point, after in later:
            changes.append((came, point if went is None else min(point, went), status, after, 1))
            status = after
        found.append((came, went, status, None, 1))
        for end in range(came, POINTS):
            at = [first, *(after for point, after in later if point <= end)][-1]
            if went is None or end < went:
                plain[at, end] += 1
    assert count_statuses(found, changes, POINTS) == {
        status: [plain[status, end] for end in range(POINTS)] for status in MemberStatus
    }


def test_gone_are_those_who_joined_and_are_no_members() -> None:
    counts = {"active": [1, 1, 0], "pending": [0, 2, 1], "suspended": [0, 0, 0]}
    assert count_gone(counts, [(0, 1), (1, 3)]) == [0, 1, 3]


async def test_outcomes_and_waiting_times_are_those_of_the_invitations_of_the_period(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    sender = (await member(directory, status="active"))["member_id"]
    first, last = date(2025, 3, 1), date(2025, 3, 28)
    waits = [
        timedelta(minutes=59),
        timedelta(hours=1),
        timedelta(hours=7),
        timedelta(days=1),
        timedelta(days=9),
    ]

    def sent_on(day: date, clock: time = time(12)) -> datetime:
        return datetime.combine(day, clock, UTC)

    for number, wait in enumerate(waits):
        sent = sent_on(first + number * DAY)
        # The third one is banned today.
        status = "banned" if number == 2 else "active"
        joined = (await member(directory, status=status))["member_id"]
        await invitation(
            directory, created_by=sender, status="accepted", accepted_by=joined, created_at=sent,
            accepted_at=sent + wait, expires_at=sent + timedelta(days=3),
        )  # fmt: skip
    tomorrow = datetime.now(UTC) + DAY
    for status, ends, sent in (
        ("pending", tomorrow, sent_on(last, time(23, 59))),
        ("pending", sent_on(last), sent_on(first, time())),
        ("expired", sent_on(last), sent_on(first)),
        ("cancelled", tomorrow, sent_on(last)),
        ("cancelled", tomorrow, sent_on(first - DAY, time(23, 59))),
        ("cancelled", tomorrow, sent_on(last + DAY, time())),
    ):
        await invitation(
            directory, created_by=sender, status=status, expires_at=ends, created_at=sent
        )
    path = f"/insights/?from={first}&to={last}"
    outcomes = await read_table(client, "Invitations by outcome", path)
    assert [(name, count, share) for name, _, count, share in outcomes] == [
        ("Sent", "9", "100%"),
        ("Accepted", "5", "56%"),
        ("Pending", "1", "11%"),
        ("Expired", "2", "22%"),
        ("Cancelled", "1", "11%"),
    ]
    rows = await read_table(client, "Accepted invitations by the time", path)
    assert [row[1] for row in rows] == ["1", "1", "1", "1", "0", "1"]
    links = await check_people_links(client, path)
    assert [number for number, filters in links if "reached" in filters] == [4, 4]
    assert (await read_tiles(client, path))["Accepted an invitation"] == ["4", "none before"]
    found = await check_invitation_links(client, path)
    assert [number for number, _ in found] == [9, 5, 1, 2, 1]


async def test_tiers_count_active_members(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    for score in (0, 100, 101, 700, 1500, 1501, 9000):
        await member(directory, status="active", reputation_score=score)
    await member(directory, status="pending", reputation_score=9000)
    await member(directory, status="active", reputation_score=9000, deleted_at=datetime.now(UTC))
    rows = await read_table(client, "Active members by reputation tier")
    assert [row[2] for row in rows] == ["2", "1", "1", "2", "1"]
    links = await check_people_links(client, "/insights/")
    assert [number for number, filters in links if "tier" in filters] == [2, 1, 1, 2, 1]


async def test_all_days_have_no_period_before_and_the_risk_of_the_last_28(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    author = (await member(directory, status="active"))["member_id"]
    yesterday = today() - DAY
    for days in range(28, 33):
        await counted_highlight(
            directory, member_id=author, highlight_date=yesterday - days * DAY, message_count=1
        )
    tiles = await read_tiles(client, "/insights/?period=all")
    assert tiles["At risk"][0] == "1"
    assert tiles["Messages"] == ["5", ""]
    page = (await client.get("/insights/?period=all")).text
    assert "The period before" not in page
    [(number, filters)] = [
        link
        for link in await check_people_links(client, "/insights/?period=all")
        if link.filters.get("activity") == "at_risk"
    ]
    assert (number, filters["since"]) == (1, str(yesterday - 27 * DAY))


async def test_bots_are_in_no_chart_and_no_list(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    noon = datetime.combine(today() - DAY, time(12), UTC)
    await member(directory, member_id="#1", status="active", created_at=noon - timedelta(weeks=9))
    await event(directory, member_id="#1", occurred_at=noon)
    await highlights.roll_up(noon.date())
    paths = ("/insights/", "/insights/rooms/", "/tree/1/")
    before = [(await client.get(path)).text for path in paths]
    bot = {"name": "Rose", "status": "active", "invited_by": "#1", "is_bot": True}
    await member(directory, member_id="#2", created_at=noon - timedelta(weeks=9), **bot)
    await members.set_status("#2", "suspended", actor="Luis")
    for minutes in range(60):
        await event(directory, member_id="#2", occurred_at=noon - timedelta(minutes=minutes))
    await highlights.roll_up(noon.date())
    assert [(await client.get(path)).text for path in paths] == before
    shown = (await client.get("/tree/2/")).text
    assert "Rose" in shown


@pytest.mark.parametrize(
    ("chart", "columns"),
    [
        ("activity", "since,until,active_people,messages,active_people_before"),
        ("members", "end_of_day,active,pending,suspended,gone"),
        ("hours", "iso_weekday,hour,events,mean_events"),
        ("tiers", "tier,members"),
        ("outcomes", "outcome,invitations"),
        ("waiting_times", "time_until_accepted,invitations"),
        ("most_active", "member_id,name,messages,reactions,voice_minutes"),
    ],
)
async def test_the_data_of_each_chart_is_a_csv_file(
    client: httpx.AsyncClient,
    directory: asyncpg.Pool,
    monkeypatch: pytest.MonkeyPatch,
    chart: str,
    columns: str,
) -> None:
    await make_community(directory, monkeypatch)
    page = (await client.get(PATH)).text
    assert f'href="/insights/{chart}.csv?' in page
    response = await client.get(f"/insights/{chart}.csv?{PERIOD}")
    header = response.text.removeprefix("\ufeff").splitlines()[0]
    assert header.replace('"', "") == columns
    assert f"overview-{chart}-{SINCE}-{UNTIL}.csv" in response.headers["content-disposition"]
    rows = await read_csv(client, f"/insights/{chart}.csv?{PERIOD}")
    assert rows
