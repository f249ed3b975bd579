"""Reads the JSON that Telegram Desktop exports: one chat, or an account with all its chats.

Versions from 1.4.8 on are read. They differ in ids (see `telegram_ids`), in times (a time in UTC
is written since 3.7.6), and in what they export: voice chats since 2.4.12, buttons since 4.13.0,
reactions since 5.5.7. Versions before 1.4.8 write no ids, so nobody can be recognized. The export
of a supergroup also has the messages of the group that it was before, with ids that are smaller
by 1,000,000,000.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, BinaryIO

from community_directory.errors import InvalidInput, sanitize_for_message
from community_directory.imports.export import (
    MALFORMED_ERRORS,
    Author,
    BotAccount,
    ExportedEvent,
    ExportedItem,
    ExportedMessage,
    NotAnExport,
    SkippedItem,
    SkipReason,
    make_reaction_metadata,
    parse_digits,
)
from community_directory.imports.json_stream import JSON_OBJECT, skip_malformed, stream_json
from community_directory.imports.telegram_ids import OLD_CHAT_IDS, parse_author, strip_kind
from community_directory.imports.telegram_survey import survey_export
from community_directory.tables import EventType

CHAT_PREFIXES = ("chats.list.item", "left_chats.list.item")
"""The chats in the export of an account."""
SINGLE_CHAT_MESSAGE_PREFIX = "messages.item"
TELEGRAM_MESSAGE_PREFIXES = {
    SINGLE_CHAT_MESSAGE_PREFIX,
    *(f"{chat}.messages.item" for chat in CHAT_PREFIXES),
}
"""The messages in both kinds of export."""

GROUP_TYPES = {"private_group", "private_supergroup", "public_supergroup"}
SUPERGROUP_ID_OFFSET = 1_000_000_000_000
"""Telegram's Bot API calls group 123 `-123`, and supergroup 123 `-1000000000123`.

Imported events use the same ids, so that a bot's events and the history belong to one room.
"""
SERVICE_ACCOUNT_IDS = {"777000", "333000", "1087968824", "136817688", "1271266957", "489000"}
"""Telegram's notifications (twice), the anonymous administrator, the account that posts as a
channel, replies, and verification codes."""
MAX_LISTED_GROUPS = 10
"""The number of groups that the message of `GroupNotFound` names."""


class GroupNotFound(InvalidInput):
    """None of the chosen groups is in the export."""

    def __init__(self, groups: Collection[str], count: int) -> None:
        listed = ", ".join(groups)
        if count > len(groups):
            listed += f" and {count - len(groups):,} more"
        there = f"The groups in it are {listed}." if groups else "There are no groups in it."
        super().__init__(f"None of the chosen groups is in this file. {there}", field="chats")


def read(
    file: BinaryIO,
    *,
    zone: tzinfo,
    chats: Collection[str] = (),
    people: Collection[str] = (),
) -> Iterator[ExportedItem]:
    """Yield the events of the groups in an export, in the order of the file.

    With `chats`, only the groups with these names or ids are read. The events of bots are skipped:
    of the service accounts, and of those that the export shows to be bots (see `survey_export`).
    The accounts with the ids `people` are people, whatever the export shows. Each bot is yielded
    once, after the first message in which it occurs. Old exports write times without a zone: they
    are read in `zone`.

    The file is read twice, and the first time is short.

    Raises:
        GroupNotFound: The file has none of the chosen groups.
        NotAnExport: The file has messages, but no chat before them.
        TruncatedExport: The file ends too early, or is not JSON.
    """
    survey = survey_export(file)
    known = _Bots(survey.bots.difference(people) | SERVICE_ACCOUNT_IDS)
    file.seek(0)
    groups = _Groups(chats, has_old_ids=survey.has_old_ids)
    header: dict[str, Any] = {}
    group: _Group | SkipReason | None = None
    for prefix, event, value in stream_json(file, TELEGRAM_MESSAGE_PREFIXES):
        if prefix in TELEGRAM_MESSAGE_PREFIXES:
            if prefix == SINGLE_CHAT_MESSAGE_PREFIX and "type" not in header:
                raise NotAnExport
            group = group or groups.open(header)
            if isinstance(group, SkipReason):
                yield SkippedItem(group)
            elif event == JSON_OBJECT:
                yield from _read_telegram_message(value, group, known, zone)
                yield from known.take_new()
            else:
                yield skip_malformed(event, value)
        elif prefix in CHAT_PREFIXES:
            group = group or groups.open(header)
            header, group = {}, None
        elif event in {"string", "number"}:
            parent, _, field = prefix.rpartition(".")
            if parent in {"", *CHAT_PREFIXES}:
                header[field] = value
    if group is None:
        groups.open(header)
    groups.check_chosen()


@dataclass(frozen=True, slots=True)
class _Group:
    room_id: str
    name: str


class _Groups:
    """The groups of an export, and which of them are chosen."""

    def __init__(self, chosen: Collection[str], *, has_old_ids: bool) -> None:
        self._chosen = {name.strip() for name in chosen}
        self._has_old_ids = has_old_ids
        self._is_found = False
        self._others: list[str] = []
        """The first groups that are not chosen, as a message names them."""
        self._other_count = 0

    def open(self, header: Mapping[str, Any]) -> _Group | SkipReason:
        """Return the group whose header this is, or why its messages are not imported."""
        kind, number, name = header.get("type"), header.get("id"), header.get("name")
        if kind not in GROUP_TYPES:
            return SkipReason.NOT_A_GROUP
        if number is None:
            return SkipReason.NO_CHAT_ID
        if type(number) is not int:
            return SkipReason.NOT_A_GROUP
        bare = strip_kind(number, OLD_CHAT_IDS) if self._has_old_ids else number
        if bare <= 0:
            return SkipReason.NOT_A_GROUP
        room_id = str(-bare if kind == "private_group" else -SUPERGROUP_ID_OFFSET - bare)
        group = _Group(room_id, str(name or room_id))
        if self._chosen and self._chosen.isdisjoint(
            {group.name.strip(), room_id, str(bare), str(number)}
        ):
            self._other_count += 1
            if len(self._others) < MAX_LISTED_GROUPS:
                self._others.append(f"{sanitize_for_message(group.name)} ({bare})")
            return SkipReason.CHAT_NOT_CHOSEN
        self._is_found = True
        return group

    def check_chosen(self) -> None:
        """Raise GroupNotFound if groups were chosen, and none of them was opened."""
        if self._chosen and not self._is_found:
            raise GroupNotFound(self._others, self._other_count)


class _Bots:
    """The bots of an export."""

    def __init__(self, ids: Collection[str]) -> None:
        self._ids = ids
        self._met: set[str] = set()
        self._new: list[BotAccount] = []

    def recognize(self, telegram_id: str, name: str | None) -> bool:
        """Return whether the account is a bot, and remember it if it is."""
        if telegram_id not in self._ids:
            return False
        if telegram_id not in self._met:
            self._met.add(telegram_id)
            self._new.append(BotAccount(telegram_id, name or telegram_id))
        return True

    def take_new(self) -> list[BotAccount]:
        """Return the bots that were recognized since the last call."""
        if not self._new:
            return self._new
        new, self._new = self._new, []
        return new


def _read_telegram_message(
    record: Mapping[str, Any], group: _Group, bots: _Bots, zone: tzinfo
) -> Iterator[ExportedEvent | SkippedItem]:
    """Yield the event of a message or a voice chat, and those of the reactions to it."""
    if record.get("type") == "unsupported":
        # It has neither an author nor a time.
        yield SkippedItem(SkipReason.UNSUPPORTED)
        return
    try:
        message = ExportedMessage(
            room_id=group.room_id,
            room=group.name,
            source_id=parse_digits(record["id"]),
            sent_at=_parse_telegram_time(record, zone),
        )
        yield _read_telegram_content(record, message, bots)
        yield from _read_telegram_reactions(record, message, bots, zone)
    except MALFORMED_ERRORS:
        yield skip_malformed(JSON_OBJECT, record)


def _read_telegram_content(
    record: Mapping[str, Any], message: ExportedMessage, bots: _Bots
) -> ExportedEvent | SkippedItem:
    if record["type"] == "message":
        author = _read_telegram_author(record["from_id"], record.get("from"), bots)
        return message.make_event(author, EventType.MESSAGE)
    is_call = record["type"] == "service" and record.get("action") == "group_call"
    # The message at the beginning of a voice chat has no duration; the one at its end has.
    if is_call and record.get("duration"):
        author = _read_telegram_author(record["actor_id"], record.get("actor"), bots)
        seconds = int(parse_digits(record["duration"]))
        if seconds < 0:
            raise ValueError
        return message.make_event(
            author,
            EventType.VOICE,
            occurred_at=message.sent_at.astimezone(UTC) - timedelta(seconds=seconds),
            metadata={"duration_seconds": seconds},
        )
    return SkippedItem(SkipReason.SERVICE_MESSAGE)


def _read_telegram_reactions(
    record: Mapping[str, Any], message: ExportedMessage, bots: _Bots, zone: tzinfo
) -> Iterator[ExportedEvent | SkippedItem]:
    if not record.get("reactions"):
        return
    export_zone = _find_export_zone(record, message.sent_at, zone)
    reacted = set()
    for reaction in record["reactions"]:
        recent = reaction.get("recent", [])
        if reaction["count"] > len(recent):
            anonymous = int(parse_digits(reaction["count"])) - len(recent)
            # The count of a paid reaction is one of stars, of which a person may give many.
            is_paid = reaction.get("type") == "paid"
            yield SkippedItem(SkipReason.ANONYMOUS_REACTION, 1 if is_paid else anonymous)
        for person in recent:
            # Several reactions of a person to one message are one event, because they share its id.
            if person["from_id"] in reacted:
                continue
            reacted.add(person["from_id"])
            yield message.make_event(
                _read_telegram_author(person["from_id"], person.get("from"), bots),
                EventType.REACTION,
                occurred_at=_parse_telegram_time(person, export_zone) if "date" in person else None,
                metadata=make_reaction_metadata(reaction.get("emoji")),
            )


def _find_export_zone(record: Mapping[str, Any], sent_at: datetime, zone: tzinfo) -> tzinfo:
    """Return the time zone of the machine that wrote the export.

    A message has its time twice, with and without a zone; a reaction has only a local time.
    """
    utc_offset = datetime.fromisoformat(record["date"]) - sent_at.astimezone(UTC).replace(
        tzinfo=None
    )
    # Prefer the community's zone if its offset is the same, because it has daylight saving time.
    is_same = sent_at.astimezone(zone).utcoffset() == utc_offset
    is_impossible = abs(utc_offset) > timedelta(hours=15)
    return zone if is_same or is_impossible else timezone(utc_offset)


def _read_telegram_author(account: object, name: object, bots: _Bots) -> Author | SkippedItem:
    """Return an account as an author; events of bots, channels and groups are skipped."""
    telegram_id = parse_author(account)
    if telegram_id is None:
        return SkippedItem(SkipReason.SENT_AS_CHAT)
    shown = str(name) if name else None
    if bots.recognize(telegram_id, shown):
        return SkippedItem(SkipReason.BOT)
    return Author(telegram_id, shown)


def _parse_telegram_time(record: Mapping[str, Any], zone: tzinfo) -> datetime:
    """Return the time of a message or a reaction; a local time is read in `zone`."""
    if "date_unixtime" in record:
        return datetime.fromtimestamp(int(parse_digits(record["date_unixtime"])), UTC)
    return datetime.fromisoformat(record["date"]).replace(tzinfo=zone)
