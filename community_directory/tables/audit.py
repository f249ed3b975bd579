"""The audit log: who changed which member or invitation, how, and why.

Triggers write it, whichever program makes the change. Only the owner of the tables can change or
delete its rows.
"""

from enum import StrEnum

from piccolo.columns import JSONB, UUID, BigSerial, Text, Timestamptz, Varchar
from piccolo.columns.readable import Readable
from piccolo.constraints import Check
from piccolo.table import Table

from community_directory.database import engine
from community_directory.tables import checks


class AuditAction(StrEnum):
    """The kinds of change, named as in PostgreSQL."""

    INSERT = "INSERT"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


class DirectoryAuditLog(
    Table,
    tablename="directory_audit_log",
    db=engine,
    help_text="All changes of members and invitations, with their authors and reasons. "
    "Entries can't be changed.",
):
    id = BigSerial(primary_key=True)
    changed_at = Timestamptz()
    actor = Varchar(
        length=255,
        default=None,
        help_text="The bot or manager who made the change, or db: and the login to the database.",
    )
    reason = Text(null=True, default=None)
    action = Varchar(length=10, default=None, choices=AuditAction)
    table_name = Varchar(length=63, default=None)
    row_id = UUID(default=None, help_text="The primary key of the changed row.")
    member_id = Varchar(
        length=20,
        default=None,
        help_text="The changed member, or the member who created the changed invitation.",
    )
    changes = JSONB(
        default=None,
        help_text='The old and the new value of each field: {"status": ["pending", "active"]}.',
    )
    act_id = UUID(
        null=True,
        default=None,
        help_text="The act of a manager that this change belongs to, with all others of the act.",
    )
    undone_act_id = UUID(null=True, default=None, help_text="The act that this change has undone.")

    audit_action_check = Check(checks.one_of("action", AuditAction))
    audit_changes_check = Check(checks.json_object("changes"))

    audit_changed_at_range_check = Check(checks.in_range("changed_at"))

    @classmethod
    def get_readable(cls) -> Readable:
        """Show an entry as its action and its table."""
        return Readable(template="%s %s", columns=[cls.action, cls.table_name])
