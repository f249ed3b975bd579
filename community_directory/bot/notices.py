"""Notices: managers read who waits for approval, and what a colleague has decided.

The bot follows the change feed. It keeps the messages in a table, so that a restart sends none of
them twice, and edits all of them when somebody has decided, by whatever means.
"""

from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from aiogram import Bot, Router
from aiogram.filters.callback_data import CallbackData
from aiogram.html import bold, link, quote
from aiogram.types import InlineKeyboardButton, InlineKeyboardMarkup

from community_directory.bot.chats import CountedChats
from community_directory.bot.private_chats import PrivateChat, rewrite, write
from community_directory.database import Statement, engine
from community_directory.imports import IMPORT_ACTOR
from community_directory.language import Translation
from community_directory.queries import audit, invitations, members
from community_directory.queries.audit import Change, ChangeKind
from community_directory.queries.invitations import InvitationStatistics
from community_directory.queries.members import Member
from community_directory.tables import AuditAction, MemberStatus, RequestKind

router = Router(name="notices")

CONSUMER = "bot-notices"
"""The name under which the database keeps the place of the notices in the feed."""
NEWS_PERIOD = timedelta(days=1)
"""The age up to which a change is told: a bot that was away for long does not tell old ones."""

MAX_REASON_LENGTH = 500
"""The maximum number of characters of a reason in a message."""

DECISION_KINDS = frozenset(
    {
        ChangeKind.MEMBER_APPROVED,
        ChangeKind.MEMBER_DECLINED,
        ChangeKind.MEMBER_BANNED,
        ChangeKind.MEMBER_REMOVED,
        ChangeKind.MEMBER_MERGED,
        ChangeKind.MEMBER_ERASED,
    }
)
"""The kinds of changes after which a newcomer does not wait any more."""

# One row for each reviewer who has started the bot and has no message about the newcomer.
FIND_REVIEWERS = Statement("""
SELECT DISTINCT member_id AS manager_id, account_id, language_code
FROM member_permissions
JOIN community_members AS manager USING (member_id)
JOIN directory_bot_chats ON account_id = telegram_id
WHERE permission IN ('manage', :permission) AND status = 'active' AND deleted_at IS NULL
    AND NOT is_bot AND NOT EXISTS (
        SELECT FROM directory_bot_notices AS notice
        WHERE notice.member_id = :member_id::text AND manager_id = manager.member_id
    )
ORDER BY manager_id
""")
# Messages about somebody who waits for a quarter of a year are forgotten; their buttons still work.
STORE_NOTICE = Statement("""
WITH forgotten AS (
    DELETE FROM directory_bot_notices WHERE sent_at < now() - interval '90 days'
)
INSERT INTO directory_bot_notices (member_id, manager_id, message_id)
VALUES (:member_id, :manager_id, :message_id)
ON CONFLICT (member_id, manager_id) DO UPDATE SET message_id = EXCLUDED.message_id, sent_at = now()
""")
LIST_NOTICES = Statement("""
SELECT manager_id, message_id, account_id, language_code, newcomer.name
FROM directory_bot_notices AS notice
JOIN community_members AS newcomer ON newcomer.member_id = notice.member_id
JOIN community_members AS manager ON manager.member_id = manager_id
LEFT JOIN directory_bot_chats ON account_id = manager.telegram_id
WHERE notice.member_id = :member_id ORDER BY manager_id
""")
DELETE_NOTICE = Statement("""
DELETE FROM directory_bot_notices WHERE member_id = :member_id AND manager_id = :manager_id
""")


class Decide(CallbackData, prefix="m"):
    """A button with which a manager decides about a member.

    Attributes:
        action: The name of the action, such as "approve".
        number: The member's number, without the #.
        reason: Where the reason stands; empty if the manager has not been asked.
        is_sure: Whether the manager has confirmed.
        page: The page of the list under which the button is; empty if it is under no list.
    """

    action: str
    number: str
    reason: str = ""
    is_sure: bool = False
    page: str = ""


@dataclass(frozen=True)
class Newcomer:
    """Somebody who waits, with the inviter and their record."""

    member: Member
    inviter: Member | None
    record: InvitationStatistics | None


async def follow_notices(bot: Bot, _: CountedChats) -> None:
    """Tell managers what the change feed tells."""
    async with aclosing(audit.follow(CONSUMER)) as changes:
        async for change in changes:
            if change.kind in DECISION_KINDS:
                await _settle(bot, change)
            elif is_news(change):
                await _announce(bot, change)


background_tasks = [follow_notices]


def is_news(change: Change) -> bool:
    """Return whether people should be told of a change: it is recent, and no import made it."""
    is_recent = datetime.now(UTC) - change.changed_at < NEWS_PERIOD
    return is_recent and change.actor != IMPORT_ACTOR


async def _announce(bot: Bot, change: Change) -> None:
    """Tell those who can decide that somebody waits, or asks for something."""
    if change.kind in (ChangeKind.MEMBER_JOINED, ChangeKind.MEMBER_RESTORED):
        member = await members.find(change.member_id)
        if member is not None and member.status == MemberStatus.PENDING and not member.is_bot:
            await _tell_reviewers(bot, await load_newcomer(member))
    elif change.table_name == "member_requests" and change.action is AuditAction.INSERT:
        await _tell_of_request(bot, change)


async def _tell_reviewers(bot: Bot, newcomer: Newcomer) -> None:
    number = newcomer.member.member_id
    reviewers = await engine.fetch(FIND_REVIEWERS, permission="review", member_id=number)
    for manager_id, *found in reviewers:
        chat = PrivateChat(*found)
        sent = await write(
            bot,
            chat.account_id,
            describe_newcomer(newcomer, chat.translation),
            InlineKeyboardMarkup(inline_keyboard=[make_buttons(number, chat.translation)]),
        )
        if sent is not None:
            await engine.fetch(
                STORE_NOTICE, member_id=number, manager_id=manager_id, message_id=sent.message_id
            )


async def _tell_of_request(bot: Bot, change: Change) -> None:
    member = await members.find(change.member_id)
    shown = quote(f"{member.name} ({member.member_id})" if member else change.member_id)
    managers = await engine.fetch(FIND_REVIEWERS, permission="manage", member_id=None)
    for _, *found in managers:
        chat = PrivateChat(*found)
        request = describe_request(change.changes["kind"][1], shown, chat.translation)
        hint = chat.translation.gettext("Send /requests to settle it.")
        await write(bot, chat.account_id, f"{request}\n{hint}")


async def _settle(bot: Bot, change: Change) -> None:
    """Write the decision into all messages about a newcomer."""
    notices = await engine.fetch(LIST_NOTICES, member_id=change.member_id)
    if not notices:
        return
    actor = await name_actor(change.actor)
    for notice in notices:
        if notice["account_id"] is not None:
            chat = PrivateChat(notice["account_id"], notice["language_code"])
            text = "\n".join(
                [
                    f"{bold(quote(notice['name']))} ({change.member_id})",
                    describe_decision(change.kind, actor, chat.translation),
                    *describe_reason(change.reason, chat.translation),
                ]
            )
            await rewrite(bot, chat.account_id, notice["message_id"], text)
        await engine.fetch(
            DELETE_NOTICE, member_id=change.member_id, manager_id=notice["manager_id"]
        )


async def load_newcomer(member: Member) -> Newcomer:
    """Return somebody who waits, with what helps to decide."""
    inviter = None if member.invited_by is None else await members.find(member.invited_by)
    record = None if inviter is None else await invitations.statistics(inviter.member_id)
    return Newcomer(member, inviter, record)


async def name_actor(actor: str) -> str:
    """Return the author of a change as HTML: the name of a member, or the text in the log."""
    if actor.startswith("#") and (member := await members.find(actor)):
        return quote(f"{member.name} ({member.member_id})")
    return quote(actor)


def make_buttons(
    number: str, translation: Translation, *, page: str = "", label: str = ""
) -> list[InlineKeyboardButton]:
    """Return the buttons that approve and decline a newcomer."""
    gettext, key = translation.gettext, number.removeprefix("#")
    return [
        InlineKeyboardButton(
            text=f"{text}{label}",
            callback_data=Decide(action=action, number=key, page=page).pack(),
        )
        for action, text in (
            ("approve", "✅ " + gettext("Approve")),
            ("decline", "❌ " + gettext("Decline")),
        )
    ]


def describe_newcomer(newcomer: Newcomer, translation: Translation) -> str:
    """Return what a manager needs to know about somebody who waits, as HTML."""
    gettext, member = translation.gettext, newcomer.member
    lines = [
        gettext(
            "{name} ({number}) waits for approval.",
            name=bold(quote(member.name)),
            number=member.member_id,
        ),
        gettext("Role: {role}", role=quote(member.primary_role)),
        quote(" · ".join(filter(None, (member.organization, _country(member, translation))))),
        " · ".join(_links(member, translation)),
    ]
    if newcomer.inviter is not None and newcomer.record is not None:
        inviter, record = newcomer.inviter, newcomer.record
        invited_by = gettext(
            "Invited by {name} ({number}).", name=quote(inviter.name), number=inviter.member_id
        )
        lines.append(f"{invited_by} {_describe_record(record, translation)}")
    else:
        lines.append(gettext("Nobody in the directory invited them."))
    return "\n".join(filter(None, lines))


def _country(member: Member, translation: Translation) -> str | None:
    return None if member.country is None else translation.country(member.country)


def _links(member: Member, translation: Translation) -> list[str]:
    links = []
    if member.telegram_username:
        links.append(f"@{quote(member.telegram_username)}")
    elif member.telegram_id.isdecimal():
        links.append(link("Telegram", f"tg://user?id={member.telegram_id}"))
    if member.github_username:
        github = link("GitHub", f"https://github.com/{member.github_username}")
        proof = translation.gettext("verified") if member.github_verified else ""
        links.append(f"{github} ({proof})" if proof else github)
    return links


def _describe_record(record: InvitationStatistics, translation: Translation) -> str:
    return translation.gettext(
        "Their record: {accepted} joined, {active} active, {banned} banned.",
        accepted=record.accepted,
        active=record.active,
        banned=record.banned,
    )


def describe_decision(kind: ChangeKind, actor: str, translation: Translation) -> str:
    """Return what somebody has decided about a newcomer, as HTML."""
    gettext = translation.gettext
    match kind:
        case ChangeKind.MEMBER_APPROVED:
            return "✅ " + gettext("Approved by {actor}.", actor=actor)
        case ChangeKind.MEMBER_DECLINED:
            return "❌ " + gettext("Declined by {actor}.", actor=actor)
        case ChangeKind.MEMBER_BANNED:
            return "⛔ " + gettext("Banned by {actor}.", actor=actor)
        case _:
            return gettext("Not waiting any more, because of {actor}.", actor=actor)


def describe_reason(reason: str | None, translation: Translation) -> list[str]:
    """Return a line with the reason of a decision, as HTML, if there is one."""
    if not reason:
        return []
    shown = shorten(translation.gettext(reason), MAX_REASON_LENGTH)
    return [translation.gettext("Reason: {reason}", reason=quote(shown))]


def shorten(text: str, length: int) -> str:
    """Return a text with at most so many characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def describe_request(kind: RequestKind | str, person: str, translation: Translation) -> str:
    """Return what somebody asks for; the person is HTML."""
    if kind == RequestKind.ERASURE:
        return translation.gettext("{person} asks for the erasure of their data.", person=person)
    return translation.gettext("{person} asks for help to link an account.", person=person)
