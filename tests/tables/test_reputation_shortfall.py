"""The shortfall is the distance of a member's points below zero."""

import asyncpg
import pytest

from tests.tables import rows

pytestmark = pytest.mark.schema

UPDATE = "UPDATE community_members SET {} RETURNING reputation_shortfall, updated_at, created_at"


async def test_a_new_member_has_no_shortfall(directory: asyncpg.Pool) -> None:
    assert (await rows.member(directory))["reputation_shortfall"] == 0


async def test_a_score_above_zero_has_no_shortfall(directory: asyncpg.Pool) -> None:
    member = await rows.member(directory, reputation_score=1, reputation_shortfall=3)
    assert member["reputation_shortfall"] == 0

    await directory.execute(UPDATE.format("reputation_score = 0, reputation_shortfall = 3"))
    member = await rows.fetch_row(directory, UPDATE.format("name = 'Eva'"))
    assert member["reputation_shortfall"] == 3
    member = await rows.fetch_row(directory, UPDATE.format("reputation_score = 1"))
    assert member["reputation_shortfall"] == 0


async def test_a_shortfall_is_never_negative(directory: asyncpg.Pool) -> None:
    with pytest.raises(asyncpg.CheckViolationError) as raised:
        await rows.member(directory, reputation_shortfall=-1)
    assert raised.value.constraint_name == "member_reputation_shortfall_check"


async def test_a_changed_shortfall_is_not_an_edit(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    logged = await directory.fetch("SELECT * FROM directory_audit_log")
    assert "reputation_shortfall" not in logged[0]["changes"]

    member = await rows.fetch_row(directory, UPDATE.format("reputation_shortfall = 3"))
    assert member["reputation_shortfall"] == 3
    assert member["updated_at"] == member["created_at"]
    assert await directory.fetch("SELECT * FROM directory_audit_log") == logged
