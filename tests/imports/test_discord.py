"""The items that the reader of DiscordChatExporter's files yields."""

import io
import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from community_directory.imports import discord
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
from community_directory.tables import EventType
from tests.imports.exports import (
    NOON,
    discord_channel,
    discord_message,
    discord_reaction,
    encode_json,
    user,
    without,
)
from tests.imports.test_telegram import DELETE, JSON, list_paths, replace_value

BO = user("802", "bo")


def read_items(export: object) -> list[ExportedItem]:
    return list(
        discord.read(io.BytesIO(export if isinstance(export, bytes) else encode_json(export)))
    )


def read_events(export: object) -> list[ExportedEvent]:
    return [item for item in read_items(export) if isinstance(item, ExportedEvent)]


def count_skipped(export: object) -> Counter[str]:
    counted: Counter[str] = Counter()
    for item in read_items(export):
        if isinstance(item, SkippedItem):
            counted[item.reason] += item.count
    return counted


def test_a_message_is_an_event_of_its_author_with_the_platforms_own_id() -> None:
    assert read_items(discord_channel(discord_message(7))) == [
        ExportedEvent(
            author=Author("discord:801", "Ana", "801"),
            event_type=EventType.MESSAGE,
            room_id="701",
            room="Frutero #general",
            source_id="1300000000000000007",
            occurred_at=NOON + timedelta(minutes=6),
        )
    ]


@pytest.mark.parametrize("kind", ["Default", "Reply", "0", "19", 0, 19])
def test_a_message_and_a_reply_become_message_events(kind: object) -> None:
    assert [
        event.event_type for event in read_events(discord_channel(discord_message(type=kind)))
    ] == ["MESSAGE"]


@pytest.mark.parametrize(
    "kind",
    [
        *("GuildMemberJoin", "ChannelPinnedMessage", "ThreadCreated", "RecipientAdd"),
        # The names that a version lacks: a new thread, its first message, a command, a poll's end.
        *("18", "21", "20", "23", "46", 7),
    ],
)
def test_service_messages_are_counted(kind: object) -> None:
    assert count_skipped(discord_channel(discord_message(type=kind))) == {
        SkipReason.SERVICE_MESSAGE: 1
    }


def test_a_call_that_ended_is_an_event_with_its_duration() -> None:
    ended = (NOON + timedelta(minutes=2, seconds=5.4)).isoformat()
    [event] = read_events(discord_channel(discord_message(type="Call", callEndedTimestamp=ended)))
    assert (event.event_type, event.occurred_at, event.metadata) == (
        "VOICE",
        NOON,
        {"duration_seconds": 125},
    )
    assert count_skipped(discord_channel(discord_message(type="Call"))) == {
        SkipReason.SERVICE_MESSAGE: 1
    }


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({}, "Ana"),
        ({"nickname": "Anita 🍓"}, "Anita 🍓"),
        ({"nickname": None}, "ana"),
        ({"nickname": ""}, "ana"),
    ],
)
def test_an_author_has_their_name_on_the_server(fields: dict[str, Any], name: str) -> None:
    [event] = read_events(discord_channel(discord_message(author=user(**fields))))
    assert event.author.name == name


def test_a_message_of_an_account_whose_id_is_not_a_number_is_malformed() -> None:
    export = discord_channel(
        *(discord_message(author=user(one)) for one in ("801", "ana", "", "0801"))
    )
    assert [event.author.telegram_id for event in read_events(export)] == ["discord:801"]
    assert count_skipped(export) == {SkipReason.MALFORMED: 3}


def test_bots_and_webhooks_are_counted_and_each_is_named_once() -> None:
    bot, webhook = user("803", "helper", isBot=True), user("804", "", nickname=None, isBot=True)
    reactions = [discord_reaction(bot, BO)]
    export = discord_channel(
        discord_message(1, author=bot),
        discord_message(2, author=webhook, reactions=reactions),
        # Only an app answers a command.
        discord_message(3, author=bot, type="20"),
        discord_message(4, author=bot, type="GuildMemberJoin"),
    )
    assert count_skipped(export) == {SkipReason.BOT: 4, SkipReason.SERVICE_MESSAGE: 1}
    assert [item for item in read_items(export) if isinstance(item, BotAccount)] == [
        BotAccount("discord:803", "Helper"),
        BotAccount("discord:804", "804"),
    ]
    assert [event.author.name for event in read_events(export)] == ["Bo"]


@pytest.mark.parametrize("name", ["Rose Bot", "help_bot", "Bot"])
def test_nobody_is_taken_for_a_bot_by_their_name(name: str) -> None:
    [event] = read_events(discord_channel(discord_message(author=user("803", name, nickname=name))))
    assert event.author.name == name


@pytest.mark.parametrize(
    "name", ["Deleted User", "Deleted User 1a2b3c4d", "deleted_user_ab12cd34ef56"]
)
@pytest.mark.parametrize("has_nickname", [True, False])
def test_a_deleted_account_has_no_name(name: str, has_nickname: bool) -> None:
    gone = user("803", name, nickname=name if has_nickname else None)
    export = discord_channel(
        discord_message(1, author=gone), discord_message(2, reactions=[discord_reaction(gone)])
    )
    assert [event.author for event in read_events(export) if event.author.name is None] == [
        Author("discord:803", None, "803")
    ] * 2


def test_the_account_that_stands_for_all_deleted_ones_is_nobody() -> None:
    gone = user("456226577798135808", "Deleted User")
    reactions = [discord_reaction(gone)]
    export = discord_channel(discord_message(author=gone, reactions=reactions))
    assert read_items(export) == [SkippedItem(SkipReason.DELETED_ACCOUNT)] * 2


@pytest.mark.parametrize(
    ("name", "nickname"),
    [
        ("ana", "Deleted User"),
        ("Deleted User", "Ana"),
        ("deleted_user", None),
        ("deleted_user_ana", None),
        ("Deleted User Ana", None),
        ("deleted user", None),
        ("Deleted Users", None),
    ],
)
def test_a_person_is_not_taken_for_a_deleted_account(name: str, nickname: str | None) -> None:
    author = user("803", name, nickname=nickname)
    [event] = read_events(discord_channel(discord_message(author=author)))
    assert event.author.name == nickname or name


def test_a_reaction_is_an_event_with_the_id_and_time_of_the_message() -> None:
    [_, reacted] = read_events(
        discord_channel(discord_message(reactions=[discord_reaction(BO, emoji="🔥")]))
    )
    assert reacted == ExportedEvent(
        author=Author("discord:802", "Bo", "802"),
        event_type=EventType.REACTION,
        room_id="701",
        room="Frutero #general",
        source_id="1300000000000000001",
        occurred_at=NOON,
        metadata={"emoji": "🔥"},
    )


def test_several_reactions_of_a_person_to_a_message_are_one_event() -> None:
    two = [discord_reaction(BO, user(), emoji="🔥"), discord_reaction(BO, emoji="🎉")]
    found = read_events(
        discord_channel(discord_message(1, reactions=two), discord_message(2, reactions=two))
    )
    assert [event.author.name for event in found if event.event_type == "REACTION"] == [
        "Bo",
        "Ana",
        "Bo",
        "Ana",
    ]


def test_reactions_without_an_author_are_counted() -> None:
    older = without(discord_reaction(count=3), "users")
    export = discord_channel(discord_message(reactions=[older, discord_reaction(BO, count=5)]))
    assert count_skipped(export) == {SkipReason.ANONYMOUS_REACTION: 7}
    assert len(read_events(export)) == 2


@pytest.mark.parametrize(
    "when", ["2025-07-31T05:00:00.123-07:00", "2025-07-31T12:00:00.1230000+00:00"]
)
def test_the_utc_offset_of_a_time_is_read(when: str) -> None:
    [event] = read_events(discord_channel(discord_message(timestamp=when)))
    assert event.occurred_at == datetime(2025, 7, 31, 12, 0, 0, 123_000, tzinfo=UTC)


@pytest.mark.parametrize(
    "when", ["2026-01-31T12:00:00", "1999-12-31T12:00:00Z", "2101-01-01T12:00:00Z", "", None, 5]
)
def test_a_message_with_an_impossible_time_is_malformed(when: object) -> None:
    export = discord_channel(discord_message(1, timestamp=when), discord_message(2))
    assert count_skipped(export) == {SkipReason.MALFORMED: 1}
    assert len(read_events(export)) == 1


@pytest.mark.parametrize("guild", [None, {"id": "0", "name": None}])
def test_a_channel_without_a_server_has_only_its_own_name(guild: object) -> None:
    """DiscordChatExporter gives direct messages a server; these exports have none."""
    assert [
        event.room for event in read_events(discord_channel(discord_message(), guild=guild))
    ] == ["general"]


@pytest.mark.parametrize("thing", [1, "text", None, [], {}, {"id": "1"}])
def test_a_malformed_message_is_counted_and_the_others_are_read(thing: object) -> None:
    export = discord_channel(discord_message(1), thing, discord_message(2))
    assert [event.source_id[-1] for event in read_events(export)] == ["1", "2"]
    assert count_skipped(export)[SkipReason.MALFORMED] > 0


# Generations

OLDEST_MESSAGE = {
    "id": "1300000000000000001",
    "type": "Default",
    "timestamp": "2020-03-01T14:00:00.123+02:00",
    "timestampEdited": None,
    "isPinned": False,
    "content": "gm",
    "author": {
        "id": "801",
        "name": "ana",
        "discriminator": "0042",
        "isBot": False,
        "avatarUrl": "https://cdn.test/1.png",
    },
    "attachments": [],
    "embeds": [],
    "reactions": [
        {"emoji": {"id": None, "name": "👍", "isAnimated": False, "imageUrl": "x"}, "count": 2}
    ],
}
"""A message of version 2.18, the first that writes JSON."""


def test_the_oldest_version_is_read() -> None:
    export = {
        "guild": {"id": "700", "name": "Frutero", "iconUrl": None},
        "channel": {"id": "701", "type": "GuildTextChat", "name": "general", "topic": None},
        "dateRange": {"after": None, "before": None},
        "messages": [OLDEST_MESSAGE, OLDEST_MESSAGE | {"id": "1300000000000000002", "type": "19"}],
        "messageCount": 2,
    }
    [first, reply] = read_events(export)
    assert first == ExportedEvent(
        author=Author("discord:801", "ana", "801"),
        event_type=EventType.MESSAGE,
        room_id="701",
        room="Frutero #general",
        source_id="1300000000000000001",
        occurred_at=datetime(2020, 3, 1, 12, 0, 0, 123_000, tzinfo=UTC),
    )
    assert (reply.event_type, reply.source_id) == ("MESSAGE", "1300000000000000002")
    assert count_skipped(export) == {SkipReason.ANONYMOUS_REACTION: 4}


def test_an_old_and_a_new_export_have_the_same_events() -> None:
    """Only the names of people, and of those who reacted, come with later versions."""
    new = discord_message(1, timestamp=OLDEST_MESSAGE["timestamp"])
    [old_event] = read_events(discord_channel(OLDEST_MESSAGE))
    [new_event] = read_events(discord_channel(new))
    assert old_event == replace(new_event, author=replace(new_event.author, name="ana"))


FORWARDED: dict[str, Any] = {
    "timestamp": NOON.isoformat(),
    "timestampEdited": None,
    "content": "gm",
    "attachments": [],
    "embeds": [],
    "stickers": [],
}
STICKER = {"id": "1", "name": "wave", "format": "Lottie", "sourceUrl": "https://cdn.test/1.json"}
INTERACTION = {"id": "1", "name": "ask", "user": user("802", "bo")}


@pytest.mark.parametrize(
    "fields",
    [
        {"content": "", "stickers": [STICKER]},
        {"content": "", "attachments": [{"id": "1", "url": "x", "fileName": "x.png"}]},
        # A poll has no fields of its own.
        {"content": ""},
        {
            "content": "",
            "reference": {"type": "Forward", "messageId": "1", "channelId": "2", "guildId": "3"},
            "forwardedMessage": FORWARDED,
        },
        {"reference": {"messageId": "1", "channelId": None, "guildId": None}, "type": "Reply"},
        {"interaction": INTERACTION},
        {"author": without(user(), "nickname", "roles", "color", "discriminator", "avatarUrl")},
    ],
)
def test_a_message_with_any_content_is_one_event_of_its_author(fields: dict[str, Any]) -> None:
    [item] = read_items(discord_channel(discord_message(**fields)))
    assert isinstance(item, ExportedEvent)
    assert (item.event_type, item.author.telegram_id) == ("MESSAGE", "discord:801")


@pytest.mark.parametrize("name", ["reactions", "mentions", "stickers", "embeds", "isPinned"])
def test_a_field_may_be_missing_or_empty(name: str) -> None:
    missing, empty = without(discord_message(1), name), discord_message(2, **{name: None})
    assert len(read_items(discord_channel(missing, empty))) == 2


def test_super_reactions_are_counted_without_their_authors() -> None:
    """They are in the count, but not in the list of people."""
    burst = discord_reaction(BO, count=3) | {"countDetails": {"burst": 2, "normal": 1}}
    alone = without(discord_reaction(emoji="🔥"), "count")
    export = discord_channel(discord_message(reactions=[burst, alone]))
    assert count_skipped(export) == {SkipReason.ANONYMOUS_REACTION: 2}
    assert [event.event_type for event in read_events(export)] == ["MESSAGE", "REACTION"]


@pytest.mark.parametrize("emoji", [None, {}, {"name": None}, {"name": ""}, {"name": "a\0"}, "x"])
def test_a_reaction_may_have_no_emoji(emoji: object) -> None:
    reacted = discord_reaction(BO) | {"emoji": emoji}
    [_, event] = read_events(discord_channel(discord_message(reactions=[reacted])))
    assert (event.event_type, event.metadata) == ("REACTION", None)


def test_a_malformed_reaction_does_not_spoil_the_message() -> None:
    one = discord_message(reactions=[discord_reaction(BO), {"users": [{}]}])
    found = read_items(discord_channel(one))
    assert [item.event_type for item in found if isinstance(item, ExportedEvent)] == [
        "MESSAGE",
        "REACTION",
    ]
    assert found[-1] == SkippedItem(SkipReason.MALFORMED, place="message 1300000000000000001")


@pytest.mark.parametrize(
    ("kind", "category", "room"),
    [
        ("GuildTextChat", "Talk", "Frutero #general"),
        ("GuildNews", "Talk", "Frutero #general"),
        ("GuildVoiceChat", "Talk", "Frutero #general"),
        ("GuildPublicThread", "forum", "Frutero #forum / general"),
        ("GuildPrivateThread", "forum", "Frutero #forum / general"),
        ("GuildNewsThread", "forum", "Frutero #forum / general"),
        ("11", "forum", "Frutero #forum / general"),
        (11, "forum", "Frutero #forum / general"),
        ("GuildPublicThread", None, "Frutero #general"),
    ],
)
def test_a_thread_or_post_is_a_room_of_its_own_under_its_channel(
    kind: object, category: str | None, room: str
) -> None:
    channel = {"id": "709", "type": kind, "category": category, "name": "general"}
    [event] = read_events(discord_channel(discord_message(), channel=channel))
    assert (event.room_id, event.room) == ("709", room)


# Direct messages


@pytest.mark.parametrize("kind", ["DirectTextChat", "DirectGroupTextChat", "1", "3", 1, 3])
@pytest.mark.parametrize("guild", ["@me", "0", None, "700"])
def test_direct_messages_are_skipped_and_counted(kind: object, guild: str | None) -> None:
    ended = (NOON + timedelta(hours=1)).isoformat()
    export = discord_channel(
        discord_message(1, reactions=[discord_reaction(BO)]),
        discord_message(2, type="Call", callEndedTimestamp=ended),
        7,
        channel={"id": "701", "type": kind, "name": "Ana"},
        guild=guild and {"id": guild, "name": "Direct Messages"},
    )
    assert read_items(export) == [SkippedItem(SkipReason.NOT_A_GROUP)] * 3


@pytest.mark.parametrize("kind", [None, "", "18", "SomeNewChat"])
@pytest.mark.parametrize("guild", ["@me", "0", None])
def test_a_channel_of_an_unknown_type_without_a_server_is_private(
    kind: object, guild: str | None
) -> None:
    channel = {"id": "701", "type": kind, "name": "Ana"}
    server = guild and {"id": guild, "name": "Direct Messages"}
    private = discord_channel(discord_message(), channel=channel, guild=server)
    assert read_items(private) == [SkippedItem(SkipReason.NOT_A_GROUP)]
    assert len(read_events(discord_channel(discord_message(), channel=channel))) == 1


def test_a_call_that_ended_before_it_began_is_malformed() -> None:
    ended = (NOON - timedelta(minutes=1)).isoformat()
    call = discord_message(type="3", callEndedTimestamp=ended)
    assert count_skipped(discord_channel(call)) == {SkipReason.MALFORMED: 1}


# Malformed files


def test_messages_without_a_channel_are_refused() -> None:
    with pytest.raises(NotAnExport):
        read_items(without(discord_channel(discord_message()), "channel"))


@pytest.mark.parametrize("export", [{}, [], {"messages": {}}, discord_channel()])
def test_a_file_without_messages_yields_nothing(export: object) -> None:
    assert read_items(export) == []


SMALL = discord_channel(
    discord_message(1, reactions=[discord_reaction(BO, count=2)]), discord_message(2, author=BO)
)
SMALL_FILE = encode_json(SMALL)
SMALL_EVENTS = read_events(SMALL)


@given(cut=st.integers(0, len(SMALL_FILE) - 1))
def test_a_truncated_file_yields_the_events_before_the_end(cut: int) -> None:
    found: list[ExportedItem] = []
    with pytest.raises(TruncatedExport):
        found.extend(discord.read(io.BytesIO(SMALL_FILE[:cut])))
    events = [item for item in found if isinstance(item, ExportedEvent)]
    assert events == SMALL_EVENTS[: len(events)]
    # Each complete message before the cut is read.
    assert len({event.source_id for event in events}) == SMALL_FILE[:cut].count(b"\n  }")


FULL = discord_message(
    2,
    type="Call",
    callEndedTimestamp=(NOON + timedelta(hours=1)).isoformat(),
    reactions=[discord_reaction(BO, user(), count=3), discord_reaction(BO, emoji="🔥")],
)


@settings(deadline=None, max_examples=200)
@given(
    place=st.sampled_from(list_paths(FULL)),
    value=st.just(DELETE) | JSON,
    kind=st.sampled_from(["Default", "Call"]),
)
def test_a_malformed_field_does_not_spoil_the_other_messages(
    place: tuple[Any, ...], value: object, kind: str
) -> None:
    changed = replace_value(FULL | {"type": kind}, place, value)
    found = read_items(
        json.dumps(discord_channel(discord_message(1), changed, discord_message(3))).encode()
    )
    assert [found[0], found[-1]] == read_events(
        discord_channel(discord_message(1), discord_message(3))
    )
    assert all(item.count > 0 for item in found if isinstance(item, SkippedItem))
