"""The errors of this package.

Every error is a `DirectoryError` of one of two families. The message of a `UserError` may be shown
to anybody; the message of an `OperatorError` is for the operator of the program. Each class has a
stable `code`. `database_errors` translates the exceptions of asyncpg into these errors.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import NamedTuple

import asyncpg

from community_directory.constraints import CONSTRAINT_MESSAGES

MAX_QUOTED_LENGTH = 40
"""The maximum number of characters that a message quotes from somebody's input."""
NO_ANSWER_MESSAGE = "The database does not answer."
BUSY_RETRY_SECONDS = 1.0
"""The time after which it makes sense to repeat a call for which the database was too busy."""


def sanitize_for_message(value: object) -> str:
    """Return the value in a form that a message can quote: short, printable and on one line.

    Letters, digits, emoji and some punctuation are kept. The punctuation of markup, and characters
    that are invisible or change the direction of the text, become �.
    """
    try:
        text = str(value)
    except ValueError:
        text = "�"  # Python refuses to convert an integer of thousands of digits
    text = re.sub(r"[^\w #@.,:'+-]", _replace_unsafe, text[: MAX_QUOTED_LENGTH + 1])
    return text if len(text) <= MAX_QUOTED_LENGTH else f"{text[: MAX_QUOTED_LENGTH - 1]}…"


def _replace_unsafe(match: re.Match[str]) -> str:
    character = match[0]
    return character if character.isprintable() and not character.isascii() else "�"


def _format_status(status: str) -> str:
    return sanitize_for_message(status).replace("_", " ")


class DirectoryError(Exception):
    """The base class of every error that this package raises on purpose.

    Attributes:
        code: A stable name, such as "invitation_expired", that a program can compare or translate.
    """

    code: str = "directory_error"

    @property
    def public_message(self) -> str:
        """The message that anybody may read; an `OperatorError` has a general one."""
        return str(self)


class UserError(DirectoryError):
    """The base class of the errors whose message may be shown to anybody, for example in a chat."""

    code = "user_error"


class OperatorError(DirectoryError):
    """The base class of the errors that concern the operator of the program, not its users.

    They are about settings, the schema, privileges and availability. Their messages belong in a
    log.

    Attributes:
        public_message: The message to show in a chat instead.
    """

    code = "operator_error"
    public_message = "The directory is not available at the moment. Please try again later."


class ConfigurationError(OperatorError):
    """A setting is wrong or missing; raised when the settings are read or used."""

    code = "configuration_error"


class NotConnected(OperatorError):
    """A query found no open connection pool, or the pool that its task used before was closed."""

    code = "not_connected"

    def __init__(
        self,
        message: str = "Not connected to the directory. Call the helpers inside "
        "`async with connect():`, or call `await connect()` when the program starts.",
    ) -> None:
        super().__init__(message)


class AlreadyConnected(OperatorError):
    """`connect` was called while a connection pool was open: a process can have one at a time."""

    code = "already_connected"

    def __init__(self) -> None:
        super().__init__(
            "This process is already connected to the directory. Close that connection first."
        )


class DatabaseUnavailable(OperatorError):
    """PostgreSQL can't be reached, refuses the connection, is busy, or is read-only.

    After an error for want of an answer, the database may or may not have stored the change.

    Attributes:
        retry_after: The number of seconds after which another try makes sense, where it is known.
    """

    code = "database_unavailable"

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class MigrationFailed(OperatorError):
    """A migration failed; the schema is as it was before."""

    code = "migration_failed"


class BackupFailed(OperatorError):
    """A backup can't be written, read or restored; the database is as it was before."""

    code = "backup_failed"


class BackupRunning(BackupFailed):
    """Another process is writing the same backup."""

    code = "backup_running"


class ConsumerInUse(OperatorError):
    """A consumer of the change feed can't be forgotten while a program follows it.

    Attributes:
        consumer: The name of the consumer.
    """

    code = "consumer_in_use"

    def __init__(self, consumer: str) -> None:
        super().__init__(
            f"A program follows the consumer {consumer} at the moment. Stop it, and try again."
        )
        self.consumer = consumer


class NotAllowed(OperatorError):
    """The database role of the program lacks a privilege that a statement needs."""

    code = "not_allowed"


class TransactionFailed(OperatorError):
    """A transaction can't continue: a statement failed, it ended, or two tasks use it at once."""

    code = "transaction_failed"


class SchemaMissing(OperatorError):
    """A statement needs a table or column that does not exist: the migrations have not run."""

    code = "schema_missing"


class InvalidInput(UserError):
    """A value can't be stored or understood.

    Attributes:
        field: The name of the value, where it is known.
        limit: The maximum length or number that the value may have, where there is one.
        code: "invalid_input", "text_too_long", "value_missing", or the name of the constraint that
            refused the value.
    """

    code = "invalid_input"

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        limit: int | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.field, self.limit = field, limit
        if code is not None:
            self.code = code


def text_too_long(field: str, length: int, limit: int) -> InvalidInput:
    """Return the error for a text that is longer than its field allows."""
    name = field.replace("_", " ")
    message = f"The {name} has {length:,} characters; at most {limit:,} are allowed."
    return InvalidInput(message, field=field, limit=limit, code="text_too_long")


class InvalidCursor(InvalidInput):
    """The cursor of a page comes from another query, was changed, or its row is gone.

    Attributes:
        field: Always "after", the parameter that takes the cursor.
    """

    code = "invalid_cursor"

    def __init__(self) -> None:
        super().__init__(
            "This page can't be continued. Start again with the first page.", field="after"
        )


class EventArchived(InvalidInput):
    """The event is older than the events that are kept: its day has become daily counts for good.

    Attributes:
        closed_before: The time before which events are refused.
        field: Always "occurred_at".
    """

    code = "event_archived"

    def __init__(self, closed_before: datetime) -> None:
        super().__init__(
            "This event is older than the events that are kept: those before "
            f"{closed_before:%Y-%m-%d %H:%M} UTC are archived.",
            field="occurred_at",
        )
        self.closed_before = closed_before


class MemberError(UserError):
    """The base class of the errors about one member.

    Attributes:
        member_id: The number of the member, or the id by which the caller looked for one.
    """

    code = "member_error"

    def __init__(self, message: str, member_id: str) -> None:
        super().__init__(message)
        self.member_id = member_id


class MemberNotFound(MemberError):
    """No member has this number or id, or the member was removed.

    Attributes:
        member_id: The number or id by which the caller looked for the member.
    """

    code = "member_not_found"

    def __init__(self, member_id: str) -> None:
        super().__init__(f"There is no member {sanitize_for_message(member_id)}.", member_id)


class MemberMerged(MemberNotFound):
    """The member was merged into another one, whose number has to be named for this change.

    Attributes:
        member_id: The number of the merged member.
        merged_into: The number of the other member.
    """

    code = "member_merged"

    def __init__(self, member_id: str, merged_into: str) -> None:
        super().__init__(member_id)
        self.args = (f"{member_id} was merged into {merged_into}. Use {merged_into}.",)
        self.merged_into = merged_into


class MemberExists(MemberError):
    """An account already belongs to another member.

    Attributes:
        member_id: The number of the other member; the account itself, or the GitHub username, if
            both get it at the same time, and the number can't be looked up.
    """

    code = "member_exists"


class AmbiguousMember(InvalidInput):
    """A text means several members.

    Attributes:
        field: Always "member_id".
        member_ids: The numbers of these members, at most 20.
    """

    code = "ambiguous_member"

    def __init__(self, member_ids: Sequence[str]) -> None:
        super().__init__(
            f"Several members match: {', '.join(member_ids)}. Give the number of the one you mean.",
            field="member_id",
        )
        self.member_ids = list(member_ids)


class AccountTaken(MemberError):
    """An account belongs to another member than the one to whom it is to be linked.

    Attributes:
        member_id: The number of the other member.
    """

    code = "account_taken"

    def __init__(self, member_id: str) -> None:
        super().__init__(
            f"This account belongs to member {sanitize_for_message(member_id)}. "
            "If both are the same person, ask a community manager to merge them.",
            member_id,
        )


class LinkCodeInvalid(UserError):
    """A code that links two accounts is wrong, has expired, or was used by another account."""

    code = "link_code_invalid"

    def __init__(self) -> None:
        super().__init__(
            "This code is wrong or has expired. Ask for a new one on your other account."
        )


class TooManyTries(UserError):
    """An account has typed so many wrong codes that it has to wait.

    Attributes:
        retry_at: The time from which the account can try again.
    """

    code = "too_many_tries"

    def __init__(self, retry_at: datetime) -> None:
        super().__init__("There were too many wrong codes. Try again in ten minutes.")
        self.retry_at = retry_at


class AlreadyMember(MemberError):
    """A person who is already a member (pending, active or suspended) redeems an invitation.

    Attributes:
        member_id: The number of this member.
    """

    code = "already_member"

    def __init__(self, member_id: str) -> None:
        super().__init__("You are already a member.", member_id)


class MemberBanned(UserError):
    """A banned person is added, or redeems an invitation."""

    code = "member_banned"

    def __init__(self) -> None:
        super().__init__("This person is banned. If that is a mistake, ask a community manager.")


class BotRefused(UserError):
    """An account that is known as a bot invites, is invited, or redeems an invitation."""

    code = "bot_refused"

    def __init__(self) -> None:
        super().__init__(
            "This account is known as a bot, and bots can't invite or join. "
            "If that is a mistake, ask a community manager."
        )


class MemberNotActive(MemberError):
    """A call needs an active member, for example as inviter, and this member is not active.

    Attributes:
        member_id: The number of the member.
        status: The status of the member.
    """

    code = "member_not_active"

    def __init__(self, member_id: str, status: str) -> None:
        super().__init__(
            "Only an active member can do this. "
            f"The status of member {sanitize_for_message(member_id)} is {_format_status(status)}.",
            member_id,
        )
        self.status = status


class PermissionRequired(MemberError):
    """A call needs a member with a certain permission, and this member does not hold it.

    Attributes:
        member_id: The number of the member.
        permission: The permission that the member lacks.
    """

    code = "permission_required"

    def __init__(self, member_id: str, permission: str) -> None:
        super().__init__(
            f"This needs the permission {sanitize_for_message(permission)}, "
            f"which member {sanitize_for_message(member_id)} does not have.",
            member_id,
        )
        self.permission = permission


class ProfileChanged(MemberError):
    """Somebody else has changed a field of a profile since the caller read it.

    Attributes:
        member_id: The number of the member.
        field: The name of the field; of several changed ones, the first.
    """

    code = "profile_changed"

    def __init__(self, member_id: str, field: str) -> None:
        super().__init__(
            f"Somebody else has changed the {field.replace('_', ' ')} in the meantime. "
            "Look at the present value, and save again if yours is to replace it.",
            member_id,
        )
        self.field = field


class StatusChangeRefused(MemberError):
    """A member can't change from one status to another, or already has the new one.

    Attributes:
        member_id: The number of the member.
        before: The status of the member.
        after: The requested status.
    """

    code = "status_change_refused"

    def __init__(self, member_id: str, before: str, after: str) -> None:
        member = f"The status of member {sanitize_for_message(member_id)}"
        if before == after:
            message = f"{member} is already {_format_status(after)}."
        else:
            message = (
                f"{member} can't change from {_format_status(before)} to {_format_status(after)}."
            )
        super().__init__(message, member_id)
        self.before, self.after = before, after


class MergeRefused(MemberError):
    """Two members can't be merged, or a merge can't be undone.

    Attributes:
        member_id: The number of the member who should be merged, or come back.
    """

    code = "merge_refused"


class NoteNotFound(UserError):
    """There is no such note about a member, or it was removed."""

    code = "note_not_found"

    def __init__(self) -> None:
        super().__init__("This note does not exist any more.")


class NotMerged(MemberError):
    """A merge should be undone, and no member with this number is merged into another one.

    Attributes:
        member_id: The number or the id by which the caller looked for the merge.
    """

    code = "not_merged"

    def __init__(self, member_id: str) -> None:
        super().__init__(
            f"{sanitize_for_message(member_id)} is not merged into another member.", member_id
        )


class ActError(UserError):
    """The base class of the errors about one act of a manager.

    Attributes:
        act_id: The id of the act, as a text.
    """

    code = "act_error"

    def __init__(self, message: str, act_id: str) -> None:
        super().__init__(message)
        self.act_id = act_id


class ActNotFound(ActError):
    """The audit log has no act with this id."""

    code = "act_not_found"

    def __init__(self, act_id: str) -> None:
        super().__init__("There is no such act in the log.", act_id)


class ActNotUndoable(ActError):
    """An act of this kind can't be undone."""

    code = "act_not_undoable"

    def __init__(self, act_id: str) -> None:
        super().__init__("Only approving and declining can be undone.", act_id)


class ActUndone(ActError):
    """The act was undone before."""

    code = "act_undone"

    def __init__(self, act_id: str) -> None:
        super().__init__("This was undone already.", act_id)


class UndoExpired(ActError):
    """The time is over in which the act could be undone.

    Attributes:
        act_id: The id of the act, as a text.
        expired_at: The end of that time.
    """

    code = "undo_expired"

    def __init__(self, act_id: str, expired_at: datetime) -> None:
        super().__init__(
            "This can't be undone any more. Change the status of each person instead.", act_id
        )
        self.expired_at = expired_at


class InvitationError(UserError):
    """The base class of the errors about one invitation.

    Attributes:
        invitation_code: The code that the caller gave.
    """

    code = "invitation_error"

    def __init__(self, message: str, invitation_code: str) -> None:
        super().__init__(message)
        self.invitation_code = invitation_code


class InvitationNotFound(InvitationError):
    """No invitation has this code.

    Attributes:
        invitation_code: The code that the caller gave.
    """

    code = "invitation_not_found"

    def __init__(self, invitation_code: str) -> None:
        super().__init__(
            "There is no invitation with this code. Check it for typing mistakes.", invitation_code
        )


class InvitationExpired(InvitationError):
    """An invitation is used after it has expired.

    Attributes:
        invitation_code: The code that the caller gave.
        expired_at: The time until which the invitation was open.
    """

    code = "invitation_expired"

    def __init__(self, invitation_code: str, expired_at: datetime) -> None:
        super().__init__(
            "This code has expired. Ask whoever invited you for a new one.", invitation_code
        )
        self.expired_at = expired_at


class InvitationCancelled(InvitationError):
    """A cancelled invitation is used, or one whose creator is no longer an active member.

    Attributes:
        invitation_code: The code that the caller gave.
    """

    code = "invitation_cancelled"

    def __init__(self, invitation_code: str) -> None:
        super().__init__(
            "This code is no longer valid. Ask whoever invited you for a new one.", invitation_code
        )


class InvitationUsed(InvitationError):
    """An invitation is used again after somebody has joined with it.

    Attributes:
        invitation_code: The code that the caller gave.
    """

    code = "invitation_used"

    def __init__(self, invitation_code: str) -> None:
        super().__init__(
            "This code has already been used. Ask whoever invited you for a new one.",
            invitation_code,
        )


class InvitationForSomeoneElse(InvitationError):
    """A person redeems an invitation that is for another Telegram username.

    Attributes:
        invitation_code: The code that the caller gave.
    """

    code = "invitation_for_someone_else"

    def __init__(self, invitation_code: str) -> None:
        super().__init__(
            "This code is meant for somebody else. Ask whoever invited you for one of your own.",
            invitation_code,
        )


class InvitationQuotaExceeded(MemberError):
    """A member has as many open invitations, or invitations in seven days, as they may have.

    Attributes:
        member_id: The number of the member.
        limit: The number of invitations that the member may have.
        period: The time in which the limit counts new invitations; None if it counts open ones.
        next_at: The time from which the member can invite again, at the latest; None for a limit of
            zero.
    """

    code = "invitation_quota_exceeded"

    def __init__(
        self, member_id: str, limit: int, period: timedelta | None, next_at: datetime | None
    ) -> None:
        member = f"Member {sanitize_for_message(member_id)}"
        if next_at is None:
            message = f"{member} can't invite anybody. Ask a community manager."
        elif period is None:
            message = (
                f"{member} has {limit:,} open invitations, and can't have more. The next one is "
                f"free on {next_at:%Y-%m-%d at %H:%M} UTC, or when one is used or cancelled."
            )
        else:
            message = (
                f"{member} has created {limit:,} invitations in {period.days} days, and can't "
                f"create more. The next one is free on {next_at:%Y-%m-%d at %H:%M} UTC."
            )
        super().__init__(message, member_id)
        self.limit, self.period, self.next_at = limit, period, next_at


SHARD_NAME_PATTERN = re.compile(r'"(\w+?)(?:_[0-9]{6,})?"')
"""A quoted name in a message, without the number of a shard."""


@contextmanager
def database_errors() -> Iterator[None]:
    """Translate the exceptions of asyncpg that are raised inside into the errors of this module.

    An exception that points to a defect of the program, such as a syntax error, stays as it is.
    """
    try:
        yield
    except asyncpg.PostgresError as error:
        translated = _translate_error(error)
        if translated is None:
            raise
        raise translated from error
    except (OSError, asyncpg.InternalClientError) as error:
        # asyncpg raises InternalClientError when the connection is cut while it reads a response.
        raise DatabaseUnavailable(NO_ANSWER_MESSAGE) from error
    except asyncpg.InterfaceError as error:
        # An error about a closed connection means that the database is unavailable. The others are
        # about wrong arguments, which is a defect of the program.
        if "is closed" not in str(error):
            raise
        raise DatabaseUnavailable(NO_ANSWER_MESSAGE) from error


def _translate_error(error: asyncpg.PostgresError) -> DirectoryError | None:
    """Return the error of this module that replaces an exception; None for a program's defect."""
    constraint = _find_name(error, "constraint_name", position=-1)
    explained = CONSTRAINT_MESSAGES.get(constraint)
    if explained is not None:
        return InvalidInput(explained.message, field=explained.field, code=constraint)
    if isinstance(error, asyncpg.NotNullViolationError):
        column = _find_name(error, "column_name", position=0)
        return InvalidInput(
            f"The {column.replace('_', ' ')} can't be empty.", field=column, code="value_missing"
        )
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        # The message of the server names the table or the function.
        reason = str(error).partition("\n")[0]
        return NotAllowed(
            f"The database role of this program may not do that: {reason}. "
            "Grant what it needs with the SQL that `community-directory roles` prints."
        )
    for translation in _TRANSLATIONS:
        if isinstance(error, translation.driver_errors):
            return translation.directory_error(translation.message)
    return None


def _find_name(error: asyncpg.PostgresError, field: str, *, position: int) -> str:
    """Return a name of a violated rule, or "".

    Citus passes on the message of a worker without the field. It ends the names of shards and of
    some of their constraints with a number.

    Args:
        error: The exception.
        field: The field of the name.
        position: The position of the name in the message.
    """
    name: str | None = getattr(error, field, None)
    if name is not None or not isinstance(error, asyncpg.IntegrityConstraintViolationError):
        return name or ""
    names = SHARD_NAME_PATTERN.findall(str(error).partition("\n")[0])
    return names[position] if names else ""


class _Translation(NamedTuple):
    driver_errors: tuple[type[asyncpg.PostgresError], ...]
    directory_error: Callable[[str], DirectoryError]
    message: str


def _database_busy(message: str) -> DatabaseUnavailable:
    return DatabaseUnavailable(message, retry_after=BUSY_RETRY_SECONDS)


# The first translation that matches applies, so a special exception comes before a general one.
_TRANSLATIONS = [
    _Translation(
        (asyncpg.IntegrityConstraintViolationError,),
        InvalidInput,
        "The database does not accept this value.",
    ),
    _Translation(
        (asyncpg.StringDataRightTruncationError, asyncpg.CharacterNotInRepertoireError),
        InvalidInput,
        "A text is too long, or contains a character that can't be stored.",
    ),
    _Translation(
        (asyncpg.DataError, asyncpg.UntranslatableCharacterError),
        InvalidInput,
        "A value is out of range, or contains a character that can't be stored.",
    ),
    _Translation(
        (asyncpg.InFailedSQLTransactionError,),
        TransactionFailed,
        "An earlier statement of this transaction failed. Begin again, "
        "or give a statement that may fail a transaction of its own.",
    ),
    _Translation(
        (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError),
        SchemaMissing,
        "The database's tables are missing, or of another version. Run the migrations first.",
    ),
    _Translation(
        (asyncpg.ProgramLimitExceededError,),
        InvalidInput,
        "A value is too long, or nested too deeply.",
    ),
    _Translation(
        # The next transaction may run on another connection of PgBouncer to the server.
        (asyncpg.DuplicatePreparedStatementError, asyncpg.InvalidSQLStatementNameError),
        ConfigurationError,
        "The database's PgBouncer does not support prepared statements. "
        "Set DIRECTORY_STATEMENT_CACHE_SIZE to 0.",
    ),
    _Translation(
        (asyncpg.ReadOnlySQLTransactionError,),
        DatabaseUnavailable,
        "The database server is read-only at the moment. Nothing was written.",
    ),
    _Translation(
        (
            asyncpg.TransactionRollbackError,
            asyncpg.LockNotAvailableError,
            asyncpg.QueryCanceledError,
            # Raised inside a transaction after another session changed a table's columns.
            asyncpg.InvalidCachedStatementError,
        ),
        _database_busy,
        "The database is busy. Try again in a moment.",
    ),
    _Translation(
        (
            asyncpg.PostgresConnectionError,
            asyncpg.OperatorInterventionError,
            asyncpg.InsufficientResourcesError,
            # Raised when a pool opens another connection to a database that accepts none, is gone,
            # or no longer admits this login.
            asyncpg.ObjectNotInPrerequisiteStateError,
            asyncpg.InvalidCatalogNameError,
            asyncpg.InvalidAuthorizationSpecificationError,
        ),
        DatabaseUnavailable,
        NO_ANSWER_MESSAGE,
    ),
]
