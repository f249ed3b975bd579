"""What acts are made of: their kinds, those whom they affect, and those whom they leave out."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from community_directory.error_texts import LEFT_OUT_TEXTS
from community_directory.tables import MemberStatus


class ActKind(StrEnum):
    """What a manager does to one member, or to many at once."""

    APPROVE = "approve"
    DECLINE = "decline"
    SUSPEND = "suspend"
    REINSTATE = "reinstate"
    BAN = "ban"
    REMOVE = "remove"
    CANCEL_INVITATIONS = "cancel_invitations"
    MOVE = "move"
    UNDO = "undo"


class LeftOutCode(StrEnum):
    """Why an act leaves a member out."""

    ALREADY_ACTIVE = "already_active"
    ALREADY_BANNED = "already_banned"
    ALREADY_DECLINED = "already_declined"
    ALREADY_SUSPENDED = "already_suspended"
    ALREADY_THERE = "already_there"
    BANNED = "banned"
    BOT = "bot"
    CHANGED = "changed"
    CIRCLE = "circle"
    CONTACT = "contact"
    ELSEWHERE = "elsewhere"
    IS_ACTIVE = "is_active"
    IS_SUSPENDED = "is_suspended"
    MANAGER = "manager"
    MERGED = "merged"
    NO_INVITATIONS = "no_invitations"
    PENDING = "pending"
    REMOVED = "removed"
    UNKNOWN = "unknown"


UNDO_WINDOW = timedelta(minutes=10)
"""The time in which an act can be undone."""
UNDOABLE_KINDS = frozenset({ActKind.APPROVE, ActKind.DECLINE})
"""The kinds of acts that can be undone."""
REMOVED_STATE = "removed"
"""The state of a removed member, whatever the status is."""


@dataclass(frozen=True, slots=True)
class ActMember:
    """A member whom an act affects.

    Attributes:
        member_id: The number of the member.
        name: The name of the member, as it is now.
        state: The status before the act, or "removed".
    """

    member_id: str
    name: str
    state: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A member whom an act does not affect.

    Attributes:
        member_id: The number that was asked for.
        name: The name of the member; None if no member has this number.
        code: Why the act leaves the member out.
    """

    member_id: str
    name: str | None
    code: LeftOutCode

    @property
    def sentence(self) -> str:
        """The reason as an English text of the catalogs."""
        return LEFT_OUT_TEXTS[self.code]


@dataclass(frozen=True, slots=True)
class ActPreview:
    """What an act would do now.

    Attributes:
        kind: What the act does.
        affected: The members whom it affects.
        left_out: The members whom it leaves out.
        invitations: The number of open invitations of those whom it affects.
    """

    kind: ActKind
    affected: tuple[ActMember, ...]
    left_out: tuple[LeftOut, ...]
    invitations: int

    @property
    def states(self) -> Mapping[str, str]:
        """The state of each affected member by number: the frozen list for `acts.apply`."""
        return {member.member_id: member.state for member in self.affected}


@dataclass(frozen=True, slots=True)
class Act:
    """What somebody did to one member, or to many at once, in one transaction.

    Attributes:
        id: The id of the act, which all its entries in the audit log have.
        kind: What the act did.
        actor: The author of the act.
        reason: Why.
        acted_at: The time of the act, aware and in UTC.
        undoable_until: The time until which the act can be undone; None if it can't.
        members: The members whom the act affected.
        left_out: The members whom it left out. Nothing keeps them: an act of the log has none.
        invitations: The number of invitations that the act cancelled.
        undoes: The act that this act has undone; None if it is not of the kind `undo`.
        undone_by: The act that has undone this one; None if nobody has.
    """

    id: UUID
    kind: ActKind
    actor: str
    reason: str | None
    acted_at: datetime
    undoable_until: datetime | None
    members: tuple[ActMember, ...]
    left_out: tuple[LeftOut, ...] = ()
    invitations: int = 0
    undoes: UUID | None = None
    undone_by: UUID | None = None


_ALREADY = {
    MemberStatus.ACTIVE: LeftOutCode.ALREADY_ACTIVE,
    MemberStatus.BANNED: LeftOutCode.ALREADY_BANNED,
    MemberStatus.NOT_MEMBER: LeftOutCode.ALREADY_DECLINED,
    MemberStatus.SUSPENDED: LeftOutCode.ALREADY_SUSPENDED,
}
_OTHERWISE = {
    MemberStatus.ACTIVE: LeftOutCode.IS_ACTIVE,
    MemberStatus.BANNED: LeftOutCode.BANNED,
    MemberStatus.NOT_MEMBER: LeftOutCode.CONTACT,
    MemberStatus.PENDING: LeftOutCode.PENDING,
    MemberStatus.SUSPENDED: LeftOutCode.IS_SUSPENDED,
}


def explain_status(status: MemberStatus, after: MemberStatus) -> LeftOutCode:
    """Return why a member with this status can't get another one."""
    return _ALREADY[status] if status is after else _OTHERWISE[status]
