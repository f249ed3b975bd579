"""The history of a member and of the invitations they created, by every writer."""

import asyncpg
import pytest

from community_directory.errors import InvalidCursor, InvalidInput
from community_directory.queries import audit, members
from community_directory.tables import AuditAction, CommunityMember
from tests.roles import PROGRAM
from tests.tables import rows


async def test_the_history_lists_the_changes_of_every_writer_newest_first(
    directory: asyncpg.Pool,
) -> None:
    login = await directory.fetchval("SELECT session_user")
    added = await members.add(
        telegram_id="1", name="Ana", primary_role="developer", actor="bot", reason="met in Lima"
    )
    await directory.execute("UPDATE community_members SET country = 'Chile'")
    await CommunityMember.update({CommunityMember.name: "Ana María"}, force=True)
    await members.remove("#1", actor="Luis", reason="left")

    page = await audit.history("#1")
    assert page.next_cursor is None
    assert [(entry.actor, entry.reason) for entry in page.items] == [
        ("Luis", "left"),
        (f"db:{PROGRAM}", None),
        (f"db:{login}", None),
        ("bot", "met in Lima"),
    ]
    assert [entry.action for entry in page.items] == [AuditAction.UPDATE] * 3 + [AuditAction.INSERT]
    assert isinstance(page.items[0].action, AuditAction)
    assert page.items[1].changes == {"name": ["Ana", "Ana María"]}
    assert page.items[2].changes == {"country": [None, "Chile"]}
    assert page.items[3].changes["member_id"] == [None, "#1"]
    assert {(entry.row_id, entry.table_name, entry.member_id) for entry in page.items} == {
        (added.id, "community_members", "#1")
    }
    assert all(entry.changed_at.utcoffset() is not None for entry in page.items)


async def test_the_history_of_a_member_includes_the_invitations_they_created(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, status="active")
    made = await rows.invitation(directory, created_by="#1")
    await directory.execute("UPDATE community_invitations SET status = 'cancelled'")
    await rows.invitation(directory)  # another member's

    entries = (await audit.history("#1")).items
    assert [(entry.table_name, entry.action) for entry in entries] == [
        ("community_invitations", AuditAction.UPDATE),
        ("community_invitations", AuditAction.INSERT),
        ("community_members", AuditAction.INSERT),
    ]
    assert entries[0].row_id == made["invitation_id"]
    assert entries[0].changes == {"status": ["pending", "cancelled"]}


async def test_the_history_of_an_unknown_member_is_empty(directory: asyncpg.Pool) -> None:
    page = await audit.history("#99")
    assert (page.items, page.next_cursor) == ([], None)


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6])
async def test_all_pages_together_contain_the_whole_history(
    directory: asyncpg.Pool, limit: int
) -> None:
    await members.add(telegram_id="1", name="0", primary_role="developer")
    for number in range(1, 6):
        await members.update_profile("#1", name=str(number))
    whole = (await audit.history("#1", limit=100)).items
    assert [entry.changes["name"][1] for entry in whole] == ["5", "4", "3", "2", "1", "0"]

    turned: list[audit.Entry] = []
    after: str | None = None
    while True:
        page = await audit.history("#1", after=after, limit=limit)
        turned += page.items
        after = page.next_cursor
        if after is None:
            break
        assert len(page.items) == limit
        # A change between two pages is newer than all of them.
        await members.update_profile("#1", country=f"country {len(turned)}")
    assert turned == whole


@pytest.mark.parametrize("limit", [0, 101, -(10**30)])
async def test_a_page_of_history_has_1_to_100_entries(directory: asyncpg.Pool, limit: int) -> None:
    with pytest.raises(InvalidInput) as refused:
        await audit.history("#1", limit=limit)
    assert refused.value.field == "limit"


@pytest.mark.parametrize("cursor", ["", "x", "…", "eyJhIjoxfQ"])
async def test_a_malformed_cursor_is_refused(directory: asyncpg.Pool, cursor: str) -> None:
    with pytest.raises(InvalidCursor):
        await audit.history("#1", after=cursor)
