"""Merging: two rows of one person become one member, and nothing is lost if that is undone."""

import itertools
import json
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from community_directory.errors import (
    DirectoryError,
    InvalidInput,
    MemberNotFound,
    MergeRefused,
    NotMerged,
)
from community_directory.queries import (
    accounts,
    audit,
    bots,
    highlights,
    invitations,
    members,
    participation,
    permissions,
    privacy,
    reputation,
    roll_ups,
)
from community_directory.queries.members import Member, Merge, Unmerge
from community_directory.queries.merge_plan import ConflictKind
from tests.queries.recounts import find_wrong_counts
from tests.tables import rows

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
DAY = date(2026, 1, 31)
COUNTS = {"publicRepos": 10, "followers": 0, "stars": 0, "contributions": 0}
TABLES = (
    "community_members",
    "community_invitations",
    "member_participation",
    "member_daily_highlights",
    "member_monthly_highlights",
    "member_daily_rooms",
    "member_monthly_rooms",
    "member_rooms",
    "member_milestones",
    "directory_hourly_counts",
    "member_accounts",
    "member_permissions",
    "directory_rolled_up_days",
)
"""The tables whose rows a merge can change."""


async def add_member(telegram_id: str, **columns: Any) -> Member:
    new = {"name": "Ana", "primary_role": "developer", "status": "active", **columns}
    return await members.add(telegram_id=telegram_id, **new)


async def record(
    member_id: str, source_id: str | None, at: datetime = NOON, **columns: Any
) -> None:
    event = {"event_type": "MESSAGE", "platform": "telegram", "room_id": "-100", **columns}
    await participation.record(member_id=member_id, source_id=source_id, occurred_at=at, **event)


async def merge(duplicate: str = "#2", into: str = "#1") -> Merge:
    return await members.merge(duplicate, into=into, actor="Luis", reason="the same person")


async def unmerge(member: str = "#2") -> Unmerge:
    return await members.unmerge(member, actor="Luis")


async def dump(directory: asyncpg.Pool) -> dict[str, Any]:
    """Return all rows that a merge can change, without the times of the changes.

    The id of an account or a permission is that of the row alone; no other row has it.
    """
    found = {}
    for table in TABLES:
        rows_of_table = await directory.fetch(f"SELECT to_jsonb(t) FROM {table} AS t")
        found[table] = sorted(_comparable(table, json.loads(row)) for (row,) in rows_of_table)
    return found


def _comparable(table: str, row: dict[str, Any]) -> str:
    ignored = {"updated_at", "search_text"}
    if table in ("member_accounts", "member_permissions", "member_daily_highlights"):
        ignored |= {"id"}
    return json.dumps({key: row[key] for key in row if key not in ignored}, sort_keys=True)


async def invite(directory: asyncpg.Pool, number: str, inviter: str) -> None:
    await directory.execute(
        "UPDATE community_members SET invited_by = $2 WHERE member_id = $1", number, inviter
    )


async def named(member_id: str) -> set[str]:
    """Return the accounts of a member, such as "discord:5"."""
    return {f"{found.platform}:{found.account_id}" for found in await accounts.of(member_id)}


async def score_of(directory: asyncpg.Pool, member_id: str) -> int:
    score = await directory.fetchval(
        "SELECT reputation_score FROM community_members WHERE member_id = $1", member_id
    )
    return int(score)


async def kinds(duplicate: str = "#2", into: str = "#1") -> dict[ConflictKind, str]:
    preview = await members.merge_preview(duplicate, into=into)
    return {conflict.kind: conflict.message for conflict in preview.conflicts}


@pytest.fixture
async def pair(directory: asyncpg.Pool) -> asyncpg.Pool:
    """Add the active members #1 and #2, both with Telegram accounts, and return the pool."""
    await add_member("1001")
    await add_member("1002")
    return directory


async def test_a_merge_and_its_undoing_end_where_they_began(directory: asyncpg.Pool) -> None:
    await add_member("discord:5", name="Ana G")
    await add_member("1001", telegram_username="ana", country="Spain", profile_data={"a": 1})
    await add_member("1002", name="Child", invited_by="#2")
    await record("#1", "1")
    await record("#2", "1")
    await record("#2", "2")
    await record("#2", None)
    await highlights.roll_up(DAY)
    earlier = await dump(directory)

    preview = await members.merge_preview("#2", into="#1")
    assert await dump(directory) == earlier
    done = await merge()
    assert done.moved == preview.counts
    ana = await members.get("#1")
    assert (ana.telegram_id, ana.country, ana.profile_data) == ("1001", "Spain", {"a": 1})
    assert ana.reputation_score == 3
    assert (await members.get("#3")).invited_by == "#1"
    assert await highlights.verify(DAY) == []

    undone = await unmerge()
    assert undone.left == ()
    assert undone.restored == done.moved
    assert await dump(directory) == earlier


# What the other member has afterwards


async def test_the_profile_of_the_other_member_stays_and_its_empty_fields_are_filled(
    directory: asyncpg.Pool,
) -> None:
    await add_member("1001", country="Peru", profile_data={"bio": "mine", "zone": None})
    await add_member(
        "1002",
        name="Bo",
        primary_role="designer",
        country="Spain",
        organization="Acme",
        telegram_username="bo",
        github_username="bo",
        profile_data={"bio": "other", "site": "x", "zone": "CET"},
    )
    preview = await members.merge_preview("#2", into="#1")
    done = await merge()
    ana = await members.get("#1")
    assert (ana.name, ana.primary_role, ana.country) == ("Ana", "developer", "Peru")
    assert (ana.organization, ana.telegram_username, ana.github_username) == ("Acme", "bo", "bo")
    assert ana.profile_data == {"bio": "mine", "zone": None, "site": "x"}
    filled = {"organization", "telegram_username", "github_username", "profile_data"}
    assert set(preview.filled) == set(done.filled) == filled
    assert preview.filled["profile_data"] == {"site": "x"}


@pytest.mark.parametrize(
    ("duplicate", "into", "expected"),
    [
        ("banned", "active", "banned"),
        ("active", "banned", "banned"),
        ("suspended", "active", "suspended"),
        ("banned", "suspended", "banned"),
        ("suspended", "not_member", "suspended"),
        ("active", "pending", "active"),
        ("pending", "active", "active"),
        ("active", "not_member", "active"),
        ("pending", "not_member", "pending"),
        ("not_member", "pending", "pending"),
    ],
)
async def test_the_status_is_the_strictest_or_else_the_furthest(
    directory: asyncpg.Pool, duplicate: str, into: str, expected: str
) -> None:
    await rows.member(directory, status=into)
    await rows.member(directory, status=duplicate)
    earlier = await dump(directory)
    assert (await members.merge_preview("#2", into="#1")).status == expected
    await merge()
    assert (await members.get("#1")).status == expected
    assert (await unmerge()).left == ()
    assert await dump(directory) == earlier


@pytest.mark.parametrize(("status", "expected"), [("active", "pending"), ("banned", "banned")])
async def test_a_removed_duplicate_brings_only_a_ban_or_a_suspension(
    directory: asyncpg.Pool, status: str, expected: str
) -> None:
    await rows.member(directory, status="pending")
    await rows.member(directory, status=status, deleted_at=NOON)
    earlier = await dump(directory)
    await merge()
    assert (await members.get("#1")).status == expected
    await unmerge()
    assert await dump(directory) == earlier


async def test_all_accounts_belong_to_the_other_member(pair: asyncpg.Pool) -> None:
    await accounts.link("#2", "discord", "5", username="ana.g", actor="Luis")
    await merge()
    assert await named("#1") == {"telegram:1001", "telegram:1002", "discord:5"}
    found = await members.find_by_account("telegram", "1002")
    assert found is not None
    assert found.member_id == "#1"
    await unmerge()
    assert await named("#2") == {"telegram:1002", "discord:5"}
    assert await named("#1") == {"telegram:1001"}


async def test_a_discord_member_gets_the_telegram_account_of_the_duplicate_as_their_own(
    directory: asyncpg.Pool,
) -> None:
    await add_member("discord:5")
    await add_member("1001", telegram_username="ana")
    await merge()
    ana = await members.get("#1")
    assert (ana.telegram_id, ana.telegram_username) == ("1001", "ana")
    assert await named("#1") == {"telegram:1001", "discord:5"}
    again = await members.find_by_telegram_id("1001")
    assert again is not None
    assert again.member_id == "#1"


async def test_a_telegram_member_gets_the_discord_account_of_the_duplicate(
    directory: asyncpg.Pool,
) -> None:
    await add_member("1001")
    await add_member("discord:5")
    earlier = await dump(directory)
    await merge()
    assert (await members.get("#1")).telegram_id == "1001"
    assert await named("#1") == {"telegram:1001", "discord:5"}
    await unmerge()
    assert await dump(directory) == earlier


async def test_an_account_that_one_states_and_the_other_has_is_one(
    directory: asyncpg.Pool,
) -> None:
    await add_member("1001", profile_data={"discord_id": "5"})
    await add_member("discord:5")
    await add_member("1003", profile_data={"discord_id": "6"})
    earlier = await dump(directory)
    await merge()
    await merge("#3")
    assert await named("#1") == {"telegram:1001", "telegram:1003", "discord:5", "discord:6"}
    await unmerge("#3")
    await unmerge()
    assert await dump(directory) == earlier


async def test_a_stated_account_of_the_duplicate_fills_the_profile_and_comes_back(
    directory: asyncpg.Pool,
) -> None:
    await add_member("1001")
    await add_member("1002", profile_data={"discord_id": "5"})
    earlier = await dump(directory)
    await merge()
    assert await named("#1") == {"telegram:1001", "telegram:1002", "discord:5"}
    assert (await unmerge()).left == ()
    assert await dump(directory) == earlier


async def test_a_verified_github_account_is_taken_with_its_points(pair: asyncpg.Pool) -> None:
    await members.verify_github("#2", github_username="ana", github_profile_data=COUNTS)
    earlier = await dump(pair)
    await merge()
    ana = await members.get("#1")
    assert (ana.github_username, ana.github_verified, ana.reputation_score) == ("ana", True, 50)
    explained = await reputation.explain("#1")
    assert (sum(explained.github.values()), explained.other) == (50, 0)
    assert (await unmerge()).left == ()
    assert await dump(pair) == earlier


async def test_of_two_verified_github_accounts_the_points_of_the_own_one_stay(
    pair: asyncpg.Pool,
) -> None:
    await members.verify_github("#1", github_username="one", github_profile_data=COUNTS)
    await members.verify_github(
        "#2", github_username="two", github_profile_data={**COUNTS, "stars": 100}
    )
    earlier = await dump(pair)
    assert "two afterwards" in (await kinds())[ConflictKind.GITHUB_ACCOUNTS]
    await merge()
    ana = await members.get("#1")
    assert (ana.github_username, ana.reputation_score) == ("one", 50)
    assert await named("#1") == {"telegram:1001", "telegram:1002", "github:one", "github:two"}
    await unmerge()
    assert await dump(pair) == earlier


async def test_points_that_were_given_by_hand_are_added(pair: asyncpg.Pool) -> None:
    await pair.execute("UPDATE community_members SET reputation_score = 30")
    earlier = await dump(pair)
    await merge()
    assert await score_of(pair, "#1") == 60
    await pair.execute(
        "UPDATE community_members SET reputation_score = reputation_score + 5"
        " WHERE member_id = '#1'"
    )
    await unmerge()
    assert (await score_of(pair, "#1"), await score_of(pair, "#2")) == (35, 30)
    await pair.execute("UPDATE community_members SET reputation_score = 30 WHERE member_id = '#1'")
    assert await dump(pair) == earlier


async def test_the_fee_and_the_last_activity_are_those_of_the_person(pair: asyncpg.Pool) -> None:
    await pair.execute(
        "UPDATE community_members SET registration_fee_paid = true,"
        " registration_fee_tx_hash = '0x1', last_active_at = $1 WHERE member_id = '#2'",
        NOON,
    )
    earlier = await dump(pair)
    await merge()
    row = await rows.fetch_row(
        pair,
        "SELECT registration_fee_paid, registration_fee_tx_hash, last_active_at"
        " FROM community_members WHERE member_id = '#1'",
    )
    assert tuple(row) == (True, "0x1", NOON)
    await unmerge()
    assert await dump(pair) == earlier


# Events and highlights


async def test_an_event_of_both_is_one_and_comes_back_as_two(pair: asyncpg.Pool) -> None:
    for member_id, sources in {"#1": "ab", "#2": "bc"}.items():
        for source_id in sources:
            await record(member_id, source_id)
        await record(member_id, None)
    earlier = await dump(pair)
    done = await merge()
    assert (done.moved.events, done.moved.collapsed_events) == (3, 1)
    history = (await participation.history("#1")).items
    assert sorted(event.source_id or "" for event in history) == ["", "", "a", "b", "c"]
    assert [event.id for event in (await participation.history("#2")).items] == [
        event.id for event in history
    ]
    restored = (await unmerge()).restored
    assert (restored.events, restored.collapsed_events) == (3, 1)
    assert await dump(pair) == earlier


@pytest.mark.parametrize("rolled_up", [False, True])
async def test_highlights_are_counted_again_and_the_nightly_job_changes_nothing(
    pair: asyncpg.Pool, rolled_up: bool
) -> None:
    stay = {"event_type": "VOICE", "metadata": {"duration_seconds": 7200}}
    for member_id in ("#1", "#2"):
        for number in range(7):
            await record(member_id, str(number))
        # The stays overlap for an hour, and reach into the next day.
        start = datetime(2026, 1, 31, 22 if member_id == "#1" else 23, 30, tzinfo=UTC)
        await record(member_id, "v" + member_id, start, **stay)
    await record("#2", "9")
    tomorrow = DAY + timedelta(days=1)
    if rolled_up:
        await highlights.roll_up(DAY, until=tomorrow)
    earlier = await dump(pair)
    await merge()
    if not rolled_up:
        assert await highlights.roll_up(DAY, until=tomorrow) == 2
    merged = await dump(pair)
    assert await highlights.roll_up(DAY, until=tomorrow) == 0
    assert await dump(pair) == merged
    first, second = (await highlights.between(DAY, tomorrow, member_id="#1")).items[::-1]
    assert (first.message_count, first.voice_minutes, second.voice_minutes) == (8, 90, 90)
    assert await score_of(pair, "#1") == first.reputation_earned + second.reputation_earned
    await unmerge()
    if not rolled_up:
        await pair.execute("DELETE FROM directory_rolled_up_days")
        await highlights.roll_up(DAY, until=tomorrow)
        return
    assert await dump(pair) == earlier
    assert await highlights.roll_up(DAY, until=tomorrow) == 0


async def test_highlights_of_days_without_events_are_added(pair: asyncpg.Pool) -> None:
    await rows.highlight(pair, member_id="#1", message_count=2, reputation_earned=2)
    await rows.highlight(pair, member_id="#2", message_count=4, reputation_earned=4)
    yesterday = DAY - timedelta(days=1)
    await rows.highlight(
        pair, member_id="#2", highlight_date=yesterday, message_count=2, reputation_earned=2
    )
    await pair.execute(
        "UPDATE community_members SET reputation_score = CASE member_id WHEN '#1' THEN 2 ELSE 6 END"
    )
    await roll_ups.recount(["#1", "#2"], yesterday, DAY)
    earlier = await dump(pair)
    await merge()
    found = (await highlights.between(yesterday, DAY)).items
    assert [(day.member_id, day.message_count) for day in found] == [("#1", 6), ("#1", 2)]
    assert [day.reputation_earned for day in found] == [5, 2]
    assert await score_of(pair, "#1") == 7
    await unmerge()
    assert await dump(pair) == earlier


async def test_an_event_recorded_for_the_freed_number_belongs_to_the_other_one(
    pair: asyncpg.Pool,
) -> None:
    await record("#2", "1")
    await merge()
    await record("#2", "1")
    await record("#2", "2")
    await pair.execute(
        "INSERT INTO member_participation (member_id, event_type, platform, room_id, source_id)"
        " VALUES ('#2', 'MESSAGE', 'telegram', '-100', '2'),"
        " ('#2', 'MESSAGE', 'telegram', '-100', '3')"
    )
    found = await pair.fetch("SELECT member_id, source_id FROM member_participation")
    assert sorted(map(tuple, found)) == [("#1", "1"), ("#1", "2"), ("#1", "3")]
    await unmerge()
    found = await pair.fetch("SELECT member_id, source_id FROM member_participation")
    assert sorted(map(tuple, found)) == [("#1", "2"), ("#1", "3"), ("#2", "1")]


async def test_an_event_that_was_taken_back_does_not_return(pair: asyncpg.Pool) -> None:
    for member_id in ("#1", "#2"):
        await record(member_id, "1", event_type="REACTION")
    await record("#2", "2", event_type="REACTION")
    await merge()
    for source_id in ("1", "2"):
        assert await participation.take_back(
            member_id="#2", platform="telegram", room_id="-100", source_id=source_id
        )
    await unmerge()
    assert await pair.fetchval("SELECT count(*) FROM member_participation") == 0


# Invitations and the tree


async def test_the_children_of_the_duplicate_are_those_of_the_other_member(
    pair: asyncpg.Pool,
) -> None:
    await add_member("1003", invited_by="#2")
    await add_member("1004", invited_by="#1")
    earlier = await dump(pair)
    await merge()
    assert (await members.get("#3")).invited_by == "#1"
    nodes = (await invitations.tree("#1")).items
    assert {node.member_id for node in nodes} == {"#1", "#3", "#4"}
    await unmerge()
    assert await dump(pair) == earlier


@pytest.mark.parametrize(
    ("inviters", "expected"),
    [
        ({"#1": "#3", "#2": "#4"}, "#3"),
        ({"#2": "#4"}, "#4"),
        ({"#1": "#3"}, "#3"),
        ({"#2": "#1"}, None),
        ({"#1": "#2"}, None),
        ({"#1": "#2", "#2": "#3"}, "#3"),
        ({"#2": "#1", "#1": "#3"}, "#3"),
        ({"#1": "#3", "#3": "#2", "#2": "#4"}, "#4"),
        ({"#2": "#3", "#3": "#1"}, None),
        ({"#2": "#3", "#3": "#1", "#1": "#4"}, "#4"),
    ],
)
async def test_the_inviter_is_the_own_one_unless_the_two_invited_each_other(
    pair: asyncpg.Pool, inviters: dict[str, str], expected: str | None
) -> None:
    await add_member("1003")
    await add_member("1004")
    for number, inviter in inviters.items():
        await invite(pair, number, inviter)
    earlier = await dump(pair)
    await merge()
    assert (await members.get("#1")).invited_by == expected
    if inviters.get("#3") in ("#1", "#2"):
        assert (await members.get("#3")).invited_by == "#1"
    assert (await unmerge()).left == ()
    assert await dump(pair) == earlier


async def test_invitations_move_and_one_between_the_two_is_cancelled(
    directory: asyncpg.Pool,
) -> None:
    await add_member("1001")
    own = await invitations.create(created_by="#1")
    await invitations.redeem(
        own.invitation_code, telegram_id="1002", name="Ana", primary_role="developer"
    )
    await members.set_status("#2", "active", actor="Luis")
    opened = await invitations.create(created_by="#2")
    accepted = await invitations.create(created_by="#2")
    await invitations.redeem(
        accepted.invitation_code, telegram_id="1003", name="Bo", primary_role="developer"
    )
    earlier = await dump(directory)
    assert (await merge()).moved.invitations == 3
    found = {
        code: tuple(values)
        for code, *values in await directory.fetch(
            "SELECT invitation_code, created_by, status, accepted_by, accepted_at IS NULL"
            " FROM community_invitations"
        )
    }
    assert found == {
        own.invitation_code: ("#1", "cancelled", None, True),
        opened.invitation_code: ("#1", "pending", None, True),
        accepted.invitation_code: ("#1", "accepted", "#3", False),
    }
    assert (await unmerge()).left == ()
    assert await dump(directory) == earlier


async def test_an_invitation_that_the_duplicate_accepted_is_one_of_the_other_member(
    directory: asyncpg.Pool,
) -> None:
    await add_member("1001")
    await add_member("1009")
    made = await invitations.create(created_by="#2")
    await invitations.redeem(
        made.invitation_code, telegram_id="1003", name="Ana", primary_role="developer"
    )
    earlier = await dump(directory)
    await merge("#3", "#1")
    found = await invitations.get(made.invitation_code)
    assert (found.created_by, found.accepted_by) == ("#2", "#1")
    repeated = await invitations.redeem(
        made.invitation_code, telegram_id="1003", name="Ana", primary_role="developer"
    )
    assert (repeated.member.member_id, repeated.repeated) == ("#1", True)
    await unmerge("#3")
    assert await dump(directory) == earlier


# Permissions


async def test_the_permissions_are_those_of_both(pair: asyncpg.Pool) -> None:
    await permissions.grant("#1", "invite", actor="Luis")
    for permission in ("invite", "review"):
        await permissions.grant("#2", permission, actor="Luis")
    earlier = await dump(pair)
    assert (await merge()).moved.permissions == 2
    assert [held.permission for held in await permissions.of("#1")] == ["invite", "review"]
    assert await permissions.has("#2", "review")
    assert (await unmerge()).restored.permissions == 2
    assert await dump(pair) == earlier


@pytest.mark.parametrize("status", ["suspended", "banned"])
@pytest.mark.parametrize("holder", ["#1", "#2"])
async def test_whoever_is_not_active_afterwards_holds_no_permission(
    pair: asyncpg.Pool, holder: str, status: str
) -> None:
    other = "#2" if holder == "#1" else "#1"
    await members.set_status(other, status, actor="Luis")
    await permissions.grant(holder, "manage", actor="Luis")
    earlier = await dump(pair)
    await merge()
    assert await pair.fetchval("SELECT count(*) FROM member_permissions") == 0
    assert (await unmerge()).left == ()
    assert await dump(pair) == earlier


async def test_a_contact_gets_the_permissions_of_an_active_duplicate(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, status="not_member")
    await rows.member(directory, status="active")
    await permissions.grant("#2", "review", actor="Luis")
    earlier = await dump(directory)
    await merge()
    assert await permissions.has("#1", "review")
    await unmerge()
    assert await dump(directory) == earlier


async def test_a_permission_that_was_revoked_since_does_not_come_back(pair: asyncpg.Pool) -> None:
    await permissions.grant("#2", "review", actor="Luis")
    await merge()
    await permissions.revoke("#1", "review", actor="Luis")
    [sentence] = (await unmerge()).left
    assert sentence == "#2 has 0 of 1 permissions: the others were revoked."
    assert await permissions.of("#2") == []


# What is refused, and what is told


async def test_a_member_is_not_merged_into_itself(pair: asyncpg.Pool) -> None:
    with pytest.raises(MergeRefused, match=r"Name two different members\."):
        await merge("#2", "#2")
    [only] = (await members.merge_preview("#2", into=2)).conflicts
    assert (only.kind, only.refuses) == (ConflictKind.SAME_MEMBER, True)


@pytest.mark.parametrize("number", ["#9", "nobody", ""])
async def test_an_unknown_number_is_not_found(pair: asyncpg.Pool, number: str) -> None:
    for duplicate, into in ((number, "#1"), ("#1", number)):
        with pytest.raises(MemberNotFound):
            await merge(duplicate, into)
        with pytest.raises(MemberNotFound):
            await members.merge_preview(duplicate, into=into)


async def test_an_actor_is_needed(pair: asyncpg.Pool) -> None:
    for actor in ("", " "):
        with pytest.raises(InvalidInput):
            await members.merge("#2", into="#1", actor=actor)
        with pytest.raises(InvalidInput):
            await members.unmerge("#2", actor=actor)


async def test_a_bot_and_a_person_are_refused_and_two_bots_are_merged(pair: asyncpg.Pool) -> None:
    await bots.mark_bot("#2", actor="Luis")
    for duplicate, into in (("#2", "#1"), ("#1", "#2")):
        with pytest.raises(MergeRefused, match="#2 is a bot and #1 is a person") as refused:
            await merge(duplicate, into)
        assert refused.value.member_id == duplicate
        assert (await members.merge_preview(duplicate, into=into)).is_refused
    await bots.mark_bot("#1", actor="Luis")
    await record("#2", "1")
    earlier = await dump(pair)
    await merge()
    assert await score_of(pair, "#1") == 0
    await unmerge()
    assert await dump(pair) == earlier


async def test_a_removed_member_gets_nothing(pair: asyncpg.Pool) -> None:
    await members.remove("#1", actor="Luis")
    with pytest.raises(MergeRefused, match="#1 was removed"):
        await merge()
    assert (await merge("#1", "#2")).into == "#2"


async def test_an_erased_member_is_refused_on_both_sides(pair: asyncpg.Pool) -> None:
    await privacy.erase("#2", actor="Luis")
    for duplicate, into in (("#2", "#1"), ("#1", "#2")):
        with pytest.raises(MergeRefused, match="#2 was erased"):
            await merge(duplicate, into)
        assert await kinds(duplicate, into) == {
            ConflictKind.ERASED: "#2 was erased: nothing tells any more who that was."
        }


async def test_a_merged_member_is_refused_on_both_sides(pair: asyncpg.Pool) -> None:
    await add_member("1003")
    await merge()
    for duplicate, into in (("#2", "#3"), ("#3", "#2"), ("#2", "#1")):
        with pytest.raises(MergeRefused, match="#2 is merged into #1 already"):
            await merge(duplicate, into)


async def test_the_preview_tells_each_conflict_and_what_a_merge_does(
    directory: asyncpg.Pool,
) -> None:
    for telegram_id in ("1003", "1004"):
        await add_member(telegram_id)
    await add_member("1001", country="Peru", invited_by="#1")
    await add_member("1002", name="Bo", primary_role="designer", country="Spain", invited_by="#2")
    await members.set_status("#4", "banned", actor="Luis")
    preview = await members.merge_preview("#4", into="#3")
    assert not preview.is_refused
    assert {conflict.kind: conflict.message for conflict in preview.conflicts} == {
        ConflictKind.STATUSES: "#4 is banned and #3 is active: the person is banned afterwards.",
        ConflictKind.INVITERS: "#2 invited #4 and #1 invited #3: #1 stays.",
        ConflictKind.NAMES: "They differ in the name: that of #3 stays.",
        ConflictKind.ROLES: "They differ in the role: that of #3 stays.",
        ConflictKind.PROFILES: "They differ in the country: that of #3 stays.",
        ConflictKind.TELEGRAM_ACCOUNTS: "Both have a Telegram account: #3 has two afterwards.",
    }
    await directory.execute("UPDATE community_members SET invited_by = '#4' WHERE member_id = '#3'")
    told = (await kinds("#4", "#3"))[ConflictKind.LINEAGE]
    assert told == "#4 invited #3, directly or through others."


# The freed number


async def test_the_freed_number_leads_to_the_other_member_and_is_in_no_list(
    pair: asyncpg.Pool,
) -> None:
    await merge()
    for number in ("#2", "2"):
        assert (await members.get(number)).member_id == "#1"
    found = await members.resolve("#2")
    assert found is not None
    assert found.member_id == "#1"
    listed = (await members.search(status=None)).items
    assert [member.member_id for member in listed] == ["#1"]


async def test_freed_numbers_lead_to_the_last_member_in_one_step(pair: asyncpg.Pool) -> None:
    await add_member("1003")
    await add_member("1004")
    await merge("#4", "#3")
    await merge("#3", "#2")
    await merge("#2", "#1")
    found = await pair.fetch(
        "SELECT member_id, merged_into FROM community_members WHERE merged_into IS NOT NULL"
    )
    assert dict(map(tuple, found)) == {"#2": "#1", "#3": "#1", "#4": "#1"}
    assert (await members.get("#4")).member_id == "#1"


async def test_the_log_of_both_has_who_merged_them_and_why(pair: asyncpg.Pool) -> None:
    await merge()
    entries = (await audit.history("#2", limit=100)).items
    [entry] = [each for each in entries if "merged_into" in each.changes]
    assert (entry.actor, entry.reason) == ("Luis", "the same person")
    assert entry.changes["merged_into"] == [None, "#1"]


# Undoing


@pytest.mark.parametrize("number", ["#1", "#9", 1, uuid4()])
async def test_only_a_merge_can_be_undone(pair: asyncpg.Pool, number: Any) -> None:
    await merge()
    with pytest.raises(NotMerged):
        await members.unmerge(number, actor="Luis")


async def test_an_empty_number_is_not_called_none(pair: asyncpg.Pool) -> None:
    with pytest.raises(NotMerged) as error:
        await members.unmerge("", actor="Luis")
    assert "None" not in str(error.value)


async def test_a_merge_is_undone_once_by_its_id_and_can_be_done_again(pair: asyncpg.Pool) -> None:
    earlier = await dump(pair)
    done = await merge()
    assert (await members.unmerge(str(done.id), actor="Luis")).id == done.id
    for again in (done.id, "#2"):
        with pytest.raises(NotMerged):
            await members.unmerge(again, actor="Luis")
    assert (await merge()).id != done.id
    await members.unmerge(2, actor="Luis")
    assert await dump(pair) == earlier
    assert await pair.fetchval("SELECT count(*) FROM directory_merged_rows") == 0


@pytest.mark.parametrize(
    "order", [("#2", "#3", "#4"), ("#4", "#3", "#2"), ("#3", "#2", "#4"), ("#3", "#4", "#2")]
)
async def test_merges_are_undone_in_any_order(pair: asyncpg.Pool, order: tuple[str, ...]) -> None:
    await add_member("1003", country="Peru", invited_by="#2")
    await add_member("discord:4", organization="Acme", invited_by="#3")
    for number in ("#1", "#2", "#3", "#4"):
        await record(number, "the same")
        await record(number, number)
    await highlights.roll_up(DAY)
    earlier = await dump(pair)
    await merge("#4", "#3")
    await merge("#3", "#2")
    await merge("#2", "#1")
    for number in order:
        undone = await unmerge(number)
        assert (undone.duplicate, undone.left) == (number, ())
        assert await highlights.roll_up(DAY) == 0
    assert await dump(pair) == earlier


@pytest.mark.parametrize("order", [("#2", "#3"), ("#3", "#2")])
async def test_a_merge_is_undone_after_its_inviter_was_merged(
    pair: asyncpg.Pool, order: tuple[str, ...]
) -> None:
    for telegram_id in ("1003", "1004"):
        await add_member(telegram_id)
    await invite(pair, "#2", "#3")
    earlier = await dump(pair)
    await merge()
    await merge("#3", "#4")
    assert (await members.get("#1")).invited_by == "#4"
    for number in order:
        assert (await unmerge(number)).left == ()
    assert await dump(pair) == earlier


@pytest.mark.parametrize("order", [("#2", "#3"), ("#3", "#2")])
@pytest.mark.parametrize("into", ["#4", "#5"], ids=["descendant", "other"])
async def test_an_inviter_comes_back_who_was_merged_since(
    pair: asyncpg.Pool, into: str, order: tuple[str, ...]
) -> None:
    await add_member("1003", invited_by="#2")
    await invite(pair, "#1", "#3")
    await add_member("1004", invited_by="#1")
    await add_member("1005")
    earlier = await dump(pair)
    await merge()
    await merge("#3", into)
    for number in order:
        assert (await unmerge(number)).left == ()
    assert await dump(pair) == earlier


@pytest.mark.parametrize("order", [("#2", "#3"), ("#3", "#2")])
async def test_somebody_whose_inviter_was_replaced_twice_has_the_first_one_again(
    pair: asyncpg.Pool, order: tuple[str, ...]
) -> None:
    await add_member("1003")
    for number in ("#1", "#2"):
        await invite(pair, number, "#3")
    await add_member("1004", invited_by="#2")
    earlier = await dump(pair)
    await merge()
    assert (await members.get("#4")).invited_by == "#1"
    await merge("#3", "#4")
    assert (await members.get("#4")).invited_by is None
    for number in order:
        assert (await unmerge(number)).left == ()
    assert await dump(pair) == earlier


async def test_merges_of_which_each_gave_the_others_inviters_are_undone_in_any_order(
    directory: asyncpg.Pool,
) -> None:
    for telegram_id, inviter in enumerate((None, "#1", "#1", "#2", "#3"), start=1001):
        await add_member(str(telegram_id), invited_by=inviter)
    earlier = await dump(directory)
    merges = (("#2", "#5"), ("#5", "#1"), ("#1", "#3"), ("#3", "#4"))
    for order in itertools.permutations(("#1", "#2", "#3", "#5")):
        for duplicate, into in merges:
            await merge(duplicate, into)
        for number in order:
            assert (await unmerge(number)).left == (), order
        assert await dump(directory) == earlier, order


async def test_a_merge_is_undone_after_its_inviter_was_merged_and_erased(
    pair: asyncpg.Pool,
) -> None:
    for telegram_id in ("1003", "1004"):
        await add_member(telegram_id)
    await invite(pair, "#2", "#3")
    await merge()
    await merge("#3", "#4")
    await privacy.erase("#4", actor="Luis")
    assert (await unmerge()).left == ("The inviter of #1 was changed since, and stays.",)


@pytest.mark.parametrize("order", [("#2", "#3"), ("#3", "#2")])
async def test_nothing_of_one_duplicate_stays_because_of_another_one(
    directory: asyncpg.Pool, order: tuple[str, ...]
) -> None:
    for status in ("pending", "active", "banned"):
        await rows.member(directory, status=status)
    await permissions.grant("#2", "review", actor="Luis")
    for number, hours in (("#2", 1), ("#3", 2)):
        await directory.execute(
            "UPDATE community_members SET last_active_at = $2 WHERE member_id = $1",
            number,
            NOON + timedelta(hours=hours),
        )
    earlier = await dump(directory)
    ids = [(await merge("#2")).id, (await merge("#3")).id]
    merged_at = "SELECT merged_at FROM directory_merges WHERE id = $1"
    first, second = order
    kept = ids[0 if second == "#2" else 1]
    at = await directory.fetchval(merged_at, kept)
    assert (await unmerge(first)).left == ()
    assert await directory.fetchval(merged_at, kept) == at
    assert (await members.get("#1")).status == ("banned" if second == "#3" else "active")
    assert await permissions.has("#1", "review") is (second == "#2")
    assert (await members.unmerge(kept, actor="Luis")).left == ()
    assert await dump(directory) == earlier


async def test_what_somebody_decided_since_outlives_the_undoing_of_another_merge(
    pair: asyncpg.Pool,
) -> None:
    await pair.execute("""UPDATE community_members SET profile_data = '{"b": 1}'""")
    await permissions.grant("#1", "moderate", actor="Luis")
    await add_member("1003", country="Peru", profile_data={"a": 1, "b": 2})
    await members.set_status("#3", "banned", actor="Luis")
    await merge("#2")
    await merge("#3")
    # Luis forgives the person, who does not want the rest any more.
    await members.set_status("#1", "active", actor="Luis")
    await permissions.grant("#1", "review", actor="Luis")
    await members.update_profile("#1", country=None, replace_profile_data={}, actor="Luis")
    await accounts.unlink("telegram", "1003", actor="Luis")

    undone = await unmerge("#2")

    forgiven = await members.get("#1")
    assert (forgiven.status, forgiven.country, forgiven.profile_data) == ("active", None, {})
    assert [held.permission for held in await permissions.of("#1")] == ["review"]
    assert await named("#1") == {"telegram:1001"}
    assert await named("#2") == {"telegram:1002"}
    assert undone.left == ()

    await unmerge("#3")
    assert await named("#3") == {"telegram:1003"}
    assert [held.permission for held in await permissions.of("#1")] == ["review"]


async def test_a_field_that_another_duplicate_has_too_comes_from_it_after_an_undoing(
    pair: asyncpg.Pool,
) -> None:
    await pair.execute("UPDATE community_members SET country = 'Spain' WHERE member_id = '#2'")
    await add_member("1003", country="Peru")
    await members.set_status("#2", "suspended", actor="Luis")
    await permissions.grant("#3", "review", actor="Luis")
    await merge("#2")
    await merge("#3")

    await unmerge("#2")

    person = await members.get("#1")
    assert (person.status, person.country) == ("active", "Peru")
    assert [held.permission for held in await permissions.of("#1")] == ["review"]


async def test_whoever_is_active_again_gets_no_permission_by_the_undoing_of_another_merge(
    pair: asyncpg.Pool,
) -> None:
    await add_member("1003")
    await permissions.grant("#3", "review", actor="Luis")
    await members.set_status("#1", "suspended", actor="Luis")
    await merge("#2")
    await merge("#3")
    await members.set_status("#1", "active", actor="Luis")
    await unmerge("#2")
    assert await permissions.of("#1") == []


async def test_a_field_that_was_changed_since_stays_and_is_told(directory: asyncpg.Pool) -> None:
    await add_member("1001")
    await add_member("1002", organization="Acme", country="Spain", profile_data={"a": 1, "b": 2})
    await merge()
    await members.update_profile("#1", country="Peru", profile_data={"a": 1, "b": 3, "c": 4})
    left = (await unmerge()).left
    ana = await members.get("#1")
    assert (ana.country, ana.organization) == ("Peru", None)
    assert ana.profile_data == {"b": 3, "c": 4}
    assert set(left) == {
        "The country of #1 was changed since, and stays.",
        "The profile data of #1 was changed since: the changed keys stay.",
    }


async def test_what_happened_since_stays_with_the_other_member(pair: asyncpg.Pool) -> None:
    await merge()
    await record("#2", "new")
    made = await invitations.create(created_by="#1")
    await accounts.link("#1", "discord", "7", actor="Luis")
    await unmerge()
    assert (await invitations.get(made.invitation_code)).created_by == "#1"
    assert await named("#1") == {"telegram:1001", "discord:7"}
    assert [event.source_id for event in (await participation.history("#1")).items] == ["new"]
    assert (await participation.history("#2")).items == []


async def test_a_merge_is_not_undone_while_somebody_else_has_the_telegram_account(
    pair: asyncpg.Pool,
) -> None:
    await merge()
    assert await accounts.unlink("telegram", "1002", actor="Luis")
    await add_member("1002")
    earlier = await dump(pair)
    with pytest.raises(MergeRefused, match="1002, now belongs to #3") as refused:
        await unmerge()
    assert refused.value.member_id == "#2"
    assert await dump(pair) == earlier


async def test_the_telegram_account_returns_after_it_was_unlinked(pair: asyncpg.Pool) -> None:
    await merge()
    await accounts.unlink("telegram", "1002", actor="Luis")
    await unmerge()
    assert await named("#2") == {"telegram:1002"}


async def test_a_github_account_that_somebody_else_has_stays_there(pair: asyncpg.Pool) -> None:
    await members.verify_github("#2", github_username="ana", github_profile_data=COUNTS)
    await members.verify_github("#1", github_username="own", github_profile_data=COUNTS)
    await merge()
    assert await accounts.unlink("github", "ana", actor="Luis")
    await add_member("1003")
    await members.verify_github("#3", github_username="ana", github_profile_data=COUNTS)
    [sentence] = (await unmerge()).left
    assert sentence == "The GitHub account of #2 now belongs to #3, and stays there."
    assert not (await members.get("#2")).github_verified
    assert await named("#3") == {"telegram:1003", "github:ana"}


async def test_a_merge_into_an_erased_member_is_not_undone(pair: asyncpg.Pool) -> None:
    await merge()
    await privacy.erase("#1", actor="Luis")
    with pytest.raises(MergeRefused, match="#1 was erased, together with #2"):
        await unmerge()


async def test_a_child_that_became_an_ancestor_stays(pair: asyncpg.Pool) -> None:
    await add_member("1003", invited_by="#2")
    for telegram_id in ("1004", "1005"):
        await add_member(telegram_id)
    await invite(pair, "#1", "#5")
    await invite(pair, "#2", "#4")
    await merge()
    await invite(pair, "#4", "#3")
    assert (await unmerge()).restored.children == 0
    assert (await members.get("#3")).invited_by == "#1"


async def test_the_inviter_stays_if_the_invitations_would_run_in_a_circle(
    pair: asyncpg.Pool,
) -> None:
    await add_member("1003", invited_by="#2")
    await add_member("1004", invited_by="#1")
    await invite(pair, "#1", "#3")
    await merge()
    await invite(pair, "#3", "#4")
    left = (await unmerge()).left
    assert left == ("The inviter of #1 stays: the invitations would run in a circle.",)
    assert (await members.get("#1")).invited_by is None


async def test_a_ban_since_the_merge_stays_with_the_other_member(pair: asyncpg.Pool) -> None:
    await merge()
    await members.set_status("#1", "banned", actor="Luis")
    assert (await unmerge()).left == ()
    assert (await members.get("#1")).status == "banned"
    assert (await members.get("#2")).status == "active"


async def test_a_refused_merge_leaves_nothing(pair: asyncpg.Pool) -> None:
    await bots.mark_bot("#2", actor="Luis")
    earlier = await dump(pair)
    with pytest.raises(DirectoryError):
        await merge()
    assert await dump(pair) == earlier
    assert await pair.fetchval("SELECT count(*) FROM directory_merges") == 0


# What Insights counts


async def times_of(directory: asyncpg.Pool, member_id: str) -> tuple[datetime | None, ...]:
    """Return when a member joined and was approved."""
    row = await directory.fetchrow(
        "SELECT joined_at, approved_at FROM member_milestones WHERE member_id = $1", member_id
    )
    return (None, None) if row is None else tuple(row)


async def set_times(directory: asyncpg.Pool, member_id: str, at: datetime) -> None:
    await directory.execute(
        "UPDATE member_milestones SET joined_at = $2, approved_at = $2 WHERE member_id = $1",
        member_id,
        at,
    )


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_merged_person_joined_and_was_approved_at_the_earlier_time(
    pair: asyncpg.Pool, hours: int
) -> None:
    await set_times(pair, "#1", NOON)
    await set_times(pair, "#2", NOON + timedelta(hours=hours))
    earlier = await dump(pair)
    await merge()
    assert await times_of(pair, "#1") == (min(NOON, NOON + timedelta(hours=hours)),) * 2
    await unmerge()
    assert await dump(pair) == earlier


async def test_a_contact_who_is_a_member_after_a_merge_is_a_contact_again(
    pair: asyncpg.Pool,
) -> None:
    await add_member("1003", status="not_member")
    await set_times(pair, "#2", NOON)
    for day in (DAY, DAY + timedelta(days=8)):
        await record("#3", str(day), NOON.replace(month=day.month, day=day.day))
    await highlights.roll_up(DAY, until=DAY + timedelta(days=8))
    earlier = await dump(pair)
    await merge("#2", "#3")
    assert await times_of(pair, "#3") == (NOON, NOON)
    assert await find_wrong_counts(pair) == {}
    assert (
        await pair.fetchval("SELECT active_weeks FROM member_milestones WHERE member_id = '#3'")
    ) == [1, 2]
    await unmerge()
    assert await times_of(pair, "#3") == (None, None)
    assert await dump(pair) == earlier


async def test_a_contact_who_keeps_the_status_of_a_merge_keeps_its_times(
    pair: asyncpg.Pool,
) -> None:
    await add_member("1003", status="not_member")
    await set_times(pair, "#2", NOON)
    await merge("#2", "#3")
    await members.set_status("#3", "suspended", actor="Luis")
    assert (await unmerge()).left != ()
    assert await times_of(pair, "#3") == (NOON, NOON)


async def test_times_that_changed_since_the_merge_stay(pair: asyncpg.Pool) -> None:
    await set_times(pair, "#2", NOON)
    await merge()
    changed = NOON - timedelta(days=9)
    await set_times(pair, "#1", changed)
    await unmerge()
    assert await times_of(pair, "#1") == (changed, changed)


async def test_a_merge_of_an_earlier_version_without_times_is_undone(pair: asyncpg.Pool) -> None:
    await set_times(pair, "#1", NOON)
    await merge()
    await pair.execute("UPDATE directory_merges SET before = before - 'milestones'")
    await unmerge()
    assert await times_of(pair, "#1") == (NOON, NOON)


async def test_what_both_had_is_counted_once_in_the_hours_and_twice_after_the_undoing(
    pair: asyncpg.Pool,
) -> None:
    for number in ("#1", "#2"):
        await record(number, "1")
        await record(number, "2", NOON + timedelta(hours=1), event_type="REACTION")
    await record("#2", "3")
    await highlights.roll_up(DAY)
    counts = "SELECT hour, event_count FROM directory_hourly_counts ORDER BY hour"
    assert [tuple(row) for row in await pair.fetch(counts)] == [(12, 3), (13, 2)]
    await merge()
    assert [tuple(row) for row in await pair.fetch(counts)] == [(12, 2), (13, 1)]
    assert await find_wrong_counts(pair) == {}
    await unmerge()
    assert [tuple(row) for row in await pair.fetch(counts)] == [(12, 3), (13, 2)]
    assert await find_wrong_counts(pair) == {}


async def test_a_person_who_comes_back_from_a_bot_is_counted(pair: asyncpg.Pool) -> None:
    for number in ("#1", "#2"):
        await record(number, "1")
    await record("#2", "2")
    await highlights.roll_up(DAY)
    await merge()
    await bots.mark_bot("#1", actor="Luis")
    await highlights.roll_up(DAY)
    assert await find_wrong_counts(pair) == {}
    await unmerge()
    assert await find_wrong_counts(pair) == {}
    assert await pair.fetchval("SELECT sum(event_count) FROM directory_hourly_counts") == 2


async def test_rooms_of_days_without_events_are_added_and_stay(pair: asyncpg.Pool) -> None:
    await rows.daily_room(pair, member_id="#1")
    await rows.daily_room(pair, member_id="#2")
    await rows.daily_room(pair, member_id="#2", room_id="-7")
    await rows.highlight(pair, member_id="#2")
    await merge()
    added = [("#1", "-1001234567890", 8, 6), ("#1", "-7", 4, 3)]
    for _ in range(2):
        for table in ("member_daily_rooms", "member_monthly_rooms"):
            found = await pair.fetch(
                "SELECT member_id, room_id, event_count, message_count"
                f" FROM {table} ORDER BY room_id"
            )
            assert [tuple(row) for row in found] == added
        spans = await pair.fetch(
            "SELECT member_id, room_id, first_day, last_day FROM member_rooms ORDER BY room_id"
        )
        assert [tuple(row) for row in spans] == [(*row[:2], DAY, DAY) for row in added]
        if await pair.fetchval("SELECT undone_at FROM directory_merges") is None:
            await unmerge()
