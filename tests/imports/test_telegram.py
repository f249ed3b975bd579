"""What is made of an export of Telegram Desktop, before any of it is stored."""

import copy
import io
import json
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from community_directory.imports import telegram
from community_directory.imports.export import (
    Author,
    ExportedEvent,
    NotAnExport,
    SkippedItem,
    SkipReason,
    TruncatedExport,
)
from community_directory.tables import EventType
from tests.imports.exports import (
    ANA,
    BO,
    NOON,
    account,
    chat,
    dated,
    discord_channel,
    discord_message,
    message,
    reaction,
    format_local_time,
    sender,
    service,
    without,
    written,
)


def everything(
    export: object, *, zone: str = "UTC", chats: Collection[str] = ()
) -> list[ExportedEvent | SkippedItem]:
    file = io.BytesIO(export if isinstance(export, bytes) else written(export))
    return list(telegram.read(file, zone=ZoneInfo(zone), chats=chats))


def until_broken(file: bytes) -> tuple[list[ExportedEvent | SkippedItem], TruncatedExport]:
    """What a broken file gives before it breaks, and where it does."""
    found: list[ExportedEvent | SkippedItem] = []
    with pytest.raises(TruncatedExport) as broken:
        found.extend(telegram.read(io.BytesIO(file), zone=ZoneInfo("UTC")))
    return found, broken.value


def happened(
    export: object, *, zone: str = "UTC", chats: Collection[str] = ()
) -> list[ExportedEvent]:
    return [
        item
        for item in everything(export, zone=zone, chats=chats)
        if isinstance(item, ExportedEvent)
    ]


def skipped(export: object, *, chats: Collection[str] = ()) -> Counter[str]:
    counted: Counter[str] = Counter()
    for item in everything(export, chats=chats):
        if isinstance(item, SkippedItem):
            counted[item.reason] += item.count
    return counted


def test_a_message_is_an_event_of_its_author_with_the_platforms_own_id() -> None:
    assert everything(chat(message(7))) == [
        ExportedEvent(
            author=Author("101", "Ana García"),
            event_type=EventType.MESSAGE,
            room_id="-1001234567890",
            room="Frutero Club",
            source_id="7",
            occurred_at=NOON + timedelta(minutes=6),
        )
    ]


def test_whatever_a_message_holds_it_is_one_event() -> None:
    link = {"type": "link", "text": "https://frutero.club"}
    kinds: list[dict[str, Any]] = [
        {"text": ["see ", link], "text_entities": [{"type": "plain", "text": "see "}, link]},
        {"photo": "(File not included.)", "width": 1, "height": 1, "text": ""},
        {"file": "(File not included.)", "media_type": "sticker", "sticker_emoji": "🍓"},
        {"forwarded_from": None, "reply_to_message_id": 1, "via_bot": "@gif"},
        {"edited": "2026-02-01T00:00:00", "edited_unixtime": "1769904000"},
        {"poll": {"question": "?", "closed": False, "total_voters": 0, "answers": []}},
    ]
    found = everything(chat(*(message(number, **kind) for number, kind in enumerate(kinds, 1))))
    assert [item.source_id for item in found if isinstance(item, ExportedEvent)] == list("123456")
    assert len(found) == 6


@pytest.mark.parametrize(
    ("kind", "room"),
    [
        ("private_group", "-55"),
        ("private_supergroup", "-1000000000055"),
        ("public_supergroup", "-1000000000055"),
    ],
)
def test_a_room_is_named_as_the_bot_api_names_it(kind: str, room: str) -> None:
    assert [event.room_id for event in happened(chat(message(), type=kind, id=55))] == [room]


@pytest.mark.parametrize("name", [None, ""])
def test_a_group_without_a_name_is_called_by_its_id(name: str | None) -> None:
    assert [
        event.room for event in happened(chat(message(), type="private_group", id=55, name=name))
    ] == ["-55"]


@pytest.mark.parametrize(
    "kind",
    [
        "saved_messages",
        "replies",
        "personal_chat",
        "bot_chat",
        "private_channel",
        "public_channel",
        "a new kind",
    ],
)
def test_what_is_no_group_is_left_out_and_counted(kind: str) -> None:
    one = chat(message(1), message(2, reactions=[reaction(BO)]), type=kind, id=5)
    assert skipped(one) == {SkipReason.NOT_A_GROUP: 2}
    found = everything(account(one, chat(message(), id=6)))
    assert Counter(type(item) for item in found) == {SkippedItem: 2, ExportedEvent: 1}


def test_of_an_account_each_message_belongs_to_its_own_chat() -> None:
    export = account(
        chat(message(1), name="A", id=1),
        {"type": "saved_messages", "id": 101, "messages": [message(2)]},
        chat(message(3), name="B", type="private_group", id=2),
        chat(message(4), name=None, type="private_group", id=3),
    )
    found = [(event.room, event.room_id, event.source_id) for event in happened(export)]
    assert found == [("A", "-1000000000001", "1"), ("B", "-2", "3"), ("-3", "-3", "4")]
    assert skipped(export) == {SkipReason.NOT_A_GROUP: 1}


def test_a_group_that_lacks_its_id_is_not_taken_for_the_one_before() -> None:
    export = account(
        chat(message(1), id=1), without(chat(message(2)), "id"), without(chat(message(3)), "type")
    )
    assert [event.source_id for event in happened(export)] == ["1"]
    assert skipped(export) == {SkipReason.NOT_A_GROUP: 2}
    nameless = account(chat(message(1), name="A", id=1), without(chat(message(2), id=2), "name"))
    assert [event.room for event in happened(nameless)] == ["A", "-1000000000002"]


def test_a_chats_export_is_read_once() -> None:
    """Only an account's is searched for bots before: that of a chat names none."""

    class Counting(io.BytesIO):
        count = 0

        def readinto(self, buffer: Any, /) -> int:
            count = super().readinto(buffer)
            self.count += count
            return count

        def read(self, size: int | None = -1, /) -> bytes:
            content = super().read(size)
            self.count += len(content)
            return content

    content = written(chat(*map(message, range(2000))))
    file = Counting(content)
    assert len(list(telegram.read(file, zone=ZoneInfo("UTC")))) == 2000
    assert len(content) <= file.count < 1.5 * len(content)


@pytest.mark.parametrize("chosen", [["1"], ["A"], ["A", "nothing"], ["1", "A"]])
def test_chats_are_chosen_by_name_or_id(chosen: list[str]) -> None:
    export = account(chat(message(1), name="A", id=1), chat(message(2), name="B", id=2))
    assert [event.room for event in happened(export, chats=chosen)] == ["A"]
    assert skipped(export, chats=chosen) == {SkipReason.CHAT_NOT_CHOSEN: 1}
    assert [event.room for event in happened(chat(message(1), name="A", id=1), chats=chosen)] == [
        "A"
    ]


def test_what_is_no_group_can_not_be_chosen() -> None:
    export = account(chat(message(), type="personal_chat", name="Ana", id=101))
    assert skipped(export, chats=["Ana", "101"]) == {SkipReason.NOT_A_GROUP: 1}


def test_a_bot_is_known_by_its_chat_even_when_that_comes_later() -> None:
    rose = {"from": "Rosa", "from_id": "user609517172"}
    group = chat(message(1), message(2, **rose), message(3, reactions=[reaction(rose, BO)]))
    export = account(group, chat(type="bot_chat", id=609517172, name="Rosa"))
    assert [(event.source_id, event.event_type) for event in happened(export)] == [
        ("1", "MESSAGE"),
        ("3", "MESSAGE"),
        ("3", "REACTION"),
    ]
    assert skipped(export) == {SkipReason.BOT: 2}
    # a person with whom the account chatted is no bot
    assert len(happened(account(group, chat(type="personal_chat", id=609517172, name="Rosa")))) == 5


@pytest.mark.parametrize(
    "name",
    [
        "WelcomeBot",
        "help_bot",
        "HELP_BOT",
        "Rose Bot",
        "Rose bot",
        "Bot",
        "bot",
        "anti-spam-bot",
        "Admin2Bot",
    ],
)
def test_a_bot_is_known_by_its_name(name: str) -> None:
    assert skipped(chat(message(1, **sender(name)))) == {SkipReason.BOT: 1}


@pytest.mark.parametrize(
    "name",
    [
        "Botond",
        "Ana Talbot",
        "Talbot",
        "robot",
        "Bottle",
        "Abbott",
        "The Bot Father",
        "机器人",
        "Иван",
    ],
)
def test_a_person_is_not_taken_for_a_bot(name: str) -> None:
    assert [event.author.name for event in happened(chat(message(1, **sender(name))))] == [name]


@pytest.mark.parametrize("number", ["777000", "1087968824", "136817688"])
def test_telegrams_own_accounts_are_not_people(number: str) -> None:
    assert skipped(chat(message(from_id=f"user{number}"))) == {SkipReason.BOT: 1}


@pytest.mark.parametrize("who", ["channel1234567890", "chat55"])
def test_who_writes_as_a_channel_or_group_is_nobody(who: str) -> None:
    export = chat(
        message(1, from_id=who, **sender("News")),
        message(2, reactions=[reaction({"from_id": who})]),
    )
    assert skipped(export) == {SkipReason.SENT_AS_CHAT: 2}
    assert [event.source_id for event in happened(export)] == ["2"]


@pytest.mark.parametrize(
    "action", ["create_group", "join_group_by_link", "invite_members", "pin_message", "group_call"]
)
def test_service_messages_are_counted(action: str) -> None:
    assert skipped(chat(service(1, action), service(2, action, message_id=1))) == {
        SkipReason.SERVICE_MESSAGE: 2
    }


def test_a_voice_chat_that_ended_is_an_event_with_its_duration() -> None:
    [event] = happened(chat(service(3, "group_call", duration=125)))
    assert event.author == Author("101", "Ana García")
    assert (event.event_type, event.source_id, event.metadata) == (
        "VOICE",
        "3",
        {"duration_seconds": 125},
    )


@pytest.mark.parametrize("fields", [{}, {"duration": 0}, {"duration": None}])
def test_a_voice_chat_that_only_began_is_a_service_message(fields: dict[str, Any]) -> None:
    assert skipped(chat(service(1, "group_call", **fields))) == {SkipReason.SERVICE_MESSAGE: 1}


def test_only_a_voice_chat_has_a_duration_that_counts() -> None:
    assert skipped(chat(service(1, "set_messages_ttl", duration=60))) == {
        SkipReason.SERVICE_MESSAGE: 1
    }
    assert [
        event.event_type for event in happened(chat(message(action="group_call", duration=60)))
    ] == ["MESSAGE"]


def test_what_this_telegram_desktop_can_not_export_is_no_event() -> None:
    unsupported = message(
        1, type="unsupported", action="group_call", duration=60, actor_id="user101"
    )
    assert skipped(chat(unsupported)) == {SkipReason.SERVICE_MESSAGE: 1}


@pytest.mark.parametrize("name", [None, ""])
def test_a_deleted_account_has_no_name(name: str | None) -> None:
    export = chat(message(1, **sender(name)), service(2, "group_call", duration=1, actor=name))
    assert [event.author for event in happened(export)] == [Author("101", None)] * 2
    nameless = without(message(), "from")
    assert [event.author for event in happened(chat(nameless))] == [Author("101", None)]


# Reactions


def test_a_reaction_is_an_event_of_who_reacted_with_the_messages_id() -> None:
    later = NOON + timedelta(hours=1)
    [said, reacted] = happened(chat(message(7, reactions=[reaction(BO, emoji="🔥", at=later)])))
    assert said.event_type == "MESSAGE"
    assert reacted == ExportedEvent(
        author=Author("102", "Bo"),
        event_type=EventType.REACTION,
        room_id="-1001234567890",
        room="Frutero Club",
        source_id="7",
        occurred_at=later,
        metadata={"emoji": "🔥"},
    )


def test_several_reactions_of_a_person_to_a_message_are_one_event() -> None:
    two = [reaction(BO, ANA, emoji="🔥"), reaction(BO, emoji="🎉")]
    found = happened(chat(message(1, reactions=two), message(2, reactions=two[:1])))
    reacted = [
        (event.source_id, event.author.name) for event in found if event.event_type == "REACTION"
    ]
    assert reacted == [("1", "Bo"), ("1", "Ana García"), ("2", "Bo"), ("2", "Ana García")]


def test_reactions_that_the_export_does_not_name_are_counted() -> None:
    reactions = [reaction(BO, count=4), reaction(emoji="🎉", count=2), reaction(ANA, emoji="🔥")]
    assert skipped(chat(message(reactions=reactions))) == {SkipReason.ANONYMOUS_REACTION: 5}
    assert len(happened(chat(message(reactions=reactions)))) == 3


def test_a_custom_emoji_has_no_name() -> None:
    custom = without(reaction(BO), "emoji") | {
        "type": "custom_emoji",
        "document_id": "(File not included.)",
    }
    [_, reacted] = happened(chat(message(reactions=[custom])))
    assert (reacted.event_type, reacted.metadata) == ("REACTION", None)


def test_a_voice_chat_can_be_reacted_to() -> None:
    found = happened(chat(service(1, "group_call", duration=5, reactions=[reaction(BO)])))
    assert [event.event_type for event in found] == ["VOICE", "REACTION"]
    only = chat(service(1, "pin_message", reactions=[reaction(BO)]))
    assert [event.event_type for event in happened(only)] == ["REACTION"]
    assert skipped(only) == {SkipReason.SERVICE_MESSAGE: 1}


def test_no_reactions_are_none() -> None:
    assert len(everything(chat(message(1, reactions=[]), message(2, reactions=None)))) == 2


# Times


@pytest.mark.parametrize(
    "clock", ["America/Mexico_City", "Asia/Kathmandu", "Pacific/Kiritimati", "Pacific/Pago_Pago"]
)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Madrid"])
def test_a_reactions_time_is_read_by_the_clock_of_the_machine_that_exported(
    clock: str, zone: str
) -> None:
    later = NOON + timedelta(hours=20)
    one = message(1, **dated(NOON, clock), reactions=[reaction(BO, at=later, clock=clock)])
    assert [event.occurred_at for event in happened(chat(one), zone=zone)] == [NOON, later]


@pytest.mark.parametrize("month", [1, 7])
def test_a_reactions_time_follows_the_summer_time_of_the_machine(month: int) -> None:
    at = datetime(2025, month, 15, 22, 30, tzinfo=UTC)
    one = message(
        1, **dated(at, "Europe/Madrid"), reactions=[reaction(BO, at=at, clock="Europe/Madrid")]
    )
    assert [event.occurred_at for event in happened(chat(one))] == [at, at]


def test_a_reaction_without_a_time_happened_with_the_message() -> None:
    one = reaction(BO) | {"recent": [BO]}
    assert [event.occurred_at for event in happened(chat(message(reactions=[one])))] == [NOON, NOON]


def test_a_clock_that_can_not_be_is_not_believed() -> None:
    """Dates and times of two days: the reaction's date is read in the community's zone."""
    at = NOON + timedelta(days=2)
    wrong = dated(NOON) | {"date": format_local_time(at)}
    found = happened(
        chat(message(1, **wrong, reactions=[reaction(BO, at=at, clock="Asia/Tokyo")])),
        zone="Asia/Tokyo",
    )
    assert [event.occurred_at for event in found] == [NOON, at]


@pytest.mark.parametrize(
    ("date", "zone", "meant"),
    [
        ("2020-01-31T12:00:00", "UTC", datetime(2020, 1, 31, 12, tzinfo=UTC)),
        ("2020-01-31T12:00:00", "America/Mexico_City", datetime(2020, 1, 31, 18, tzinfo=UTC)),
        ("2020-07-31T12:00:00", "Europe/Madrid", datetime(2020, 7, 31, 10, tzinfo=UTC)),
        ("2020-12-31T12:00:00", "Europe/Madrid", datetime(2020, 12, 31, 11, tzinfo=UTC)),
    ],
)
def test_an_old_export_tells_times_in_the_communitys_zone(
    date: str, zone: str, meant: datetime
) -> None:
    old = without(
        message(date=date, reactions=[reaction(BO) | {"recent": [BO | {"date": date}]}]),
        "date_unixtime",
    )
    assert [event.occurred_at for event in happened(chat(old), zone=zone)] == [meant, meant]


@pytest.mark.parametrize(
    ("number", "person"),
    [
        (101, "101"),
        (0, None),
        (0xFFFF_FFFF, "4294967295"),
        (0x1_0000_0000, None),
        (9_600_000_000, None),
    ],
)
def test_an_old_export_tells_ids_as_numbers(number: int, person: str | None) -> None:
    export = chat(message(from_id=number))
    assert [event.author.telegram_id for event in happened(export)] == ([person] if person else [])
    assert skipped(export) == ({} if person else {SkipReason.SENT_AS_CHAT: 1})


@pytest.mark.parametrize(
    "when",
    [
        "915148799",
        "4133980800",
        "-1",
        "99999999999999",
        "99999999999999999",
        "soon",
        "",
        None,
        [],
        1e300,
    ],
)
def test_nobody_chatted_then(when: object) -> None:
    assert skipped(chat(message(1, date_unixtime=when), message(2))) == {SkipReason.MALFORMED: 1}


@pytest.mark.parametrize("when", ["946684800", "4133980799"])
def test_people_may_have_chatted_then(when: str) -> None:
    assert len(happened(chat(message(1, date_unixtime=when)))) == 1


# What no Telegram wrote


@pytest.mark.parametrize("thing", [1, 1.5, "text", True, None])
def test_a_message_that_is_none_is_counted_and_the_others_are_read(thing: object) -> None:
    export = chat(message(1), thing, message(2))
    assert [event.source_id for event in happened(export)] == ["1", "2"]
    assert skipped(export) == {SkipReason.MALFORMED: 1}


@pytest.mark.parametrize(
    "thing", [[], [1, [2]], [message(9)], {}, {"id": 1}, {"id": 1, "type": "unsupported"}]
)
def test_a_message_that_is_a_list_or_empty_is_counted_and_the_others_are_read(
    thing: object,
) -> None:
    export = chat(message(1), thing, message(2))
    assert [event.source_id for event in happened(export)] == ["1", "2"]
    assert skipped(export)[SkipReason.MALFORMED] > 0


@pytest.mark.parametrize("number", [1.0, "1234567890", None, True, {"id": 1}, [1]])
def test_a_chat_without_a_number_is_no_group(number: object) -> None:
    assert skipped(chat(message(), id=number)) == {SkipReason.NOT_A_GROUP: 1}


def test_the_last_of_two_equal_keys_counts() -> None:
    twice = written(chat(message(1))).replace(b'"id": 1,', b'"id": 1, "id": 2,')
    assert [event.source_id for event in happened(twice)] == ["2"]


@pytest.mark.parametrize(
    "export", [{}, [], [1], {"messages": {}}, {"chats": {"list": []}}, "text", None, chat()]
)
def test_what_holds_no_messages_holds_nothing(export: object) -> None:
    assert everything(export) == []


def test_what_is_no_export_of_telegrams_is_refused() -> None:
    one = chat(message())
    # Telegram Desktop writes messages last; a stream can't look ahead.
    for other in (
        {"messages": one["messages"], **without(one, "messages")},
        discord_channel(discord_message(1)),
    ):
        with pytest.raises(NotAnExport, match="no messages in this file"):
            everything(other)


def test_a_file_nested_without_end_is_broken() -> None:
    with pytest.raises(TruncatedExport):
        everything(b"[" * 100_000)


@pytest.mark.parametrize("number", ["9" * 5000, "1e99999999", "-1e99999999999999999999"])
@pytest.mark.parametrize("field", ["a", "date_unixtime", "duration"])
def test_a_number_beyond_all_measure_ends_the_file_or_the_message(field: str, number: str) -> None:
    text = written(chat(message(1), message(2, **{field: "HERE"}), message(3))).replace(
        b'"HERE"', number.encode()
    )
    found: list[ExportedEvent | SkippedItem] = []
    with suppress(TruncatedExport):
        found.extend(telegram.read(io.BytesIO(text), zone=UTC))
    assert isinstance(found[0], ExportedEvent)


def test_control_characters_are_read_as_telegram_desktop_writes_them() -> None:
    text = written(chat(message(1, text="aHEREb", **sender("A\\x0Bna")), message(2)))
    for filler in (b"", b" " * 65_500):
        spoilt = filler + text.replace(b"HERE", rb"\x0B\x1f\\x0B")
        assert [event.source_id for event in happened(spoilt)] == ["1", "2"]


def test_a_byte_order_mark_is_skipped() -> None:
    assert len(happened(BOM_UTF8 + written(chat(message(1))))) == 1


def test_a_message_nested_a_hundred_times_is_read() -> None:
    deep: object = []
    for _ in range(100):
        deep = [deep]
    assert [event.source_id for event in happened(chat(message(1, text=deep), message(2)))] == [
        "1",
        "2",
    ]


@pytest.mark.parametrize("text", ["a\\u0000b", "a\\ud800b", "a\\ud83d\\ude00b", "a\\nb"])
def test_escapes_in_a_name_are_no_obstacle(text: str) -> None:
    file = written(chat(message(1, **{"from": "NAME"}), message(2))).replace(b"NAME", text.encode())
    assert [event.source_id for event in happened(file)] == ["1", "2"]


@pytest.mark.parametrize(
    "wrong",
    [b"\xff", b"\xc3", b"\x01", b"\\q", b'"', b"\n"],
    ids=["byte", "half", "control", "escape", "quote", "line"],
)
def test_a_file_that_breaks_in_a_message_gives_what_comes_before(wrong: bytes) -> None:
    file = written(chat(message(1), message(2, text="HERE"), message(3))).replace(b"HERE", wrong)
    found, broken = until_broken(file)
    assert [item.source_id for item in found if isinstance(item, ExportedEvent)] == ["1"]
    assert str(broken) == (
        f"The file is incomplete or damaged near byte {broken.position:,}: export the chat again."
    )


@pytest.mark.parametrize(
    "file", [b"", b" ", b"hello", b"<html>", b"{", b"[", b'{"messages": [', b"\xff\xfe{\0}\0"]
)
def test_what_is_no_json_is_broken(file: bytes) -> None:
    with pytest.raises(TruncatedExport):
        everything(file)


SMALL = chat(
    message(1, reactions=[reaction(BO, count=2)]),
    service(2, "group_call", duration=90),
    message(3, **BO),
    name="Łódź 🍓",
)
SMALL_FILE = written(SMALL)
SMALL_EVENTS = happened(SMALL)


@given(cut=st.integers(0, len(SMALL_FILE) - 1))
def test_a_file_cut_anywhere_gives_what_comes_before(cut: int) -> None:
    found, broken = until_broken(SMALL_FILE[:cut])
    events = [item for item in found if isinstance(item, ExportedEvent)]
    assert events == SMALL_EVENTS[: len(events)]
    # Each whole message before the cut is among them.
    whole = SMALL_FILE[:cut].count(b"\n  }")
    assert {event.source_id for event in events} == {"1", "2", "3"} & {
        str(number + 1) for number in range(whole)
    }
    assert 0 <= broken.position <= cut


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(1 - 2**63, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    # an id or a time is a text of digits, too
    | st.text(max_size=20)
    | st.integers(0, 2**40).map(str)
    | st.sampled_from(["user5", "service", "group_call"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
FULL = message(
    2,
    edited="2026-01-31T13:00:00",
    duration=7,
    action="group_call",
    actor="Bo",
    actor_id="user102",
    reactions=[reaction(BO, ANA, count=3), reaction(BO, emoji="🔥")],
)
DELETE = object()


def places(record: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where the values of a message lie."""
    if isinstance(record, dict | list):
        keys = record if isinstance(record, dict) else range(len(record))
        return [
            place for key in keys for place in [(*path, key), *places(record[key], (*path, key))]
        ]
    return []


def spoilt(record: dict[str, Any], place: tuple[Any, ...], value: object) -> dict[str, Any]:
    """The message with another value at a place, or without the one there."""
    changed = copy.deepcopy(record)
    inside: Any = changed
    for key in place[:-1]:
        inside = inside[key]
    if value is DELETE:
        del inside[place[-1]]
    else:
        inside[place[-1]] = value
    return changed


@settings(deadline=None, max_examples=300)
@given(
    place=st.sampled_from(places(FULL)),
    value=st.just(DELETE) | JSON,
    kind=st.sampled_from(["message", "service"]),
)
def test_whatever_a_field_holds_or_lacks_the_other_messages_are_read(
    place: tuple[Any, ...], value: object, kind: str
) -> None:
    changed = spoilt(FULL | {"type": kind}, place, value)
    found = everything(json.dumps(chat(message(1), changed, message(3))).encode())
    assert [found[0], found[-1]] == happened(chat(message(1), message(3)))
    assert all(item.count > 0 for item in found if isinstance(item, SkippedItem))
    for item in found:
        if isinstance(item, ExportedEvent):
            assert item.author.telegram_id.isdecimal()
            assert item.occurred_at.utcoffset() is not None


@settings(deadline=None, max_examples=100)
@given(export=JSON, where=st.sampled_from(["chat", "account", "messages", "list"]))
def test_whatever_the_file_holds_it_is_read_to_the_end(export: object, where: str) -> None:
    whole = {
        "chat": export,
        "account": {"chats": export},
        "messages": {**chat(), "messages": export},
        "list": {"chats": {"list": export}},
    }
    assert all(
        isinstance(item, ExportedEvent | SkippedItem)
        for item in everything(json.dumps(whole[where]).encode())
    )
