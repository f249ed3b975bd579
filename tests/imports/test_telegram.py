"""The items that the reader of Telegram Desktop's exports yields."""

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
    BotAccount,
    ExportedEvent,
    ExportedItem,
    NotAnExport,
    SkippedItem,
    SkipReason,
    TruncatedExport,
)
from community_directory.imports.telegram import GroupNotFound
from community_directory.imports.telegram_survey import WINDOW_BYTES, survey_export
from community_directory.tables import EventType
from tests.imports.exports import (
    ANA,
    BO,
    NOON,
    Json,
    account,
    chat,
    discord_channel,
    discord_message,
    encode_json,
    format_local_time,
    message,
    reaction,
    sender,
    service,
    time_fields,
    without,
)


def read_items(
    export: object,
    *,
    zone: str = "UTC",
    chats: Collection[str] = (),
    people: Collection[str] = (),
) -> list[ExportedItem]:
    file = io.BytesIO(export if isinstance(export, bytes) else encode_json(export))
    return list(telegram.read(file, zone=ZoneInfo(zone), chats=chats, people=people))


def read_truncated(file: bytes) -> tuple[list[ExportedItem], TruncatedExport]:
    """Return the items of a truncated file, and the error at its end."""
    found: list[ExportedItem] = []
    with pytest.raises(TruncatedExport) as broken:
        found.extend(telegram.read(io.BytesIO(file), zone=ZoneInfo("UTC")))
    return found, broken.value


def read_events(
    export: object, *, zone: str = "UTC", chats: Collection[str] = ()
) -> list[ExportedEvent]:
    return [
        item
        for item in read_items(export, zone=zone, chats=chats)
        if isinstance(item, ExportedEvent)
    ]


def read_bots(export: object, *, people: Collection[str] = ()) -> list[tuple[str, str]]:
    return [
        (item.telegram_id, item.name)
        for item in read_items(export, people=people)
        if isinstance(item, BotAccount)
    ]


def count_skipped(export: object, *, chats: Collection[str] = ()) -> Counter[str]:
    counted: Counter[str] = Counter()
    for item in read_items(export, chats=chats):
        if isinstance(item, SkippedItem):
            counted[item.reason] += item.count
    return counted


def test_a_message_is_an_event_of_its_author_with_the_platforms_own_id() -> None:
    assert read_items(chat(message(7))) == [
        ExportedEvent(
            author=Author("101", "Ana García"),
            event_type=EventType.MESSAGE,
            room_id="-1001234567890",
            room="Frutero Club",
            source_id="7",
            occurred_at=NOON + timedelta(minutes=6),
        )
    ]


def test_a_message_with_any_content_is_one_event() -> None:
    link = {"type": "link", "text": "https://frutero.club"}
    kinds: list[dict[str, Any]] = [
        {"text": ["see ", link], "text_entities": [{"type": "plain", "text": "see "}, link]},
        {"photo": "(File not included.)", "width": 1, "height": 1, "text": ""},
        {"file": "(File not included.)", "media_type": "sticker", "sticker_emoji": "🍓"},
        {"forwarded_from": None, "reply_to_message_id": 1, "via_bot": "@gif"},
        {"edited": "2026-02-01T00:00:00", "edited_unixtime": "1769904000"},
        {"poll": {"question": "?", "closed": False, "total_voters": 0, "answers": []}},
    ]
    found = read_items(chat(*(message(number, **kind) for number, kind in enumerate(kinds, 1))))
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
def test_a_room_has_the_id_that_the_bot_api_uses(kind: str, room: str) -> None:
    assert [event.room_id for event in read_events(chat(message(), type=kind, id=55))] == [room]


@pytest.mark.parametrize("name", [None, ""])
def test_a_group_without_a_name_is_shown_by_its_id(name: str | None) -> None:
    assert [
        event.room for event in read_events(chat(message(), type="private_group", id=55, name=name))
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
def test_chats_that_are_not_groups_are_skipped_and_counted(kind: str) -> None:
    one = chat(message(1), message(2, reactions=[reaction(BO)]), type=kind, id=5)
    assert count_skipped(one) == {SkipReason.NOT_A_GROUP: 2}
    found = read_items(account(one, chat(message(), id=6)))
    assert Counter(type(item) for item in found) == {SkippedItem: 2, ExportedEvent: 1}


def test_each_message_of_an_account_belongs_to_its_own_chat() -> None:
    export = account(
        chat(message(1), name="A", id=1),
        {"type": "saved_messages", "id": 101, "messages": [message(2)]},
        chat(message(3), name="B", type="private_group", id=2),
        chat(message(4), name=None, type="private_group", id=3),
    )
    found = [(event.room, event.room_id, event.source_id) for event in read_events(export)]
    assert found == [("A", "-1000000000001", "1"), ("B", "-2", "3"), ("-3", "-3", "4")]
    assert count_skipped(export) == {SkipReason.NOT_A_GROUP: 1}


def test_a_group_without_an_id_does_not_get_that_of_the_group_before() -> None:
    export = account(
        chat(message(1), id=1), without(chat(message(2)), "id"), without(chat(message(3)), "type")
    )
    assert [event.source_id for event in read_events(export)] == ["1"]
    assert count_skipped(export) == {SkipReason.NO_CHAT_ID: 1, SkipReason.NOT_A_GROUP: 1}
    anonymous = account(chat(message(1), name="A", id=1), without(chat(message(2), id=2), "name"))
    assert [event.room for event in read_events(anonymous)] == ["A", "-1000000000002"]


def test_a_file_is_read_twice_in_pieces() -> None:
    """The first time finds the bots."""

    class Counting(io.BytesIO):
        count = 0
        largest = 0

        def read(self, size: int | None = -1, /) -> bytes:
            content = super().read(size)
            self.count += len(content)
            self.largest = max(self.largest, len(content))
            return content

    content = encode_json(chat(*map(message, range(1, 9001))))
    file = Counting(content)
    assert len(list(telegram.read(file, zone=ZoneInfo("UTC")))) == 9000
    assert 2 * len(content) <= file.count < 2.5 * len(content)
    assert file.largest < len(content)


@pytest.mark.parametrize("chosen", [["1"], ["A"], ["A", "nothing"], ["1", "A"]])
def test_chats_are_chosen_by_name_or_id(chosen: list[str]) -> None:
    export = account(chat(message(1), name="A", id=1), chat(message(2), name="B", id=2))
    assert [event.room for event in read_events(export, chats=chosen)] == ["A"]
    assert count_skipped(export, chats=chosen) == {SkipReason.CHAT_NOT_CHOSEN: 1}
    assert [
        event.room for event in read_events(chat(message(1), name="A", id=1), chats=chosen)
    ] == ["A"]


@pytest.mark.parametrize(
    "chosen", ["1234567890", "-1001234567890", "Frutero Club", " Frutero Club"]
)
def test_a_chosen_id_may_be_the_one_of_the_bot_api(chosen: str) -> None:
    assert len(read_events(chat(message()), chats=[chosen])) == 1


def test_chats_that_are_not_groups_cannot_be_chosen() -> None:
    export = account(chat(message(), type="personal_chat", name="Ana", id=101))
    with pytest.raises(GroupNotFound, match=r"in this file\. There are no groups in it\.$"):
        read_items(export, chats=["Ana", "101"])


def test_the_groups_are_named_if_no_chosen_one_is_there() -> None:
    export = account(
        chat(message(), name="Frutero, Madrid", id=1),
        chat(message(), type="personal_chat", name="Ana", id=101),
        chat(name="Empty", type="private_group", id=2),
        chat(message(), name=None, id=3),
    )
    with pytest.raises(GroupNotFound) as refused:
        read_items(export, chats=["Nope"])
    assert str(refused.value) == (
        "None of the chosen groups is in this file. "
        "The groups in it are Frutero, Madrid (1), Empty (2), -1000000000003 (3)."
    )
    assert refused.value.field == "chats"
    with pytest.raises(GroupNotFound, match=r"in it are Frutero Club \(1234567890\)\."):
        read_items(chat(message()), chats=["Nope"])


def test_at_most_ten_groups_are_named() -> None:
    export = account(*(chat(name=f"G{number}", id=number) for number in range(1, 13)))
    with pytest.raises(GroupNotFound, match=r"G10 \(10\) and 2 more\.$"):
        read_items(export, chats=["Nope"])


@pytest.mark.parametrize("where", ["first", "last", "alone"])
def test_a_chosen_group_without_messages_is_found(where: str) -> None:
    empty, other = chat(name="Empty", id=2), chat(message(), name="Other", id=3)
    exports = {"first": account(empty, other), "last": account(other, empty), "alone": empty}
    assert read_events(exports[where], chats=["Empty"]) == []


def test_a_bot_is_recognized_by_its_chat_even_if_that_comes_later() -> None:
    rose = {"from": "Rosa", "from_id": "user609517172"}
    group = chat(message(1), message(2, **rose), message(3, reactions=[reaction(rose, BO)]))
    export = account(group, chat(type="bot_chat", id=609517172, name="Rosa"))
    assert [(event.source_id, event.event_type) for event in read_events(export)] == [
        ("1", "MESSAGE"),
        ("3", "MESSAGE"),
        ("3", "REACTION"),
    ]
    assert count_skipped(export) == {SkipReason.BOT: 2}
    # A person with whom the account chatted is not a bot.
    assert (
        len(read_events(account(group, chat(type="personal_chat", id=609517172, name="Rosa")))) == 5
    )


@pytest.mark.parametrize(
    "name", ["Bernard Bot", "WelcomeBot", "help_bot", "Bot", "Rose", "GroupHelp", "Telegram"]
)
def test_nobody_is_taken_for_a_bot_because_of_a_name(name: str) -> None:
    assert [event.author.name for event in read_events(chat(message(1, **sender(name))))] == [name]


ROSE = {"from": "Rose", "from_id": "user609517172"}
CALLBACK = {"type": "callback", "text": "I am human"}
BUTTONS = {
    "4.13.0": [[{**CALLBACK, "data": "x"}]],
    "4.16.0": [[{**CALLBACK, "dataBase64": "eA", "data": ""}]],
    "a link": [[{"type": "url", "text": "Rules", "data": "https://frutero.club"}]],
    "rows": [[CALLBACK, CALLBACK], [{"type": "switch_inline", "text": "Share"}]],
}


@pytest.mark.parametrize("buttons", BUTTONS.values(), ids=BUTTONS.keys())
def test_an_account_whose_message_has_buttons_is_a_bot_in_the_whole_file(
    buttons: list[list[Json]],
) -> None:
    later = message(4, **ROSE, inline_bot_buttons=buttons)
    export = chat(
        message(1, **ROSE),
        message(2, reactions=[reaction(ROSE, BO)]),
        service(3, "group_call", duration=9, actor="Rose", actor_id=ROSE["from_id"]),
        later,
    )
    assert [(event.source_id, event.event_type) for event in read_events(export)] == [
        ("2", "MESSAGE"),
        ("2", "REACTION"),
    ]
    assert count_skipped(export) == {SkipReason.BOT: 4}
    assert read_bots(export) == [("609517172", "Rose")]
    # It is a bot in the other groups of an account, too, also in those before.
    both = account(chat(message(1, **ROSE), id=1), chat(later, type="public_channel", id=2))
    assert read_bots(both) == [("609517172", "Rose")]


@pytest.mark.parametrize(
    "how",
    [
        {"via_bot": "@like"},
        {"forwarded_from": "Rose"},
        {"forwarded_from": None},
        {"inline_bot_buttons": []},
        {"inline_bot_buttons": None},
        {"from_id": "channel609517172"},
        {"text": '{"from_id": "user101", "inline_bot_buttons": [[1]]}', "inline_bot_buttons": None},
    ],
)
def test_somebody_who_forwards_buttons_or_sends_them_by_means_of_a_bot_is_a_person(
    how: Json,
) -> None:
    export = chat(message(1), message(2, **{"inline_bot_buttons": BUTTONS["a link"]} | how))
    assert read_events(export)[0].source_id == "1"
    assert read_bots(export) == []


@pytest.mark.parametrize("kind", ["personal_chat", "saved_messages"])
def test_buttons_in_private_are_no_evidence(kind: str) -> None:
    """The bot of a shop writes to a customer in the name of the shop's owner."""
    sold = message(1, text="private_group", inline_bot_buttons=BUTTONS["a link"])
    private = chat(sold, type=kind, id=101)
    group = chat(message(2))
    for export in (account(private, group), account(group, private)):
        assert read_bots(export) == []


def test_buttons_in_private_are_no_evidence_where_searched_pieces_overlap() -> None:
    """The private chat begins before the second piece, and the next group in it."""
    sold = message(3, inline_bot_buttons=BUTTONS["a link"])
    before = chat(message(1, text="x" * (WINDOW_BYTES - 400_000)), id=8)
    private = chat(message(2, text="x" * 200_000), sold, type="personal_chat", id=101)
    group = chat(message(4), message(5, text="x" * WINDOW_BYTES))
    assert read_bots(account(before, private, group)) == []


def test_somebody_who_uses_bots_in_line_is_a_person() -> None:
    """The export does not name a bot that was deleted since, so its buttons seem to be Ana's."""
    buttons = {"inline_bot_buttons": BUTTONS["4.16.0"]}
    one, other = message(1, **buttons), message(2, **buttons, via_bot="@like")
    for messages in ([one, other], [other, one]):
        assert read_bots(chat(*messages)) == []


@pytest.mark.parametrize("name", [None, ""])
def test_a_deleted_bot_is_named_by_its_id(name: str | None) -> None:
    export = chat(message(1, **ROSE | sender(name), inline_bot_buttons=BUTTONS["a link"]))
    assert read_bots(export) == [("609517172", "609517172")]


def test_only_bots_of_the_groups_that_are_read_are_remembered() -> None:
    private = chat(message(1, **ROSE), type="bot_chat", id=609517172, name="Rose")
    assert read_bots(account(chat(message(1)), private)) == []


@pytest.mark.parametrize("offset", [-1000, -250, -100, -10, 0, 100])
@pytest.mark.parametrize("indent", [1, None])
def test_a_bot_is_found_at_the_edge_of_what_is_searched_at_once(
    offset: int, indent: int | None
) -> None:
    said = message(2, text="{", inline_bot_buttons=BUTTONS["a link"], **ROSE)
    after = [message(3, **ROSE), message(4, text="}" * WINDOW_BYTES)]

    def write(filler: int) -> bytes:
        return json.dumps(chat(message(1, text="x" * filler), said, *after), indent=indent).encode()

    place = WINDOW_BYTES + offset
    file = write(place - write(0).index(b'"inline_bot_buttons"'))
    assert file.index(b'"inline_bot_buttons"') == place
    assert read_bots(file) == [("609517172", "Rose")]


def test_a_bot_of_the_list_of_chats_is_known_by_a_long_chat() -> None:
    long = [message(number, text="x" * WINDOW_BYTES) for number in (1, 2)]
    helper = chat(*long, name="Rose {", type="bot_chat", id=609517172)
    assert read_bots(account(helper, chat(message(3, **ROSE)))) == [("609517172", "Rose")]


@pytest.mark.parametrize("order", [sorted, reversed])
def test_a_bot_is_found_if_another_program_has_sorted_the_keys(order: Any) -> None:
    said = message(2, **ROSE, inline_bot_buttons=BUTTONS["a link"], reactions=[reaction(BO)])
    other = message(3, inline_bot_buttons=BUTTONS["a link"], from_id="user7")
    sorted_messages = [{key: one[key] for key in order(one)} for one in (message(1), said, other)]
    assert read_bots(chat(*sorted_messages)) == [("609517172", "Rose"), ("7", "Ana García")]


def test_a_bot_is_found_by_a_message_with_control_characters() -> None:
    """Up to 4.15, Telegram Desktop writes the data of buttons as it is."""
    said = message(2, **ROSE, inline_bot_buttons=[[{**CALLBACK, "data": "HERE"}]])
    file = encode_json(chat(message(1, **ROSE), said, message(3))).replace(b"HERE", rb"\x01\\x\x1F")
    assert [event.source_id for event in read_events(file)] == ["3"]


def test_a_damaged_message_does_not_hide_the_other_bots() -> None:
    said = message(2, **ROSE, inline_bot_buttons=BUTTONS["a link"])
    file = encode_json(chat(said, said | {"text": "HERE"}, said | {"from_id": "user7"}))
    survey = survey_export(io.BytesIO(file.replace(b'"HERE"', b"video (1).webm")))
    assert survey.bots == {"609517172", "7"}


def test_a_confirmed_person_is_no_bot_whatever_the_export_shows() -> None:
    said = message(1, **ROSE, inline_bot_buttons=BUTTONS["a link"])
    other = message(2, **ROSE | {"from_id": "user7"}, inline_bot_buttons=BUTTONS["a link"])
    export = chat(said, other, message(3, from_id="user777000"))
    items = read_items(export, people=["609517172", "777000"])
    assert [item.source_id for item in items if isinstance(item, ExportedEvent)] == ["1"]
    assert read_bots(export, people=["609517172"]) == [("7", "Rose"), ("777000", "Ana García")]


@pytest.mark.parametrize(
    "number", ["777000", "333000", "1087968824", "136817688", "1271266957", "489000"]
)
def test_service_accounts_of_telegram_are_not_people(number: str) -> None:
    assert count_skipped(chat(message(from_id=f"user{number}"))) == {SkipReason.BOT: 1}


@pytest.mark.parametrize("who", ["channel1234567890", "chat55"])
def test_messages_sent_as_a_channel_or_group_have_no_author(who: str) -> None:
    export = chat(
        message(1, from_id=who, **sender("News")),
        message(2, reactions=[reaction({"from_id": who})]),
    )
    assert count_skipped(export) == {SkipReason.SENT_AS_CHAT: 2}
    assert [event.source_id for event in read_events(export)] == ["2"]


@pytest.mark.parametrize(
    "action", ["create_group", "join_group_by_link", "invite_members", "pin_message", "group_call"]
)
def test_service_messages_are_counted(action: str) -> None:
    assert count_skipped(chat(service(1, action), service(2, action, message_id=1))) == {
        SkipReason.SERVICE_MESSAGE: 2
    }


def test_a_voice_chat_that_ended_is_an_event_with_its_duration() -> None:
    [event] = read_events(chat(service(3, "group_call", duration=125)))
    assert event.author == Author("101", "Ana García")
    assert (event.event_type, event.source_id, event.metadata) == (
        "VOICE",
        "3",
        {"duration_seconds": 125},
    )
    # The message has the time of the end.
    assert event.occurred_at == NOON + timedelta(minutes=2, seconds=-125)


def test_the_start_of_a_voice_chat_is_right_across_a_change_of_the_clock() -> None:
    """In Madrid the clock went from 2:00 to 3:00 on 2020-03-29."""
    call = without(service(1, "group_call", duration=7200), "date_unixtime")
    call["date"] = "2020-03-29T04:00:00"
    [event] = read_events(chat(call), zone="Europe/Madrid")
    assert event.occurred_at == datetime(2020, 3, 29, 0, tzinfo=UTC)


@pytest.mark.parametrize("seconds", [10**9, 10**15, -60, "soon", 1.5, [1], True])
def test_a_voice_chat_with_an_impossible_duration_is_malformed(seconds: object) -> None:
    export = chat(service(1, "group_call", duration=seconds), message(2))
    assert count_skipped(export) == {SkipReason.MALFORMED: 1}


def test_a_reaction_to_a_voice_chat_has_the_time_of_the_message() -> None:
    one = reaction(BO) | {"recent": [BO]}
    [_, reacted] = read_events(chat(service(1, "group_call", duration=5, reactions=[one])))
    assert reacted.occurred_at == NOON


@pytest.mark.parametrize("fields", [{}, {"duration": 0}, {"duration": None}])
def test_a_voice_chat_that_only_began_is_a_service_message(fields: dict[str, Any]) -> None:
    assert count_skipped(chat(service(1, "group_call", **fields))) == {
        SkipReason.SERVICE_MESSAGE: 1
    }


def test_a_duration_counts_only_for_a_voice_chat() -> None:
    assert count_skipped(chat(service(1, "set_messages_ttl", duration=60))) == {
        SkipReason.SERVICE_MESSAGE: 1
    }
    assert [
        event.event_type for event in read_events(chat(message(action="group_call", duration=60)))
    ] == ["MESSAGE"]


def test_an_unsupported_message_becomes_no_event() -> None:
    assert count_skipped(chat({"id": 1, "type": "unsupported"})) == {SkipReason.UNSUPPORTED: 1}


@pytest.mark.parametrize("name", [None, ""])
def test_a_deleted_account_has_no_name(name: str | None) -> None:
    export = chat(message(1, **sender(name)), service(2, "group_call", duration=1, actor=name))
    assert [event.author for event in read_events(export)] == [Author("101", None)] * 2
    anonymous = without(message(), "from")
    assert [event.author for event in read_events(chat(anonymous))] == [Author("101", None)]


# Reactions


def test_a_reaction_is_an_event_with_the_id_of_the_message() -> None:
    later = NOON + timedelta(hours=1)
    [said, reacted] = read_events(chat(message(7, reactions=[reaction(BO, emoji="🔥", at=later)])))
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
    found = read_events(chat(message(1, reactions=two), message(2, reactions=two[:1])))
    reacted = [
        (event.source_id, event.author.name) for event in found if event.event_type == "REACTION"
    ]
    assert reacted == [("1", "Bo"), ("1", "Ana García"), ("2", "Bo"), ("2", "Ana García")]


def test_reactions_without_an_author_are_counted() -> None:
    reactions = [reaction(BO, count=4), reaction(emoji="🎉", count=2), reaction(ANA, emoji="🔥")]
    assert count_skipped(chat(message(reactions=reactions))) == {SkipReason.ANONYMOUS_REACTION: 5}
    assert len(read_events(chat(message(reactions=reactions)))) == 3


def test_the_stars_of_a_paid_reaction_are_not_counted_as_reactions() -> None:
    paid = {"type": "paid", "count": 500}
    assert count_skipped(chat(message(reactions=[paid]))) == {SkipReason.ANONYMOUS_REACTION: 1}


def test_a_reaction_with_a_custom_emoji_has_no_metadata() -> None:
    custom = without(reaction(BO), "emoji") | {
        "type": "custom_emoji",
        "document_id": "(File not included.)",
    }
    [_, reacted] = read_events(chat(message(reactions=[custom])))
    assert (reacted.event_type, reacted.metadata) == ("REACTION", None)


def test_a_voice_chat_can_be_reacted_to() -> None:
    found = read_events(chat(service(1, "group_call", duration=5, reactions=[reaction(BO)])))
    assert [event.event_type for event in found] == ["VOICE", "REACTION"]
    only = chat(service(1, "pin_message", reactions=[reaction(BO)]))
    assert [event.event_type for event in read_events(only)] == ["REACTION"]
    assert count_skipped(only) == {SkipReason.SERVICE_MESSAGE: 1}


def test_a_message_without_reactions_is_one_event() -> None:
    assert len(read_items(chat(message(1, reactions=[]), message(2, reactions=None)))) == 2


# Times


@pytest.mark.parametrize(
    "clock", ["America/Mexico_City", "Asia/Kathmandu", "Pacific/Kiritimati", "Pacific/Pago_Pago"]
)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Madrid"])
def test_the_time_of_a_reaction_is_in_the_zone_of_the_exporting_machine(
    clock: str, zone: str
) -> None:
    later = NOON + timedelta(hours=20)
    one = message(1, **time_fields(NOON, clock), reactions=[reaction(BO, at=later, clock=clock)])
    assert [event.occurred_at for event in read_events(chat(one), zone=zone)] == [NOON, later]


@pytest.mark.parametrize("month", [1, 7])
def test_the_time_of_a_reaction_follows_daylight_saving_time(month: int) -> None:
    at = datetime(2025, month, 15, 22, 30, tzinfo=UTC)
    one = message(
        1,
        **time_fields(at, "Europe/Madrid"),
        reactions=[reaction(BO, at=at, clock="Europe/Madrid")],
    )
    assert [event.occurred_at for event in read_events(chat(one))] == [at, at]


def test_a_reaction_without_a_time_has_that_of_the_message() -> None:
    one = reaction(BO) | {"recent": [BO]}
    assert [event.occurred_at for event in read_events(chat(message(reactions=[one])))] == [
        NOON,
        NOON,
    ]


def test_an_impossible_utc_offset_is_ignored() -> None:
    """If both times of a message differ by days, those of reactions are in the community's zone."""
    at = NOON + timedelta(days=2)
    wrong = time_fields(NOON) | {"date": format_local_time(at)}
    found = read_events(
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
def test_times_of_an_old_export_are_in_the_zone_of_the_community(
    date: str, zone: str, meant: datetime
) -> None:
    old = without(
        message(date=date, reactions=[reaction(BO) | {"recent": [BO | {"date": date}]}]),
        "date_unixtime",
    )
    assert [event.occurred_at for event in read_events(chat(old), zone=zone)] == [meant, meant]


# Generations of ids


@pytest.mark.parametrize(
    ("number", "person"),
    [
        (101, "101"),
        (0xFFFF_FFFF, "4294967295"),
        ((1 << 32) + 1, "1"),
        (4294968297, "1001"),
        ((2 << 32) - 1, "4294967295"),
        (2 << 32, None),
        (9_824_502_482, None),
        ((3 << 32) - 1, None),
    ],
)
def test_authors_of_old_exports_are_numbers(number: int, person: str | None) -> None:
    export = chat(message(from_id=number))
    assert [event.author.telegram_id for event in read_events(export)] == (
        [person] if person else []
    )
    assert count_skipped(export) == ({} if person else {SkipReason.SENT_AS_CHAT: 1})


@pytest.mark.parametrize(
    "author",
    [
        *(0, 1 << 32, 3 << 32, -5, True, 1.0, None, ["user1001"], {"user_id": 1001}),
        *("", "user", "user0", "user01001", "user-5", "Ana", "user1001 ", "user1001x"),
        "user" + "9" * 21,
    ],
)
def test_an_author_of_no_version_is_malformed(author: object) -> None:
    assert count_skipped(chat(message(1, from_id=author), message(2))) == {SkipReason.MALFORMED: 1}


def write_generation(
    version: str, *, kind: str = "private_supergroup", bare: int = 1234567890
) -> Json:
    """Return the same group as the versions of Telegram Desktop export it."""
    offsets = {"1.6": 0, "2.5": 1 << 32}
    room = 2 << 32 if version in offsets else 0

    def at(number: int) -> Json:
        fields = time_fields(NOON + timedelta(minutes=number))
        return fields if version == "5.10" else without(fields, "date_unixtime")

    def by(number: int, name: str, role: str = "from") -> Json:
        account = offsets[version] + number if version in offsets else f"user{number}"
        return {role: name, f"{role}_id": account}

    as_chat = (2 << 32) + 1234567890 if version in offsets else "channel1234567890"
    messages = [
        {"id": 1, "type": "message", **at(1), **by(1001, "Ana"), "text": "x"},
        {"id": 2, "type": "message", **at(2), **by(1002, "Bea"), "text": "x"},
        {"id": 3, "type": "message", **at(3), "from": "Group", "from_id": as_chat, "text": "x"},
        {"id": 4, "type": "service", **at(4), **by(1001, "Ana", "actor"), "action": "group_call"},
    ]
    messages[3] |= {"duration": 60, "text": ""}
    return {"name": "Group", "type": kind, "id": room + bare, "messages": messages}


@pytest.mark.parametrize(
    ("kind", "bare", "room"),
    [
        ("private_supergroup", 1234567890, "-1001234567890"),
        ("public_supergroup", 1234567890, "-1001234567890"),
        ("private_group", 4242, "-4242"),
    ],
)
def test_all_generations_give_the_same_events(kind: str, bare: int, room: str) -> None:
    new = read_items(write_generation("5.10", kind=kind, bare=bare))
    events = [item for item in new if isinstance(item, ExportedEvent)]
    assert [(event.room_id, event.source_id) for event in events] == [
        (room, "1"),
        (room, "2"),
        (room, "4"),
    ]
    for version in ("1.6", "2.5", "3.5"):
        old = write_generation(version, kind=kind, bare=bare)
        assert read_items(old) == new
        assert read_items(account(chat(id=7), old)) == new
        assert read_items(account(old), chats=[str(bare)]) == new
        assert read_items(old, chats=[str(old["id"])]) == new


def test_a_group_of_today_may_have_an_id_as_large_as_an_old_one() -> None:
    large = write_generation("5.10", bare=9824502482)
    assert {event.room_id for event in read_events(large)} == {"-1009824502482"}


@pytest.mark.parametrize(
    ("version", "listed", "author", "bot"),
    [
        ("1.6", (1 << 32) + 555, 555, "555"),
        ("2.5", (1 << 32) + 555, (1 << 32) + 555, "555"),
        ("3.5", 555, "user555", "555"),
        ("5.10", 555, "user555", "555"),
        # Since 2021 new accounts have ids that look like the old ids of others.
        ("3.5", 5000000000, "user5000000000", "5000000000"),
        ("5.10", 5000000000, "user5000000000", "5000000000"),
    ],
)
def test_a_bot_of_the_list_of_chats_is_known_in_all_generations(
    version: str, listed: int, author: object, bot: str
) -> None:
    group = write_generation(version)
    group["messages"][0] |= {"from": "Helper", "from_id": author}
    helper = {"name": "Helper {", "type": "bot_chat", "id": listed, "messages": []}
    for export in (account(helper, group), account(group, helper)):
        assert read_bots(export) == [(bot, "Helper")]
        assert [event.source_id for event in read_events(export)] == ["2", "4"]


def test_a_bot_that_the_account_often_uses_in_line_is_a_bot() -> None:
    for listed, author in ((609517172, "user609517172"), (4904484468, 4904484468)):
        often = {"id": listed, "category": "inline_bots", "type": "user", "name": "Gif"}
        friend = {"id": 101, "category": "people", "type": "user", "name": "Ana García"}
        frequent = {"about": "x", "list": [{**friend, "rating": 1.5}, {**often, "rating": 1.5}]}
        group = chat(message(1), message(2, **sender("Gif"), from_id=author))
        export = {"frequent_contacts": frequent, **account(group)}
        if isinstance(author, int):
            group["messages"][0]["from_id"] = 101
        assert read_bots(export) == [("609517172", "Gif")]


def test_left_groups_are_read_like_the_others() -> None:
    export = {**account(chat(message(1), id=1)), "left_chats": {"list": [chat(message(2), id=2)]}}
    found = [(event.room_id, event.source_id) for event in read_events(export)]
    assert found == [("-1000000000001", "1"), ("-1000000000002", "2")]


def test_messages_of_the_group_before_have_negative_ids_in_its_supergroup() -> None:
    before = message(-999_999_993, **time_fields(NOON))
    export = chat(before, service(1, "migrate_from_group", title="Frutero"), message(2))
    assert [(event.room_id, event.source_id) for event in read_events(export)] == [
        ("-1001234567890", "-999999993"),
        ("-1001234567890", "2"),
    ]


def test_all_topics_of_a_group_are_one_room() -> None:
    topic = service(1, "topic_created", title="Off topic")
    said = message(2, reply_to_message_id=1, reply_to_peer_id="channel1234567890")
    export = chat(topic, said, service(3, "topic_edit", new_title="x"), message(4))
    assert {event.room_id for event in read_events(export)} == {"-1001234567890"}
    assert count_skipped(export) == {SkipReason.SERVICE_MESSAGE: 2}


def test_an_export_from_before_there_were_ids_is_counted() -> None:
    """Telegram Desktop 1.3.8 to 1.4.7 wrote neither the ids of chats nor those of authors."""
    old = without(message(1), "from_id", "date_unixtime")
    assert count_skipped(account(without(chat(old), "id"))) == {SkipReason.NO_CHAT_ID: 1}


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
def test_a_message_with_an_impossible_time_is_malformed(when: object) -> None:
    assert count_skipped(chat(message(1, date_unixtime=when), message(2))) == {
        SkipReason.MALFORMED: 1
    }


@pytest.mark.parametrize("when", ["946684800", "4133980799"])
def test_the_first_and_the_last_possible_time_are_read(when: str) -> None:
    assert len(read_events(chat(message(1, date_unixtime=when)))) == 1


# Malformed files


@pytest.mark.parametrize("thing", [1, 1.5, "text", True, None])
def test_a_malformed_message_is_counted_and_the_others_are_read(thing: object) -> None:
    export = chat(message(1), thing, message(2))
    assert [event.source_id for event in read_events(export)] == ["1", "2"]
    assert count_skipped(export) == {SkipReason.MALFORMED: 1}


@pytest.mark.parametrize(
    "thing", [[], [1, [2]], [message(9)], {}, {"id": 1}, {"id": 1, "type": "message"}]
)
def test_a_list_or_an_incomplete_message_is_counted_and_the_others_are_read(
    thing: object,
) -> None:
    export = chat(message(1), thing, message(2))
    assert [event.source_id for event in read_events(export)] == ["1", "2"]
    assert count_skipped(export)[SkipReason.MALFORMED] > 0


@pytest.mark.parametrize("number", [1.0, "1234567890", 0, -5])
def test_a_chat_whose_id_is_not_a_positive_integer_is_not_a_group(number: object) -> None:
    assert count_skipped(chat(message(), id=number)) == {SkipReason.NOT_A_GROUP: 1}


@pytest.mark.parametrize("number", [None, True, {"id": 1}, [1]])
def test_a_chat_whose_id_is_no_number_has_none(number: object) -> None:
    assert count_skipped(chat(message(), id=number)) == {SkipReason.NO_CHAT_ID: 1}


def test_the_last_of_two_equal_json_keys_counts() -> None:
    twice = encode_json(chat(message(1))).replace(b'"id": 1,', b'"id": 1, "id": 2,')
    assert [event.source_id for event in read_events(twice)] == ["2"]


@pytest.mark.parametrize(
    "export", [{}, [], [1], {"messages": {}}, {"chats": {"list": []}}, "text", None, chat()]
)
def test_a_file_without_messages_yields_nothing(export: object) -> None:
    assert read_items(export) == []


def test_a_file_that_is_not_a_telegram_export_is_refused() -> None:
    one = chat(message())
    # Telegram Desktop writes the messages last, and a stream can't look ahead.
    for other in (
        {"messages": one["messages"], **without(one, "messages")},
        discord_channel(discord_message(1)),
    ):
        with pytest.raises(NotAnExport, match="no messages in this file"):
            read_items(other)


def test_a_file_with_endless_nesting_is_refused() -> None:
    with pytest.raises(TruncatedExport):
        read_items(b"[" * 100_000)


@pytest.mark.parametrize("number", ["9" * 5000, "1e99999999", "-1e99999999999999999999"])
@pytest.mark.parametrize("field", ["a", "date_unixtime", "duration"])
def test_a_huge_number_does_not_spoil_the_messages_before_it(field: str, number: str) -> None:
    text = encode_json(chat(message(1), message(2, **{field: "HERE"}), message(3))).replace(
        b'"HERE"', number.encode()
    )
    found: list[ExportedItem] = []
    with suppress(TruncatedExport):
        found.extend(telegram.read(io.BytesIO(text), zone=UTC))
    assert isinstance(found[0], ExportedEvent)


def test_control_characters_are_read_as_telegram_desktop_writes_them() -> None:
    text = encode_json(chat(message(1, text="aHEREb", **sender("A\\x0Bna")), message(2)))
    for filler in (b"", b" " * 65_500):
        damaged = filler + text.replace(b"HERE", rb"\x0B\x1f\\x0B")
        assert [event.source_id for event in read_events(damaged)] == ["1", "2"]


def test_a_byte_order_mark_is_skipped() -> None:
    assert len(read_events(BOM_UTF8 + encode_json(chat(message(1))))) == 1


def test_a_message_nested_a_hundred_times_is_read() -> None:
    deep: object = []
    for _ in range(100):
        deep = [deep]
    assert [event.source_id for event in read_events(chat(message(1, text=deep), message(2)))] == [
        "1",
        "2",
    ]


@pytest.mark.parametrize("text", ["a\\u0000b", "a\\ud800b", "a\\ud83d\\ude00b", "a\\nb"])
def test_a_name_may_have_escapes(text: str) -> None:
    file = encode_json(chat(message(1, **{"from": "NAME"}), message(2))).replace(
        b"NAME", text.encode()
    )
    assert [event.source_id for event in read_events(file)] == ["1", "2"]


@pytest.mark.parametrize(
    "file", [b"", b" ", b"hello", b"<html>", b"{", b"[", b'{"messages": [', b"\xff\xfe{\0}\0"]
)
def test_a_file_that_is_not_json_is_refused(file: bytes) -> None:
    with pytest.raises(TruncatedExport):
        read_items(file)


SMALL = chat(
    message(1, reactions=[reaction(BO, count=2)]),
    service(2, "group_call", duration=90),
    message(3, **BO),
    name="Łódź 🍓",
)
SMALL_FILE = encode_json(SMALL)
SMALL_EVENTS = read_events(SMALL)


@given(cut=st.integers(0, len(SMALL_FILE) - 1))
def test_a_truncated_file_yields_the_events_before_the_end(cut: int) -> None:
    found, broken = read_truncated(SMALL_FILE[:cut])
    events = [item for item in found if isinstance(item, ExportedEvent)]
    assert events == SMALL_EVENTS[: len(events)]
    # Each complete message before the cut is read.
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
    # Ids and times are texts of digits.
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


def list_paths(record: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value in a message."""
    if isinstance(record, dict | list):
        keys = record if isinstance(record, dict) else range(len(record))
        return [
            place
            for key in keys
            for place in [(*path, key), *list_paths(record[key], (*path, key))]
        ]
    return []


def replace_value(record: dict[str, Any], place: tuple[Any, ...], value: object) -> dict[str, Any]:
    """Return the message with another value at a path, or without the value there."""
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
    place=st.sampled_from(list_paths(FULL)),
    value=st.just(DELETE) | JSON,
    kind=st.sampled_from(["message", "service"]),
)
def test_a_malformed_field_does_not_spoil_the_other_messages(
    place: tuple[Any, ...], value: object, kind: str
) -> None:
    changed = replace_value(FULL | {"type": kind}, place, value)
    found = read_items(json.dumps(chat(message(1), changed, message(3))).encode())
    assert [found[0], found[-1]] == read_events(chat(message(1), message(3)))
    assert all(item.count > 0 for item in found if isinstance(item, SkippedItem))
    for item in found:
        if isinstance(item, ExportedEvent):
            assert item.author.telegram_id.isdecimal()
            assert item.occurred_at.utcoffset() is not None


@settings(deadline=None, max_examples=100)
@given(export=JSON, where=st.sampled_from(["chat", "account", "messages", "list"]))
def test_any_json_is_read_to_the_end(export: object, where: str) -> None:
    whole = {
        "chat": export,
        "account": {"chats": export},
        "messages": {**chat(), "messages": export},
        "list": {"chats": {"list": export}},
    }
    assert all(
        isinstance(item, ExportedItem) for item in read_items(json.dumps(whole[where]).encode())
    )
