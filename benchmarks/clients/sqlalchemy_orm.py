"""SQLAlchemy 2's ORM on asyncpg as its documentation shows it, with a session for each call."""

from contextlib import AsyncExitStack
from datetime import date, datetime
from importlib.metadata import version
from typing import Any, ClassVar, Final
from uuid import UUID

from sqlalchemy import (
    Date,
    DateTime,
    ForeignKey,
    Numeric,
    cast,
    func,
    make_url,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, aliased, mapped_column
from sqlalchemy.schema import FetchedValue

from benchmarks.clients.base import POOL
from benchmarks.clients.orm import ORM, PAGE, search_pattern, span


class Base(DeclarativeBase):
    """The types of all models."""

    type_annotation_map: ClassVar = {datetime: DateTime(timezone=True), dict[str, Any]: JSONB}


class Member(Base):
    """A person."""

    __tablename__ = "community_members"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    member_id: Mapped[str] = mapped_column(
        unique=True, server_default=FetchedValue()
    )  # a trigger assigns it
    telegram_id: Mapped[str] = mapped_column(unique=True)
    telegram_username: Mapped[str | None]
    name: Mapped[str]
    primary_role: Mapped[str]
    organization: Mapped[str | None]
    country: Mapped[str | None]
    github_username: Mapped[str | None]
    github_verified: Mapped[bool] = mapped_column(default=False)
    github_verified_at: Mapped[datetime | None]
    github_profile_data: Mapped[dict[str, Any] | None]
    status: Mapped[str] = mapped_column(default="not_member")
    reputation_score: Mapped[int] = mapped_column(default=0)
    reputation_tier: Mapped[str | None] = mapped_column(default="Novice")
    invited_by: Mapped[str | None] = mapped_column(ForeignKey("community_members.member_id"))
    registration_fee_paid: Mapped[bool | None] = mapped_column(default=False)
    registration_fee_tx_hash: Mapped[str | None]
    profile_data: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_active_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
    # The database computes it; a query reads it only to search.
    search_text: Mapped[str] = mapped_column(FetchedValue(), deferred=True)


class Invitation(Base):
    """A code that lets one person in."""

    __tablename__ = "community_invitations"

    invitation_id: Mapped[UUID] = mapped_column(
        primary_key=True, server_default=func.gen_random_uuid()
    )
    invitation_code: Mapped[str] = mapped_column(unique=True)
    created_by: Mapped[str] = mapped_column(ForeignKey("community_members.member_id"))
    invited_telegram_username: Mapped[str | None]
    status: Mapped[str] = mapped_column(default="pending")
    expires_at: Mapped[datetime]
    accepted_by: Mapped[str | None] = mapped_column(ForeignKey("community_members.member_id"))
    accepted_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Event(Base):
    """Something that a member did."""

    __tablename__ = "member_participation"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    member_id: Mapped[str] = mapped_column(ForeignKey("community_members.member_id"))
    event_type: Mapped[str]
    platform: Mapped[str]
    room_id: Mapped[str]
    event_metadata: Mapped[dict[str, Any] | None]
    occurred_at: Mapped[datetime] = mapped_column(server_default=func.now())
    source_id: Mapped[str | None]


class Highlight(Base):
    """A member's activity on one day."""

    __tablename__ = "member_daily_highlights"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    member_id: Mapped[str] = mapped_column(ForeignKey("community_members.member_id"))
    highlight_date: Mapped[date]
    message_count: Mapped[int | None] = mapped_column(default=0)
    reaction_count: Mapped[int | None] = mapped_column(default=0)
    voice_minutes: Mapped[int | None] = mapped_column(default=0)
    reputation_earned: Mapped[int | None] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Client(ORM):
    """An engine with two factories of sessions: reading sessions have no transaction."""

    versions: ClassVar = {name: version(name) for name in ("sqlalchemy", "asyncpg")}
    engine: AsyncEngine
    reading: async_sessionmaker[AsyncSession]
    writing: async_sessionmaker[AsyncSession]

    async def open(self, url: str) -> None:
        """Open the connections."""
        self.engine = create_async_engine(
            make_url(url).set(drivername="postgresql+asyncpg"), pool_size=POOL, max_overflow=0
        )
        autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self.reading = async_sessionmaker(autocommit, expire_on_commit=False)
        self.writing = async_sessionmaker(self.engine, expire_on_commit=False)
        async with AsyncExitStack() as connections:
            for _ in range(POOL):
                await connections.enter_async_context(self.engine.connect())

    async def close(self) -> None:
        """Close the connections."""
        await self.engine.dispose()

    async def member(self, telegram_id: str) -> Member | None:
        """Return the member with this Telegram id."""
        statement = select(Member).where(
            Member.telegram_id == telegram_id, Member.deleted_at.is_(None)
        )
        async with self.reading() as session:
            return await session.scalar(statement)

    async def record(self, event: dict[str, Any]) -> bool:
        """Store an event once, and return whether it is new."""
        async with self.writing.begin() as session:
            new = await session.scalar(
                insert(Event).on_conflict_do_nothing().returning(Event.id), event
            )
            return new is not None

    async def record_many(self, events: list[dict[str, Any]]) -> int:
        """Store many events in one statement, and return the number of new ones."""
        async with self.writing.begin() as session:
            new = await session.scalars(
                insert(Event).on_conflict_do_nothing().returning(Event.id), events
            )
            return len(new.all())

    async def redeem(self, code: str, telegram_id: str, name: str) -> Member | None:
        """Create a member while the invitation's row is locked."""
        claim = select(Invitation).where(
            Invitation.invitation_code == code,
            Invitation.status == "pending",
            Invitation.expires_at > func.now(),
        )
        async with self.writing.begin() as session:
            invitation = await session.scalar(claim.with_for_update())
            if invitation is None:
                return None
            member = Member(
                telegram_id=telegram_id,
                name=name,
                primary_role="developer",
                status="pending",
                invited_by=invitation.created_by,
            )
            session.add(member)
            await session.flush()
            invitation.status = "accepted"
            invitation.accepted_by = member.member_id
            invitation.accepted_at = func.now()
            return member

    async def directory(
        self, role: str, country: str, floor: int, after: tuple[int, UUID] | None
    ) -> Any:
        """Return a page of members and one more, the highest score first."""
        statement = select(Member).where(
            Member.primary_role == role,
            Member.country == country,
            Member.status == "active",
            Member.deleted_at.is_(None),
            Member.reputation_score >= floor,
        )
        if after:
            statement = statement.where(tuple_(Member.reputation_score, Member.id) < after)
        async with self.reading() as session:
            return (await session.scalars(_best(statement).limit(PAGE + 1))).all()

    async def search(self, text: str) -> Any:
        """Return the highest scores among members with the text in the searched column."""
        statement = select(Member).where(
            Member.status == "active",
            Member.deleted_at.is_(None),
            Member.search_text.like(search_pattern(text)),
        )
        async with self.reading() as session:
            return (await session.scalars(_best(statement).limit(PAGE))).all()

    async def last_30_days(self, member_id: str, since: date, until: date) -> Any:
        """Return a member's highlights, newest first."""
        statement = (
            select(Highlight)
            .where(Highlight.member_id == member_id, Highlight.highlight_date.between(since, until))
            .order_by(Highlight.highlight_date.desc())
        )
        async with self.reading() as session:
            return (await session.scalars(statement)).all()

    async def last_30_days_raw(self, member_id: str, since: date, until: date) -> Any:
        """Count a member's events by day and type."""
        async with self.reading() as session:
            return (await session.execute(count_by_day(Event, member_id, since, until))).all()

    async def roll_up(self, day: date) -> int:
        """Count each member's highlight of a day in the database."""
        upsert = insert(Highlight)
        counts = {name: upsert.excluded[name] for name in COUNTS}
        upsert = upsert.on_conflict_do_update(
            index_elements=["member_id", "highlight_date"], set_=counts
        )
        async with self.writing.begin() as session:
            rows = [
                {**row, "highlight_date": day}
                for row in (await session.execute(count_highlights(Event, day))).mappings()
            ]
            if rows:
                await session.execute(upsert, rows)
            return len(rows)

    async def tree(self, member_id: str) -> Any:
        """Return the member and everybody whom they invited, directly or not."""
        columns = (Member.member_id, Member.name, Member.invited_by)
        tree = select(*columns).where(Member.member_id == member_id).cte("tree", recursive=True)
        invited = aliased(Member)
        below = select(invited.member_id, invited.name, invited.invited_by).join(
            tree, invited.invited_by == tree.c.member_id
        )
        async with self.reading() as session:
            return (await session.execute(select(tree.union_all(below)))).all()

    async def expire_overdue(self) -> int:
        """Mark overdue invitations as expired."""
        overdue = Invitation.status == "pending", Invitation.expires_at <= func.now()
        statement = update(Invitation).where(*overdue).values(status="expired")
        async with self.writing.begin() as session:
            result: Any = await session.execute(
                statement.execution_options(synchronize_session=False)
            )
            return int(result.rowcount)


COUNTS: Final = ("message_count", "reaction_count", "voice_minutes")


def count_by_day(event: Any, member_id: str, since: date, until: date) -> Any:
    """Return a SELECT of a member's events by day and type; `event` has the columns."""
    start, end = span(since, until)
    day = cast(func.timezone("UTC", event.occurred_at), Date).label("day")
    return (
        select(day, event.event_type, func.count())
        .where(event.member_id == member_id, event.occurred_at >= start, event.occurred_at < end)
        .group_by(day, event.event_type)
        .order_by(day, event.event_type)
    )


def count_highlights(event: Any, day: date) -> Any:
    """Return a SELECT of each member's counts on a day; `event` has the columns."""
    start, end = span(day, day)
    seconds = func.sum(cast(event.event_metadata["duration_seconds"].astext, Numeric))
    counts = (
        func.count().filter(event.event_type == "MESSAGE"),
        func.count().filter(event.event_type == "REACTION"),
        func.coalesce(func.div(seconds.filter(event.event_type == "VOICE"), 60), 0),
    )
    labels = (count.label(name) for count, name in zip(counts, COUNTS, strict=True))
    return (
        select(event.member_id, *labels)
        .where(event.occurred_at >= start, event.occurred_at < end)
        .where(event.event_type.in_(["MESSAGE", "REACTION", "VOICE"]))
        .group_by(event.member_id)
    )


def _best(statement: Any) -> Any:
    return statement.order_by(Member.reputation_score.desc(), Member.id.desc())
