"""Funnel, compared with a count of the raw rows in Python."""

import html
import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from statistics import median
from typing import Any
from urllib.parse import parse_qsl

import asyncpg
import httpx
import pytest

from community_directory.calendar import days_between, load_zone, today
from community_directory.queries import highlights, people
from community_directory.web.insights.funnel import STEPS, Funnel, read_funnels, read_rows
from community_directory.web.insights.groups import Grouping
from community_directory.web.insights.period import Period
from tests.tables.rows import event, invitation, member
from tests.web.insights.community import RawDirectory, read_raw_directory
from tests.web.insights.invited import make_invited_community
from tests.web.insights.links import check_invitation_links, check_people_links, read_csv
from tests.web.insights.periods import all_days, last_days
from tests.zones import use_zone


def count_steps(
    raw: RawDirectory, sent: Sequence[asyncpg.Record], guests: set[str]
) -> dict[str, int]:
    """Return how many of some people, who accepted an invitation, took each step."""
    joined = {who for who in guests if raw.is_present(who)}
    approved = {who for who in joined if who in raw.approved}
    message = {who for who in approved if raw.messages[who]}
    week4 = {who for who in message if 4 in raw.weeks(who)}
    first_day = today() - timedelta(days=27)
    zone = load_zone(None)
    can_write = {
        who for who in approved - message if raw.approved[who].astimezone(zone).date() >= first_day
    }
    can_stay = {who for who in message - week4 if raw.joined[who] >= first_day}
    return {
        "invited": len(sent),
        "waiting_invited": sum(map(is_open, sent)),
        "joined": len(joined),
        "approved": len(approved),
        "message": len(message),
        "week4": len(week4),
        "waiting_joined": sum(raw.people[who]["status"] == "pending" for who in joined - approved),
        "waiting_approved": len(can_write),
        "waiting_message": len(can_stay),
        "gone": len({who for who in guests if raw.is_gone(who)}),
    }


def is_open(row: asyncpg.Record) -> bool:
    """Tell whether somebody can still accept an invitation."""
    return bool(row["status"] == "pending" and row["expires_at"] > datetime.now(UTC))


def expected_rows(raw: RawDirectory, period: Period, by: Grouping | None) -> dict[object, object]:
    """Return the steps of each month, of each of 20 inviters, or of all."""
    zone = load_zone(None)
    sent = [
        (row, row["created_at"].astimezone(zone).date().replace(day=1))
        for row in raw.invitations
        if period.since <= row["created_at"].astimezone(zone).date() <= period.until
    ]
    made = Counter(row["created_by"] for row, _ in sent)
    order = sorted(made, key=lambda inviter: (-made[inviter], len(inviter), inviter))

    def guests_of(key: object) -> set[str]:
        return {
            row["accepted_by"]
            for row, month in sent
            if row["accepted_by"]
            and (
                by is None
                or key
                == (month if by is Grouping.MONTH else raw.people[row["accepted_by"]]["invited_by"])
            )
        }

    keys: dict[Grouping | None, list[Any]] = {
        None: [None],
        Grouping.MONTH: sorted({month for _, month in sent}),
        Grouping.INVITER: order[:20],
    }
    return {
        key: count_steps(
            raw,
            [row for row, month in sent if by is None or key in (month, row["created_by"])],
            guests_of(key),
        )
        for key in keys[by]
    }


@pytest.mark.parametrize(
    ("seed", "zone"), [(1, "UTC"), (2, "America/New_York"), (3, "Pacific/Kiritimati")]
)
async def test_each_step_is_that_of_a_recount(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch, seed: int, zone: str
) -> None:
    use_zone(monkeypatch, zone)
    await make_invited_community(directory, Random(seed))
    raw = await read_raw_directory(directory)
    for period in (last_days(28), last_days(365), all_days()):
        everybody, by_month, *_ = await read_funnels(period)
        assert {None: everybody.counts} == expected_rows(raw, period, None)
        for by, rows in (
            (Grouping.MONTH, by_month),
            (Grouping.INVITER, await read_rows(period)),
        ):
            counts = {row.key: row.counts for row in rows}
            assert counts == expected_rows(raw, period, by), (period, by)
    # Everything that can happen has happened, and some have accepted two invitations.
    assert min(everybody.counts.values()) > 0
    assert everybody.counts["invited"] > everybody.counts["joined"] > everybody.counts["approved"]
    accepted = Counter(row["accepted_by"] for row in raw.invitations if row["accepted_by"])
    assert accepted.most_common(1)[0][1] > 1
    assert len({row["created_by"] for row in raw.invitations}) > 20


async def test_those_of_the_chosen_inviters_alone_are_counted(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await make_invited_community(directory, Random(1))
    raw, period = await read_raw_directory(directory), last_days(365)
    expected = expected_rows(raw, period, Grouping.INVITER)
    first, _, third, *_ = [str(key) for key in expected]
    inviters = {first: "Ana", third: "Bo"}
    rows = await read_rows(period, inviters)
    assert {row.key: row.counts for row in rows} == {key: expected[key] for key in inviters}
    everybody, by_month, *_ = await read_funnels(period, inviters)
    assert everybody.counts == {
        name: sum(row.counts[name] for row in rows) for name in everybody.counts
    }
    assert sum(row.counts["invited"] for row in by_month) == everybody.counts["invited"]

    for by in Grouping:
        # The form of the page has a parameter for each box.
        query = f"period=12m&by={by}&inviter={first[1:]}&inviter={third[1:]}"
        of_people = await check_people_links(client, f"/insights/funnel/?{query}")
        of_invitations = await check_invitation_links(client, f"/insights/funnel/?{query}")
        assert len(of_people) > 20
        for filters in [link.filters for link in of_people] + [
            link.filters for link in of_invitations
        ]:
            assert {f"#{each}" for each in filters["inviter"].split(",")} <= {*inviters}
        steps = await read_csv(client, f"/insights/funnel/steps.csv?{query}")
        assert [int(row["number"]) for row in steps] == [everybody.counts[step] for step in STEPS]


async def test_the_medians_are_those_of_a_recount(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_zone(monkeypatch, "America/New_York")
    await make_invited_community(directory, Random(6))
    raw = await read_raw_directory(directory)
    zone = load_zone(None)
    accepted = [row for row in raw.invitations if row["accepted_by"]]
    first = {
        who: (
            min(row["created_at"] for row in accepted if row["accepted_by"] == who),
            min(row["accepted_at"] for row in accepted if row["accepted_by"] == who),
        )
        for who in {row["accepted_by"] for row in accepted}
        if raw.is_present(who)
    }
    until_approved = [
        raw.approved[who] - at
        for who, (_, at) in first.items()
        if who in raw.approved and raw.approved[who] >= at
    ]
    until_message = [
        (min(raw.messages[who]) - day).days
        for who in first
        if who in raw.approved and raw.messages[who]
        for day in [raw.approved[who].astimezone(zone).date()]
        if min(raw.messages[who]) >= day
    ]
    medians = (await read_funnels(all_days())).everybody.medians
    assert abs(medians["joined"] - median(at - sent for sent, at in first.values())) < SECOND
    assert abs(medians["approved"] - median(until_approved)) < SECOND
    assert medians["message"] == timedelta(days=median(until_message))
    assert min(len(until_approved), len(until_message)) > 5


SECOND = timedelta(seconds=1)


async def test_each_number_leads_to_as_many_people(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_zone(monkeypatch, "America/New_York")
    await make_invited_community(directory, Random(4))
    for query in ("", "?by=inviter", "?by=inviter&period=all", "?period=12m"):
        page = (await client.get(f"/insights/funnel/{query}")).text
        links = re.findall(r'href="/people/\?([^"]*)"[^>]*>([0-9,]+)', page)
        found = [(dict(parse_qsl(html.unescape(address))), int(text)) for address, text in links]
        for filters, number in found:
            assert await people.count(**filters) == number, (query, filters)
        assert {filters.get("reached") for filters, _ in found} >= {
            "joined", "approved", "message", "week4",
        }, query  # fmt: skip
        assert {filters.get("stuck") for filters, _ in found} >= {
            "joined", "approved", "message", "waiting",
            "waiting_joined", "waiting_approved", "waiting_message",
        }, query  # fmt: skip
        assert "gone" in {filters["status"] for filters, _ in found}, query


async def test_each_number_of_invitations_leads_to_as_many(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_zone(monkeypatch, "America/New_York")
    await make_invited_community(directory, Random(4))
    raw = await read_raw_directory(directory)
    for query in ("", "?by=inviter", "?period=all", "?period=12m"):
        links = await check_invitation_links(client, f"/insights/funnel/{query}")
        of_row = {"inviter"} if "inviter" in query else set[str]()
        shows = Counter(link.filters["show"] for link in links)
        assert shows["open"] == shows["expired"] == shows["cancelled"] == 1, query
        [opened] = [link for link in links if link.filters["show"] == "open"]
        everybody = [link for link in links if link.filters == {**opened.filters, "show": "all"}]
        # All invitations are in the steps and in the last line of the table, the others in its
        # rows.
        assert [link.number for link in everybody[:1]] == [link.number for link in everybody[1:]]
        rows = [link for link in links if link.filters["show"] == "all" and link not in everybody]
        assert len(rows) > (10 if of_row else 1), query
        assert all(of_row <= {*link.filters} for link in rows[1:])
        since, until = (opened.filters[f"created_{name}"] for name in ("from", "to"))
        sent = [
            row
            for row in raw.invitations
            if since <= f"{row['created_at'].astimezone(load_zone(None)):%Y-%m-%d}" <= until
        ]
        assert everybody[0].number == len(sent), query
        assert opened.number == sum(map(is_open, sent)), query


async def test_the_steps_add_up() -> None:
    steps = {"invited": 20, "joined": 12, "approved": 10, "message": 9, "week4": 3}
    waiting = {"invited": 5, "joined": 2, "approved": 1, "message": 4}
    counts = {**steps, **{f"waiting_{step}": number for step, number in waiting.items()}}
    funnel = Funnel(counts={**counts, "gone": 1})
    assert [funnel.lost(step) for step in steps] == [3, 0, 0, 2, None]
    assert [funnel.waiting(step) for step in steps] == [5, 2, 1, 4, None]
    assert funnel.people_waiting == 7
    # The shares are of all who took the step before, so that they multiply to that of all.
    assert [funnel.share(step) for step in steps] == [None, 12 / 20, 10 / 12, 9 / 10, 3 / 9]
    assert funnel.share_of_all("week4") == 3 / 20
    assert Funnel(counts=dict.fromkeys(funnel.counts, 0)).share("joined") is None


async def test_files_have_the_numbers_of_the_charts(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await make_invited_community(directory, Random(5))
    await directory.execute("UPDATE community_members SET name = '=1+2 ' || member_id")
    period = Period("custom", today() - timedelta(days=200), today() - timedelta(days=1))
    assert period.before
    everybody, before = [(await read_funnels(each)).everybody for each in (period, period.before)]
    query = f"from={period.since}"
    steps = await read_csv(client, f"/insights/funnel/steps.csv?{query}")
    assert [row["step"] for row in steps] == [*STEPS]
    assert [int(row["number"]) for row in steps] == [everybody.counts[step] for step in STEPS]
    assert [int(row["number_before"]) for row in steps] == [before.counts[step] for step in STEPS]
    assert [int(row["lost"]) for row in steps[:-1]] == [everybody.lost(each) for each in STEPS[:-1]]
    assert [int(row["waiting"]) for row in steps[:-1]] == [
        everybody.waiting(step) for step in STEPS[:-1]
    ]
    assert (steps[-1]["waiting"], steps[-1]["lost"]) == ("", "")
    rows = await read_csv(client, f"/insights/funnel/rows.csv?by=inviter&{query}")
    assert (rows[-1]["inviter"], rows[-1]["name"]) == ("", "All others")
    assert rows[0]["name"] == f"'=1+2 {rows[0]['inviter']}"  # which no spreadsheet computes
    for name, number in everybody.counts.items():
        assert sum(int(row[name]) for row in rows) == number


async def test_medians_are_told_in_words(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    day = today() - timedelta(days=9)
    joined = days_between(day, day, None).starts[0]
    guest = (await member(directory, status="active", created_at=joined))["member_id"]
    created = joined - timedelta(days=2, hours=3)
    await invitation(
        directory,
        status="accepted",
        accepted_by=guest,
        accepted_at=joined,
        created_at=created,
        expires_at=created + timedelta(days=3),
    )
    await event(directory, member_id=guest, occurred_at=joined + timedelta(hours=5))
    await highlights.roll_up(day)
    page = (await client.get("/insights/funnel/")).text
    assert "2 days 3 hours" in page
    assert "the same day" in page


async def test_a_period_without_invitations_is_said(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    for query in ("", "?by=inviter", "?period=all"):
        page = (await client.get(f"/insights/funnel/{query}")).text
        assert "Nobody was invited in this period." in page


async def test_invitations_that_nobody_accepted_have_no_shares(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    moment = (await directory.fetchval("SELECT now()")) - timedelta(days=2)
    await invitation(directory, created_at=moment, expires_at=moment + timedelta(days=3))
    page = (await client.get("/insights/funnel/")).text
    assert re.search(r"<td class=\"n\"><a [^>]*>1</a></td><td class=\"n\">–</td>", page)


@pytest.mark.parametrize("query", ["by=country", "by=x"])
async def test_a_choice_that_does_not_exist_is_refused(
    client: httpx.AsyncClient, directory: asyncpg.Pool, query: str
) -> None:
    response = await client.get(f"/insights/funnel/?{query}")
    assert response.status_code == 400
    assert "There is no such choice." in response.text
