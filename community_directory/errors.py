"""What can go wrong: few meanings, each with its data and with a sentence that a person can be shown.

The database refuses by constraint; `database_errors` turns what asyncpg raises into these errors, by the
constraint's name.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

import asyncpg

SHOWN = 40
"""How many characters of somebody's input a sentence repeats."""


def shown(value: object) -> str:
    """What a sentence may repeat of somebody's input: short, printable, on one line."""
    text = re.sub(r"[^\w #@.,:'+-]", "�", str(value)[: SHOWN + 1])
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


class DirectoryError(Exception):
    """The base of every error that this package raises on purpose; its text is one sentence for a person."""


class ConfigurationError(DirectoryError):
    """A setting is wrong or missing."""


class DatabaseUnavailable(DirectoryError):
    """PostgreSQL could not be reached, or refused the connection."""


class MigrationFailed(DirectoryError):
    """The schema could not be brought up to date; it is as it was before."""


class NotAllowed(DirectoryError):
    """Who asks, or the login that the program uses at the database, lacks the right to do this."""


class TransactionFailed(DirectoryError):
    """The caller's transaction is spoilt by what the database refused in it before."""


class SchemaMissing(DirectoryError):
    """The tables are not there, or not as this version knows them: migrations have not run on this database."""


class InvalidInput(DirectoryError):
    """A value can't be stored or understood. `field` names it where that is known."""

    def __init__(self, sentence: str, *, field: str | None = None) -> None:
        super().__init__(sentence)
        self.field = field


class InvalidCursor(InvalidInput):
    """The cursor of a page was not made by this query, or was changed on the way."""

    def __init__(self) -> None:
        super().__init__("This page can't be continued: ask for the first one again.", field="after")


class MemberError(DirectoryError):
    """Something about one member; `member_id` (or another id that was asked for) names them."""

    def __init__(self, sentence: str, member_id: str) -> None:
        super().__init__(sentence)
        self.member_id = member_id


class MemberNotFound(MemberError):
    """Nobody has that number or id, or they were removed."""

    def __init__(self, member_id: str) -> None:
        super().__init__(f"There is no member {shown(member_id)}.", member_id)


class MemberExists(MemberError):
    """Somebody with that number, Telegram id or verified GitHub account is there already."""


class AlreadyMember(MemberError):
    """The person is a member already (pending, active or suspended)."""

    def __init__(self, member_id: str) -> None:
        super().__init__("You are a member already.", member_id)


class MemberBanned(DirectoryError):
    """The person is banned, and stays outside."""

    def __init__(self) -> None:
        super().__init__("This person is banned.")


class MemberNotActive(MemberError):
    """Only an active member can do this."""

    def __init__(self, member_id: str, status: str) -> None:
        super().__init__(f"Member {shown(member_id)} is not active, but {shown(status).replace('_', ' ')}.", member_id)
        self.status = status


class RoleRequired(MemberError):
    """Only an active member of that `role` can do this."""

    def __init__(self, member_id: str, role: str) -> None:
        super().__init__(f"Member {shown(member_id)} does not have the role {shown(role)}.", member_id)
        self.role = role


class StatusChangeRefused(MemberError):
    """The rules know no way from this status to that one. `before` and `after` name them."""

    def __init__(self, member_id: str, before: str, after: str) -> None:
        sentence = f"is {before.replace('_', ' ')} already" if before == after else f"can't go from {before} to {after}"
        super().__init__(f"Member {shown(member_id)} {sentence.replace('_', ' ')}.", member_id)
        self.before, self.after = before, after


class InvitationError(DirectoryError):
    """Something about one invitation; `code` is the one that was given."""

    def __init__(self, sentence: str, code: str) -> None:
        super().__init__(sentence)
        self.code = code


class InvitationNotFound(InvitationError):
    """No invitation has that code."""

    def __init__(self, code: str) -> None:
        super().__init__("There is no such invitation: check the code.", code)


class InvitationExpired(InvitationError):
    """The invitation was open until `expired_at`."""

    def __init__(self, code: str, expired_at: datetime) -> None:
        super().__init__("This invitation has expired: ask for a new one.", code)
        self.expired_at = expired_at


class InvitationCancelled(InvitationError):
    """The invitation was withdrawn, or whoever made it may no longer invite."""

    def __init__(self, code: str) -> None:
        super().__init__("This invitation was withdrawn.", code)


class InvitationUsed(InvitationError):
    """Somebody joined with this code already."""

    def __init__(self, code: str) -> None:
        super().__init__("This invitation has been used already.", code)


class InvitationForSomeoneElse(InvitationError):
    """The invitation names another Telegram username."""

    def __init__(self, code: str) -> None:
        super().__init__("This invitation is meant for someone else.", code)


class Rule(NamedTuple):
    """What a constraint says to a person, and which field it is about."""

    sentence: str
    field: str | None = None


_NO_MEMBER = "There is no such member."
_USERNAME = "A username has no @ in front and no spaces."
_OBJECT = "This must be a JSON object."
_NEGATIVE = "This can't be negative."

RULES = {
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
    "highlight_member_date_idx": Rule("This member has a highlight of that day already.", "highlight_date"),
    "highlight_message_count_check": Rule(_NEGATIVE, "message_count"),
    "highlight_reaction_count_check": Rule(_NEGATIVE, "reaction_count"),
    "highlight_reputation_earned_check": Rule(_NEGATIVE, "reputation_earned"),
    "highlight_voice_minutes_check": Rule(_NEGATIVE, "voice_minutes"),
    "invitation_accepted_at_check": Rule("An accepted invitation says by whom and when.", "accepted_at"),
    "invitation_accepted_by_check": Rule("An invitation is accepted exactly when it says by whom.", "accepted_by"),
    "invitation_code_check": Rule("A code has 8 to 16 letters and digits.", "invitation_code"),
    "invitation_code_idx": Rule("This code is taken.", "invitation_code"),
    "invitation_open_username_idx": Rule("This person has an open invitation.", "invited_telegram_username"),
    "invitation_self_check": Rule("Nobody accepts their own invitation.", "accepted_by"),
    "invitation_status_check": Rule("There is no such status.", "status"),
    "invitation_status_transition": Rule("An accepted or cancelled invitation stays as it is.", "status"),
    "invitation_username_check": Rule(_USERNAME, "invited_telegram_username"),
    "member_daily_highlights_member_id_fkey": Rule(_NO_MEMBER, "member_id"),
    "member_daily_highlights_pkey": Rule("This highlight is there already.", "id"),
    "member_github_profile_data_check": Rule(_OBJECT, "github_profile_data"),
    "member_github_username_check": Rule(_USERNAME, "github_username"),
    "member_github_verified_check": Rule(
        "A verified GitHub account has a username and a time of proof.", "github_verified"
    ),
    "member_github_verified_idx": Rule("This GitHub account belongs to another member.", "github_username"),
    "member_invited_by_acyclic": Rule("This member was invited, in the end, by the other one.", "invited_by"),
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
    "member_status_transition": Rule("The rules know no way from the one status to the other.", "status"),
    "member_telegram_id_check": Rule("A Telegram id is not empty and has no spaces.", "telegram_id"),
    "member_telegram_id_idx": Rule("This Telegram account is known already.", "telegram_id"),
    "member_telegram_username_check": Rule(_USERNAME, "telegram_username"),
    "participation_event_metadata_check": Rule(_OBJECT, "event_metadata"),
    "participation_event_type_check": Rule("An event type is an upper-case name such as MESSAGE.", "event_type"),
    "participation_platform_check": Rule("A platform is a lower-case name such as telegram.", "platform"),
    "participation_room_id_check": Rule("A room's id is not empty.", "room_id"),
    "participation_source_id_check": Rule("An event's id on its platform is not empty.", "source_id"),
    "participation_source_id_key": Rule("This event is there already.", "source_id"),
    "piccolo_user_email_key": Rule("This e-mail address belongs to another user.", "email"),
    "piccolo_user_username_key": Rule("This username is taken.", "username"),
    "relationship_content_check": Rule(_OBJECT, "content"),
    "relationship_entities_check": Rule("Nobody has a relationship with themselves.", "entity_id_b"),
    "relationship_entity_a_check": Rule("An entity's id is not empty and has no spaces.", "entity_id_a"),
    "relationship_entity_a_idx": Rule("This relationship is there already.", "relationship_type"),
    "relationship_entity_b_check": Rule("An entity's id is not empty and has no spaces.", "entity_id_b"),
    "relationship_type_check": Rule("A type is an upper-case name such as MENTORED.", "relationship_type"),
    "member_reputation_shortfall_check": Rule(_NEGATIVE, "reputation_shortfall"),
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
    rule = RULES.get(getattr(error, "constraint_name", None) or "")
    if rule is not None:
        return InvalidInput(rule.sentence, field=rule.field)
    if isinstance(error, asyncpg.NotNullViolationError):
        column = str(error.column_name)
        return InvalidInput(f"The {column.replace('_', ' ')} can't be empty.", field=column)
    return next((meaning(sentence) for kinds, meaning, sentence in _KINDS if isinstance(error, kinds)), None)


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
        "An earlier step of this transaction was refused: begin anew, or give such a step a transaction of its own.",
    ),
    ((asyncpg.InsufficientPrivilegeError,), NotAllowed, "This program's database login may not do that."),
    (
        (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError),
        SchemaMissing,
        "The database's tables are missing, or of another version: run the migrations first.",
    ),
    ((asyncpg.ProgramLimitExceededError,), InvalidInput, "A value is too long, or nested too deeply."),
    (
        (asyncpg.TransactionRollbackError, asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError),
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
