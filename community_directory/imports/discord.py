"""Reads the JSON that DiscordChatExporter writes: of one channel in each file."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, BinaryIO

from community_directory.imports.export import (
    ANONYMOUS,
    BOT,
    DELETED,
    MALFORMED,
    SERVICE,
    STRANGE,
    Author,
    ExportedEvent,
    NotAnExport,
    Skipped,
    number,
    plausible,
    stream,
)
from community_directory.tables import EventType

MESSAGES = {"messages.item"}
SAID = {"Default", "Reply"}
"""The types of messages that people write; the others tell what happened to the channel."""
DELETED_USER = "456226577798135808"
"""Discord shows every deleted account as this one."""


def read(file: BinaryIO) -> Iterator[ExportedEvent | Skipped]:
    """What happened in the channel of an export, in the file's order. Raises `TruncatedExport`, `NotAnExport`."""
    channel: dict[str, str] = {}
    for prefix, event, value in stream(file, MESSAGES):
        if prefix in MESSAGES:
            if "channel.id" not in channel:
                raise NotAnExport
            yield from _events(value, channel) if event == "whole" else [Skipped(STRANGE)]
        elif prefix in {"channel.id", "channel.name", "guild.name"} and value is not None:
            channel[prefix] = str(value)


def _events(
    message: Mapping[str, Any], channel: Mapping[str, str]
) -> Iterator[ExportedEvent | Skipped]:
    """A message and the reactions to it, or a call."""
    room = " #".join(channel[part] for part in ("guild.name", "channel.name") if part in channel)

    def happened(
        event_type: EventType,
        user: Mapping[str, Any],
        at: datetime,
        metadata: Mapping[str, Any] | None = None,
    ) -> ExportedEvent | Skipped:
        author = _author(user)
        if isinstance(author, Skipped):
            return author
        return ExportedEvent(
            author, event_type, channel["channel.id"], room, source_id, plausible(at), metadata
        )

    try:
        source_id, at = number(message["id"]), _time(message["timestamp"])
        if message["type"] in SAID:
            yield happened(EventType.MESSAGE, message["author"], at)
        elif message["type"] == "Call" and message.get("callEndedTimestamp"):
            seconds = (_time(message["callEndedTimestamp"]) - at).total_seconds()
            yield happened(
                EventType.VOICE, message["author"], at, {"duration_seconds": round(seconds)}
            )
        else:
            yield Skipped(SERVICE)
        reacted = set()
        for reaction in message.get("reactions", []):
            users = reaction.get("users", [])
            if reaction["count"] > len(users):
                yield Skipped(ANONYMOUS, int(number(reaction["count"])) - len(users))
            for user in users:
                # Several reactions of a person to a message are one event, as its id says.
                if user["id"] not in reacted:
                    reacted.add(user["id"])
                    yield happened(
                        EventType.REACTION, user, at, {"emoji": str(reaction["emoji"]["name"])}
                    )
    except MALFORMED:
        yield Skipped(STRANGE)


def _author(user: Mapping[str, Any]) -> Author | Skipped:
    discord_id = number(user["id"])
    if discord_id == DELETED_USER:
        return Skipped(DELETED)
    if user.get("isBot"):
        return Skipped(BOT)
    return Author(f"discord:{discord_id}", str(user.get("nickname") or user["name"]), discord_id)


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError
    return at
