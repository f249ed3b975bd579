"""Damage in an export costs the message that it is in, on both platforms."""

import io
import json
import random
import re
import tracemalloc
from collections.abc import Callable, Iterable
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from community_directory.imports import discord, json_stream, telegram
from community_directory.imports.export import (
    ExportedEvent,
    ExportedItem,
    NotJson,
    SkippedItem,
    SkipReason,
    TruncatedExport,
)
from community_directory.imports.json_stream import DAMAGED_OBJECT, stream_json
from tests.imports.exports import (
    ANA,
    BO,
    account,
    chat,
    discord_channel,
    discord_message,
    discord_reaction,
    encode_json,
    message,
    reaction,
    user,
)

Reader = Callable[[bytes], Iterable[ExportedItem]]


def read_telegram(file: bytes) -> Iterable[ExportedItem]:
    return telegram.read(io.BytesIO(file), zone=ZoneInfo("UTC"))


def read_discord(file: bytes) -> Iterable[ExportedItem]:
    return discord.read(io.BytesIO(file))


def make_chat(*texts: str) -> dict[str, Any]:
    reactions = [reaction(BO, ANA)]
    return chat(
        *(message(number, text=text, reactions=reactions) for number, text in enumerate(texts, 1))
    )


def make_account(*texts: str) -> dict[str, Any]:
    """Return the export of an account with a chat of each message."""
    return account(
        *(
            chat(message(number, text=text), name=f"Group {number}", id=number)
            for number, text in enumerate(texts, 1)
        )
    )


def make_channel(*texts: str) -> dict[str, Any]:
    reactions = [discord_reaction(user("802", "bo"))]
    return discord_channel(
        *(
            discord_message(number, content=text, reactions=reactions)
            for number, text in enumerate(texts, 1)
        )
    )


EXPORTS = [(make_chat, read_telegram), (make_account, read_telegram), (make_channel, read_discord)]
both_platforms = pytest.mark.parametrize(
    ("make", "read"), EXPORTS, ids=["chat", "account", "channel"]
)


def encode_compactly(export: object) -> bytes:
    return json.dumps(export, ensure_ascii=False, separators=(",", ":")).encode()


def list_messages(items: Iterable[ExportedItem]) -> list[int]:
    """Return the numbers of the messages that were read."""
    return [
        int(item.source_id) % 1000
        for item in items
        if isinstance(item, ExportedEvent) and item.event_type == "MESSAGE"
    ]


def list_places(items: Iterable[ExportedItem]) -> list[str | None]:
    """Return the places of the messages that were lost."""
    return [
        item.place
        for item in items
        if isinstance(item, SkippedItem) and item.reason is SkipReason.MALFORMED
    ]


# Messages that can be read all the same


@both_platforms
@pytest.mark.parametrize(
    "wrong",
    [
        b"\x00",
        b"\x01",
        b"\t",
        b"\n",
        b"\r\n",
        b"\\x0B",
        b"\\x",
        b"\\q",
        b"\\u12",
        b"C:\\dir\\",
        b"\xff",
        b"\xe2\x98",
        b"\xed\xa0\x80",
        b'"',
        b'he said "hi", and left',
        b'"""',
    ],
)
def test_a_wrong_character_in_a_text_loses_no_message(
    make: Callable[..., dict[str, Any]], read: Reader, wrong: bytes
) -> None:
    file = encode_json(make("a", "HERE", "c")).replace(b"HERE", wrong)
    found = list(read(file))
    assert (list_messages(found), list_places(found)) == ([1, 2, 3], [])


@both_platforms
@pytest.mark.parametrize("wrong", [b"\x00", b"\\x0B", b"\\q", b"\xff", b"\xe2\x98"])
def test_a_wrong_character_in_a_compact_file_loses_no_message(
    make: Callable[..., dict[str, Any]], read: Reader, wrong: bytes
) -> None:
    found = list(read(encode_compactly(make("a", "HERE", "c")).replace(b"HERE", wrong)))
    assert (list_messages(found), list_places(found)) == ([1, 2, 3], [])


@pytest.mark.parametrize(
    "value",
    [
        "video_files/sticker (2).webm",
        "(File not included. Change data exporting settings to download.)",
        "stickers/a, b.webp",
        "5368324170671202286",
        "",
    ],
)
@pytest.mark.parametrize("comma", ["", ","])
def test_custom_emoji_without_quotes_lose_no_message(value: str, comma: str) -> None:
    """Telegram Desktop 4.1.0 and 4.1.1 wrote the file of a custom emoji without quotes."""
    after = {"after": "x"} if comma else {}
    emoji = {"type": "custom_emoji", "text": "e", "document_id": "HERE", **after}
    reactions = [reaction(BO) | {"document_id": "HERE", **after}]
    export = chat(message(1), message(2, text=[emoji, emoji, ""], reactions=reactions), message(3))
    found = list(read_telegram(encode_json(export).replace(b'"HERE"', value.encode())))
    if value:
        assert (list_messages(found), list_places(found)) == ([1, 2, 3], [])
        assert [item.author.name for item in found if isinstance(item, ExportedEvent)] == [
            *("Ana García", "Ana García", "Bo", "Ana García")
        ]
    else:
        assert list_messages(found) == [1, 3]


def test_a_name_keeps_the_quotes_that_the_exporter_did_not_escape() -> None:
    wrong = encode_json(chat(message(1, **{"from": "HERE"}))).replace(
        b"HERE", b'Ana "la Reina" Garc\xc3\xada'
    )
    [event] = read_telegram(wrong)
    assert isinstance(event, ExportedEvent)
    assert event.author.name == 'Ana "la Reina" García'


def test_a_number_of_thousands_of_digits_loses_no_message() -> None:
    file = encode_json(make_chat("a", "HERE", "c")).replace(b'"HERE"', b"9" * 5000)
    assert list_messages(read_telegram(file)) == [1, 2, 3]


def test_a_wrong_character_in_the_name_of_a_chat_loses_no_message() -> None:
    for wrong in (b"\\x0B", b"\x01", b"\xff", b'"', b"\\q"):
        file = encode_json(make_chat("a") | {"name": "Club HERE"}).replace(b"HERE", wrong)
        assert list_messages(read_telegram(file)) == [1]


def test_commas_between_messages_do_not_matter() -> None:
    file = encode_json(make_chat("a", "b", "c"))
    for wrong in (b"\n  }\n  {\n", b"\n  },,\n  {\n"):
        damaged = file.replace(b"\n  },\n  {\n", wrong)
        assert damaged != file
        assert list_messages(read_telegram(damaged)) == [1, 2, 3]
    trailing = file.replace(b"\n  }\n ]", b"\n  },\n ]")
    assert trailing != file
    assert list_messages(read_telegram(trailing)) == [1, 2, 3]


# Messages that are lost

LOST = b'a": "b'
"""It looks like two fields that became one, so nobody knows what the text was."""
BROKEN_TEXTS = [
    LOST,
    b'"}',
    b'"]',
    b'", {',
    b'", "x": [',
    b'", "x": tru',
    b'", "x" "y',
    b'", "x": {"y": ["',
    b'", "x": ' + b"[" * 10_000 + b'"',
]


@both_platforms
@pytest.mark.parametrize("encode", [encode_json, encode_compactly])
def test_a_broken_message_is_lost_alone_and_its_place_is_named(
    make: Callable[..., dict[str, Any]], read: Reader, encode: Callable[[object], bytes]
) -> None:
    file = encode(make("a", "b", "HERE", "d", "e"))
    found = list(read(file.replace(b"HERE", LOST)))
    start = file.rindex(b"{", 0, _find_id(file, 3))
    after = "1300000000000000002" if make is make_channel else "2"
    assert list_messages(found) == [1, 2, 4, 5]
    assert list_places(found) == [f"near byte {start:,}, after message {after}"]


@both_platforms
@pytest.mark.parametrize("encode", [encode_json, encode_compactly])
@pytest.mark.parametrize("wrong", BROKEN_TEXTS, ids=range(len(BROKEN_TEXTS)))
def test_a_broken_message_is_repaired_or_counted(
    make: Callable[..., dict[str, Any]],
    read: Reader,
    encode: Callable[[object], bytes],
    wrong: bytes,
) -> None:
    found = list(read(encode(make("a", "b", "HERE", "d", "e")).replace(b"HERE", wrong)))
    messages = list_messages(found)
    assert set(messages) - {3} == {1, 2, 4, 5}
    assert 3 in messages or len(list_places(found)) == 1


@both_platforms
@pytest.mark.parametrize("encode", [encode_json, encode_compactly])
def test_the_first_or_the_last_message_may_be_broken(
    make: Callable[..., dict[str, Any]], read: Reader, encode: Callable[[object], bytes]
) -> None:
    first = list(read(encode(make("HERE", "b", "c")).replace(b"HERE", LOST)))
    assert (list_messages(first), len(list_places(first))) == ([2, 3], 1)
    last = list(read(encode(make("a", "b", "HERE")).replace(b"HERE", LOST)))
    assert (list_messages(last), len(list_places(last))) == ([1, 2], 1)


def test_every_broken_message_is_counted() -> None:
    texts = ["HERE" if number % 3 else "a" for number in range(300)]
    found = list(read_telegram(encode_json(make_chat(*texts)).replace(b"HERE", LOST)))
    assert list_messages(found) == list(range(1, 301, 3))
    assert len(list_places(found)) == 200
    assert str(list_places(found)[-1]).endswith(", after message 298")


def test_the_messages_after_a_broken_one_belong_to_their_own_chat() -> None:
    """A message that is not closed does not swallow the beginning of the next chat."""
    file = encode_json(make_account("a", "HERE", "c"))
    start, end = file.index(b'"HERE"'), file.index(b'"Group 3"')
    end = file.rindex(b"{", 0, end)
    found = list(read_telegram(file[:start] + file[end:]))
    events = [item for item in found if isinstance(item, ExportedEvent)]
    assert [(event.room, event.source_id) for event in events] == [
        ("Group 1", "1"),
        ("Group 3", "3"),
    ]
    assert len(list_places(found)) == 1


@pytest.mark.parametrize("encode", [encode_json, encode_compactly])
@pytest.mark.parametrize("wrong", [b'"}]}', b'"}]},', b'"}]}]},', b'"}]}]}}'])
def test_a_chat_that_seems_to_end_too_early_does_not_hide_the_next_one(
    encode: Callable[[object], bytes], wrong: bytes
) -> None:
    file = encode(make_account("a", "HERE", "c", "d")).replace(b'HERE"', wrong)
    found = list(read_telegram(file))
    events = [item for item in found if isinstance(item, ExportedEvent)]
    assert {1, 3, 4} <= set(list_messages(found))
    assert all(event.room == f"Group {event.source_id}" for event in events)


def test_an_export_that_ended_in_the_middle_of_a_message_is_read_up_to_there() -> None:
    """DiscordChatExporter closes the file after a failed request, but not the message."""
    file = encode_json(make_channel("a", "b"))
    cut = file.rindex(b'"users": [')
    found = list(read_discord(file[:cut] + b'"users": [\n ],\n "messageCount": 1\n}'))
    assert (list_messages(found), len(list_places(found))) == ([1], 1)


@pytest.mark.parametrize("between", [b"@@@", b"\0\0\0", b'"text"', b'"type": "message"}', b"}"])
def test_garbage_between_messages_is_skipped(between: bytes) -> None:
    file = encode_json(make_chat("a", "b", "c"))
    damaged = file.replace(b'  {\n   "id": 2,', between + b',\n  {\n   "id": 2,')
    assert damaged != file
    found = list(read_telegram(damaged))
    assert list_messages(found) == [1, 2, 3]
    assert len(list_places(found)) > 0


def test_a_broken_message_longer_than_the_text_in_memory_is_skipped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(json_stream, "MAX_REPAIR_LENGTH", 200_000)
    file = encode_json(make_chat("a", "HERE", "c"))
    for length in (10, 150_000, 1_000_000):
        found = list(read_telegram(file.replace(b"HERE", LOST + b"y" * length)))
        assert (list_messages(found), len(list_places(found))) == ([1, 3], 1)


def test_a_long_message_is_read() -> None:
    file = encode_json(make_chat("a", "y" * 1_000_000, "c"))
    assert list_messages(read_telegram(file)) == [1, 2, 3]


def test_memory_holds_one_message_at_a_time() -> None:
    class Pieces(io.BytesIO):
        """A file of many messages, of which every third one is broken."""

        def __init__(self, count: int) -> None:
            super().__init__(b'{"messages": [')
            text = json.dumps(message(1, text="HERE")) + ","
            self.good, self.broken = text.encode(), text.replace("HERE", '", x').encode()
            self.left = count

        def read(self, size: int | None = -1, /) -> bytes:
            if head := super().read(size):
                return head
            self.left -= 1
            return (self.broken + self.good * 2) if self.left > 0 else b""

    peaks = []
    for count in (1_000, 5_000):
        tracemalloc.start()
        items = stream_json(Pieces(count), {"messages.item"})
        with pytest.raises(TruncatedExport):
            assert sum(event == DAMAGED_OBJECT for _, event, _ in items)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 100_000


# Damage of any kind


@settings(deadline=None, max_examples=300)
@given(
    make_and_read=st.sampled_from(EXPORTS),
    encode=st.sampled_from([encode_json, encode_compactly]),
    seed=st.integers(0, 2**32),
    wrong=st.binary(max_size=20) | st.sampled_from([b'"', b"}", b"]", b"},", b"{", b'": "']),
    cut=st.integers(0, 40),
)
def test_damage_inside_a_message_spares_all_others(
    make_and_read: tuple[Callable[..., dict[str, Any]], Reader],
    encode: Callable[[object], bytes],
    seed: int,
    wrong: bytes,
    cut: int,
) -> None:
    make, read = make_and_read
    file = encode(make(*"abcdefg"))
    # The fields between the id and the end of the fourth message.
    start = file.index(b'"timestamp"' if b'"guild"' in file else b'"date"', _find_id(file, 4))
    end = file.rindex(b"}", 0, file.rindex(b"{", 0, _find_id(file, 5)))
    if make is make_account:
        # The message is the last one of its chat.
        end = file.rindex(b"}", 0, file.rindex(b"]", 0, end))
    place = random.Random(seed).randrange(start, end)
    damaged = file[:place] + wrong + file[min(place + cut, end) :]
    found = list(read(damaged))
    assert {1, 2, 3, 5, 6, 7} <= set(list_messages(found))


def _find_id(file: bytes, number: int) -> int:
    """Return the place of the id of a message."""
    found = re.search(rb'"id": ?"?(?:1300000000000000)?0*%d\b"?, ?\s*"type": ?"[mD]' % number, file)
    assert found
    return found.start()


# Files that end too early, or are of another type


@both_platforms
def test_a_truncated_file_with_a_broken_message_yields_the_others(
    make: Callable[..., dict[str, Any]], read: Reader
) -> None:
    file = encode_json(make("a", "HERE", "c", "d")).replace(b"HERE", LOST)
    cut = _find_id(file, 4) + 20
    found: list[ExportedItem] = []
    with pytest.raises(TruncatedExport) as broken:
        found.extend(read(file[:cut]))
    assert list_messages(found) == [1, 3]
    assert broken.value.position == cut


@pytest.mark.parametrize("wrong", [b'{"a": 1}', b"x", b"\0\0", b"]"])
def test_what_follows_the_end_is_reported_after_all_messages(wrong: bytes) -> None:
    file = encode_json(make_chat("a", "b"))
    found: list[ExportedItem] = []
    with pytest.raises(TruncatedExport) as broken:
        found.extend(read_telegram(file + b"\n" + wrong))
    assert list_messages(found) == [1, 2]
    assert broken.value.position == len(file) + 1


def test_a_file_of_another_type_names_it() -> None:
    with pytest.raises(
        NotJson, match=r"^This file is not JSON, but a ZIP archive: unpack it"
    ) as error:
        list(stream_json(io.BytesIO(b"PK\x03\x04"), ()))
    assert error.value.problem.startswith("is not JSON, but a ZIP archive")
