"""The most active members of a week or a month, and those with the best reputation."""

import time
from datetime import timedelta

from aiogram import Bot, Router
from aiogram.filters import Command
from aiogram.filters.callback_data import CallbackData
from aiogram.types import BotCommand, CallbackQuery, InlineKeyboardMarkup, Message

from community_directory.bot.answers import (
    edit,
    join_lines,
    make_button,
    make_keyboard,
    refuse_old_button,
    shorten,
)
from community_directory.bot.membership import IN_PRIVATE_CHAT, IS_ACTIVE
from community_directory.calendar import today
from community_directory.error_texts import gettext_noop
from community_directory.language import Translation
from community_directory.queries import members, participation
from community_directory.queries.members import Member

router = Router(name="leaderboard")
router.message.filter(IN_PRIVATE_CHAT, IS_ACTIVE)
router.callback_query.filter(IS_ACTIVE)
commands = [BotCommand(command="leaderboard", description=gettext_noop("The most active members"))]

PERIODS = {"week": 7, "month": 30, "all": None}
"""The number of days of each period; "all" is the reputation of all time."""
LABELS = {
    "week": gettext_noop("Week"),
    "month": gettext_noop("Month"),
    "all": gettext_noop("Reputation"),
}
TITLES = {
    "week": gettext_noop("The most active members of the last 7 days"),
    "month": gettext_noop("The most active members of the last 30 days"),
    "all": gettext_noop("The members with the best reputation"),
}
SHOWN_SECONDS = 60.0
"""The time after which the events of a period are counted again."""
PLACES = 10

Standing = tuple[str, str, int]
"""The number and the name of a member, and their events or points."""

_standings: dict[str, tuple[float, list[Standing]]] = {}


class PeriodButton(CallbackData, prefix="top"):
    """A button that shows another period."""

    period: str


@router.message(Command("leaderboard"))
async def show(message: Message, *, member: Member, translation: Translation) -> None:
    """Show the most active members of a week."""
    text, keyboard = await show_period("week", member, translation)
    await message.answer(text, reply_markup=keyboard)


@router.callback_query(PeriodButton.filter())
async def change_period(
    query: CallbackQuery,
    *,
    callback_data: PeriodButton,
    bot: Bot,
    member: Member,
    translation: Translation,
) -> None:
    """Show another period in the same message."""
    if callback_data.period not in PERIODS:
        await refuse_old_button(query, translation)
        return
    await edit(query, bot, *await show_period(callback_data.period, member, translation))


async def show_period(
    period: str, member: Member, translation: Translation
) -> tuple[str, InlineKeyboardMarkup]:
    """Return the best members of a period, and the buttons to the others."""
    gettext = translation.gettext
    standings = await find_standings(period)
    lines = [gettext(TITLES[period]), ""]
    for place, (number, name, count) in enumerate(standings, start=1):
        mark = "👉 " if number == member.member_id else ""
        score = translation.format_number(count)
        lines.append(f"{place}. {mark}{number} {shorten(name)} — {score}")
    if not standings:
        lines.append(gettext("Nobody yet: be the first one."))
    rank = await members.rank(member.member_id) if period == "all" else None
    if rank is not None:
        lines += [
            "",
            gettext("You are number {position} of {of}.", position=rank.position, of=rank.of),
        ]
    buttons = [
        make_button(
            f"• {gettext(label)}" if name == period else gettext(label), PeriodButton(period=name)
        )
        for name, label in LABELS.items()
    ]
    return join_lines(lines), make_keyboard(buttons)


async def find_standings(period: str) -> list[Standing]:
    """Return the best members of a period; those of a moment ago if they were just counted."""
    until, standings = _standings.get(period, (0.0, []))
    if time.monotonic() >= until:
        standings = await _count_standings(PERIODS[period])
        _standings[period] = (time.monotonic() + SHOWN_SECONDS, standings)
    return standings


async def _count_standings(days: int | None) -> list[Standing]:
    if days is None:
        page = await members.leaderboard(limit=PLACES)
        return [(each.member_id, each.name, each.reputation_score) for each in page.items]
    last = today()
    most_active = await participation.most_active(
        since=last - timedelta(days=days - 1), until=last, limit=PLACES
    )
    return [(each.member_id, each.name, each.events) for each in most_active]


def forget_standings() -> None:
    """Count the events of all periods again at the next question."""
    _standings.clear()
