"""Merging of members: one person who was stored twice becomes one member, and how to undo that.

Callers use it as `members.merge`, `members.merge_preview` and `members.unmerge`.
"""

import json
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import asyncpg

from community_directory.calendar import MAX_SPAN_DAYS, DaySpan, days_between, load_zone, today
from community_directory.database import Statement, engine, long_running, transaction
from community_directory.errors import DatabaseUnavailable, InvalidInput, MergeRefused, NotMerged
from community_directory.queries import merge_rows as sql
from community_directory.queries import roll_ups
from community_directory.queries.highlights import count_member_events, recount_members
from community_directory.queries.ids import new_id
from community_directory.queries.member_cache import forget
from community_directory.queries.member_rows import LOCK_MEMBERS_FULLY
from community_directory.queries.merge_locks import LOCK_MERGES
from community_directory.queries.merge_plan import (
    FEE_COLUMNS,
    GITHUB_COLUMNS,
    MERGED_COLUMNS,
    STATUS_COLUMNS,
    MergeCounts,
    MergePreview,
    Pair,
    find_refusals,
    get_pair,
    make_preview,
    plan_columns,
)
from community_directory.queries.reputation import github_score
from community_directory.queries.values import id_text, member_number, required_actor
from community_directory.tables import MemberStatus

__all__ = ["Merge", "Unmerge", "merge", "merge_preview", "unmerge"]

MAX_ATTEMPTS = 5
"""The number of times that a merge is tried while events of both members are delivered again."""
MET_EVENT_ERRORS = (asyncpg.DeadlockDetectedError, asyncpg.UniqueViolationError)
"""The errors of the database if a merge meets such an event."""

_Result = TypeVar("_Result")

_COLUMN_GROUPS = (
    GITHUB_COLUMNS,
    FEE_COLUMNS,
    STATUS_COLUMNS,
    *(
        (column,)
        for column in MERGED_COLUMNS
        if column not in (*GITHUB_COLUMNS, *FEE_COLUMNS, *STATUS_COLUMNS, "profile_data")
    ),
)
"""The columns that go together: all of a group come back, or none."""
_TIMES = ("github_verified_at", "last_active_at", "suspended_until", "joined_at", "approved_at")


@dataclass(frozen=True, slots=True)
class Merge:
    """A merge that was done."""

    id: UUID
    duplicate: str
    """The number that now leads to the other one."""
    into: str
    """The number of the member who has everything."""
    moved: MergeCounts
    filled: tuple[str, ...]
    """The columns of the other member that changed."""


@dataclass(frozen=True, slots=True)
class Unmerge:
    """A merge that was undone."""

    id: UUID
    """The id of the merge."""
    duplicate: str
    """The number of the member who is back."""
    into: str
    restored: MergeCounts
    left: tuple[str, ...]
    """What could not be taken back, in sentences."""


class _Call(NamedTuple):
    """The author and the reason of a change, as parameters of the statements."""

    actor: str
    reason: str | None


class _Present(NamedTuple):
    """The state of a member before merges into it are undone and done again.

    Somebody may have decided so since the merges: what is no longer there does not come back.
    """

    own_columns: Collection[str]
    """The columns whose value is from no merge: they stay."""
    profile_keys: Collection[str] | None
    """The keys of the profile; None if there is no profile."""
    permissions: Sequence[str] | None
    """None if the status is from a merge, which can have taken permissions."""
    platforms: Sequence[str]
    account_ids: Sequence[str]


class _Again(NamedTuple):
    """A merge that is done again."""

    merge_id: UUID
    present: _Present


class _Days(NamedTuple):
    """The days that a merge is about, in spans of at most ten years."""

    spans: list[DaySpan]
    first_event_day: date | None


async def merge_preview(duplicate: str | int, *, into: str | int) -> MergePreview:
    """Return what `merge` would do, and the conflicts between the two members. Nothing changes.

    Args:
        duplicate: The number of the member who would be merged, "#298" or 298.
        into: The number of the member who would have everything.

    Raises:
        MemberNotFound: No member has one of the numbers.
        InvalidInput: A number is neither a text nor an integer.
    """
    numbers = member_number(duplicate), member_number(into, "into")
    async with transaction():
        pair = await get_pair(*numbers)
        own, other = (
            json.loads(each["profile_data"] or "{}") for each in (pair.into, pair.duplicate)
        )
        return await make_preview(pair, {key: other[key] for key in other if key not in own})


async def merge(
    duplicate: str | int, *, into: str | int, actor: str, reason: str | None = None
) -> Merge:
    """Merge a member into another one: both are the same person.

    The other member has everything of the duplicate afterwards: accounts, events, highlights,
    invitations, children in the tree, and the points that were given by hand. Events that both have
    become one. The profile of the other member stays, and its empty fields are filled. The status
    is the strictest of the two if one is banned or suspended, or else the furthest. An invitation
    of one that the other has accepted is cancelled. Highlights and points are counted again.

    The number of the duplicate leads to the other member from then on, and `unmerge` undoes the
    merge. Everything is merged, or nothing. Events of other members are not delayed.

    Args:
        duplicate: The number of the member who is merged, "#298" or 298. They may be removed.
        into: The number of the member who has everything afterwards.
        actor: The author of the change, for the audit log.
        reason: The reason of the change, for the audit log.

    Raises:
        MergeRefused: Both are the same, one is a bot and the other one a person, one was erased or
            merged before, or the other member was removed.
        MemberNotFound: No member has one of the numbers.
        InvalidInput: A number is neither a text nor an integer, or the actor is blank.
    """
    numbers = member_number(duplicate), member_number(into, "into")
    call = _Call(required_actor(actor), reason)
    return await _run_alone(lambda: _merge(*numbers, call))


async def unmerge(
    member_id_or_merge: str | int | UUID, *, actor: str, reason: str | None = None
) -> Unmerge:
    """Undo a merge: the member is back under their number, with what they had.

    What happened since then stays with the other member. What somebody has changed since stays as
    it is, and is told in `left`. Merges can be undone in any order: those that were done later,
    into the same member or of that member into a further one, are undone and done again, without
    what somebody has changed or taken away since.

    Args:
        member_id_or_merge: The number of the merged member, "#298" or 298, or the id of the merge.
        actor: The author of the change, for the audit log.
        reason: The reason of the change, for the audit log.

    Raises:
        NotMerged: No merge of this member, or with this id, can be undone.
        MergeRefused: The other member was erased, or another member has the account that the
            merged one needs.
        InvalidInput: The number is neither a text nor an integer, or the actor is blank.
    """
    number, merge_id = _parse_merge(member_id_or_merge)
    call = _Call(required_actor(actor), reason)
    return await _run_alone(lambda: _unmerge_after_later_ones(number, merge_id, call))


async def _run_alone(change: Callable[[], Awaitable[_Result]]) -> _Result:
    """Run a merge or an unmerge in a transaction, one after the other.

    An event that is delivered again while its row moves waits for the merge, which waits for the
    event's member: PostgreSQL ends one of them. If that is the merge, it is done once more. So is a
    merge if an event of both members is stored for the other one while those of the duplicate move.
    """
    for attempt in range(1, MAX_ATTEMPTS + 1):
        try:
            with long_running():
                async with transaction():
                    await engine.fetch(LOCK_MERGES)
                    forget()
                    return await change()
        except (DatabaseUnavailable, InvalidInput) as error:
            if not isinstance(error.__cause__, MET_EVENT_ERRORS) or attempt == MAX_ATTEMPTS:
                raise
    raise AssertionError  # the last attempt returned or raised


async def _unmerge_after_later_ones(
    number: str | None, merge_id: UUID | None, call: _Call
) -> Unmerge:
    *later, merge = await _find_merges(number, merge_id)
    await _lock_merges([*later, merge])
    present: dict[str, _Present] = {}
    for each in (*later, merge):
        into = each["into_id"]
        if into not in present:
            same = [other for other in (*later, merge) if other["into_id"] == into]
            present[into] = await _find_present(same)
        undone = await _unmerge(each, call)
    for each in reversed(later):
        duplicate, into = each["duplicate_id"], each["into_id"]
        again = _Again(each["id"], present[into])
        await _merge(duplicate, into, call, again=again)
    return undone


async def _find_present(merges: Sequence[asyncpg.Record]) -> _Present:
    """Return what the other member of these merges has before they are undone."""
    duplicate, into = merges[0]["duplicate_id"], merges[0]["into_id"]
    row = (await get_pair(duplicate, into)).into
    changes = [json.loads(merge["before"])["into"] for merge in merges]
    merged = {
        column for each in changes for group in _unchanged_groups(row, each) for column in group
    }
    accounts = await engine.fetch(sql.LIST_ACCOUNTS, into=into)
    permissions = await engine.fetch(sql.LIST_PERMISSIONS, into=into)
    profile = row["profile_data"]
    return _Present(
        own_columns=[column for column in _present_columns(row) if column not in merged],
        profile_keys=None if profile is None else json.loads(profile).keys(),
        permissions=None if "status" in merged else [name for (name,) in permissions],
        platforms=[platform for platform, _ in accounts],
        account_ids=[account_id for _, account_id in accounts],
    )


async def _merge(duplicate: str, into: str, call: _Call, *, again: _Again | None = None) -> Merge:
    """Merge a member into another one; `again` is a merge that was undone for another one."""
    numbers, merge_id = [duplicate, into], again.merge_id if again else new_id()
    await get_pair(duplicate, into)
    spans = (await _find_days(duplicate)).spans
    await _lock(numbers, [day for span in spans for day in (span.days[0], span.days[-1])])
    pair = await get_pair(duplicate, into)
    if again is None and (refusals := find_refusals(pair)):
        raise MergeRefused(refusals[0].message, duplicate)
    await engine.fetch(sql.BEGIN_MERGING)
    sums = await _sum_highlights(numbers)
    milestones = await _get_milestones(into)
    pair_ids = {"duplicate": duplicate, "into": into}
    await engine.fetch(sql.ADD_MERGE, merge_id=merge_id, **pair_ids)

    # The first pass moves nearly everything, while events of both are still stored. The second one
    # moves what was stored during the first.
    moved, spans, counted = await _move_rows(pair_ids, merge_id, call)
    merged_numbers = await _fetch_count(
        sql.MOVE_MERGED_NUMBERS, merge_id=merge_id, **pair_ids, **call._asdict()
    )
    await engine.fetch(LOCK_MEMBERS_FULLY, numbers=numbers)
    planned, duplicate_profile = plan_columns(pair), pair.duplicate["profile_data"]
    if again:
        # An inviter whom the duplicate invited can't stay: the invitations would run in a circle.
        own = set(again.present.own_columns)
        if pair.into["descends_from_other"]:
            own.discard("invited_by")
        planned |= {column: pair.into[column] for column in own}
        duplicate_profile = _pick_keys(duplicate_profile, again.present.profile_keys)
    if planned["invited_by"] != pair.into["invited_by"]:
        await _fill(
            pair,
            {**_present_columns(pair.into), "invited_by": planned["invited_by"]},
            0,
            None,
            call,
        )
    moved.update(
        children=await _fetch_count(
            sql.MOVE_CHILDREN, merge_id=merge_id, **pair_ids, **call._asdict()
        )
    )
    stays_active = planned["status"] == MemberStatus.ACTIVE
    permissions = await _fetch_count(
        sql.TAKE_PERMISSIONS,
        merge_id=merge_id,
        numbers=[duplicate] if stays_active else numbers,
        duplicate=duplicate,
        **call._asdict(),
    )
    await engine.fetch(sql.MARK_MERGED, **pair_ids, **call._asdict())
    late, late_spans, late_counted = await _move_rows(pair_ids, merge_id, call)
    late["children"] = await _fetch_count(
        sql.MOVE_CHILDREN, merge_id=merge_id, **pair_ids, **call._asdict()
    )
    await engine.fetch(
        sql.ADD_OTHER_HIGHLIGHTS, merge_id=merge_id, into=into, counted_days=counted + late_counted
    )
    await engine.fetch(sql.ADD_OTHER_ROOMS, **pair_ids)
    accounts = await _fetch_count(
        sql.MOVE_ACCOUNTS, merge_id=merge_id, **pair_ids, **call._asdict()
    )
    sums_after = await _sum_highlights([into])
    points = _moved_points(pair, planned, sums[duplicate])
    highlight_points = sums_after[into] - sums[into]
    filled = await _fill(
        pair,
        planned,
        sum(points.values()) + highlight_points,
        duplicate_profile,
        call,
    )
    if again:
        await engine.fetch(
            sql.DELETE_OTHER_ACCOUNTS,
            merge_id=merge_id,
            platforms=again.present.platforms,
            account_ids=again.present.account_ids,
            **call._asdict(),
        )
    given = (
        await engine.fetch(
            sql.GIVE_PERMISSIONS,
            merge_id=merge_id,
            allowed=again.present.permissions if again else None,
            **pair_ids,
            **call._asdict(),
        )
        if permissions and stays_active
        else []
    )
    # A trigger writes the milestones of a status that the merge has changed: they are joined then.
    await engine.fetch(sql.JOIN_MILESTONES, **pair_ids)
    joined_milestones = await _get_milestones(into)
    days = [day for span in spans + late_spans for day in (span.days[0], span.days[-1])]
    await _recount(numbers, days)
    changes = _changes(pair.into, filled)
    before = {
        "into": changes,
        "duplicate": {
            "telegram_id": pair.duplicate["telegram_id"],
            "github_verified": pair.duplicate["github_verified"],
            "deleted_at": _encode(pair.duplicate["deleted_at"]),
        },
        "points": {**points, "highlights": sums[duplicate]},
        "permissions": [permission for (permission,) in given] if stays_active else None,
        "days": [day.isoformat() for day in (min(days), max(days))] if days else None,
        "milestones": {
            name: [_encode(milestones[name]), _encode(joined_milestones[name])]
            for name in milestones
            if milestones[name] != joined_milestones[name]
        },
    }
    await engine.fetch(sql.STORE_BEFORE, merge_id=merge_id, before=json.dumps(before))
    await engine.fetch(sql.END_MERGING)
    counts = {name: moved[name] + late[name] for name in moved}
    return Merge(
        id=merge_id,
        duplicate=duplicate,
        into=into,
        moved=MergeCounts(
            **counts,
            accounts=accounts,
            permissions=permissions,
            merged_numbers=merged_numbers,
        ),
        filled=tuple(changes),
    )


async def _lock(
    numbers: Sequence[str], days: Sequence[date], merge_ids: Sequence[UUID] = ()
) -> None:
    """Lock what a merge of these members changes, or the undoing of these merges."""
    rows = {"numbers": numbers, "merge_ids": merge_ids}
    await engine.fetch(sql.LOCK_INVITATIONS, **rows)
    if days:
        await engine.fetch(sql.LOCK_DAYS, first=min(days), last=max(days))
    await engine.fetch(sql.LOCK_MEMBERS, **rows)


async def _lock_merges(merges: Sequence[asyncpg.Record]) -> None:
    """Lock what the undoing of these merges changes, and what merging again changes.

    Raises:
        MergeRefused: The other member of one of them was erased.
    """
    days: list[date] = []
    for merge in merges:
        if merge["is_erased"] or merge["before"] is None:
            duplicate, into = merge["duplicate_id"], merge["into_id"]
            message = f"{into} was erased, together with {duplicate}: the merge can't be undone."
            raise MergeRefused(message, duplicate)
        days += map(date.fromisoformat, json.loads(merge["before"])["days"] or ())
    numbers = {merge[column] for merge in merges for column in ("duplicate_id", "into_id")}
    await _lock(sorted(numbers), [*days, today()], [merge["id"] for merge in merges])


async def _move_rows(
    pair_ids: Mapping[str, str], merge_id: UUID, call: _Call
) -> tuple[dict[str, int], list[DaySpan], list[date]]:
    """Move the events, the highlights and the invitations, and count the highlights again.

    Return the numbers of rows, the days of the events, and those that were counted again.
    """
    members, days = list(pair_ids.values()), await _find_days(pair_ids["duplicate"])
    events = [await count_member_events(members, span) for span in days.spans]
    counts = dict.fromkeys(("collapsed_events", "events", "highlights"), 0)
    counted: list[date] = []
    if days.spans:
        counts["collapsed_events"] = await _fetch_count(sql.COLLAPSE_EVENTS, merge_id=merge_id)
        counts["events"] = counts["collapsed_events"] + await _fetch_count(
            sql.MOVE_EVENTS, merge_id=merge_id
        )
        counts["highlights"] = await _fetch_count(
            sql.MOVE_HIGHLIGHTS, merge_id=merge_id, duplicate=pair_ids["duplicate"]
        )
    for span, before in zip(days.spans, events, strict=True):
        counted += await recount_members(members, span, before, days.first_event_day)
    counts["invitations"] = await _fetch_count(
        sql.MOVE_INVITATIONS, merge_id=merge_id, **pair_ids, **call._asdict()
    )
    return counts, days.spans, counted


async def _fill(
    pair: Pair,
    planned: Mapping[str, Any],
    points: int,
    duplicate_profile: str | None,
    call: _Call,
) -> asyncpg.Record:
    """Give the other member the planned columns and points, and return `MERGED_COLUMNS` of it."""
    [filled] = await engine.fetch(
        sql.FILL_MEMBER,
        member_id=pair.into["member_id"],
        points=points,
        duplicate_profile=duplicate_profile,
        **planned,
        **call._asdict(),
    )
    return filled


def _present_columns(member: asyncpg.Record) -> dict[str, Any]:
    return {column: member[column] for column in MERGED_COLUMNS if column != "profile_data"}


def _pick_keys(profile: str | None, keys: Collection[str] | None) -> str | None:
    """Return the part of a profile that has these keys, or None if one of both is None."""
    if profile is None or keys is None:
        return None
    return json.dumps({key: value for key, value in json.loads(profile).items() if key in keys})


def _moved_points(pair: Pair, planned: Mapping[str, Any], highlight_points: int) -> dict[str, int]:
    """Return the points that the other member gets besides those of highlights.

    The points of GitHub are those of the account that the other member has in their columns.
    """
    duplicate, into = pair
    total = (
        duplicate["reputation_score"]
        + duplicate["reputation_withheld"]
        - duplicate["reputation_shortfall"]
    )
    return {
        "other": total - highlight_points - _github_points(duplicate),
        "github": _github_points(planned) - _github_points(into),
    }


def _github_points(member: asyncpg.Record | Mapping[str, Any]) -> int:
    """Return the points of GitHub that a score with these columns contains."""
    if member["github_verified_at"] is None or member["github_profile_data"] is None:
        return 0
    return github_score(json.loads(member["github_profile_data"]))


async def _unmerge(merge: asyncpg.Record, call: _Call) -> Unmerge:
    merge_id, duplicate, into = merge["id"], merge["duplicate_id"], merge["into_id"]
    before = json.loads(merge["before"])
    numbers, pair_ids = [duplicate, into], {"duplicate": duplicate, "into": into}
    spans = _spans(*map(date.fromisoformat, before["days"])) if before["days"] else []
    pair = await get_pair(duplicate, into)
    await engine.fetch(sql.BEGIN_MERGING)
    left: list[str] = []
    sums = await _sum_highlights([into])
    milestones = await _get_milestones(into)
    await engine.fetch(sql.UNMARK_MERGED, duplicate=duplicate, **call._asdict())

    counts = await _return_events(pair_ids, merge_id, spans)
    invitations = await engine.fetch(
        sql.RETURN_INVITATIONS, merge_id=merge_id, **pair_ids, **call._asdict()
    )
    merged_numbers = await engine.fetch(
        sql.RETURN_MERGED_NUMBERS, merge_id=merge_id, **pair_ids, **call._asdict()
    )
    children = await engine.fetch(
        sql.RETURN_CHILDREN, merge_id=merge_id, **pair_ids, **call._asdict()
    )
    sums_after = await _sum_highlights(numbers)
    # The number leads nowhere for this transaction, but still to the other member for new events.
    for number in numbers:
        await engine.fetch(LOCK_MEMBERS_FULLY, numbers=[number])
    # The other member loses them if the status of before is not active.
    present = await engine.fetch(sql.LIST_PERMISSIONS, into=into)
    restored, points = await _plan_restoration(pair, before, left)
    changes = before["into"]
    old_profile, new_profile = changes.get("profile_data", (None, None))
    if new_profile and _was_profile_changed(pair.into["profile_data"], old_profile, new_profile):
        left.append(f"The profile data of {into} was changed since: the changed keys stay.")
    await engine.fetch(
        sql.UNFILL_MEMBER,
        member_id=into,
        points=points + sums_after[into] - sums[into],
        old_profile=old_profile,
        new_profile=new_profile,
        **restored,
        **call._asdict(),
    )
    accounts = await engine.fetch(
        sql.RETURN_ACCOUNTS, merge_id=merge_id, **pair_ids, **call._asdict()
    )
    own = await _own_columns(pair_ids, before["duplicate"], left)
    await engine.fetch(
        sql.RETURN_MEMBER,
        member_id=duplicate,
        points=sums_after[duplicate] - before["points"]["highlights"],
        **own,
        **call._asdict(),
    )
    await engine.fetch(sql.RETURN_PROOFS, merge_id=merge_id, duplicate=duplicate)
    status_stays = "status" in changes and restored["status"] == pair.into["status"]
    # A merge of an earlier version has not joined the milestones.
    await _restore_milestones(into, milestones, before.get("milestones", {}), status_stays)
    await _recount(numbers, [day for span in spans for day in (span.days[0], span.days[-1])])
    permissions = await _return_permissions(
        pair_ids,
        merge_id,
        given=before["permissions"] or (),
        # Whoever became active again since does not get back what a ban or a suspension took.
        were_taken=before["permissions"] is None
        and pair.into["status"] == changes.get("status", (None, pair.into["status"]))[1],
        present=[name for (name,) in present],
        left=left,
        call=call,
    )
    await engine.fetch(sql.FINISH_UNMERGE, merge_id=merge_id)
    await engine.fetch(sql.END_MERGING)
    return Unmerge(
        id=merge_id,
        duplicate=duplicate,
        into=into,
        restored=MergeCounts(
            **counts,
            invitations=len(invitations),
            children=len(children),
            accounts=len(accounts),
            permissions=permissions,
            merged_numbers=len(merged_numbers),
        ),
        left=tuple(left),
    )


async def _return_events(
    pair_ids: Mapping[str, str], merge_id: UUID, spans: Sequence[DaySpan]
) -> dict[str, int]:
    """Give back the events and the highlights, and count the highlights again."""
    members = list(pair_ids.values())
    events = [await count_member_events(members, span) for span in spans]
    collapsed = await _fetch_count(sql.RETURN_COLLAPSED_EVENTS, merge_id=merge_id, **pair_ids)
    returned = await _fetch_count(sql.RETURN_EVENTS, merge_id=merge_id)
    highlights = await _fetch_count(sql.RETURN_HIGHLIGHTS, merge_id=merge_id)
    first_event_day = await _find_first_event_day(pair_ids["duplicate"])
    counted: list[date] = []
    for span, before in zip(spans, events, strict=True):
        counted += await recount_members(members, span, before, first_event_day)
    await engine.fetch(
        sql.SUBTRACT_OTHER_HIGHLIGHTS,
        merge_id=merge_id,
        into=pair_ids["into"],
        counted_days=counted,
    )
    return {
        "events": collapsed + returned,
        "collapsed_events": collapsed,
        "highlights": highlights,
    }


async def _return_permissions(
    pair_ids: Mapping[str, str],
    merge_id: UUID,
    *,
    given: Sequence[str],
    were_taken: bool,
    present: Sequence[str],
    left: list[str],
    call: _Call,
) -> int:
    """Give back the permissions, and return the number of those of the duplicate.

    Args:
        pair_ids: The numbers of both members.
        merge_id: The id of the merge.
        given: The permissions that the other member got by the merge.
        were_taken: Whether the merge took all of both, because the person was not active.
        present: The permissions that the other member held until now.
        left: Gets a sentence about permissions that can't be given back.
        call: The author of the change.
    """
    duplicate = pair_ids["duplicate"]
    held = await _fetch_count(
        sql.COUNT_JOURNALED_PERMISSIONS, merge_id=merge_id, duplicate=duplicate
    )
    returned = await engine.fetch(
        sql.RETURN_PERMISSIONS,
        merge_id=merge_id,
        were_taken=were_taken,
        present=present,
        **call._asdict(),
    )
    if given:
        await engine.fetch(
            sql.REVOKE_PERMISSIONS, into=pair_ids["into"], permissions=given, **call._asdict()
        )
    count: int = sum(member_id == duplicate for member_id, _ in returned)
    if count < held:
        left.append(f"{duplicate} has {count} of {held} permissions: the others were revoked.")
    return count


async def _plan_restoration(
    pair: Pair, before: Mapping[str, Any], left: list[str]
) -> tuple[dict[str, Any], int]:
    """Return the columns of the other member after the return, and their points.

    A column that somebody has changed since the merge stays as it is, and is told in `left`.
    """
    present, changes, number = pair.into, before["into"], pair.into["member_id"]
    planned = _present_columns(present)
    points = -before["points"]["other"]
    unchanged = _unchanged_groups(present, changes)
    for group in _COLUMN_GROUPS:
        changed = [column for column in group if column in changes]
        if not changed:
            continue
        if group not in unchanged:
            if group != ("last_active_at",):
                left.append(f"{_label(group[0])} of {number} was changed since, and stays.")
            continue
        if group == ("invited_by",) and await _would_close_circle(number, changes):
            left.append(f"The inviter of {number} stays: the invitations would run in a circle.")
            continue
        planned |= {column: _decode(column, changes[column][0]) for column in changed}
        if group == GITHUB_COLUMNS:
            points -= before["points"]["github"]
    return planned, points


def _unchanged_groups(present: asyncpg.Record, changes: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the groups of columns that a merge changed, and that nobody has changed since."""
    return [
        group
        for group in _COLUMN_GROUPS
        if any(column in changes for column in group)
        and all(
            _encode(present[column]) == changes[column][1] for column in group if column in changes
        )
    ]


def _was_profile_changed(present: str | None, old: str | None, new: str) -> bool:
    """Return whether a key that came from the duplicate has another value by now."""
    was, became, is_now = (json.loads(profile or "{}") for profile in (old, new, present))
    return any(key in is_now and is_now[key] != became[key] for key in became.keys() - was.keys())


async def _would_close_circle(number: str, changes: Mapping[str, Any]) -> bool:
    lineage = await engine.fetch(sql.FIND_LINEAGE, number=changes["invited_by"][0])
    return any(ancestor == number for (ancestor,) in lineage)


async def _own_columns(
    pair_ids: Mapping[str, str], own: Mapping[str, Any], left: list[str]
) -> dict[str, Any]:
    """Return the columns of the member who comes back that name accounts.

    Raises:
        MergeRefused: Somebody else has the account of `telegram_id`.
    """
    duplicate, columns = pair_ids["duplicate"], dict(own)
    taken = await engine.fetch(
        sql.FIND_TAKEN_ACCOUNTS,
        duplicate=duplicate,
        telegram_id=own["telegram_id"],
        github_verified=own["github_verified"],
    )
    for source, platform, account_id, owner in taken:
        if source == "telegram_id":
            raise MergeRefused(
                f"The {platform} account of {duplicate}, {account_id}, now belongs to {owner}. "
                "Take it from that member first.",
                duplicate,
            )
        columns["github_verified"] = False
        left.append(f"The GitHub account of {duplicate} now belongs to {owner}, and stays there.")
    columns["deleted_at"] = _decode("last_active_at", own["deleted_at"])
    return columns


def _label(column: str) -> str:
    names = {
        "telegram_id": "Telegram account",
        "github_username": "GitHub account",
        "registration_fee_paid": "registration fee",
        "invited_by": "inviter",
    }
    return f"The {names.get(column, column.replace('_', ' '))}"


def _changes(before: asyncpg.Record, after: asyncpg.Record) -> dict[str, list[Any]]:
    """Return the old and the new value of each column that a merge changed."""
    return {
        column: [_encode(before[column]), _encode(after[column])]
        for column in MERGED_COLUMNS
        if before[column] != after[column]
    }


def _encode(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _decode(column: str, value: Any) -> Any:
    return datetime.fromisoformat(value) if column in _TIMES and value is not None else value


def _parse_merge(value: str | int | UUID) -> tuple[str | None, UUID | None]:
    if isinstance(value, UUID):
        return None, value
    text = id_text(value, "member_id")
    try:
        return None, UUID(text)
    except ValueError:
        return member_number(value), None


async def _find_merges(number: str | None, merge_id: UUID | None) -> list[asyncpg.Record]:
    records = await engine.fetch(sql.FIND_MERGES, number=number, merge_id=merge_id)
    if not records:
        raise NotMerged(str(merge_id) if number is None else number)
    return records


async def _find_days(number: str) -> _Days:
    """Return the days of a member's events and highlights, up to today."""
    [found] = await engine.fetch(sql.FIND_SPAN, number=number)
    zone = load_zone(None)
    times = [found[name] for name in ("starts_at", "ends_at", "stayed_until")]
    days = [at.astimezone(zone).date() for at in times if at is not None]
    days += [found[name] for name in ("first_day", "last_day") if found[name] is not None]
    first_at = found["first_event_at"]
    first_event_day = None if first_at is None else first_at.astimezone(zone).date()
    return _Days(_spans(min(days), max(*days, today())) if days else [], first_event_day)


async def _find_first_event_day(number: str) -> date | None:
    return (await _find_days(number)).first_event_day


def _spans(first: date, last: date) -> list[DaySpan]:
    """Return the days from the first to the last one, in spans of at most ten years."""
    spans = []
    while first <= last:
        until = min(first + timedelta(days=MAX_SPAN_DAYS - 1), last)
        spans.append(days_between(first, until, None))
        first = until + timedelta(days=1)
    return spans


async def _sum_highlights(numbers: Sequence[str]) -> dict[str, int]:
    sums = dict.fromkeys(numbers, 0)
    records = await engine.fetch(sql.SUM_HIGHLIGHTS, numbers=numbers)
    return sums | {member_id: int(points) for member_id, points in records}


async def _recount(numbers: Sequence[str], days: Sequence[date]) -> None:
    """Count the months from the first to the last of these days again, and the milestones."""
    since, until = (min(days), max(days)) if days else (today(), today())
    await roll_ups.recount(numbers, since, until)


async def _get_milestones(number: str) -> dict[str, datetime | None]:
    """Return when a member joined and was approved."""
    records = await engine.fetch(sql.GET_MILESTONES, number=number)
    return dict(records[0]) if records else {"joined_at": None, "approved_at": None}


async def _restore_milestones(
    into: str,
    present: Mapping[str, datetime | None],
    changes: Mapping[str, Sequence[Any]],
    status_stays: bool,
) -> None:
    """Give the other member their own times back, unless these have changed since the merge.

    Args:
        into: The number of the other member.
        present: The times before the status was given back, which changes them, too.
        changes: The old and the new value of each time that the merge changed.
        status_stays: Whether the member keeps the status that the merge gave, and so its times.
    """
    restored = await _get_milestones(into)
    for name, (old, new) in changes.items():
        if _encode(present[name]) == new and not (old is None and status_stays):
            restored[name] = _decode(name, old)
    await engine.fetch(sql.SET_MILESTONES, number=into, **restored)


async def _fetch_count(statement: Statement, **values: object) -> int:
    records = await engine.fetch(statement, **values)
    return int(records[0][0]) if records else 0
