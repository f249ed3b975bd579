"""The audit log: who changed which member or invitation, from what to what, and why.

A trigger writes it, whoever the writer is; nobody but the tables' owner can change or delete a row.
"""

from enum import StrEnum

from piccolo.columns import JSONB, UUID, BigSerial, Text, Timestamptz, Varchar
from piccolo.columns.readable import Readable
from piccolo.constraints import Check
from piccolo.table import Table

from community_directory.database import engine
from community_directory.tables import checks


class AuditAction(StrEnum):
    """The kinds of change, as PostgreSQL calls them."""

    INSERT = "INSERT"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


class DirectoryAuditLog(
    Table,
    tablename="directory_audit_log",
    db=engine,
    help_text="Who changed which member or invitation, from what to what, and why. Nobody edits it.",
):
    id = BigSerial(primary_key=True)
    changed_at = Timestamptz()
    actor = Varchar(
        length=255,
        default=None,
        help_text="The bot or the manager; db:… when only the login is known.",
    )
    reason = Text(null=True, default=None)
    action = Varchar(length=10, default=None, choices=AuditAction)
    table_name = Varchar(length=63, default=None)
    row_id = UUID(default=None, help_text="The primary key of the changed row.")
    member_id = Varchar(
        length=20,
        default=None,
        help_text="The member the row is about; of an invitation, the one who invites.",
    )
    changes = JSONB(
        default=None, help_text='The changed fields: {"status": ["pending", "active"]}.'
    )

    audit_action_check = Check(checks.one_of("action", AuditAction))
    audit_changes_check = Check(checks.json_object("changes"))

    audit_changed_at_range_check = Check(checks.in_range("changed_at"))

    @classmethod
    def get_readable(cls) -> Readable:
        """An entry shows as what was done to which table."""
        return Readable(template="%s %s", columns=[cls.action, cls.table_name])
