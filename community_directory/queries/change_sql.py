"""The kind of an entry of the audit log as an expression in SQL, made from the rules of `changes`.

A test compares it with `find_kind`.
"""

from collections.abc import Iterable

from community_directory.queries.changes import (
    INVITATION_KINDS,
    PROFILE_FIELDS,
    ROW_KINDS,
    STATUS_KINDS,
    TIERS,
    ChangeKind,
)
from community_directory.tables import MemberStatus


def _case(branches: Iterable[tuple[str, str]]) -> str:
    """Return a CASE expression of conditions and results; without a match the kind is "other"."""
    whens = " ".join(f"WHEN {condition} THEN {result}" for condition, result in branches)
    return f"CASE {whens} ELSE '{ChangeKind.OTHER}' END"


def _old_and_new(field: str) -> tuple[str, str]:
    return f"changes #>> '{{{field},0}}'", f"changes #>> '{{{field},1}}'"


def _by_new_value(field: str, kind: ChangeKind, otherwise: ChangeKind) -> str:
    """Return the kind of a field that has a value now, or has none."""
    return f"CASE WHEN {_old_and_new(field)[1]} IS NULL THEN '{otherwise}' ELSE '{kind}' END"


def _status_kind() -> str:
    before, after = _old_and_new("status")
    return _case(
        [
            (f"{after} = '{MemberStatus.BANNED}'", f"'{ChangeKind.MEMBER_BANNED}'"),
            (
                f"undone_act_id IS NOT NULL AND {before} = '{MemberStatus.NOT_MEMBER}'"
                f" AND {after} = '{MemberStatus.PENDING}'",
                f"'{ChangeKind.MEMBER_UNDECLINED}'",
            ),
            *(
                (f"{before} = '{old}' AND {after} = '{new}'", f"'{kind}'")
                for (old, new), kind in STATUS_KINDS.items()
            ),
        ]
    )


def _tier_kind() -> str:
    tiers = ", ".join(f"'{tier}'" for tier in TIERS)
    before, after = (
        f"coalesce(array_position(ARRAY[{tiers}], {value}), 0)"
        for value in _old_and_new("reputation_tier")
    )
    reached, lost = ChangeKind.TIER_REACHED, ChangeKind.TIER_LOST
    return f"CASE WHEN {before} < {after} THEN '{reached}' ELSE '{lost}' END"


_MEMBER_UPDATE = _case(
    [
        ("changes ? 'erased'", f"'{ChangeKind.MEMBER_ERASED}'"),
        (
            "changes ? 'merged_into'",
            _by_new_value("merged_into", ChangeKind.MEMBER_MERGED, ChangeKind.MEMBER_UNMERGED),
        ),
        ("changes ? 'status'", _status_kind()),
        ("changes ? 'suspended_until'", f"'{ChangeKind.SUSPENSION_CHANGED}'"),
        (
            "changes ? 'deleted_at'",
            _by_new_value("deleted_at", ChangeKind.MEMBER_REMOVED, ChangeKind.MEMBER_RESTORED),
        ),
        ("changes ? 'reputation_tier'", _tier_kind()),
        (
            f"changes ?| '{{{','.join(sorted(PROFILE_FIELDS))}}}'",
            f"'{ChangeKind.PROFILE_CHANGED}'",
        ),
    ]
)
_MEMBER_INSERT = (
    f"CASE WHEN changes #>> '{{status,1}}' = '{MemberStatus.PENDING}'"
    f" THEN '{ChangeKind.MEMBER_JOINED}' ELSE '{ChangeKind.MEMBER_ADDED}' END"
)
_INVITATION_UPDATE = _case(
    [
        *(
            (f"changes #>> '{{status,1}}' = '{status}'", f"'{kind}'")
            for status, kind in INVITATION_KINDS.items()
        ),
        ("changes ? 'expires_at'", f"'{ChangeKind.INVITATION_EXTENDED}'"),
    ]
)

KIND_SQL = _case(
    [
        ("table_name = 'community_members' AND action = 'UPDATE'", _MEMBER_UPDATE),
        ("table_name = 'community_members' AND action = 'INSERT'", _MEMBER_INSERT),
        ("table_name = 'community_invitations' AND action = 'UPDATE'", _INVITATION_UPDATE),
        *(
            (f"table_name = '{table}' AND action = '{action}'", f"'{kind}'")
            for (table, action), kind in ROW_KINDS.items()
        ),
    ]
)
"""The SQL of the kind of a row of the audit log, which `Change.from_record` returns as `kind`."""
