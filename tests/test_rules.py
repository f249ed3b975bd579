"""Each rule of `tests/rules.py` holds for every way to write rows, with the same message."""

import csv
import json
import re
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from asyncpg.pool import PoolConnectionProxy

from community_directory.constraints import CONSTRAINT_MESSAGES
from community_directory.errors import InvalidInput, database_errors
from community_directory.imports import members_csv
from community_directory.imports.members_csv import InvalidLines
from community_directory.queries import invitations, members, participation, relationships
from community_directory.tables import checks
from tests.conftest import Server, new_database
from tests.rules import (
    CHANGE_RULES,
    CONTROLLED_NAMES,
    CORRECTED_DISCORD_IDS,
    CORRECTED_GITHUB_USERNAMES,
    CORRECTED_TELEGRAM_IDS,
    CORRECTED_TELEGRAM_USERNAMES,
    DATE_MESSAGE,
    DISCORD_ID_MESSAGE,
    DURATION_MESSAGE,
    GITHUB_USERNAME_MESSAGE,
    INVISIBLE_NAMES,
    MEMBER_MESSAGE,
    OBJECT_MESSAGE,
    ONE_LINE_MESSAGE,
    ROW_RULES,
    TELEGRAM_ID_MESSAGE,
    TELEGRAM_USERNAME_MESSAGE,
    ChangeRule,
    Columns,
    Factory,
    RowRule,
)
from tests.tables import rows
from tests.web.conftest import client, fast_hashes  # noqa: F401  fixtures

pytestmark = pytest.mark.schema

DELETED_WITH_THE_MEMBER = {"member_accounts_member_id_fkey", "milestone_member_id_fkey"}
"""The references of rows that follow from the member's own, so that they go with it."""
OF_ACCOUNTS = {"bot_chat_account_fkey": ("member_accounts", b"c", b"c", False, True)}
"""A chat with the bot follows the account of the person, and goes with it."""
ALL_RULES: list[RowRule | ChangeRule] = [*ROW_RULES, *CHANGE_RULES]


def is_sentence(text: str) -> bool:
    """Return whether the text is one printable line and one sentence."""
    return bool(re.fullmatch(r"[A-Z][^.]*[^\s.]\.", text)) and text.isprintable()


# The table of rules


async def test_every_rule_of_the_database_is_in_the_table_and_has_its_message(
    directory: asyncpg.Pool,
) -> None:
    constraints = await directory.fetch(
        """
        SELECT conname FROM pg_constraint
        WHERE conrelid::regclass::text ~ $1
            AND contype <> 'n'
        UNION
        SELECT indexrelid::regclass::text FROM pg_index
        WHERE indrelid::regclass::text ~ $1
            AND indisunique
        """,
        "^(community_|member_|directory_(archive|audit|bot_chats|bot_notices|bot_states|bots|dismissed|erased|hourly|link|merge|moved|proved|segments))",
    )
    functions = await directory.fetch(
        "SELECT prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
    )
    raised = {
        name for row in functions for name in re.findall(r"CONSTRAINT = '(\w+)'", row["prosrc"])
    }
    # These belong to Piccolo; a superuser can break them when adding a user of the panel.
    user_rules = {"piccolo_user_email_key", "piccolo_user_username_key"}
    listed = [rule.name for rule in ALL_RULES]
    assert set(listed) == {row[0] for row in constraints} | raised | user_rules
    assert len(set(listed)) == len(listed)
    assert CONSTRAINT_MESSAGES.keys() == set(listed)


def test_every_message_is_one_sentence() -> None:
    assert [rule.message for rule in ALL_RULES if not is_sentence(rule.message)] == []


# SQL


@pytest.fixture
async def connection(directory: asyncpg.Pool) -> AsyncIterator[PoolConnectionProxy]:
    """Yield a connection to a directory with the members #1 and #2, and the active member #3."""
    async with directory.acquire() as connection:
        await rows.member(connection)
        await rows.member(connection)
        await rows.member(connection, status="active")
        yield connection


@pytest.mark.parametrize("rule", ROW_RULES, ids=lambda rule: rule.name)
async def test_a_row_that_breaks_a_rule_is_refused(
    connection: PoolConnectionProxy, rule: RowRule
) -> None:
    for columns in rule.refused:
        async with rolled_back(connection):
            if rule.existing is not None:
                await rule.factory(connection, **rule.existing)
            assert await refusal(rule.factory(connection, **columns)) == (
                rule.name,
                rule.field,
                rule.message,
            ), columns


@pytest.mark.parametrize(
    "rule", [rule for rule in ROW_RULES if rule.accepted], ids=lambda rule: rule.name
)
async def test_a_row_that_keeps_a_rule_is_stored(
    connection: PoolConnectionProxy, rule: RowRule
) -> None:
    for columns in rule.accepted:
        async with rolled_back(connection):
            if rule.existing is not None:
                await rule.factory(connection, **rule.existing)
            stored = await rule.factory(connection, **columns)
            assert {name: stored[name] for name in columns} == columns


@pytest.mark.parametrize("rule", CHANGE_RULES, ids=lambda rule: rule.name)
async def test_a_change_that_breaks_a_rule_is_refused(
    connection: PoolConnectionProxy, rule: ChangeRule
) -> None:
    *allowed, refused = rule.statements
    async with rolled_back(connection):
        for statement in allowed:
            await connection.execute(statement)
        assert await refusal(connection.execute(refused)) == (rule.name, rule.field, rule.message)


async def test_every_reference_is_checked_at_once_and_restricts(
    connection: PoolConnectionProxy,
) -> None:
    found = await connection.fetch(
        """
        SELECT conname, confrelid::regclass::text, confdeltype, confupdtype, condeferrable,
            convalidated
        FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace
            -- these refer to users and to merges
            AND conrelid NOT IN (
                'panel_temporary_passwords'::regclass, 'directory_merged_rows'::regclass,
                'panel_viewers'::regclass, 'panel_invitations'::regclass,
                'panel_visits'::regclass
            )
        """
    )
    references = {
        rule.name for rule in ROW_RULES if rule.name.endswith("_fkey") and rule.field != "merge_id"
    }
    assert {row["conname"]: tuple(row)[1:] for row in found} == {
        name: (
            "community_members",
            b"c" if name in DELETED_WITH_THE_MEMBER else b"r",
            b"r",
            False,
            True,
        )
        for name in references - OF_ACCOUNTS.keys()
    } | OF_ACCOUNTS


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
async def test_a_name_of_invisible_characters_is_blank_in_every_locale(
    server: Server, locale: str
) -> None:
    async with new_database(server, f"template0 LOCALE '{locale}'") as url:
        connection = await asyncpg.connect(url)
        condition = checks.visible("given")
        named = await connection.fetch(
            f"SELECT given FROM unnest($1::text[]) AS given WHERE {condition}",
            [*INVISIBLE_NAMES, "É"],
        )
        await connection.close()
    assert [row["given"] for row in named] == ["É"]


async def refusal(writing: Awaitable[object]) -> tuple[str | None, str | None, str]:
    """Return the broken constraint, and the field and message of the resulting error."""
    with pytest.raises(InvalidInput) as refused, database_errors():
        await writing
    cause = refused.value.__cause__
    assert isinstance(cause, asyncpg.PostgresError)
    assert refused.value.code == cause.constraint_name
    assert cause.column_name in (None, refused.value.field)
    return cause.constraint_name, refused.value.field, str(refused.value)


@asynccontextmanager
async def rolled_back(connection: PoolConnectionProxy) -> AsyncIterator[None]:
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield
    finally:
        await transaction.rollback()


# The other ways to write rows


@dataclass(frozen=True)
class Writer:
    """A way to write rows other than SQL."""

    name: str
    factory: Factory
    """The factory for the same table."""
    write: Callable[[Columns, httpx.AsyncClient], Awaitable[object]]
    """Writes a row with these columns and valid values in the others, or raises `InvalidInput`."""
    columns: frozenset[str]
    """The columns that can be written."""
    corrected: Mapping[str, Collection[str]]
    """By message: the values that this way corrects or treats as missing."""
    own_answers: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """By message: the field and message of this way, where they differ."""

    def tries(self, rule: RowRule) -> list[Columns]:
        """Return the rows that break the rule and that can be written in this way.

        Existing keys and missing members have their own errors, which the helpers' tests cover.
        """
        if (
            rule.factory is not self.factory
            or rule.existing is not None
            or rule.message == MEMBER_MESSAGE
        ):
            return []
        return [
            columns
            for columns in rule.refused
            if columns.keys() <= self.columns
            and columns[rule.field] not in self.corrected.get(rule.message, ())
        ]


NEW_MEMBER = {"telegram_id": "900", "name": "Eva", "primary_role": "designer"}
LINK = {"entity_id_a": "q", "entity_id_b": "z", "relationship_type": "INVITED", "content": "{}"}
JSON_COLUMNS = {"profile_data", "event_metadata", "content"}
CORRECTED: Mapping[str, Collection[str]] = {
    TELEGRAM_ID_MESSAGE: CORRECTED_TELEGRAM_IDS,
    DISCORD_ID_MESSAGE: CORRECTED_DISCORD_IDS,
    TELEGRAM_USERNAME_MESSAGE: CORRECTED_TELEGRAM_USERNAMES,
    GITHUB_USERNAME_MESSAGE: CORRECTED_GITHUB_USERNAMES,
    ONE_LINE_MESSAGE: CONTROLLED_NAMES,
}
"""By message: the values that every way corrects, or treats as missing."""
PARAMETERS = {"event_metadata": "metadata", "invited_telegram_username": "telegram_username"}
TABLES: dict[Factory, tuple[str, dict[str, str]]] = {
    rows.member: ("community_members", NEW_MEMBER),
    rows.invitation: ("community_invitations", {"created_by": "#1"}),
    rows.relationship: ("member_relationships", LINK),
}


def helper(
    function: Callable[..., Awaitable[object]], factory: Factory, columns: str, **valid: object
) -> Writer:
    """Return the writer that calls a query helper.

    The helper's parameters are named like the columns, except those of `PARAMETERS`.
    """

    async def write(row: Columns, _: httpx.AsyncClient) -> None:
        values = {
            name: json.loads(value) if name in JSON_COLUMNS else value
            for name, value in row.items()
        }
        await function(
            **{**valid, **{PARAMETERS.get(name, name): value for name, value in values.items()}}
        )

    name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
    corrected = {**CORRECTED, OBJECT_MESSAGE: ["null"]}
    return Writer(name, factory, write, frozenset(columns.split()), corrected)


def panel(factory: Factory, columns: str) -> Writer:
    """Return the writer that fills in the panel's form for a new row."""
    table, valid = TABLES[factory]

    async def write(row: Columns, client: httpx.AsyncClient) -> None:
        form = (await client.get(f"/admin/api/tables/{table}/new/")).json()
        raise_problem(
            await client.post(f"/admin/api/tables/{table}/", json={**form, **valid, **row})
        )

    return Writer(
        f"panel {table}",
        factory,
        write,
        frozenset(columns.split()),
        CORRECTED,
    )


async def change_in_panel(row: Columns, client: httpx.AsyncClient) -> None:
    """Change the member #1 in the panel's form."""
    member = await members.get("#1")
    raise_problem(await client.patch(f"/admin/api/tables/community_members/{member.id}/", json=row))


def raise_problem(response: httpx.Response) -> None:
    """Raise the message that the form shows at a field."""
    if response.status_code == 422:
        (problem,) = response.json()["detail"]
        raise InvalidInput(problem["msg"], field=problem["loc"][-1])


async def import_file(row: Columns, _: httpx.AsyncClient) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "members.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [*{**NEW_MEMBER, **row}])
            writer.writeheader()
            writer.writerow({**NEW_MEMBER, **row})
        try:
            await members_csv.import_members(path)
        except InvalidLines as error:
            ((_line, message),) = error.problems
            # The problem of a line names no field.
            raise InvalidInput(message, field=next(iter(row))) from error


PROFILE = "name telegram_username primary_role organization country profile_data"
MEMBER = f"{PROFILE} telegram_id github_username"
EVENT = "member_id event_type platform room_id source_id event_metadata occurred_at"
WRITERS = [
    helper(members.add, rows.member, MEMBER, **NEW_MEMBER),
    helper(members.update_profile, rows.member, PROFILE, member_id="#1"),
    replace(
        helper(invitations.create, rows.invitation, "invited_telegram_username", created_by="#1"),
        own_answers={TELEGRAM_USERNAME_MESSAGE: ("telegram_username", TELEGRAM_USERNAME_MESSAGE)},
    ),
    replace(
        helper(
            participation.record,
            rows.event,
            EVENT,
            member_id="#1",
            event_type="MESSAGE",
            platform="telegram",
            room_id="1",
        ),
        own_answers={
            OBJECT_MESSAGE: ("metadata", OBJECT_MESSAGE),
            DURATION_MESSAGE: ("metadata", DURATION_MESSAGE),
            DATE_MESSAGE: (
                "occurred_at",
                "The time of an event must lie between the year 2000 and one day from now.",
            ),
        },
    ),
    helper(relationships.link, rows.relationship, " ".join(LINK), **{**LINK, "content": {}}),
    panel(rows.member, MEMBER),
    panel(rows.invitation, "invited_telegram_username"),
    panel(rows.relationship, " ".join(LINK)),
    Writer(
        "panel, a change",
        rows.member,
        change_in_panel,
        frozenset(PROFILE.split()),
        CORRECTED,
    ),
    Writer(
        "file",
        rows.member,
        import_file,
        frozenset(f"{PROFILE} telegram_id github_username".split()),
        # A blank cell is no value.
        {rule.message: [*INVISIBLE_NAMES, *CORRECTED.get(rule.message, [])] for rule in ROW_RULES},
        {OBJECT_MESSAGE: ("profile_data", "The profile_data must be a JSON object.")},
    ),
]
TRIED = [(writer, rule) for writer in WRITERS for rule in ROW_RULES if writer.tries(rule)]


@pytest.mark.parametrize(("writer", "rule"), TRIED, ids=lambda value: value.name)
async def test_every_writer_refuses_what_breaks_a_rule_with_its_message(
    directory: asyncpg.Pool, client: httpx.AsyncClient, writer: Writer, rule: RowRule
) -> None:
    await rows.member(directory, status="active")
    before = await everything(directory)
    for columns in writer.tries(rule):
        with pytest.raises(InvalidInput) as refused:
            await writer.write(columns, client)
        answer = writer.own_answers.get(rule.message, (rule.field, rule.message))
        assert (refused.value.field, str(refused.value)) == answer, columns
    assert await everything(directory) == before


async def everything(directory: asyncpg.Pool) -> list[Any]:
    """Return all rows of the tables that the writers write to."""
    tables = (
        "community_members",
        "community_invitations",
        "member_participation",
        "member_relationships",
    )
    return [await directory.fetch(f"SELECT * FROM {table}") for table in tables]
