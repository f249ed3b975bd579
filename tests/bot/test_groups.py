"""In groups the bot records what members do, and lets in who is invited."""

import json
from datetime import UTC, timedelta
from io import BytesIO

import asyncpg
import pytest

from community_directory.imports import telegram as export
from community_directory.imports.history import import_history
from community_directory.queries import invitations, members, participation, permissions
from community_directory.tables import Platform
from tests.bot.conftest import CHAT_ID, SMALL_CHAT_ID
from tests.bot.stand_in import BOT, Group, Json, Person, Telegram
from tests.imports.exports import ANA, GROUP, NOON, message, reaction, service

pytestmark = pytest.mark.usefixtures("no_background_tasks")


@pytest.fixture
async def ana(telegram: Telegram) -> Person:
    """An active member."""
    await members.add(
        telegram_id=1001,
        name="Ana",
        primary_role="artist",
        telegram_username="ana",
        status="active",
    )
    return telegram.person(1001, "Ana", username="ana")


async def stored(directory: asyncpg.Pool) -> list[tuple[str, str, str, str]]:
    """Return what is stored of each event, the oldest one first."""
    records = await directory.fetch(
        "SELECT member_id, event_type, room_id, source_id FROM member_participation ORDER BY id"
    )
    return [tuple(record) for record in records]


# Messages


async def test_a_message_of_a_member_is_one_event_also_when_it_is_edited(
    directory: asyncpg.Pool, telegram: Telegram, group: Group, ana: Person
) -> None:
    message = ana.message({"text": "hello"}, group)
    await telegram.deliver(message=message)
    await ana.edits(message, "hello!")
    source_id = str(message["message_id"])
    assert await stored(directory) == [("#1", "MESSAGE", str(CHAT_ID), source_id)]
    [event] = (await participation.history(1)).items
    assert event.occurred_at.timestamp() == message["date"]
    assert telegram.sent == []


async def test_the_topic_of_a_message_is_kept(telegram: Telegram, ana: Person) -> None:
    forum = telegram.group(CHAT_ID, is_forum=True)
    await ana.says("hello", forum, message_thread_id=7, is_topic_message=True)
    await ana.says("a reply outside of a topic", forum, message_thread_id=8)
    answered, in_topic = (await participation.history(1)).items
    assert in_topic.metadata == {"topic_id": 7}
    assert answered.metadata is None


FILE = {"file_id": "AgAC", "file_unique_id": "AQAD"}


@pytest.mark.parametrize(
    "content",
    [
        {"photo": [{**FILE, "width": 90, "height": 90}], "caption": "Look"},
        {
            "sticker": {
                **FILE,
                "type": "regular",
                "width": 512,
                "height": 512,
                "is_animated": False,
                "is_video": False,
            }
        },
        {"voice": {**FILE, "duration": 3}},
        {"document": FILE, "animation": {**FILE, "width": 1, "height": 1, "duration": 1}},
        {"location": {"latitude": 17.06, "longitude": -96.72}},
        {"dice": {"emoji": "🎲", "value": 4}},
        {
            "text": "hi",
            "forward_origin": {"type": "hidden_user", "sender_user_name": "X", "date": 0},
        },
        {"text": "hi", "via_bot": {"id": 3003, "is_bot": True, "first_name": "Gif"}},
    ],
    ids=lambda content: list(content)[-1],
)
async def test_a_message_with_any_content_is_one_event(
    directory: asyncpg.Pool, group: Group, ana: Person, content: Json
) -> None:
    await ana.posts(content, group)
    assert [event_type for _, event_type, _, _ in await stored(directory)] == ["MESSAGE"]


async def test_a_voice_chat_is_an_event_of_whoever_ended_it(
    directory: asyncpg.Pool, telegram: Telegram, group: Group, ana: Person
) -> None:
    message = ana.message({"video_chat_ended": {"duration": 1800}}, group)
    await telegram.deliver(message=message)
    [event] = (await participation.history(1)).items
    assert (event.event_type, event.metadata) == ("VOICE", {"duration_seconds": 1800})
    assert event.occurred_at.timestamp() == message["date"] - 1800


@pytest.mark.parametrize(
    "content",
    [
        {"pinned_message": {"message_id": 5, "date": 0, "chat": {"id": CHAT_ID, "type": "group"}}},
        {"new_chat_title": "Frutero North"},
        {"video_chat_started": {}},
        {"forum_topic_created": {"name": "North", "icon_color": 1}},
        {"message_auto_delete_timer_changed": {"message_auto_delete_time": 60}},
        {"text": "hi", "sender_chat": {"id": CHAT_ID, "type": "supergroup", "title": "Frutero"}},
        {"text": "hi", "sender_chat": {"id": -1001, "type": "channel", "title": "News"}},
    ],
    ids=lambda content: next(iter(content)),
)
async def test_what_nobody_has_written_is_no_event(
    directory: asyncpg.Pool, group: Group, ana: Person, content: Json
) -> None:
    await ana.posts(content, group)
    assert await stored(directory) == []


async def test_strangers_and_other_groups_have_no_events(
    directory: asyncpg.Pool, telegram: Telegram, group: Group, ana: Person
) -> None:
    await telegram.person(2002, "Stranger").says("hello", group)
    other = telegram.group(-1009999999999)
    await ana.says("many points for me", other)
    await ana.reacts(other, 5, after="👍")
    await ana.asks_to_join(other)
    assert await stored(directory) == []
    assert telegram.sent == []


async def test_a_bot_has_no_events_and_is_remembered(
    directory: asyncpg.Pool, telegram: Telegram, group: Group
) -> None:
    rose = telegram.person(3003, "Rose", username="rose_bot", is_bot=True)
    await rose.says("Welcome!", group)
    await rose.says("Welcome again!", group)
    assert await stored(directory) == []
    assert await members.known_bots([3003]) == {"3003"}


# Reactions


async def test_reactions_of_a_person_to_a_message_are_one_event_until_all_are_taken_back(
    directory: asyncpg.Pool, group: Group, ana: Person
) -> None:
    reaction = ("#1", "REACTION", str(CHAT_ID), "5")
    await ana.reacts(group, 5, after="👍")
    await ana.reacts(group, 5, before="👍", after="👍🔥")
    assert await stored(directory) == [reaction]
    [event] = (await participation.history(1)).items
    assert event.metadata == {"emoji": "👍"}
    await ana.reacts(group, 5, before="👍🔥", after="🔥")
    assert await stored(directory) == [reaction]
    await ana.reacts(group, 5, before="🔥")
    assert await stored(directory) == []
    await ana.reacts(group, 5, after="🔥")
    assert await stored(directory) == [reaction]


async def test_a_reaction_that_is_taken_back_at_once_is_not_stored(
    directory: asyncpg.Pool, telegram: Telegram, group: Group, ana: Person
) -> None:
    def change(before: list[str], after: list[str]) -> Json:
        return {
            "chat": group.chat,
            "message_id": 5,
            "user": ana.user,
            "date": telegram.now(),
            "old_reaction": [{"type": "emoji", "emoji": each} for each in before],
            "new_reaction": [{"type": "emoji", "emoji": each} for each in after],
        }

    given = telegram.send(message_reaction=change([], ["👍"]))
    taken_back = telegram.send(message_reaction=change(["👍"], []))
    await telegram.confirmed(given, taken_back)
    assert await stored(directory) == []


async def test_an_anonymous_reaction_is_no_event(
    directory: asyncpg.Pool, telegram: Telegram, group: Group
) -> None:
    await telegram.deliver(
        message_reaction={
            "chat": group.chat,
            "message_id": 5,
            "actor_chat": group.chat,
            "date": telegram.now(),
            "old_reaction": [],
            "new_reaction": [{"type": "emoji", "emoji": "👍"}],
        }
    )
    assert await stored(directory) == []


# The same events as those of an import


async def test_an_import_of_the_group_finds_the_events_that_the_bot_has_recorded(
    directory: asyncpg.Pool, telegram: Telegram, group: Group
) -> None:
    await members.add(telegram_id=101, name="Ana", primary_role="artist")
    ana = telegram.person(101, "Ana")
    at = int(NOON.timestamp())
    written = ana.message({"message_id": 1, "date": at, "text": "gm ☀️"}, group)
    ended = ana.message(
        {"message_id": 2, "date": at + 60, "video_chat_ended": {"duration": 30}}, group
    )
    await telegram.deliver(message=written)
    await telegram.deliver(message=ended)
    await ana.reacts(group, 1, after="👍")
    before = await directory.fetch("SELECT * FROM member_participation ORDER BY id")
    messages = [
        message(1, reactions=[reaction(ANA)]),
        service(2, "group_call", duration=30),
    ]
    file = BytesIO(json.dumps({**GROUP, "messages": messages}).encode())
    report = await import_history(export.read(file, zone=UTC), Platform.TELEGRAM)
    assert report.inserted == {}
    assert report.duplicates == {"MESSAGE": 1, "VOICE": 1, "REACTION": 1}
    assert await directory.fetch("SELECT * FROM member_participation ORDER BY id") == before
    times = {record["event_type"]: record["occurred_at"] for record in before}
    assert times["MESSAGE"] == NOON
    assert times["VOICE"] == NOON + timedelta(seconds=30)


# Requests to join


async def test_a_request_of_an_invited_person_redeems_the_invitation_and_is_approved(
    telegram: Telegram, group: Group, ana: Person
) -> None:
    await invitations.create(created_by=1, telegram_username="bea")
    bea = telegram.person(1002, "Bea", username="Bea")
    await bea.asks_to_join(group)
    member = await members.get_by_telegram_id(1002)
    assert (member.name, member.status, member.invited_by) == ("Bea", "pending", "#1")
    approved = [{"chat_id": CHAT_ID, "user_id": 1002}]
    assert telegram.calls_of("approveChatJoinRequest") == approved
    assert telegram.sent == []


async def test_a_request_of_an_active_member_is_approved_even_if_somebody_was_faster(
    telegram: Telegram, group: Group, ana: Person
) -> None:
    telegram.refuse_next("approveChatJoinRequest", 400, "Bad Request: USER_ALREADY_PARTICIPANT")
    await ana.asks_to_join(group)
    await ana.asks_to_join(group)
    assert len(telegram.calls_of("approveChatJoinRequest")) == 2


@pytest.mark.parametrize("status", ["pending", "suspended", "banned", None])
async def test_a_request_of_anybody_else_is_left_to_administrators(
    telegram: Telegram, group: Group, status: str | None
) -> None:
    if status is not None:
        await members.add(telegram_id=1002, name="Bea", primary_role="artist", status=status)
    bea = telegram.person(1002, "Bea", username="bea")
    await bea.asks_to_join(group)
    assert telegram.calls_of("approveChatJoinRequest") == []
    assert telegram.calls_of("declineChatJoinRequest") == []
    [sent] = telegram.sent_to(bea)
    assert "/start CODE" in sent.text


# Members who leave and come back


async def test_who_leaves_a_group_and_comes_back_is_noted_once(
    directory: asyncpg.Pool, telegram: Telegram, group: Group, ana: Person
) -> None:
    key = f"left_telegram_{CHAT_ID}"
    await members.update_profile(1, profile_data={"languages": "es"})
    await ana.changes_membership(group, "member", "left")
    profile = (await members.get(1)).profile_data
    assert profile is not None
    assert profile.keys() == {"languages", key}
    await ana.posts({"left_chat_member": ana.user}, group)  # the service message about it
    assert (await members.get(1)).profile_data == profile
    await ana.changes_membership(group, "left", "member")
    await ana.posts({"new_chat_members": [ana.user]}, group)
    assert (await members.get(1)).profile_data == {"languages": "es"}
    reasons = await directory.fetch(
        "SELECT reason FROM directory_audit_log WHERE actor = 'bot:telegram' ORDER BY id"
    )
    assert [reason for (reason,) in reasons] == [
        f"left Telegram group {CHAT_ID}",
        f"came back to Telegram group {CHAT_ID}",
    ]


async def test_other_changes_of_a_membership_are_not_noted(group: Group, ana: Person) -> None:
    await ana.changes_membership(group, "member", "restricted")
    await ana.changes_membership(group, "restricted", "member")
    assert (await members.get(1)).profile_data is None


async def test_a_bot_that_is_added_to_a_group_is_remembered(
    telegram: Telegram, group: Group, ana: Person
) -> None:
    rose = telegram.person(3003, "Rose", is_bot=True)
    await ana.posts({"new_chat_members": [rose.user, BOT]}, group)
    assert await members.known_bots(["3003", "123456789"]) == {"3003"}


# Groups


async def test_a_group_that_becomes_a_supergroup_goes_on_as_one_room(
    directory: asyncpg.Pool, telegram: Telegram, ana: Person
) -> None:
    small, large = telegram.group(SMALL_CHAT_ID), telegram.group(-1004000000001)
    message = ana.message({"text": "hello"}, small)
    await telegram.deliver(message=message)
    anonymous = {"sender_chat": large.chat}  # as Telegram sends both messages
    moved = telegram.send(message=ana.message({"migrate_to_chat_id": large.id}, small))
    first = telegram.send(
        message=ana.message({"migrate_from_chat_id": small.id, **anonymous}, large)
    )
    second = telegram.send(message=ana.message({"text": "hello"}, large))
    await telegram.confirmed(moved, first, second)
    rooms = [(room, source) for _, _, room, source in await stored(directory)]
    assert (str(large.id), str(message["message_id"] - 1_000_000_000)) in rooms
    assert {room for room, _ in rooms} == {str(large.id)}
    assert len(rooms) == 2
    await ana.says("later", large)
    assert len(await stored(directory)) == 3


async def test_a_manager_who_adds_the_bot_to_another_group_learns_what_is_missing(
    telegram: Telegram, ana: Person
) -> None:
    other = telegram.group(-1009999999999)
    await ana.changes_membership(other, "left", "member", user=BOT)
    assert telegram.sent_to(other) == []
    await permissions.grant(1, "manage", actor="test")
    await ana.changes_membership(other, "left", "member", user=BOT)
    [sent] = telegram.sent_to(other)
    assert "-1009999999999" in sent.text
    assert "TELEGRAM_CHATS" in sent.text
