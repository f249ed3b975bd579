"""Funnel, compared with a count of the raw rows in Python."""

import html
import re
from collections import Counter
from datetime import timedelta
from random import Random
from statistics import median
from urllib.parse import parse_qsl

import asyncpg
import httpx
import pytest

from community_directory.calendar import days_between, load_zone, today
from community_directory.queries import highlights, people
from community_directory.web.insights.funnel import Funnel, read_funnels, read_inviters
from community_directory.web.insights.groups import Grouping
from community_directory.web.insights.period import Period
from tests.tables.rows import event, invitation, member
from tests.web.insights.community import RawDirectory, read_raw_directory
from tests.web.insights.invited import make_invited_community
from tests.web.insights.links import check_invitation_links, read_csv
from tests.web.insights.periods import all_days, last_days
from tests.zones import use_zone


def count_steps(raw: RawDirectory, invited: int, guests: set[str]) -> dict[str, int]:
    """Return how many of some people, who accepted an invitation, took each step."""
    joined = {who for who in guests if raw.is_present(who)}
    approved = {who for who in joined if who in raw.approved}
    message = {who for who in approved if raw.messages[who]}
    week4 = {who for who in message if 4 in raw.weeks(who)}
    waiting = {who for who in message - week4 if today() - raw.joined[who] < timedelta(days=28)}
    return {
        "invited": invited,
        "joined": len(joined),
        "approved": len(approved),
        "message": len(message),
        "week4": len(week4),
        "waiting": len(waiting),
        "gone": len({who for who in guests if raw.is_gone(who)}),
    }


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

    keys: dict[object, int] = {
        None: {None: len(sent)},
        Grouping.MONTH: Counter(month for _, month in sent),
        Grouping.INVITER: {inviter: made[inviter] for inviter in order[:20]},
    }[by]
    return {key: count_steps(raw, number, guests_of(key)) for key, number in keys.items()}


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
        everybody, by_month, _ = await read_funnels(period)
        assert {None: everybody.counts} == expected_rows(raw, period, None)
        for by, rows in (
            (Grouping.MONTH, by_month),
            (Grouping.INVITER, await read_inviters(period)),
        ):
            counts = {row.key: row.counts for row in rows}
            assert counts == expected_rows(raw, period, by), (period, by)
    # Everything that can happen has happened, and some have accepted two invitations.
    assert min(everybody.counts.values()) > 0
    assert everybody.counts["invited"] > everybody.counts["joined"] > everybody.counts["approved"]
    accepted = Counter(row["accepted_by"] for row in raw.invitations if row["accepted_by"])
    assert accepted.most_common(1)[0][1] > 1
    assert len({row["created_by"] for row in raw.invitations}) > 20


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
        [unaccepted] = [link for link in links if link.filters["show"] == "unaccepted"]
        everybody = [
            link for link in links if link.filters == {**unaccepted.filters, "show": "all"}
        ]
        # All invitations are in the steps and in the last line of the table, the others in its
        # rows.
        assert [link.number for link in everybody[:1]] == [link.number for link in everybody[1:]]
        of_rows = [link for link in links if link not in (unaccepted, *everybody)]
        assert len(of_rows) > (10 if "inviter" in query else 1), query
        assert all(("inviter" in link.filters) == ("inviter" in query) for link in of_rows[1:])
        since, until = (unaccepted.filters[f"created_{name}"] for name in ("from", "to"))
        sent = [
            row["status"]
            for row in raw.invitations
            if since <= f"{row['created_at'].astimezone(load_zone(None)):%Y-%m-%d}" <= until
        ]
        assert everybody[0].number == len(sent), query
        assert unaccepted.number == len(sent) - sent.count("accepted") > 0, query


async def test_the_steps_add_up() -> None:
    counts = {"invited": 20, "joined": 12, "approved": 10, "message": 9, "week4": 3, "waiting": 3}
    funnel = Funnel(counts={**counts, "gone": 1})
    assert [funnel.lost(step) for step in counts if step != "waiting"] == [8, 2, 1, 3, 0]
    assert [funnel.share(step) for step in ("invited", "joined", "week4")] == [None, 0.6, 0.5]
    assert funnel.share_of_all("week4") == 0.15
    assert Funnel(counts=dict.fromkeys(funnel.counts, 0)).share("joined") is None
    # Nobody is without a week 4 that is over.
    early = Funnel(counts={**counts, "message": 3, "week4": 0, "waiting": 3, "gone": 0})
    assert (early.lost("message"), early.share("week4")) == (0, None)


async def test_files_have_the_numbers_of_the_charts(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await make_invited_community(directory, Random(5))
    period = Period("custom", today() - timedelta(days=200), today() - timedelta(days=1))
    assert period.before
    everybody, before = [(await read_funnels(each)).everybody for each in (period, period.before)]
    query = f"from={period.since}"
    steps = await read_csv(client, f"/insights/funnel/steps.csv?{query}")
    assert {row["step"]: int(row["people"]) for row in steps} == {
        step: everybody.counts[step]
        for step in ("invited", "joined", "approved", "message", "week4")
    }
    assert [int(row["lost"]) for row in steps] == [everybody.lost(row["step"]) for row in steps]
    assert [int(row["people_before"]) for row in steps] == [
        before.counts[row["step"]] for row in steps
    ]
    rows = await read_csv(client, f"/insights/funnel/rows.csv?by=inviter&{query}")
    assert rows[-1]["inviter"] == ""  # all others
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
