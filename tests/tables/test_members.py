"""Members: their numbers, tiers and times, kept by the database whoever writes."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from community_directory.tables import CommunityMember, MemberStatus, ReputationTier
from tests.tables import rows

pytestmark = pytest.mark.schema

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def somebody(**columns: Any) -> CommunityMember:
    return CommunityMember(**{"telegram_id": "1", "name": "Ana García", "primary_role": "developer", **columns})


async def test_a_member_is_read_back_as_it_was_stored(directory: asyncpg.Pool) -> None:
    inviter = await rows.member(directory)
    columns = {
        "telegram_id": "12345",
        "telegram_username": "ana",
        "name": "Ana García",
        "primary_role": "developer",
        "organization": "Frutero",
        "country": "México",
        "github_username": "anag",
        "github_verified": True,
        "github_verified_at": NOON,
        "github_profile_data": {"public_repos": 12, "followers": None},
        "status": MemberStatus.ACTIVE,
        "reputation_score": 1500,
        "invited_by": inviter["member_id"],
        "registration_fee_paid": True,
        "registration_fee_tx_hash": "0xabc",
        "profile_data": {"bio": "¡Hola! 🙂", "skills": ["python"]},
        "last_active_at": NOON,
        "deleted_at": NOON,
    }
    written = CommunityMember(**columns)
    await written.save()

    read = await CommunityMember.objects().output(load_json=True).get(CommunityMember.id == written.id)
    assert read is not None
    assert read.to_dict() == columns | {
        "id": written.id,
        "member_id": "#2",
        "reputation_tier": ReputationTier.EXPERIENCED,
        "created_at": written.created_at,
        "updated_at": written.updated_at,
    }


async def test_what_nobody_says_of_a_member_has_a_default(directory: asyncpg.Pool) -> None:
    by_sql = await rows.member(directory)
    await somebody(telegram_id="by_class").save()
    by_class = await directory.fetchrow("SELECT * FROM community_members WHERE telegram_id = 'by_class'")

    for stored in (by_sql, by_class):
        assert stored["status"] == MemberStatus.NOT_MEMBER
        assert (stored["reputation_score"], stored["reputation_tier"]) == (0, ReputationTier.NOVICE)
        assert stored["github_verified"] is False
        assert stored["registration_fee_paid"] is False
        assert datetime.now(UTC) - stored["created_at"] < timedelta(minutes=1)
        assert stored["updated_at"] - stored["created_at"] < timedelta(seconds=1)
        assert [name for name, value in stored.items() if value is None] == [
            "telegram_username",
            "organization",
            "country",
            "github_username",
            "github_verified_at",
            "github_profile_data",
            "invited_by",
            "registration_fee_tx_hash",
            "profile_data",
            "last_active_at",
            "deleted_at",
        ]
    assert by_sql["id"] != by_class["id"]


async def test_a_member_shows_as_number_and_name(directory: asyncpg.Pool) -> None:
    await rows.member(directory, member_id="#247", name="Ana García")
    assert await CommunityMember.select(CommunityMember.get_readable()) == [{"readable": "#247 Ana García"}]


async def test_members_are_numbered_in_the_order_they_come(directory: asyncpg.Pool) -> None:
    left_out = await rows.member(directory)
    empty = await rows.member(directory, member_id="")
    null = await rows.member(directory, member_id=None)
    await somebody().save()

    assert [left_out["member_id"], empty["member_id"], null["member_id"]] == ["#1", "#2", "#3"]
    assert await CommunityMember.exists().where(CommunityMember.member_id == "#4")


async def test_a_number_given_by_hand_is_kept_and_skipped_later(directory: asyncpg.Pool) -> None:
    for number in ("#2", "#3", "#5"):
        assert (await rows.member(directory, member_id=number))["member_id"] == number
    assert [(await rows.member(directory))["member_id"] for _ in range(4)] == ["#1", "#4", "#6", "#7"]


async def test_one_statement_may_mix_numbers_by_hand_with_numbers_by_the_database(directory: asyncpg.Pool) -> None:
    stored = await directory.fetch(
        """
        INSERT INTO community_members (member_id, telegram_id, name, primary_role)
        SELECT number, ordinality, 'Ana', 'developer'
        FROM unnest(ARRAY['#2', '', NULL, '#6', '', '', '']) WITH ORDINALITY AS given(number, ordinality)
        RETURNING member_id
        """
    )
    assert [row["member_id"] for row in stored] == ["#2", "#1", "#3", "#6", "#4", "#5", "#7"]


async def test_a_number_is_given_once_even_when_its_member_was_not_kept(directory: asyncpg.Pool) -> None:
    first = await rows.member(directory)
    await directory.execute("DELETE FROM community_members")
    with pytest.raises(asyncpg.CheckViolationError):
        await rows.member(directory, name="")
    assert (first["member_id"], (await rows.member(directory))["member_id"]) == ("#1", "#3")


async def test_fifty_members_at_once_get_fifty_numbers(database: str) -> None:
    connections = await asyncio.gather(*(asyncpg.connect(database) for _ in range(50)))
    try:
        stored = await asyncio.gather(*(rows.member(connection) for connection in connections))
    finally:
        await asyncio.gather(*(connection.close() for connection in connections))
    assert {row["member_id"] for row in stored} == {f"#{number}" for number in range(1, 51)}


async def test_nobody_waits_for_the_number_of_an_open_transaction(directory: asyncpg.Pool) -> None:
    async with directory.acquire() as slow, slow.transaction():
        assert (await rows.member(slow))["member_id"] == "#1"
        async with directory.acquire() as fast:
            await fast.execute("SET lock_timeout = '2s'")
            assert (await rows.member(fast))["member_id"] == "#2"


async def test_a_saved_object_learns_its_number_when_it_is_refreshed(directory: asyncpg.Pool) -> None:
    member = somebody()
    await member.save()
    assert member.member_id == ""

    await member.refresh()
    assert member.member_id == "#1"

    member.name = "Ana"
    await member.save()
    assert await CommunityMember.select(CommunityMember.member_id, CommunityMember.name) == [
        {"member_id": "#1", "name": "Ana"}
    ]


async def test_an_object_may_be_saved_again_before_it_knows_its_number(directory: asyncpg.Pool) -> None:
    member = somebody()
    await member.save()
    member.name = "Ana"
    await member.save()
    assert await CommunityMember.select(CommunityMember.member_id, CommunityMember.name) == [
        {"member_id": "#1", "name": "Ana"}
    ]


async def test_the_triggers_work_whatever_the_search_path_is(directory: asyncpg.Pool) -> None:
    async with directory.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL search_path = ''")
        stored = await connection.fetchrow(
            """
            INSERT INTO public.community_members (telegram_id, name, primary_role, reputation_score)
            VALUES ('1', 'Ana', 'developer', 101) RETURNING member_id, reputation_tier
            """
        )
        assert tuple(stored) == ("#1", ReputationTier.CONTRIBUTOR)
        await connection.execute("UPDATE public.community_members SET name = 'Ana García'")
        assert await connection.fetchval("SELECT count(*) FROM public.directory_audit_log") == 2


BOUNDARIES = {
    0: ReputationTier.NOVICE,
    100: ReputationTier.NOVICE,
    101: ReputationTier.CONTRIBUTOR,
    500: ReputationTier.CONTRIBUTOR,
    501: ReputationTier.ACTIVE_DEVELOPER,
    1000: ReputationTier.ACTIVE_DEVELOPER,
    1001: ReputationTier.EXPERIENCED,
    2500: ReputationTier.EXPERIENCED,
    2501: ReputationTier.EXPERT,
}


@pytest.mark.parametrize("claimed", [*ReputationTier, None, "Legend"])
async def test_the_tier_follows_from_the_score_whatever_the_writer_claims(
    directory: asyncpg.Pool, claimed: str | None
) -> None:
    member = await rows.member(directory, reputation_tier=claimed)
    update = """
        UPDATE community_members SET reputation_score = $2, reputation_tier = $3 WHERE id = $1 RETURNING reputation_tier
    """
    for score, tier in BOUNDARIES.items():
        inserted = await rows.member(directory, reputation_score=score, reputation_tier=claimed)
        assert (score, inserted["reputation_tier"]) == (score, tier)
        assert (score, await directory.fetchval(update, member["id"], score, claimed)) == (score, tier)


async def test_the_tier_follows_a_score_that_is_written_alone(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    for score, tier in BOUNDARIES.items():
        await CommunityMember.update({CommunityMember.reputation_score: score}, force=True)
        assert await CommunityMember.select(CommunityMember.reputation_tier).first() == {"reputation_tier": tier}


# One edit of each column that somebody may edit; the number can't be edited, the tier only with the score.
EDITS = {
    "id": "b5ebbec2-e9c5-4af9-8ab4-2cbfd2d172ad",
    "telegram_id": "another",
    "telegram_username": "another",
    "name": "Another",
    "primary_role": "designer",
    "organization": "Another",
    "country": "Another",
    "github_username": "another",
    "github_verified": False,
    "github_verified_at": LONG_AGO,
    "github_profile_data": '{"followers": 2}',
    "status": "active",
    "reputation_score": 1,
    "invited_by": None,
    "registration_fee_paid": True,
    "registration_fee_tx_hash": "0xdef",
    "profile_data": '{"bio": null}',
    "created_at": LONG_AGO,
    "updated_at": LONG_AGO,
    "deleted_at": NOON,
}


async def test_every_edit_moves_updated_at(directory: asyncpg.Pool) -> None:
    inviter = await rows.member(directory)
    for column, value in EDITS.items():
        member = await rows.member(
            directory,
            github_username="ana",
            github_verified=True,
            github_verified_at=NOON,
            invited_by=inviter["member_id"],
        )
        edited = await directory.fetchrow(
            f"UPDATE community_members SET {column} = $2 WHERE member_id = $1 RETURNING *", member["member_id"], value
        )
        assert (column, edited["updated_at"] > member["updated_at"]) == (column, True)
        assert datetime.now(UTC) - edited["updated_at"] < timedelta(minutes=1)

    all_columns = {column._meta.name for column in CommunityMember._meta.columns}
    assert all_columns - EDITS.keys() == {"member_id", "reputation_tier", "last_active_at"}


async def test_an_edit_through_the_class_moves_updated_at(directory: asyncpg.Pool) -> None:
    times = [(await rows.member(directory, telegram_id="1"))["updated_at"]]

    async def now_stored() -> datetime:
        stored: datetime = await directory.fetchval("SELECT updated_at FROM community_members")
        return stored

    await CommunityMember.update({CommunityMember.name: "Ana"}).where(CommunityMember.telegram_id == "1")
    times.append(await now_stored())

    member = await CommunityMember.objects().get(CommunityMember.telegram_id == "1")
    assert member is not None
    member.name = "Ana G."
    await member.save()  # sends the old updated_at too
    times.append(await now_stored())

    await CommunityMember.insert(somebody(name="Ana García", updated_at=LONG_AGO)).on_conflict(
        target=CommunityMember.telegram_id,
        action="DO UPDATE",
        values=[CommunityMember.name, CommunityMember.updated_at],
    )
    times.append(await now_stored())

    assert len(set(times)) == len(times)
    assert times == sorted(times)


async def test_neither_being_active_nor_an_update_that_changes_nothing_is_an_edit(directory: asyncpg.Pool) -> None:
    before = await rows.member(directory, profile_data={"a": 1, "b": 2})
    for change in (
        "last_active_at = now()",
        "last_active_at = NULL",
        "name = name",
        """profile_data = '{"b": 2, "a": 1}'""",
        "reputation_tier = 'Expert'",
        "last_active_at = now(), reputation_tier = NULL",
    ):
        after = await directory.fetchrow(f"UPDATE community_members SET {change} RETURNING *")
        assert (change, after["updated_at"]) == (change, before["updated_at"])
        assert dict(after) | {"last_active_at": None} == dict(before)

    await CommunityMember.update({CommunityMember.last_active_at: NOON}, force=True)
    assert await CommunityMember.select(CommunityMember.last_active_at, CommunityMember.updated_at) == [
        {"last_active_at": NOON, "updated_at": before["updated_at"]}
    ]


async def test_an_edit_while_being_active_is_an_edit(directory: asyncpg.Pool) -> None:
    before = await rows.member(directory)
    after = await directory.fetchrow("UPDATE community_members SET last_active_at = now(), name = 'Ana' RETURNING *")
    assert after["updated_at"] > before["updated_at"]
    assert after["last_active_at"] is not None


async def test_a_member_that_nothing_refers_to_can_be_deleted(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await CommunityMember.delete(force=True)
    assert await CommunityMember.count() == 0
