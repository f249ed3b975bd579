"""Builds exports as Telegram Desktop and DiscordChatExporter write them.

A test passes only the fields that it is about.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

Json = dict[str, Any]

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
"""The time of the first message of an export; each next message is a minute later."""

ANA = {"from": "Ana García", "from_id": "user101"}
BO = {"from": "Bo", "from_id": "user102"}

GROUP = {"name": "Frutero Club", "type": "private_supergroup", "id": 1234567890}


def time_fields(at: datetime, clock: str = "UTC") -> Json:
    """Return both fields of a time in Telegram Desktop: local to its machine, and for programs."""
    return {"date": format_local_time(at, clock), "date_unixtime": str(int(at.timestamp()))}


def format_local_time(at: datetime, clock: str = "UTC") -> str:
    return at.astimezone(ZoneInfo(clock)).strftime("%Y-%m-%dT%H:%M:%S")


def message(number: int = 1, **fields: Any) -> Json:
    """Return a message by Ana."""
    at = time_fields(NOON + timedelta(minutes=number - 1))
    text = {"text": "gm ☀️", "text_entities": [{"type": "plain", "text": "gm ☀️"}]}
    return {"id": number, "type": "message", **at, **ANA, **text, **fields}


def sender(name: str | None) -> Json:
    """Return the name of an author, whose key is a keyword of Python."""
    return {"from": name}


def without(record: Json, *names: str) -> Json:
    return {name: value for name, value in record.items() if name not in names}


def service(number: int, action: str, **fields: Any) -> Json:
    """Return a service message about an action of Ana."""
    at = time_fields(NOON + timedelta(minutes=number - 1))
    by = {"actor": ANA["from"], "actor_id": ANA["from_id"], "action": action}
    return {"id": number, "type": "service", **at, **by, **fields, "text": "", "text_entities": []}


def reaction(
    *people: Json,
    emoji: str = "👍",
    count: int | None = None,
    at: datetime = NOON,
    clock: str = "UTC",
) -> Json:
    """Return a reaction with the people whom the export names, and with the number of all."""
    recent = [{**person, "date": format_local_time(at, clock)} for person in people]
    counted = {"type": "emoji", "count": len(people) if count is None else count, "emoji": emoji}
    return counted | ({"recent": recent} if recent else {})


def chat(*messages: Any, **fields: Any) -> Json:
    """Return the export of one chat, or a chat in the export of an account."""
    return {**GROUP, **fields, "messages": list(messages)}


def account(*chats: Json) -> Json:
    """Return the export of a whole account."""
    about = "Here is the data you requested. Remember: Telegram is ad free."
    person = {
        "user_id": 101,
        "first_name": "Ana",
        "last_name": "García",
        "phone_number": "+00 000",
        "bio": "",
    }
    listed = {"about": "This page lists all chats from this export.", "list": list(chats)}
    contacts = {
        "about": about,
        "list": [{"user_id": 102, "first_name": "Bo", "last_name": "", "phone_number": "+0"}],
    }
    return {"about": about, "personal_information": person, "contacts": contacts, "chats": listed}


def user(discord_id: str = "801", name: str = "ana", **fields: Any) -> Json:
    """Return a Discord account."""
    avatar = "https://cdn.discordapp.com/embed/avatars/0.png"
    looks: Json = {
        "discriminator": "0000",
        "nickname": name.title(),
        "color": None,
        "isBot": False,
        "roles": [],
    }
    return {"id": discord_id, "name": name, **looks, "avatarUrl": avatar, **fields}


def discord_message(number: int = 1, **fields: Any) -> Json:
    """Return a Discord message by Ana."""
    at = (NOON + timedelta(minutes=number - 1)).isoformat(timespec="milliseconds")
    times = {"timestamp": at, "timestampEdited": None, "callEndedTimestamp": None}
    content = {"isPinned": False, "content": "gm", "author": user()}
    lists: Json = {
        name: []
        for name in ("attachments", "embeds", "stickers", "reactions", "mentions", "inlineEmojis")
    }
    return {
        "id": str(1_300_000_000_000_000_000 + number),
        "type": "Default",
        **times,
        **content,
        **lists,
        **fields,
    }


def discord_reaction(*users: Json, emoji: str = "👍", count: int | None = None) -> Json:
    drawn = {
        "id": "",
        "name": emoji,
        "code": "thumbsup",
        "isAnimated": False,
        "imageUrl": "https://cdn.test/1.svg",
    }
    listed = [without(one, "roles") for one in users]
    return {"emoji": drawn, "count": len(users) if count is None else count, "users": listed}


def discord_channel(*messages: Any, **fields: Any) -> Json:
    """Return the export of a Discord channel."""
    guild = {"id": "700", "name": "Frutero", "iconUrl": "https://cdn.test/2.png"}
    channel = {
        "id": "701",
        "type": "GuildTextChat",
        "categoryId": "702",
        "category": "Talk",
        "name": "general",
    }
    dates = {"dateRange": {"after": None, "before": None}, "exportedAt": NOON.isoformat()}
    exported = {"guild": guild, "channel": {**channel, "topic": None}, **dates, **fields}
    return {**exported, "messages": list(messages), "messageCount": len(messages)}


def encode_json(export: object) -> bytes:
    """Return the content of the file, indented as Telegram Desktop does."""
    return json.dumps(export, indent=1, ensure_ascii=False).encode()
