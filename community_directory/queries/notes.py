"""Notes: what managers write about members, for each other. No member sees them in the bot.

A person's export contains the notes about them, and their erasure deletes the notes.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from community_directory.database import Statement, engine
from community_directory.errors import InvalidInput, MemberNotFound, NoteNotFound
from community_directory.queries.ids import new_id
from community_directory.queries.member_rows import LOCKED_PERSON_CTES
from community_directory.queries.observation import observe_helpers
from community_directory.queries.pages import (
    KEY_FIELD,
    TIME_FIELD,
    Page,
    PagedList,
    PageOrder,
    checked_limit,
)
from community_directory.queries.values import (
    ACTOR_CTE,
    check_texts,
    member_number,
    present_number_sql,
    required_actor,
)
from community_directory.tables import MemberNote

__all__ = ["Note", "add", "list_for", "remove"]

PRESENT_NUMBER = present_number_sql(":member_id")

# The audit log is the only place of the author: an erasure of the author need not look elsewhere.
WRITTEN_BY = """coalesce((
    SELECT entry.actor FROM directory_audit_log AS entry
    WHERE entry.row_id = note.id AND table_name = 'member_notes' AND action = 'INSERT'
), 'unknown')"""


@dataclass(frozen=True, slots=True)
class Note:
    """A note about a member; the time is aware, in UTC.

    `member_id` is the number of the present member, also if the note was written about somebody
    who was merged into them. `written_by` is the actor of the audit log.
    """

    id: UUID
    member_id: str
    text: str
    written_by: str
    written_at: datetime


# The locks wait for an erasure at the same time, which would miss the new note.
ADD_NOTE = Statement(f"""
WITH {ACTOR_CTE}, {LOCKED_PERSON_CTES}
INSERT INTO member_notes (id, member_id, text)
SELECT :id::uuid, member_id, :text FROM person, actor
RETURNING id, member_id, text, :actor AS written_by, written_at
""")


def _list_notes_sql(order: PageOrder) -> str:
    # The notes of a merged member stay with their number, so that an unmerge has nothing to move.
    return f"""
SELECT note.id, {PRESENT_NUMBER} AS member_id, text, {WRITTEN_BY} AS written_by, written_at
FROM member_notes AS note
WHERE member_id = ANY(ARRAY(
        SELECT member_id FROM community_members
        WHERE member_id = {PRESENT_NUMBER} OR merged_into = {PRESENT_NUMBER}
    ))
    AND {order.after("written_at, id", ":edge_time::timestamptz, :edge_id::uuid")}
{order.by("written_at", "id")} LIMIT :limit
"""


NOTES = PagedList(
    "notes", {"edge_time": TIME_FIELD, "edge_id": KEY_FIELD}, _list_notes_sql, is_descending=True
)

REMOVE_NOTE = Statement(f"""
WITH {ACTOR_CTE}
DELETE FROM member_notes AS note USING actor, community_members AS named
WHERE note.id = :note_id::uuid AND named.member_id = note.member_id
RETURNING note.id, coalesce(named.merged_into, named.member_id) AS member_id, text,
    {WRITTEN_BY} AS written_by, written_at
""")


async def add(member_id: str | int, text: str, *, actor: str) -> Note:
    """Write a note about a member, who may be removed.

    The number of a merged member leads to the other one.

    Args:
        member_id: The member's number, "#247" or 247.
        text: Up to 4,000 characters, without the white space around them.
        actor: The author of the note, for the audit log.

    Raises:
        MemberNotFound: No member has this number, or the member was erased.
        InvalidInput: The text is blank or too long, or the actor is blank.
    """
    number = member_number(member_id)
    if isinstance(text, str):
        text = text.strip()
    check_texts(MemberNote, text=text)
    records = await engine.fetch(
        ADD_NOTE,
        id=new_id(),
        member_id=number,
        text=text,
        actor=required_actor(actor),
        reason=None,
    )
    if not records:
        raise MemberNotFound(number)
    return Note(*records[0])


async def list_for(
    member_id: str | int, *, after: str | None = None, limit: int = 20
) -> Page[Note]:
    """List the notes about a member, newest first, with those of members merged into them.

    The list is empty if no member has this number. A merged number leads to the other member.

    Args:
        member_id: The member's number, "#247" or 247.
        after: A cursor of another page.
        limit: The number of notes on the page, 1 to 100.

    Raises:
        InvalidCursor: `after` is not a cursor of this list.
        InvalidInput: The number is neither a text nor an integer, or the limit is not 1 to 100.
    """
    return await NOTES.read_page(
        after,
        checked_limit(limit),
        lambda record: Note(*record),
        lambda note: (note.written_at, note.id),
        member_id=member_number(member_id),
    )


async def remove(note_id: UUID | str, *, actor: str) -> Note:
    """Remove a note, and return it. The audit log keeps its text until the person is erased.

    Raises:
        NoteNotFound: There is no such note, or it was removed before.
        InvalidInput: The id is not a UUID, or the actor is blank.
    """
    try:
        found = note_id if isinstance(note_id, UUID) else UUID(note_id)
    except (ValueError, TypeError, AttributeError):
        raise InvalidInput("The id of a note is a UUID.", field="note_id") from None
    records = await engine.fetch(
        REMOVE_NOTE, note_id=found, actor=required_actor(actor), reason=None
    )
    if not records:
        raise NoteNotFound
    return Note(*records[0])


observe_helpers(globals())
