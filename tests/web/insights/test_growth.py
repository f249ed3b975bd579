"""The page Growth: members by status and tier, and invitations by outcome."""

import re
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta

import asyncpg
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from community_directory.queries import members
from community_directory.tables import MemberStatus
from community_directory.web.insights.growth import STATUS_BANDS, count_gone, count_statuses
from tests.tables.rows import audit_entry, invitation, member
from tests.web.insights.html_tables import read_table, read_tiles
from tests.web.insights.links import check_invitation_links, check_people_links, read_csv
from tests.web.insights.overview_community import PERIOD, make_community

DAY = timedelta(days=1)

PATH = f"/insights/growth/?{PERIOD}"


async def test_the_legend_of_the_members_leads_to_them_if_the_period_ends_yesterday(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_community(directory, monkeypatch)
    links = {
        filters["status"]: number
        for number, filters in await check_people_links(client, "/insights/growth/?period=7")
        if set(filters) == {"status"}
    }
    # Gone are Falk and Gil.
    assert links == {"active": 3, "pending": 1, "suspended": 1, "gone": 2}
    earlier = await check_people_links(client, PATH)
    assert {"status": "active"} not in [filters for _, filters in earlier]


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
        path = f"/insights/growth/members.csv?from={end - (days - 1) * DAY}&to={end}"
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
    days = f"?from={first}&to={last}"
    path = f"/insights/growth/{days}"
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
    tiles = await read_tiles(client, path)
    assert tiles["Invitations"] == ["9", "+800% against 1 before"]
    assert tiles["Accepted an invitation of this period"] == ["4", "none before"]
    overview = await read_tiles(client, f"/insights/{days}")
    for label in ("People who joined", "Accepted an invitation of this period"):
        assert tiles[label] == overview[label]
    text = re.sub(r"<[^>]+>", "", (await client.get(path)).text)
    assert "4 people who accepted one are here today." in text
    text = re.sub(r"<[^>]+>", "", (await client.get(f"{path[:-2]}01")).text)
    assert "1 person who accepted one is here today." in text
    found = await check_invitation_links(client, path)
    assert [number for number, _ in found] == [9, 9, 5, 1, 2, 1]


async def test_tiers_count_active_members(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    for score in (0, 100, 101, 700, 1500, 1501, 9000):
        await member(directory, status="active", reputation_score=score)
    await member(directory, status="pending", reputation_score=9000)
    await member(directory, status="active", reputation_score=9000, deleted_at=datetime.now(UTC))
    rows = await read_table(client, "Active members by reputation tier", "/insights/growth/")
    assert [row[2] for row in rows] == ["2", "1", "1", "2", "1"]
    links = await check_people_links(client, "/insights/growth/")
    assert [number for number, filters in links if "tier" in filters] == [2, 1, 1, 2, 1]
