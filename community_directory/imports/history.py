"""Stores the items of an export: authors become contacts, and what they did becomes events."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import date, timedelta

from community_directory.calendar import load_zone
from community_directory.database import Statement, engine, long_running, transaction
from community_directory.errors import (
    EventArchived,
    InvalidInput,
    MemberBanned,
    MemberExists,
    MemberNotFound,
    ProfileChanged,
    sanitize_for_message,
)
from community_directory.imports import IMPORT_ACTOR
from community_directory.imports.dry_run import DryRun
from community_directory.imports.export import (
    Author,
    BotAccount,
    ExportedEvent,
    ExportedItem,
    SkippedItem,
    SkipReason,
    TruncatedExport,
    UnknownBot,
)
from community_directory.imports.migrated_groups import MigratedGroups
from community_directory.queries import members
from community_directory.queries.account_lists import OWNED_ACCOUNTS, account_parameters
from community_directory.queries.events import BATCH_SIZE
from community_directory.queries.identifiers import parse_account, visible_name
from community_directory.queries.participation import NewEvent, record_many
from community_directory.queries.values import ACTOR_CTE
from community_directory.tables import EventType, Platform
from community_directory.tables.checks import MAX_VOICE_SECONDS

CONTACT_ROLE = "contact"
"""The primary role of a new contact."""
DRY_RUN_MEMBER_ID = "new"
"""Begins what a dry run uses as the number of a contact that it does not add."""
MAX_PLACES = 5
"""The maximum number of places of skipped items that a report names."""
BOT_REASON = "The import shows that this account is a bot."
"""The reason of the mark of a contact as a bot, in the audit log."""
MAX_NAME_LENGTH = 255

# An erasure or a merge that ends while the statement waits for its lock has changed telegram_id.
_FIND_KNOWN_PEOPLE = f"""
SELECT sought.telegram_id, member_id
FROM {OWNED_ACCOUNTS} JOIN community_members AS member USING (member_id)
WHERE member.telegram_id !~ '^(banned|erased|merged):'
ORDER BY member_id
"""
FIND_KNOWN_PEOPLE = Statement(_FIND_KNOWN_PEOPLE)
# An erasure or a merge waits for the lock, so it finds all events of the transaction.
LOCK_KNOWN_PEOPLE = Statement(f"{_FIND_KNOWN_PEOPLE} FOR KEY SHARE OF member")

# Once somebody has changed the mark of a contact, an import does not change it again.
_HAS_CHANGED_MARK = """EXISTS (
    SELECT FROM directory_audit_log AS entry
    WHERE entry.member_id = member.member_id AND table_name = 'community_members'
        AND action = 'UPDATE' AND changes ? 'is_bot'
)"""
FIND_UNMARKED_CONTACTS = Statement(f"""
SELECT DISTINCT member_id FROM {OWNED_ACCOUNTS} JOIN community_members AS member USING (member_id)
WHERE proof <> 'stated' AND status = 'not_member' AND NOT is_bot AND NOT {_HAS_CHANGED_MARK}
ORDER BY member_id
""")
FIND_CONFIRMED_ACCOUNTS = Statement(f"""
SELECT account_id FROM member_accounts JOIN community_members AS member USING (member_id)
WHERE platform = :platform AND NOT is_bot AND {_HAS_CHANGED_MARK}
""")

# A contact of an export without nicknames has the name of the account.
FIND_CONTACTS_TO_RENAME = Statement(f"""
SELECT sought.telegram_id, member_id
FROM {OWNED_ACCOUNTS}
JOIN unnest(:telegram_ids::text[], :account_names::text[]) AS author(telegram_id, name)
    USING (telegram_id)
JOIN community_members AS member USING (member_id, name)
WHERE status = 'not_member' AND deleted_at IS NULL ORDER BY member_id
""")

# A username that is already known may be newer than the export. An account that another
# transaction changes is left as it is.
FILL_USERNAMES = Statement(f"""
WITH {ACTOR_CTE}, vacant AS (
    -- the accounts whose username is not known, with the one of the export
    SELECT account.id, author.username
    FROM unnest(:platforms::text[], :account_ids::text[], :usernames::text[])
        AS author(platform, account_id, username)
    JOIN member_accounts AS account USING (platform, account_id)
    WHERE account.username IS NULL
    ORDER BY account.id FOR NO KEY UPDATE OF account SKIP LOCKED
)
UPDATE member_accounts AS account SET username = vacant.username FROM vacant, actor
WHERE account.id = vacant.id
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
    places: list[str] = field(default_factory=list)
    """The places of the first skipped items that have one, at most `MAX_PLACES`."""
    more_places: int = 0
    """The number of further places."""
    bots: int = 0
    """Accounts that the export or the operator shows to be bots."""
    unknown_bots: list[str] = field(default_factory=list)
    """The bots that the operator named and that the export does not have."""
    new_contacts: int = 0
    known_people: int = 0
    days: set[date] = field(default_factory=set)
    """The days, in the community's time zone, that have events of this export."""
    last: ExportedEvent | None = None
    """The last event that was read."""
    broken: TruncatedExport | None = None
    """The error that ended the reading, if the file is not complete."""

    def add_skipped(self, item: SkippedItem) -> None:
        """Count items that become no event."""
        self.skipped[item.reason] += item.count
        if item.place is None:
            return
        if len(self.places) < MAX_PLACES:
            self.places.append(item.place)
        else:
            self.more_places += 1


async def import_history(
    items: Iterable[ExportedItem], platform: Platform, *, dry_run: bool = False
) -> Report:
    """Store the events of an export and return a report; a repeated import stores nothing twice.

    Authors who are not in the directory become contacts, unless they were erased. Each batch of at
    most 1,000 events of one room is one transaction. If the file is truncated, all events before
    that point are stored.

    A Telegram group that became a supergroup goes on as one room: if both contain the same message,
    the events of the old group move to the supergroup.

    A dry run reads the database, changes nothing in it, and returns the report of the import that
    would follow.
    """
    with closing(_HistoryWriter(platform, dry_run=dry_run)) as writer:
        batch: list[ExportedEvent] = []
        try:
            for item in items:
                if isinstance(item, SkippedItem):
                    writer.report.add_skipped(item)
                elif isinstance(item, BotAccount):
                    writer.add_bot(item)
                elif isinstance(item, UnknownBot):
                    writer.report.unknown_bots.append(item.given)
                else:
                    if batch and (len(batch) == BATCH_SIZE or batch[0].room_id != item.room_id):
                        await writer.write_batch(batch)
                        batch = []
                    batch.append(item)
                    writer.report.last = item
        except TruncatedExport as error:
            writer.report.broken = error
        await writer.write_batch(batch)
        return writer.report


async def find_confirmed_people() -> set[str]:
    """Return the Telegram accounts of those whose mark as a bot somebody has taken away."""
    records = await engine.fetch(FIND_CONFIRMED_ACCOUNTS, platform=Platform.TELEGRAM)
    return {account_id for (account_id,) in records}


def leave_out_bots(items: Iterable[ExportedItem], bots: Collection[str]) -> Iterator[ExportedItem]:
    """Yield the items of a reader without the events of these bots, and each bot once.

    `bots` are names, as the export or the directory shows them, or ids. Those of which the export
    has nothing come last.

    Raises:
        InvalidInput: One of `bots` is a @username, which an export does not have.
    """
    if username := next((bot.strip() for bot in bots if bot.strip().startswith("@")), None):
        raise InvalidInput(
            f"An export has no usernames such as {sanitize_for_message(username)}. "
            "Give the bot's name, as the group shows it, or its id.",
            field="bots",
        )
    unknown = [bot for bot in bots if _clean_name(bot)]
    is_bot: dict[str, bool] = {}
    for item in items:
        account = _find_account(item)
        if account and account.telegram_id not in is_bot:
            found = [bot for bot in bots if _is_named(account, bot)]
            is_bot[account.telegram_id] = bool(found)
            unknown = [bot for bot in unknown if bot not in found]
            if isinstance(item, ExportedEvent) and is_bot[account.telegram_id]:
                yield BotAccount(account.telegram_id, account.name or account.telegram_id)
        if isinstance(item, ExportedEvent) and is_bot[item.author.telegram_id]:
            yield SkippedItem(SkipReason.BOT)
        else:
            yield item
    yield from map(UnknownBot, unknown)


def _find_account(item: ExportedItem) -> Author | None:
    """Return the account that an item is about, if it is about one."""
    if isinstance(item, BotAccount):
        return Author(item.telegram_id, item.name, item.telegram_id.removeprefix("discord:"))
    return item.author if isinstance(item, ExportedEvent) else None


def _is_named(account: Author, bot: str) -> bool:
    """Return whether the operator means this account by a name or an id."""
    if bot.strip().removeprefix("user") in {account.telegram_id, account.discord_id}:
        return True
    name = account.name and _clean_name(account.name)
    return bool(name) and name == _clean_name(bot)


class _HistoryWriter:
    """Writes batches of events, and remembers the authors of the export."""

    def __init__(self, platform: Platform, *, dry_run: bool) -> None:
        self.report = Report()
        self._platform = platform
        self._dry_run = DryRun() if dry_run else None
        self._migrated_groups = MigratedGroups(self._dry_run)
        self._zone = load_zone(None)
        self._member_ids: dict[str, str] = {}
        """The number of each author, by `Author.telegram_id`."""
        self._skipped: dict[str, SkippedItem] = {}
        """The reason why the events of some authors are skipped, by `Author.telegram_id`."""
        self._bots: dict[str, str | None] = {}
        """The names of the bots that are not stored yet, by their `telegram_id`."""

    def close(self) -> None:
        """Delete the temporary file of a dry run."""
        if self._dry_run is not None:
            self._dry_run.close()

    def add_bot(self, bot: BotAccount) -> None:
        """Leave out the account's events, in later imports, too."""
        self.report.bots += 1
        self._skipped[bot.telegram_id] = SkippedItem(SkipReason.BOT)
        self._bots[bot.telegram_id] = _clean_name(bot.name)

    async def write_batch(self, events: list[ExportedEvent]) -> None:
        """Store events of one room, and the contacts that they need, in one transaction."""
        with long_running():
            await self._store_bots()
            if not events:
                return
            authors = {event.author.telegram_id: event.author for event in events}
            unseen = authors.keys() - self._member_ids.keys() - self._skipped.keys()
            async with nullcontext() if self._dry_run else transaction():
                await self._leave_out_known_bots(unseen)
                await self._resolve_authors(authors, unseen)
                await self._record_events(events)
            await self._fill_usernames([authors[account] for account in sorted(unseen)])

    async def _store_bots(self) -> None:
        """Remember the bots of the export, and mark those that are contacts.

        A contact whose mark somebody has changed before keeps it.
        """
        bots, self._bots = self._bots, {}
        if not bots or self._dry_run is not None:
            return
        await members.remember_bots(bots)
        contacts = await engine.fetch(FIND_UNMARKED_CONTACTS, **account_parameters(bots))
        for (member_id,) in contacts:
            await members.mark_bot(member_id, actor=IMPORT_ACTOR, reason=BOT_REASON)

    async def _leave_out_known_bots(self, unseen: Set[str]) -> None:
        if unseen:
            for bot in await members.known_bots(list(unseen)):
                self._skipped[bot] = SkippedItem(SkipReason.BOT)

    async def _resolve_authors(self, authors: Mapping[str, Author], unseen: Set[str]) -> None:
        """Find or add the member of each author.

        People are looked up for each batch again, because an account can pass to another member,
        or be erased, while a long file is imported. `unseen` are the accounts of no batch before.
        """
        unresolved = authors.keys() - self._skipped.keys()
        if self._dry_run is not None:
            unresolved -= self._member_ids.keys()
        # The account of a member who is merged while the lock waits belongs to the other one then.
        for _ in range(1 if self._dry_run else 2):
            if not unresolved:
                break
            known = await engine.fetch(
                FIND_KNOWN_PEOPLE if self._dry_run else LOCK_KNOWN_PEOPLE,
                **account_parameters(unresolved),
            )
            for account, member_id in known:
                unresolved.remove(account)
                self._member_ids[account] = member_id
                self.report.known_people += account in unseen
        await self._rename_contacts(authors[account] for account in unseen - self._skipped.keys())
        erased = await members.find_erased(list(unresolved)) if unresolved else set()
        # Sorted, so that two imports at the same time do not deadlock.
        for account in sorted(unresolved):
            outcome = await self._add_author(authors[account], is_erased=account in erased)
            if isinstance(outcome, SkippedItem):
                self._skipped[account] = outcome
            else:
                self._member_ids[account] = outcome

    async def _rename_contacts(self, authors: Iterable[Author]) -> None:
        """Give a contact the nickname of the export if it has the name of the account so far."""
        nicknamed = {
            author.telegram_id: author
            for author in authors
            if author.name and author.account_name and author.account_name != author.name
        }
        if not nicknamed or self._dry_run is not None:
            return
        found = await engine.fetch(
            FIND_CONTACTS_TO_RENAME,
            **account_parameters(nicknamed),
            account_names=[_clean_name(author.account_name or "") for author in nicknamed.values()],
        )
        for account, member_id in found:
            author = nicknamed[account]
            if name := _clean_name(author.name or ""):
                # Somebody may give the contact another name, or remove them, at the same time.
                with suppress(ProfileChanged, MemberNotFound):
                    await members.update_profile(
                        member_id,
                        name=name,
                        before={"name": _clean_name(author.account_name or "")},
                        actor=IMPORT_ACTOR,
                    )

    async def _fill_usernames(self, authors: Sequence[Author]) -> None:
        """Store the usernames of accounts that have none so far.

        It runs after the transaction: whoever changes a member locks the member before the
        accounts.
        """
        named = [author for author in authors if author.username]
        if named and self._dry_run is None:
            accounts = [parse_account(author.telegram_id) for author in named]
            await engine.fetch(
                FILL_USERNAMES,
                platforms=[account.platform for account in accounts],
                account_ids=[account.account_id for account in accounts],
                usernames=[author.username for author in named],
                actor=IMPORT_ACTOR,
                reason=None,
            )

    async def _add_author(self, author: Author, *, is_erased: bool) -> str | SkippedItem:
        if author.name is None:
            return SkippedItem(SkipReason.DELETED_ACCOUNT)
        try:
            if is_erased or self._dry_run:
                await members.check_addable(author.telegram_id)
            if is_erased:
                return SkippedItem(SkipReason.ERASED_AUTHOR)
            if self._dry_run:
                member_id = f"{DRY_RUN_MEMBER_ID}:{author.telegram_id}"
            else:
                member_id = await self._add_contact(author, author.name)
        except MemberBanned:
            return SkippedItem(SkipReason.BANNED_AUTHOR)
        except MemberExists as error:
            # Another program has added the account since it was looked up.
            return error.member_id
        except InvalidInput:
            return SkippedItem(SkipReason.NOT_STORABLE)
        self.report.new_contacts += 1
        return member_id

    async def _add_contact(self, author: Author, name: str) -> str:
        profile = None if author.discord_id is None else {"discord_id": author.discord_id}
        async with transaction():
            added = await members.add(
                telegram_id=author.telegram_id,
                name=_clean_name(name) or author.telegram_id,
                primary_role=CONTACT_ROLE,
                profile_data=profile,
                actor=IMPORT_ACTOR,
            )
        return added.member_id

    async def _record_events(self, events: list[ExportedEvent]) -> None:
        report = self.report
        new_events: list[NewEvent] = []
        exported: dict[int, ExportedEvent] = {}
        for event in events:
            account = event.author.telegram_id
            if account in self._skipped:
                report.skipped[self._skipped[account].reason] += 1
            else:
                new_event = self._make_event(event, self._member_ids[account])
                new_events.append(new_event)
                exported[id(new_event)] = event
        if self._platform is Platform.TELEGRAM:
            await self._migrated_groups.join(new_events)
        record = record_many if self._dry_run is None else self._dry_run.record_many
        recorded = await record(new_events)
        report.inserted.update(event.event_type for event in recorded.inserted)
        report.duplicates.update(event.event_type for event in recorded.duplicates)
        for stored in (*recorded.inserted, *recorded.duplicates):
            self._count_room_and_day(exported[id(stored)])
        archived = sum(isinstance(each.error, EventArchived) for each in recorded.refused)
        not_stored = len(recorded.refused) - archived + len(recorded.unknown)
        for reason, count in (
            (SkipReason.ARCHIVED, archived),
            (SkipReason.NOT_STORABLE, not_stored),
        ):
            if count:
                report.skipped[reason] += count

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


def _clean_name(name: str) -> str | None:
    """Return the name as a member can have it, or None if nobody could see it."""
    return visible_name(name[:MAX_NAME_LENGTH])
