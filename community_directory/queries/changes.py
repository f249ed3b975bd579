"""The entries of the audit log as changes: each has a kind, which says what happened.

Callers use them as `audit.Change` and `audit.ChangeKind`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self
from uuid import UUID

import asyncpg

from community_directory.tables import (
    AuditAction,
    InvitationStatus,
    MemberStatus,
    ReputationTier,
)

CHANGE_COLUMNS = (
    "id, changed_at, actor, reason, action, table_name, row_id, member_id, changes, act_id, "
    "undone_act_id"
)
"""The columns of the audit log from which a `Change` is made."""

TIERS = tuple(ReputationTier)
"""The tiers, lowest first."""

PROFILE_FIELDS = frozenset(
    {
        "telegram_id",
        "telegram_username",
        "name",
        "primary_role",
        "organization",
        "country",
        "profile_data",
        "github_username",
        "github_verified",
        "github_profile_data",
    }
)


class ChangeKind(StrEnum):
    """What happened; the reference has a table of all kinds."""

    MEMBER_ADDED = "member_added"
    MEMBER_JOINED = "member_joined"
    MEMBER_APPROVED = "member_approved"
    MEMBER_UNAPPROVED = "member_unapproved"
    MEMBER_DECLINED = "member_declined"
    MEMBER_UNDECLINED = "member_undeclined"
    MEMBER_SUSPENDED = "member_suspended"
    MEMBER_REINSTATED = "member_reinstated"
    SUSPENSION_CHANGED = "suspension_changed"
    MEMBER_BANNED = "member_banned"
    MEMBER_UNBANNED = "member_unbanned"
    MEMBER_REMOVED = "member_removed"
    MEMBER_RESTORED = "member_restored"
    MEMBER_MERGED = "member_merged"
    MEMBER_UNMERGED = "member_unmerged"
    MEMBER_ERASED = "member_erased"
    TIER_REACHED = "tier_reached"
    TIER_LOST = "tier_lost"
    PROFILE_CHANGED = "profile_changed"
    INVITATION_CREATED = "invitation_created"
    INVITATION_REDEEMED = "invitation_redeemed"
    INVITATION_EXTENDED = "invitation_extended"
    INVITATION_CANCELLED = "invitation_cancelled"
    INVITATION_EXPIRED = "invitation_expired"
    ACCOUNT_LINKED = "account_linked"
    ACCOUNT_UNLINKED = "account_unlinked"
    PERMISSION_GRANTED = "permission_granted"
    PERMISSION_REVOKED = "permission_revoked"
    NOTE_ADDED = "note_added"
    NOTE_REMOVED = "note_removed"
    OTHER = "other"


STATUS_KINDS = {
    (MemberStatus.NOT_MEMBER, MemberStatus.PENDING): ChangeKind.MEMBER_JOINED,
    (MemberStatus.PENDING, MemberStatus.NOT_MEMBER): ChangeKind.MEMBER_DECLINED,
    (MemberStatus.PENDING, MemberStatus.ACTIVE): ChangeKind.MEMBER_APPROVED,
    (MemberStatus.ACTIVE, MemberStatus.PENDING): ChangeKind.MEMBER_UNAPPROVED,
    (MemberStatus.ACTIVE, MemberStatus.SUSPENDED): ChangeKind.MEMBER_SUSPENDED,
    (MemberStatus.SUSPENDED, MemberStatus.ACTIVE): ChangeKind.MEMBER_REINSTATED,
    (MemberStatus.BANNED, MemberStatus.ACTIVE): ChangeKind.MEMBER_UNBANNED,
}
"""The kinds of the changes of a status, by the old and the new one."""

INVITATION_KINDS = {
    InvitationStatus.ACCEPTED: ChangeKind.INVITATION_REDEEMED,
    InvitationStatus.CANCELLED: ChangeKind.INVITATION_CANCELLED,
    InvitationStatus.EXPIRED: ChangeKind.INVITATION_EXPIRED,
    # An expired invitation that is extended is open again.
    InvitationStatus.PENDING: ChangeKind.INVITATION_EXTENDED,
}
"""The kinds of the changes of an invitation's status, by the new one."""

ROW_KINDS = {
    ("community_invitations", AuditAction.INSERT): ChangeKind.INVITATION_CREATED,
    ("member_accounts", AuditAction.INSERT): ChangeKind.ACCOUNT_LINKED,
    ("member_accounts", AuditAction.DELETE): ChangeKind.ACCOUNT_UNLINKED,
    ("member_notes", AuditAction.INSERT): ChangeKind.NOTE_ADDED,
    ("member_notes", AuditAction.DELETE): ChangeKind.NOTE_REMOVED,
    ("member_permissions", AuditAction.INSERT): ChangeKind.PERMISSION_GRANTED,
    ("member_permissions", AuditAction.DELETE): ChangeKind.PERMISSION_REVOKED,
}
"""The kinds of changes that the table and the action tell alone."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of one row, from the audit log.

    `changes` maps each changed column to a list of its old and its new value, as JSON values. The
    entry of an erasure has `{"erased": [False, True]}` instead, and all older entries of the person
    have lost their personal values.

    Attributes:
        id: The number of the entry; later changes of the same row have higher numbers.
        kind: What happened.
        member_id: The changed member, or the member who created the changed invitation.
        invitation_id: The changed invitation; None if another row changed.
        row_id: The primary key of the changed row.
        act_id: The act of a manager to which the change belongs, as `acts.get` returns it; None if
            it belongs to none.
        undone_act_id: The act that the change has undone; None for most changes.
    """

    id: int
    kind: ChangeKind
    changed_at: datetime
    actor: str
    reason: str | None
    action: AuditAction
    table_name: str
    row_id: UUID
    member_id: str
    invitation_id: UUID | None
    changes: Mapping[str, list[Any]]
    act_id: UUID | None
    undone_act_id: UUID | None

    @classmethod
    def from_record(cls, record: asyncpg.Record) -> Self:
        """Return the change of a row with `CHANGE_COLUMNS`."""
        values: dict[str, Any] = {
            **record,
            "action": AuditAction(record["action"]),
            "changes": json.loads(record["changes"]),
        }
        table_name = values["table_name"]
        kind = find_kind(table_name, values["action"], values["changes"])
        if kind is ChangeKind.MEMBER_JOINED and values["undone_act_id"] is not None:
            # Somebody who was declined waits again, and has not joined a second time.
            kind = ChangeKind.MEMBER_UNDECLINED
        return cls(
            **values,
            kind=kind,
            invitation_id=values["row_id"] if table_name == "community_invitations" else None,
        )


def find_kind(table_name: str, action: AuditAction, changes: Mapping[str, list[Any]]) -> ChangeKind:
    """Return the kind of a change; the first that applies, if a change has several."""
    if table_name == "community_members":
        return _find_member_kind(action, changes)
    if table_name == "community_invitations" and action is AuditAction.UPDATE:
        if "status" in changes:
            return INVITATION_KINDS[InvitationStatus(changes["status"][1])]
        return ChangeKind.INVITATION_EXTENDED if "expires_at" in changes else ChangeKind.OTHER
    return ROW_KINDS.get((table_name, action), ChangeKind.OTHER)


def _find_member_kind(action: AuditAction, changes: Mapping[str, list[Any]]) -> ChangeKind:
    if action is AuditAction.INSERT:
        is_newcomer = changes["status"][1] == MemberStatus.PENDING
        return ChangeKind.MEMBER_JOINED if is_newcomer else ChangeKind.MEMBER_ADDED
    if action is AuditAction.UPDATE:
        for column, find in _MEMBER_KINDS.items():
            if column in changes:
                return find(*changes[column])
        if not PROFILE_FIELDS.isdisjoint(changes):
            return ChangeKind.PROFILE_CHANGED
    return ChangeKind.OTHER


def _find_status_kind(before: str, after: str) -> ChangeKind:
    if after == MemberStatus.BANNED:
        return ChangeKind.MEMBER_BANNED
    return STATUS_KINDS.get((MemberStatus(before), MemberStatus(after)), ChangeKind.OTHER)


def _find_tier_kind(before: str | None, after: str | None) -> ChangeKind:
    places = [TIERS.index(ReputationTier(tier)) if tier else -1 for tier in (before, after)]
    return ChangeKind.TIER_REACHED if places[0] < places[1] else ChangeKind.TIER_LOST


_MEMBER_KINDS: dict[str, Callable[[Any, Any], ChangeKind]] = {
    "erased": lambda *_: ChangeKind.MEMBER_ERASED,
    "merged_into": lambda _, after: (
        ChangeKind.MEMBER_MERGED if after else ChangeKind.MEMBER_UNMERGED
    ),
    # A removed contact who redeems an invitation joins, and is restored by the same change.
    "status": _find_status_kind,
    "suspended_until": lambda *_: ChangeKind.SUSPENSION_CHANGED,
    "deleted_at": lambda _, after: (
        ChangeKind.MEMBER_REMOVED if after else ChangeKind.MEMBER_RESTORED
    ),
    "reputation_tier": _find_tier_kind,
}
"""The kinds of the updates of a member, by column; the first column that changed counts."""
