"""Invitations: the defaults and the triggers of the database."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from community_directory.tables import CommunityInvitation, InvitationStatus
from community_directory.tables.invitations import DEFAULT_VALIDITY
from tests.tables import rows

pytestmark = pytest.mark.schema

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


async def test_an_invitation_is_read_back_as_it_was_stored(directory: asyncpg.Pool) -> None:
    inviter, newcomer = await rows.member(directory), await rows.member(directory)
    columns = {
        "invitation_code": "ABCDEFGHJKMNPQRS",
        "created_by": inviter["member_id"],
        "invited_telegram_username": "ana",
        "status": InvitationStatus.ACCEPTED,
        "expires_at": NOON,
        "accepted_by": newcomer["member_id"],
        "accepted_at": NOON,
    }
    written = CommunityInvitation(**columns)
    await written.save()

    read = await CommunityInvitation.objects().get(
        CommunityInvitation.invitation_id == written.invitation_id
    )
    assert read is not None
    assert read.to_dict() == columns | {
        "invitation_id": written.invitation_id,
        "created_at": written.created_at,
        "updated_at": written.updated_at,
    }


async def test_an_invitation_is_open_for_three_days_by_default(
    directory: asyncpg.Pool,
) -> None:
    by_sql = await rows.invitation(directory)
    assert by_sql["status"] == InvitationStatus.PENDING
    assert by_sql["expires_at"] - by_sql["created_at"] == DEFAULT_VALIDITY == timedelta(days=3)
    assert datetime.now(UTC) - by_sql["created_at"] < timedelta(minutes=1)
    assert by_sql["updated_at"] == by_sql["created_at"]

    by_class = CommunityInvitation(invitation_code="ABCDEFGH", created_by=by_sql["created_by"])
    await by_class.save()
    await by_class.refresh()
    assert by_class.status == InvitationStatus.PENDING
    # Python reads its clock for each of them, some microseconds apart.
    assert abs(by_class.expires_at - by_class.created_at - DEFAULT_VALIDITY) < timedelta(seconds=1)
    for optional in ("invited_telegram_username", "accepted_by", "accepted_at"):
        assert by_sql[optional] is None
        assert getattr(by_class, optional) is None
    assert by_class.invitation_id != by_sql["invitation_id"]


async def test_an_invitation_is_displayed_by_its_code(directory: asyncpg.Pool) -> None:
    await rows.invitation(directory, invitation_code="ABCDEFGH")
    assert await CommunityInvitation.select(CommunityInvitation.get_readable()) == [
        {"readable": "ABCDEFGH"}
    ]


async def test_every_edit_of_an_invitation_moves_updated_at(directory: asyncpg.Pool) -> None:
    inviter, newcomer = await rows.member(directory), await rows.member(directory)
    edits = {
        "invitation_id": "b5ebbec2-e9c5-4af9-8ab4-2cbfd2d172ad",
        "invitation_code": "ABCDEFGH",
        "created_by": inviter["member_id"],
        "invited_telegram_username": "ana",
        "expires_at": NOON,
        "created_at": LONG_AGO,
        "updated_at": LONG_AGO,
        "status": "cancelled",
    }
    for column, value in edits.items():
        before = await rows.invitation(directory)
        after = await rows.fetch_row(
            directory,
            f"UPDATE community_invitations SET {column} = $2"
            " WHERE invitation_code = $1 RETURNING *",
            before["invitation_code"],
            value,
        )
        assert (column, after["updated_at"] > before["updated_at"]) == (column, True)
        assert datetime.now(UTC) - after["updated_at"] < timedelta(minutes=1)

    before = await rows.invitation(directory, created_by=inviter["member_id"])
    after = await rows.fetch_row(
        directory,
        "UPDATE community_invitations"
        " SET status = 'accepted', accepted_by = $2, accepted_at = now(), updated_at = $3"
        " WHERE invitation_id = $1 RETURNING *",
        before["invitation_id"],
        newcomer["member_id"],
        LONG_AGO,
    )
    assert after["updated_at"] > before["updated_at"]

    all_columns = {column._meta.name for column in CommunityInvitation._meta.columns}
    assert all_columns == edits.keys() | {"accepted_by", "accepted_at"}


async def test_an_edit_of_an_invitation_through_its_class_moves_updated_at(
    directory: asyncpg.Pool,
) -> None:
    before = await rows.invitation(directory)
    invitation = await CommunityInvitation.objects().first()
    assert invitation is not None
    invitation.status = InvitationStatus.CANCELLED
    await invitation.save()  # writes the old updated_at, too
    assert invitation.updated_at == before["updated_at"]
    await invitation.refresh()
    assert invitation.updated_at > before["updated_at"]


async def test_an_update_that_changes_nothing_in_an_invitation_is_not_an_edit(
    directory: asyncpg.Pool,
) -> None:
    before = await rows.invitation(directory)
    await directory.execute(
        "UPDATE community_invitations SET status = status, expires_at = expires_at"
    )
    assert await rows.fetch_row(directory, "SELECT * FROM community_invitations") == before


@pytest.mark.parametrize("status", ["accepted", "cancelled"])
async def test_an_accepted_or_cancelled_invitation_cannot_change(
    directory: asyncpg.Pool, status: str
) -> None:
    await rows.member(directory, member_id="#1")
    await rows.member(directory, member_id="#2")
    accepted = {"accepted_by": "#1", "accepted_at": NOON} if status == "accepted" else {}
    await rows.invitation(directory, status=status, **accepted)
    for change in (
        "status = 'pending', accepted_by = NULL, accepted_at = NULL",
        "status = 'expired', accepted_by = NULL, accepted_at = NULL",
        "status = 'cancelled', accepted_by = NULL, accepted_at = now()",
        "status = 'accepted', accepted_by = '#2', accepted_at = now()",
    ):
        with pytest.raises(asyncpg.CheckViolationError) as error:
            await directory.execute(f"UPDATE community_invitations SET {change}")
        assert error.value.constraint_name == "invitation_status_transition"
    # The erasure of a person deletes the username.
    await directory.execute(
        "UPDATE community_invitations SET status = status, invited_telegram_username = NULL"
    )


async def test_a_pending_or_expired_invitation_may_become_pending_expired_or_cancelled(
    directory: asyncpg.Pool,
) -> None:
    for before in ("pending", "expired"):
        for after in ("pending", "expired", "cancelled"):
            made = await rows.invitation(directory, status=before)
            await directory.execute(
                "UPDATE community_invitations SET status = $2 WHERE invitation_id = $1",
                made["invitation_id"],
                after,
            )
