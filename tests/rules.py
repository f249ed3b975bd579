"""Every rule of the database: its name, what a person reads, what it refuses and what it accepts.

`test_rules.py` breaks each rule as every writer could: with SQL, a query helper, the panel and a CSV
file. A new constraint needs a line here; a test fails until it has one.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg

from tests.tables import rows

Columns: TypeAlias = Mapping[str, Any]
Factory: TypeAlias = Callable[..., Awaitable[asyncpg.Record]]


@dataclass(frozen=True)
class Rule:
    """What a new row must keep to, where the members #1 and #2 are there."""

    name: str
    field: str
    message: str
    refused: Sequence[Columns]
    """Columns of rows that are valid but for this rule."""
    accepted: Sequence[Columns]
    before: Columns | None = None
    """A row that must be there first."""
    make: Factory = rows.member


@dataclass(frozen=True)
class ChangeRule:
    """What a change must keep to; of the statements, the last one breaks it."""

    name: str
    field: str | None
    message: str
    statements: Sequence[str]


def check(
    name: str, field: str, message: str, refused: Sequence[object], accepted: Sequence[object]
) -> Rule:
    """Return a rule about the values of one column."""
    return Rule(
        name,
        field,
        message,
        [{field: bad} for bad in refused],
        [{field: good} for good in accepted],
    )


def date_check(name: str, field: str, **row: object) -> Rule:
    """Return a rule that the time lies in the years 2000 to 2199."""
    return Rule(
        name,
        field,
        RANGE,
        [{**row, field: value} for value in (FIRST - MICROSECOND, LAST + MICROSECOND)],
        [{**row, field: value} for value in (FIRST, LAST)],
    )


def json_check(name: str, field: str) -> Rule:
    """Return a rule that every reader can parse the JSON; helpers judge nesting themselves."""
    return check(
        name,
        field,
        "This holds a number that is too large, or is nested too deeply.",
        [f'{{"a": [{number}]}}' for number in (10**309, -(10**309))],
        [f'{{"a": [{number}]}}' for number in (10**308, -(10**308))],
    )


def unique(name: str, field: str, message: str, row: Columns, *others: Columns) -> Rule:
    """Return a rule that no two rows are like this one; with the other columns one is another row."""
    return Rule(name, field, message, [row], [{**row, **other} for other in others], before=row)


def reference(name: str, field: str, row: Columns) -> Rule:
    """Return a rule that the member must be there; in this row one is."""
    return Rule(name, field, NO_MEMBER, [{**row, field: "#999"}], [row])


def change(name: str, field: str | None, message: str, *statements: str) -> ChangeRule:
    return ChangeRule(name, field, message, statements)


def of(make: Factory, *rules: Rule) -> list[Rule]:
    """Return the rules for the rows that this factory writes."""
    return [replace(rule, make=make) for rule in rules]


USERNAME = "A username must have no @ in front and no spaces."
OBJECT = "This must be a JSON object."
NEGATIVE = "This can't be negative."
RANGE = "A date must lie in the years 2000 to 2199."
NO_MEMBER = "There is no such member."
NO_STATUS = "There is no such status."
ENTITY = "An entity's id can't be empty or contain spaces."
SAME_LINK = "This relationship already exists."
SAME_EVENT = "This event is already stored."

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
FIRST = datetime(2000, 1, 1, tzinfo=UTC)
LAST = datetime(2199, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
ID = {"id": UUID("019c13f6-0000-7000-8000-000000000000")}
VERIFIED = {"github_verified": True, "github_username": "Ana", "github_verified_at": NOON}
ACCEPTED = {"status": "accepted", "created_by": "#1", "accepted_by": "#2", "accepted_at": NOON}
INVITED = {"invited_telegram_username": "Ana"}
LINK = {"entity_id_a": "a", "entity_id_b": "b", "relationship_type": "INVITED"}
PLACE = {"platform": "telegram", "room_id": "-100"}
EVENT = {**PLACE, "event_type": "MESSAGE", "member_id": "#1", "source_id": "42"}
DAY = {"member_id": "#1", "highlight_date": date(2026, 1, 31)}

SPACES = ("\u0085", "\u00a0", "\u2003", "\u200b", "\u202f", "\u3000", "\ufeff", " \u2003\t\u3000")
BLANK = ("", " ", "\t\r\n", *SPACES)
VISIBLE = ("a", " Ana ", "李", "🙂", "x" * 50)
CLEANED = ("", " ", "@ana", " ana", "ana\n")
"""What every writer but SQL makes a username of, or none."""
NO_USERNAME = (*CLEANED, "ana maria", "ana\u2028maria", "\u200bana", "@@ana")
USERNAMES = (None, "a", "ana_garcia", "ana@home", "Ána")
NO_ID = (*BLANK, "12 34", "12\n", " 12")
IDS = ("0", "-100", "ana@example.org", "x" * 255)
NO_NUMBER = ("247", "#", "#0", "#01", "#-1", "#1a", "# 1", "#1\n")
NUMBERS = ("#7", "#10", "#247", "#9223372036854775807")
STATUSES = ("not_member", "pending", "active", "suspended", "banned")
NO_CODE = ("", "        ", "SEVENCH", "ABCD EFGH", "ABCD-EFGH", "ABCDEFGH\n", "ÁBCDEFGH")
CODES = ("ABCDEFGH", "abcdefgh", "12345678", "0123456789abcdef", "ABCDEFGHJKMNPQRS")
NO_OBJECT = ("[]", "null", '"text"', "1", "true")
OBJECTS = ("{}", '{"a": [null]}')
NO_TYPE = ("", "message", "Message", "1ST", "_A", "CODE-REVIEW", "CODE REVIEW", "MESSAGE\n")
TYPES = ("A", "VOICE", "CODE_REVIEW", "LEVEL_2")
NO_PLATFORM = ("", "TELEGRAM", "Telegram", "1chan", "_chat", "rocket.chat", "rocket chat", "chat\n")
PLATFORMS = ("a", "telegram", "rocket_chat", "web3")
COUNTS = (None, 0, 2**31 - 1)

# A table is read by its lines.
# fmt: off
RULES = [
    *of(rows.member,
        check("member_number_check", "member_id", "A member's number must look like #247.", NO_NUMBER,
            NUMBERS),
        check("member_telegram_id_check", "telegram_id",
            "A Telegram id can't be empty or contain spaces.", NO_ID, IDS),
        check("member_telegram_username_check", "telegram_username", USERNAME, NO_USERNAME,
            USERNAMES),
        check("member_name_check", "name", "The name can't be blank.", BLANK, VISIBLE),
        check("member_primary_role_check", "primary_role", "The role can't be blank.", BLANK,
            VISIBLE),
        check("member_github_username_check", "github_username", USERNAME, NO_USERNAME, USERNAMES),
        Rule("member_github_verified_check", "github_verified",
            "A verified GitHub account needs a username and the time of its verification.",
            [{**VERIFIED, "github_username": None}, {**VERIFIED, "github_verified_at": None}],
            [VERIFIED, {**VERIFIED, "github_verified": False}, {"github_username": "ana"}]),
        check("member_github_profile_data_check", "github_profile_data", OBJECT, NO_OBJECT,
            [None, *OBJECTS]),
        check("member_status_check", "status", NO_STATUS, ["", "Active", " active", "removed"],
            STATUSES),
        check("member_reputation_score_check", "reputation_score", NEGATIVE, [-1], [0, 2**31 - 1]),
        Rule("member_invited_by_check", "invited_by", "Members can't invite themselves.",
            [{"member_id": "#7", "invited_by": "#7"}],
            [{"invited_by": None}, {"invited_by": "#1"}]),
        check("member_profile_data_check", "profile_data", OBJECT, NO_OBJECT, [None, *OBJECTS]),
        check("member_reputation_shortfall_check", "reputation_shortfall", NEGATIVE, [-1],
            [0, 2**31 - 1]),
        json_check("member_github_profile_data_readable_check", "github_profile_data"),
        json_check("member_profile_data_readable_check", "profile_data"),
        date_check("member_github_verified_at_range_check", "github_verified_at"),
        date_check("member_created_at_range_check", "created_at"),
        date_check("member_updated_at_range_check", "updated_at"),
        date_check("member_last_active_at_range_check", "last_active_at"),
        date_check("member_deleted_at_range_check", "deleted_at"),
        unique("community_members_pkey", "id", "This member already exists.", ID),
        unique("community_members_member_id_key", "member_id",
            "This number belongs to another member.", {"member_id": "#7"}),
        unique("member_telegram_id_idx", "telegram_id", "This Telegram account is already in the directory.",
            {"telegram_id": "12345"}),
        Rule("member_github_verified_idx", "github_username",
            "This GitHub account belongs to another member.",
            [VERIFIED, {**VERIFIED, "github_username": "aNA"}],
            [{**VERIFIED, "github_verified": False}, {"github_username": "Ana"}], before=VERIFIED),
        reference("community_members_invited_by_fkey", "invited_by", {"invited_by": "#1"}),
    ),
    *of(rows.invitation,
        check("invitation_code_check", "invitation_code", "A code must have 8 to 16 letters and digits.",
            NO_CODE, CODES),
        check("invitation_username_check", "invited_telegram_username", USERNAME, NO_USERNAME,
            USERNAMES),
        check("invitation_status_check", "status", NO_STATUS, ["", "Pending", "open"],
            ["pending", "expired", "cancelled"]),
        Rule("invitation_accepted_by_check", "accepted_by",
            "Set the status to accepted and fill in who accepted the invitation, or do neither.",
            [{"status": "accepted"}, {**ACCEPTED, "status": "pending"},
                {**ACCEPTED, "status": "cancelled"}], [ACCEPTED]),
        Rule("invitation_accepted_at_check", "accepted_at",
            "Fill in both who accepted the invitation and when, or neither.",
            [{**ACCEPTED, "accepted_at": None}, {"accepted_at": NOON}], [ACCEPTED]),
        Rule("invitation_self_check", "accepted_by", "Members can't accept their own invitation.",
            [{**ACCEPTED, "accepted_by": "#1"}], [ACCEPTED]),
        date_check("invitation_expires_at_range_check", "expires_at"),
        date_check("invitation_accepted_at_range_check", "accepted_at", **ACCEPTED),
        date_check("invitation_created_at_range_check", "created_at"),
        date_check("invitation_updated_at_range_check", "updated_at"),
        unique("community_invitations_pkey", "invitation_id", "This invitation already exists.",
            {"invitation_id": ID["id"]}),
        unique("invitation_code_idx", "invitation_code", "This code is taken: choose another one.",
            {"invitation_code": "ABCDEFGH"}),
        Rule("invitation_open_username_idx", "invited_telegram_username",
            "This person already has an open invitation: extend that one.", [INVITED, {"invited_telegram_username": "aNA"}],
            [{**INVITED, "status": "expired"}, {**INVITED, **ACCEPTED}], before=INVITED),
        reference("community_invitations_created_by_fkey", "created_by", {"created_by": "#1"}),
        reference("community_invitations_accepted_by_fkey", "accepted_by", ACCEPTED),
    ),
    *of(rows.relationship,
        check("relationship_entity_a_check", "entity_id_a", ENTITY, NO_ID, IDS),
        check("relationship_entity_b_check", "entity_id_b", ENTITY, NO_ID, IDS),
        Rule("relationship_entities_check", "entity_id_b",
            "An entity can't have a relationship with itself.",
            [{"entity_id_a": "a", "entity_id_b": "a"}], [{"entity_id_a": "a", "entity_id_b": "A"}]),
        check("relationship_type_check", "relationship_type",
            "A type must be an upper-case name such as MENTORED.", NO_TYPE, TYPES),
        check("relationship_content_check", "content", OBJECT, NO_OBJECT, OBJECTS),
        json_check("relationship_content_readable_check", "content"),
        date_check("relationship_created_at_range_check", "created_at"),
        unique("member_relationships_pkey", "id", SAME_LINK, ID),
        unique("relationship_entity_a_idx", "relationship_type", SAME_LINK, LINK,
            {"entity_id_a": "c"}, {"entity_id_b": "c"}, {"relationship_type": "MENTORED"},
            {"entity_id_a": "b", "entity_id_b": "a"}),
    ),
    *of(rows.event,
        check("participation_event_type_check", "event_type",
            "An event type must be an upper-case name such as MESSAGE.", NO_TYPE, TYPES),
        check("participation_platform_check", "platform",
            "A platform must be a lower-case name such as telegram.", NO_PLATFORM, PLATFORMS),
        check("participation_room_id_check", "room_id", "A room's id can't be blank.", BLANK,
            ["#general", "the lobby"]),
        check("participation_source_id_check", "source_id",
            "An event's id on its platform can't be blank.", BLANK, [None, "42", "a b"]),
        check("participation_event_metadata_check", "event_metadata", OBJECT, NO_OBJECT,
            [None, *OBJECTS]),
        json_check("participation_event_metadata_readable_check", "event_metadata"),
        date_check("participation_occurred_at_range_check", "occurred_at"),
        unique("member_participation_pkey", "id", SAME_EVENT, ID),
        unique("participation_source_id_key", "source_id", SAME_EVENT, EVENT,
            {"platform": "discord"}, {"room_id": "-200"}, {"event_type": "REACTION"},
            {"member_id": "#2"}, {"source_id": "43"}, {"source_id": None}),
        reference("member_participation_member_id_fkey", "member_id", {"member_id": "#1"}),
    ),
    *of(rows.highlight,
        check("highlight_date_range_check", "highlight_date",
            "A day must lie between 1999-12-31 and 2200-01-01.",
            [date(1999, 12, 30), date(2200, 1, 2)], [date(1999, 12, 31), date(2200, 1, 1)]),
        date_check("highlight_created_at_range_check", "created_at"),
        check("highlight_message_count_check", "message_count", NEGATIVE, [-1], COUNTS),
        check("highlight_reaction_count_check", "reaction_count", NEGATIVE, [-1], COUNTS),
        check("highlight_voice_minutes_check", "voice_minutes", NEGATIVE, [-1], COUNTS),
        check("highlight_reputation_earned_check", "reputation_earned", NEGATIVE, [-1], COUNTS),
        unique("member_daily_highlights_pkey", "id", "This highlight already exists.", ID),
        unique("highlight_member_date_idx", "highlight_date",
            "This member already has a highlight of that day.", DAY, {"member_id": "#2"},
            {"highlight_date": date(2026, 2, 1)}),
        reference("member_daily_highlights_member_id_fkey", "member_id", DAY),
    ),
    *of(rows.audit_entry,
        check("audit_action_check", "action", "An action must be INSERT, UPDATE or DELETE.",
            ["", "update", "TRUNCATE"], ["INSERT", "UPDATE", "DELETE"]),
        check("audit_changes_check", "changes", OBJECT, NO_OBJECT, ["{}"]),
        date_check("audit_changed_at_range_check", "changed_at"),
        unique("directory_audit_log_pkey", "id", "This entry already exists.", {"id": 1000}),
    ),
]

ADD_USER = "INSERT INTO piccolo_user (username, email, password, active, admin, superuser)"
ADD_ANA = f"{ADD_USER} VALUES ('ana', 'ana@example.org', 'x', true, true, true)"

CHANGE_RULES = [
    # A trigger sets the tier: only where triggers are off could anybody write another one.
    change("member_reputation_tier_check", "reputation_tier", "There is no such tier.",
        "SET LOCAL session_replication_role = replica",
        "UPDATE community_members SET reputation_tier = 'Legend'"),
    change("member_number_never_changes", "member_id", "The number of a member can't be changed.",
        "UPDATE community_members SET member_id = '#7' WHERE member_id = '#2'"),
    change("member_status_transition", "status",
        "The status of a member can't change in this way.",
        "UPDATE community_members SET status = 'active' WHERE member_id = '#2'"),
    change("member_invited_by_acyclic", "invited_by",
        "This member invited the other one, directly or through others: choose another inviter.",
        "UPDATE community_members SET invited_by = '#1' WHERE member_id = '#2'",
        "UPDATE community_members SET invited_by = '#2' WHERE member_id = '#1'"),
    change("invitation_status_transition", "status",
        "An accepted or cancelled invitation can't be changed: create a new one.",
        "INSERT INTO community_invitations (invitation_code, created_by, status)"
        " VALUES ('CODE2345', '#1', 'cancelled')",
        "UPDATE community_invitations SET status = 'pending'"),
    change("audit_log_append_only", None, "Entries of the audit log can't be changed or deleted.",
        "CREATE ROLE role_of_the_rules", "GRANT ALL ON directory_audit_log TO role_of_the_rules",
        "SET LOCAL ROLE role_of_the_rules", "DELETE FROM directory_audit_log"),
    change("piccolo_user_username_key", "username", "This username is taken: choose another one.", ADD_ANA,
        f"{ADD_USER} VALUES ('ana', 'eva@example.org', 'x', true, true, true)"),
    change("piccolo_user_email_key", "email", "This e-mail address belongs to another user.",
        ADD_ANA, f"{ADD_USER} VALUES ('eva', 'ana@example.org', 'x', true, true, true)"),
    change("panel_user_last_superuser", "superuser", "This is the last superuser: make somebody else a superuser first.", ADD_ANA,
        "UPDATE piccolo_user SET superuser = false"),
    change("panel_user_own_access", "active", "You can't take away your own access: ask another superuser to do it.", ADD_ANA,
        "SELECT set_config('community_directory.actor', 'ana', true)",
        "UPDATE piccolo_user SET active = false"),
]
# fmt: on
