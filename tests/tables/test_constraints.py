"""Every rule of the schema refuses what it is there to refuse, whoever writes.

The cases are compared with the catalog at the end: a new constraint without a case fails.
"""

import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, TypeAlias

import asyncpg
import pytest

from community_directory.tables import checks
from tests.conftest import Server, new_database
from tests.tables import rows

pytestmark = pytest.mark.schema

Factory: TypeAlias = Callable[..., Awaitable[asyncpg.Record]]

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
async def members(server: Server, template: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a database with the members #1 and #2."""
    async with new_database(server, template) as url:
        connection = await asyncpg.connect(url)
        await rows.member(connection)
        await rows.member(connection)
        yield connection
        await connection.close()


@pytest.fixture
async def connection(members: asyncpg.Connection) -> AsyncIterator[asyncpg.Connection]:
    """The same, in a transaction that is rolled back."""
    transaction = members.transaction()
    await transaction.start()
    yield members
    await transaction.rollback()


@dataclass(frozen=True)
class Case:
    """A row that is like a valid one but for some columns."""

    make: Factory
    rule: str
    columns: dict[str, Any]

    def __str__(self) -> str:
        values = " ".join(f"{name}={value!r}" for name, value in self.columns.items())
        return f"{self.rule} {values}"


def case(make: Factory, rule: str, /, **columns: object) -> Case:
    return Case(make, rule, columns)


def cases_of(make: Factory, rule: str, column: str, *values: object) -> list[Case]:
    return [Case(make, rule, {column: value}) for value in values]


BLANK = ("", " ", "\t\r\n")
NO_USERNAME = ("", " ", "@ana", "ana maria", " ana", "ana\n")
NO_OBJECT = ("[]", "null", '"text"', "1", "true")
NO_UPPER_CASE_NAME = ("", "message", "Message", "1ST", "_MESSAGE", "CODE-REVIEW", "CODE REVIEW", "MESSAGE\n")
NO_LOWER_CASE_NAME = ("", "TELEGRAM", "Telegram", "1chan", "_chat", "rocket.chat", "rocket chat", "discord\n")

CHECKS = [
    *cases_of(rows.member, "member_number_check", "member_id", "247", "#", "#0", "#01", "#-1", "#1a", "# 1", "#1\n"),
    *cases_of(rows.member, "member_telegram_id_check", "telegram_id", *BLANK, "12 34", "12\n"),
    *cases_of(rows.member, "member_telegram_username_check", "telegram_username", *NO_USERNAME),
    *cases_of(rows.member, "member_name_check", "name", *BLANK),
    *cases_of(rows.member, "member_primary_role_check", "primary_role", *BLANK),
    *cases_of(rows.member, "member_github_username_check", "github_username", *NO_USERNAME),
    case(rows.member, "member_github_verified_check", github_verified=True),
    case(rows.member, "member_github_verified_check", github_verified=True, github_username="ana"),
    case(rows.member, "member_github_verified_check", github_verified=True, github_verified_at=NOON),
    *cases_of(rows.member, "member_github_profile_data_check", "github_profile_data", *NO_OBJECT),
    *cases_of(rows.member, "member_status_check", "status", "", "Active", "removed"),
    *cases_of(rows.member, "member_reputation_score_check", "reputation_score", -1),
    *cases_of(rows.member, "member_reputation_shortfall_check", "reputation_shortfall", -1),
    case(rows.member, "member_invited_by_check", member_id="#7", invited_by="#7"),
    *cases_of(rows.member, "member_profile_data_check", "profile_data", *NO_OBJECT),
    *cases_of(
        rows.invitation,
        "invitation_code_check",
        "invitation_code",
        *("", "        ", "SEVENCH", "ABCD EFGH", "ABCD-EFGH", "ABCDEFGH\n", "ÁBCDEFGH"),
    ),
    *cases_of(rows.invitation, "invitation_username_check", "invited_telegram_username", *NO_USERNAME),
    *cases_of(rows.invitation, "invitation_status_check", "status", "", "Pending", "open"),
    case(rows.invitation, "invitation_accepted_by_check", status="accepted"),
    case(rows.invitation, "invitation_accepted_by_check", status="pending", accepted_by="#2", accepted_at=NOON),
    case(rows.invitation, "invitation_accepted_by_check", status="cancelled", accepted_by="#2", accepted_at=NOON),
    case(rows.invitation, "invitation_accepted_at_check", status="accepted", accepted_by="#2"),
    case(rows.invitation, "invitation_accepted_at_check", accepted_at=NOON),
    case(
        rows.invitation,
        "invitation_self_check",
        status="accepted",
        created_by="#1",
        accepted_by="#1",
        accepted_at=NOON,
    ),
    *cases_of(rows.relationship, "relationship_entity_a_check", "entity_id_a", *BLANK, "a b"),
    *cases_of(rows.relationship, "relationship_entity_b_check", "entity_id_b", *BLANK, "a b"),
    case(rows.relationship, "relationship_entities_check", entity_id_a="ana", entity_id_b="ana"),
    *cases_of(rows.relationship, "relationship_type_check", "relationship_type", *NO_UPPER_CASE_NAME),
    *cases_of(rows.relationship, "relationship_content_check", "content", *NO_OBJECT),
    *cases_of(rows.event, "participation_event_type_check", "event_type", *NO_UPPER_CASE_NAME),
    *cases_of(rows.event, "participation_platform_check", "platform", *NO_LOWER_CASE_NAME),
    *cases_of(rows.event, "participation_room_id_check", "room_id", *BLANK),
    *cases_of(rows.event, "participation_source_id_check", "source_id", *BLANK),
    *cases_of(rows.event, "participation_event_metadata_check", "event_metadata", *NO_OBJECT),
    case(rows.highlight, "highlight_message_count_check", message_count=-1),
    case(rows.highlight, "highlight_reaction_count_check", reaction_count=-1),
    case(rows.highlight, "highlight_voice_minutes_check", voice_minutes=-1),
    case(rows.highlight, "highlight_reputation_earned_check", reputation_earned=-1),
    *cases_of(rows.audit_entry, "audit_action_check", "action", "", "update", "TRUNCATE"),
    *cases_of(rows.audit_entry, "audit_changes_check", "changes", *NO_OBJECT),
]

BEHIND_A_TRIGGER = cases_of(rows.member, "member_reputation_tier_check", "reputation_tier", "", "novice", "Legend")

# Rules of unique indexes that have a condition: they hold between the rows that meet it, whatever the case of letters.
PARTIAL = [
    (
        case(
            rows.member,
            "member_github_verified_idx",
            github_username="Ana",
            github_verified=True,
            github_verified_at=NOON,
        ),
        {"github_username": "aNA"},
        {"github_verified": False},
    ),
    (
        case(rows.invitation, "invitation_open_username_idx", invited_telegram_username="Ana"),
        {"invited_telegram_username": "aNA"},
        {"status": "expired"},
    ),
]

DUPLICATES = [
    case(rows.member, "community_members_member_id_key", member_id="#7"),
    case(rows.member, "member_telegram_id_idx", telegram_id="12345"),
    case(rows.invitation, "invitation_code_idx", invitation_code="ABCDEFGH"),
    case(rows.relationship, "relationship_entity_a_idx", entity_id_a="a", entity_id_b="b", relationship_type="INVITED"),
    case(
        rows.event,
        "participation_source_id_key",
        platform="telegram",
        room_id="-100",
        event_type="MESSAGE",
        member_id="#1",
        source_id="42",
    ),
    case(rows.highlight, "highlight_member_date_idx", member_id="#1", highlight_date=date(2026, 1, 31)),
]
ANOTHER = {
    "member_id": "#2",
    "highlight_date": date(2026, 2, 1),
    "entity_id_a": "c",
    "entity_id_b": "c",
    "relationship_type": "MENTORED",
    "platform": "discord",
    "room_id": "-200",
    "event_type": "REACTION",
    "source_id": "43",
}

REFERENCES = [
    case(rows.member, "community_members_invited_by_fkey", invited_by="#1"),
    case(rows.invitation, "community_invitations_created_by_fkey", created_by="#1"),
    case(
        rows.invitation,
        "community_invitations_accepted_by_fkey",
        status="accepted",
        created_by="#2",
        accepted_by="#1",
        accepted_at=NOON,
    ),
    case(rows.event, "member_participation_member_id_fkey", member_id="#1"),
    case(rows.highlight, "member_daily_highlights_member_id_fkey", member_id="#1"),
]

VALID = [
    *cases_of(rows.member, "a number of any size", "member_id", "#7", "#10", "#247", "#9223372036854775807"),
    *cases_of(rows.member, "any id without a space", "telegram_id", "0", "-100", "ana@example.org", "x" * 255),
    *cases_of(rows.member, "a username or none", "telegram_username", None, "a", "ana_garcia", "ana@home", "Ána"),
    *cases_of(rows.member, "any name with a character", "name", "a", " Ana ", "李", "🙂", "x" * 255),
    *cases_of(rows.member, "an object or nothing", "profile_data", None, "{}", '{"a": [null]}'),
    *cases_of(rows.member, "an object or nothing", "github_profile_data", None, "{}", '{"repos": 3}'),
    case(rows.member, "a verified account", github_verified=True, github_username="ana", github_verified_at=NOON),
    case(rows.member, "an account that is not verified", github_username="ana"),
    case(rows.member, "a proof that is no longer valid", github_username="ana", github_verified_at=NOON),
    *cases_of(rows.member, "a status", "status", "not_member", "pending", "active", "suspended", "banned"),
    *cases_of(rows.member, "a score", "reputation_score", 0, 2**31 - 1),
    *cases_of(rows.member, "invited by another", "invited_by", None, "#1"),
    case(rows.member, "nothing known of the fee", registration_fee_paid=None),
    *cases_of(
        rows.invitation,
        "a code of 8 to 16 letters and digits",
        "invitation_code",
        *("ABCDEFGH", "abcdefgh", "12345678", "0123456789abcdef", "ABCDEFGHJKMNPQRS"),
    ),
    *cases_of(rows.invitation, "for somebody or anybody", "invited_telegram_username", None, "ana"),
    *cases_of(rows.invitation, "a status of an unused one", "status", "pending", "expired", "cancelled"),
    case(
        rows.invitation,
        "an accepted one",
        status="accepted",
        created_by="#1",
        accepted_by="#2",
        accepted_at=NOON,
    ),
    *cases_of(rows.relationship, "a type", "relationship_type", "A", "INVITED", "CODE_REVIEW", "LEVEL_2"),
    *cases_of(rows.relationship, "an object", "content", "{}", '{"since": 2026}'),
    *cases_of(rows.event, "a type", "event_type", "A", "VOICE", "CODE_REVIEW", "LEVEL_2"),
    *cases_of(rows.event, "a platform", "platform", "a", "telegram", "rocket_chat", "web3"),
    *cases_of(rows.event, "an id or none", "source_id", None, "42", "a b"),
    *cases_of(rows.event, "any room", "room_id", "#general", "the lobby"),
    *cases_of(rows.event, "an object or nothing", "event_metadata", None, "{}"),
    *cases_of(rows.highlight, "a count or none", "message_count", None, 0, 2**31 - 1),
    *cases_of(rows.highlight, "a count or none", "reaction_count", None, 0, 2**31 - 1),
    *cases_of(rows.highlight, "a count or none", "voice_minutes", None, 0, 2**31 - 1),
    *cases_of(rows.highlight, "a count or none", "reputation_earned", None, 0, 2**31 - 1),
    *cases_of(rows.audit_entry, "a kind of change", "action", "INSERT", "UPDATE", "DELETE"),
    *cases_of(rows.audit_entry, "an object", "changes", "{}"),
    *cases_of(rows.audit_entry, "a reason or none", "reason", None, "spam"),
]

TOO_LONG = [
    *(
        case(rows.member, f"{length} characters", **{column: "x" * (length + 1)})
        for column, length in {
            "telegram_id": 255,
            "telegram_username": 255,
            "name": 255,
            "primary_role": 50,
            "organization": 255,
            "country": 100,
            "github_username": 255,
            "registration_fee_tx_hash": 255,
        }.items()
    ),
    case(rows.member, "20 characters", member_id="#" + "1" * 20),
    case(rows.invitation, "16 characters", invitation_code="ABCDEFGHJKMNPQRST"),
    case(rows.invitation, "255 characters", invited_telegram_username="x" * 256),
    case(rows.relationship, "255 characters", entity_id_a="x" * 256),
    case(rows.relationship, "255 characters", entity_id_b="x" * 256),
    case(rows.relationship, "50 characters", relationship_type="X" * 51),
    case(rows.event, "50 characters", event_type="X" * 51),
    case(rows.event, "50 characters", platform="x" * 51),
    case(rows.event, "255 characters", room_id="x" * 256),
    case(rows.event, "255 characters", source_id="x" * 256),
    case(rows.audit_entry, "255 characters", actor="x" * 256),
    case(rows.audit_entry, "63 characters", table_name="x" * 64),
    case(rows.audit_entry, "20 characters", member_id="#" + "1" * 20),
]

# All columns that are never NULL: those that every writer must name, and those that the table fills in.
NOT_NULL = [
    *((rows.member, column) for column in ("telegram_id", "name", "primary_role")),
    *((rows.member, column) for column in ("id", "github_verified", "status", "reputation_score")),
    *((rows.member, column) for column in ("created_at", "updated_at", "reputation_shortfall")),
    *((rows.invitation, column) for column in ("invitation_code", "created_by")),
    *((rows.invitation, column) for column in ("invitation_id", "status", "expires_at", "created_at", "updated_at")),
    *((rows.relationship, column) for column in ("entity_id_a", "entity_id_b", "relationship_type")),
    *((rows.relationship, column) for column in ("id", "content", "created_at")),
    *((rows.event, column) for column in ("member_id", "event_type", "platform", "room_id")),
    *((rows.event, column) for column in ("id", "occurred_at")),
    *((rows.highlight, column) for column in ("member_id", "highlight_date")),
    *((rows.highlight, column) for column in ("id", "created_at")),
    *((rows.audit_entry, column) for column in ("actor", "action", "table_name", "row_id", "member_id", "changes")),
    *((rows.audit_entry, column) for column in ("id", "changed_at")),
]
TABLES: dict[Factory, str] = {
    rows.member: "community_members",
    rows.invitation: "community_invitations",
    rows.relationship: "member_relationships",
    rows.event: "member_participation",
    rows.highlight: "member_daily_highlights",
    rows.audit_entry: "directory_audit_log",
}


@pytest.mark.parametrize("refused", CHECKS, ids=str)
async def test_a_check_refuses(connection: asyncpg.Connection, refused: Case) -> None:
    with pytest.raises(asyncpg.CheckViolationError) as error:
        await refused.make(connection, **refused.columns)
    assert error.value.constraint_name == refused.rule


@pytest.mark.parametrize("refused", BEHIND_A_TRIGGER, ids=str)
async def test_a_check_refuses_even_where_a_trigger_is_off(connection: asyncpg.Connection, refused: Case) -> None:
    await connection.execute("SET LOCAL session_replication_role = replica")
    with pytest.raises(asyncpg.CheckViolationError) as error:
        await refused.make(connection, member_id="#7", **refused.columns)
    assert error.value.constraint_name == refused.rule


@pytest.mark.parametrize("accepted", VALID, ids=str)
async def test_what_no_rule_forbids_is_stored(connection: asyncpg.Connection, accepted: Case) -> None:
    stored = await accepted.make(connection, **accepted.columns)
    for column, value in accepted.columns.items():
        assert stored[column] == value


SPACES = ["\u0085", "\u00a0", "\u2003", "\u200b", "\u202f", "\u3000", "\ufeff", " \u2003\t\u3000"]


@pytest.mark.parametrize("space", SPACES)
async def test_what_looks_like_nothing_is_no_name(connection: asyncpg.Connection, space: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError) as error:
        await rows.member(connection, name=space)
    assert error.value.constraint_name == "member_name_check"


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
async def test_no_locale_takes_what_looks_like_nothing_for_a_name(server: Server, locale: str) -> None:
    async with new_database(server, f"template0 LOCALE '{locale}'") as url:
        connection = await asyncpg.connect(url)
        condition = checks.not_blank("given")
        named = await connection.fetch(
            f"SELECT given FROM unnest($1::text[]) AS given WHERE {condition}", [*SPACES, "É"]
        )
        await connection.close()
    assert [row["given"] for row in named] == ["É"]


@pytest.mark.parametrize("duplicate", DUPLICATES, ids=str)
async def test_the_same_again_is_refused(connection: asyncpg.Connection, duplicate: Case) -> None:
    await duplicate.make(connection, **duplicate.columns)
    with pytest.raises(asyncpg.UniqueViolationError) as error:
        await duplicate.make(connection, **duplicate.columns)
    assert error.value.constraint_name == duplicate.rule


@pytest.mark.parametrize(("duplicate", "same", "other"), PARTIAL, ids=str)
async def test_the_same_again_is_refused_where_the_rule_holds(
    connection: asyncpg.Connection, duplicate: Case, same: dict[str, Any], other: dict[str, Any]
) -> None:
    await duplicate.make(connection, **duplicate.columns)
    for _ in range(2):
        assert await duplicate.make(connection, **duplicate.columns | other)
    with pytest.raises(asyncpg.UniqueViolationError) as error:
        await duplicate.make(connection, **duplicate.columns | same)
    assert error.value.constraint_name == duplicate.rule


@pytest.mark.parametrize(
    ("duplicate", "column"),
    [(duplicate, column) for duplicate in DUPLICATES for column in duplicate.columns if len(duplicate.columns) > 1],
    ids=str,
)
async def test_a_difference_in_one_column_of_a_key_is_another_row(
    connection: asyncpg.Connection, duplicate: Case, column: str
) -> None:
    await duplicate.make(connection, **duplicate.columns)
    assert await duplicate.make(connection, **duplicate.columns | {column: ANOTHER[column]})


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda reference: reference.rule)
async def test_a_reference_to_nobody_is_refused(connection: asyncpg.Connection, reference: Case) -> None:
    columns = {name: "#999" if value == "#1" else value for name, value in reference.columns.items()}
    with pytest.raises(asyncpg.ForeignKeyViolationError) as error:
        await reference.make(connection, **columns)
    assert error.value.constraint_name == reference.rule


@pytest.mark.parametrize(
    "statement", ["DELETE FROM community_members", "UPDATE community_members SET member_id = '#7'"]
)
@pytest.mark.parametrize("reference", REFERENCES, ids=lambda reference: reference.rule)
async def test_who_is_referred_to_can_neither_go_nor_change(
    connection: asyncpg.Connection, reference: Case, statement: str
) -> None:
    await reference.make(connection, **reference.columns)
    # This trigger refuses a new number before any reference is looked at.
    await connection.execute("ALTER TABLE community_members DISABLE TRIGGER community_members_before_write")
    # PostgreSQL has a class of its own for RESTRICT since version 18.
    with pytest.raises((asyncpg.RestrictViolationError, asyncpg.ForeignKeyViolationError)) as error:
        await connection.execute(f"{statement} WHERE member_id = '#1'")
    assert error.value.constraint_name == reference.rule


async def test_every_reference_is_checked_at_once_and_restricts(connection: asyncpg.Connection) -> None:
    found = await connection.fetch(
        """
        SELECT conname, confrelid::regclass::text, confdeltype, confupdtype, condeferrable, convalidated
        FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace
        """
    )
    assert {row["conname"]: tuple(row)[1:] for row in found} == {
        reference.rule: ("community_members", b"r", b"r", False, True) for reference in REFERENCES
    }


@pytest.mark.parametrize("long", TOO_LONG, ids=lambda long: f"{next(iter(long.columns))} {long.rule}")
async def test_a_text_beyond_its_length_is_refused(connection: asyncpg.Connection, long: Case) -> None:
    with pytest.raises(asyncpg.StringDataRightTruncationError):
        await long.make(connection, **long.columns)


@pytest.mark.parametrize(("make", "column"), NOT_NULL, ids=lambda value: getattr(value, "__name__", value))
async def test_a_required_column_refuses_null(connection: asyncpg.Connection, make: Factory, column: str) -> None:
    with pytest.raises(asyncpg.NotNullViolationError) as error:
        await make(connection, **{column: None})
    assert (error.value.table_name, error.value.column_name) == (TABLES[make], column)


async def test_a_members_number_can_not_be_taken_away(connection: asyncpg.Connection) -> None:
    with pytest.raises(asyncpg.NotNullViolationError) as error:
        await connection.execute("UPDATE community_members SET member_id = NULL")
    assert (error.value.table_name, error.value.column_name) == ("community_members", "member_id")


async def test_a_members_number_never_changes(connection: asyncpg.Connection) -> None:
    with pytest.raises(asyncpg.CheckViolationError) as error:
        await connection.execute("UPDATE community_members SET member_id = '#7' WHERE member_id = '#2'")
    assert error.value.constraint_name == "member_number_never_changes"
    assert (error.value.table_name, error.value.column_name) == ("community_members", "member_id")
    assert error.value.message == "The number of a member never changes."


async def test_a_status_changes_along_the_ways_only(connection: asyncpg.Connection) -> None:
    with pytest.raises(asyncpg.CheckViolationError) as error:
        await connection.execute("UPDATE community_members SET status = 'active' WHERE member_id = '#2'")
    assert error.value.constraint_name == "member_status_transition"
    assert (error.value.table_name, error.value.column_name) == ("community_members", "status")
    assert error.value.message == "There is no way from not_member to active."


async def test_invitations_never_run_in_a_circle(connection: asyncpg.Connection) -> None:
    await connection.execute("UPDATE community_members SET invited_by = '#1' WHERE member_id = '#2'")
    with pytest.raises(asyncpg.CheckViolationError) as error:
        await connection.execute("UPDATE community_members SET invited_by = '#2' WHERE member_id = '#1'")
    assert error.value.constraint_name == "member_invited_by_acyclic"
    assert (error.value.table_name, error.value.column_name) == ("community_members", "invited_by")
    assert error.value.message == "The invitations would run in a circle."


async def test_an_invitation_that_is_settled_stays_so(connection: asyncpg.Connection) -> None:
    await rows.invitation(connection, status="cancelled")
    with pytest.raises(asyncpg.CheckViolationError) as error:
        await connection.execute("UPDATE community_invitations SET status = 'pending'")
    assert error.value.constraint_name == "invitation_status_transition"
    assert (error.value.table_name, error.value.column_name) == ("community_invitations", "status")
    assert error.value.message == "The invitation is cancelled and stays so."


async def test_the_audit_log_is_append_only(connection: asyncpg.Connection) -> None:
    role = f"bot_{secrets.token_hex(8)}"
    await connection.execute(f"CREATE ROLE {role}; GRANT ALL ON directory_audit_log TO {role}; SET ROLE {role}")
    with pytest.raises(asyncpg.InsufficientPrivilegeError) as error:
        await connection.execute("DELETE FROM directory_audit_log")
    assert error.value.constraint_name == "audit_log_append_only"
    assert error.value.table_name == "directory_audit_log"
    assert error.value.message == "The audit log is append-only."


async def test_every_constraint_has_a_case_here(connection: asyncpg.Connection) -> None:
    found = await connection.fetch(
        """
        SELECT conname, contype FROM pg_constraint
        WHERE conrelid::regclass::text = ANY($1::text[]) AND contype NOT IN ('p', 'n')
        """,
        list(TABLES.values()),
    )
    # test_readable_rows.py has the others.
    here = [row for row in found if not re.search("_(range|readable)_check$", row["conname"])]
    assert {(row["conname"], row["contype"]) for row in here} == {
        *((refused.rule, b"c") for refused in CHECKS + BEHIND_A_TRIGGER),
        *((duplicate.rule, b"u") for duplicate in DUPLICATES),
        *((reference.rule, b"f") for reference in REFERENCES),
    }


async def test_every_unique_index_with_a_condition_has_a_case_here(connection: asyncpg.Connection) -> None:
    found = await connection.fetch(
        """
        SELECT indexrelid::regclass::text FROM pg_index
        WHERE indrelid::regclass::text = ANY($1::text[]) AND indisunique AND indpred IS NOT NULL
        """,
        list(TABLES.values()),
    )
    assert {row[0] for row in found} == {duplicate.rule for duplicate, _, _ in PARTIAL}


async def test_every_column_that_is_never_null_has_a_case_here(connection: asyncpg.Connection) -> None:
    found = await connection.fetch(
        """
        SELECT attrelid::regclass::text, attname FROM pg_attribute
        WHERE attrelid::regclass::text = ANY($1::text[]) AND attnotnull AND attnum > 0
        """,
        list(TABLES.values()),
    )
    tried = {(TABLES[make], column) for make, column in NOT_NULL}
    assert {tuple(row) for row in found} == tried | {("community_members", "member_id")}


async def test_every_rule_of_a_trigger_has_a_case_here(connection: asyncpg.Connection) -> None:
    # Those of the panel's users are tried where the panel is.
    sources = await connection.fetch(
        "SELECT prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proname NOT LIKE 'panel_%'"
    )
    rules = {rule for row in sources for rule in re.findall(r"CONSTRAINT = '(\w+)'", row["prosrc"])}
    assert rules == {
        "audit_log_append_only",
        "invitation_status_transition",
        "member_invited_by_acyclic",
        "member_number_never_changes",
        "member_status_transition",
    }
