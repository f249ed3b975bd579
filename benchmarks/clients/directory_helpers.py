"""This project's own query helpers, called as a bot calls them."""

from contextlib import AbstractAsyncContextManager
from datetime import date
from typing import Any
from uuid import UUID

from benchmarks.clients.base import POOL, parsed
from benchmarks.clients.base import Client as Base
from community_directory.database import connect
from community_directory.errors import InvitationExpired, InvitationNotFound, InvitationUsed
from community_directory.queries import highlights, invitations, members, participation
from community_directory.queries.search import SORT_ORDERS

REFUSED = (InvitationExpired, InvitationNotFound, InvitationUsed)


class Client(Base):
    """The helpers, on their own pool."""

    _connected: AbstractAsyncContextManager[Any]

    async def open(self, url: str) -> None:
        """Open the connections."""
        self._connected = connect(url, min_size=POOL, max_size=POOL)
        await self._connected.__aenter__()

    async def close(self) -> None:
        """Close the connections."""
        await self._connected.__aexit__(None, None, None)

    def native(self, operation: str, arguments: list[Any]) -> tuple[Any, ...]:
        """Convert events to the helpers' own, and places to cursors."""
        match operation:
            case "record_many":
                return (
                    [participation.NewEvent(**event) for event in parsed(operation, arguments)[0]],
                )
            case "directory":
                *conditions, after = arguments
                if after is None:
                    return (*conditions, None)
                score, key = after
                cursors = SORT_ORDERS["reputation"].cursors
                return (*conditions, cursors.encode((score, UUID(key))))
            case _:
                return parsed(operation, arguments)

    def answer(self, operation: str, result: Any) -> Any:
        """Convert the helpers' objects to the common answer."""
        match operation:
            case "member":
                return result and [
                    result.member_id,
                    result.name,
                    result.status,
                    result.reputation_score,
                ]
            case "record":
                return result is not None
            case "record_many":
                return len(result.inserted)
            case "redeem":
                return result and [
                    result.member.telegram_id,
                    result.member.status,
                    result.member.invited_by,
                ]
            case "directory":
                return [[member.member_id, member.reputation_score] for member in result.items]
            case "search":
                return [member.member_id for member in result.items]
            case "last_30_days":
                return [
                    [str(day.highlight_date), day.message_count, day.reaction_count]
                    for day in result.items
                ]
            case "last_30_days_raw":
                return [[str(each.day), each.event_type, each.events] for each in result]
            case "tree":
                return sorted(branch.member_id for branch in result)
            case _:
                return result

    async def member(self, telegram_id: str) -> Any:
        """Return the member with this Telegram id."""
        return await members.find_by_telegram_id(telegram_id)

    async def record(self, event: dict[str, Any]) -> Any:
        """Store one event."""
        return await participation.record(**event)

    async def record_many(self, events: list[participation.NewEvent]) -> Any:
        """Store a batch."""
        return await participation.record_many(events)

    async def redeem(self, code: str, telegram_id: str, name: str) -> Any:
        """Redeem an invitation."""
        try:
            return await invitations.redeem(
                code, telegram_id=telegram_id, name=name, primary_role="developer"
            )
        except REFUSED:
            return None

    async def directory(self, role: str, country: str, floor: int, after: str | None) -> Any:
        """Return a page of members."""
        return await members.search(role=role, country=country, min_reputation=floor, after=after)

    async def search(self, text: str) -> Any:
        """Search members by a word."""
        return await members.search(text)

    async def last_30_days(self, member_id: str, since: date, until: date) -> Any:
        """Return a member's highlights, newest first."""
        return await highlights.between(since, until, member_id=member_id)

    async def last_30_days_raw(self, member_id: str, since: date, until: date) -> Any:
        """Count a member's events by day and type."""
        return await participation.activity(member_id, since=since, until=until, zone="UTC")

    async def roll_up(self, day: date) -> Any:
        """Count a day."""
        return await highlights.roll_up(day, zone="UTC")

    async def tree(self, member_id: str) -> Any:
        """Return the member and everybody whom they invited."""
        return (await invitations.tree(member_id)).items

    async def expire_overdue(self) -> Any:
        """Mark overdue invitations as expired."""
        return await invitations.expire_overdue()
