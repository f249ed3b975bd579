"""What can go wrong: few meanings, each with its data, a sentence and a stable code.

A `UserError` may be shown to anybody; an `OperatorError` is for whoever runs the program. The database refuses by
constraint; `database_errors` turns what asyncpg raises into these errors, by the constraint's name.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

import asyncpg

SHOWN = 40
"""How many characters of somebody's input a sentence repeats."""


def sanitize_for_message(value: object) -> str:
    """What a sentence may repeat of somebody's input: short, printable, on one line."""
    try:
        text = str(value)
    except ValueError:
        text = "…"  # an integer of thousands of digits
    text = re.sub(r"[^\w #@.,:'+-]", "�", text[: SHOWN + 1])
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


class DirectoryError(Exception):
    """The base of every error that this package raises on purpose.

    `code` is a stable name, such as "invitation_expired", that a program can compare or translate.
    """

    code: str = "directory_error"


class UserError(DirectoryError):
    """An error whose sentence may be shown to anybody, in a chat too."""

    code = "user_error"


class OperatorError(DirectoryError):
    """An error for whoever runs the program: settings, schema, privileges, availability.

    Its sentence belongs in a log. A chat gets `public_message`.
    """

    code = "operator_error"
    public_message = "The directory is not available at the moment. Please try again later."


class ConfigurationError(OperatorError):
    """A setting is wrong or missing."""

    code = "configuration_error"


class NotConnected(OperatorError):
    """No connection pool is open, or the one that this task began with is closed."""

    code = "not_connected"

    def __init__(
        self,
        sentence: str = "Not connected to the directory: call the helpers inside `async with connect():`,"
        " or open it with `await connect()` when the program starts.",
    ) -> None:
        super().__init__(sentence)


class AlreadyConnected(OperatorError):
    """This process has an open connection pool: there is one at a time."""

    code = "already_connected"

    def __init__(self) -> None:
        super().__init__("This process is connected to the directory already.")


class DatabaseUnavailable(OperatorError):
    """PostgreSQL can't be reached, refuses the connection, is busy, or can't write."""

    code = "database_unavailable"


class MigrationFailed(OperatorError):
    """The schema could not be brought up to date; it is as it was before."""

    code = "migration_failed"


class NotAllowed(OperatorError):
    """The program's login at the database lacks the right to do this."""

    code = "not_allowed"


class TransactionFailed(OperatorError):
    """The caller's transaction can't go on: it was refused, rolled back, or used by two tasks at once."""

    code = "transaction_failed"


class SchemaMissing(OperatorError):
    """The tables are missing, or of another version: migrations have not run on this database."""

    code = "schema_missing"


class InvalidInput(UserError):
    """A value can't be stored or understood.

    `field` names it where that is known, and `limit` is the greatest length or number that it may have. `code` is
    "invalid_input", "text_too_long", "value_missing", or the name of the constraint that refused the value.
    """

    code = "invalid_input"

    def __init__(
        self,
        sentence: str,
        *,
        field: str | None = None,
        limit: int | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(sentence)
        self.field, self.limit = field, limit
        if code is not None:
            self.code = code


def text_too_long(field: str, length: int, limit: int) -> InvalidInput:
    """Return the error for a text that is longer than its field holds."""
    name = field.replace("_", " ")
    sentence = f"The {name} has {length:,} characters; at most {limit:,} are allowed."
    return InvalidInput(sentence, field=field, limit=limit, code="text_too_long")


class InvalidCursor(InvalidInput):
    """The cursor of a page was not made by this query, or was changed on the way."""

    code = "invalid_cursor"

    def __init__(self) -> None:
        super().__init__(
            "This page can't be continued: ask for the first one again.", field="after"
        )


class MemberError(UserError):
    """Something about one member; `member_id` (or another id that was asked for) names them."""

    code = "member_error"

    def __init__(self, sentence: str, member_id: str) -> None:
        super().__init__(sentence)
        self.member_id = member_id


class MemberNotFound(MemberError):
    """Nobody has that number or id, or they were removed."""

    code = "member_not_found"

    def __init__(self, member_id: str) -> None:
        super().__init__(f"There is no member {sanitize_for_message(member_id)}.", member_id)


class MemberExists(MemberError):
    """Somebody with that number, Telegram id or verified GitHub account is there already."""

    code = "member_exists"


class AlreadyMember(MemberError):
    """The person is a member already (pending, active or suspended)."""

    code = "already_member"

    def __init__(self, member_id: str) -> None:
        super().__init__("You are a member already.", member_id)


class MemberBanned(UserError):
    """The person is banned, and stays outside."""

    code = "member_banned"

    def __init__(self) -> None:
        super().__init__("This person is banned.")


class MemberNotActive(MemberError):
    """Only an active member can do this."""

    code = "member_not_active"

    def __init__(self, member_id: str, status: str) -> None:
        super().__init__(
            f"Member {sanitize_for_message(member_id)} is not active, but {sanitize_for_message(status).replace('_', ' ')}.",
            member_id,
        )
        self.status = status


class RoleRequired(MemberError):
    """Only an active member of that `role` can do this."""

    code = "role_required"

    def __init__(self, member_id: str, role: str) -> None:
        super().__init__(
            f"Member {sanitize_for_message(member_id)} does not have the role {sanitize_for_message(role)}.",
            member_id,
        )
        self.role = role


class StatusChangeRefused(MemberError):
    """The rules know no way from this status to that one. `before` and `after` name them."""

    code = "status_change_refused"

    def __init__(self, member_id: str, before: str, after: str) -> None:
        sentence = (
            f"is {before.replace('_', ' ')} already"
            if before == after
            else f"can't go from {before} to {after}"
        )
        super().__init__(
            f"Member {sanitize_for_message(member_id)} {sentence.replace('_', ' ')}.", member_id
        )
        self.before, self.after = before, after


class InvitationError(UserError):
    """Something about one invitation; `invitation_code` is the code that was given."""

    code = "invitation_error"

    def __init__(self, sentence: str, invitation_code: str) -> None:
        super().__init__(sentence)
        self.invitation_code = invitation_code


class InvitationNotFound(InvitationError):
    """No invitation has that code."""

    code = "invitation_not_found"

    def __init__(self, invitation_code: str) -> None:
        super().__init__("There is no such invitation: check the code.", invitation_code)


class InvitationExpired(InvitationError):
    """The invitation was open until `expired_at`."""

    code = "invitation_expired"

    def __init__(self, invitation_code: str, expired_at: datetime) -> None:
        super().__init__("This invitation has expired: ask for a new one.", invitation_code)
        self.expired_at = expired_at


class InvitationCancelled(InvitationError):
    """The invitation was withdrawn, or whoever made it may no longer invite."""

    code = "invitation_cancelled"

    def __init__(self, invitation_code: str) -> None:
        super().__init__("This invitation was withdrawn.", invitation_code)


class InvitationUsed(InvitationError):
    """Somebody joined with this code already."""

    code = "invitation_used"

    def __init__(self, invitation_code: str) -> None:
        super().__init__("This invitation has been used already.", invitation_code)


class InvitationForSomeoneElse(InvitationError):
    """The invitation names another Telegram username."""

    code = "invitation_for_someone_else"

    def __init__(self, invitation_code: str) -> None:
        super().__init__("This invitation is meant for someone else.", invitation_code)


class Rule(NamedTuple):
    """What a constraint says to a person, and which field it is about."""

    sentence: str
    field: str | None = None


_NO_MEMBER = "There is no such member."
_USERNAME = "A username has no @ in front and no spaces."
_OBJECT = "This must be a JSON object."
_NEGATIVE = "This can't be negative."
_RANGE = "A date must lie in the years 2000 to 2199."
_UNREADABLE = "This holds a number that is too large, or is nested too deeply."

CONSTRAINT_MESSAGES = {
    "panel_user_last_superuser": Rule("The last superuser stays.", "superuser"),
    "panel_user_own_access": Rule("Nobody locks themselves out.", "active"),
    "audit_action_check": Rule("An action is INSERT, UPDATE or DELETE.", "action"),
    "audit_changes_check": Rule(_OBJECT, "changes"),
    "audit_log_append_only": Rule("The audit log is append-only."),
    "community_invitations_accepted_by_fkey": Rule(_NO_MEMBER, "accepted_by"),
    "community_invitations_created_by_fkey": Rule(_NO_MEMBER, "created_by"),
    "community_invitations_pkey": Rule("This invitation is there already.", "invitation_id"),
    "community_members_invited_by_fkey": Rule(_NO_MEMBER, "invited_by"),
    "community_members_member_id_key": Rule("This number belongs to another member.", "member_id"),
    "community_members_pkey": Rule("This member is there already.", "id"),
    "directory_audit_log_pkey": Rule("This entry is there already.", "id"),
    "highlight_member_date_idx": Rule(
        "This member has a highlight of that day already.", "highlight_date"
    ),
    "highlight_message_count_check": Rule(_NEGATIVE, "message_count"),
    "highlight_reaction_count_check": Rule(_NEGATIVE, "reaction_count"),
    "highlight_reputation_earned_check": Rule(_NEGATIVE, "reputation_earned"),
    "highlight_voice_minutes_check": Rule(_NEGATIVE, "voice_minutes"),
    "invitation_accepted_at_check": Rule(
        "An accepted invitation says by whom and when.", "accepted_at"
    ),
    "invitation_accepted_by_check": Rule(
        "An invitation is accepted exactly when it says by whom.", "accepted_by"
    ),
    "invitation_code_check": Rule("A code has 8 to 16 letters and digits.", "invitation_code"),
    "invitation_code_idx": Rule("This code is taken.", "invitation_code"),
    "invitation_open_username_idx": Rule(
        "This person has an open invitation.", "invited_telegram_username"
    ),
    "invitation_self_check": Rule("Nobody accepts their own invitation.", "accepted_by"),
    "invitation_status_check": Rule("There is no such status.", "status"),
    "invitation_status_transition": Rule(
        "An accepted or cancelled invitation stays as it is.", "status"
    ),
    "invitation_username_check": Rule(_USERNAME, "invited_telegram_username"),
    "member_daily_highlights_member_id_fkey": Rule(_NO_MEMBER, "member_id"),
    "member_daily_highlights_pkey": Rule("This highlight is there already.", "id"),
    "member_github_profile_data_check": Rule(_OBJECT, "github_profile_data"),
    "member_github_username_check": Rule(_USERNAME, "github_username"),
    "member_github_verified_check": Rule(
        "A verified GitHub account has a username and a time of proof.", "github_verified"
    ),
    "member_github_verified_idx": Rule(
        "This GitHub account belongs to another member.", "github_username"
    ),
    "member_invited_by_acyclic": Rule(
        "This member was invited, in the end, by the other one.", "invited_by"
    ),
    "member_invited_by_check": Rule("Nobody invites themselves.", "invited_by"),
    "member_name_check": Rule("A name has at least one letter.", "name"),
    "member_number_check": Rule("A member's number looks like #247.", "member_id"),
    "member_number_never_changes": Rule("The number of a member never changes.", "member_id"),
    "member_participation_member_id_fkey": Rule(_NO_MEMBER, "member_id"),
    "member_participation_pkey": Rule("This event is there already.", "id"),
    "member_primary_role_check": Rule("A role has at least one letter.", "primary_role"),
    "member_profile_data_check": Rule(_OBJECT, "profile_data"),
    "member_relationships_pkey": Rule("This relationship is there already.", "id"),
    "member_reputation_score_check": Rule(_NEGATIVE, "reputation_score"),
    "member_reputation_tier_check": Rule("There is no such tier.", "reputation_tier"),
    "member_status_check": Rule("There is no such status.", "status"),
    "member_status_transition": Rule(
        "The rules know no way from the one status to the other.", "status"
    ),
    "member_telegram_id_check": Rule(
        "A Telegram id is not empty and has no spaces.", "telegram_id"
    ),
    "member_telegram_id_idx": Rule("This Telegram account is known already.", "telegram_id"),
    "member_telegram_username_check": Rule(_USERNAME, "telegram_username"),
    "participation_event_metadata_check": Rule(_OBJECT, "event_metadata"),
    "participation_event_type_check": Rule(
        "An event type is an upper-case name such as MESSAGE.", "event_type"
    ),
    "participation_platform_check": Rule(
        "A platform is a lower-case name such as telegram.", "platform"
    ),
    "participation_room_id_check": Rule("A room's id is not empty.", "room_id"),
    "participation_source_id_check": Rule(
        "An event's id on its platform is not empty.", "source_id"
    ),
    "participation_source_id_key": Rule("This event is there already.", "source_id"),
    "piccolo_user_email_key": Rule("This e-mail address belongs to another user.", "email"),
    "piccolo_user_username_key": Rule("This username is taken.", "username"),
    "relationship_content_check": Rule(_OBJECT, "content"),
    "relationship_entities_check": Rule(
        "Nobody has a relationship with themselves.", "entity_id_b"
    ),
    "relationship_entity_a_check": Rule(
        "An entity's id is not empty and has no spaces.", "entity_id_a"
    ),
    "relationship_entity_a_idx": Rule("This relationship is there already.", "relationship_type"),
    "relationship_entity_b_check": Rule(
        "An entity's id is not empty and has no spaces.", "entity_id_b"
    ),
    "relationship_type_check": Rule(
        "A type is an upper-case name such as MENTORED.", "relationship_type"
    ),
    "member_reputation_shortfall_check": Rule(_NEGATIVE, "reputation_shortfall"),
    "audit_changed_at_range_check": Rule(_RANGE, "changed_at"),
    "highlight_created_at_range_check": Rule(_RANGE, "created_at"),
    "highlight_date_range_check": Rule(
        "A day must lie between 1999-12-31 and 2200-01-01.", "highlight_date"
    ),
    "invitation_accepted_at_range_check": Rule(_RANGE, "accepted_at"),
    "invitation_created_at_range_check": Rule(_RANGE, "created_at"),
    "invitation_expires_at_range_check": Rule(_RANGE, "expires_at"),
    "invitation_updated_at_range_check": Rule(_RANGE, "updated_at"),
    "member_created_at_range_check": Rule(_RANGE, "created_at"),
    "member_deleted_at_range_check": Rule(_RANGE, "deleted_at"),
    "member_github_profile_data_readable_check": Rule(_UNREADABLE, "github_profile_data"),
    "member_github_verified_at_range_check": Rule(_RANGE, "github_verified_at"),
    "member_last_active_at_range_check": Rule(_RANGE, "last_active_at"),
    "member_profile_data_readable_check": Rule(_UNREADABLE, "profile_data"),
    "member_updated_at_range_check": Rule(_RANGE, "updated_at"),
    "participation_event_metadata_readable_check": Rule(_UNREADABLE, "event_metadata"),
    "participation_occurred_at_range_check": Rule(_RANGE, "occurred_at"),
    "relationship_content_readable_check": Rule(_UNREADABLE, "content"),
    "relationship_created_at_range_check": Rule(_RANGE, "created_at"),
}
"""Every constraint, and every rule that a trigger enforces, by its name in the database."""


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn what asyncpg raises inside into this module's errors; what is a defect of ours passes as it is."""
    try:
        yield
    except asyncpg.PostgresError as error:
        meaning = _meaning_of(error)
        if meaning is None:
            raise
        raise meaning from error
    except (OSError, asyncpg.InternalClientError) as error:
        # The second is what asyncpg stumbles over when the connection is cut at that very moment.
        raise DatabaseUnavailable("The database does not answer.") from error
    except asyncpg.InterfaceError as error:
        # Of a connection or a pool that is gone; asyncpg's other complaints are about how it was called.
        if not re.search(r"is clos(ed|ing)|released back", str(error)):
            raise
        raise DatabaseUnavailable("The database does not answer.") from error


def _meaning_of(error: asyncpg.PostgresError) -> DirectoryError | None:
    constraint = getattr(error, "constraint_name", None) or ""
    rule = CONSTRAINT_MESSAGES.get(constraint)
    if rule is not None:
        return InvalidInput(rule.sentence, field=rule.field, code=constraint)
    if isinstance(error, asyncpg.NotNullViolationError):
        column = str(error.column_name)
        return InvalidInput(
            f"The {column.replace('_', ' ')} can't be empty.", field=column, code="value_missing"
        )
    return next(
        (meaning(sentence) for kinds, meaning, sentence in _KINDS if isinstance(error, kinds)), None
    )


_KINDS: list[tuple[tuple[type[asyncpg.PostgresError], ...], type[DirectoryError], str]] = [
    ((asyncpg.IntegrityConstraintViolationError,), InvalidInput, "The database refuses this."),
    (
        (asyncpg.StringDataRightTruncationError, asyncpg.CharacterNotInRepertoireError),
        InvalidInput,
        "A text is too long, or holds a character that can't be stored.",
    ),
    (
        (asyncpg.DataError, asyncpg.UntranslatableCharacterError),
        InvalidInput,
        "A value is out of range, or holds a character that can't be stored.",
    ),
    (
        (asyncpg.InFailedSQLTransactionError,),
        TransactionFailed,
        "An earlier step of this transaction was refused: begin again, or give such a step a transaction of its own.",
    ),
    (
        (asyncpg.InsufficientPrivilegeError,),
        NotAllowed,
        "This program's database login may not do that.",
    ),
    (
        (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError),
        SchemaMissing,
        "The database's tables are missing, or of another version: run the migrations first.",
    ),
    (
        (asyncpg.ProgramLimitExceededError,),
        InvalidInput,
        "A value is too long, or nested too deeply.",
    ),
    (
        (asyncpg.ReadOnlySQLTransactionError,),
        DatabaseUnavailable,
        "This database server only reads at the moment: nothing was written.",
    ),
    (
        (
            asyncpg.TransactionRollbackError,
            asyncpg.LockNotAvailableError,
            asyncpg.QueryCanceledError,
            # inside a transaction, after somebody changed a table's columns
            asyncpg.InvalidCachedStatementError,
        ),
        DatabaseUnavailable,
        "The database is busy: try again.",
    ),
    (
        (
            asyncpg.PostgresConnectionError,
            asyncpg.OperatorInterventionError,
            asyncpg.InsufficientResourcesError,
            # what a pool hears that opens another connection: closed to all, gone, or not for this login
            asyncpg.ObjectNotInPrerequisiteStateError,
            asyncpg.InvalidCatalogNameError,
            asyncpg.InvalidAuthorizationSpecificationError,
        ),
        DatabaseUnavailable,
        "The database does not answer.",
    ),
]
