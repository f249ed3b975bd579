"""Stores the items of an export: authors become contacts, and what they did becomes events."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta

from community_directory.calendar import load_zone
from community_directory.database import Statement, engine, long_running, transaction
from community_directory.errors import InvalidInput, MemberBanned, MemberExists
from community_directory.imports import IMPORT_ACTOR
from community_directory.imports.export import (
    Author,
    ExportedEvent,
    NotAnExport,
    SkippedItem,
    SkipReason,
    TruncatedExport,
)
from community_directory.queries import members
from community_directory.queries.events import BATCH_SIZE
from community_directory.queries.participation import NewEvent, record_many
from community_directory.tables import EventType, Platform
from community_directory.tables.checks import MAX_VOICE_SECONDS

CONTACT_ROLE = "contact"
"""The primary role of a new contact."""
DRY_RUN_MEMBER_ID = "new"
"""Stands for the number of a contact that a dry run does not add."""
MAX_NAME_LENGTH = 255

# A contact that an earlier import made of a Discord account (rank 0) comes before a member whose
# profile names that account (rank 1): otherwise the same history would be stored twice.
FIND_KNOWN_PEOPLE = Statement("""
SELECT telegram_id AS account, member_id, 0 AS rank FROM community_members
WHERE telegram_id = ANY(:accounts)
UNION ALL
SELECT 'discord:' || (profile_data ->> 'discord_id'), member_id, 1 FROM community_members
WHERE profile_data ->> 'discord_id' = ANY(:discord_ids)
ORDER BY rank, member_id
""")


@dataclass(slots=True)
class Report:
    """The result of an import."""

    inserted: Counter[str] = field(default_factory=Counter)
    """New events, by type."""
    duplicates: Counter[str] = field(default_factory=Counter)
    """Events that were already stored, by type."""
    rooms: Counter[str] = field(default_factory=Counter)
    """Events, new or not, by the name of the chat."""
    skipped: Counter[SkipReason] = field(default_factory=Counter)
    """Items that became no event, by the reason."""
    new_contacts: int = 0
    known_people: int = 0
    days: set[date] = field(default_factory=set)
    """The days, in the community's time zone, that have events of this export."""
    last: ExportedEvent | None = None
    """The last event that was read."""
    broken: TruncatedExport | None = None
    """The error that ended the reading, if the file is not complete."""


async def import_history(
    items: Iterable[ExportedEvent | SkippedItem], platform: Platform, *, dry_run: bool = False
) -> Report:
    """Store the events of an export and return a report; a repeated import stores nothing twice.

    Authors who are not in the directory become contacts. Each batch of 1,000 events is one
    transaction. If the file is truncated, all events before that point are stored.

    A dry run does everything except adding contacts, and rolls back each batch. It may count as
    new an event that can't be stored, or that another batch of the export contains too.

    Raises:
        NotAnExport: The export contains nothing at all.
    """
    writer = _HistoryWriter(platform, dry_run=dry_run)
    batch: list[ExportedEvent] = []
    try:
        for item in items:
            if isinstance(item, SkippedItem):
                writer.report.skipped[item.reason] += item.count
                continue
            batch.append(item)
            writer.report.last = item
            if len(batch) == BATCH_SIZE:
                await writer.write_batch(batch)
                batch = []
    except TruncatedExport as error:
        writer.report.broken = error
    await writer.write_batch(batch)
    report = writer.report
    if not (report.rooms or report.skipped or report.broken):
        raise NotAnExport
    return report


class _HistoryWriter:
    """Writes batches of events, and remembers the authors of the export."""

    def __init__(self, platform: Platform, *, dry_run: bool) -> None:
        self.report = Report()
        self._platform = platform
        self._dry_run = dry_run
        self._zone = load_zone(None)
        self._member_ids: dict[str, str | SkippedItem] = {}
        """The number of each author, or why their events are skipped, by `Author.telegram_id`."""

    async def write_batch(self, events: list[ExportedEvent]) -> None:
        """Store events, and the contacts that they need, in one transaction."""
        if not events:
            return
        with long_running():
            async with transaction() as current:
                await self._resolve_authors(
                    {event.author.telegram_id: event.author for event in events}
                )
                await self._record_events(events)
                if self._dry_run:
                    await current.rollback()

    async def _resolve_authors(self, authors: dict[str, Author]) -> None:
        """Find or add the member of each author."""
        unresolved = authors.keys() - self._member_ids.keys()
        known = await engine.fetch(
            FIND_KNOWN_PEOPLE,
            accounts=list(unresolved),
            discord_ids=[
                discord_id for account in unresolved if (discord_id := authors[account].discord_id)
            ],
        )
        for account, member_id, _ in known:
            if account not in self._member_ids:
                self._member_ids[account] = member_id
                self.report.known_people += 1
        # Sorted, so that two imports at the same time do not deadlock.
        for account in sorted(unresolved - self._member_ids.keys()):
            self._member_ids[account] = await self._add_author(authors[account])

    async def _add_author(self, author: Author) -> str | SkippedItem:
        if author.name is None:
            return SkippedItem(SkipReason.DELETED_ACCOUNT)
        try:
            if self._dry_run:
                await members.check_addable(author.telegram_id)
                member_id = DRY_RUN_MEMBER_ID
            else:
                member_id = await self._add_contact(author, author.name)
        except MemberBanned:
            return SkippedItem(SkipReason.BANNED_AUTHOR)
        except MemberExists as error:
            # Another program has added the account since it was looked up.
            return error.member_id
        self.report.new_contacts += 1
        return member_id

    async def _add_contact(self, author: Author, name: str) -> str:
        try:
            return await self._add_contact_named(author, _clean_name(name))
        except InvalidInput:
            # The name has no visible character.
            return await self._add_contact_named(author, author.telegram_id)

    async def _add_contact_named(self, author: Author, name: str) -> str:
        profile = None if author.discord_id is None else {"discord_id": author.discord_id}
        async with transaction():
            added = await members.add(
                telegram_id=author.telegram_id,
                name=name,
                primary_role=CONTACT_ROLE,
                profile_data=profile,
                actor=IMPORT_ACTOR,
            )
        return added.member_id

    async def _record_events(self, events: list[ExportedEvent]) -> None:
        report = self.report
        new_events: list[NewEvent] = []
        exported: dict[int, ExportedEvent] = {}
        planned: set[tuple[str, ...]] = set()
        for event in events:
            member_id = self._member_ids[event.author.telegram_id]
            if isinstance(member_id, SkippedItem):
                report.skipped[member_id.reason] += 1
            elif member_id == DRY_RUN_MEMBER_ID:
                self._count_planned(event, planned)
            else:
                new_event = self._make_event(event, member_id)
                new_events.append(new_event)
                exported[id(new_event)] = event
        recorded = await record_many(new_events)
        report.inserted.update(event.event_type for event in recorded.inserted)
        report.duplicates.update(event.event_type for event in recorded.duplicates)
        for stored in (*recorded.inserted, *recorded.duplicates):
            self._count_room_and_day(exported[id(stored)])
        not_stored = len(recorded.refused) + len(recorded.unknown)
        if not_stored:
            report.skipped[SkipReason.NOT_STORABLE] += not_stored

    def _make_event(self, event: ExportedEvent, member_id: str) -> NewEvent:
        return NewEvent(
            member_id=member_id,
            event_type=event.event_type,
            platform=self._platform,
            room_id=event.room_id,
            source_id=event.source_id,
            occurred_at=event.occurred_at,
            metadata=event.metadata,
        )

    def _count_planned(self, event: ExportedEvent, planned: set[tuple[str, ...]]) -> None:
        """Count an event of a contact that only a real import adds."""
        key = (event.author.telegram_id, event.event_type, event.room_id, event.source_id)
        counter = self.report.duplicates if key in planned else self.report.inserted
        counter[event.event_type] += 1
        planned.add(key)
        self._count_room_and_day(event)

    def _count_room_and_day(self, event: ExportedEvent) -> None:
        self.report.rooms[event.room] += 1
        first = event.occurred_at.astimezone(self._zone).date()
        self.report.days.add(first)
        seconds = (event.metadata or {}).get("duration_seconds")
        if event.event_type == EventType.VOICE and isinstance(seconds, int | float):
            # The stay may reach into later days.
            end = event.occurred_at + timedelta(seconds=min(seconds, MAX_VOICE_SECONDS))
            number = (end.astimezone(self._zone).date() - first).days
            self.report.days.update(first + timedelta(days=later) for later in range(1, number + 1))


def _clean_name(name: str) -> str:
    """Return the name on one line, without characters that PostgreSQL refuses, and cut to fit."""
    return re.sub(r"[\0-\x1f\x7f\ud800-\udfff]+", " ", name)[:MAX_NAME_LENGTH]
