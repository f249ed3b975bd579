"""Invitations: create one, and list and cancel the open ones."""

from uuid import UUID

from aiogram import Bot, Router
from aiogram.filters import Command, CommandObject
from aiogram.filters.callback_data import CallbackData
from aiogram.types import BotCommand, CallbackQuery, InlineKeyboardMarkup, Message
from aiogram.utils.deep_linking import create_start_link

from community_directory.bot.answers import (
    edit,
    in_rows,
    join_lines,
    make_button,
    make_keyboard,
    refuse_old_button,
    shorten,
)
from community_directory.bot.membership import IN_PRIVATE_CHAT, IS_ACTIVE
from community_directory.error_texts import gettext_noop
from community_directory.errors import InvitationQuotaExceeded
from community_directory.language import Translation
from community_directory.queries import invitations
from community_directory.queries.invitations import Invitation
from community_directory.queries.members import Member
from community_directory.settings import load_settings
from community_directory.tables import InvitationStatus

router = Router(name="invite")
router.message.filter(IN_PRIVATE_CHAT, IS_ACTIVE)
router.callback_query.filter(IS_ACTIVE)
commands = [BotCommand(command="invite", description=gettext_noop("Invite somebody"))]

MAX_LISTED = 20
"""The maximum number of open invitations in a list."""


class CancelButton(CallbackData, prefix="uninvite"):
    """A button that cancels an open invitation."""

    invitation_id: UUID


@router.message(Command("invite"))
async def invite(
    message: Message, *, command: CommandObject, bot: Bot, member: Member, translation: Translation
) -> None:
    """Create an invitation, for anybody or for one username, and list the open ones."""
    gettext = translation.gettext
    try:
        invitation = await invitations.create(
            created_by=member.member_id, telegram_username=command.args
        )
    except InvitationQuotaExceeded as error:
        text, keyboard = await list_open(member, translation)
        await message.answer(
            join_lines([_explain_quota(error, translation), "", text]), reply_markup=keyboard
        )
        return
    link = await create_start_link(bot, invitation.invitation_code)
    whom = invitation.invited_telegram_username
    await message.answer(
        gettext(
            "Your invitation to {community} for {whom}, until {time}:",
            community=load_settings().site_name,
            whom=gettext("one person") if whom is None else f"@{whom}",
            time=invitation.expires_at,
        )
    )
    # A message of its own, so that it can be forwarded as it is.
    await message.answer(
        gettext(
            "Join {community} with this link: {link}",
            community=load_settings().site_name,
            link=link,
        )
    )
    text, keyboard = await list_open(member, translation)
    await message.answer(text, reply_markup=keyboard)


@router.callback_query(CancelButton.filter())
async def cancel(
    query: CallbackQuery,
    *,
    callback_data: CancelButton,
    bot: Bot,
    member: Member,
    translation: Translation,
) -> None:
    """Cancel an invitation of one's own, and show the list without it."""
    invitation = await invitations.find(invitation_id=callback_data.invitation_id)
    if invitation is None or invitation.created_by != member.member_id:
        await refuse_old_button(query, translation)
        return
    if invitation.status is InvitationStatus.PENDING:
        await invitations.cancel(
            invitation_id=invitation.invitation_id, actor=f"telegram:{query.from_user.id}"
        )
    text, keyboard = await list_open(member, translation)
    await edit(query, bot, text, keyboard)


async def list_open(
    member: Member, translation: Translation
) -> tuple[str, InlineKeyboardMarkup | None]:
    """Return the list of a member's open invitations, with a button to cancel each."""
    gettext = translation.gettext
    page = await invitations.list_page(
        created_by=member.member_id, status=InvitationStatus.PENDING, limit=MAX_LISTED
    )
    quota = await invitations.quota(member.member_id)
    lines = [gettext("Your open invitations:") if page.items else gettext("No open invitations.")]
    lines += [f"· {_describe(invitation, translation)}" for invitation in page.items]
    if quota.left is not None:
        lines += [
            "",
            translation.ngettext(
                "You can create {number} more now.",
                "You can create {number} more now.",
                quota.left,
                number=quota.left,
            ),
        ]
    buttons = [
        make_button(
            gettext("Cancel {whom}", whom=_name(invitation)),
            CancelButton(invitation_id=invitation.invitation_id),
        )
        for invitation in page.items
    ]
    return join_lines(lines), make_keyboard(*in_rows(buttons)) if buttons else None


def _name(invitation: Invitation) -> str:
    """Return the short name of an invitation: the username, or the code."""
    username = invitation.invited_telegram_username
    return f"@{username}" if username else invitation.invitation_code


def _describe(invitation: Invitation, translation: Translation) -> str:
    return translation.gettext(
        "{whom}, until {time}", whom=shorten(_name(invitation)), time=invitation.expires_at
    )


def _explain_quota(error: InvitationQuotaExceeded, translation: Translation) -> str:
    """Return what a member reads who has no invitation left."""
    if error.next_at is None:
        return translation.gettext("You can't invite anybody. Ask a community manager.")
    if error.period is None:
        return translation.ngettext(
            "You have {limit} open invitation, and can't have more. You can invite again when it "
            "is used, cancelled or over, on {next_at} at the latest.",
            "You have {limit} open invitations, and can't have more. You can invite again when one "
            "is used, cancelled or over, on {next_at} at the latest.",
            error.limit,
            limit=error.limit,
            next_at=error.next_at,
        )
    return translation.ngettext(
        "You have created {limit} invitation in {days} days, and can't create more. You can "
        "invite again on {next_at}.",
        "You have created {limit} invitations in {days} days, and can't create more. You can "
        "invite again on {next_at}.",
        error.limit,
        limit=error.limit,
        days=error.period.days,
        next_at=error.next_at,
    )
