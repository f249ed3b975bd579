"""Writes what an export holds: authors become contacts, what they did becomes participation events."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

from community_directory.calendar import load_zone
from community_directory.database import engine, transaction
from community_directory.errors import InvalidInput, MemberBanned, MemberExists
from community_directory.imports.export import (
    DELETED,
    Author,
    ExportedEvent,
    NotAnExport,
    Skipped,
    TruncatedExport,
)
from community_directory.queries import members
from community_directory.queries.events import BATCH_SIZE
from community_directory.queries.participation import NewEvent, record_many
from community_directory.tables import Platform

ACTOR = "import"
ROLE = "contact"
"""What a contact's role is while nobody knows more of them."""
BANNED = "events of people who are banned and erased"
REFUSED = "events that can't be stored"
NEW = "new"
"""Stands for the number that a dry run gives nobody."""

# Who writes on both platforms and told us so is found under their Telegram account, unless their history on Discord
# came first: then it goes on where it is, or another import would count it twice.
KNOWN = """
SELECT telegram_id AS account, member_id, 0 AS rank FROM community_members WHERE telegram_id = ANY($1)
UNION ALL
SELECT 'discord:' || (profile_data ->> 'discord_id'), member_id, 1 FROM community_members
WHERE profile_data ->> 'discord_id' = ANY($2)
ORDER BY rank, member_id
"""


@dataclass(slots=True)
class Report:
    """What became of an export."""

    inserted: Counter[str] = field(default_factory=Counter)
    """New events, by type."""
    duplicates: Counter[str] = field(default_factory=Counter)
    """Events that were there already, by type."""
    rooms: Counter[str] = field(default_factory=Counter)
    """Events, new or not, by the chat's name."""
    skipped: Counter[str] = field(default_factory=Counter)
    """What became no event, by the reason."""
    new_contacts: int = 0
    known_people: int = 0
    days: set[date] = field(default_factory=set)
    """The days, in the community's zone, that have events of this export."""
    last: ExportedEvent | None = None
    """The last event that could be read."""
    broken: TruncatedExport | None = None
    """Where the file breaks, if it does."""


async def import_history(
    items: Iterable[ExportedEvent | Skipped], platform: Platform, *, dry_run: bool = False
) -> Report:
    """Store what an export holds, once however often it is imported, and say what became of it.

    Authors that nobody here knows become contacts. A thousand items are one transaction; of a broken
    file everything before the break is stored. With `dry_run` everything is done but adding
    contacts, and rolled back, batch by batch; an event that the export holds twice, far apart, or that
    can't be stored, may then count as a new one. Raises `NotAnExport` when there is nothing to import at all.
    """
    writer = _Writer(platform, dry_run=dry_run)
    batch: list[ExportedEvent] = []
    try:
        for item in items:
            if isinstance(item, Skipped):
                writer.report.skipped[item.reason] += item.count
                continue
            batch.append(item)
            writer.report.last = item
            if len(batch) == BATCH_SIZE:
                await writer.write(batch)
                batch = []
    except TruncatedExport as error:
        writer.report.broken = error
    await writer.write(batch)
    report = writer.report
    if not (report.rooms or report.skipped or report.broken):
        raise NotAnExport
    return report


class _Writer:
    def __init__(self, platform: Platform, *, dry_run: bool) -> None:
        self.report = Report()
        self._platform = platform
        self._dry_run = dry_run
        self._zone = load_zone(None)
        self._people: dict[str, str | Skipped] = {}
        """The number of everybody who was met, or why they have none; of a dry run's new contacts `NEW`."""

    async def write(self, items: list[ExportedEvent]) -> None:
        """Store some of the events."""
        if not items:
            return
        async with transaction() as current:
            await self._resolve_authors({item.author.telegram_id: item.author for item in items})
            await self._record(items)
            if self._dry_run:
                await current.rollback()

    async def _resolve_authors(self, authors: dict[str, Author]) -> None:
        unmet = authors.keys() - self._people.keys()
        discord_ids = [
            authors[account].discord_id for account in unmet if authors[account].discord_id
        ]
        for account, member_id, _ in await engine.fetch(KNOWN, list(unmet), discord_ids):
            if account not in self._people:
                self._people[account] = member_id
                self.report.known_people += 1
        # In one order, so that two imports at the same time don't wait for each other.
        for account in sorted(unmet - self._people.keys()):
            self._people[account] = await self._add(authors[account])

    async def _add(self, author: Author) -> str | Skipped:
        if author.name is None:
            return Skipped(DELETED)
        try:
            if self._dry_run:
                await members.check_addable(author.telegram_id)
                member_id = NEW
            else:
                member_id = await self._add_contact(author, author.name)
        except MemberBanned:
            return Skipped(BANNED)
        except MemberExists as error:
            return error.member_id
        self.report.new_contacts += 1
        return member_id

    async def _add_contact(self, author: Author, name: str) -> str:
        try:
            return await self._add_as(author, _storable(name))
        except InvalidInput:
            # A name that nobody can see.
            return await self._add_as(author, author.telegram_id)

    async def _add_as(self, author: Author, name: str) -> str:
        profile = None if author.discord_id is None else {"discord_id": author.discord_id}
        async with transaction():
            added = await members.add(
                telegram_id=author.telegram_id,
                name=name,
                primary_role=ROLE,
                profile_data=profile,
                actor=ACTOR,
            )
        return added.member_id

    async def _record(self, items: list[ExportedEvent]) -> None:
        report = self.report
        items_of: dict[int, ExportedEvent] = {}
        events: list[NewEvent] = []
        planned: set[tuple[str, ...]] = set()
        for item in items:
            person = self._people[item.author.telegram_id]
            if isinstance(person, Skipped):
                report.skipped[person.reason] += 1
                continue
            if person == NEW:
                key = (item.author.telegram_id, item.event_type, item.room_id, item.source_id)
                counter = report.duplicates if key in planned else report.inserted
                counter[item.event_type] += 1
                planned.add(key)
                self._place(item)
                continue
            event = NewEvent(
                member_id=person,
                event_type=item.event_type,
                platform=self._platform,
                room_id=item.room_id,
                source_id=item.source_id,
                occurred_at=item.occurred_at,
                metadata=item.metadata,
            )
            events.append(event)
            items_of[id(event)] = item
        recorded = await record_many(events)
        report.inserted.update(event.event_type for event in recorded.inserted)
        report.duplicates.update(event.event_type for event in recorded.duplicates)
        for event in (*recorded.inserted, *recorded.duplicates):
            self._place(items_of[id(event)])
        refused = len(recorded.refused) + len(recorded.unknown)
        if refused:
            report.skipped[REFUSED] += refused

    def _place(self, item: ExportedEvent) -> None:
        """Count an event that is there where and when it happened."""
        self.report.rooms[item.room] += 1
        self.report.days.add(item.occurred_at.astimezone(self._zone).date())


def _storable(name: str) -> str:
    """The name without what PostgreSQL can't hold, on one line, and not too long."""
    return re.sub(r"[\0-\x1f\x7f\ud800-\udfff]+", " ", name)[:255]
