"""Reads the JSON that DiscordChatExporter writes, with one channel, thread or post in each file.

Versions 2.18, the first with this format, to 2.47 are read. A file does not name its version; what
differs is recognized by itself:

- Types of messages and channels that a version has no name for are numbers: replies up to 2.25
  (`"19"`), threads up to 2.34 (`"11"`), messages about new threads up to 2.35, and later ones, such
  as the answers of apps (`"20"`), in all versions.
- Authors have no nickname before 2.27, and no discriminator but `0000` after Discord gave it up.
- People who reacted are named since 2.40.4; earlier versions only count them. No version names the
  people of super reactions (bursts).
- Direct messages have the server `@me` up to 2.25, and `0` since.
- Forwarded messages, polls and stickers are messages of their authors, whatever their content.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, BinaryIO

from community_directory.imports.export import (
    MALFORMED_ERRORS,
    Author,
    BotAccount,
    ExportedItem,
    ExportedMessage,
    NotAnExport,
    SkippedItem,
    SkipReason,
    make_reaction_metadata,
    parse_account_number,
    parse_digits,
)
from community_directory.imports.json_stream import JSON_OBJECT, skip_malformed, stream_json
from community_directory.queries.identifiers import Account
from community_directory.tables import EventType, Platform

DISCORD_MESSAGE_PREFIX = "messages.item"
CHANNEL_PREFIXES = {
    "channel.id",
    "channel.type",
    "channel.category",
    "channel.name",
    "guild.id",
    "guild.name",
}
PRIVATE_CHANNEL_TYPES = {"DirectTextChat", "DirectGroupTextChat", "1", "3"}
THREAD_TYPES = {"GuildNewsThread", "GuildPublicThread", "GuildPrivateThread", "10", "11", "12"}
"""The channels that belong to another one, such as the posts of a forum."""
DIRECT_GUILD_IDS = {"0", "@me"}
"""The servers that DiscordChatExporter makes up for direct messages."""

WRITTEN_MESSAGE_TYPES = {"Default", "Reply", "0", "19"}
"""The types of messages that people write; other types report changes of the channel."""
CALL_TYPES = {"Call", "3"}
APP_MESSAGE_TYPES = {"20", "23"}
"""The types of the answers of apps to a command."""
NO_DISCRIMINATOR = "0000"
USERNAME_PATTERN = re.compile("[a-z0-9_.]{2,32}")
DELETED_USER_ID = "456226577798135808"
"""The account that Discord shows in place of deleted ones."""
DELETED_NAME_PATTERN = re.compile(r"Deleted User(?: [0-9a-f]{6,32})?|deleted_user_[0-9a-f]{6,32}")
"""The names that Discord gives to deleted accounts that keep their ids."""


def read(file: BinaryIO) -> Iterator[ExportedItem]:
    """Yield the events of an exported channel, in the order of the file.

    The messages of direct chats, of two people or more, are skipped. The events of the accounts
    that Discord marks as bots, webhooks among them, are skipped, and each of these accounts is
    yielded once. Deleted accounts are authors without a name.

    Raises:
        NotAnExport: The file has messages, but no channel before them.
        TruncatedExport: The file ends too early, or is not JSON.
    """
    channel: dict[str, str] = {}
    reader: _ChannelReader | None = None
    for prefix, event, value in stream_json(file, {DISCORD_MESSAGE_PREFIX}):
        if prefix == DISCORD_MESSAGE_PREFIX:
            if "channel.id" not in channel:
                raise NotAnExport
            reader = reader or _ChannelReader(channel)
            if reader.is_private:
                yield SkippedItem(SkipReason.NOT_A_GROUP)
            elif event == JSON_OBJECT:
                yield from reader.read_message(value)
            else:
                yield skip_malformed(event, value)
        elif prefix in CHANNEL_PREFIXES and value is not None:
            channel[prefix] = str(value)


def _is_private(channel: Mapping[str, str]) -> bool:
    """Return whether a channel is a direct chat; one without a type and a server may be."""
    channel_type = channel.get("channel.type", "")
    if channel_type.startswith("Guild"):
        return False
    is_direct = channel.get("guild.id", "0") in DIRECT_GUILD_IDS
    return channel_type in PRIVATE_CHANNEL_TYPES or is_direct


def _name_room(channel: Mapping[str, str]) -> str:
    """Return the name of a channel after those of its server and, if it is a thread, its parent."""
    name = channel.get("channel.name")
    parent = channel.get("channel.category")
    if name and parent and channel.get("channel.type") in THREAD_TYPES:
        name = f"{parent} / {name}"
    return " #".join(part for part in (channel.get("guild.name"), name) if part)


class _ChannelReader:
    """Reads the messages of one channel."""

    def __init__(self, channel: Mapping[str, str]) -> None:
        self.is_private = _is_private(channel)
        self._room_id = channel["channel.id"]
        self._room = _name_room(channel)
        self._bots: set[str] = set()
        """The ids of the bots that were yielded."""

    def read_message(self, record: Mapping[str, Any]) -> Iterator[ExportedItem]:
        """Yield the event of a message or a call, and those of the reactions to it."""
        try:
            message = ExportedMessage(
                room_id=self._room_id,
                room=self._room,
                source_id=parse_digits(record["id"]),
                sent_at=_parse_discord_time(record["timestamp"]),
            )
            yield from self._read_content(record, message)
        except MALFORMED_ERRORS:
            yield skip_malformed(JSON_OBJECT, record)
            return
        reacted: set[str] = set()
        try:
            for reaction in record.get("reactions") or ():
                yield from self._read_reaction(reaction, message, reacted)
        except MALFORMED_ERRORS:
            yield skip_malformed(JSON_OBJECT, record)

    def _read_content(
        self, record: Mapping[str, Any], message: ExportedMessage
    ) -> Iterator[ExportedItem]:
        message_type = str(record["type"])
        if message_type in WRITTEN_MESSAGE_TYPES:
            yield from self._read_event(record["author"], message, EventType.MESSAGE)
        elif message_type in CALL_TYPES and record.get("callEndedTimestamp"):
            duration = _parse_discord_time(record["callEndedTimestamp"]) - message.sent_at
            seconds = round(duration.total_seconds())
            if seconds < 0:
                raise ValueError
            metadata = {"duration_seconds": seconds}
            yield from self._read_event(record["author"], message, EventType.VOICE, metadata)
        elif message_type in APP_MESSAGE_TYPES and record["author"].get("isBot"):
            yield from self._skip_bot(record["author"])
        else:
            yield SkippedItem(SkipReason.SERVICE_MESSAGE)

    def _read_reaction(
        self, reaction: Mapping[str, Any], message: ExportedMessage, reacted: set[str]
    ) -> Iterator[ExportedItem]:
        users = reaction.get("users") or []
        count = reaction.get("count", len(users))
        if count > len(users):
            anonymous = int(parse_digits(count)) - len(users)
            yield SkippedItem(SkipReason.ANONYMOUS_REACTION, anonymous)
        for user in users:
            # Several reactions of a person to one message are one event, because they share its id.
            if user["id"] in reacted:
                continue
            reacted.add(user["id"])
            emoji = reaction.get("emoji")
            metadata = make_reaction_metadata(
                emoji.get("name") if isinstance(emoji, dict) else None
            )
            yield from self._read_event(user, message, EventType.REACTION, metadata)

    def _read_event(
        self,
        user: Mapping[str, Any],
        message: ExportedMessage,
        event_type: EventType,
        metadata: Mapping[str, object] | None = None,
    ) -> Iterator[ExportedItem]:
        if user.get("isBot"):
            yield from self._skip_bot(user)
        else:
            yield message.make_event(_read_discord_author(user), event_type, metadata=metadata)

    def _skip_bot(self, user: Mapping[str, Any]) -> Iterator[ExportedItem]:
        discord_id = parse_account_number(user["id"])
        if discord_id not in self._bots:
            self._bots.add(discord_id)
            account = Account(Platform.DISCORD, discord_id)
            yield BotAccount(account.telegram_id, _get_name(user) or discord_id)
        yield SkippedItem(SkipReason.BOT)


def _read_discord_author(user: Mapping[str, Any]) -> Author | SkippedItem:
    """Return an account as an author, whose name is None if it is deleted."""
    discord_id = parse_account_number(user["id"])
    if discord_id == DELETED_USER_ID:
        # Many people share this id.
        return SkippedItem(SkipReason.DELETED_ACCOUNT)
    name = None if _is_deleted(user) else _get_name(user) or discord_id
    account_name = user.get("name") if user.get("nickname") else None
    return Author(
        Account(Platform.DISCORD, discord_id).telegram_id,
        name,
        discord_id,
        account_name,
        _get_username(user) if name else None,
    )


def _get_username(user: Mapping[str, Any]) -> str | None:
    """Return the username of an account, which is unique since it has no discriminator."""
    name = user.get("name")
    if user.get("discriminator") != NO_DISCRIMINATOR or not isinstance(name, str):
        return None
    return name if USERNAME_PATTERN.fullmatch(name) else None


def _get_name(user: Mapping[str, Any]) -> str | None:
    """Return the name on the server, or that of the account, or None if there is neither."""
    names = (user.get("nickname"), user.get("name"))
    return next((name for name in names if isinstance(name, str) and name.strip()), None)


def _is_deleted(user: Mapping[str, Any]) -> bool:
    """Return whether all names are such as Discord gives to deleted accounts.

    A member of the server with a name of their own is not deleted, whatever they call themselves.
    """
    names = [name for name in (user.get("name"), user.get("nickname")) if name]
    return bool(names) and all(DELETED_NAME_PATTERN.fullmatch(str(name)) for name in names)


def _parse_discord_time(text: str) -> datetime:
    sent_at = datetime.fromisoformat(text)
    if sent_at.tzinfo is None:
        raise ValueError
    return sent_at
