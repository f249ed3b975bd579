"""Members: the database keeps their numbers, tiers and times, whoever writes."""

import asyncio
import contextlib
import secrets
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from community_directory.database import connect
from community_directory.database.migrations import migrate
from community_directory.queries import members
from community_directory.tables import CommunityMember, MemberStatus, ReputationTier
from tests.conftest import Server, run_sql
from tests.tables import rows
from tests.waiting import until_blocked_by

pytestmark = pytest.mark.schema

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def new_member(**columns: Any) -> CommunityMember:
    """Return an object that is not saved yet."""
    return CommunityMember(
        **{"telegram_id": "1", "name": "Ana García", "primary_role": "developer", **columns}
    )


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

    read = (
        await CommunityMember.objects().output(load_json=True).get(CommunityMember.id == written.id)
    )
    assert read is not None
    assert read.to_dict() == columns | {
        "id": written.id,
        "member_id": "#2",
        "is_bot": False,
        "merged_into": None,
        "suspended_until": None,
        "reputation_shortfall": 0,
        "reputation_tier": ReputationTier.EXPERIENCED,
        "reputation_withheld": 0,
        "created_at": written.created_at,
        "updated_at": written.updated_at,
    }


async def test_columns_that_are_not_given_have_defaults(directory: asyncpg.Pool) -> None:
    by_sql = await rows.member(directory)
    await new_member(telegram_id="77").save()
    by_class = await rows.fetch_row(
        directory, "SELECT * FROM community_members WHERE telegram_id = '77'"
    )

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
            "merged_into",
            "suspended_until",
        ]
    assert by_sql["id"] != by_class["id"]


async def test_a_member_is_displayed_by_number_and_name(directory: asyncpg.Pool) -> None:
    await rows.member(directory, member_id="#247", name="Ana García")
    assert await CommunityMember.select(CommunityMember.get_readable()) == [
        {"readable": "#247 Ana García"}
    ]


async def test_members_are_numbered_in_order(directory: asyncpg.Pool) -> None:
    left_out = await rows.member(directory)
    empty = await rows.member(directory, member_id="")
    null = await rows.member(directory, member_id=None)
    await new_member().save()

    assert [left_out["member_id"], empty["member_id"], null["member_id"]] == ["#1", "#2", "#3"]
    assert await CommunityMember.exists().where(CommunityMember.member_id == "#4")


async def test_an_explicit_number_is_kept_and_skipped_later(directory: asyncpg.Pool) -> None:
    for number in ("#2", "#3", "#5"):
        assert (await rows.member(directory, member_id=number))["member_id"] == number
    assert [(await rows.member(directory))["member_id"] for _ in range(4)] == [
        "#1",
        "#4",
        "#6",
        "#7",
    ]


async def test_one_statement_may_mix_explicit_and_assigned_numbers(
    directory: asyncpg.Pool,
) -> None:
    stored = await directory.fetch(
        """
        INSERT INTO community_members (member_id, telegram_id, name, primary_role)
        SELECT number, ordinality, 'Ana', 'developer'
        FROM unnest(ARRAY['#2', '', NULL, '#6', '', '', ''])
            WITH ORDINALITY AS given(number, ordinality)
        RETURNING member_id
        """
    )
    assert [row["member_id"] for row in stored] == ["#2", "#1", "#3", "#6", "#4", "#5", "#7"]


async def test_a_number_is_assigned_once_even_if_its_member_is_gone(
    directory: asyncpg.Pool,
) -> None:
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


async def test_a_saved_object_gets_its_number_when_it_is_refreshed(
    directory: asyncpg.Pool,
) -> None:
    member = new_member()
    await member.save()
    assert member.member_id == ""

    await member.refresh()
    assert member.member_id == "#1"

    member.name = "Ana"
    await member.save()
    assert await CommunityMember.select(CommunityMember.member_id, CommunityMember.name) == [
        {"member_id": "#1", "name": "Ana"}
    ]


async def test_an_object_can_be_saved_again_before_it_has_its_number(
    directory: asyncpg.Pool,
) -> None:
    member = new_member()
    await member.save()
    member.name = "Ana"
    await member.save()
    assert await CommunityMember.select(CommunityMember.member_id, CommunityMember.name) == [
        {"member_id": "#1", "name": "Ana"}
    ]


async def test_the_triggers_work_with_any_search_path(directory: asyncpg.Pool) -> None:
    async with directory.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL search_path = ''")
        stored = await rows.fetch_row(
            connection,
            """
            INSERT INTO public.community_members (telegram_id, name, primary_role, reputation_score)
            VALUES ('1', 'Ana', 'developer', 101) RETURNING member_id, reputation_tier
            """,
        )
        assert tuple(stored) == ("#1", ReputationTier.CONTRIBUTOR)
        await connection.execute("UPDATE public.community_members SET name = 'Ana García'")
        assert await connection.fetchval("SELECT count(*) FROM public.directory_audit_log") == 2


TIER_BOUNDARIES = {
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
async def test_the_tier_follows_from_the_score_and_not_from_the_writer(
    directory: asyncpg.Pool, claimed: str | None
) -> None:
    member = await rows.member(directory, reputation_tier=claimed)
    update = """
        UPDATE community_members SET reputation_score = $2, reputation_tier = $3 WHERE id = $1
        RETURNING reputation_tier
    """
    for score, tier in TIER_BOUNDARIES.items():
        inserted = await rows.member(directory, reputation_score=score, reputation_tier=claimed)
        assert (score, inserted["reputation_tier"]) == (score, tier)
        assert (score, await directory.fetchval(update, member["id"], score, claimed)) == (
            score,
            tier,
        )


async def test_the_tier_follows_from_a_score_that_is_written_alone(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    for score, tier in TIER_BOUNDARIES.items():
        await CommunityMember.update({CommunityMember.reputation_score: score}, force=True)
        assert await CommunityMember.select(CommunityMember.reputation_tier).first() == {
            "reputation_tier": tier
        }


# One edit of each column that can be edited. The number can't, and the tier only with the score.
EDITS = {
    "id": "b5ebbec2-e9c5-4af9-8ab4-2cbfd2d172ad",
    "telegram_id": "88",
    "telegram_username": "another",
    "name": "Another",
    "primary_role": "designer",
    "organization": "Another",
    "country": "Another",
    "github_username": "another",
    "github_verified": False,
    "github_verified_at": LONG_AGO,
    "github_profile_data": '{"followers": 2}',
    "status": "pending",
    "reputation_score": 1,
    "invited_by": None,
    "registration_fee_paid": True,
    "registration_fee_tx_hash": "0xdef",
    "profile_data": '{"bio": null}',
    "created_at": LONG_AGO,
    "updated_at": LONG_AGO,
    "deleted_at": NOON,
    "is_bot": True,
}


async def test_every_edit_moves_updated_at(directory: asyncpg.Pool) -> None:
    inviter = await rows.member(directory)
    for column, value in EDITS.items():
        member = await rows.member(
            directory,
            github_username=f"ana_{column}",
            github_verified=True,
            github_verified_at=NOON,
            invited_by=inviter["member_id"],
        )
        edited = await rows.fetch_row(
            directory,
            f"UPDATE community_members SET {column} = $2 WHERE member_id = $1 RETURNING *",
            member["member_id"],
            value,
        )
        assert (column, edited["updated_at"] > member["updated_at"]) == (column, True)
        assert datetime.now(UTC) - edited["updated_at"] < timedelta(minutes=1)

    all_columns = {column._meta.name for column in CommunityMember._meta.columns}
    assert all_columns - EDITS.keys() == {
        "member_id",
        "merged_into",  # only together with others
        "reputation_tier",
        "reputation_shortfall",
        "reputation_withheld",
        "last_active_at",
        "suspended_until",  # only while suspended
    }


async def test_an_edit_through_the_class_moves_updated_at(directory: asyncpg.Pool) -> None:
    times = [(await rows.member(directory, telegram_id="1"))["updated_at"]]

    async def now_stored() -> datetime:
        stored: datetime = await directory.fetchval("SELECT updated_at FROM community_members")
        return stored

    await CommunityMember.update({CommunityMember.name: "Ana"}).where(
        CommunityMember.telegram_id == "1"
    )
    times.append(await now_stored())

    member = await CommunityMember.objects().get(CommunityMember.telegram_id == "1")
    assert member is not None
    member.name = "Ana G."
    await member.save()  # writes the old updated_at, too
    times.append(await now_stored())

    await CommunityMember.insert(new_member(name="Ana García", updated_at=LONG_AGO)).on_conflict(
        target=CommunityMember.telegram_id,
        action="DO UPDATE",
        values=[CommunityMember.name, CommunityMember.updated_at],
    )
    times.append(await now_stored())

    assert len(set(times)) == len(times)
    assert times == sorted(times)


async def test_activity_and_an_update_without_a_change_are_not_edits(
    directory: asyncpg.Pool,
) -> None:
    before = await rows.member(directory, profile_data={"a": 1, "b": 2})
    for change in (
        "last_active_at = now()",
        "last_active_at = NULL",
        "name = name",
        """profile_data = '{"b": 2, "a": 1}'""",
        "reputation_tier = 'Expert'",
        "last_active_at = now(), reputation_tier = NULL",
    ):
        after = await rows.fetch_row(
            directory, f"UPDATE community_members SET {change} RETURNING *"
        )
        assert (change, after["updated_at"]) == (change, before["updated_at"])
        assert dict(after) | {"last_active_at": None} == dict(before)

    await CommunityMember.update({CommunityMember.last_active_at: NOON}, force=True)
    assert await CommunityMember.select(
        CommunityMember.last_active_at, CommunityMember.updated_at
    ) == [{"last_active_at": NOON, "updated_at": before["updated_at"]}]


async def test_an_edit_together_with_activity_is_an_edit(directory: asyncpg.Pool) -> None:
    before = await rows.member(directory)
    after = await rows.fetch_row(
        directory, "UPDATE community_members SET last_active_at = now(), name = 'Ana' RETURNING *"
    )
    assert after["updated_at"] > before["updated_at"]
    assert after["last_active_at"] is not None


ALLOWED_TRANSITIONS = {
    ("not_member", "pending"),
    ("pending", "not_member"),
    ("pending", "active"),
    ("active", "pending"),
    ("active", "suspended"),
    ("suspended", "active"),
    ("banned", "active"),
    *((status, "banned") for status in ("not_member", "pending", "active", "suspended")),
}


async def test_the_database_allows_the_same_changes_of_status_as_the_helpers(
    directory: asyncpg.Pool,
) -> None:
    found = set()
    for before in MemberStatus:
        for after in set(MemberStatus) - {before}:
            member = await rows.member(directory, status=before)
            with contextlib.suppress(asyncpg.CheckViolationError):
                await directory.execute(
                    "UPDATE community_members SET status = $2 WHERE id = $1", member["id"], after
                )
                found.add((before.value, after.value))
    assert (
        found
        == ALLOWED_TRANSITIONS
        == {
            (before, after)
            for after, befores in members.ALLOWED_TRANSITIONS.items()
            for before in befores
        }
    )


async def test_an_update_to_the_same_status_is_allowed(
    directory: asyncpg.Pool,
) -> None:
    for status in MemberStatus:
        await rows.member(directory, status=status)
    await directory.execute("UPDATE community_members SET status = status, name = 'Ana'")
    assert await directory.fetchval(
        "SELECT count(*) FROM community_members WHERE name = 'Ana'"
    ) == len(MemberStatus)


async def chain(directory: asyncpg.Pool, length: int) -> list[str]:
    """Insert members of whom each invited the next one, and return their numbers."""
    numbers: list[str] = []
    for _ in range(length):
        invited_by = numbers[-1] if numbers else None
        numbers.append((await rows.member(directory, invited_by=invited_by))["member_id"])
    return numbers


SET_INVITER = "UPDATE community_members SET invited_by = $2 WHERE member_id = $1"


async def test_a_member_cannot_be_invited_by_their_own_descendants(
    directory: asyncpg.Pool,
) -> None:
    first, *descendants = await chain(directory, 5)
    for descendant in descendants:
        with pytest.raises(asyncpg.CheckViolationError) as error:
            await directory.execute(SET_INVITER, first, descendant)
        assert error.value.constraint_name == "member_invited_by_acyclic"


async def test_a_member_can_move_in_the_tree_if_no_circle_results(directory: asyncpg.Pool) -> None:
    first, second, third = await chain(directory, 3)
    await directory.execute(SET_INVITER, third, first)
    await directory.execute(SET_INVITER, second, third)
    await directory.execute(SET_INVITER, second, None)
    stored = await directory.fetch("SELECT member_id, invited_by FROM community_members ORDER BY 1")
    assert [tuple(row) for row in stored] == [(first, None), (second, None), (third, first)]


async def test_one_statement_cannot_close_a_circle(directory: asyncpg.Pool) -> None:
    first, second, third = [(await rows.member(directory))["member_id"] for _ in range(3)]
    for statement in (
        """
        UPDATE community_members SET invited_by = inviter
        FROM (VALUES ('#1', '#2'), ('#2', '#3'), ('#3', '#1')) AS given(number, inviter)
        WHERE member_id = number
        """,
        """
        WITH other AS (UPDATE community_members SET invited_by = '#2' WHERE member_id = '#1')
        UPDATE community_members SET invited_by = '#1' WHERE member_id = '#2'
        """,
        """
        INSERT INTO community_members (member_id, telegram_id, name, primary_role, invited_by)
        VALUES ('#7', '7', 'Ana', 'developer', '#8'), ('#8', '8', 'Bea', 'developer', '#7')
        """,
    ):
        with pytest.raises(asyncpg.CheckViolationError) as error:
            await directory.execute(statement)
        assert error.value.constraint_name == "member_invited_by_acyclic"
    assert (first, second, third) == ("#1", "#2", "#3")


async def test_one_statement_may_insert_a_tree_in_any_order(directory: asyncpg.Pool) -> None:
    await directory.execute(
        """
        INSERT INTO community_members (member_id, telegram_id, name, primary_role, invited_by)
        VALUES ('#9', '9', 'Ana', 'developer', '#8'), ('#8', '8', 'Bea', 'developer', '#7'),
            ('#7', '7', 'Eva', 'developer', NULL)
        """
    )
    assert await directory.fetchval("SELECT count(*) FROM community_members") == 3


async def test_a_circle_that_is_older_than_the_rule_stops_no_other_change(
    directory: asyncpg.Pool,
) -> None:
    first, second, outside = [(await rows.member(directory))["member_id"] for _ in range(3)]
    async with directory.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(SET_INVITER, first, second)
        await connection.execute(SET_INVITER, second, first)
    async with directory.acquire() as connection:
        await connection.execute("SET statement_timeout = '30s'")
        await connection.execute(SET_INVITER, outside, first)
        await connection.execute(SET_INVITER, first, None)


@pytest.mark.parametrize("first_ends", ["commit", "rollback"])
async def test_one_of_two_concurrent_changes_that_close_a_circle_is_refused(
    directory: asyncpg.Pool, first_ends: str
) -> None:
    one, two = [(await rows.member(directory))["member_id"] for _ in range(2)]
    async with directory.acquire() as slow, directory.acquire() as fast:
        transaction = slow.transaction()
        await transaction.start()
        await slow.execute(SET_INVITER, one, two)
        waiting = asyncio.create_task(fast.execute(SET_INVITER, two, one))
        await until_blocked_by(slow)
        await getattr(transaction, first_ends)()
        if first_ends == "commit":
            with pytest.raises(asyncpg.CheckViolationError) as error:
                await waiting
            assert error.value.constraint_name == "member_invited_by_acyclic"
        else:
            assert await waiting == "UPDATE 1"


EQUAL_IN_A_SEARCH = [
    ("Ana García", "ana garcia"),
    ("Ana García", "Ana Garci\u0301a"),
    ("ÁÀÂÄÃÅĀ", "aaaaaaa"),
    ("Øystein Łukasz ĐORĐE", "oystein lukasz dorde"),
    ("İstanbul ISPARTA ısı", "istanbul isparta isi"),
    ("Ελένη ΓΙΏΡΓΟΣ", "ελενη γιωργοσ"),
    ("γιώργος", "ΓΙΩΡΓΟΣ"),
    ("Николай ЁЖ", "николаи еж"),
    ("ЂОРЂЕ", "ђорђе"),
    ("ﬁve ＡＢＣ ½", "five abc 1⁄2"),
    ("Ægir ŒUVRE", "æGIR œuvre"),
    ("Nguyễn", "NGUYEN"),
    ("한국", "\u1112\u1161\u11ab\u1100\u116e\u11a8"),
    ("", ""),
]


@pytest.mark.parametrize("locale", ["the server's own", "C"])
async def test_a_search_ignores_case_and_accents_in_every_locale(
    server: Server, locale: str
) -> None:
    name = f"test_{secrets.token_hex(8)}"
    url = urlunsplit(urlsplit(server.url)._replace(path=f"/{name}"))
    options = "" if locale != "C" else "LOCALE 'C' LOCALE_PROVIDER libc"
    await run_sql(
        server.url, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' {options}"
    )
    try:
        async with connect(url, min_size=0) as engine:
            await migrate()
            for one, other in EQUAL_IN_A_SEARCH:
                found = await engine.fetch(
                    "SELECT directory_search_text($1), directory_search_text($2)", one, other
                )
                assert found[0][0] == found[0][1]
            for form in ("NFC", "NFD", "NFKC", "NFKD"):
                texts = [unicodedata.normalize(form, one) for one, _ in EQUAL_IN_A_SEARCH]
                found = await engine.fetch(
                    "SELECT directory_search_text(text) FROM unnest($1::text[]) AS text", texts
                )
                plain = await engine.fetch(
                    "SELECT directory_search_text(text) FROM unnest($1::text[]) AS text",
                    [one for one, _ in EQUAL_IN_A_SEARCH],
                )
                assert found == plain
    finally:
        await run_sql(server.url, f"DROP DATABASE {name} WITH (FORCE)")


async def test_the_function_of_the_searched_text_is_immutable_and_parallel_safe(
    directory: asyncpg.Pool,
) -> None:
    found = await rows.fetch_row(
        directory,
        "SELECT provolatile, proparallel, proisstrict FROM pg_proc"
        " WHERE proname = 'directory_search_text'",
    )
    assert tuple(found) == (b"i", b"s", True)
    assert await directory.fetchval("SELECT directory_search_text(NULL)") is None
