"""The picture of a member's activity, their reputation explained, and who came through them."""

import asyncio
from collections import Counter
from datetime import date

from aiogram import Router
from aiogram.filters import Command
from aiogram.types import BotCommand, BufferedInputFile, Message

from community_directory.bot.answers import MAX_CAPTION_LENGTH, join_lines, shorten
from community_directory.bot.membership import HAS_JOINED, IN_PRIVATE_CHAT
from community_directory.bot.pictures import WEEKS, draw_activity, first_day
from community_directory.calendar import today
from community_directory.error_texts import gettext_noop
from community_directory.language import Translation
from community_directory.queries import invitations, members, participation, reputation
from community_directory.queries.members import Member

router = Router(name="me")
router.message.filter(IN_PRIVATE_CHAT, HAS_JOINED)
commands = [BotCommand(command="me", description=gettext_noop("Your activity and reputation"))]

MAX_NAMES = 5
"""The number of people whose names are listed of those whom a member invited."""


@router.message(Command("me"))
async def show(message: Message, *, member: Member, translation: Translation) -> None:
    """Send a picture of the activity; its caption says the same, and the rest, in words."""
    last = today()
    since = first_day(last, translation.locale)
    counts: Counter[date] = Counter()
    for activity in await participation.activity(member.member_id, since=since, until=last):
        counts[activity.day] += activity.events
    # It takes tens of milliseconds, in which other people would wait.
    picture = await asyncio.to_thread(draw_activity, counts, last, translation.locale)
    lines = [
        f"{member.member_id} {shorten(member.name)}",
        "",
        _describe_activity(counts, translation),
        *await _explain_reputation(member, translation),
        "",
        *await _describe_invitations(member, translation),
    ]
    await message.answer_photo(
        BufferedInputFile(picture, "activity.png"), caption=join_lines(lines, MAX_CAPTION_LENGTH)
    )


def _describe_activity(counts: Counter[date], translation: Translation) -> str:
    """Return the content of the picture in words."""
    events = translation.ngettext(
        "{number} event", "{number} events", counts.total(), number=counts.total()
    )
    days = translation.ngettext("{number} day", "{number} days", len(counts), number=len(counts))
    return translation.gettext(
        "Your last {weeks} weeks: {events} on {days}.", weeks=WEEKS, events=events, days=days
    )


async def _explain_reputation(member: Member, translation: Translation) -> list[str]:
    """Return the parts of a member's score, the way to the next tier, and their rank."""
    gettext = translation.gettext
    parts = await reputation.explain(member.member_id)
    points = translation.ngettext(
        "{number} point", "{number} points", parts.score, number=parts.score
    )
    lines = [
        gettext("Reputation: {points}, {tier}.", points=points, tier=translation.word(parts.tier)),
        gettext(
            "GitHub {github}, activity {earned}, other {other}.",
            github=sum(parts.github.values()),
            earned=parts.earned,
            other=parts.other,
        ),
    ]
    if parts.next_tier is not None:
        lines.append(
            gettext(
                "{missing} more to {tier}.",
                missing=parts.missing,
                tier=translation.word(parts.next_tier),
            )
        )
    rank = await members.rank(member.member_id)
    if rank is not None:
        lines.append(
            gettext("You are number {position} of {of}.", position=rank.position, of=rank.of)
        )
    return lines


async def _describe_invitations(member: Member, translation: Translation) -> list[str]:
    """Return who joined with an invitation of a member, and what became of the invitations."""
    gettext = translation.gettext
    record = await invitations.statistics(member.member_id)
    lines = [
        gettext(
            "Your invitations: {open} open, {accepted} accepted. Active members now: {active}.",
            open=record.open,
            accepted=record.accepted,
            active=record.active,
        )
    ]
    invited = await invitations.tree(member.member_id, max_depth=1, limit=MAX_NAMES + 2)
    names = [f"{node.member_id} {shorten(node.name, 30)}" for node in invited.items if node.depth]
    if names:
        listed = ", ".join(names[:MAX_NAMES]) + (" …" if len(names) > MAX_NAMES else "")
        lines.append(gettext("You brought in: {people}", people=listed))
    if member.invited_by is not None:
        inviter = await members.find(member.invited_by)
        if inviter is not None:
            lines.append(gettext("{inviter} invited you.", inviter=shorten(inviter.name)))
    return lines
