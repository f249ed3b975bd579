"""Every rule of the database: its name, its message, the rows that it refuses and those it accepts.

`test_rules.py` breaks each rule in every way that rows are written: with SQL, a query helper, the
panel and a CSV file. A new constraint needs a line here; a test fails until it has one.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg

from tests.tables import rows

Columns: TypeAlias = Mapping[str, Any]
"""The columns of a row that a rule is about; the factory of the table fills in the others."""
Factory: TypeAlias = Callable[..., Awaitable[asyncpg.Record]]
"""A function of `tests.tables.rows`, which inserts a row with these columns."""


@dataclass(frozen=True)
class RowRule:
    """A rule for new rows. The members #1 and #2 exist, and #3, who is active."""

    name: str
    """The name of the constraint."""
    field: str
    """The column that the message is about."""
    message: str
    refused: Sequence[Columns]
    """The columns of rows that break this rule and no other one."""
    accepted: Sequence[Columns]
    """The columns of rows that keep the rule."""
    existing: Columns | None = None
    """The columns of a row that is inserted first."""
    factory: Factory = rows.member


@dataclass(frozen=True)
class ChangeRule:
    """A rule for changes."""

    name: str
    field: str | None
    message: str
    statements: Sequence[str]
    """The last statement breaks the rule; those before prepare it."""


def column_rule(
    name: str, field: str, message: str, refused: Sequence[object], accepted: Sequence[object]
) -> RowRule:
    """Return a rule for the values of one column."""
    return RowRule(
        name,
        field,
        message,
        [{field: value} for value in refused],
        [{field: value} for value in accepted],
    )


def date_rule(name: str, field: str, **columns: object) -> RowRule:
    """Return the rule that the time lies in the years 2000 to 2199."""
    return RowRule(
        name,
        field,
        DATE_MESSAGE,
        [{**columns, field: time} for time in (FIRST_TIME - MICROSECOND, LAST_TIME + MICROSECOND)],
        [{**columns, field: time} for time in (FIRST_TIME, LAST_TIME)],
    )


def json_rule(name: str, field: str) -> RowRule:
    """Return the rule that every reader can parse the JSON.

    Too deep nesting is not tried here: query helpers refuse it before the database does.
    """
    return column_rule(
        name,
        field,
        "This contains a number that is too large, or is nested too deeply.",
        [f'{{"a": [{number}]}}' for number in (10**309, -(10**309))],
        [f'{{"a": [{number}]}}' for number in (10**308, -(10**308))],
    )


def unique_rule(
    name: str, field: str, message: str, row: Columns, *differences: Columns
) -> RowRule:
    """Return the rule that this row is stored once; a row with one difference is accepted."""
    accepted = [{**row, **difference} for difference in differences]
    return RowRule(name, field, message, [row], accepted, existing=row)


def reference_rule(name: str, field: str, row: Columns) -> RowRule:
    """Return the rule that the column refers to an existing member; `row` keeps the rule."""
    return RowRule(name, field, MEMBER_MESSAGE, [{**row, field: "#999"}], [row])


def change_rule(name: str, field: str | None, message: str, *statements: str) -> ChangeRule:
    """Return a rule that the last of these statements breaks."""
    return ChangeRule(name, field, message, statements)


def rules_of(factory: Factory, *rules: RowRule) -> list[RowRule]:
    """Return the rules for the rows of this factory."""
    return [replace(rule, factory=factory) for rule in rules]


TELEGRAM_ID_MESSAGE = (
    "A Telegram id is a number without leading zeros: check that no spreadsheet changed it."
)
DISCORD_ID_MESSAGE = "A Discord id is a number of up to 20 digits without leading zeros."
TELEGRAM_USERNAME_MESSAGE = "A Telegram username has up to 32 letters, digits and underscores."
GITHUB_USERNAME_MESSAGE = "A GitHub username has up to 39 letters, digits, hyphens and underscores."
ONE_LINE_MESSAGE = (
    "This can't contain line breaks, or characters that control the direction of a text."
)
OBJECT_MESSAGE = "This must be a JSON object."
NEGATIVE_MESSAGE = "This can't be negative."
SAME_COUNT_MESSAGE = "This count is already stored."
DATE_MESSAGE = "A date must lie in the years 2000 to 2199."
MEMBER_MESSAGE = "There is no such member."
STATUS_MESSAGE = "There is no such status."
ENTITY_MESSAGE = "An entity's id can't be empty or contain spaces."
RELATIONSHIP_MESSAGE = "This relationship already exists."
DURATION_MESSAGE = (
    "The duration of a voice stay must be a number of seconds, at most 2,678,400 (31 days)."
)
EVENT_MESSAGE = "This event is already stored."

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
FIRST_TIME = datetime(2000, 1, 1, tzinfo=UTC)
LAST_TIME = datetime(2199, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
ROW_ID = {"id": UUID("019c13f6-0000-7000-8000-000000000000")}
VERIFIED = {"github_verified": True, "github_username": "Ana", "github_verified_at": NOON}
MERGED = {"telegram_id": "merged:0a-1", "deleted_at": NOON}
ACCEPTED = {"status": "accepted", "created_by": "#1", "accepted_by": "#2", "accepted_at": NOON}
NAMED_INVITATION = {"invited_telegram_username": "Ana"}
RELATIONSHIP = {"entity_id_a": "a", "entity_id_b": "b", "relationship_type": "INVITED"}
PLACE = {"platform": "telegram", "room_id": "-100"}
ENTITY = "504a537a-480a-0488-8a95-259e71354ad5"
EVENT = {**PLACE, "event_type": "MESSAGE", "member_id": "#1", "source_id": "42"}
HIGHLIGHT = {"member_id": "#1", "highlight_date": date(2026, 1, 31)}

INVISIBLE_TEXTS = (
    *("\u0085", "\u00a0", "\u2003", "\u200b", "\u202f", "\u3000", "\ufeff"),
    " \u2003\t\u3000",
)
BLANK_TEXTS = ("", " ", "\t\r\n", *INVISIBLE_TEXTS)
VISIBLE_TEXTS = ("a", " Ana ", "李", "🙂", "x" * 50)
INVISIBLE_NAMES = (
    *("", " ", "\u00a0", "\u2003", "\u202f", "\u3000", "\u200b", "\ufeff", "\u3164", "\u2800"),
    *("\u00ad", "\u2062", "\u180e", "\u034f", "\uffa0", "\ufffa", "\U0001d159", "\U000e0041"),
    " \u3164\u3000\u2800",
)
VISIBLE_NAMES = (*VISIBLE_TEXTS, "👩\u200d💻", "نیم\u200cفاصله", "\u3164a")
CONTROLLED_NAMES = (
    *("Ana\nGarcía", "Ana\tGarcía", "Ana\x01", "Ana\x7f", "Ana\u0085", "Ana\u2028García"),
    *("\u202eanA", "Ana\u200f", "A\u061cna", "\u2066Ana\u2069"),
)
"""Names that every writer except SQL corrects."""
CORRECTED_TELEGRAM_IDS = (" 12", "12\n", "１２", "1\u200b2", "\ufeff12")
BAD_TELEGRAM_IDS = (
    *CORRECTED_TELEGRAM_IDS,
    *("", " ", "0", "012", "+12", "-12", "12.0", "1.2E+01", "1" * 21, "12 34", "user12", "@ana"),
    *("ana", "telegram:12", "discord:012", "discord:ana", "Discord:12", "slack:", "slack:U 1"),
)
GOOD_TELEGRAM_IDS = (
    *("1", "1001", "9" * 20, "discord:123", "slack:U012ab", "matrix:@ana:example.org"),
    *("erased:1-2", "banned:0a1b"),
)
CORRECTED_DISCORD_IDS = tuple(
    f'{{"discord_id": "{text}"}}' for text in (" 123", "１２３", "<@123>", "<@!123>", "1\u00ad23")
)
BAD_DISCORD_IDS = (
    *CORRECTED_DISCORD_IDS,
    *(f'{{"discord_id": {value}}}' for value in ('"012"', '"ana#1"', '""', "0.5", "true", "{}")),
)
GOOD_DISCORD_IDS = (
    *(None, "{}", '{"discord_id": null}', '{"discord_id": "123"}', '{"discord_id": 123}'),
)
CORRECTED_USERNAMES = (
    *(
        "",
        " ",
        "@",
        "@ana",
        " ana",
        "ana\n",
        "\u200bana",
        "a\u00adna",
        "＠ana",
        "ａｎａ",
        '"ana"',
        "ana.",
    ),
)
"""Texts that every writer except SQL corrects to a username, or to no username."""
CORRECTED_TELEGRAM_USERNAMES = (*CORRECTED_USERNAMES, "t.me/ana", "https://telegram.me/ana?a=b")
CORRECTED_GITHUB_USERNAMES = (*CORRECTED_USERNAMES, "github.com/ana", "https://github.com/ana/")
BAD_USERNAMES = ("ana maria", "ana\u2028maria", "@@ana", "ana@home", "Ána", "ana.garcia")
BAD_TELEGRAM_USERNAMES = (
    *(*CORRECTED_TELEGRAM_USERNAMES, *BAD_USERNAMES, "ana-garcia", "x" * 33, "github.com/ana"),
    *("t.me/+ana", "t.me/joinchat/ana", "t.me/c/1/2", "t.me/share?url=x", "t.me/bot?start=ana"),
)
BAD_GITHUB_USERNAMES = (
    *(*CORRECTED_GITHUB_USERNAMES, *BAD_USERNAMES, "-ana", "x" * 40, "dependabot[bot]"),
    *("t.me/ana", "github.com/ana/repository"),
)
GOOD_TELEGRAM_USERNAMES = (None, "a", "ana_garcia", "_", "7", "x" * 32)
GOOD_GITHUB_USERNAMES = (None, "a", "ana-garcia", "octo_ana", "7", "x" * 39)
BAD_IDS = (*BLANK_TEXTS, "12 34", "12\n", " 12")
GOOD_IDS = ("0", "-100", "ana@example.org", "x" * 255)
BAD_NUMBERS = ("247", "#", "#0", "#01", "#-1", "#1a", "# 1", "#1\n")
GOOD_NUMBERS = ("#7", "#10", "#247", "#9223372036854775807")
STATUSES = ("not_member", "pending", "active", "suspended", "banned")
BAD_CODES = ("", "        ", "SEVENCH", "ABCD EFGH", "ABCD-EFGH", "ABCDEFGH\n", "ÁBCDEFGH")
GOOD_CODES = ("ABCDEFGH", "abcdefgh", "12345678", "0123456789abcdef", "ABCDEFGHJKMNPQRS")
BAD_OBJECTS = ("[]", "null", '"text"', "1", "true")
GOOD_OBJECTS = ("{}", '{"a": [null]}')
BAD_TYPES = ("", "message", "Message", "1ST", "_A", "CODE-REVIEW", "CODE REVIEW", "MESSAGE\n")
GOOD_TYPES = ("A", "VOICE", "CODE_REVIEW", "LEVEL_2")
BAD_PLATFORMS = (
    *("", "TELEGRAM", "Telegram", "1chan", "_chat"),
    *("rocket.chat", "rocket chat", "chat\n"),
)
GOOD_PLATFORMS = ("a", "telegram", "rocket_chat", "web3")
GOOD_COUNTS = (None, 0, 2**31 - 1)
DURATION_KEYS = ("duration_seconds", "voice_duration_seconds")
BAD_DURATIONS = (
    *('"60"', '""', '"NaN"', "true", "false", "null", "[]", "[60]", "{}", '{"seconds": 60}'),
    *("-1", "-0.001", "2678400.5", "2678401", "1e300"),
)
GOOD_DURATIONS = ("0", "0.25", "29.5", "60", "2678400")

# Each rule is one entry of a table, which the formatter would spread over many lines.
# fmt: off
ROW_RULES = [
    *rules_of(rows.member,
        column_rule("member_number_check", "member_id", "A member's number must look like #247.",
            BAD_NUMBERS, GOOD_NUMBERS),
        column_rule("member_telegram_id_format_check", "telegram_id", TELEGRAM_ID_MESSAGE,
            BAD_TELEGRAM_IDS, GOOD_TELEGRAM_IDS),
        column_rule("member_telegram_username_format_check", "telegram_username",
            TELEGRAM_USERNAME_MESSAGE, BAD_TELEGRAM_USERNAMES, GOOD_TELEGRAM_USERNAMES),
        column_rule("member_discord_id_check", "profile_data", DISCORD_ID_MESSAGE,
            BAD_DISCORD_IDS, GOOD_DISCORD_IDS),
        column_rule("member_name_visible_check", "name", "The name can't be blank.",
            INVISIBLE_NAMES, VISIBLE_NAMES),
        column_rule("member_name_one_line_check", "name", ONE_LINE_MESSAGE, CONTROLLED_NAMES,
            VISIBLE_NAMES),
        column_rule("member_primary_role_visible_check", "primary_role", "The role can't be blank.",
            INVISIBLE_NAMES, VISIBLE_NAMES),
        column_rule("member_primary_role_one_line_check", "primary_role", ONE_LINE_MESSAGE,
            CONTROLLED_NAMES, VISIBLE_NAMES),
        column_rule("member_github_username_format_check", "github_username",
            GITHUB_USERNAME_MESSAGE, BAD_GITHUB_USERNAMES, GOOD_GITHUB_USERNAMES),
        RowRule("member_github_verified_check", "github_verified",
            "A verified GitHub account needs a username and the time of its verification.",
            [{**VERIFIED, "github_username": None}, {**VERIFIED, "github_verified_at": None}],
            [VERIFIED, {**VERIFIED, "github_verified": False}, {"github_username": "ana"}]),
        column_rule("member_github_profile_data_check", "github_profile_data", OBJECT_MESSAGE,
            BAD_OBJECTS, [None, *GOOD_OBJECTS]),
        column_rule("member_status_check", "status", STATUS_MESSAGE,
            ["", "Active", " active", "removed"], STATUSES),
        column_rule("member_reputation_score_check", "reputation_score", NEGATIVE_MESSAGE, [-1],
            [0, 2**31 - 1]),
        RowRule("member_invited_by_check", "invited_by", "Members can't invite themselves.",
            [{"member_id": "#7", "invited_by": "#7"}],
            [{"invited_by": None}, {"invited_by": "#1"}]),
        RowRule("member_merged_into_check", "merged_into", "A member can't be merged into itself.",
            [{**MERGED, "member_id": "#7", "merged_into": "#7"}],
            [{**MERGED, "merged_into": "#1"}]),
        RowRule("member_merged_check", "merged_into",
            "A merged member is removed, and has no account.",
            [{**MERGED, "merged_into": "#1", "telegram_id": "7"},
                {**MERGED, "merged_into": "#1", "deleted_at": None},
                {**MERGED, "merged_into": "#1", **VERIFIED}],
            [MERGED, {**MERGED, "merged_into": "#1"}]),
        RowRule("member_suspended_until_check", "suspended_until",
            "Only a suspended member has an end of the suspension.",
            [{"status": "active", "suspended_until": LAST_TIME}],
            [{"status": "suspended", "suspended_until": LAST_TIME}, {"status": "suspended"}]),
        RowRule("community_members_merged_into_fkey", "merged_into", MEMBER_MESSAGE,
            [{**MERGED, "merged_into": "#999"}], [{**MERGED, "merged_into": "#1"}]),
        column_rule("member_profile_data_check", "profile_data", OBJECT_MESSAGE, BAD_OBJECTS,
            [None, *GOOD_OBJECTS]),
        column_rule("member_reputation_shortfall_check", "reputation_shortfall", NEGATIVE_MESSAGE,
            [-1], [0, 2**31 - 1]),
        RowRule("member_bot_reputation_check", "is_bot",
            "A bot has no points, and only a bot has points that don't count.",
            [{"is_bot": False, "reputation_withheld": 5}],
            [{"is_bot": True, "reputation_withheld": -5}, {"is_bot": False}]),
        json_rule("member_github_profile_data_readable_check", "github_profile_data"),
        json_rule("member_profile_data_readable_check", "profile_data"),
        date_rule("member_github_verified_at_range_check", "github_verified_at"),
        date_rule("member_created_at_range_check", "created_at"),
        date_rule("member_updated_at_range_check", "updated_at"),
        date_rule("member_last_active_at_range_check", "last_active_at"),
        date_rule("member_deleted_at_range_check", "deleted_at"),
        date_rule("member_suspended_until_range_check", "suspended_until", status="suspended"),
        unique_rule("community_members_pkey", "id", "This member already exists.", ROW_ID),
        unique_rule("community_members_member_id_key", "member_id",
            "This number belongs to another member.", {"member_id": "#7"}),
        unique_rule("member_telegram_id_idx", "telegram_id",
            "This Telegram account is already in the directory.", {"telegram_id": "12345"}),
        RowRule("member_github_verified_idx", "github_username",
            "This GitHub account belongs to another member.",
            [VERIFIED, {**VERIFIED, "github_username": "aNA"}],
            [{**VERIFIED, "github_verified": False}, {"github_username": "Ana"}],
            existing=VERIFIED),
        reference_rule("community_members_invited_by_fkey", "invited_by", {"invited_by": "#1"}),
    ),
    *rules_of(rows.invitation,
        column_rule("invitation_code_check", "invitation_code",
            "A code must have 8 to 16 letters and digits.", BAD_CODES, GOOD_CODES),
        column_rule("invitation_username_format_check", "invited_telegram_username",
            TELEGRAM_USERNAME_MESSAGE, BAD_TELEGRAM_USERNAMES, GOOD_TELEGRAM_USERNAMES),
        column_rule("invitation_status_check", "status", STATUS_MESSAGE, ["", "Pending", "open"],
            ["pending", "expired", "cancelled"]),
        RowRule("invitation_accepted_by_check", "accepted_by",
            "Set the status to accepted and fill in who accepted the invitation, or do neither.",
            [{"status": "accepted"}, {**ACCEPTED, "status": "pending"},
             {**ACCEPTED, "status": "cancelled"}], [ACCEPTED]),
        RowRule("invitation_accepted_at_check", "accepted_at",
            "Fill in both who accepted the invitation and when, or neither.",
            [{**ACCEPTED, "accepted_at": None}, {"accepted_at": NOON}], [ACCEPTED]),
        RowRule("invitation_self_check", "accepted_by",
            "Members can't accept their own invitation.", [{**ACCEPTED, "accepted_by": "#1"}],
            [ACCEPTED]),
        date_rule("invitation_expires_at_range_check", "expires_at"),
        date_rule("invitation_accepted_at_range_check", "accepted_at", **ACCEPTED),
        date_rule("invitation_created_at_range_check", "created_at"),
        date_rule("invitation_updated_at_range_check", "updated_at"),
        unique_rule("community_invitations_pkey", "invitation_id",
            "This invitation already exists.", {"invitation_id": ROW_ID["id"]}),
        unique_rule("invitation_code_idx", "invitation_code",
            "This code is taken: choose another one.", {"invitation_code": "ABCDEFGH"}),
        RowRule("invitation_open_username_idx", "invited_telegram_username",
            "This person already has an open invitation: extend that one.",
            [NAMED_INVITATION, {"invited_telegram_username": "aNA"}],
            [{**NAMED_INVITATION, "status": "expired"}, {**NAMED_INVITATION, **ACCEPTED}],
            existing=NAMED_INVITATION),
        reference_rule("community_invitations_created_by_fkey", "created_by", {"created_by": "#1"}),
        reference_rule("community_invitations_accepted_by_fkey", "accepted_by", ACCEPTED),
    ),
    *rules_of(rows.relationship,
        column_rule("relationship_entity_a_check", "entity_id_a", ENTITY_MESSAGE, BAD_IDS,
            GOOD_IDS),
        column_rule("relationship_entity_b_check", "entity_id_b", ENTITY_MESSAGE, BAD_IDS,
            GOOD_IDS),
        RowRule("relationship_entities_check", "entity_id_b",
            "An entity can't have a relationship with itself.",
            [{"entity_id_a": "a", "entity_id_b": "a"}], [{"entity_id_a": "a", "entity_id_b": "A"}]),
        column_rule("relationship_type_check", "relationship_type",
            "A type must be an upper-case name such as MENTORED.", BAD_TYPES, GOOD_TYPES),
        column_rule("relationship_content_check", "content", OBJECT_MESSAGE, BAD_OBJECTS,
            GOOD_OBJECTS),
        json_rule("relationship_content_readable_check", "content"),
        date_rule("relationship_created_at_range_check", "created_at"),
        unique_rule("member_relationships_pkey", "id", RELATIONSHIP_MESSAGE, ROW_ID),
        unique_rule("relationship_entity_a_idx", "relationship_type", RELATIONSHIP_MESSAGE,
            RELATIONSHIP, {"entity_id_a": "c"}, {"entity_id_b": "c"},
            {"relationship_type": "MENTORED"}, {"entity_id_a": "b", "entity_id_b": "a"}),
    ),
    *rules_of(rows.event,
        column_rule("participation_event_type_check", "event_type",
            "An event type must be an upper-case name such as MESSAGE.", BAD_TYPES, GOOD_TYPES),
        column_rule("participation_platform_check", "platform",
            "A platform must be a lower-case name such as telegram.", BAD_PLATFORMS,
            GOOD_PLATFORMS),
        column_rule("participation_room_id_check", "room_id", "A room's id can't be blank.",
            BLANK_TEXTS, ["#general", "the lobby"]),
        column_rule("participation_source_id_check", "source_id",
            "An event's id on its platform can't be blank.", BLANK_TEXTS, [None, "42", "a b"]),
        column_rule("participation_event_metadata_check", "event_metadata", OBJECT_MESSAGE,
            BAD_OBJECTS, [None, *GOOD_OBJECTS]),
        json_rule("participation_event_metadata_readable_check", "event_metadata"),
        date_rule("participation_occurred_at_range_check", "occurred_at"),
        RowRule("participation_voice_duration_check", "event_metadata", DURATION_MESSAGE,
            [{"event_type": "VOICE", "event_metadata": f'{{"{key}": {value}}}'}
             for key in DURATION_KEYS for value in BAD_DURATIONS],
            [{"event_type": "MESSAGE", "event_metadata": '{"duration_seconds": "1:30"}'},
             {"event_type": "VOICE", "event_metadata": None},
             *({"event_type": "VOICE", "event_metadata": f'{{"{key}": {value}}}'}
               for key in DURATION_KEYS for value in GOOD_DURATIONS)]),
        unique_rule("member_participation_pkey", "id", EVENT_MESSAGE, ROW_ID),
        unique_rule("participation_source_id_key", "source_id", EVENT_MESSAGE, EVENT,
            {"platform": "discord"}, {"room_id": "-200"}, {"event_type": "REACTION"},
            {"member_id": "#2"}, {"source_id": "43"}, {"source_id": None}),
        reference_rule("member_participation_member_id_fkey", "member_id", {"member_id": "#1"}),
    ),
    *rules_of(rows.highlight,
        column_rule("highlight_date_range_check", "highlight_date",
            "A day must lie between 1999-12-31 and 2200-01-01.",
            [date(1999, 12, 30), date(2200, 1, 2)], [date(1999, 12, 31), date(2200, 1, 1)]),
        date_rule("highlight_created_at_range_check", "created_at"),
        column_rule("highlight_message_count_check", "message_count", NEGATIVE_MESSAGE, [-1],
            GOOD_COUNTS),
        column_rule("highlight_reaction_count_check", "reaction_count", NEGATIVE_MESSAGE, [-1],
            GOOD_COUNTS),
        column_rule("highlight_voice_minutes_check", "voice_minutes", NEGATIVE_MESSAGE, [-1],
            GOOD_COUNTS),
        column_rule("highlight_reputation_earned_check", "reputation_earned", NEGATIVE_MESSAGE,
            [-1], GOOD_COUNTS),
        unique_rule("member_daily_highlights_pkey", "id", "This highlight already exists.", ROW_ID),
        unique_rule("highlight_member_date_idx", "highlight_date",
            "This member already has a highlight of that day.", HIGHLIGHT, {"member_id": "#2"},
            {"highlight_date": date(2026, 2, 1)}),
        reference_rule("member_daily_highlights_member_id_fkey", "member_id", HIGHLIGHT),
    ),
    *rules_of(rows.monthly_highlight,
        unique_rule("monthly_highlight_pkey", "month", SAME_COUNT_MESSAGE, {"member_id": "#1"},
            {"member_id": "#2"}, {"month": date(2026, 2, 1)}),
        reference_rule("monthly_highlight_member_id_fkey", "member_id", {"member_id": "#1"}),
    ),
    *rules_of(rows.daily_room,
        unique_rule("daily_room_pkey", "room_id", SAME_COUNT_MESSAGE, {"member_id": "#1"},
            {"member_id": "#2"}, {"day": date(2026, 2, 1)}, {"platform": "discord"},
            {"room_id": "-2"}),
    ),
    *rules_of(rows.monthly_room,
        unique_rule("monthly_room_pkey", "room_id", SAME_COUNT_MESSAGE, {"member_id": "#1"},
            {"member_id": "#2"}, {"month": date(2026, 2, 1)}, {"platform": "discord"},
            {"room_id": "-2"}),
    ),
    *rules_of(rows.room_span,
        unique_rule("member_room_pkey", "room_id", SAME_COUNT_MESSAGE, {"member_id": "#1"},
            {"member_id": "#2"}, {"platform": "discord"}, {"room_id": "-2"}),
    ),
    *rules_of(rows.milestones,
        unique_rule("milestone_pkey", "member_id", "This member already has milestones.",
            {"member_id": "#1"}, {"member_id": "#2"}),
        reference_rule("milestone_member_id_fkey", "member_id", {"member_id": "#1"}),
    ),
    *rules_of(rows.hourly_count,
        unique_rule("hourly_count_pkey", "event_type", SAME_COUNT_MESSAGE, {"hour": 12},
            {"day": date(2026, 2, 1)}, {"hour": 13}, {"platform": "discord"},
            {"event_type": "REACTION"}),
    ),
    *rules_of(rows.bot,
        column_rule("bot_telegram_id_check", "telegram_id", TELEGRAM_ID_MESSAGE,
            BAD_TELEGRAM_IDS, GOOD_TELEGRAM_IDS),
        column_rule("bot_name_check", "name", "The name can't be blank.", INVISIBLE_NAMES,
            VISIBLE_NAMES),
        date_rule("bot_created_at_range_check", "created_at"),
        unique_rule("directory_bots_pkey", "id", "This bot is already known.", ROW_ID),
        unique_rule("bot_telegram_id_idx", "telegram_id", "This account is already known.",
            {"telegram_id": "12345"}, {"telegram_id": "67890"}),
    ),
    *rules_of(rows.permission,
        column_rule("member_permission_check", "permission", "There is no such permission.",
            ["", "Manage", "admin"], ["invite", "review", "moderate", "manage"]),
        RowRule("member_permission_holder", "member_id",
            "Only an active member can hold a permission.", [{"member_id": "#1"}],
            [{"member_id": "#3"}]),
        date_rule("member_permission_granted_at_range_check", "granted_at"),
        unique_rule("member_permissions_pkey", "id", "This permission already exists.", ROW_ID),
        unique_rule("member_permission_idx", "permission",
            "The member holds this permission already.",
            {"member_id": "#3", "permission": "manage"},
            {"member_id": "#3", "permission": "review"}),
        reference_rule("member_permissions_member_id_fkey", "member_id", {}),
    ),
    *rules_of(rows.request,
        column_rule("member_request_kind_check", "kind", "There is no such kind of request.",
            ["", "Erasure", "ban"], ["erasure", "link"]),
        date_rule("member_request_asked_at_range_check", "asked_at"),
        unique_rule("member_requests_pkey", "id", "This request already exists.", ROW_ID),
        unique_rule("member_request_idx", "kind", "The member has asked for this already.",
            {"member_id": "#1", "kind": "erasure"}, {"member_id": "#2", "kind": "erasure"},
            {"member_id": "#1", "kind": "link"}),
        reference_rule("member_requests_member_id_fkey", "member_id", {"member_id": "#1"}),
    ),
    *rules_of(rows.note,
        column_rule("member_note_text_check", "text", "A note can't be blank.",
            ["", " \n", "\u200b"], ["x", "Two\nlines", "x" * 4000]),
        date_rule("member_note_written_at_range_check", "written_at"),
        unique_rule("member_notes_pkey", "id", "This note already exists.", ROW_ID),
        reference_rule("member_notes_member_id_fkey", "member_id", {}),
    ),
    *rules_of(rows.segment,
        column_rule("segment_name_visible_check", "name", "The name can't be blank.",
            ["", " ", "\u200b"], ["x", "Active in México"]),
        column_rule("segment_name_one_line_check", "name", ONE_LINE_MESSAGE,
            ["a\nb", "a\u202eb"], ["a b"]),
        column_rule("segment_filters_check", "filters",
            "The filters must be a JSON object of texts.",
            ["[]", '"x"', "null", '{"q": 1}', '{"q": null}', '{"q": {}}'], ["{}", '{"q": "a"}']),
        date_rule("segment_created_at_range_check", "created_at"),
        unique_rule("directory_segments_pkey", "id", "This segment already exists.",
            {**ROW_ID, "name": "x"}),
        unique_rule("segment_name_idx", "name", "Another segment has this name.", {"name": "x"},
            {"name": "X"}),
    ),
    *rules_of(rows.bot_chat,
        RowRule("bot_chat_account_fkey", "account_id", "No member has this account.",
            [{"account_id": "999"}], [{}]),
        RowRule("bot_chat_platform_check", "platform", "The bot has chats on Telegram.",
            [{"platform": "discord"}], [{}]),
        column_rule("bot_chat_language_check", "language_code",
            "A language is a tag such as es or pt-br.", ["", "ES", "pt_br", "-es", "es-"],
            ["es", "pt-br", "zh-hans", "es-419"]),
        RowRule("directory_bot_chats_pkey", "account_id", "This chat is already known.",
            [{}], [], existing={}),
    ),
    *rules_of(rows.bot_notice,
        column_rule("bot_notice_message_id_check", "message_id",
            "This is no id of a message on Telegram.", [0, -1], [1, 2**40]),
        date_rule("bot_notice_sent_at_range_check", "sent_at"),
        unique_rule("directory_bot_notices_pkey", "member_id",
            "This manager has a message about the member already.",
            {"member_id": "#2", "manager_id": "#1"}, {"member_id": "#3", "manager_id": "#1"},
            {"member_id": "#2", "manager_id": "#3"}),
        RowRule("bot_notice_member_id_fkey", "member_id", MEMBER_MESSAGE,
            [{"member_id": "#999"}], [{}]),
        RowRule("bot_notice_manager_id_fkey", "manager_id", MEMBER_MESSAGE,
            [{"manager_id": "#999"}], [{}]),
    ),
    *rules_of(rows.account,
        column_rule("member_account_platform_check", "platform",
            "A platform must be a lower-case name such as telegram.", BAD_PLATFORMS,
            ["slack", "x_1"]),
        RowRule("member_account_id_check", "account_id",
            "The id of an account must be spelled as its platform spells it.",
            [{"platform": platform, "account_id": text} for platform, text in (
                ("telegram", "012"), ("telegram", "ana"), ("telegram", "1" * 21), ("discord", "0"),
                ("discord", "<@5>"), ("github", "Ana"), ("github", "-ana"), ("github", "a" * 40),
                ("elizaos", ENTITY.upper()), ("elizaos", "ana"), ("slack", ""), ("slack", "U 1"))],
            [{"platform": platform, "account_id": text} for platform, text in (
                ("telegram", "1001"), ("discord", "9" * 20), ("github", "ana-dev"),
                ("github", "583231"), ("elizaos", ENTITY), ("slack", "U012ab"))]),
        column_rule("member_account_username_check", "username",
            "A username can't be empty or contain spaces.", ["", " ana", "a b", "ana\n"],
            [None, "ana", "Ána.ß"]),
        column_rule("member_account_proof_check", "proof", "There is no such proof.",
            ["", "Code", "guess"], ["platform", "code", "manager"]),
        RowRule("member_account_proved_at_check", "proved_at",
            "Fill in the time of the proof, unless the account is only stated.",
            [{"proof": "code", "proved_at": None}, {"proof": "stated", "proved_at": NOON}],
            [{"proof": "stated", "proved_at": None}, {"proof": "code", "proved_at": NOON}]),
        column_rule("member_account_details_check", "details", OBJECT_MESSAGE, BAD_OBJECTS,
            [None, "{}"]),
        json_rule("member_account_details_readable_check", "details"),
        date_rule("member_account_proved_at_range_check", "proved_at"),
        date_rule("member_account_linked_at_range_check", "linked_at"),
        unique_rule("member_accounts_pkey", "id", "This account is already linked.", ROW_ID),
        unique_rule("member_account_idx", "account_id", "This account belongs to another member.",
            {"platform": "telegram", "account_id": "1001", "member_id": "#1"},
            {"platform": "discord"}, {"account_id": "1002"}),
        reference_rule("member_accounts_member_id_fkey", "member_id", {"member_id": "#1"}),
    ),
    *rules_of(rows.archive,
        RowRule("archive_days_check", "archived_before",
            "The last archived day needs its end, which must not be after closed_before.",
            [{"archived_until": None}, {"archived_before": None},
             {"closed_before": datetime(2025, 12, 31, tzinfo=UTC)}],
            [{"closed_before": datetime(2026, 1, 2, tzinfo=UTC)},
             {"archived_until": None, "archived_before": None}]),
        column_rule("archive_one_row_check", "id", "The table has one row.", [False], [True]),
        RowRule("directory_archive_pkey", "id", "The table has one row.", [{"id": True}],
            [], existing={"id": True}),
        column_rule("archive_only_old_days", "closed_before",
            "The events of the last 90 days can't be archived.",
            [datetime.now(UTC) - timedelta(days=88)], [datetime.now(UTC) - timedelta(days=90)]),
    ),
    *rules_of(rows.audit_consumer,
        column_rule("audit_consumer_name_check", "name",
            "The name of a consumer has lower-case letters, digits, dots, dashes and underscores, "
            "and begins with a letter.",
            ["", "Greeter", "1st", "two words", "a\n"], ["a", "greeter_2.de-mx"]),
        column_rule("audit_consumer_last_id_check", "last_id",
            "The id of a change can't be negative.", [-1], [0, 1]),
        unique_rule("directory_audit_consumers_pkey", "name",
            "There is a consumer with this name already.", {"name": "bot"}, {"name": "bot2"}),
    ),
    *rules_of(rows.moved_room,
        column_rule("moved_room_platform_check", "platform",
            "A platform must be a lower-case name such as telegram.", BAD_PLATFORMS,
            GOOD_PLATFORMS),
        column_rule("moved_room_id_check", "room_id", "A room's id can't be blank.",
            BLANK_TEXTS, ["#general", "the lobby"]),
        column_rule("moved_room_target_check", "moved_to", "A room's id can't be blank.",
            BLANK_TEXTS, ["#general", "the lobby"]),
        RowRule("moved_room_not_itself_check", "moved_to", "A room can't move to itself.",
            [{"room_id": "-1", "moved_to": "-1"}], [{"room_id": "-1", "moved_to": "-2"}]),
        unique_rule("directory_moved_rooms_pkey", "room_id", "This room has moved already.",
            {"room_id": "-3"}, {"room_id": "-4"}),
    ),
    *rules_of(rows.erased_account,
        column_rule("erased_account_fingerprint_check", "fingerprint",
            "A fingerprint has 64 hexadecimal digits.", ["", "0a", "A" * 64, "g" * 64],
            ["0a" * 32]),
        date_rule("erased_account_erased_at_range_check", "erased_at"),
        unique_rule("directory_erased_accounts_pkey", "fingerprint",
            "This account is already known as erased.", {"fingerprint": "0a" * 32},
            {"fingerprint": "0b" * 32}),
        reference_rule("erased_account_member_id_fkey", "member_id",
            {"member_id": "#1"}),
    ),
    *rules_of(rows.merge,
        RowRule("merge_members_check", "into_id", "A member can't be merged into itself.",
            [{"into_id": "#2"}], [{"into_id": "#3"}]),
        column_rule("merge_before_check", "before", OBJECT_MESSAGE, BAD_OBJECTS, [None, "{}"]),
        json_rule("merge_before_readable_check", "before"),
        date_rule("merge_merged_at_range_check", "merged_at"),
        date_rule("merge_undone_at_range_check", "undone_at"),
        unique_rule("directory_merges_pkey", "id", "This merge is already stored.", ROW_ID),
        unique_rule("merge_standing_idx", "duplicate_id",
            "This member is already merged into another one.", {"duplicate_id": "#2"},
            {"duplicate_id": "#3"}, {"undone_at": NOON}),
        reference_rule("directory_merges_duplicate_id_fkey", "duplicate_id",
            {"duplicate_id": "#3"}),
        reference_rule("directory_merges_into_id_fkey", "into_id", {"into_id": "#3"}),
    ),
    *rules_of(rows.merged_row,
        RowRule("directory_merged_rows_merge_id_fkey", "merge_id", "There is no such merge.",
            [{"merge_id": UUID(int=1)}], [{}]),
    ),
    *rules_of(rows.dismissed_merge,
        RowRule("dismissed_merge_order_check", "member_a",
            "The lower of the two numbers comes first.",
            [{"member_a": "#2", "member_b": "#1"}, {"member_a": "#1", "member_b": "#1"},
                {"member_a": "#10", "member_b": "#2"}],
            [{}]),
        date_rule("dismissed_merge_dismissed_at_range_check", "dismissed_at"),
        RowRule("dismissed_merge_member_a_fkey", "member_a", MEMBER_MESSAGE,
            [{"member_a": "#998", "member_b": "#999"}], [{}]),
        RowRule("dismissed_merge_member_b_fkey", "member_b", MEMBER_MESSAGE,
            [{"member_b": "#999"}], [{}]),
        unique_rule("directory_dismissed_merges_pkey", "id", "This pair is already stored.",
            ROW_ID),
        RowRule("dismissed_merge_idx", "member_b", "This suggestion was dismissed before.",
            [{}], [], existing={}),
    ),
    *rules_of(rows.link_code,
        unique_rule("directory_link_codes_pkey", "member_id",
            "This member already has a code: replace it.", {"member_id": "#1"},
            {"member_id": "#2"}),
        unique_rule("link_code_hash_idx", "code_hash", "This code is taken: choose another one.",
            {"code_hash": b"1"}, {"code_hash": b"2"}),
        reference_rule("directory_link_codes_member_id_fkey", "member_id", {"member_id": "#1"}),
    ),
    *rules_of(rows.link_tries,
        column_rule("link_tries_wrong_check", "wrong",
            "The number of wrong tries must be positive.", [0, -1], [1, 5]),
        unique_rule("directory_link_tries_pkey", "account_id",
            "The tries of this account are counted already.", {"account_id": "5"},
            {"account_id": "6"}, {"platform": "telegram"}),
    ),
    *rules_of(rows.bot_state,
        column_rule("bot_state_data_check", "data", OBJECT_MESSAGE, BAD_OBJECTS, ["{}"]),
        column_rule("bot_state_size_check", "data",
            "This conversation is too long: send /cancel and start again.",
            ['{"name": "' + "x" * 20_000 + '"}'], ['{"name": "' + "x" * 19_000 + '"}']),
        column_rule("bot_state_telegram_id_check", "telegram_id", TELEGRAM_ID_MESSAGE,
            ["", "0", "01", "x1"], ["1", "9999999999"]),
        unique_rule("directory_bot_states_pkey", "conversation",
            "This conversation is already stored.", {"telegram_id": "5"}, {"telegram_id": "6"}),
    ),
    *rules_of(rows.proved_pair,
        RowRule("proved_pair_order_check", "member_b",
            "A pair has two members, the smaller number (as a text) first.",
            [{"member_a": "#2", "member_b": "#1"}, {"member_a": "#1", "member_b": "#1"}],
            [{"member_a": "#1", "member_b": "#2"}]),
        unique_rule("directory_proved_pairs_pkey", "member_b", "This pair is already stored.",
            {"member_a": "#1", "member_b": "#2"}),
        RowRule("directory_proved_pairs_member_a_fkey", "member_a", MEMBER_MESSAGE,
            [{"member_a": "#10"}], [{"member_a": "#1"}]),
        reference_rule("directory_proved_pairs_member_b_fkey", "member_b",
            {"member_a": "#1", "member_b": "#2"}),
    ),
    *rules_of(rows.audit_entry,
        column_rule("audit_action_check", "action", "An action must be INSERT, UPDATE or DELETE.",
            ["", "update", "TRUNCATE"], ["INSERT", "UPDATE", "DELETE"]),
        column_rule("audit_changes_check", "changes", OBJECT_MESSAGE, BAD_OBJECTS, ["{}"]),
        date_rule("audit_changed_at_range_check", "changed_at"),
        unique_rule("directory_audit_log_pkey", "id", "This entry already exists.", {"id": 1000}),
    ),
]

ADD_USER = "INSERT INTO piccolo_user (username, email, password, active, admin, superuser)"
ADD_ANA = f"{ADD_USER} VALUES ('ana', 'ana@example.org', 'x', true, true, true)"

CHANGE_RULES = [
    # A trigger sets the tier, so another one can be written only while triggers are off.
    change_rule("member_reputation_tier_check", "reputation_tier", "There is no such tier.",
        "SET LOCAL session_replication_role = replica",
        "UPDATE community_members SET reputation_tier = 'Legend'"),
    change_rule("member_number_never_changes", "member_id",
        "The number of a member can't be changed.",
        "UPDATE community_members SET member_id = '#7' WHERE member_id = '#2'"),
    change_rule("member_status_transition", "status",
        "The status of a member can't change in this way.",
        "UPDATE community_members SET status = 'active' WHERE member_id = '#2'"),
    change_rule("member_merged_flat", "merged_into",
        "One of the two was merged before: merge into the member who has everything.",
        "UPDATE community_members SET deleted_at = now(), telegram_id = 'merged:1',"
        " merged_into = '#1' WHERE member_id = '#2'",
        "UPDATE community_members SET deleted_at = now(), telegram_id = 'merged:2',"
        " merged_into = '#3' WHERE member_id = '#1'"),
    change_rule("directory_merged_rows_pkey", "row_id", "This row is already stored.",
        "INSERT INTO directory_merges (id, duplicate_id, into_id)"
        " VALUES (gen_random_uuid(), '#2', '#1')",
        "INSERT INTO directory_merged_rows (merge_id, table_name, row_id)"
        " SELECT id, 'member_participation', id FROM directory_merges, generate_series(1, 2)"),
    change_rule("member_invited_by_acyclic", "invited_by",
        "This member invited the chosen inviter, directly or through others: choose another one.",
        "UPDATE community_members SET invited_by = '#1' WHERE member_id = '#2'",
        "UPDATE community_members SET invited_by = '#2' WHERE member_id = '#1'"),
    change_rule("member_account_in_column", "account_id",
        "The member's own fields name this account: change those first.",
        "DELETE FROM member_accounts WHERE member_id = '#1'"),
    change_rule("invitation_status_transition", "status",
        "An accepted or cancelled invitation can't be changed: create a new one.",
        "INSERT INTO community_invitations (invitation_code, created_by, status)"
        " VALUES ('CODE2345', '#1', 'cancelled')",
        "UPDATE community_invitations SET status = 'pending'"),
    change_rule("member_account_of_erased", "member_id",
        "This member was erased, and can have no account.",
        "UPDATE community_members SET telegram_id = 'erased:1' WHERE member_id = '#2'",
        "INSERT INTO member_accounts (id, platform, account_id, member_id, proof, proved_at)"
        " VALUES (gen_random_uuid(), 'discord', '5', '#2', 'manager', now())"),
    change_rule("archive_only_forwards", "archived_until",
        "An archived day stays archived: its events are deleted.",
        "INSERT INTO directory_archive VALUES (true, '2026-01-03', '2026-01-01', '2026-01-02')",
        "UPDATE directory_archive SET archived_until = '2025-12-31'"),
    change_rule("participation_day_archived", "occurred_at",
        "This event is older than the events that are kept: its day is archived.",
        "INSERT INTO directory_archive (closed_before) VALUES ('2026-01-03 00:00Z')",
        "INSERT INTO member_participation (member_id, event_type, platform, room_id, occurred_at)"
        " VALUES ('#1', 'MESSAGE', 'telegram', '-1', '2026-01-02 23:59Z')"),
    change_rule("audit_log_append_only", None,
        "Entries of the audit log can't be changed or deleted.", "CREATE ROLE test_rules_role",
        "GRANT ALL ON directory_audit_log TO test_rules_role", "SET LOCAL ROLE test_rules_role",
        "DELETE FROM directory_audit_log"),
    change_rule("piccolo_user_username_key", "username",
        "This username is taken: choose another one.", ADD_ANA,
        f"{ADD_USER} VALUES ('ana', 'eva@example.org', 'x', true, true, true)"),
    change_rule("piccolo_user_email_key", "email", "This e-mail address belongs to another user.",
        ADD_ANA, f"{ADD_USER} VALUES ('eva', 'ana@example.org', 'x', true, true, true)"),
    change_rule("panel_session_own_password", "user_id",
        "Somebody else set this user's password: choose a new one first.",
        "SELECT set_config('community_directory.actor', 'eva', true)", ADD_ANA,
        "INSERT INTO sessions (token, user_id) SELECT 'x', id FROM piccolo_user"),
    change_rule("panel_user_last_superuser", "superuser",
        "This is the last superuser: make somebody else a superuser first.", ADD_ANA,
        "UPDATE piccolo_user SET superuser = false"),
    change_rule("panel_user_own_access", "active",
        "You can't take away your own access: ask another superuser to do it.", ADD_ANA,
        "SELECT set_config('community_directory.actor', 'ana', true)",
        "UPDATE piccolo_user SET active = false"),
]
# fmt: on
