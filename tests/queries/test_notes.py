"""Managers write notes about members, which only managers see and an erasure deletes."""

import asyncio
import json
from uuid import uuid4

import asyncpg
import pytest

from community_directory.errors import (
    InvalidCursor,
    InvalidInput,
    MemberNotFound,
    NoteNotFound,
)
from community_directory.queries import audit, members, notes
from community_directory.queries.audit import ChangeKind
from tests.tables import rows

SECRET = "met in Zq, asked for discretion"


async def texts(member_id: str | int = "#1") -> list[str]:
    return [note.text for note in (await notes.list_for(member_id)).items]


async def test_a_note_has_its_author_and_its_time_and_the_newest_comes_first(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, status="banned")
    await rows.member(directory)
    first = await notes.add(1, "  Met in Oaxaca.\nKind. ", actor="luis")
    second = await notes.add("#1", "Called.", actor="eva")
    assert (first.member_id, first.text, first.written_by) == (
        "#1",
        "Met in Oaxaca.\nKind.",
        "luis",
    )
    assert first.written_at == await directory.fetchval(
        "SELECT written_at FROM member_notes WHERE id = $1", first.id
    )
    assert (await notes.list_for("#1")).items == [second, first]
    assert await texts("#2") == await texts("#99") == []


async def test_notes_come_in_pages(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    written = [await notes.add(1, f"note {number}", actor="eva") for number in range(3)]
    page = await notes.list_for(1, limit=2)
    assert page.items == [written[2], written[1]]
    last = await notes.list_for(1, limit=2, after=page.next_cursor)
    assert (last.items, last.next_cursor) == ([written[0]], None)
    assert (await notes.list_for(1, limit=2, after=last.previous_cursor)).items == page.items
    with pytest.raises(InvalidCursor):
        await notes.list_for(1, after="nonsense")


@pytest.mark.parametrize("text", ["", " \n ", "\u200b"])
async def test_a_blank_note_is_refused(directory: asyncpg.Pool, text: str) -> None:
    await rows.member(directory)
    with pytest.raises(InvalidInput, match="can't be blank") as refused:
        await notes.add(1, text, actor="eva")
    assert refused.value.field == "text"


async def test_a_note_has_up_to_4000_characters(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await notes.add(1, f" {'ñ' * 4000} ", actor="eva")
    with pytest.raises(InvalidInput) as refused:
        await notes.add(1, "ñ" * 4001, actor="eva")
    assert (refused.value.field, refused.value.limit) == ("text", 4000)


async def test_a_removed_note_is_gone_and_the_log_says_who_wrote_and_who_removed_it(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    note = await notes.add(1, "Wrong person.", actor="luis")
    removed = await asyncio.gather(
        *(notes.remove(str(note.id), actor="eva") for _ in range(5)), return_exceptions=True
    )
    assert [found for found in removed if not isinstance(found, NoteNotFound)] == [note]
    assert await texts() == []
    changes = (await audit.history("#1", limit=2)).items
    assert [(change.kind, change.actor) for change in changes] == [
        (ChangeKind.NOTE_REMOVED, "eva"),
        (ChangeKind.NOTE_ADDED, "luis"),
    ]
    for unknown in (uuid4(), note.id):
        with pytest.raises(NoteNotFound):
            await notes.remove(unknown, actor="eva")
    with pytest.raises(InvalidInput, match="UUID"):
        await notes.remove("#1", actor="eva")


async def test_a_merge_brings_the_notes_together_and_an_unmerge_parts_them(
    directory: asyncpg.Pool,
) -> None:
    for telegram_id in ("101", "102"):
        await rows.member(directory, telegram_id=telegram_id, status="active")
    await notes.add(1, "first", actor="eva")
    await notes.add(2, "second", actor="eva")
    await members.merge(2, into=1, actor="eva")
    late = await notes.add(2, "after the merge", actor="eva")
    assert late.member_id == "#1"
    assert await texts(1) == await texts(2) == ["after the merge", "second", "first"]
    assert {note.member_id for note in (await notes.list_for(2)).items} == {"#1"}
    await members.unmerge(2, actor="eva")
    assert await texts(1) == ["after the merge", "first"]
    assert await texts(2) == ["second"]


async def test_an_export_has_the_notes_and_an_erasure_leaves_no_trace_of_them(
    directory: asyncpg.Pool,
) -> None:
    for telegram_id in ("101", "102", "103"):
        await rows.member(directory, telegram_id=telegram_id, status="active")
    for number in (1, 2):
        await notes.add(number, f"{SECRET} {number}", actor="luis")
    other = await notes.add(3, "Bo's friend", actor="telegram:101")
    await members.merge(2, into=1, actor="eva")
    removed = await notes.add(1, f"{SECRET} 3", actor="luis")
    await notes.remove(removed.id, actor="luis")
    exported = await members.export(2)
    assert [note["text"] for note in exported["notes"]] == [f"{SECRET} 1", f"{SECRET} 2"]

    await members.erase(1, actor="eva")
    assert (await members.export(1))["notes"] == await texts(1) == await texts(2) == []
    kept = await directory.fetch("SELECT to_jsonb(entry) FROM directory_audit_log AS entry")
    assert SECRET not in json.dumps([row[0] for row in kept])
    # The author of a note about somebody else was erased: the note stays, without their account.
    [left] = (await notes.list_for(3)).items
    assert (left.id, left.text, left.written_by) == (other.id, "Bo's friend", "erased")


async def test_an_erased_person_gets_no_note(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await members.erase(1, actor="eva")
    for number in (1, 99):
        with pytest.raises(MemberNotFound):
            await notes.add(number, "late", actor="eva")


async def test_a_member_with_a_note_can_not_be_deleted(directory: asyncpg.Pool) -> None:
    await rows.note(directory)
    with pytest.raises(asyncpg.RestrictViolationError):
        await directory.execute("DELETE FROM community_members")
