"""Groups: record what members do there, and let people in who are invited.

The events are the same as those of an import of the group's history: they have the same rooms and
source ids. Only what members and contacts do is recorded, in the groups of TELEGRAM_CHATS.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta

from aiogram import Bot, Router
from aiogram.dispatcher.event.bases import SkipHandler
from aiogram.enums import ContentType
from aiogram.exceptions import TelegramBadRequest
from aiogram.filters import JOIN_TRANSITION, LEAVE_TRANSITION, ChatMemberUpdatedFilter
from aiogram.types import (
    ChatJoinRequest,
    ChatMemberUpdated,
    Message,
    MessageReactionUpdated,
    User,
)

from community_directory.bot.accounts import BotAccounts
from community_directory.bot.chats import CountedChats
from community_directory.errors import NO_ANSWER_MESSAGE, DatabaseUnavailable
from community_directory.imports.export import make_reaction_metadata
from community_directory.language import Translation
from community_directory.queries import invitations, members, participation, permissions
from community_directory.queries.members import Member
from community_directory.queries.participation import NewEvent, Recorder
from community_directory.tables import EventType, MemberStatus, Permission, Platform

logger = logging.getLogger(__name__)
router = Router(name="groups")

ACTOR = "bot:telegram"
FLUSH_TIMEOUT_SECONDS = 10
"""The longest time that a handler waits until earlier events are stored."""
DEFAULT_ROLE = "newcomer"
"""The role of people who join by a request and not by a conversation with the bot."""

MESSAGE_CONTENTS = frozenset(
    {
        *(ContentType.TEXT, ContentType.ANIMATION, ContentType.AUDIO, ContentType.DOCUMENT),
        *(ContentType.LIVE_PHOTO, ContentType.PAID_MEDIA, ContentType.PHOTO, ContentType.STICKER),
        *(ContentType.STORY, ContentType.VIDEO, ContentType.VIDEO_NOTE, ContentType.VOICE),
        *(ContentType.CHECKLIST, ContentType.CONTACT, ContentType.DICE, ContentType.GAME),
        *(ContentType.POLL, ContentType.VENUE, ContentType.LOCATION, ContentType.INVOICE),
        *(ContentType.GIVEAWAY, ContentType.GIVEAWAY_WINNERS),
    }
)
"""The contents that a person can write; any other message reports an event of the group."""


async def in_group(event: Message | MessageReactionUpdated | ChatMemberUpdated) -> bool:
    """Return whether an update comes from a group.

    It is a coroutine, because aiogram calls any other filter, such as a magic one, in a thread:
    with ten of them, an update took 1.2 ms of the processor instead of 0.2.
    """
    return event.chat.type in {"group", "supergroup"}


@router.message(in_group)
@router.edited_message(in_group)
async def handle_message(
    message: Message,
    *,
    bot: Bot,
    member: Member | None,
    chats: CountedChats,
    recorder: Recorder,
    bot_accounts: BotAccounts,
) -> None:
    """Record what a person writes, or follow what the message reports about the group.

    The messages of anonymous administrators and of channels are left out: their authors are not
    known.
    """
    user = message.from_user
    if message.migrate_to_chat_id is not None:
        await _move_group(message.chat.id, message.migrate_to_chat_id, chats, recorder)
    elif message.migrate_from_chat_id is not None:
        await _move_group(message.migrate_from_chat_id, message.chat.id, chats, recorder)
    elif message.new_chat_members:
        for arrived in message.new_chat_members:
            await _note_arrival(arrived, message, bot, bot_accounts)
    elif message.left_chat_member is not None:
        await _note_leaving(message.left_chat_member, message)
    elif user is not None and message.sender_chat is None:
        if user.is_bot:
            await bot_accounts.remember(user)
        elif member is not None:
            _record_message(message, member, recorder)
    if message.text is not None and message.text.startswith("/"):
        raise SkipHandler  # another feature may have the command


async def _move_group(old_id: int, new_id: int, chats: CountedChats, recorder: Recorder) -> None:
    """Move the events of a group to the supergroup that it has become."""
    if old_id not in chats:
        return
    await _flush(recorder)
    await participation.move_room(Platform.TELEGRAM, old_id, new_id)
    chats.move(old_id, new_id)
    logger.warning(
        "Group %d has become supergroup %d, whose events count now: "
        "write the new id into TELEGRAM_CHATS.",
        old_id,
        new_id,
    )


def _record_message(message: Message, member: Member, recorder: Recorder) -> None:
    """Record a message once, also if it was edited, or the end of a voice chat."""
    ended = message.video_chat_ended
    if ended is not None:
        _record(
            recorder,
            member,
            EventType.VOICE,
            message,
            occurred_at=message.date - timedelta(seconds=ended.duration),
            metadata={"duration_seconds": ended.duration},
        )
    elif message.content_type in MESSAGE_CONTENTS:
        is_in_topic = message.is_topic_message and message.message_thread_id is not None
        topic = {"topic_id": message.message_thread_id} if is_in_topic else None
        _record(recorder, member, EventType.MESSAGE, message, metadata=topic)


@router.message_reaction(in_group)
async def record_reaction(
    event: MessageReactionUpdated, member: Member | None, recorder: Recorder
) -> None:
    """Record the reactions of a person to a message as one event, until all are taken back."""
    if member is None:
        return
    if event.new_reaction:
        emoji = getattr(event.new_reaction[0], "emoji", None)
        _record(recorder, member, EventType.REACTION, event, metadata=make_reaction_metadata(emoji))
    elif event.old_reaction:
        await _flush(recorder)
        await participation.take_back(
            member_id=member.member_id,
            platform=Platform.TELEGRAM,
            room_id=event.chat.id,
            source_id=event.message_id,
        )


@router.chat_member(in_group, ChatMemberUpdatedFilter(JOIN_TRANSITION))
async def note_joining(event: ChatMemberUpdated, bot: Bot, bot_accounts: BotAccounts) -> None:
    """Note who comes back to a group."""
    await _note_arrival(event.new_chat_member.user, event, bot, bot_accounts)
    raise SkipHandler  # another feature may greet them


@router.chat_member(in_group, ChatMemberUpdatedFilter(LEAVE_TRANSITION))
async def note_leaving(event: ChatMemberUpdated) -> None:
    """Note who leaves a group, or is removed from it."""
    await _note_leaving(event.new_chat_member.user, event)
    raise SkipHandler


async def _note_arrival(
    user: User, event: Message | ChatMemberUpdated, bot: Bot, bot_accounts: BotAccounts
) -> None:
    """Take the time away at which a member had left the group, and remember another bot."""
    if user.is_bot:
        if user.id != bot.id:
            await bot_accounts.remember(user)
        return
    member, key = await _find(user), _make_left_key(event.chat.id)
    if member is not None and key in (member.profile_data or {}):
        await members.update_profile(
            member.member_id,
            profile_data={key: None},
            actor=ACTOR,
            reason=f"came back to Telegram group {event.chat.id}",
        )


async def _note_leaving(user: User, event: Message | ChatMemberUpdated) -> None:
    """Write the time at which a member has left a group into their profile, once."""
    member, key = await _find(user), _make_left_key(event.chat.id)
    if member is not None and key not in (member.profile_data or {}):
        await members.update_profile(
            member.member_id,
            profile_data={key: event.date.isoformat()},
            actor=ACTOR,
            reason=f"left Telegram group {event.chat.id}",
        )


def _make_left_key(chat_id: int) -> str:
    return f"left_telegram_{chat_id}"


async def _find(user: User) -> Member | None:
    return await members.seen(telegram_id=user.id, username=user.username, name=user.full_name)


@router.chat_join_request(in_group)
async def answer_join_request(
    request: ChatJoinRequest, bot: Bot, member: Member | None, translation: Translation
) -> None:
    """Let an active member in, and somebody with an open invitation, which is redeemed.

    Administrators of the group decide about anybody else, who is told how to join.
    """
    user = request.from_user
    if member is None or member.status is MemberStatus.NOT_MEMBER:
        member = await _redeem_invitation(user) or member
        is_let_in = member is not None and member.status is not MemberStatus.NOT_MEMBER
    else:
        is_let_in = member.status is MemberStatus.ACTIVE
    if is_let_in:
        # Somebody may have approved the request before, or it was taken back.
        with suppress(TelegramBadRequest):
            await bot.approve_chat_join_request(request.chat.id, user.id)
        return
    text = translation.gettext(
        "This group is for members of the community. If you have an invitation code, send it to "
        "me: /start CODE. Otherwise ask a member to invite you."
    )
    await bot.send_message(request.user_chat_id, text)


async def _redeem_invitation(user: User) -> Member | None:
    """Redeem the open invitation for a username, and return the member; None if there is none."""
    invitation = await invitations.find_open_for(user.username) if user.username else None
    if invitation is None:
        return None
    redemption = await invitations.redeem(
        invitation.invitation_code,
        telegram_id=user.id,
        telegram_username=user.username,
        name=user.full_name,
        primary_role=DEFAULT_ROLE,
    )
    return redemption.member


@router.my_chat_member(in_group)
async def note_own_membership(event: ChatMemberUpdated, chats: CountedChats) -> None:
    """Log what is missing for counting, when the bot is added to a group or its rights change."""
    chat_id, status = event.chat.id, event.new_chat_member.status
    if chat_id not in chats:
        logger.info("The bot is %s in group %d, which is not in TELEGRAM_CHATS.", status, chat_id)
    elif status in {"left", "kicked"}:
        logger.warning("The bot was removed from group %d, whose events count.", chat_id)
    elif status != "administrator":
        logger.warning(
            "The bot is no administrator of group %d: it sees no reactions and no departures.",
            chat_id,
        )
    raise SkipHandler


@router.my_chat_member(in_group, ChatMemberUpdatedFilter(JOIN_TRANSITION))
async def tell_group_id(
    event: ChatMemberUpdated,
    bot: Bot,
    member: Member | None,
    chats: CountedChats,
    translation: Translation,
) -> None:
    """Tell a manager who adds the bot to another group what is missing for counting there."""
    if event.chat.id in chats or member is None:
        return
    if await permissions.has(member.member_id, Permission.MANAGE):
        text = translation.gettext(
            "The id of this group is {chat_id}. I count what members do here when it is in the "
            "setting TELEGRAM_CHATS.",
            chat_id=str(event.chat.id),
        )
        await bot.send_message(event.chat.id, text)


async def _flush(recorder: Recorder) -> None:
    """Wait until the events that the recorder still has are stored.

    Raises:
        DatabaseUnavailable: It takes too long.
    """
    try:
        async with asyncio.timeout(FLUSH_TIMEOUT_SECONDS):
            await recorder.flush()
    except TimeoutError:
        raise DatabaseUnavailable(NO_ANSWER_MESSAGE) from None


def _record(
    recorder: Recorder,
    member: Member,
    event_type: EventType,
    event: Message | MessageReactionUpdated,
    *,
    occurred_at: datetime | None = None,
    metadata: Mapping[str, object] | None = None,
) -> None:
    recorder.add(
        NewEvent(
            member_id=member.member_id,
            event_type=event_type,
            platform=Platform.TELEGRAM,
            room_id=event.chat.id,
            source_id=event.message_id,
            occurred_at=occurred_at or event.date,
            metadata=metadata,
        )
    )
