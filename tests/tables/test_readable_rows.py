"""No row has a date or a JSON value that Python can't represent or parse."""

import json
import math
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from asyncpg.pool import PoolConnectionProxy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from piccolo.columns import JSONB, Column, Date, Timestamptz

from community_directory.constraints import CONSTRAINT_MESSAGES
from community_directory.piccolo_app import APP_CONFIG
from community_directory.queries.values import as_json
from community_directory.tables.checks import MAX_JSON_DEPTH
from tests.tables import rows

pytestmark = pytest.mark.schema

FACTORIES: dict[str, Callable[..., Coroutine[Any, Any, asyncpg.Record]]] = {
    "community_members": rows.member,
    "community_invitations": rows.invitation,
    "member_relationships": rows.relationship,
    "member_participation": rows.event,
    "member_daily_highlights": rows.highlight,
    "directory_audit_log": rows.audit_entry,
    "directory_bots": rows.bot,
    "member_permissions": rows.permission,
    "member_requests": rows.request,
    "member_notes": rows.note,
    "member_accounts": rows.account,
    "directory_merges": rows.merge,
}
PREFIXES = {
    "community_members": "member",
    "community_invitations": "invitation",
    "member_relationships": "relationship",
    "member_participation": "participation",
    "member_daily_highlights": "highlight",
    "directory_audit_log": "audit",
    "directory_bots": "bot",
    "member_permissions": "member_permission",
    "member_requests": "member_request",
    "member_notes": "member_note",
    "member_accounts": "member_account",
    "directory_merges": "merge",
}


def columns_of(*types: type[Column]) -> list[tuple[str, str]]:
    """Return the columns of these types, each with its table."""
    return [
        (table._meta.tablename, column._meta.name)
        for table in APP_CONFIG.table_classes
        for column in table._meta.columns
        if isinstance(column, types)
    ]


def rule_of(table: str, column: str, kind: str) -> str:
    """Return the name of the constraint of this kind for a column."""
    return f"{PREFIXES[table]}_{column.removeprefix('highlight_')}_{kind}_check"


TIMES = columns_of(Timestamptz)
DAYS = columns_of(Date)
# The triggers write the log from the other tables, so its values have been checked.
DOCUMENTS = [found for found in columns_of(JSONB) if found[0] != "directory_audit_log"]


@pytest.fixture
async def connection(directory: asyncpg.Pool) -> AsyncIterator[PoolConnectionProxy]:
    """Yield a connection on which no trigger runs, so that every column can be written."""
    async with directory.acquire() as connection:
        for insert in FACTORIES.values():
            await insert(connection)
        await connection.execute(
            "UPDATE community_invitations SET status = 'accepted', accepted_at = now(),"
            " accepted_by = (SELECT member_id FROM community_members"
            " WHERE member_id <> created_by LIMIT 1)"
        )
        await connection.execute("SET session_replication_role = replica")
        # Only a suspension has an end.
        await connection.execute("UPDATE community_members SET status = 'suspended'")
        yield connection


async def refusal(
    connection: PoolConnectionProxy, table: str, column: str, value: str
) -> str | None:
    """Return the constraint that refuses the value, or None."""
    try:
        async with connection.transaction():
            await connection.execute(f"UPDATE {table} SET {column} = {value}")
    except asyncpg.CheckViolationError as refused:
        return str(refused.constraint_name)
    return None


@pytest.mark.parametrize(("table", "column"), DAYS)
async def test_a_day_lies_in_the_years_2000_to_2199_in_some_time_zone(
    connection: PoolConnectionProxy, table: str, column: str
) -> None:
    rule = rule_of(table, column, "range")
    for value in (
        "infinity",
        "-infinity",
        "1999-12-30",
        "2200-01-02",
        "20000-01-01",
        "0044-03-15 BC",
    ):
        assert await refusal(connection, table, column, f"'{value}'") == rule, value
    for value in ("1999-12-31", "2200-01-01"):
        assert await refusal(connection, table, column, f"'{value}'") is None, value
    assert CONSTRAINT_MESSAGES[rule].field == column


@pytest.mark.parametrize(("table", "column"), TIMES)
async def test_a_date_lies_in_the_years_2000_to_2199(
    connection: PoolConnectionProxy, table: str, column: str
) -> None:
    rule = rule_of(table, column, "range")
    for value in (
        "infinity",
        "-infinity",
        "1999-12-31 23:59:59Z",
        "2200-01-01 00:00Z",
        "20000-01-01",
        "0044-03-15 BC",
    ):
        assert await refusal(connection, table, column, f"'{value}'") == rule, value
    for value in ("2000-01-01 00:00Z", "2199-12-31 23:59:59.999999Z"):
        assert await refusal(connection, table, column, f"'{value}'") is None, value
    assert CONSTRAINT_MESSAGES[rule].field == column


LARGEST = int(sys.float_info.max)
UNREADABLE = [
    "1e5000",
    "-1e5000",
    "1e309",
    f"{LARGEST + 10**300}",
    f"-{LARGEST + 10**300}",
    f"{'9' * 400}.5",
]
READABLE = [
    repr(sys.float_info.max),
    repr(-sys.float_info.max),
    f"{LARGEST}",
    "1e-400",
    "0",
    f'"{"9" * 5000}"',
]


@pytest.mark.parametrize(("table", "column"), DOCUMENTS)
async def test_a_number_in_json_can_be_parsed_by_every_reader(
    connection: PoolConnectionProxy, table: str, column: str
) -> None:
    rule = rule_of(table, column, "readable")
    for shape in ('{"a": %s}', '{"a": [{"b": [1, %s]}, "text"]}'):
        for number in UNREADABLE:
            assert await refusal(connection, table, column, f"'{shape % number}'") == rule, number
        for number in READABLE:
            assert await refusal(connection, table, column, f"'{shape % number}'") is None, number
            stored = await connection.fetchval(f"SELECT {column} FROM {table} LIMIT 1")
            assert json.loads(stored)
    assert CONSTRAINT_MESSAGES[rule].field == column


@pytest.mark.parametrize(("table", "column"), DOCUMENTS)
async def test_json_can_be_nested_as_deeply_as_helpers_allow(
    connection: PoolConnectionProxy, table: str, column: str
) -> None:
    rule = rule_of(table, column, "readable")
    for opening, closing in (('{"a": ', "}"), ('{"a": [', "]}")):
        levels = opening.count("{") + opening.count("[")
        for inside in ("1", "null"):
            times = MAX_JSON_DEPTH // levels
            deepest = opening * times + inside + closing * times
            assert await refusal(connection, table, column, f"'{deepest}'") is None
            for value in (
                f'{{"a": {deepest}}}',
                deepest.replace(inside, "{}"),
                deepest.replace(inside, "[]"),
            ):
                assert await refusal(connection, table, column, f"'{value}'") == rule
    # This depth exceeds a limit of PostgreSQL itself, which refuses it with another error.
    with pytest.raises(asyncpg.ProgramLimitExceededError):
        await refusal(connection, table, column, f"""'{'{"a":' * 100_000}1{"}" * 100_000}'""")
    assert CONSTRAINT_MESSAGES[rule].field == column


def test_the_helpers_allow_the_same_depth() -> None:
    deepest: dict[str, Any] = {}
    for _ in range(MAX_JSON_DEPTH - 1):
        deepest = {"a": deepest}
    assert as_json(deepest)


@given(
    number=st.decimals(allow_nan=False, allow_infinity=False)
    | st.builds("{}e{}".format, st.integers(), st.integers(-400, 400)).map(Decimal)
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
async def test_every_stored_number_can_be_parsed(
    connection: PoolConnectionProxy, number: Decimal
) -> None:
    is_finite = math.isfinite(float(number))
    try:
        refused = await refusal(
            connection, "community_members", "profile_data", f"""'{{"a": {number:E}}}'"""
        )
    except asyncpg.DataError:
        return  # outside of the range of PostgreSQL's numbers
    assert (refused is None) == is_finite
    if is_finite:
        parsed = json.loads(
            await connection.fetchval("SELECT profile_data FROM community_members LIMIT 1")
        )
        assert math.isfinite(float(parsed["a"]))
