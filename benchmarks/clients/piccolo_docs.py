"""Piccolo as its documentation shows it, with its own table classes, engine and pool."""

import uuid
from datetime import UTC, date, datetime
from importlib.metadata import version
from typing import Any, ClassVar

from piccolo.columns import JSONB, UUID, Boolean, Date, ForeignKey, Integer, Timestamptz, Varchar
from piccolo.columns.combination import WhereRaw
from piccolo.engine.postgres import PostgresEngine
from piccolo.query.functions import Count
from piccolo.querystring import QueryString
from piccolo.table import Table

from benchmarks.clients.base import POOL
from benchmarks.clients.orm import ORM, PAGE, TREE, place, search_pattern, span


class Member(Table, tablename="community_members"):
    """A person."""

    id = UUID(primary_key=True)
    member_id = Varchar(length=20, default="", unique=True)  # a trigger assigns it
    telegram_id = Varchar(length=255, unique=True)
    telegram_username = Varchar(length=255, null=True, default=None)
    name = Varchar(length=255)
    primary_role = Varchar(length=50)
    organization = Varchar(length=255, null=True, default=None)
    country = Varchar(length=100, null=True, default=None)
    github_username = Varchar(length=255, null=True, default=None)
    github_verified = Boolean(default=False)
    github_verified_at = Timestamptz(null=True, default=None)
    github_profile_data = JSONB(null=True, default=None)
    status = Varchar(length=20, default="not_member")
    reputation_score = Integer(default=0)
    reputation_tier = Varchar(length=50, null=True, default="Novice")
    invited_by: ForeignKey["Member"] = ForeignKey("self", target_column="member_id")
    registration_fee_paid = Boolean(null=True, default=False)
    registration_fee_tx_hash = Varchar(length=255, null=True, default=None)
    profile_data = JSONB(null=True, default=None)
    created_at = Timestamptz()
    updated_at = Timestamptz()
    last_active_at = Timestamptz(null=True, default=None)
    deleted_at = Timestamptz(null=True, default=None)


class Invitation(Table, tablename="community_invitations"):
    """A code that lets one person in."""

    invitation_id = UUID(primary_key=True)
    invitation_code = Varchar(length=16, unique=True)
    created_by = ForeignKey(Member, target_column=Member.member_id)
    invited_telegram_username = Varchar(length=255, null=True, default=None)
    status = Varchar(length=20, default="pending")
    expires_at = Timestamptz()
    accepted_by = ForeignKey(Member, target_column=Member.member_id)
    accepted_at = Timestamptz(null=True, default=None)
    created_at = Timestamptz()
    updated_at = Timestamptz()


class Event(Table, tablename="member_participation"):
    """Something that a member did."""

    id = UUID(primary_key=True)
    member_id = ForeignKey(Member, target_column=Member.member_id)
    event_type = Varchar(length=50)
    platform = Varchar(length=50)
    room_id = Varchar(length=255)
    event_metadata = JSONB(null=True, default=None)
    occurred_at = Timestamptz()
    source_id = Varchar(length=255, null=True, default=None)


class Highlight(Table, tablename="member_daily_highlights"):
    """A member's activity on one day."""

    id = UUID(primary_key=True)
    member_id = ForeignKey(Member, target_column=Member.member_id)
    highlight_date = Date()
    message_count = Integer(null=True, default=0)
    reaction_count = Integer(null=True, default=0)
    voice_minutes = Integer(null=True, default=0)
    reputation_earned = Integer(null=True, default=0)
    created_at = Timestamptz()


COUNTED = """
SELECT member_id, count(*) FILTER (WHERE event_type = 'MESSAGE') AS message_count,
    count(*) FILTER (WHERE event_type = 'REACTION') AS reaction_count,
    coalesce(div(
        sum((event_metadata->>'duration_seconds')::numeric) FILTER (WHERE event_type = 'VOICE'), 60
    ), 0)::int AS voice_minutes
FROM member_participation
WHERE occurred_at >= {} AND occurred_at < {} AND event_type IN ('MESSAGE', 'REACTION', 'VOICE')
GROUP BY member_id
"""
BATCH = 1000
"""The rows of one INSERT: a statement takes at most 32,767 parameters."""


class Client(ORM):
    """Piccolo with its own pool."""

    versions: ClassVar = {name: version(name) for name in ("piccolo", "asyncpg")}
    event: ClassVar = Event
    engine: PostgresEngine

    async def open(self, url: str) -> None:
        """Open the connections."""
        self.engine = PostgresEngine(config=place(url)._asdict())
        for table in (Member, Invitation, Event, Highlight):
            table._meta.db = self.engine
        await self.engine.start_connection_pool(min_size=POOL, max_size=POOL)

    async def close(self) -> None:
        """Close the connections."""
        await self.engine.close_connection_pool()

    async def member(self, telegram_id: str) -> Member | None:
        """Return the member with this Telegram id."""
        return (
            await Member.objects()
            .where(Member.telegram_id == telegram_id, Member.deleted_at.is_null())
            .first()
        )

    async def record(self, event: dict[str, Any]) -> bool:
        """Store an event once, and return whether it is new."""
        return bool(await Event.insert(Event(**event)).on_conflict(action="DO NOTHING"))

    async def record_many(self, events: list[Event]) -> int:
        """Store many events in one statement, and return the number of new ones."""
        return len(await Event.insert(*events).on_conflict(action="DO NOTHING"))

    async def redeem(self, code: str, telegram_id: str, name: str) -> Any:
        """Create a member while the invitation's row is locked."""
        now = datetime.now(UTC)
        async with self.engine.transaction():
            invitation = (
                await Invitation.objects()
                .where(
                    Invitation.invitation_code == code,
                    Invitation.status == "pending",
                    Invitation.expires_at > now,
                )
                .lock_rows("UPDATE")
                .first()
            )
            if invitation is None:
                return None
            member = Member(
                telegram_id=telegram_id,
                name=name,
                primary_role="developer",
                status="pending",
                invited_by=invitation.created_by,
            )
            made = await Member.insert(member).returning(Member.id, Member.member_id)
            member.member_id = made[0]["member_id"]
            await invitation.update_self(
                {
                    Invitation.status: "accepted",
                    Invitation.accepted_by: member.member_id,
                    Invitation.accepted_at: now,
                }
            )
            return member

    async def directory(
        self, role: str, country: str, floor: int, after: tuple[int, uuid.UUID] | None
    ) -> Any:
        """Return a page of members and one more, the highest score first."""
        page = Member.objects().where(
            Member.primary_role == role,
            Member.country == country,
            Member.status == "active",
            Member.deleted_at.is_null(),
            Member.reputation_score >= floor,
        )
        if after:
            score, last = after
            page = page.where(
                # This condition is redundant, but an index can use it.
                Member.reputation_score <= score,
                (Member.reputation_score < score)
                | ((Member.reputation_score == score) & (Member.id < last)),
            )
        return await _best(page).limit(PAGE + 1)

    async def search(self, text: str) -> Any:
        """Return the highest scores among members with the text in the searched column.

        The column is in no model, because it would be read with each member.
        """
        members = Member.objects().where(
            Member.status == "active",
            Member.deleted_at.is_null(),
            WhereRaw("search_text LIKE {}", search_pattern(text)),
        )
        return await _best(members).limit(PAGE)

    async def last_30_days(self, member_id: str, since: date, until: date) -> list[Highlight]:
        """Return a member's highlights, newest first."""
        days = (Highlight.highlight_date >= since) & (Highlight.highlight_date <= until)
        return (
            await Highlight.objects()
            .where(Highlight.member_id == member_id, days)
            .order_by(Highlight.highlight_date, ascending=False)
        )

    async def last_30_days_raw(self, member_id: str, since: date, until: date) -> Any:
        """Count a member's events by day and type."""
        start, end = span(since, until)
        day = QueryString("({} AT TIME ZONE 'UTC')::date", Event.occurred_at, alias="day")
        return (
            await Event.select(day, Event.event_type, Count())
            .where(
                Event.member_id == member_id, Event.occurred_at >= start, Event.occurred_at < end
            )
            .group_by(day, Event.event_type)
            .order_by(day, Event.event_type)
        )

    async def roll_up(self, day: date) -> int:
        """Count each member's highlight of a day in SQL: Piccolo's count takes no condition."""
        counted = await Event.raw(COUNTED, *span(day, day))
        for start in range(0, len(counted), BATCH):
            highlights = (
                Highlight(highlight_date=day, **row) for row in counted[start : start + BATCH]
            )
            await Highlight.insert(*highlights).on_conflict(
                target=(Highlight.member_id, Highlight.highlight_date),
                action="DO UPDATE",
                values=[Highlight.message_count, Highlight.reaction_count, Highlight.voice_minutes],
            )
        return len(counted)

    async def tree(self, member_id: str) -> Any:
        """Return the member and everybody whom they invited, directly or not."""
        return await Member.raw(TREE.format(member_id="{}"), member_id)

    async def expire_overdue(self) -> int:
        """Mark overdue invitations as expired."""
        return len(
            await Invitation.update({Invitation.status: "expired"})
            .where(Invitation.status == "pending", Invitation.expires_at <= datetime.now(UTC))
            .returning(Invitation.invitation_id)
        )


def _best(members: Any) -> Any:
    return members.order_by(Member.reputation_score, Member.id, ascending=False)
