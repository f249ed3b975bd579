"""What the database and its driver refuse, said in this package's words."""

import contextlib
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime

import asyncpg
import pytest

from community_directory import errors
from community_directory.database import connect, engine, transaction
from community_directory.errors import (
    RULES,
    DatabaseUnavailable,
    DirectoryError,
    InvalidInput,
    database_errors,
    shown,
)
from community_directory.queries import members, relationships
from tests.queries.cases import all_idle, undone
from tests.tables import rows

HOSTILE = ["\0\n\r\t\x1b[31m\x07", "\ud800" * 50, "x" * 1_000_000, "\u202eabc\u2066\u200b", "<b>*_`[x](y)`", "{} %s $1"]


def is_sentence(text: str) -> bool:
    """One line, beginning like a sentence and ending in the only full stop."""
    return bool(re.fullmatch(r"[A-Z][^.]*[^\s.]\.", text)) and text.isprintable() and len(text) <= 200


async def test_every_rule_of_the_database_is_said_in_a_sentence_and_no_other(directory: asyncpg.Pool) -> None:
    tables = await directory.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    ours = [row[0] for row in tables if re.match("community_|member_|directory_", row[0])]
    constraints = await directory.fetch(
        """
        SELECT conname FROM pg_constraint WHERE conrelid::regclass::text = ANY($1::text[]) AND contype <> 'n'
        UNION
        SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid::regclass::text = ANY($1::text[]) AND indisunique
        """,
        ours,
    )
    sources = await directory.fetch("SELECT prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace")
    raised = {name for row in sources for name in re.findall(r"CONSTRAINT = '(\w+)'", row["prosrc"] or "")}
    # What a superuser may run into who adds a user of the panel.
    theirs = {"piccolo_user_email_key", "piccolo_user_username_key"}
    assert RULES.keys() == {row[0] for row in constraints} | raised | theirs


@pytest.mark.parametrize("name", RULES)
def test_every_rule_is_one_sentence(name: str) -> None:
    assert is_sentence(RULES[name].sentence)


async def test_every_rule_names_a_column(directory: asyncpg.Pool) -> None:
    columns = await directory.fetch("SELECT column_name FROM information_schema.columns WHERE table_schema = 'public'")
    assert {rule.field for rule in RULES.values() if rule.field} <= {row[0] for row in columns}


REFUSED: dict[str, tuple[str, tuple[object, ...], str | None]] = {
    "a check": ("INSERT INTO community_members (telegram_id, name, primary_role) VALUES ('1', ' ', 'x')", (), "name"),
    "a unique key": (
        "INSERT INTO community_members (telegram_id, name, primary_role) VALUES ('1', 'a', 'x'), ('1', 'b', 'x')",
        (),
        "telegram_id",
    ),
    "a foreign key": (
        "INSERT INTO community_invitations (invitation_id, created_by, invitation_code)"
        " VALUES (gen_random_uuid(), '#99', 'ABCDEFGH')",
        (),
        "created_by",
    ),
    "nothing in a column": (
        "INSERT INTO community_members (telegram_id, name, primary_role) VALUES ('1', NULL, 'x')",
        (),
        "name",
    ),
    "a text that is too long": (
        "INSERT INTO community_members (telegram_id, name, primary_role) VALUES ('1', repeat('x', 256), 'x')",
        (),
        None,
    ),
    "nul": ("SELECT $1::text", ("a\0b",), None),
    "a lone surrogate": ("SELECT $1::text", ("\ud800",), None),
    "a number out of an integer's range": ("SELECT $1::int", (2**31,), None),
    "a number out of every range": ("SELECT $1::bigint", (10**30,), None),
    "a sum out of range": ("SELECT $1::int + 1", (2**31 - 1,), None),
    "nul in JSON": ("SELECT $1::jsonb", (r'"\u0000"',), None),
    "a lone surrogate in JSON": ("SELECT $1::jsonb", (r'"\ud800"',), None),
    "JSON that is nested without end": ("SELECT $1::jsonb", ("[" * 200_000 + "]" * 200_000,), None),
    "no JSON": ("SELECT $1::jsonb", ("{",), None),
    "a number divided by zero": ("SELECT 1 / $1::int", (0,), None),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_the_database_refuses_is_invalid_input(directory: asyncpg.Pool, what: str) -> None:
    sql, arguments, field = REFUSED[what]
    with pytest.raises(InvalidInput) as refused:
        await engine.fetch(sql, *arguments)
    assert is_sentence(str(refused.value))
    assert refused.value.field == field
    assert isinstance(refused.value.__cause__, asyncpg.PostgresError)
    assert all_idle()


async def test_what_a_trigger_refuses_is_invalid_input(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    for sql, rule in (
        ("UPDATE community_members SET member_id = '#7'", "member_number_never_changes"),
        ("UPDATE community_members SET status = 'suspended'", "member_status_transition"),
    ):
        with pytest.raises(InvalidInput) as refused:
            await engine.fetch(sql)
        assert (str(refused.value), refused.value.field) == (RULES[rule].sentence, RULES[rule].field)


async def test_what_is_appended_only_is_invalid_input_to_others_than_its_owner(directory: asyncpg.Pool) -> None:
    async with undone() as current:
        await current.connection.execute(
            "CREATE ROLE test_of_errors; GRANT ALL ON directory_audit_log TO test_of_errors; SET ROLE test_of_errors"
        )
        with pytest.raises(InvalidInput) as refused:
            await engine.fetch("DELETE FROM directory_audit_log")
    assert str(refused.value) == RULES["audit_log_append_only"].sentence


async def test_a_database_without_the_tables_is_told(empty_database: str) -> None:
    async with connect(empty_database, min_size=0):
        with pytest.raises(errors.SchemaMissing, match="run the migrations first"):
            await members.get("#1")


async def test_a_mistake_in_the_program_passes_as_it_is(directory: asyncpg.Pool) -> None:
    with pytest.raises(asyncpg.PostgresSyntaxError):
        await engine.fetch("SELEKT 1")
    with pytest.raises(asyncpg.UndefinedFunctionError):
        await engine.fetch("SELECT nobody_made_it()")
    with pytest.raises(asyncpg.InterfaceError, match="1 was passed"):
        await engine.fetch("SELECT 1", 1)
    with pytest.raises(ZeroDivisionError), database_errors():
        raise ZeroDivisionError
    with pytest.raises(DirectoryError) as same, database_errors():
        raise errors.MemberNotFound("#1")
    assert isinstance(same.value, errors.MemberNotFound)
    async with undone() as current:
        with pytest.raises(InvalidInput):
            await engine.fetch("SELECT 1 / 0")
        with pytest.raises(errors.TransactionFailed, match="a transaction of its own"):
            await engine.fetch("SELECT 1")
        assert current.connection.is_in_transaction()


async def test_a_connection_that_is_cut_is_an_unavailable_database(directory: asyncpg.Pool, database: str) -> None:
    other = await asyncpg.connect(database)
    async with directory.acquire() as held:
        pid = await held.fetchval("SELECT pg_backend_pid()")
    await other.execute("SELECT pg_terminate_backend($1, 5000)", pid)
    with contextlib.suppress(DatabaseUnavailable):  # unless the pool has noticed by itself
        await members.find("#1")
    assert await members.find("#1") is None

    async with undone() as current:
        pid = current.connection.get_server_pid()
        await other.execute("SELECT pg_terminate_backend($1, 5000)", pid)
        for _ in range(2):
            with pytest.raises(DatabaseUnavailable):
                await members.find("#1")
    await other.close()
    assert await members.find("#1") is None


async def test_a_server_that_shuts_a_running_statement_is_an_unavailable_database(
    directory: asyncpg.Pool, database: str
) -> None:
    with pytest.raises(DatabaseUnavailable):
        await engine.fetch("SELECT pg_terminate_backend(pg_backend_pid()), pg_sleep(5)")
    assert await members.find("#1") is None


async def test_a_closed_pool_is_an_unavailable_database(database: str) -> None:
    async with connect(database, min_size=0) as connected:
        pool = connected.pool
        assert pool is not None
        await pool.close()
        with pytest.raises(DatabaseUnavailable):
            await members.find("#1")


@pytest.mark.parametrize("port", ["1", "65535"])
async def test_nobody_at_the_address_is_an_unavailable_database(port: str) -> None:
    with pytest.raises(DatabaseUnavailable):
        async with connect(f"postgresql://nobody@127.0.0.1:{port}/none"):
            pass


async def test_a_statement_that_takes_too_long_or_waits_too_long_is_a_busy_database(
    directory: asyncpg.Pool, database: str
) -> None:
    await rows.member(directory, status="active")
    other = await asyncpg.connect(database)
    async with other.transaction():
        await other.execute("SELECT 1 FROM community_members FOR UPDATE")
        for setting in ("lock_timeout", "statement_timeout"):
            async with undone() as current:
                await current.connection.execute(f"SET LOCAL {setting} = 50")
                with pytest.raises(DatabaseUnavailable, match=r"^The database is busy: try again\.$"):
                    await members.set_status("#1", "suspended", actor="Luis")
    await other.close()


async def test_the_loser_of_a_serializable_race_is_told_to_try_again(directory: asyncpg.Pool, database: str) -> None:
    await rows.member(directory, status="active")
    async with undone() as current:
        await current.connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        await members.get("#1")
        other = await asyncpg.connect(database)
        await other.execute("UPDATE community_members SET name = 'Eva'")
        await other.close()
        with pytest.raises(DatabaseUnavailable, match="busy"):
            await members.update_profile("#1", name="Bo")


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_sentence_repeats_nothing_dangerous_and_not_much(hostile: str) -> None:
    text = shown(hostile)
    assert text.isprintable()
    assert len(text) <= errors.SHOWN
    assert not set(text) & set('<>*`[]{}%$\\"')


def test_a_sentence_repeats_what_is_harmless_as_it_is() -> None:
    assert shown("#247 Ana García, 李, O'Neil") == "#247 Ana García, 李, O'Neil"
    assert shown("x" * 40) == "x" * 40
    assert shown("x" * 41) == "x" * 39 + "…"


MADE_OF_INPUT: list[Callable[[str], DirectoryError]] = [
    errors.MemberNotFound,
    errors.AlreadyMember,
    errors.InvitationNotFound,
    errors.InvitationCancelled,
    errors.InvitationUsed,
    errors.InvitationForSomeoneElse,
    lambda text: errors.InvitationExpired(text, datetime(2026, 1, 31, tzinfo=UTC)),
    lambda text: errors.MemberNotActive(text, f"without the role {text}"),
    lambda text: errors.StatusChangeRefused(text, "pending", "active"),
    lambda text: errors.StatusChangeRefused(text, "not_member", "not_member"),
]


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("make", MADE_OF_INPUT)
def test_every_error_is_a_short_printable_sentence_whatever_it_is_about(
    make: Callable[[str], DirectoryError], hostile: str
) -> None:
    assert is_sentence(str(make(hostile)))


def test_an_error_carries_what_it_is_about() -> None:
    now = datetime(2026, 1, 31, tzinfo=UTC)
    assert errors.MemberNotFound("#7").member_id == "#7"
    assert errors.AlreadyMember("#7").member_id == "#7"
    assert errors.InvitationExpired("ABC", now).expired_at == now
    assert errors.InvitationUsed("ABC").invitation_code == "ABC"
    assert errors.InvalidCursor().field == "after"
    refused = errors.StatusChangeRefused("#7", "not_member", "active")
    assert (refused.member_id, refused.before, refused.after) == ("#7", "not_member", "active")
    assert str(refused) == "Member #7 can't go from not member to active."
    assert errors.MemberNotActive("#7", "not_member").status == "not_member"
    assert str(errors.MemberNotActive("#7", "not_member")) == "Member #7 is not active, but not member."


async def test_a_field_that_is_missing_is_named_in_the_sentence(directory: asyncpg.Pool) -> None:
    with pytest.raises(InvalidInput, match=r"^The primary role can't be empty\.$") as refused:
        await members.add(telegram_id="1", name="Ana", primary_role=None)  # type: ignore[arg-type]  # from outside
    assert refused.value.field == "primary_role"
    with pytest.raises(InvalidInput) as refused:
        await relationships.link("a", "b", "MENTORED", json.loads("null"))
    assert refused.value.field == "content"


async def test_a_login_without_the_right_is_told(directory: asyncpg.Pool) -> None:
    async with transaction() as current:
        # Undone with the transaction, which the refusal spoils.
        await current.connection.execute(
            "CREATE ROLE stranger_of_the_directory; SET LOCAL ROLE stranger_of_the_directory"
        )
        with pytest.raises(errors.NotAllowed, match="database login may not"):
            await members.get("#1")
