"""Reads the JSON that Telegram Desktop exports: of a single chat, or of a whole account with all its chats."""

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, BinaryIO

from community_directory.imports.export import (
    ANONYMOUS,
    BOT,
    CHANNEL,
    MALFORMED,
    SERVICE,
    STRANGE,
    Author,
    ExportedEvent,
    NotAnExport,
    Skipped,
    TruncatedExport,
    number,
    plausible,
    stream,
)
from community_directory.tables import EventType

CHATS = ("chats.list.item", "left_chats.list.item")
MESSAGES = {"messages.item", *(f"{chat}.messages.item" for chat in CHATS)}
"""Where messages lie in the two kinds of export."""

GROUPS = {"private_group", "private_supergroup", "public_supergroup"}
NO_GROUP = "messages of chats that are no groups"
NOT_CHOSEN = "messages of chats that were not chosen"

FIRST_SUPERGROUP = 1_000_000_000_000
"""Telegram's Bot API calls group 123 -123 and supergroup 123 -1000000000123: so history and bot mean the same room."""
LARGEST_OLD_USER_ID = 0xFFFF_FFFF
"""Old exports write ids as numbers: above this one they are of groups and channels."""

TELEGRAMS_OWN = {"777000", "1087968824", "136817688"}
"""Telegram itself, the anonymous administrator, and whoever writes as a channel."""
# The export says of nobody that they are a bot, but in its list of chats. Most names say it: Rose Bot, WelcomeBot,
# help_bot; Anna Talbot is none.
BOT_NAME = re.compile(r"(^|[\s_-])(?i:bot)$|[a-z0-9]Bot$")


def read(
    file: BinaryIO, *, zone: tzinfo, chats: Collection[str] = ()
) -> Iterator[ExportedEvent | Skipped]:
    """What happened in the groups of an export, in the file's order; with `chats` only in those, by name or id.

    Old exports tell times without a zone: they are read in `zone`. Raises `TruncatedExport`, `NotAnExport`.
    """
    bots = TELEGRAMS_OWN | _bots(file)
    file.seek(0)
    chat: dict[str, Any] = {}
    for prefix, event, value in stream(file, MESSAGES):
        if prefix in MESSAGES:
            if prefix == "messages.item" and "type" not in chat:
                raise NotAnExport
            left_out = _left_out(chat, chats)
            if left_out:
                yield Skipped(left_out)
            elif event == "whole":
                yield from _events(value, chat, bots, zone)
            else:
                yield Skipped(STRANGE)
        elif prefix in CHATS:
            chat = {}
        elif event in {"string", "number"}:
            parent, _, field = prefix.rpartition(".")
            if parent in {"", *CHATS}:
                chat[field] = value


def _bots(file: BinaryIO) -> set[str]:
    """The bots that the account has chatted with."""
    bots: set[str] = set()
    kind = None
    with suppress(TruncatedExport):  # the reading proper comes to the same place, and says so
        for prefix, event, value in stream(file, ()):
            if prefix == "chats.list.item.type":
                kind = value
            elif prefix == "chats.list.item.id" and kind == "bot_chat":
                bots.add(str(value))
            elif prefix == "messages" and event == "start_array":
                break
    return bots


def _left_out(chat: Mapping[str, Any], chats: Collection[str]) -> str | None:
    """Why a chat is not imported."""
    if chat.get("type") not in GROUPS or type(chat.get("id")) is not int or chat["id"] <= 0:
        return NO_GROUP
    return (
        NOT_CHOSEN
        if chats and str(chat["id"]) not in chats and chat.get("name") not in chats
        else None
    )


def _events(
    message: Mapping[str, Any], chat: Mapping[str, Any], bots: Collection[str], zone: tzinfo
) -> Iterator[ExportedEvent | Skipped]:
    """A message and the reactions to it, or a voice chat."""
    room_id = str(
        -chat["id"] if chat["type"] == "private_group" else -FIRST_SUPERGROUP - chat["id"]
    )
    room = str(chat.get("name") or room_id)

    def happened(
        event_type: EventType,
        account: object,
        name: object,
        at: datetime,
        metadata: Mapping[str, Any] | None = None,
    ) -> ExportedEvent | Skipped:
        author = _author(account, name, bots)
        if isinstance(author, Skipped):
            return author
        return ExportedEvent(author, event_type, room_id, room, source_id, plausible(at), metadata)

    try:
        source_id, at = number(message["id"]), _time(message, zone)
        if message["type"] == "message":
            yield happened(EventType.MESSAGE, message["from_id"], message.get("from"), at)
        elif (
            message["type"] == "service"
            and message.get("action") == "group_call"
            and message.get("duration")
        ):
            # One that only begins is announced, too, without a duration.
            seconds = {"duration_seconds": int(number(message["duration"]))}
            yield happened(EventType.VOICE, message["actor_id"], message.get("actor"), at, seconds)
        else:
            yield Skipped(SERVICE)
        if message.get("reactions"):
            clock, reacted = _clock(message, at, zone), set()
            for reaction in message["reactions"]:
                recent = reaction.get("recent", [])
                if reaction["count"] > len(recent):
                    yield Skipped(ANONYMOUS, int(number(reaction["count"])) - len(recent))
                for one in recent:
                    # Several reactions of a person to a message are one event, as its id says.
                    if one["from_id"] not in reacted:
                        reacted.add(one["from_id"])
                        then = _time(one, clock) if "date" in one else at
                        metadata = (
                            {"emoji": str(reaction["emoji"])} if "emoji" in reaction else None
                        )
                        yield happened(
                            EventType.REACTION, one["from_id"], one.get("from"), then, metadata
                        )
    except MALFORMED:
        yield Skipped(STRANGE)


def _clock(message: Mapping[str, Any], at: datetime, zone: tzinfo) -> tzinfo:
    """The clock that the export's dates were read from, and those of reactions too, which say nothing else."""
    ahead = datetime.fromisoformat(message["date"]) - at.astimezone(UTC).replace(tzinfo=None)
    # The community's zone knows when its clocks change, too.
    fits = at.astimezone(zone).utcoffset() == ahead or abs(ahead) > timedelta(hours=15)
    return zone if fits else timezone(ahead)


def _author(account: object, name: object, bots: Collection[str]) -> Author | Skipped:
    if isinstance(account, int):
        account = f"user{account}" if 0 < account <= LARGEST_OLD_USER_ID else f"channel{account}"
    if re.match(r"(channel|chat)-?[0-9]", str(account)):
        return Skipped(CHANNEL)
    telegram_id = number(str(account).removeprefix("user"))
    if telegram_id in bots or (isinstance(name, str) and BOT_NAME.search(name)):
        return Skipped(BOT)
    return Author(telegram_id, str(name) if name else None)


def _time(record: Mapping[str, Any], clock: tzinfo) -> datetime:
    if "date_unixtime" in record:
        return datetime.fromtimestamp(int(number(record["date_unixtime"])), UTC)
    return datetime.fromisoformat(record["date"]).replace(tzinfo=clock)
