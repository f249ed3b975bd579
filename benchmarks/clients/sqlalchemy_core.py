"""SQLAlchemy 2's Core on asyncpg, without its ORM: rows instead of objects, and no session."""

from contextlib import AsyncExitStack
from datetime import date
from importlib.metadata import version
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import Select, Table, func, inspect, literal, make_url, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from benchmarks.clients import sqlalchemy_orm
from benchmarks.clients.base import POOL
from benchmarks.clients.orm import ORM, PAGE, search_pattern
from benchmarks.clients.sqlalchemy_orm import (
    COUNTS,
    Event,
    Highlight,
    Invitation,
    Member,
    count_by_day,
    count_highlights,
)


def _table(model: type[sqlalchemy_orm.Base]) -> Table:
    table = inspect(model).local_table
    assert isinstance(table, Table)
    return table


MEMBERS, INVITATIONS, EVENTS, HIGHLIGHTS = map(_table, (Member, Invitation, Event, Highlight))
MEMBER = [column for column in MEMBERS.c if column.name != "search_text"]
LISTED = MEMBERS.c.status == "active", MEMBERS.c.deleted_at.is_(None)


class Client(ORM):
    """An engine whose reading connections have no transaction."""

    versions: ClassVar = {name: version(name) for name in ("sqlalchemy", "asyncpg")}
    engine: AsyncEngine
    autocommit: AsyncEngine

    async def open(self, url: str) -> None:
        """Open the connections."""
        self.engine = create_async_engine(
            make_url(url).set(drivername="postgresql+asyncpg"), pool_size=POOL, max_overflow=0
        )
        self.autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        async with AsyncExitStack() as connections:
            for _ in range(POOL):
                await connections.enter_async_context(self.engine.connect())

    async def close(self) -> None:
        """Close the connections."""
        await self.engine.dispose()

    async def _read(self, statement: Select[Any]) -> Any:
        async with self.autocommit.connect() as connection:
            return (await connection.execute(statement)).all()

    async def member(self, telegram_id: str) -> Any:
        """Return the member with this Telegram id."""
        found = await self._read(
            select(*MEMBER).where(
                MEMBERS.c.telegram_id == telegram_id, MEMBERS.c.deleted_at.is_(None)
            )
        )
        return found[0] if found else None

    async def record(self, event: dict[str, Any]) -> bool:
        """Store an event once, and return whether it is new."""
        return await self.record_many([event]) == 1

    async def record_many(self, events: list[dict[str, Any]]) -> int:
        """Store many events in one statement, and return the number of new ones."""
        statement = insert(EVENTS).on_conflict_do_nothing().returning(EVENTS.c.id)
        async with self.engine.begin() as connection:
            return len((await connection.execute(statement, events)).all())

    async def redeem(self, code: str, telegram_id: str, name: str) -> Any:
        """Create a member while the invitation's row is locked."""
        claim = select(INVITATIONS.c.invitation_id, INVITATIONS.c.created_by).where(
            INVITATIONS.c.invitation_code == code,
            INVITATIONS.c.status == "pending",
            INVITATIONS.c.expires_at > func.now(),
        )
        async with self.engine.begin() as connection:
            invitation = (await connection.execute(claim.with_for_update())).first()
            if invitation is None:
                return None
            newcomer = insert(MEMBERS).values(
                telegram_id=telegram_id,
                name=name,
                primary_role="developer",
                status="pending",
                invited_by=invitation.created_by,
            )
            member = (await connection.execute(newcomer.returning(*MEMBER))).one()
            accept = update(INVITATIONS).where(
                INVITATIONS.c.invitation_id == invitation.invitation_id
            )
            await connection.execute(
                accept.values(
                    status="accepted", accepted_by=member.member_id, accepted_at=func.now()
                )
            )
            return member

    async def directory(
        self, role: str, country: str, floor: int, after: tuple[int, UUID] | None
    ) -> Any:
        """Return a page of members and one more, the highest score first."""
        statement = select(*MEMBER).where(
            MEMBERS.c.primary_role == role,
            MEMBERS.c.country == country,
            *LISTED,
            MEMBERS.c.reputation_score >= floor,
        )
        if after:
            statement = statement.where(tuple_(MEMBERS.c.reputation_score, MEMBERS.c.id) < after)
        return await self._read(_best(statement).limit(PAGE + 1))

    async def search(self, text: str) -> Any:
        """Return the highest scores among members with the text in the searched column."""
        found = MEMBERS.c.search_text.like(search_pattern(text))
        statement = select(*MEMBER).where(*LISTED, found)
        return await self._read(_best(statement).limit(PAGE))

    async def last_30_days(self, member_id: str, since: date, until: date) -> Any:
        """Return a member's highlights, newest first."""
        return await self._read(
            select(*HIGHLIGHTS.c)
            .where(
                HIGHLIGHTS.c.member_id == member_id,
                HIGHLIGHTS.c.highlight_date.between(since, until),
            )
            .order_by(HIGHLIGHTS.c.highlight_date.desc())
        )

    async def last_30_days_raw(self, member_id: str, since: date, until: date) -> Any:
        """Count a member's events by day and type."""
        return await self._read(count_by_day(EVENTS.c, member_id, since, until))

    async def roll_up(self, day: date) -> int:
        """Count each member's highlight of a day in one statement."""
        counted = count_highlights(EVENTS.c, day).add_columns(literal(day))
        upsert = insert(HIGHLIGHTS).from_select(["member_id", *COUNTS, "highlight_date"], counted)
        upsert = upsert.on_conflict_do_update(
            index_elements=["member_id", "highlight_date"],
            set_={name: upsert.excluded[name] for name in COUNTS},
        )
        async with self.engine.begin() as connection:
            return int((await connection.execute(upsert)).rowcount)

    async def tree(self, member_id: str) -> Any:
        """Return the member and everybody whom they invited, directly or not."""
        columns = ("member_id", "name", "invited_by")
        root = select(*(MEMBERS.c[name] for name in columns))
        tree = root.where(MEMBERS.c.member_id == member_id).cte("tree", recursive=True)
        invited = MEMBERS.alias()
        below = select(*(invited.c[name] for name in columns)).join(
            tree, invited.c.invited_by == tree.c.member_id
        )
        return await self._read(select(tree.union_all(below)))

    async def expire_overdue(self) -> int:
        """Mark overdue invitations as expired."""
        overdue = INVITATIONS.c.status == "pending", INVITATIONS.c.expires_at <= func.now()
        async with self.engine.begin() as connection:
            statement = update(INVITATIONS).where(*overdue).values(status="expired")
            return int((await connection.execute(statement)).rowcount)


def _best(statement: Select[Any]) -> Select[Any]:
    return statement.order_by(MEMBERS.c.reputation_score.desc(), MEMBERS.c.id.desc())
