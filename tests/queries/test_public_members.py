"""What anybody may know of a member."""

import json
from dataclasses import asdict, fields

import asyncpg
import pytest

from community_directory.queries import members
from community_directory.queries.members import PublicMember
from community_directory.tables import MemberStatus
from tests.tables import rows
from tests.zones import use_zone

FORBIDDEN = {
    *("id", "member_id", "telegram_id", "telegram_username", "invited_by"),
    *("registration_fee_paid", "registration_fee_tx_hash"),
    *("github_profile_data", "profile_data", "status"),
}


async def test_an_active_member_has_a_public_profile(directory: asyncpg.Pool) -> None:
    await rows.member(
        directory,
        name="Ana",
        status="active",
        organization="Frutero",
        country="México",
        github_username="ana-dev",
        github_verified=True,
        github_verified_at=await directory.fetchval("SELECT now()"),
        reputation_score=150,
        created_at=await directory.fetchval("SELECT '2026-03-02 03:00Z'::timestamptz"),
        profile_data='{"bio": "secret"}',
    )
    found = members.public(await members.get(1))
    assert found == PublicMember(
        name="Ana",
        primary_role="developer",
        organization="Frutero",
        country="México",
        github_username="ana-dev",
        reputation_score=150,
        reputation_tier="Contributor",
        known_since="2026-03-02",
    )
    assert json.loads(json.dumps(asdict(found))) == asdict(found)


async def test_the_day_is_that_of_the_time_zone_of_the_community(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_zone(monkeypatch, "America/Mexico_City")
    midnight = await directory.fetchval("SELECT '2026-03-02 03:00Z'::timestamptz")
    await rows.member(directory, status="active", created_at=midnight)
    assert members.public(await members.get(1)).known_since == "2026-03-01"


async def test_nobody_else_has_more_than_a_name(directory: asyncpg.Pool) -> None:
    others: list[dict[str, object]] = [{"status": "active", "is_bot": True}]
    others += [{"status": status} for status in MemberStatus if status != "active"]
    for number, columns in enumerate(others, 1):
        await rows.member(directory, name="Bo", country="Perú", github_username="b", **columns)
        assert members.public(await members.get(number)) == PublicMember("Bo")


async def test_a_removed_member_has_no_public_profile(directory: asyncpg.Pool) -> None:
    await rows.member(directory, name="Bo", country="México", status="active")
    removed = await members.remove(1, actor="luis")
    assert members.public(removed) == PublicMember("Bo")


async def test_a_github_account_that_is_only_stated_is_not_public(directory: asyncpg.Pool) -> None:
    await rows.member(directory, status="active", github_username="somebody")
    assert members.public(await members.get(1)).github_username is None


def test_a_public_profile_has_no_ids_fees_and_data_of_programs() -> None:
    names = {field.name for field in fields(PublicMember)}
    assert not names & FORBIDDEN
