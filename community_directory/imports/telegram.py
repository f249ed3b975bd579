"""Reads the JSON that Telegram Desktop exports: one chat, or an account with all its chats."""

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, BinaryIO

from community_directory.imports.export import (
    MALFORMED_ERRORS,
    Author,
    ExportedEvent,
    ExportedMessage,
    NotAnExport,
    SkippedItem,
    SkipReason,
    TruncatedExport,
    parse_digits,
)
from community_directory.imports.json_stream import JSON_OBJECT, skip_malformed, stream_json
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
MAX_OLD_USER_ID = 0xFFFF_FFFF
"""Old exports write ids as numbers; those above this one belong to groups and channels."""

SERVICE_ACCOUNT_IDS = {"777000", "1087968824", "136817688"}
"""Telegram itself, the anonymous administrator, and the account that posts as a channel."""
# Only an account's list of chats says which accounts are bots, so other bots are recognized by
# their names: Rose Bot, WelcomeBot, help_bot, but not Anna Talbot.
BOT_NAME_PATTERN = re.compile(r"(^|[\s_-])(?i:bot)$|[a-z0-9]Bot$")


def read(
    file: BinaryIO, *, zone: tzinfo, chats: Collection[str] = ()
) -> Iterator[ExportedEvent | SkippedItem]:
    """Yield the events of the groups in an export, in the order of the file.

    With `chats`, only the groups with these names or ids are read. Old exports write times without
    a zone: they are read in `zone`.

    Raises:
        NotAnExport: The file has messages, but no chat before them.
        TruncatedExport: The file ends too early, or is not JSON.
    """
    bots = SERVICE_ACCOUNT_IDS | _find_bots(file)
    file.seek(0)
    chat: dict[str, Any] = {}
    for prefix, event, value in stream_json(file, TELEGRAM_MESSAGE_PREFIXES):
        if prefix in TELEGRAM_MESSAGE_PREFIXES:
            if prefix == SINGLE_CHAT_MESSAGE_PREFIX and "type" not in chat:
                raise NotAnExport
            reason = _get_skip_reason(chat, chats)
            if reason:
                yield SkippedItem(reason)
            elif event == JSON_OBJECT:
                yield from _read_telegram_message(value, chat, bots, zone)
            else:
                yield skip_malformed(event, value)
        elif prefix in CHAT_PREFIXES:
            chat = {}
        elif event in {"string", "number"}:
            parent, _, field = prefix.rpartition(".")
            if parent in {"", *CHAT_PREFIXES}:
                chat[field] = value


def _find_bots(file: BinaryIO) -> set[str]:
    """Return the ids of the bots with which the exported account has chatted."""
    bots: set[str] = set()
    chat_type = None
    # The second reading meets the same error and reports it.
    with suppress(TruncatedExport):
        for prefix, event, value in stream_json(file, ()):
            if prefix == "chats.list.item.type":
                chat_type = value
            elif prefix == "chats.list.item.id" and chat_type == "bot_chat":
                bots.add(str(value))
            elif prefix == "messages" and event == "start_array":
                break
    return bots


def _get_skip_reason(chat: Mapping[str, Any], chats: Collection[str]) -> SkipReason | None:
    """Return why a chat is not imported, or None if it is."""
    if chat.get("type") not in GROUP_TYPES or type(chat.get("id")) is not int or chat["id"] <= 0:
        return SkipReason.NOT_A_GROUP
    if chats and str(chat["id"]) not in chats and chat.get("name") not in chats:
        return SkipReason.CHAT_NOT_CHOSEN
    return None


def _read_telegram_message(
    record: Mapping[str, Any], chat: Mapping[str, Any], bots: Collection[str], zone: tzinfo
) -> Iterator[ExportedEvent | SkippedItem]:
    """Yield the event of a message or a voice chat, and those of the reactions to it."""
    is_basic_group = chat["type"] == "private_group"
    room_id = str(-chat["id"] if is_basic_group else -SUPERGROUP_ID_OFFSET - chat["id"])
    try:
        message = ExportedMessage(
            room_id=room_id,
            room=str(chat.get("name") or room_id),
            source_id=parse_digits(record["id"]),
            sent_at=_parse_telegram_time(record, zone),
        )
        yield _read_telegram_content(record, message, bots)
        yield from _read_telegram_reactions(record, message, bots, zone)
    except MALFORMED_ERRORS:
        yield skip_malformed(JSON_OBJECT, record)


def _read_telegram_content(
    record: Mapping[str, Any], message: ExportedMessage, bots: Collection[str]
) -> ExportedEvent | SkippedItem:
    if record["type"] == "message":
        author = _read_telegram_author(record["from_id"], record.get("from"), bots)
        return message.make_event(author, EventType.MESSAGE)
    is_call = record["type"] == "service" and record.get("action") == "group_call"
    # The message at the beginning of a voice chat has no duration; the one at its end has.
    if is_call and record.get("duration"):
        author = _read_telegram_author(record["actor_id"], record.get("actor"), bots)
        metadata = {"duration_seconds": int(parse_digits(record["duration"]))}
        return message.make_event(author, EventType.VOICE, metadata=metadata)
    return SkippedItem(SkipReason.SERVICE_MESSAGE)


def _read_telegram_reactions(
    record: Mapping[str, Any], message: ExportedMessage, bots: Collection[str], zone: tzinfo
) -> Iterator[ExportedEvent | SkippedItem]:
    if not record.get("reactions"):
        return
    export_zone = _find_export_zone(record, message.sent_at, zone)
    reacted = set()
    for reaction in record["reactions"]:
        recent = reaction.get("recent", [])
        if reaction["count"] > len(recent):
            anonymous = int(parse_digits(reaction["count"])) - len(recent)
            yield SkippedItem(SkipReason.ANONYMOUS_REACTION, anonymous)
        for person in recent:
            # Several reactions of a person to one message are one event, because they share its id.
            if person["from_id"] in reacted:
                continue
            reacted.add(person["from_id"])
            yield message.make_event(
                _read_telegram_author(person["from_id"], person.get("from"), bots),
                EventType.REACTION,
                occurred_at=_parse_telegram_time(person, export_zone) if "date" in person else None,
                metadata={"emoji": str(reaction["emoji"])} if "emoji" in reaction else None,
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


def _read_telegram_author(
    account: object, name: object, bots: Collection[str]
) -> Author | SkippedItem:
    """Return an account as an author; events of bots, channels and groups are skipped."""
    if isinstance(account, int):
        account = f"user{account}" if 0 < account <= MAX_OLD_USER_ID else f"channel{account}"
    if re.match(r"(channel|chat)-?[0-9]", str(account)):
        return SkippedItem(SkipReason.SENT_AS_CHAT)
    telegram_id = parse_digits(str(account).removeprefix("user"))
    if telegram_id in bots or (isinstance(name, str) and BOT_NAME_PATTERN.search(name)):
        return SkippedItem(SkipReason.BOT)
    return Author(telegram_id, str(name) if name else None)


def _parse_telegram_time(record: Mapping[str, Any], zone: tzinfo) -> datetime:
    """Return the time of a message or a reaction; a local time is read in `zone`."""
    if "date_unixtime" in record:
        return datetime.fromtimestamp(int(parse_digits(record["date_unixtime"])), UTC)
    return datetime.fromisoformat(record["date"]).replace(tzinfo=zone)
