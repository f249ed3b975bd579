"""What is made of an export of DiscordChatExporter, before any of it is stored."""

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
    user,
    without,
    written,
)
from tests.imports.test_telegram import DELETE, JSON, places, spoilt

BO = user("802", "bo")


def everything(export: object) -> list[ExportedEvent | SkippedItem]:
    return list(discord.read(io.BytesIO(export if isinstance(export, bytes) else written(export))))


def happened(export: object) -> list[ExportedEvent]:
    return [item for item in everything(export) if isinstance(item, ExportedEvent)]


def skipped(export: object) -> Counter[str]:
    counted: Counter[str] = Counter()
    for item in everything(export):
        if isinstance(item, SkippedItem):
            counted[item.reason] += item.count
    return counted


def test_a_message_is_an_event_of_its_author_with_the_platforms_own_id() -> None:
    assert everything(discord_channel(discord_message(7))) == [
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
def test_a_message_and_a_reply_are_messages(kind: str) -> None:
    assert [
        event.event_type for event in happened(discord_channel(discord_message(type=kind)))
    ] == ["MESSAGE"]


@pytest.mark.parametrize(
    "kind", ["GuildMemberJoin", "ChannelPinnedMessage", "ThreadCreated", "RecipientAdd", "20"]
)
def test_what_happened_to_the_channel_is_counted(kind: str) -> None:
    assert skipped(discord_channel(discord_message(type=kind))) == {SkipReason.SERVICE_MESSAGE: 1}


def test_a_call_that_ended_is_an_event_with_its_duration() -> None:
    ended = (NOON + timedelta(minutes=2, seconds=5.4)).isoformat()
    [event] = happened(discord_channel(discord_message(type="Call", callEndedTimestamp=ended)))
    assert (event.event_type, event.occurred_at, event.metadata) == (
        "VOICE",
        NOON,
        {"duration_seconds": 125},
    )
    assert skipped(discord_channel(discord_message(type="Call"))) == {SkipReason.SERVICE_MESSAGE: 1}


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({}, "Ana"),
        ({"nickname": "Anita 🍓"}, "Anita 🍓"),
        ({"nickname": None}, "ana"),
        ({"nickname": ""}, "ana"),
    ],
)
def test_people_are_called_as_the_server_calls_them(fields: dict[str, Any], name: str) -> None:
    [event] = happened(discord_channel(discord_message(author=user(**fields))))
    assert event.author.name == name


def test_an_accounts_id_is_a_number() -> None:
    export = discord_channel(
        *(discord_message(author=user(one)) for one in ("801", "ana", "", "0801"))
    )
    assert [event.author.telegram_id for event in happened(export)] == ["discord:801"]
    assert skipped(export) == {SkipReason.MALFORMED: 3}


def test_bots_and_deleted_accounts_are_counted() -> None:
    bot, gone = user("803", "helper", isBot=True), user("456226577798135808", "Deleted User")
    reactions = [discord_reaction(bot, gone, BO)]
    export = discord_channel(
        discord_message(1, author=bot), discord_message(2, author=gone, reactions=reactions)
    )
    assert skipped(export) == {SkipReason.BOT: 2, SkipReason.DELETED_ACCOUNT: 2}
    assert [event.author.name for event in happened(export)] == ["Bo"]


def test_a_reaction_is_an_event_of_who_reacted_with_the_messages_id_and_time() -> None:
    [_, reacted] = happened(
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
    found = happened(
        discord_channel(discord_message(1, reactions=two), discord_message(2, reactions=two))
    )
    assert [event.author.name for event in found if event.event_type == "REACTION"] == [
        "Bo",
        "Ana",
        "Bo",
        "Ana",
    ]


def test_reactions_that_the_export_does_not_name_are_counted() -> None:
    older = without(discord_reaction(count=3), "users")
    export = discord_channel(discord_message(reactions=[older, discord_reaction(BO, count=5)]))
    assert skipped(export) == {SkipReason.ANONYMOUS_REACTION: 7}
    assert len(happened(export)) == 2


@pytest.mark.parametrize(
    "when", ["2025-07-31T05:00:00.123-07:00", "2025-07-31T12:00:00.1230000+00:00"]
)
def test_a_time_says_in_which_zone_it_is(when: str) -> None:
    [event] = happened(discord_channel(discord_message(timestamp=when)))
    assert event.occurred_at == datetime(2025, 7, 31, 12, 0, 0, 123_000, tzinfo=UTC)


@pytest.mark.parametrize(
    "when", ["2026-01-31T12:00:00", "1999-12-31T12:00:00Z", "2101-01-01T12:00:00Z", "", None, 5]
)
def test_a_time_without_a_zone_or_of_another_century_is_none(when: object) -> None:
    export = discord_channel(discord_message(1, timestamp=when), discord_message(2))
    assert skipped(export) == {SkipReason.MALFORMED: 1}
    assert len(happened(export)) == 1


@pytest.mark.parametrize("guild", [None, {"id": "0", "name": None}])
def test_a_channel_without_a_server_is_called_by_its_name(guild: object) -> None:
    """Direct messages are exported with a server of their own; here there is none."""
    assert [event.room for event in happened(discord_channel(discord_message(), guild=guild))] == [
        "general"
    ]


@pytest.mark.parametrize("thing", [1, "text", None, [], {}, {"id": "1"}])
def test_a_message_that_is_none_is_counted_and_the_others_are_read(thing: object) -> None:
    export = discord_channel(discord_message(1), thing, discord_message(2))
    assert [event.source_id[-1] for event in happened(export)] == ["1", "2"]
    assert skipped(export)[SkipReason.MALFORMED] > 0


def test_messages_without_a_channel_are_no_export() -> None:
    with pytest.raises(NotAnExport):
        everything(without(discord_channel(discord_message()), "channel"))


@pytest.mark.parametrize("export", [{}, [], {"messages": {}}, discord_channel()])
def test_what_holds_no_messages_holds_nothing(export: object) -> None:
    assert everything(export) == []


SMALL = discord_channel(
    discord_message(1, reactions=[discord_reaction(BO, count=2)]), discord_message(2, author=BO)
)
SMALL_FILE = written(SMALL)
SMALL_EVENTS = happened(SMALL)


@given(cut=st.integers(0, len(SMALL_FILE) - 1))
def test_a_file_cut_anywhere_gives_what_comes_before(cut: int) -> None:
    found: list[ExportedEvent | SkippedItem] = []
    with pytest.raises(TruncatedExport):
        found.extend(discord.read(io.BytesIO(SMALL_FILE[:cut])))
    events = [item for item in found if isinstance(item, ExportedEvent)]
    assert events == SMALL_EVENTS[: len(events)]
    # Each whole message before the cut is among them.
    assert len({event.source_id for event in events}) == SMALL_FILE[:cut].count(b"\n  }")


FULL = discord_message(
    2,
    type="Call",
    callEndedTimestamp=(NOON + timedelta(hours=1)).isoformat(),
    reactions=[discord_reaction(BO, user(), count=3), discord_reaction(BO, emoji="🔥")],
)


@settings(deadline=None, max_examples=200)
@given(
    place=st.sampled_from(places(FULL)),
    value=st.just(DELETE) | JSON,
    kind=st.sampled_from(["Default", "Call"]),
)
def test_whatever_a_field_holds_or_lacks_the_other_messages_are_read(
    place: tuple[Any, ...], value: object, kind: str
) -> None:
    changed = spoilt(FULL | {"type": kind}, place, value)
    found = everything(
        json.dumps(discord_channel(discord_message(1), changed, discord_message(3))).encode()
    )
    assert [found[0], found[-1]] == happened(
        discord_channel(discord_message(1), discord_message(3))
    )
    assert all(item.count > 0 for item in found if isinstance(item, SkippedItem))
