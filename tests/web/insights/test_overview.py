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

from community_directory.calendar import today
from community_directory.queries import bots, highlights, members, people
from community_directory.web.insights.hours import count_hours
from community_directory.web.insights.period import CUSTOM, Period
from tests.tables.rows import archive, counted_highlight, event, member
from tests.web.insights.html_tables import read_table, read_tiles
from tests.web.insights.links import check_people_links, read_csv
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
    # The figures, and the days that have somebody.
    assert len(links) >= 28
    assert max(number for number, _ in links) > 1
    page = (await client.get(PATH)).text
    bars = re.findall(r'<a href="/people/\?([^"]*)" tabindex="-1"><title>[^:]*: (\d+) active', page)
    assert len(bars) == 28
    for query, number in bars:
        assert await people.count(**dict(parse_qsl(html.unescape(query)))) == int(number)


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


async def test_each_month_is_compared_with_as_many_days_of_the_period_before(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_community(directory, monkeypatch)
    since, until = date(2025, 8, 15), date(2025, 12, 10)
    days = until - since + DAY
    path = f"?from={since}&to={until}"
    rows = await read_csv(client, f"/insights/activity.csv{path}")
    assert len(rows) == 5
    before = []
    for row in rows:
        first, last = (date.fromisoformat(row[name]) - days for name in ("since", "until"))
        before.append(len(active_people(within(first, last))))
        assert int(row["active_people_before"]) == before[-1], row["since"]
    assert len(set(before)) > 1
    tiles = await read_tiles(client, f"/insights/{path}")
    messages = message_count(within(since - days, since - DAY))
    assert f"against {messages} before" in tiles["Messages"][1]
    assert len(await check_people_links(client, f"/insights/{path}")) > len(rows)
    page = (await client.get(f"/insights/{path}")).text
    assert "<title>Aug 15\u2009–\u200931, 2025: " in page
    assert "A month that is only partly in this period" in page
    whole = (await client.get("/insights/?from=2025-07-01&to=2025-12-31")).text
    assert "A month that is only partly in this period" not in whole


async def test_the_numbers_before_lead_to_the_period_before(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_community(directory, monkeypatch)
    page = html.unescape((await client.get(PATH)).text)
    links = re.findall(r'against <a [^>]*href="(\?[^"]*)">([0-9,]+)</a> before', page)
    address, number = links[0]
    assert address == f"?from={BEFORE}&to={SINCE - DAY}"
    assert (await read_tiles(client, f"/insights/{address}"))["Active people"][0] == number


async def test_people_who_joined_are_also_those_who_are_gone(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    joined = datetime.now(UTC) - timedelta(days=3)
    for status in ("active", "pending", "banned", "not_member"):
        await member(directory, status=status, created_at=joined)
    removed = (await member(directory, status="active", created_at=joined))["member_id"]
    bot = (await member(directory, status="active", created_at=joined))["member_id"]
    merged = (await member(directory, status="active", created_at=joined))["member_id"]
    await members.remove(removed, actor="eva")
    await bots.mark_bot(bot, actor="eva")
    into = (await member(directory, status="active", created_at=joined))["member_id"]
    await members.merge(merged, into=into, actor="eva")
    for page in ("", "growth/", "inviters/"):
        for period in ("7", "all"):
            path = f"/insights/{page}?period={period}"
            assert (await read_tiles(client, path))["People who joined"][0] == "5", path
            await check_people_links(client, path)


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
    page = (await client.get("/insights/?from=2025-03-01&to=2025-03-14")).text
    assert f"means of one day. {said}" in page
    assert said not in (await client.get("/insights/?from=2025-03-05&to=2025-03-14")).text


def test_more_events_have_a_darker_shade_and_the_most_the_darkest() -> None:
    period = Period(CUSTOM, date(2025, 3, 3), date(2025, 3, 9))
    events = [(0, hour, hour) for hour in range(24)]
    hours = count_hours(events, period, None, platforms=["irc"], platform=None)
    shades = hours.shades[0]
    assert shades == sorted(shades)
    assert (shades[0], shades[1], shades[23]) == (0, 1, 5)
    assert hours.shades[1:] == [[0] * 24] * 6


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
    assert tiles["At risk"] == ["1", "in the last 28 days"]
    assert tiles["Messages"] == ["5", ""]
    page = (await client.get("/insights/?period=all")).text
    assert "The period before" not in page
    [(number, filters)] = [
        link
        for link in await check_people_links(client, "/insights/?period=all")
        if link.filters.get("activity") == "at_risk"
    ]
    assert (number, filters["since"]) == (1, str(yesterday - 27 * DAY))


async def test_a_bot_that_keeps_archived_days_is_in_no_bar(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    ana, rose = [(await member(directory, status="active"))["member_id"] for _ in range(2)]
    first, second = date(2025, 3, 1), date(2025, 3, 2)
    for number, day, messages in ((ana, first, 3), (rose, first, 5), (rose, second, 7)):
        await event(directory, member_id=number, occurred_at=datetime.combine(day, time(12), UTC))
        await counted_highlight(
            directory, member_id=number, highlight_date=day, message_count=messages
        )
    await archive(directory)
    paths = [
        f"/insights/activity.csv?from={since}&to={until}"
        for since, until in (
            (first, second),
            (date(2025, 1, 1), date(2025, 5, 31)),  # months
            (date(2025, 1, 1), first),  # and a part of one
        )
    ]
    before = [[row["messages"] for row in await read_csv(client, path)] for path in paths]
    assert [sum(map(int, found)) for found in before] == [15, 15, 8]
    await directory.execute("UPDATE community_members SET is_bot = true WHERE member_id = $1", rose)
    after = [await read_csv(client, path) for path in paths]
    assert [sum(int(row["messages"]) for row in found) for found in after] == [3, 3, 3]
    assert [sum(int(row["active_people"]) for row in found) for found in after] == [1, 1, 1]


async def test_bots_are_in_no_chart_and_no_list(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    noon = datetime.combine(today() - DAY, time(12), UTC)
    await member(directory, member_id="#1", status="active", created_at=noon - timedelta(weeks=9))
    await event(directory, member_id="#1", occurred_at=noon)
    await highlights.roll_up(noon.date())
    paths = ("/insights/", "/insights/growth/", "/insights/rooms/", "/tree/1/")
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
