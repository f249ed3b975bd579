"""The plan of a merge: what the other member gets, and what stands in the way.

Callers use the types as `members.MergePreview`, `members.MergeConflict`, ….
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

import asyncpg

from community_directory.database import Statement, engine
from community_directory.errors import MemberNotFound
from community_directory.queries.member_rows import MEMBER_COLUMNS, Member, member_from
from community_directory.tables import MemberStatus

__all__ = ["ConflictKind", "MergeConflict", "MergeCounts", "MergePreview"]

MERGED_COLUMNS = (
    "telegram_id",
    "telegram_username",
    "organization",
    "country",
    "github_username",
    "github_verified",
    "github_verified_at",
    "github_profile_data",
    "registration_fee_paid",
    "registration_fee_tx_hash",
    "last_active_at",
    "status",
    "suspended_until",
    "invited_by",
    "profile_data",
)
"""The columns that a merge can change; `profile_data` gets the missing keys."""

STATUS_ORDER = (
    MemberStatus.NOT_MEMBER,
    MemberStatus.PENDING,
    MemberStatus.ACTIVE,
    MemberStatus.SUSPENDED,
    MemberStatus.BANNED,
)
"""The statuses in the order in which they count: the later one of two is that of the person."""

GITHUB_COLUMNS = (
    "github_username",
    "github_verified",
    "github_verified_at",
    "github_profile_data",
)
STATUS_COLUMNS = ("status", "suspended_until")
FEE_COLUMNS = ("registration_fee_paid", "registration_fee_tx_hash")

# Both members, with the number of the one whom each invited, directly or through others.
GET_PAIR = Statement(f"""
WITH RECURSIVE lineage AS (
    SELECT member_id AS descendant, invited_by AS ancestor FROM community_members
    WHERE member_id IN (:duplicate, :into)
    UNION
    SELECT descendant, invited_by
    FROM lineage JOIN community_members AS member ON member.member_id = ancestor
)
SELECT {MEMBER_COLUMNS}, merged_into, reputation_shortfall, reputation_withheld,
    EXISTS (
        SELECT FROM lineage WHERE descendant = member_id AND ancestor IN (:duplicate, :into)
            AND ancestor <> descendant
    ) AS descends_from_other
FROM community_members WHERE member_id IN (:duplicate, :into)
""")

COUNT_ROWS = Statement("""
WITH event AS MATERIALIZED (
    SELECT platform, room_id, source_id, event_type FROM member_participation
    WHERE member_id = :duplicate AND source_id IS NOT NULL
)
SELECT (SELECT count(*) FROM member_participation WHERE member_id = :duplicate),
    (
        SELECT count(*) FROM event
        JOIN member_participation AS kept USING (platform, room_id, source_id, event_type)
        WHERE kept.member_id = :into
    ),
    (SELECT count(*) FROM member_daily_highlights WHERE member_id = :duplicate),
    (
        SELECT count(*) FROM community_invitations
        WHERE created_by = :duplicate OR accepted_by = :duplicate
    ),
    (SELECT count(*) FROM community_members WHERE invited_by = :duplicate AND member_id <> :into),
    (SELECT count(*) FROM member_accounts WHERE member_id = :duplicate),
    (SELECT count(*) FROM member_permissions WHERE member_id = :duplicate),
    (SELECT count(*) FROM community_members WHERE merged_into = :duplicate)
""")


class ConflictKind(StrEnum):
    """The kinds of conflicts between two members."""

    SAME_MEMBER = "same_member"
    REMOVED = "removed"
    """The member who should have everything was removed."""
    ERASED = "erased"
    MERGED = "merged"
    """One of the two was merged before."""
    BOT_AND_PERSON = "bot_and_person"
    STATUSES = "statuses"
    """One is banned or suspended, and the other one is not."""
    LINEAGE = "lineage"
    """One invited the other, directly or through others."""
    INVITERS = "inviters"
    NAMES = "names"
    ROLES = "roles"
    PROFILES = "profiles"
    """The organizations, the countries or other fields of the profile differ."""
    TELEGRAM_ACCOUNTS = "telegram_accounts"
    GITHUB_ACCOUNTS = "github_accounts"


REFUSING_KINDS = frozenset(
    {
        ConflictKind.SAME_MEMBER,
        ConflictKind.REMOVED,
        ConflictKind.ERASED,
        ConflictKind.MERGED,
        ConflictKind.BOT_AND_PERSON,
    }
)
"""The conflicts with which two members can't be merged. The others are told."""


@dataclass(frozen=True, slots=True)
class MergeConflict:
    """A conflict between two members, and a sentence about it that says what a merge does."""

    kind: ConflictKind
    message: str

    @property
    def refuses(self) -> bool:
        """Whether the two can't be merged because of it."""
        return self.kind in REFUSING_KINDS


@dataclass(frozen=True, slots=True)
class MergeCounts:
    """The numbers of rows of the duplicate that a merge moves, or that come back."""

    events: int = 0
    """All events, also those that the other member has, too."""
    collapsed_events: int = 0
    """The events that the other member has, too: they are one."""
    highlights: int = 0
    """The days with highlights; they are counted again."""
    invitations: int = 0
    """The invitations that were created or accepted."""
    children: int = 0
    """The members whom the duplicate invited."""
    accounts: int = 0
    permissions: int = 0
    merged_numbers: int = 0
    """The numbers that led to the duplicate."""


@dataclass(frozen=True, slots=True)
class MergePreview:
    """What a merge would do."""

    duplicate: Member
    into: Member
    counts: MergeCounts
    status: MemberStatus
    """The status after the merge."""
    filled: Mapping[str, Any]
    """The fields that the other member gets, with their values; `profile_data` has the new keys."""
    conflicts: Sequence[MergeConflict]
    """Those that refuse the merge, or else those that do not."""

    @property
    def is_refused(self) -> bool:
        """Whether one of the conflicts refuses the merge."""
        return any(conflict.refuses for conflict in self.conflicts)


class Pair(NamedTuple):
    """The rows of both members."""

    duplicate: asyncpg.Record
    into: asyncpg.Record


async def get_pair(duplicate: str, into: str) -> Pair:
    """Return the rows of two members, who may have been removed.

    Raises:
        MemberNotFound: There is no such member.
    """
    records = await engine.fetch(GET_PAIR, duplicate=duplicate, into=into)
    rows = {record["member_id"]: record for record in records}
    for number in (duplicate, into):
        if number not in rows:
            raise MemberNotFound(number)
    return Pair(rows[duplicate], rows[into])


def find_refusals(pair: Pair) -> list[MergeConflict]:
    """Return the conflicts with which the two can't be merged."""
    (duplicate, into), found = pair, list[MergeConflict]()
    number, other = duplicate["member_id"], into["member_id"]
    if number == other:
        message = "Name two different members."
        return [MergeConflict(ConflictKind.SAME_MEMBER, message)]
    for member in pair:
        if _is_erased(member):
            message = f"{member['member_id']} was erased: nothing tells any more who that was."
            found.append(MergeConflict(ConflictKind.ERASED, message))
        elif member["merged_into"] is not None:
            message = (
                f"{member['member_id']} is merged into {member['merged_into']} already. "
                "Name that number, or undo that merge first."
            )
            found.append(MergeConflict(ConflictKind.MERGED, message))
    if into["deleted_at"] is not None and not found:
        message = f"{other} was removed. Restore that member first, or merge the other way round."
        found.append(MergeConflict(ConflictKind.REMOVED, message))
    if duplicate["is_bot"] != into["is_bot"]:
        bot, person = (number, other) if duplicate["is_bot"] else (other, number)
        message = f"{bot} is a bot and {person} is a person. Correct the mark first."
        found.append(MergeConflict(ConflictKind.BOT_AND_PERSON, message))
    return found


def find_differences(pair: Pair) -> list[MergeConflict]:
    """Return the conflicts that do not refuse a merge, with what it does about each."""
    (duplicate, into), found = pair, list[MergeConflict]()
    number, other = duplicate["member_id"], into["member_id"]

    def tell(kind: ConflictKind, message: str) -> None:
        found.append(MergeConflict(kind, message))

    strict = (MemberStatus.SUSPENDED, MemberStatus.BANNED)
    if duplicate["status"] != into["status"] and {duplicate["status"], into["status"]} & {*strict}:
        tell(
            ConflictKind.STATUSES,
            f"{number} is {_words(duplicate['status'])} and {other} is {_words(into['status'])}: "
            f"the person is {_words(_merged_status(pair))} afterwards.",
        )
    if into["descends_from_other"] or duplicate["descends_from_other"]:
        ancestor, child = (number, other) if into["descends_from_other"] else (other, number)
        tell(ConflictKind.LINEAGE, f"{ancestor} invited {child}, directly or through others.")
    inviters = duplicate["invited_by"], into["invited_by"]
    if None not in inviters and len({*inviters, number, other}) == 4:
        tell(
            ConflictKind.INVITERS,
            f"{inviters[0]} invited {number} and {inviters[1]} invited {other}: "
            f"{_merged_inviter(pair)} stays.",
        )
    for kind, columns in (
        (ConflictKind.NAMES, ["name"]),
        (ConflictKind.ROLES, ["primary_role"]),
        (ConflictKind.PROFILES, ["organization", "country", "telegram_username"]),
    ):
        for column in columns:
            if None not in (duplicate[column], into[column]) and duplicate[column] != into[column]:
                field = column.replace("primary_", "").replace("_", " ")
                tell(kind, f"They differ in the {field}: that of {other} stays.")
    if _is_telegram(duplicate) and _is_telegram(into):
        tell(
            ConflictKind.TELEGRAM_ACCOUNTS,
            f"Both have a Telegram account: {other} has two afterwards.",
        )
    if duplicate["github_verified"] and into["github_verified"]:
        tell(
            ConflictKind.GITHUB_ACCOUNTS,
            f"Both have a verified GitHub account: {other} has two afterwards, and the points of "
            "their own.",
        )
    return found


def plan_columns(pair: Pair) -> dict[str, Any]:
    """Return the values of `MERGED_COLUMNS` after the merge, except those of `profile_data`.

    The profile of the other member stays, and its empty fields are filled.
    """
    duplicate, into = pair
    planned = {column: into[column] for column in MERGED_COLUMNS if column != "profile_data"}
    for column in ("telegram_username", "organization", "country"):
        if into[column] is None:
            planned[column] = duplicate[column]
    if _is_telegram(duplicate) and not _is_telegram(into):
        planned["telegram_id"] = duplicate["telegram_id"]
        planned["telegram_username"] = duplicate["telegram_username"] or into["telegram_username"]
    if _takes_github(pair):
        planned |= {column: duplicate[column] for column in GITHUB_COLUMNS}
    if duplicate["registration_fee_paid"] and not into["registration_fee_paid"]:
        planned |= {column: duplicate[column] for column in FEE_COLUMNS}
    times = [each["last_active_at"] for each in pair if each["last_active_at"] is not None]
    planned["last_active_at"] = max(times, default=None)
    planned["status"] = _merged_status(pair)
    planned["suspended_until"] = _merged_end_of_suspension(pair, planned["status"])
    planned["invited_by"] = _merged_inviter(pair)
    return planned


def _takes_github(pair: Pair) -> bool:
    """Return whether the GitHub account of the duplicate becomes that of the other member."""
    duplicate, into = pair
    if into["github_verified"]:
        return False
    has_none = into["github_username"] is None and into["github_verified_at"] is None
    return duplicate["github_verified"] or (has_none and duplicate["github_username"] is not None)


async def make_preview(pair: Pair, new_keys: Mapping[str, Any]) -> MergePreview:
    """Return what a merge of these two would do; `new_keys` are those of `profile_data`."""
    duplicate, into = pair
    numbers = {"duplicate": duplicate["member_id"], "into": into["member_id"]}
    [counts] = await engine.fetch(COUNT_ROWS, **numbers)
    planned = plan_columns(pair)
    filled = {column: value for column, value in planned.items() if value != into[column]}
    for column in ("status", "suspended_until", "last_active_at"):
        filled.pop(column, None)
    if new_keys:
        filled["profile_data"] = new_keys
    return MergePreview(
        duplicate=member_from(duplicate),
        into=member_from(into),
        counts=MergeCounts(*counts),
        status=MemberStatus(planned["status"]),
        filled=filled,
        conflicts=tuple(find_refusals(pair) or find_differences(pair)),
    )


def _merged_status(pair: Pair) -> str:
    """Return the strictest of the two statuses, or else the furthest.

    A duplicate who was removed brings only a ban or a suspension.
    """
    duplicate, into = pair
    status = MemberStatus(duplicate["status"])
    if duplicate["deleted_at"] is not None and status not in (
        MemberStatus.SUSPENDED,
        MemberStatus.BANNED,
    ):
        return MemberStatus(into["status"]).value
    return max(status, MemberStatus(into["status"]), key=STATUS_ORDER.index).value


def _merged_end_of_suspension(pair: Pair, status: str) -> datetime | None:
    """Return the later end, if the person is suspended; a suspension without an end has none."""
    if status != MemberStatus.SUSPENDED:
        return None
    ends = [each["suspended_until"] for each in pair if each["status"] == MemberStatus.SUSPENDED]
    return None if None in ends else max(ends)


def _merged_inviter(pair: Pair) -> str | None:
    """Return the inviter after the merge: that of the duplicate, if there is no other one.

    Whoever the duplicate invited, directly or through others, gets the inviter of the duplicate:
    the children of the duplicate are then their own.
    """
    duplicate, into = pair
    if into["descends_from_other"]:
        return duplicate["invited_by"]  # type: ignore[no-any-return]
    if into["invited_by"] is None and not duplicate["descends_from_other"]:
        return duplicate["invited_by"]  # type: ignore[no-any-return]
    return into["invited_by"]  # type: ignore[no-any-return]


def _is_telegram(member: asyncpg.Record) -> bool:
    return member["telegram_id"][:1].isdigit()  # type: ignore[no-any-return]


def _is_erased(member: asyncpg.Record) -> bool:
    return member["telegram_id"].startswith(("erased:", "banned:"))  # type: ignore[no-any-return]


def _words(status: str) -> str:
    return status.replace("_", " ")
