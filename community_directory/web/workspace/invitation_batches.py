"""Inviting one username or many: each is answered, and a form that is sent twice invites once."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid5

from community_directory.database import Statement, engine, transaction
from community_directory.errors import (
    BotRefused,
    InvalidInput,
    InvitationQuotaExceeded,
    UserError,
)
from community_directory.queries import invitations
from community_directory.queries.act_changes import BEGIN_ACT, END_ACT
from community_directory.queries.identifiers import normalize_telegram_username
from community_directory.queries.ids import new_id
from community_directory.queries.invitation_rows import INVITER_CAN_INVITE
from community_directory.queries.invitations import Invitation
from community_directory.queries.members import Member

MAX_USERNAMES = 50
# One white space, not several: the time would grow with the square of their number.
SEPARATORS = re.compile(r"[,;\n]|\s(?=@)")
TAKEN_ID = "community_invitations_pkey"
"""The code of the error for an invitation whose id there is already."""

FIND_KNOWN_USERNAMES = Statement(f"""
SELECT DISTINCT ON (lower(username)) lower(username) AS username, member_id, name, status,
    open_id, expires_at
FROM (
    SELECT telegram_username AS username, member_id, name, status, NULL::uuid AS open_id,
        NULL::timestamptz AS expires_at
    FROM community_members
    WHERE lower(telegram_username) = ANY(:usernames::text[])
        AND (status = 'banned' OR deleted_at IS NULL AND status <> 'not_member')
    UNION ALL
    SELECT username, member_id, name, status, NULL, NULL
    FROM member_accounts JOIN community_members USING (member_id)
    WHERE lower(username) = ANY(:usernames::text[]) AND platform = 'telegram'
        AND (status = 'banned' OR deleted_at IS NULL AND status <> 'not_member')
    UNION ALL
    SELECT invited_telegram_username, inviter.member_id, inviter.name, 'open', invitation_id,
        expires_at
    FROM community_invitations AS invitation
    JOIN community_members AS inviter ON inviter.member_id = created_by
    WHERE lower(invited_telegram_username) = ANY(:usernames::text[])
        AND invitation.status = 'pending' AND expires_at > now() AND {INVITER_CAN_INVITE}
) AS known ORDER BY lower(username), status = 'banned' DESC, status = 'open'
""")
FIND_INVITED = Statement("""
SELECT invitation_id FROM community_invitations WHERE invitation_id = ANY(:ids)
""")


class AnswerKind(StrEnum):
    """What became of a username that somebody pasted."""

    INVITED = "invited"
    MEMBER = "member"
    PENDING = "pending"
    SUSPENDED = "suspended"
    BANNED = "banned"
    BOT = "bot"
    OPEN = "open"
    """There is an open invitation already."""
    QUOTA = "quota"
    """The inviter has no invitation left."""
    NO_USERNAME = "no_username"


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one username, or of an invitation for anyone.

    Attributes:
        typed: What somebody pasted.
        kind: What became of it.
        invitation: The new invitation.
        member_id: The number of the member who has the username, or who has invited it.
        name: The name of that member.
        open_id: The id of the open invitation.
        expires_at: The end of the open invitation.
        error: Why the inviter has no invitation left.
    """

    typed: str
    kind: AnswerKind
    invitation: Invitation | None = None
    member_id: str | None = None
    name: str | None = None
    open_id: UUID | None = None
    expires_at: datetime | None = None
    error: InvitationQuotaExceeded | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """In whose name somebody invites, for how long, and who does it."""

    inviter: Member
    valid_for: timedelta
    actor: str


def split_usernames(text: str) -> list[str]:
    """Return the different usernames of a text, one a line or with commas between them."""
    typed: dict[str, str] = {}
    for part in map(str.strip, SEPARATORS.split(text)):
        typed.setdefault(part.removeprefix("@").casefold(), part)
    typed.pop("", None)
    return list(typed.values())


async def invite_many(typed: Sequence[str], terms: Terms, *, form_id: UUID) -> list[Answer]:
    """Invite each username that nobody has invited and no member has, in one transaction.

    The ids of the invitations are made from that of the form, so the same form sent twice gets the
    same answers, and invites once.

    Raises:
        MemberNotActive: The inviter is not active.
    """
    usernames = {text: _parse_username(text) for text in typed}
    ids = {
        text: uuid5(form_id, username.lower()) for text, username in usernames.items() if username
    }
    known = await _find_known(username for username in usernames.values() if username)
    invited = {
        row["invitation_id"] for row in await engine.fetch(FIND_INVITED, ids=[*ids.values()])
    }
    answers = []
    async with transaction():
        for text, username in usernames.items():
            if username is None:
                answers.append(Answer(text, AnswerKind.NO_USERNAME))
            elif username.lower() in known and ids[text] not in invited:
                answers.append(_answer_known(text, known[username.lower()]))
            else:
                answers.append(await _invite(text, username, ids[text], terms))
    return answers


async def invite_one(typed: str, terms: Terms, *, form_id: UUID) -> Answer:
    """Invite a username, or anyone if it is empty; the id of the invitation is that of the form.

    Raises:
        InvalidInput: The text is no username.
        MemberNotActive: The inviter is not active.
        InvitationQuotaExceeded: The inviter has no invitation left.
    """
    username = normalize_telegram_username(typed, "invited_telegram_username")
    known = await _find_known([username] if username else [])
    if username and username.lower() in known:
        if repeated := await invitations.find(invitation_id=form_id):
            return Answer(typed, AnswerKind.INVITED, invitation=repeated)
        return _answer_known(typed, known[username.lower()])
    answer = await _invite(typed, username, form_id, terms)
    if answer.error is not None:
        raise answer.error
    return answer


async def _invite(typed: str, username: str | None, invitation_id: UUID, terms: Terms) -> Answer:
    if repeated := await invitations.find(invitation_id=invitation_id):
        return Answer(typed, AnswerKind.INVITED, invitation=repeated)
    try:
        async with transaction():  # a savepoint, if there is a transaction
            created = await invitations.create(
                created_by=terms.inviter.member_id,
                telegram_username=username,
                valid_for=terms.valid_for,
                invitation_id=invitation_id,
                actor=terms.actor,
            )
    except InvitationQuotaExceeded as error:
        return Answer(typed, AnswerKind.QUOTA, error=error)
    except BotRefused:
        return Answer(typed, AnswerKind.BOT)
    except InvalidInput as error:
        if error.code != TAKEN_ID:
            raise
        created = await invitations.get(invitation_id=invitation_id)
    return Answer(typed, AnswerKind.INVITED, invitation=created)


async def change_many(
    ids: Iterable[UUID], *, extend_by: timedelta | None, actor: str
) -> tuple[int, list[UserError]]:
    """Extend or cancel invitations in one transaction, as one act in the log.

    Args:
        ids: The ids of the invitations.
        extend_by: The time by which they are extended; None cancels them.
        actor: The author of the change, for the audit log.

    Returns:
        The number of those that were changed, and the errors of the others.
    """
    refused: list[UserError] = []
    ordered = sorted(set(ids))  # calls at the same time lock them in the same order
    async with transaction():
        await engine.fetch(BEGIN_ACT, act_id=str(new_id()), undone_act_id=None)
        for invitation_id in ordered:
            try:
                async with transaction():
                    if extend_by is None:
                        await invitations.cancel(invitation_id=invitation_id, actor=actor)
                    else:
                        await invitations.extend(
                            invitation_id=invitation_id, valid_for=extend_by, actor=actor
                        )
            except UserError as error:
                refused.append(error)
        await engine.fetch(END_ACT)
    return len(ordered) - len(refused), refused


async def _find_known(usernames: Iterable[str]) -> Mapping[str, Mapping[str, object]]:
    wanted = [username.lower() for username in usernames]
    records = await engine.fetch(FIND_KNOWN_USERNAMES, usernames=wanted) if wanted else []
    return {record["username"]: dict(record) for record in records}


def _answer_known(typed: str, known: Mapping[str, Any]) -> Answer:
    kinds = {"active": AnswerKind.MEMBER, "open": AnswerKind.OPEN}
    kind = kinds.get(known["status"]) or AnswerKind(known["status"])
    values = {name: known[name] for name in ("member_id", "name", "open_id", "expires_at")}
    return Answer(typed, kind, **values)


def _parse_username(text: str) -> str | None:
    try:
        return normalize_telegram_username(text, "invited_telegram_username")
    except InvalidInput:
        return None
