"""Every rule of the database: what it is called, what a person reads, and what it refuses and accepts.

`test_rules.py` breaks each rule as every writer could: with SQL, a query helper, the panel and a CSV
file. A new constraint needs a line here; a test fails until it has one.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg

from tests.tables import rows

Columns: TypeAlias = Mapping[str, Any]
Factory: TypeAlias = Callable[..., Awaitable[asyncpg.Record]]


@dataclass(frozen=True)
class Rule:
    """One constraint, or one rule of a trigger.

    There are two members, #1 and #2, when it is tried. `before` is a row that must be there first.
    """

    name: str
    message: str
    field: str | None
    make: Factory
    refused: tuple[Columns, ...]
    """Columns of rows that are valid but for the rule."""
    accepted: tuple[Columns, ...] = ()
    before: Columns | None = None


@dataclass(frozen=True)
class StatementRule:
    """A rule about changes: `statements` are run in order, and the last one is refused."""

    name: str
    message: str
    field: str | None
    statements: tuple[str, ...]


NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
ID = UUID("019c13f6-0000-7000-8000-000000000000")
VERIFIED = {"github_verified": True, "github_username": "Ana", "github_verified_at": NOON}
ACCEPTED = {"status": "accepted", "created_by": "#1", "accepted_by": "#2", "accepted_at": NOON}
LINK = {"entity_id_a": "a", "entity_id_b": "b", "relationship_type": "INVITED"}
EVENT = {
    "platform": "telegram",
    "room_id": "-100",
    "event_type": "MESSAGE",
    "member_id": "#1",
    "source_id": "42",
}
DAY = {"member_id": "#1", "highlight_date": date(2026, 1, 31)}

BLANK = ("", " ", "\t\r\n", "\u0085", "\u00a0", "\u2003", "\u200b", "\u202f", "\u3000", "\ufeff", " \u2003\t\u3000")
LETTERS = ("a", " Ana ", "李", "🙂", "x" * 50)
CLEANED = ("", " ", "@ana", " ana", "ana\n")
"""What every writer but SQL makes a username of, or none."""
NO_USERNAME = (*CLEANED, "ana maria", "ana\u2028maria", "\u200bana", "@@ana")
USERNAMES = (None, "a", "ana_garcia", "ana@home", "Ána")
NO_ID = (*BLANK, "12 34", "12\n", " 12")
NO_OBJECT = ("[]", "null", '"text"', "1", "true")
OBJECTS = ("{}", '{"a": [null]}')
NO_UPPER_CASE_NAME = ("", "message", "Message", "1ST", "_A", "CODE-REVIEW", "CODE REVIEW", "MESSAGE\n")
UPPER_CASE_NAMES = ("A", "VOICE", "CODE_REVIEW", "LEVEL_2")
NO_LOWER_CASE_NAME = ("", "TELEGRAM", "Telegram", "1chan", "_chat", "rocket.chat", "rocket chat", "discord\n")
LOWER_CASE_NAMES = ("a", "telegram", "rocket_chat", "web3")
COUNTS = (None, 0, 2**31 - 1)

USERNAME = "A username has no @ in front and no spaces."
OBJECT = "This must be a JSON object."
NEGATIVE = "This can't be negative."
NO_MEMBER = "There is no such member."
NO_STATUS = "There is no such status."
ENTITY = "An entity's id is not empty and has no spaces."
SAME_LINK = "This relationship is there already."


def column(
    name: str, make: Factory, field: str, message: str, *, refused: tuple[Any, ...], accepted: tuple[Any, ...]
) -> Rule:
    """Make a rule about the values of one column."""
    return Rule(
        name,
        message,
        field,
        make,
        refused=tuple({field: value} for value in refused),
        accepted=tuple({field: value} for value in accepted),
    )


def key(name: str, make: Factory, field: str, message: str, row: Columns, *, other: Columns) -> Rule:
    """Make a rule that no two rows have the same key; with any column as in `other` it is another one."""
    return Rule(
        name,
        message,
        field,
        make,
        before=row,
        refused=(row,),
        accepted=tuple({**row, changed: value} for changed, value in other.items()),
    )


def primary_key(name: str, make: Factory, what: str, field: str = "id") -> Rule:
    return key(name, make, field, f"This {what} is there already.", {field: ID}, other={})


def reference(name: str, make: Factory, field: str, row: Columns) -> Rule:
    """Make a rule that a member must be there; in `row` one is."""
    return Rule(name, NO_MEMBER, field, make, refused=({**row, field: "#999"},), accepted=(row,))


MEMBERS = [
    column(
        "member_number_check",
        rows.member,
        "member_id",
        "A member's number looks like #247.",
        refused=("247", "#", "#0", "#01", "#-1", "#1a", "# 1", "#1\n"),
        accepted=("#7", "#10", "#247", "#9223372036854775807"),
    ),
    column(
        "member_telegram_id_check",
        rows.member,
        "telegram_id",
        "A Telegram id is not empty and has no spaces.",
        refused=NO_ID,
        accepted=("0", "-100", "ana@example.org", "x" * 255),
    ),
    column(
        "member_telegram_username_check",
        rows.member,
        "telegram_username",
        USERNAME,
        refused=NO_USERNAME,
        accepted=USERNAMES,
    ),
    column(
        "member_name_check",
        rows.member,
        "name",
        "A name has at least one letter.",
        refused=BLANK,
        accepted=LETTERS,
    ),
    column(
        "member_primary_role_check",
        rows.member,
        "primary_role",
        "A role has at least one letter.",
        refused=BLANK,
        accepted=LETTERS,
    ),
    column(
        "member_github_username_check",
        rows.member,
        "github_username",
        USERNAME,
        refused=NO_USERNAME,
        accepted=USERNAMES,
    ),
    Rule(
        "member_github_verified_check",
        "A verified GitHub account has a username and a time of proof.",
        "github_verified",
        rows.member,
        refused=(
            {"github_verified": True},
            {"github_verified": True, "github_username": "ana"},
            {"github_verified": True, "github_verified_at": NOON},
        ),
        accepted=(VERIFIED, {"github_username": "ana"}, {"github_username": "ana", "github_verified_at": NOON}),
    ),
    column(
        "member_github_profile_data_check",
        rows.member,
        "github_profile_data",
        OBJECT,
        refused=NO_OBJECT,
        accepted=(None, *OBJECTS),
    ),
    column(
        "member_status_check",
        rows.member,
        "status",
        NO_STATUS,
        refused=("", "Active", " active", "removed"),
        accepted=("not_member", "pending", "active", "suspended", "banned"),
    ),
    column(
        "member_reputation_score_check",
        rows.member,
        "reputation_score",
        NEGATIVE,
        refused=(-1,),
        accepted=(0, 2**31 - 1),
    ),
    Rule(
        "member_invited_by_check",
        "Nobody invites themselves.",
        "invited_by",
        rows.member,
        refused=({"member_id": "#7", "invited_by": "#7"},),
        accepted=({"invited_by": None}, {"invited_by": "#1"}),
    ),
    column(
        "member_profile_data_check",
        rows.member,
        "profile_data",
        OBJECT,
        refused=NO_OBJECT,
        accepted=(None, *OBJECTS),
    ),
    primary_key("community_members_pkey", rows.member, "member"),
    key(
        "community_members_member_id_key",
        rows.member,
        "member_id",
        "This number belongs to another member.",
        {"member_id": "#7"},
        other={},
    ),
    key(
        "member_telegram_id_idx",
        rows.member,
        "telegram_id",
        "This Telegram account is known already.",
        {"telegram_id": "12345"},
        other={},
    ),
    Rule(
        "member_github_verified_idx",
        "This GitHub account belongs to another member.",
        "github_username",
        rows.member,
        before=VERIFIED,
        refused=(VERIFIED, {**VERIFIED, "github_username": "aNA"}),
        accepted=({**VERIFIED, "github_verified": False}, {"github_username": "Ana"}),
    ),
    reference("community_members_invited_by_fkey", rows.member, "invited_by", {"invited_by": "#1"}),
]

INVITATIONS = [
    column(
        "invitation_code_check",
        rows.invitation,
        "invitation_code",
        "A code has 8 to 16 letters and digits.",
        refused=("", "        ", "SEVENCH", "ABCD EFGH", "ABCD-EFGH", "ABCDEFGH\n", "ÁBCDEFGH"),
        accepted=("ABCDEFGH", "abcdefgh", "12345678", "0123456789abcdef", "ABCDEFGHJKMNPQRS"),
    ),
    column(
        "invitation_username_check",
        rows.invitation,
        "invited_telegram_username",
        USERNAME,
        refused=NO_USERNAME,
        accepted=USERNAMES,
    ),
    column(
        "invitation_status_check",
        rows.invitation,
        "status",
        NO_STATUS,
        refused=("", "Pending", "open"),
        accepted=("pending", "expired", "cancelled"),
    ),
    Rule(
        "invitation_accepted_by_check",
        "An invitation is accepted exactly when it says by whom.",
        "accepted_by",
        rows.invitation,
        refused=(
            {"status": "accepted"},
            {**ACCEPTED, "status": "pending"},
            {**ACCEPTED, "status": "cancelled"},
        ),
        accepted=(ACCEPTED,),
    ),
    Rule(
        "invitation_accepted_at_check",
        "An accepted invitation says by whom and when.",
        "accepted_at",
        rows.invitation,
        refused=({**ACCEPTED, "accepted_at": None}, {"accepted_at": NOON}),
        accepted=(ACCEPTED,),
    ),
    Rule(
        "invitation_self_check",
        "Nobody accepts their own invitation.",
        "accepted_by",
        rows.invitation,
        refused=({**ACCEPTED, "accepted_by": "#1"},),
        accepted=(ACCEPTED,),
    ),
    primary_key("community_invitations_pkey", rows.invitation, "invitation", "invitation_id"),
    key(
        "invitation_code_idx",
        rows.invitation,
        "invitation_code",
        "This code is taken.",
        {"invitation_code": "ABCDEFGH"},
        other={},
    ),
    Rule(
        "invitation_open_username_idx",
        "This person has an open invitation.",
        "invited_telegram_username",
        rows.invitation,
        before={"invited_telegram_username": "Ana"},
        refused=({"invited_telegram_username": "Ana"}, {"invited_telegram_username": "aNA"}),
        accepted=({"invited_telegram_username": "Ana", "status": "expired"},),
    ),
    reference("community_invitations_created_by_fkey", rows.invitation, "created_by", {"created_by": "#1"}),
    reference("community_invitations_accepted_by_fkey", rows.invitation, "accepted_by", ACCEPTED),
]

RELATIONSHIPS = [
    column(
        "relationship_entity_a_check",
        rows.relationship,
        "entity_id_a",
        ENTITY,
        refused=NO_ID,
        accepted=("a", "019c13f6", "x" * 255),
    ),
    column(
        "relationship_entity_b_check",
        rows.relationship,
        "entity_id_b",
        ENTITY,
        refused=NO_ID,
        accepted=("a", "019c13f6", "x" * 255),
    ),
    Rule(
        "relationship_entities_check",
        "Nobody has a relationship with themselves.",
        "entity_id_b",
        rows.relationship,
        refused=({"entity_id_a": "ana", "entity_id_b": "ana"},),
        accepted=({"entity_id_a": "ana", "entity_id_b": "Ana"},),
    ),
    column(
        "relationship_type_check",
        rows.relationship,
        "relationship_type",
        "A type is an upper-case name such as MENTORED.",
        refused=NO_UPPER_CASE_NAME,
        accepted=UPPER_CASE_NAMES,
    ),
    column(
        "relationship_content_check",
        rows.relationship,
        "content",
        OBJECT,
        refused=NO_OBJECT,
        accepted=OBJECTS,
    ),
    primary_key("member_relationships_pkey", rows.relationship, "relationship"),
    key(
        "relationship_entity_a_idx",
        rows.relationship,
        "relationship_type",
        SAME_LINK,
        LINK,
        other={"entity_id_a": "c", "entity_id_b": "c", "relationship_type": "MENTORED"},
    ),
]

EVENTS = [
    column(
        "participation_event_type_check",
        rows.event,
        "event_type",
        "An event type is an upper-case name such as MESSAGE.",
        refused=NO_UPPER_CASE_NAME,
        accepted=UPPER_CASE_NAMES,
    ),
    column(
        "participation_platform_check",
        rows.event,
        "platform",
        "A platform is a lower-case name such as telegram.",
        refused=NO_LOWER_CASE_NAME,
        accepted=LOWER_CASE_NAMES,
    ),
    column(
        "participation_room_id_check",
        rows.event,
        "room_id",
        "A room's id is not empty.",
        refused=BLANK,
        accepted=("#general", "the lobby"),
    ),
    column(
        "participation_source_id_check",
        rows.event,
        "source_id",
        "An event's id on its platform is not empty.",
        refused=BLANK,
        accepted=(None, "42", "a b"),
    ),
    column(
        "participation_event_metadata_check",
        rows.event,
        "event_metadata",
        OBJECT,
        refused=NO_OBJECT,
        accepted=(None, *OBJECTS),
    ),
    primary_key("member_participation_pkey", rows.event, "event"),
    key(
        "participation_source_id_key",
        rows.event,
        "source_id",
        "This event is there already.",
        EVENT,
        other={
            "platform": "discord",
            "room_id": "-200",
            "event_type": "REACTION",
            "member_id": "#2",
            "source_id": "43",
        },
    ),
    reference("member_participation_member_id_fkey", rows.event, "member_id", {"member_id": "#1"}),
]

HIGHLIGHTS = [
    *(
        column(f"highlight_{count}_check", rows.highlight, count, NEGATIVE, refused=(-1,), accepted=COUNTS)
        for count in ("message_count", "reaction_count", "voice_minutes", "reputation_earned")
    ),
    primary_key("member_daily_highlights_pkey", rows.highlight, "highlight"),
    key(
        "highlight_member_date_idx",
        rows.highlight,
        "highlight_date",
        "This member has a highlight of that day already.",
        DAY,
        other={"member_id": "#2", "highlight_date": date(2026, 2, 1)},
    ),
    reference("member_daily_highlights_member_id_fkey", rows.highlight, "member_id", DAY),
]

AUDIT_LOG = [
    column(
        "audit_action_check",
        rows.audit_entry,
        "action",
        "An action is INSERT, UPDATE or DELETE.",
        refused=("", "update", "TRUNCATE"),
        accepted=("INSERT", "UPDATE", "DELETE"),
    ),
    column(
        "audit_changes_check",
        rows.audit_entry,
        "changes",
        OBJECT,
        refused=NO_OBJECT,
        accepted=("{}",),
    ),
    key(
        "directory_audit_log_pkey",
        rows.audit_entry,
        "id",
        "This entry is there already.",
        {"id": 1000},
        other={},
    ),
]

RULES: list[Rule] = [*MEMBERS, *INVITATIONS, *RELATIONSHIPS, *EVENTS, *HIGHLIGHTS, *AUDIT_LOG]
"""What a new row must keep to."""

ADD_USER = "INSERT INTO piccolo_user (username, password, email, active, admin, superuser) VALUES "
ANA = "('ana', 'x', 'ana@example.org', true, true, true)"

STATEMENT_RULES = [
    StatementRule(
        # A trigger sets the tier: only where triggers are off could anybody write another one.
        "member_reputation_tier_check",
        "There is no such tier.",
        "reputation_tier",
        (
            "SET LOCAL session_replication_role = replica",
            "UPDATE community_members SET reputation_tier = 'Legend'",
        ),
    ),
    StatementRule(
        "member_number_never_changes",
        "The number of a member never changes.",
        "member_id",
        ("UPDATE community_members SET member_id = '#7' WHERE member_id = '#2'",),
    ),
    StatementRule(
        "member_status_transition",
        "The rules know no way from the one status to the other.",
        "status",
        ("UPDATE community_members SET status = 'active' WHERE member_id = '#2'",),
    ),
    StatementRule(
        "member_invited_by_acyclic",
        "This member was invited, in the end, by the other one.",
        "invited_by",
        (
            "UPDATE community_members SET invited_by = '#1' WHERE member_id = '#2'",
            "UPDATE community_members SET invited_by = '#2' WHERE member_id = '#1'",
        ),
    ),
    StatementRule(
        "invitation_status_transition",
        "An accepted or cancelled invitation stays as it is.",
        "status",
        (
            "INSERT INTO community_invitations (invitation_code, created_by, status)"
            " VALUES ('ABCDEFGH', '#1', 'cancelled')",
            "UPDATE community_invitations SET status = 'pending'",
        ),
    ),
    StatementRule(
        "audit_log_append_only",
        "The audit log is append-only.",
        None,
        (
            "CREATE ROLE role_of_the_rules",
            "GRANT ALL ON directory_audit_log TO role_of_the_rules",
            "SET LOCAL ROLE role_of_the_rules",
            "DELETE FROM directory_audit_log",
        ),
    ),
    StatementRule(
        "piccolo_user_username_key",
        "This username is taken.",
        "username",
        (ADD_USER + ANA, ADD_USER + "('ana', 'x', 'other@example.org', true, true, true)"),
    ),
    StatementRule(
        "piccolo_user_email_key",
        "This e-mail address belongs to another user.",
        "email",
        (ADD_USER + ANA, ADD_USER + "('eva', 'x', 'ana@example.org', true, true, true)"),
    ),
    StatementRule(
        "panel_user_last_superuser",
        "The last superuser stays.",
        "superuser",
        (ADD_USER + ANA, "UPDATE piccolo_user SET superuser = false"),
    ),
    StatementRule(
        "panel_user_own_access",
        "Nobody locks themselves out.",
        "active",
        (
            ADD_USER + ANA,
            "SELECT set_config('community_directory.actor', 'ana', true)",
            "UPDATE piccolo_user SET active = false",
        ),
    ),
]
"""What a change must keep to."""
