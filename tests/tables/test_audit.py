"""The audit log records who changed which member or invitation, how, and why."""

import json
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from community_directory.tables import AuditAction, CommunityMember, DirectoryAuditLog
from tests.tables import rows

pytestmark = pytest.mark.schema

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


async def log(database: rows.Database, **wanted: object) -> list[dict[str, Any]]:
    """Return the entries with these values, or all of them, oldest first."""
    entries = await database.fetch("SELECT * FROM directory_audit_log ORDER BY id")
    found = [dict(entry) | {"changes": json.loads(entry["changes"])} for entry in entries]
    return [entry for entry in found if wanted.items() <= entry.items()]


async def last_changes(database: rows.Database) -> object:
    return (await log(database))[-1]["changes"]


async def set_actor(
    connection: rows.Database, *, actor: str | None = None, reason: str | None = None
) -> None:
    """Set the actor and the reason of the transaction."""
    for name, value in (("actor", actor), ("reason", reason)):
        if value is not None:
            await connection.execute(
                f"SELECT set_config('community_directory.{name}', $1, true)", value
            )


async def test_an_entry_is_read_back_as_it_was_stored(directory: asyncpg.Pool) -> None:
    columns = {
        "actor": "telegram-bot",
        "reason": "spam",
        "action": AuditAction.UPDATE,
        "table_name": "community_members",
        "row_id": (await rows.member(directory))["id"],
        "member_id": "#1",
        "changes": {"status": ["active", "banned"]},
        "act_id": uuid4(),
        "undone_act_id": uuid4(),
    }
    written = await rows.audit_entry(directory, **columns)

    read = (
        await DirectoryAuditLog.objects()
        .output(load_json=True)
        .get(DirectoryAuditLog.id == written["id"])
    )
    assert read is not None
    assert read.to_dict() == columns | {"id": 2, "changed_at": written["changed_at"]}


async def test_an_entry_is_displayed_by_its_action_and_table(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    assert await DirectoryAuditLog.select(DirectoryAuditLog.get_readable()) == [
        {"readable": "INSERT community_members"}
    ]


async def test_an_entry_records_who_changed_what_and_why(directory: asyncpg.Pool) -> None:
    member = await rows.member(directory, status="pending")
    async with directory.acquire() as connection, connection.transaction():
        await set_actor(connection, actor="Luis (panel)", reason="vouched for by #2")
        await connection.execute("UPDATE community_members SET status = 'active'")

    entry = (await log(directory))[-1]
    assert datetime.now(UTC) - entry.pop("changed_at") < timedelta(minutes=1)
    assert entry == {
        "id": 2,
        "actor": "Luis (panel)",
        "reason": "vouched for by #2",
        "action": AuditAction.UPDATE,
        "table_name": "community_members",
        "row_id": member["id"],
        "member_id": "#1",
        "changes": {"status": ["pending", "active"]},
        "act_id": None,
        "undone_act_id": None,
    }


async def test_actor_and_reason_end_with_their_transaction(directory: asyncpg.Pool) -> None:
    async with directory.acquire() as connection:
        async with connection.transaction():
            await set_actor(connection, actor="Luis", reason="typo")
            await rows.member(connection)
        await rows.member(connection)

    login = await directory.fetchval("SELECT session_user")
    first, second = await log(directory)
    assert (first["actor"], first["reason"]) == ("Luis", "typo")
    assert (second["actor"], second["reason"]) == (f"db:{login}", None)


async def test_an_actor_with_a_long_name_is_cut_to_fit(directory: asyncpg.Pool) -> None:
    async with directory.acquire() as connection, connection.transaction():
        await set_actor(connection, actor="é" * 300)
        await rows.member(connection)
    assert [entry["actor"] for entry in await log(directory)] == ["é" * 255]


async def test_an_insert_is_logged_with_its_values(directory: asyncpg.Pool) -> None:
    member = await rows.member(
        directory, country="México", profile_data={"bio": None}, last_active_at=NOON
    )

    (entry,) = await log(directory)
    assert (entry["action"], entry["row_id"], entry["member_id"]) == (
        AuditAction.INSERT,
        member["id"],
        "#1",
    )
    created_at = entry["changes"].pop("created_at")
    assert [created_at[0], datetime.fromisoformat(created_at[1])] == [None, member["created_at"]]
    assert entry["changes"] == {
        "id": [None, str(member["id"])],
        "member_id": [None, "#1"],
        "telegram_id": [None, member["telegram_id"]],
        "name": [None, "Ana García"],
        "primary_role": [None, "developer"],
        "country": [None, "México"],
        "github_verified": [None, False],
        "status": [None, "not_member"],
        "reputation_score": [None, 0],
        "reputation_tier": [None, "Novice"],
        "registration_fee_paid": [None, False],
        "profile_data": [None, {"bio": None}],
        "is_bot": [None, False],
        "reputation_withheld": [None, 0],
    }


async def test_an_update_is_logged_with_the_changed_fields_only(directory: asyncpg.Pool) -> None:
    await rows.member(directory, country="México", profile_data={"a": 1})
    for change, changes in {
        "name = 'Luis', status = 'not_member'": {"name": ["Ana García", "Luis"]},
        "country = NULL": {"country": ["México", None]},
        "organization = 'Frutero'": {"organization": [None, "Frutero"]},
        """profile_data = '{"a": 2}'""": {"profile_data": [{"a": 1}, {"a": 2}]},
        "reputation_score = 501": {
            "reputation_score": [0, 501],
            "reputation_tier": ["Novice", "Active Developer"],
        },
        "last_active_at = now(), name = 'Ana'": {"name": ["Luis", "Ana"]},
    }.items():
        await directory.execute(f"UPDATE community_members SET {change}")
        assert await last_changes(directory) == changes
    assert len(await log(directory, action=AuditAction.UPDATE)) == 6


async def test_activity_and_an_update_without_a_change_are_not_logged(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    for change in (
        "last_active_at = now()",
        "name = name",
        "reputation_tier = 'Expert'",
        "updated_at = now()",
    ):
        await directory.execute(f"UPDATE community_members SET {change}")
    assert len(await log(directory)) == 1


@pytest.mark.parametrize("setting", [None, "", "off"], ids=["not set", "reset", "off"])
async def test_a_change_of_the_score_is_logged_outside_of_a_roll_up(
    directory: asyncpg.Pool, setting: str | None
) -> None:
    await rows.member(directory)
    async with directory.acquire() as connection, connection.transaction():
        if setting is not None:
            for value in ("on", setting):
                await connection.execute(
                    "SELECT set_config('community_directory.rolling_up', $1, true)", value
                )
        await connection.execute("UPDATE community_members SET reputation_score = 7")
    assert await last_changes(directory) == {"reputation_score": [0, 7]}


async def test_a_roll_up_logs_everything_but_the_score(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    async with directory.acquire() as connection, connection.transaction():
        await connection.execute("SELECT set_config('community_directory.rolling_up', 'on', true)")
        await connection.execute("UPDATE community_members SET reputation_score = 7")
        assert len(await log(connection)) == 1
        await connection.execute(
            "UPDATE community_members SET reputation_score = 501, name = 'Eva'"
        )
        assert await last_changes(connection) == {
            "name": ["Ana García", "Eva"],
            "reputation_tier": ["Novice", "Active Developer"],
        }
    await directory.execute("UPDATE community_members SET reputation_score = 8")
    assert await last_changes(directory) == {
        "reputation_score": [501, 8],
        "reputation_tier": ["Active Developer", "Novice"],
    }


async def test_a_delete_is_logged_with_the_deleted_values(directory: asyncpg.Pool) -> None:
    member = await rows.member(directory)
    inserted = await last_changes(directory)
    assert isinstance(inserted, dict)
    await directory.execute("DELETE FROM community_members")

    (entry,) = await log(directory, action=AuditAction.DELETE)
    assert (entry["table_name"], entry["row_id"], entry["member_id"]) == (
        "community_members",
        member["id"],
        "#1",
    )
    assert entry["changes"] == {
        field: [after, before] for field, (before, after) in inserted.items()
    }


async def test_every_row_of_a_statement_has_its_entry(directory: asyncpg.Pool) -> None:
    members = [await rows.member(directory) for _ in range(3)]
    await CommunityMember.update({CommunityMember.country: "México"}, force=True)
    entries = await log(directory, action=AuditAction.UPDATE)
    assert {entry["row_id"] for entry in entries} == {member["id"] for member in members}
    assert {entry["member_id"] for entry in entries} == {"#1", "#2", "#3"}


async def test_a_change_that_is_rolled_back_leaves_no_entry(directory: asyncpg.Pool) -> None:
    async with directory.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await rows.member(connection)
        await transaction.rollback()
    assert await log(directory) == []


async def test_an_invitation_is_logged_with_the_number_of_its_creator(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    await rows.member(directory)
    invitation = await rows.invitation(directory, created_by="#1", expires_at=NOON)
    await directory.execute(
        "UPDATE community_invitations"
        " SET status = 'accepted', accepted_by = '#2', accepted_at = $1",
        NOON,
    )
    await directory.execute("UPDATE community_invitations SET status = status")
    await directory.execute("DELETE FROM community_invitations")

    inserted, updated, deleted = await log(directory, table_name="community_invitations")
    for entry in (inserted, updated, deleted):
        assert (entry["row_id"], entry["member_id"]) == (invitation["invitation_id"], "#1")
    assert inserted["action"] == AuditAction.INSERT
    assert inserted["changes"].keys() == {
        "invitation_id",
        "invitation_code",
        "created_by",
        "status",
        "expires_at",
        "created_at",
    }
    assert updated["action"] == AuditAction.UPDATE
    assert updated["changes"].keys() == {"status", "accepted_by", "accepted_at"}
    assert updated["changes"]["accepted_by"] == [None, "#2"]
    assert deleted["action"] == AuditAction.DELETE
    assert deleted["changes"]["accepted_by"] == ["#2", None]


async def test_an_entry_has_the_number_of_the_new_creator(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await rows.member(directory)
    await rows.invitation(directory, created_by="#1")
    await directory.execute("UPDATE community_invitations SET created_by = '#2'")
    entry = (await log(directory))[-1]
    assert (entry["member_id"], entry["changes"]) == ("#2", {"created_by": ["#1", "#2"]})


async def test_no_other_table_is_logged(directory: asyncpg.Pool) -> None:
    await rows.relationship(directory)
    await rows.event(directory)
    await rows.highlight(directory)
    await directory.execute("DELETE FROM member_participation; DELETE FROM member_daily_highlights")
    assert {entry["table_name"] for entry in await log(directory)} == {"community_members"}


@pytest.fixture
async def superuser(database: str) -> AsyncIterator[asyncpg.Connection]:
    """Yield a connection that may become any role; everything it does is rolled back."""
    connection = await asyncpg.connect(database)
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()


async def new_role(superuser: asyncpg.Connection, *privileges: str) -> str:
    """Create a role with these privileges and return its name."""
    role = f"role_{secrets.token_hex(8)}"
    await superuser.execute(f"CREATE ROLE {role}")
    for privilege in privileges:
        await superuser.execute(f"GRANT {privilege} TO {role}")
    return role


async def become(superuser: asyncpg.Connection, role: str) -> None:
    """Go on as if this role had logged in."""
    await superuser.execute(f"SET LOCAL SESSION AUTHORIZATION {role}")


async def refusal(
    connection: asyncpg.Connection, statement: str
) -> asyncpg.InsufficientPrivilegeError:
    """Return the error of a statement that the role may not run."""
    with pytest.raises(asyncpg.InsufficientPrivilegeError) as error:
        async with connection.transaction():
            await connection.execute(statement)
    return error.value


async def test_a_role_without_a_privilege_on_the_log_is_logged(
    superuser: asyncpg.Connection,
) -> None:
    # Assigning a number needs the sequence, and reads the existing numbers.
    role = await new_role(
        superuser,
        "SELECT, INSERT, UPDATE, DELETE ON community_members",
        "USAGE ON SEQUENCE community_member_number",
    )
    await become(superuser, role)
    await rows.member(superuser)
    await superuser.execute("UPDATE community_members SET name = 'Luis' WHERE member_id = '#1'")
    await superuser.execute("DELETE FROM community_members")
    for statement in (
        "SELECT FROM directory_audit_log",
        "INSERT INTO directory_audit_log DEFAULT VALUES",
        "DELETE FROM directory_audit_log",
        "SELECT nextval('directory_audit_log_id_seq')",
    ):
        assert (await refusal(superuser, statement)).constraint_name is None

    await superuser.execute("RESET SESSION AUTHORIZATION")
    assert [(entry["action"], entry["actor"]) for entry in await log(superuser)] == [
        (AuditAction.INSERT, f"db:{role}"),
        (AuditAction.UPDATE, f"db:{role}"),
        (AuditAction.DELETE, f"db:{role}"),
    ]


async def test_a_role_that_sets_another_role_is_logged_as_the_login(
    superuser: asyncpg.Connection,
) -> None:
    group = await new_role(superuser, "SELECT, INSERT ON community_members")
    role = await new_role(superuser, group)
    await become(superuser, role)
    await superuser.execute(f"SET LOCAL ROLE {group}")
    await rows.member(superuser, member_id="#1")
    await superuser.execute("RESET SESSION AUTHORIZATION")
    assert [entry["actor"] for entry in await log(superuser)] == [f"db:{role}"]


async def test_a_writer_cannot_replace_the_functions_of_the_trigger(
    superuser: asyncpg.Connection,
) -> None:
    await superuser.execute(
        """
        CREATE SCHEMA mine;
        CREATE FUNCTION mine.left(text, integer) RETURNS text LANGUAGE sql RETURN 'nobody';
        SET LOCAL search_path = mine, pg_catalog, public;
        """
    )
    assert await superuser.fetchval("SELECT left('a', 1)") == "nobody"
    await set_actor(superuser, actor="Luis")
    await rows.member(superuser)
    assert [entry["actor"] for entry in await log(superuser)] == ["Luis"]


REWRITES = [
    "UPDATE directory_audit_log SET actor = 'nobody'",
    "UPDATE directory_audit_log SET actor = 'nobody' WHERE false",
    "DELETE FROM directory_audit_log",
    "TRUNCATE directory_audit_log",
    """
    INSERT INTO directory_audit_log SELECT * FROM directory_audit_log
    ON CONFLICT (id) DO UPDATE SET actor = 'nobody'
    """,
    """
    MERGE INTO directory_audit_log entry USING directory_audit_log other ON entry.id = other.id
    WHEN MATCHED THEN DELETE
    """,
]


async def test_a_role_with_all_privileges_on_the_log_can_only_add_to_it(
    superuser: asyncpg.Connection,
) -> None:
    await rows.member(superuser)
    role = await new_role(
        superuser, "ALL ON directory_audit_log", "ALL ON SEQUENCE directory_audit_log_id_seq"
    )
    await become(superuser, role)
    for statement in REWRITES:
        error = await refusal(superuser, statement)
        assert (statement, error.constraint_name) == (statement, "audit_log_append_only")
    for statement in (
        "DROP TABLE directory_audit_log",
        "ALTER TABLE directory_audit_log DISABLE TRIGGER ALL",
    ):
        await refusal(superuser, statement)

    before = await log(superuser)
    await rows.audit_entry(superuser)
    assert (await log(superuser))[:-1] == before


@pytest.mark.parametrize("statement", REWRITES)
async def test_the_owner_of_the_log_can_rewrite_it(
    superuser: asyncpg.Connection, statement: str
) -> None:
    owner = await new_role(superuser, "CREATE ON SCHEMA public")
    await superuser.execute(f"ALTER TABLE directory_audit_log OWNER TO {owner}")
    await become(superuser, owner)
    await rows.audit_entry(superuser)
    await superuser.execute(statement)
