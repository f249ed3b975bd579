"""Reads the JSON that DiscordChatExporter writes, with one channel in each file."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, BinaryIO

from community_directory.imports.export import (
    JSON_OBJECT,
    MALFORMED_ERRORS,
    Author,
    ExportedEvent,
    ExportedMessage,
    NotAnExport,
    SkippedItem,
    SkipReason,
    parse_digits,
    stream_json,
)
from community_directory.tables import EventType

DISCORD_MESSAGE_PREFIX = "messages.item"
CHANNEL_PREFIXES = {"channel.id", "channel.name", "guild.name"}
WRITTEN_MESSAGE_TYPES = {"Default", "Reply"}
"""The types of messages that people write; other types report changes of the channel."""
DELETED_USER_ID = "456226577798135808"
"""The account that Discord shows in place of deleted ones."""


def read(file: BinaryIO) -> Iterator[ExportedEvent | SkippedItem]:
    """Yield the events of an exported channel, in the order of the file.

    Raises:
        NotAnExport: The file has messages, but no channel before them.
        TruncatedExport: The file ends too early, or is not JSON.
    """
    channel: dict[str, str] = {}
    for prefix, event, value in stream_json(file, {DISCORD_MESSAGE_PREFIX}):
        if prefix == DISCORD_MESSAGE_PREFIX:
            if "channel.id" not in channel:
                raise NotAnExport
            if event == JSON_OBJECT:
                yield from _read_discord_message(value, channel)
            else:
                yield SkippedItem(SkipReason.MALFORMED)
        elif prefix in CHANNEL_PREFIXES and value is not None:
            channel[prefix] = str(value)


def _read_discord_message(
    record: Mapping[str, Any], channel: Mapping[str, str]
) -> Iterator[ExportedEvent | SkippedItem]:
    """Yield the event of a message or a call, and those of the reactions to it."""
    room = " #".join(channel[part] for part in ("guild.name", "channel.name") if part in channel)
    try:
        message = ExportedMessage(
            room_id=channel["channel.id"],
            room=room,
            source_id=parse_digits(record["id"]),
            sent_at=_parse_discord_time(record["timestamp"]),
        )
        yield _read_discord_content(record, message)
        yield from _read_discord_reactions(record, message)
    except MALFORMED_ERRORS:
        yield SkippedItem(SkipReason.MALFORMED)


def _read_discord_content(
    record: Mapping[str, Any], message: ExportedMessage
) -> ExportedEvent | SkippedItem:
    if record["type"] in WRITTEN_MESSAGE_TYPES:
        return message.make_event(_read_discord_author(record["author"]), EventType.MESSAGE)
    if record["type"] == "Call" and record.get("callEndedTimestamp"):
        duration = _parse_discord_time(record["callEndedTimestamp"]) - message.sent_at
        return message.make_event(
            _read_discord_author(record["author"]),
            EventType.VOICE,
            metadata={"duration_seconds": round(duration.total_seconds())},
        )
    return SkippedItem(SkipReason.SERVICE_MESSAGE)


def _read_discord_reactions(
    record: Mapping[str, Any], message: ExportedMessage
) -> Iterator[ExportedEvent | SkippedItem]:
    reacted = set()
    for reaction in record.get("reactions", []):
        users = reaction.get("users", [])
        if reaction["count"] > len(users):
            anonymous = int(parse_digits(reaction["count"])) - len(users)
            yield SkippedItem(SkipReason.ANONYMOUS_REACTION, anonymous)
        for user in users:
            # Several reactions of a person to one message are one event, because they share its id.
            if user["id"] in reacted:
                continue
            reacted.add(user["id"])
            yield message.make_event(
                _read_discord_author(user),
                EventType.REACTION,
                metadata={"emoji": str(reaction["emoji"]["name"])},
            )


def _read_discord_author(user: Mapping[str, Any]) -> Author | SkippedItem:
    """Return an account as an author; events of bots and of deleted accounts are skipped."""
    discord_id = parse_digits(user["id"])
    if discord_id == DELETED_USER_ID:
        return SkippedItem(SkipReason.DELETED_ACCOUNT)
    if user.get("isBot"):
        return SkippedItem(SkipReason.BOT)
    return Author(f"discord:{discord_id}", str(user.get("nickname") or user["name"]), discord_id)


def _parse_discord_time(text: str) -> datetime:
    sent_at = datetime.fromisoformat(text)
    if sent_at.tzinfo is None:
        raise ValueError
    return sent_at
