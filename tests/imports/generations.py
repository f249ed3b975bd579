"""Writes one made-up history as each generation of the exporting programs would have exported it.

The generations are those of the sources of Telegram Desktop (`export_output_json.cpp`) and of
DiscordChatExporter (`JsonMessageWriter.cs`). An export contains what had happened at the date of
its program, in the spelling of its program.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

Json = dict[str, Any]

CLOCK = ZoneInfo("America/Mexico_City")
"""The zone of the exporting machine and of the community."""
USER_SHIFT, GROUP_SHIFT = 1 << 32, 2 << 32
"""What Telegram Desktop added to ids until 2.7.1, to tell users and groups apart."""
MIGRATED_SHIFT = 1_000_000_000
"""What Telegram Desktop subtracts from the ids of messages from before a group's migration."""

SMALL_GROUP_ID, SUPERGROUP_ID = 4242, 1234567890
TELEGRAM_ROOM = f"-100{SUPERGROUP_ID}"
MIGRATED_AT = datetime(2019, 9, 1, tzinfo=UTC)
"""The time at which the small group became a supergroup."""


class Event(NamedTuple):
    """What the directory stores of an event, whichever export it came from."""

    account: str
    event_type: str
    room_id: str
    source_id: str
    occurred_at: datetime
    metadata: str | None = None


@dataclass(frozen=True)
class Entry:
    """A message, a voice chat or another thing that happened in the community."""

    number: int
    """The message's number, which begins again in the supergroup."""
    at: datetime
    kind: str
    author: str
    reactions: tuple[tuple[str, str], ...] = ()
    """The accounts and the emoji of reactions."""
    seconds: int = 0


def _at(year: int, month: int, day: int, hour: int = 20, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


# ----------------------------------------------------------------------------------- Telegram

TELEGRAM_NAMES = {
    "101": "Ana García",
    "2102": "Bernard Bot",
    "3103": "Дарья",
    "5551234567": "Wei",
    "609517172": "Rose",
    "777": "Helper",
    "4104": None,
    "group": "Frutero Club",
}
"""The accounts by id: Rose and Helper are bots, 4104 was deleted; "group" posts anonymously."""
ROSE, HELPER = "609517172", "777"

TELEGRAM_HISTORY = [
    Entry(1, _at(2018, 12, 30), "create_group", "101"),
    Entry(2, _at(2018, 12, 30, 21), "text", "101", (("2102", "👍"), ("609517172", "👍"))),
    Entry(3, _at(2018, 12, 31), "text", "2102"),
    Entry(4, _at(2019, 1, 1, 5, 59), "text", "3103"),
    Entry(5, _at(2019, 1, 2), "text", "777"),
    Entry(6, _at(2019, 1, 3), "text", "609517172"),
    Entry(7, _at(2019, 1, 4), "text", "4104"),
    Entry(8, _at(2019, 8, 31), "migrate_to_supergroup", "101"),
    Entry(1, _at(2019, 9, 1), "migrate_from_group", "101"),
    Entry(2, _at(2019, 9, 2), "text", "101"),
    Entry(3, _at(2019, 9, 2, 20, 1), "text", "group"),
    Entry(4, _at(2019, 9, 3), "formatted", "3103", (("101", "🔥"), ("101", "🎉"))),
    Entry(5, _at(2020, 12, 24), "call_started", "2102"),
    Entry(6, _at(2020, 12, 25, 6, 30), "call_ended", "2102", seconds=5400),
    Entry(7, _at(2021, 5, 1), "text", "5551234567", (("4104", "👍"),)),
    Entry(8, _at(2022, 8, 1), "emoji", "3103"),
    Entry(9, _at(2023, 1, 1), "buttons", "609517172"),
    Entry(10, _at(2023, 12, 20), "via_bot", "2102"),
    Entry(11, _at(2023, 12, 21), "forwarded_buttons", "101"),
    Entry(12, _at(2025, 3, 1), "text", "5551234567", (("3103", "👍"), ("group", "👍"))),
]


@dataclass(frozen=True)
class TelegramGeneration:
    """A version of Telegram Desktop, and how it writes."""

    version: str
    exported_at: datetime
    is_account: bool = False
    """Whether it exports an account: one chat alone can be exported since 2.1.9."""
    has_shifted_groups: bool = False
    has_shifted_users: bool = False
    has_calls: bool = True
    has_unix_times: bool = True
    has_buttons: bool = True
    has_reactions: bool = True
    has_unquoted_emoji: bool = False
    has_nicknames = False

    def exports(self) -> list[Entry]:
        """Return the entries that the file contains."""
        return [
            entry
            for entry in TELEGRAM_HISTORY
            if entry.at < self.exported_at and (self.has_calls or "call" not in entry.kind)
        ]

    def events(self) -> set[Event]:
        """Return the events of the file, also those of bots that it does not show to be bots."""
        return {
            event
            for entry in self.exports()
            for event in _telegram_events(entry, has_reactions=self.has_reactions)
            if TELEGRAM_NAMES[event.account] and event.account != "group"
        }

    def names(self) -> dict[str, str]:
        """Return the name of each account with events in the file."""
        return {event.account: TELEGRAM_NAMES[event.account] or "" for event in self.events()}

    def recognized_bots(self) -> set[str]:
        """Return the bots that the file shows to be bots."""
        shown = {HELPER} if self.is_account else set()
        if self.has_buttons and any(entry.kind == "buttons" for entry in self.exports()):
            shown.add(ROSE)
        return shown

    def write(self) -> bytes:
        """Return the content of the file."""
        if not self.is_account:
            return self._encode(self._supergroup())
        chats = [
            self._chat("Ana's friend", "personal_chat", 3103, [self._private_message()]),
            self._chat("Helper", "bot_chat", 777, []),
            {"type": "saved_messages", "id": self._user_number("101"), "messages": []},
            self._group(),
        ]
        about = "Here is the data you requested."
        return self._encode({"about": about, "chats": {"about": about, "list": chats}})

    def _encode(self, export: Json) -> bytes:
        text = json.dumps(export, ensure_ascii=False, indent=1)
        if self.has_unquoted_emoji:
            text = re.sub(r'"document_id": "(.*)"', r'"document_id": \1', text)
        return text.encode()

    def _group(self) -> Json:
        if self.exported_at >= MIGRATED_AT:
            return self._supergroup()
        messages = [self._message(entry) for entry in self.exports()]
        return self._chat("Old Frutero", "private_group", SMALL_GROUP_ID, messages)

    def _supergroup(self) -> Json:
        messages = []
        for entry in self.exports():
            message = self._message(entry)
            if entry.at < MIGRATED_AT:
                message["id"] -= MIGRATED_SHIFT
            messages.append(message)
        return self._chat("Frutero Club", "private_supergroup", SUPERGROUP_ID, messages)

    def _chat(self, name: str, kind: str, number: int, messages: list[Json]) -> Json:
        if self.has_shifted_groups:
            number += USER_SHIFT if kind in {"personal_chat", "bot_chat"} else GROUP_SHIFT
        return {"name": name, "type": kind, "id": number, "messages": messages}

    def _user_number(self, account: str) -> int:
        return int(account) + (USER_SHIFT if self.has_shifted_users else 0)

    def _peer(self, account: str) -> int | str:
        """Return an account as `from_id` spells it."""
        if not self.has_shifted_groups:
            return f"channel{SUPERGROUP_ID}" if account == "group" else f"user{account}"
        return SUPERGROUP_ID + GROUP_SHIFT if account == "group" else self._user_number(account)

    def _private_message(self) -> Json:
        return self._message(Entry(900, _at(2018, 12, 29), "text", "3103"))

    def _message(self, entry: Entry) -> Json:
        is_service = not hasattr(self, f"_write_{entry.kind}")
        message: Json = {"id": entry.number, "type": "service" if is_service else "message"}
        message |= self._time_fields(entry.at)
        name = TELEGRAM_NAMES[entry.author]
        if is_service:
            action = "group_call" if "call" in entry.kind else entry.kind
            duration = {"duration": entry.seconds} if entry.seconds else {}
            by = {"actor": name, "actor_id": self._peer(entry.author), "action": action}
            message |= {**by, **duration, "text": ""}
        else:
            message |= {"from": name, "from_id": self._peer(entry.author)}
            message |= getattr(self, f"_write_{entry.kind}")()
        if self.has_unix_times:
            message["text_entities"] = []
        if self.has_reactions and entry.reactions:
            message["reactions"] = list(self._reactions(entry))
        return message

    def _time_fields(self, at: datetime) -> Json:
        fields = {"date": _format_local(at)}
        if self.has_unix_times:
            fields["date_unixtime"] = str(int(at.timestamp()))
        return fields

    def _reactions(self, entry: Entry) -> Iterator[Json]:
        for emoji in dict.fromkeys(emoji for _, emoji in entry.reactions):
            accounts = [account for account, chosen in entry.reactions if chosen == emoji]
            date = _format_local(entry.at + timedelta(minutes=1))
            recent = [
                {"from": TELEGRAM_NAMES[account], "from_id": self._peer(account), "date": date}
                for account in accounts
            ]
            yield {"type": "emoji", "count": len(recent), "emoji": emoji, "recent": recent}

    @staticmethod
    def _write_text() -> Json:
        return {"text": 'gm\n"ok" \\o/'}

    @staticmethod
    def _write_formatted() -> Json:
        return {"text": ["see ", {"type": "link", "text": "https://frutero.test"}, ""]}

    @staticmethod
    def _write_emoji() -> Json:
        emoji = {"type": "custom_emoji", "text": "🍓"}
        return {"text": [{**emoji, "document_id": "stickers/AnimatedSticker (1).tgs"}, ""]}

    def _write_buttons(self) -> Json:
        button = {"type": "callback", "text": "I am human", "dataBase64": "eA", "data": ""}
        return {"text": "Welcome"} | (
            {"inline_bot_buttons": [[button]]} if self.has_buttons else {}
        )

    def _write_via_bot(self) -> Json:
        return {"via_bot": "@like", **self._write_buttons()}

    def _write_forwarded_buttons(self) -> Json:
        return {"forwarded_from": "Rose", **self._write_buttons()}


def _format_local(at: datetime) -> str:
    return at.astimezone(CLOCK).strftime("%Y-%m-%dT%H:%M:%S")


def _telegram_events(entry: Entry, *, has_reactions: bool) -> Iterator[Event]:
    is_old = entry.at < MIGRATED_AT
    source_id = str(entry.number - MIGRATED_SHIFT if is_old else entry.number)
    if entry.kind == "call_ended":
        began_at = entry.at - timedelta(seconds=entry.seconds)
        metadata = json.dumps({"duration_seconds": entry.seconds})
        yield Event(entry.author, "VOICE", TELEGRAM_ROOM, source_id, began_at, metadata)
    elif hasattr(TelegramGeneration, f"_write_{entry.kind}"):
        yield Event(entry.author, "MESSAGE", TELEGRAM_ROOM, source_id, entry.at)
    if has_reactions:
        # The first reaction of a person to a message stands for all of them.
        for account, emoji in dict(reversed(entry.reactions)).items():
            at = entry.at + timedelta(minutes=1)
            metadata = json.dumps({"emoji": emoji}, ensure_ascii=False)
            yield Event(account, "REACTION", TELEGRAM_ROOM, source_id, at, metadata)


NUMBERS = {"has_unix_times": False, "has_buttons": False, "has_reactions": False}
SHIFTED = {"has_shifted_groups": True, **NUMBERS}

TELEGRAM_GENERATIONS = [
    TelegramGeneration("1.6", _at(2019, 2, 1), is_account=True, has_calls=False, **SHIFTED),
    TelegramGeneration("2.1.9", _at(2020, 6, 4), has_calls=False, **SHIFTED),
    TelegramGeneration("2.5.9", _at(2021, 2, 17), has_shifted_users=True, **SHIFTED),
    TelegramGeneration(
        "2.7.1, account", _at(2021, 4, 20), is_account=True, has_shifted_users=True, **SHIFTED
    ),
    TelegramGeneration("2.7.2", _at(2021, 6, 1), **NUMBERS),
    TelegramGeneration(
        "4.1.1",
        _at(2022, 8, 16),
        has_buttons=False,
        has_reactions=False,
        has_unquoted_emoji=True,
    ),
    TelegramGeneration("4.13", _at(2023, 12, 31), has_reactions=False),
    TelegramGeneration("5.13, account", _at(2025, 4, 1), is_account=True),
    TelegramGeneration("5.13", _at(2025, 4, 2)),
]

# ------------------------------------------------------------------------------------ Discord

DISCORD_NAMES = {
    "801": ("ana", "Ana García"),
    "802": ("Bernard Bot", "Bernard Bot"),
    "803": ("日向", "日向"),
    "804": ("Deleted User 1a2b3c4d", "Deleted User 1a2b3c4d"),
    "805": ("deleted_user_ab12cd34ef56", "deleted_user_ab12cd34ef56"),
    "456226577798135808": ("Deleted User", "Deleted User"),
    "900": ("MEE6", "MEE6"),
}
DISCORD_PEOPLE = {"discord:801", "discord:802", "discord:803"}
DISCORD_CHANNEL_ID = "701"

DISCORD_HISTORY = [
    Entry(1, _at(2019, 1, 1), "Default", "801", (("802", "👍"), ("900", "👍"))),
    Entry(2, _at(2019, 1, 2), "Default", "802"),
    Entry(3, _at(2019, 1, 3), "Default", "804"),
    Entry(4, _at(2019, 1, 4), "Default", "900"),
    Entry(5, _at(2019, 1, 5), "GuildMemberJoin", "803"),
    Entry(6, _at(2020, 1, 5), "Call", "803", seconds=600),
    Entry(7, _at(2020, 11, 17), "Reply", "803", (("801", "🔥"), ("801", "🎉"))),
    Entry(8, _at(2021, 8, 1), "ThreadCreated", "801"),
    Entry(9, _at(2022, 1, 1), "sticker", "802"),
    Entry(10, _at(2022, 2, 1), "Default", "805"),
    Entry(11, _at(2023, 8, 1), "Default", "456226577798135808"),
    Entry(12, _at(2024, 11, 1), "forward", "801", (("804", "👍"),)),
]
MESSAGE_TYPE_NUMBERS = {"GuildMemberJoin": 7, "ThreadCreated": 18, "Reply": 19}
"""The types that the first generations did not know, and so wrote as numbers."""


@dataclass(frozen=True)
class DiscordGeneration:
    """A version of DiscordChatExporter, and how it writes."""

    version: str
    exported_at: datetime
    known_types: tuple[str, ...] = ()
    """The types that this version can name, of those in `MESSAGE_TYPE_NUMBERS`."""
    has_call_ends: bool = True
    has_nicknames: bool = True
    has_stickers: bool = True
    has_reaction_users: bool = True
    has_forwards: bool = True

    def exports(self) -> list[Entry]:
        """Return the entries that the file contains."""
        return [entry for entry in DISCORD_HISTORY if entry.at < self.exported_at]

    def events(self) -> set[Event]:
        """Return the events of the file, without those of bots and of deleted accounts."""
        return {
            event
            for entry in self.exports()
            for event in self._events(entry)
            if event.account in DISCORD_PEOPLE
        }

    def names(self) -> dict[str, str]:
        """Return the name of each person in the file, and the nicknames if it has them."""
        index = 1 if self.has_nicknames else 0
        return {
            event.account: DISCORD_NAMES[event.account.removeprefix("discord:")][index]
            for event in self.events()
        }

    def recognized_bots(self) -> set[str]:
        """Return no account: each export marks bots, so none becomes a contact."""
        return set()

    def _events(self, entry: Entry) -> Iterator[Event]:
        place, author = (DISCORD_CHANNEL_ID, _snowflake(entry)), f"discord:{entry.author}"
        if entry.kind in {"Default", "Reply", "sticker", "forward"}:
            yield Event(author, "MESSAGE", *place, entry.at)
        elif entry.kind == "Call" and self.has_call_ends:
            metadata = json.dumps({"duration_seconds": entry.seconds})
            yield Event(author, "VOICE", *place, entry.at, metadata)
        if self.has_reaction_users:
            for account, emoji in dict(reversed(entry.reactions)).items():
                metadata = json.dumps({"emoji": emoji}, ensure_ascii=False)
                yield Event(f"discord:{account}", "REACTION", *place, entry.at, metadata)

    def write(self) -> bytes:
        """Return the content of the file."""
        channel = {"id": DISCORD_CHANNEL_ID, "type": "GuildTextChat", "category": "Talk"}
        export = {
            "guild": {"id": "700", "name": "Frutero", "iconUrl": "icon.png"},
            "channel": {**channel, "name": "general", "topic": None},
            "dateRange": {"after": None, "before": None},
            "messages": [self._message(entry) for entry in self.exports()],
            "messageCount": len(self.exports()),
        }
        return json.dumps(export, ensure_ascii=False, indent=2).encode()

    def _message(self, entry: Entry) -> Json:
        message: Json = {
            "id": _snowflake(entry),
            "type": self._type(entry.kind),
            "timestamp": entry.at.isoformat(timespec="milliseconds"),
            "timestampEdited": None,
        }
        if self.has_call_ends:
            ended_at = (entry.at + timedelta(seconds=entry.seconds)).isoformat()
            message["callEndedTimestamp"] = ended_at if entry.kind == "Call" else None
        message |= {"isPinned": False, "content": "" if entry.kind == "sticker" else "gm"}
        message |= {"author": self._user(entry.author), "attachments": [], "embeds": []}
        if self.has_stickers:
            sticker = {"id": "1", "name": "wave", "format": "Lottie", "sourceUrl": "wave.json"}
            message["stickers"] = [sticker] if entry.kind == "sticker" else []
        message["reactions"] = list(self._reactions(entry))
        if entry.kind == "forward" and self.has_forwards:
            reference = {"messageId": "5", "channelId": "9", "guildId": "700"}
            message["reference"] = {"type": "Forward", **reference}
            message["forwardedMessage"] = {"timestamp": entry.at.isoformat(), "content": "x"}
        return message

    def _type(self, kind: str) -> str:
        if kind in {"sticker", "forward"}:
            return "Default"
        number = MESSAGE_TYPE_NUMBERS.get(kind)
        return str(number) if number and kind not in self.known_types else kind

    def _user(self, account: str) -> Json:
        name, nickname = DISCORD_NAMES[account]
        user: Json = {"id": account, "name": name, "discriminator": "0000"}
        if self.has_nicknames:
            user["nickname"] = nickname
        return user | {"isBot": account == "900", "avatarUrl": "avatar.png"}

    def _reactions(self, entry: Entry) -> Iterator[Json]:
        for emoji in dict.fromkeys(emoji for _, emoji in entry.reactions):
            accounts = [account for account, chosen in entry.reactions if chosen == emoji]
            drawn = {"id": None, "name": emoji, "isAnimated": False, "imageUrl": "emoji.svg"}
            users = {"users": [self._user(account) for account in accounts]}
            yield {"emoji": drawn, "count": len(accounts)} | (
                users if self.has_reaction_users else {}
            )


def _snowflake(entry: Entry) -> str:
    """Return the message's id: milliseconds since 2015, shifted, and a counter."""
    milliseconds = int((entry.at - datetime(2015, 1, 1, tzinfo=UTC)).total_seconds() * 1000)
    return str((milliseconds << 22) + entry.number)


FIRST = {"has_nicknames": False, "has_stickers": False}
OLD = {"has_reaction_users": False, "has_forwards": False}
JOINED = ("GuildMemberJoin",)

DISCORD_GENERATIONS = [
    DiscordGeneration("2.20", _at(2020, 4, 27), JOINED, has_call_ends=False, **FIRST, **OLD),
    DiscordGeneration("2.25", _at(2020, 11, 23), JOINED, **FIRST, **OLD),
    DiscordGeneration("2.30", _at(2021, 8, 8), (*JOINED, "Reply"), has_stickers=False, **OLD),
    DiscordGeneration("2.40", _at(2023, 6, 9), (*JOINED, "Reply", "ThreadCreated"), **OLD),
    DiscordGeneration(
        "2.45", _at(2025, 5, 13), (*JOINED, "Reply", "ThreadCreated"), has_forwards=False
    ),
    DiscordGeneration("2.47", _at(2026, 3, 1), (*JOINED, "Reply", "ThreadCreated")),
]

Generation = TelegramGeneration | DiscordGeneration
