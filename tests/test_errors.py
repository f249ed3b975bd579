"""The errors of this package, and how those of the database and its driver become them."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import asyncpg
import pytest

from community_directory import errors
from community_directory.database import connect, engine, transaction
from community_directory.errors import (
    DatabaseUnavailable,
    DirectoryError,
    InvalidInput,
    database_errors,
    sanitize_for_message,
)
from community_directory.queries import members, relationships
from tests.queries.cases import all_idle, undone
from tests.tables import rows

HOSTILE = [
    "\0\n\r\t\x1b[31m\x07",
    "\ud800" * 50,
    "x" * 1_000_000,
    "\u202eabc\u2066\u200b",
    "<b>*_`[x](y)`",
    "{} %s $1",
]


SENTENCE = r"[A-Z][^.]*[^\s.]\."


def is_message(text: str) -> bool:
    """Tell whether the text is one printable line of one or two sentences."""
    return (
        bool(re.fullmatch(f"{SENTENCE}( {SENTENCE})?", text))
        and text.isprintable()
        and len(text) <= 200
    )


def test_every_error_has_a_message_for_everybody() -> None:
    assert errors.MemberNotFound("#7").public_message == str(errors.MemberNotFound("#7"))
    assert errors.SchemaMissing("Secret.").public_message == errors.OperatorError.public_message


REFUSED_STATEMENTS: dict[str, tuple[str, tuple[object, ...], str | None]] = {
    "a null in a required column": (
        "INSERT INTO community_members (telegram_id, name, primary_role) VALUES ('1', NULL, 'x')",
        (),
        "name",
    ),
    "a text that is too long": (
        "INSERT INTO community_members (telegram_id, name, primary_role)"
        " VALUES ('1', repeat('x', 256), 'x')",
        (),
        None,
    ),
    "a NUL character": ("SELECT $1::text", ("a\0b",), None),
    "a lone surrogate": ("SELECT $1::text", ("\ud800",), None),
    "a number out of the range of integer": ("SELECT $1::int", (2**31,), None),
    "a number out of the range of bigint": ("SELECT $1::bigint", (10**30,), None),
    "a sum out of range": ("SELECT $1::int + 1", (2**31 - 1,), None),
    "a NUL character in JSON": ("SELECT $1::jsonb", (r'"\u0000"',), None),
    "a lone surrogate in JSON": ("SELECT $1::jsonb", (r'"\ud800"',), None),
    "JSON that is nested too deeply": ("SELECT $1::jsonb", ("[" * 200_000 + "]" * 200_000,), None),
    "malformed JSON": ("SELECT $1::jsonb", ("{",), None),
    "a number divided by zero": ("SELECT 1 / $1::int", (0,), None),
}


@pytest.mark.parametrize("name", REFUSED_STATEMENTS)
async def test_a_value_that_the_database_refuses_is_invalid_input(
    directory: asyncpg.Pool, name: str
) -> None:
    sql, arguments, field = REFUSED_STATEMENTS[name]
    with pytest.raises(InvalidInput) as refused:
        await engine.fetch(sql, *arguments)
    assert is_message(str(refused.value))
    assert refused.value.field == field
    assert isinstance(refused.value.__cause__, asyncpg.PostgresError)
    assert all_idle()


async def test_a_database_without_tables_is_reported(empty_database: str) -> None:
    async with connect(empty_database, min_size=0):
        with pytest.raises(errors.SchemaMissing, match="Run the migrations first"):
            await members.get("#1")


async def test_a_defect_of_the_program_is_not_translated(directory: asyncpg.Pool) -> None:
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


async def test_a_server_that_ends_a_running_statement_is_an_unavailable_database(
    directory: asyncpg.Pool,
) -> None:
    with pytest.raises(DatabaseUnavailable):
        await engine.fetch("SELECT pg_terminate_backend(pg_backend_pid()), pg_sleep(5)")
    assert await members.find("#1") is None


async def test_a_read_only_server_is_an_unavailable_database(directory: asyncpg.Pool) -> None:
    async with undone() as current:
        await current.connection.execute("SET TRANSACTION READ ONLY")
        with pytest.raises(DatabaseUnavailable, match="read-only") as read_only:
            await members.add(telegram_id="1", name="Ana", primary_role="developer")
        assert read_only.value.retry_after is None


async def test_a_statement_that_takes_too_long_or_waits_too_long_is_a_busy_database(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, status="active")
    async with directory.acquire() as other, other.transaction():
        await other.execute("SELECT 1 FROM community_members FOR UPDATE")
        for setting in ("lock_timeout", "statement_timeout"):
            async with undone() as current:
                await current.connection.execute(f"SET LOCAL {setting} = 50")
                with pytest.raises(
                    DatabaseUnavailable, match=r"^The database is busy\. Try again in a moment\.$"
                ) as busy:
                    await members.set_status("#1", "suspended", actor="Luis")
                assert busy.value.retry_after == 1


async def test_the_loser_of_a_serializable_race_is_told_to_try_again(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, status="active")
    async with undone() as current:
        await current.connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        await members.get("#1")
        await directory.execute("UPDATE community_members SET name = 'Eva'")
        with pytest.raises(DatabaseUnavailable, match="busy"):
            await members.update_profile("#1", name="Bo")


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_message_quotes_few_and_harmless_characters(hostile: str) -> None:
    text = sanitize_for_message(hostile)
    assert text.isprintable()
    assert len(text) <= errors.MAX_QUOTED_LENGTH
    assert not set(text) & set('<>*`[]{}%$\\"')


def test_a_message_quotes_harmless_text_unchanged() -> None:
    assert sanitize_for_message("#247 Ana García, 李, O'Neil") == "#247 Ana García, 李, O'Neil"
    assert sanitize_for_message("Frutero Club 🍓 ❤️ «¿Qué?»") == "Frutero Club 🍓 ❤️ «¿Qué�»"
    assert sanitize_for_message("a\u202eb\u2066c\u200bd\ud800e\x85f\u2028g") == "a�b�c�d�e�f�g"
    assert sanitize_for_message("x" * 40) == "x" * 40
    assert sanitize_for_message("x" * 41) == "x" * 39 + "…"


AnyError = TypeVar("AnyError", bound=DirectoryError)


def subclasses(error: type[AnyError]) -> list[type[AnyError]]:
    """Return all direct and indirect subclasses of this error."""
    return [found for each in error.__subclasses__() for found in (each, *subclasses(each))]


def test_every_error_is_for_anybody_or_for_the_operator_and_has_a_code_of_its_own() -> None:
    all_errors = subclasses(DirectoryError)
    users, operators = subclasses(errors.UserError), subclasses(errors.OperatorError)
    assert {*all_errors} == {errors.UserError, errors.OperatorError, *users, *operators}
    assert not {*users} & {*operators}
    candidates: list[type[DirectoryError]] = [DirectoryError, *all_errors]
    own = [error for error in candidates if error.__module__ == errors.__name__]
    assert len({error.code for error in own}) == len(own)
    assert all(re.fullmatch("[a-z_]+", error.code) for error in own)


def test_a_chat_shows_no_setting_address_or_role() -> None:
    assert set(subclasses(errors.OperatorError)) >= {
        errors.AlreadyConnected,
        errors.ConfigurationError,
        errors.DatabaseUnavailable,
        errors.MigrationFailed,
        errors.NotAllowed,
        errors.NotConnected,
        errors.SchemaMissing,
        errors.TransactionFailed,
    }
    assert {error.public_message for error in subclasses(errors.OperatorError)} == {
        errors.OperatorError.public_message
    }


ERRORS_WITH_INPUT: list[Callable[[str], DirectoryError]] = [
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
@pytest.mark.parametrize("make", ERRORS_WITH_INPUT)
def test_every_message_is_short_and_printable_whatever_it_quotes(
    make: Callable[[str], DirectoryError], hostile: str
) -> None:
    assert is_message(str(make(hostile)))


def test_an_error_has_the_data_that_it_is_about() -> None:
    now = datetime(2026, 1, 31, tzinfo=UTC)
    assert errors.MemberNotFound("#7").member_id == "#7"
    assert errors.AlreadyMember("#7").member_id == "#7"
    assert errors.InvitationExpired("ABC", now).expired_at == now
    assert errors.InvitationUsed("ABC").invitation_code == "ABC"
    assert errors.InvalidCursor().field == "after"
    refused = errors.StatusChangeRefused("#7", "not_member", "active")
    assert (refused.member_id, refused.before, refused.after) == ("#7", "not_member", "active")
    assert str(refused) == "The status of member #7 can't change from not member to active."
    assert errors.MemberNotActive("#7", "not_member").status == "not_member"
    assert (
        str(errors.MemberNotActive("#7", "not_member"))
        == "Only an active member can do this. The status of member #7 is not member."
    )


async def test_a_missing_field_is_named_in_the_message(directory: asyncpg.Pool) -> None:
    no_role: Any = None
    with pytest.raises(InvalidInput, match=r"^The primary role can't be empty\.$") as refused:
        await members.add(telegram_id="1", name="Ana", primary_role=no_role)
    assert refused.value.field == "primary_role"
    with pytest.raises(InvalidInput) as refused:
        await relationships.link("a", "b", "MENTORED", json.loads("null"))
    assert refused.value.field == "content"


async def test_a_login_without_the_privilege_is_reported(directory_url: str) -> None:
    async with connect(directory_url, min_size=0), transaction() as current:
        # The role is dropped when the transaction is rolled back.
        await current.connection.execute(
            "CREATE ROLE test_errors_role; SET LOCAL ROLE test_errors_role"
        )
        with pytest.raises(errors.NotAllowed, match="database role of this program may not"):
            await members.get("#1")
        await current.rollback()


async def test_a_table_that_changes_during_a_transaction_is_reported(
    database: str, directory: asyncpg.Pool
) -> None:
    await members.find("#1")
    await directory.execute(
        "ALTER TABLE community_members ALTER registration_fee_tx_hash TYPE text"
    )
    with pytest.raises(errors.DatabaseUnavailable, match="Try again"):
        async with transaction():
            await members.find("#1")
    assert await members.find("#1") is None


def test_a_message_quotes_no_number_of_thousands_of_digits() -> None:
    assert "�" in errors.sanitize_for_message(10**5000)
