"""Notices: managers read who waits for approval, and what a colleague has decided.

The bot follows the change feed. It keeps the messages in a table, so that a restart sends none of
them twice, and edits all of them when somebody has decided, by whatever means.
"""

from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from aiogram import Bot

from community_directory.bot.answers import make_keyboard, shorten
from community_directory.bot.chats import CountedChats
from community_directory.bot.fields import show_value
from community_directory.bot.management import in_lines, name_actor, show_name, show_reason
from community_directory.bot.member_requests import describe_request
from community_directory.bot.pending import make_review_buttons
from community_directory.bot.private_chats import CHOSEN_LANGUAGE, PrivateChat, rewrite, write
from community_directory.database import Statement, engine
from community_directory.imports import IMPORT_ACTOR
from community_directory.language import Translation
from community_directory.queries import audit, invitations, members
from community_directory.queries.audit import Change, ChangeKind
from community_directory.queries.invitations import InvitationStatistics
from community_directory.queries.members import Member
from community_directory.tables import AuditAction, MemberStatus

CONSUMER = "bot-notices"
"""The name under which the database keeps the place of the notices in the feed."""
NEWS_PERIOD = timedelta(days=1)
"""The age up to which a change is told: a bot that was away for long does not tell old ones."""

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

WAITING_KINDS = frozenset(
    {
        ChangeKind.MEMBER_JOINED,
        ChangeKind.MEMBER_RESTORED,
        ChangeKind.MEMBER_UNAPPROVED,
        ChangeKind.MEMBER_UNDECLINED,
    }
)
"""The kinds of changes after which somebody may wait for approval."""

# One row for each reviewer who has started the bot and has no message about the newcomer.
FIND_REVIEWERS = Statement(f"""
SELECT DISTINCT member_id AS manager_id, account_id, {CHOSEN_LANGUAGE}
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
SELECT manager_id, message_id, account_id, newcomer.name,
    coalesce(manager.profile_data ->> 'language', language_code) AS language_code
FROM directory_bot_notices AS notice
JOIN community_members AS newcomer ON newcomer.member_id = notice.member_id
JOIN community_members AS manager ON manager.member_id = manager_id
LEFT JOIN directory_bot_chats ON account_id = manager.telegram_id
WHERE notice.member_id = :member_id ORDER BY manager_id
""")
DELETE_NOTICE = Statement("""
DELETE FROM directory_bot_notices WHERE member_id = :member_id AND manager_id = :manager_id
""")


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


def is_news(change: Change) -> bool:
    """Return whether people should be told of a change: it is recent, and no import made it."""
    is_recent = datetime.now(UTC) - change.changed_at < NEWS_PERIOD
    return is_recent and change.actor != IMPORT_ACTOR


async def _announce(bot: Bot, change: Change) -> None:
    """Tell those who can decide that somebody waits, or asks for something."""
    if change.kind in WAITING_KINDS:
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
            make_keyboard(make_review_buttons(number, chat.translation)),
        )
        if sent is not None:
            await engine.fetch(
                STORE_NOTICE, member_id=number, manager_id=manager_id, message_id=sent.message_id
            )


async def _tell_of_request(bot: Bot, change: Change) -> None:
    member = await members.find(change.member_id)
    person = show_name(member) if member else change.member_id
    managers = await engine.fetch(FIND_REVIEWERS, permission="manage", member_id=None)
    for _, *found in managers:
        chat = PrivateChat(*found)
        request = describe_request(change.changes["kind"][1], person, chat.translation)
        hint = chat.translation.gettext("Send /requests to settle it.")
        await write(bot, chat.account_id, in_lines(request, hint))


async def _settle(bot: Bot, change: Change) -> None:
    """Write the decision into all messages about a newcomer."""
    notices = await engine.fetch(LIST_NOTICES, member_id=change.member_id)
    if not notices:
        return
    actor = await name_actor(change.actor)
    for notice in notices:
        if notice["account_id"] is not None:
            chat = PrivateChat(notice["account_id"], notice["language_code"])
            text = in_lines(
                f"{shorten(notice['name'])} ({change.member_id})",
                describe_decision(change.kind, actor, chat.translation),
                *show_reason(change.reason, chat.translation),
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


def describe_newcomer(newcomer: Newcomer, translation: Translation) -> str:
    """Return what a manager needs to know about somebody who waits."""
    gettext, member = translation.gettext, newcomer.member
    return in_lines(
        gettext("{name} waits for approval.", name=show_name(member)),
        gettext("Role: {role}", role=show_value("primary_role", member.primary_role, translation)),
        " · ".join(filter(None, (member.organization, _show_country(member, translation)))),
        " · ".join(_list_links(member, translation)),
        _describe_inviter(newcomer, translation),
    )


def _show_country(member: Member, translation: Translation) -> str | None:
    return None if member.country is None else translation.country(member.country)


def _list_links(member: Member, translation: Translation) -> list[str]:
    """Return the person's accounts, as Telegram's apps make links of them."""
    links = []
    if member.telegram_username:
        links.append(f"@{member.telegram_username}")
    if member.github_username:
        proof = translation.gettext("verified")
        link = f"https://github.com/{member.github_username}"
        links.append(f"{link} ({proof})" if member.github_verified else link)
    return links


def _describe_inviter(newcomer: Newcomer, translation: Translation) -> str:
    gettext, inviter, record = translation.gettext, newcomer.inviter, newcomer.record
    if inviter is None or record is None:
        return gettext("No present member has invited them.")
    invited_by = gettext("Invited by {name}.", name=show_name(inviter))
    return f"{invited_by} {_describe_record(record, translation)}"


def _describe_record(record: InvitationStatistics, translation: Translation) -> str:
    return translation.gettext(
        "Their record: {accepted} joined, {active} active, {banned} banned.",
        accepted=record.accepted,
        active=record.active,
        banned=record.banned,
    )


def describe_decision(kind: ChangeKind, actor: str, translation: Translation) -> str:
    """Return what somebody has decided about a newcomer."""
    gettext = translation.gettext
    match kind:
        case ChangeKind.MEMBER_APPROVED:
            return gettext("Approved by {actor}.", actor=actor)
        case ChangeKind.MEMBER_DECLINED:
            return gettext("Declined by {actor}.", actor=actor)
        case ChangeKind.MEMBER_BANNED:
            return gettext("Banned by {actor}.", actor=actor)
        case ChangeKind.MEMBER_MERGED:
            return gettext("Merged into another member by {actor}.", actor=actor)
        case _:
            return gettext("Removed by {actor}.", actor=actor)
