"""Write the made-up history of a busy group in the format of Telegram Desktop, to test imports.

    python benchmarks/telegram_export.py result.json --messages 50000 --people 300
    piccolo community_directory import_telegram result.json

The same arguments write the same file on every machine and day, and memory holds one message at a
time. The group wrote from 2024 to 2025, and a few people wrote most messages. There are a bot, a
channel, a deleted account, and names that break careless programs.
"""

import argparse
import json
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from random import Random
from typing import Any, TextIO

from tqdm import tqdm

Message = dict[str, Any]
Person = tuple[str, str | None]
"""A `from_id` and a name; a deleted account has none."""

CHAT = {"name": "Frutero Club 🍓", "type": "private_supergroup", "id": 1234567890}
BEGIN = datetime(2024, 1, 1, 12, tzinfo=UTC)
SPAN = timedelta(days=730)
CLOCK = timezone(timedelta(hours=-6))
"""The time zone of the exporting machine: Telegram Desktop writes local times."""
NOT_INCLUDED = "(File not included. Change data exporting settings to download.)"

GIVEN = [
    "Ana",
    "Bo",
    "Chidi",
    "Dmitri",
    "Eva",
    "Farid",
    "Guadalupe",
    "Hiro",
    "João",
    "Kwame",
    "Léa",
    "Óscar",
    "Priya",
]
FAMILY = [
    "García",
    "Núñez",
    "Okafor",
    "Иванов",
    "O'Neill",
    "Haddad",
    "Tanaka",
    "Sørensen",
    "Silva",
    "Şahin",
    "王",
]
UNUSUAL_NAMES = [
    "<img src=x onerror=alert(1)>",
    "Null",
    "🦄",
    "محمد علي",
    "田中太郎",
    "'; DROP TABLE members; --",
    "Zoë 👩\u200d💻",
]
BOT: Person = ("user5551234567", "Frutero Bot")
BUTTONS = [[{"type": "callback", "text": "🍓", "dataBase64": "Z20", "data": ""}]]
"""Only the messages of bots have buttons."""
CHANNEL: Person = ("channel1987654321", "Frutero News")
DELETED: Person = ("user4000000001", None)

TEXTS = [
    "gm ☀️",
    "Has anybody tried the new release?",
    "¡Vamos!",
    "да, конечно",
    "ありがとう",
    'He said "no" \\o/',
    "+1",
]
EMOJI = ["👍", "❤", "🔥", "🎉", "😁"]


def main() -> None:
    """Write the file that the command line asks for."""
    parser = argparse.ArgumentParser(description="Write a made-up export of Telegram Desktop.")
    parser.add_argument("path", type=Path, help="the file to write")
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--people", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1, help="another seed makes another history")
    arguments = parser.parse_args()
    history = messages(arguments.messages, arguments.people, arguments.seed)
    with arguments.path.open("w", encoding="utf-8") as file:
        write(
            file,
            tqdm(
                history,
                desc=arguments.path.name,
                total=arguments.messages,
                unit=" messages",
                disable=None,
            ),
        )


def write(file: TextIO, history: Iterable[Message]) -> None:
    """Write the export of a chat, indented as Telegram Desktop does."""
    head = json.dumps(CHAT, ensure_ascii=False, indent=1).removesuffix("\n}")
    file.write(f'{head},\n "messages": [')
    for number, message in enumerate(history):
        text = json.dumps(message, ensure_ascii=False, indent=1).replace("\n", "\n  ")
        file.write(f"{',' if number else ''}\n  {text}")
    file.write("\n ]\n}")


def messages(count: int, people: int, seed: int = 1) -> Iterator[Message]:
    """Yield the messages, oldest first; service messages count."""
    random = Random(seed)
    crowd = _people(people, random)
    # The n-th person writes 1/n of what the first one writes.
    weights = [1 / rank for rank in range(1, len(crowd) + 1)]
    latest: deque[int] = deque(maxlen=50)
    slot = SPAN / max(count, 1)
    for number in range(count):
        at = BEGIN + slot * (number + random.random())
        [author] = random.choices(crowd, weights)
        if number == 0:
            message = _service(
                1, at, author, "create_group", title=CHAT["name"], members=[author[1]]
            )
        elif random.random() < 0.04:
            message = _service_event(number + 1, at, crowd, latest, random)
        else:
            author = random.choices([author, BOT, CHANNEL, DELETED], [94, 3, 2, 1])[0]
            message = _ordinary_message(number + 1, at, author, latest, random)
            if random.random() < 0.3:
                message["reactions"] = list(_reactions(at, crowd, weights, random))
            latest.append(message["id"])
        yield message


def _people(count: int, random: Random) -> list[Person]:
    names = [
        *UNUSUAL_NAMES,
        *(f"{random.choice(GIVEN)} {random.choice(FAMILY)}" for _ in range(count)),
    ][:count]
    random.shuffle(names)
    # Accounts since 2021 have ids that 32 bits can't hold.
    first_ids = (random.choice([100_000_000, 5_000_000_000]) for _ in names)
    return [
        (f"user{first + 1000 * rank + random.randrange(1000)}", name)
        for rank, (first, name) in enumerate(zip(first_ids, names, strict=True))
    ]


def _dated(number: int, kind: str, at: datetime) -> Message:
    return {
        "id": number,
        "type": kind,
        "date": _shown(at),
        "date_unixtime": str(int(at.timestamp())),
    }


def _shown(at: datetime) -> str:
    return at.astimezone(CLOCK).strftime("%Y-%m-%dT%H:%M:%S")


def _service(number: int, at: datetime, actor: Person, action: str, **details: Any) -> Message:
    account, name = actor
    message = _dated(number, "service", at) | {"actor": name, "actor_id": account, "action": action}
    return message | details | {"text": "", "text_entities": []}


def _service_event(
    number: int, at: datetime, crowd: list[Person], latest: deque[int], random: Random
) -> Message:
    """Return a service message: a join, an invitation, a pinned message, or a voice chat."""
    kinds = ["join_group_by_link", "invite_members", "pin_message", "group_call"]
    details: dict[str, Any] = {}
    match kind := random.choice(kinds):
        case "join_group_by_link":
            details["inviter"] = "Group"
        case "invite_members":
            details["members"] = [name for _, name in random.sample(crowd, min(2, len(crowd)))]
        case "pin_message":
            details["message_id"] = random.choice(latest) if latest else 1
        case "group_call" if random.random() < 0.5:
            # The message about the end of a call has its duration, the one about the begin has not.
            details["duration"] = random.randint(5, 7200)
    return _service(number, at, random.choice(crowd), kind, **details)


def _ordinary_message(
    number: int, at: datetime, author: Person, latest: deque[int], random: Random
) -> Message:
    message = _dated(number, "message", at)
    if random.random() < 0.05:
        edited = at + timedelta(minutes=3)
        message |= {"edited": _shown(edited), "edited_unixtime": str(int(edited.timestamp()))}
    account, name = author
    message |= {"from": name, "from_id": account}
    if latest and random.random() < 0.3:
        message["reply_to_message_id"] = random.choice(latest)
    if random.random() < 0.05:
        message["forwarded_from"] = random.choice(["Some Channel", None])
    if random.random() < 0.02 and author != BOT:
        message["via_bot"] = "@gif"
    message |= _content(random)
    return message | {"inline_bot_buttons": BUTTONS} if author == BOT else message


def _content(random: Random) -> Message:
    """Return a plain text, a text of parts, a photo or a sticker."""
    text = random.choice(TEXTS)
    match random.choices(["plain", "parts", "photo", "sticker"], [75, 15, 6, 4])[0]:
        case "parts":
            link = {"type": "link", "text": "https://frutero.club"}
            return {
                "text": [f"{text} ", link],
                "text_entities": [{"type": "plain", "text": f"{text} "}, link],
            }
        case "photo":
            photo = {"photo": NOT_INCLUDED, "photo_file_size": 84213, "width": 1280, "height": 720}
            return photo | {"text": "", "text_entities": []}
        case "sticker":
            sticker = {
                "file": NOT_INCLUDED,
                "file_name": "sticker.webp",
                "media_type": "sticker",
                "sticker_emoji": "🍓",
            }
            return sticker | {"width": 512, "height": 512, "text": "", "text_entities": []}
        case _:
            return {"text": text, "text_entities": [{"type": "plain", "text": text}]}


def _reactions(
    at: datetime, crowd: list[Person], weights: list[float], random: Random
) -> Iterator[dict[str, Any]]:
    """Yield reactions. An export names the people of only a few, with local times."""
    for emoji in random.sample(EMOJI, random.choice([1, 1, 1, 2])):
        named = dict(random.choices(crowd, weights, k=random.randint(0, 3)))
        kind = {
            "type": "emoji",
            "count": len(named) + random.choice([0, 0, 0, 1, 7]),
            "emoji": emoji,
        }
        if random.random() < 0.1:
            kind = {"type": "custom_emoji", "count": kind["count"], "document_id": NOT_INCLUDED}
        recent = [
            {
                "from": name,
                "from_id": account,
                "date": _shown(at + timedelta(minutes=random.randint(1, 90))),
            }
            for account, name in named.items()
        ]
        yield kind | ({"recent": recent} if recent else {})


if __name__ == "__main__":
    main()
