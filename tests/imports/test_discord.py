"""The items that the reader of DiscordChatExporter's files yields."""

import io
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from community_directory.imports import discord
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


def read_items(export: object) -> list[ExportedEvent | SkippedItem]:
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


@pytest.mark.parametrize("kind", ["Default", "Reply"])
def test_a_message_and_a_reply_become_message_events(kind: str) -> None:
    assert [
        event.event_type for event in read_events(discord_channel(discord_message(type=kind)))
    ] == ["MESSAGE"]


@pytest.mark.parametrize(
    "kind", ["GuildMemberJoin", "ChannelPinnedMessage", "ThreadCreated", "RecipientAdd", "20"]
)
def test_service_messages_are_counted(kind: str) -> None:
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


def test_bots_and_deleted_accounts_are_counted() -> None:
    bot, gone = user("803", "helper", isBot=True), user("456226577798135808", "Deleted User")
    reactions = [discord_reaction(bot, gone, BO)]
    export = discord_channel(
        discord_message(1, author=bot), discord_message(2, author=gone, reactions=reactions)
    )
    assert count_skipped(export) == {SkipReason.BOT: 2, SkipReason.DELETED_ACCOUNT: 2}
    assert [event.author.name for event in read_events(export)] == ["Bo"]


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
    found: list[ExportedEvent | SkippedItem] = []
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
