"""The forms of the panel about members who were stored twice: merge them, undo it, or dismiss it.

The module adds its forms to the menu when it is imported.
"""

from collections.abc import Iterable

from pydantic import BaseModel, Field

from community_directory.database import Statement, engine
from community_directory.errors import InvalidInput, NotMerged
from community_directory.queries import members
from community_directory.queries.members import MergeCounts, MergePreview
from community_directory.queries.values import member_number
from community_directory.tables import MemberStatus
from community_directory.web.admin.forms import (
    MEMBER_TITLE,
    PEOPLE_GROUP,
    REASON_TITLE,
    OptionalReason,
    RequiredText,
    ShortText,
    form,
)
from community_directory.web.admin.lookup import find_label, find_one_member, label

COUNTED_ROWS = {
    "events": "event",
    "highlights": "day with highlights",
    "invitations": "invitation",
    "children": "invited member",
    "accounts": "account",
    "merged_numbers": "merged number",
}
"""The nouns for the counts of a merge."""
PLURALS = {"day with highlights": "days with highlights"}

FIND_MERGED_NUMBERS = Statement("""
SELECT member_id FROM community_members WHERE merged_into = :member_id
ORDER BY length(member_id), member_id LIMIT 10
""")


class MergeFields(BaseModel):
    """The fields of the form that merges two members."""

    duplicate: RequiredText = Field(title=f"Merge whom? {MEMBER_TITLE}")
    into: RequiredText = Field(title=f"Into whom, who stays? {MEMBER_TITLE}")
    number_again: ShortText = Field(
        default="",
        title="To merge them, the number of the first one again (leave empty to see a preview)",
    )
    reason: OptionalReason = Field(default="", title=f"{REASON_TITLE} (optional)")


class UnmergeFields(BaseModel):
    """The fields of the form that undoes a merge."""

    number: RequiredText = Field(title="The number that was merged, such as #298")
    reason: OptionalReason = Field(default="", title=f"{REASON_TITLE} (optional)")


class DismissFields(BaseModel):
    """The fields of the form that dismisses a suggestion."""

    member: RequiredText = Field(title=MEMBER_TITLE)
    other: RequiredText = Field(title=f"The other one. {MEMBER_TITLE}")
    reason: OptionalReason = Field(default="", title=f"{REASON_TITLE} (optional)")


@form("Merge two members", PEOPLE_GROUP)
async def merge_members(data: MergeFields, actor: str) -> str:
    """Give everything of a member to another one, because both are the same person.

    First the form shows what would happen, and changes nothing. “Undo a merge” takes it back.
    """
    duplicate = await find_one_member(data.duplicate, removed=None)
    into = await find_one_member(data.into)
    if member_number(data.number_again) != duplicate.member_id:
        # A refused form keeps what was typed, so that only the confirmation is missing.
        preview = await members.merge_preview(duplicate.member_id, into=into.member_id)
        raise InvalidInput(_describe_preview(preview), field="number_again")
    merge = await members.merge(
        duplicate.member_id, into=into.member_id, actor=actor, reason=data.reason
    )
    return (
        f"{label(duplicate)} was merged into {label(into)}, who has got "
        f"{_list_rows(merge.moved)}. “Undo a merge” takes it back if you type "
        f"{duplicate.member_id} there."
    )


@form("Undo a merge", PEOPLE_GROUP)
async def undo_merge(data: UnmergeFields, actor: str) -> str:
    """Make a merged member a member of their own again, with what they had before.

    What happened after the merge stays with the other member.
    """
    try:
        undone = await members.unmerge(data.number, actor=actor, reason=data.reason)
    except NotMerged as error:
        # Somebody who types the number of the other member wants to know those that lead to it.
        found = await engine.fetch(FIND_MERGED_NUMBERS, member_id=error.member_id)
        if not found:
            raise
        merged = ", ".join(number for (number,) in found)
        raise InvalidInput(
            f"Type the number that was merged into {error.member_id}: {merged}.", field="number"
        ) from error
    told = [
        f"{await find_label(undone.duplicate)} is back, apart from "
        f"{await find_label(undone.into)}, and has {_list_rows(undone.restored)} again.",
        *undone.left,
    ]
    return "\n".join(told)


@form("Dismiss a merge suggestion", PEOPLE_GROUP)
async def dismiss_suggestion(data: DismissFields, actor: str) -> str:
    """Say that two members are two persons. The list “Merge suggestions” never has them again."""
    member, other = await find_one_member(data.member), await find_one_member(data.other)
    await members.dismiss_suggestion(
        member.member_id, other.member_id, actor=actor, reason=data.reason
    )
    return f"{label(member)} and {label(other)} are two persons: nobody will suggest to merge them."


def _describe_preview(preview: MergePreview) -> str:
    """Return what a merge would do, each part on a line of its own."""
    duplicate, into = preview.duplicate, preview.into
    if preview.is_refused:
        refusals = (conflict.message for conflict in preview.conflicts if conflict.refuses)
        return "\n".join([f"{label(duplicate)} can't be merged into {label(into)}.", *refusals])
    collapsed = preview.counts.collapsed_events
    filled = [column.replace("_", " ") for column in preview.filled]
    lines = [
        # panel.js knows a preview by its first sentence.
        f"Nothing was changed so far. This is what happens if you merge {label(duplicate)} "
        f"into {label(into)}:",
        f"{into.member_id} gets {_list_rows(preview.counts)}.",
        f"Events that both have, and that count once: {collapsed:,}." if collapsed else "",
        f"These fields change: {', '.join(filled)}." if filled else "",
        f"The status is then {preview.status.replace('_', ' ')}."
        if preview.status != into.status
        else "",
        _describe_permissions(preview),
        *(conflict.message for conflict in preview.conflicts),
        f"To merge them, type {duplicate.member_id} as confirmation.",
    ]
    return "\n".join(filter(None, lines))


def _describe_permissions(preview: MergePreview) -> str:
    if not preview.counts.permissions:
        return ""
    duplicate, into = preview.duplicate.member_id, preview.into.member_id
    permissions = f"{_count(preview.counts.permissions, 'permission')} of {duplicate}"
    if preview.status is MemberStatus.ACTIVE:
        return f"{into} gets {permissions}."
    return f"{into} does not get {permissions}: the person is not active."


def _list_rows(counts: MergeCounts) -> str:
    rows = [
        _count(number, noun)
        for name, noun in COUNTED_ROWS.items()
        if (number := getattr(counts, name))
    ]
    return _join(rows) or "nothing else"


def _join(parts: Iterable[str]) -> str:
    *first, last = [*parts] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun if number == 1 else PLURALS.get(noun, f'{noun}s')}"
