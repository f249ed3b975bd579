"""Colleagues: who may sign in, in which role, and the links with which invited ones join.

A refusal is an `HTTPException` with a sentence for a person. Triggers keep a superuser, and end the
sessions of a user who loses access. The log has a line for each change.
"""

import asyncio
import hashlib
import logging
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg
from piccolo.apps.user.tables import BaseUser
from starlette.exceptions import HTTPException

from community_directory.database import Statement, act_as, engine, transaction
from community_directory.error_texts import gettext_noop
from community_directory.settings import Settings
from community_directory.web.admin.hashing import KNOWN_BROWSERS
from community_directory.web.admin.sign_in import find_password_problem
from community_directory.web.admin.users import PanelUser, is_ambiguous_username
from community_directory.web.pages import Role
from community_directory.web.sessions import end_sessions

logger = logging.getLogger(__name__)

LINK_LIFETIME = timedelta(days=3)
MAX_USERNAME_LENGTH = 100
MAX_EMAIL_LENGTH = 255
MAX_COLLEAGUES = 500
"""The users that are listed."""

INVALID_USERNAME = gettext_noop("A username has 1 to 100 characters, and no line breaks.")
AMBIGUOUS_USERNAME = gettext_noop(
    "This name is taken: the audit log could not tell the two apart. Choose another name."
)
INVALID_EMAIL = gettext_noop("This is no e-mail address.")
INVALID_ROLE = gettext_noop("Choose a role.")
INVALID_LINK = gettext_noop(
    "This link was used, has expired or was withdrawn. Ask whoever sent it to you for a new one."
)
NOT_INVITED = gettext_noop("This colleague has joined already, or the invitation was withdrawn.")
OWN_SECOND_FACTOR = gettext_noop("Remove your own second factor on the page of your account.")
SWITCHED_ALREADY = gettext_noop("This was done already, or the colleague has not joined yet.")

# Piccolo stores the time of the last sign-in without a time zone, by the clock of the program.
COLLEAGUE_SQL = """
    SELECT person.id AS user_id, username, email, active AS is_active, last_login,
        CASE
            WHEN admin AND superuser THEN 'superuser'
            WHEN admin THEN 'manager'
            WHEN EXISTS (SELECT FROM public.panel_viewers WHERE user_id = person.id) THEN 'viewer'
        END AS role,
        EXISTS (
            SELECT FROM public.authenticator_secret
            WHERE user_id = person.id AND revoked_at IS NULL
        ) AS has_second_factor,
        (
            SELECT count(*) FROM public.sessions
            WHERE user_id = person.id
                AND expiry_date > :now::timestamp AND max_expiry_date > :now::timestamp
        ) AS sessions,
        (
            SELECT expires_at FROM public.panel_invitations WHERE user_id = person.id
        ) AS link_expires_at
    FROM public.piccolo_user AS person
"""
LIST_COLLEAGUES = Statement(
    f"{COLLEAGUE_SQL} ORDER BY active DESC, lower(username), username LIMIT :limit"
)
GET_COLLEAGUE = Statement(f"{COLLEAGUE_SQL} WHERE person.id = :user_id")
ADD_USER = Statement(
    """
    INSERT INTO public.piccolo_user (username, email, password, active, admin, superuser)
    VALUES (:username, :email, :password, false, :is_manager, :is_superuser) RETURNING id
    """
)
ADD_VIEWER = Statement(
    "INSERT INTO public.panel_viewers (user_id) VALUES (:user_id) ON CONFLICT DO NOTHING"
)
REMOVE_VIEWER = Statement("DELETE FROM public.panel_viewers WHERE user_id = :user_id")
ADD_LINK = Statement(
    """
    INSERT INTO public.panel_invitations (user_id, token_hash, expires_at)
    VALUES (:user_id, :token_hash, now() + :lifetime)
    """
)
RENEW_LINK = Statement(
    """
    UPDATE public.panel_invitations SET token_hash = :token_hash, expires_at = now() + :lifetime
    WHERE user_id = :user_id RETURNING user_id
    """
)
# A user who joins at the same time is active by then, and stays.
WITHDRAW = Statement(
    """
    DELETE FROM public.piccolo_user WHERE id = :user_id AND NOT active
        AND EXISTS (SELECT FROM public.panel_invitations WHERE user_id = :user_id)
    RETURNING id
    """
)
FIND_LINK = Statement(
    """
    SELECT user_id FROM public.panel_invitations
    WHERE token_hash = :token_hash AND expires_at > now()
    """
)
# After a wait, PostgreSQL reads no other table again: the next statement looks for the link.
LOCK_USER = Statement("SELECT FROM public.piccolo_user WHERE id = :user_id FOR NO KEY UPDATE")
# Of two who use a link at the same time, the second one finds an active user. The lock on the link
# keeps it from being replaced.
JOIN = Statement(
    """
    WITH link AS (
        SELECT user_id FROM public.panel_invitations
        WHERE token_hash = :token_hash AND expires_at > now() FOR UPDATE
    )
    UPDATE public.piccolo_user SET password = :password, active = true
    FROM link WHERE id = link.user_id AND NOT active
    RETURNING id
    """
)
DELETE_LINK = Statement("DELETE FROM public.panel_invitations WHERE user_id = :user_id")
DELETE_TEMPORARY_PASSWORD = Statement(
    "DELETE FROM public.panel_temporary_passwords WHERE user_id = :user_id"
)
SET_ROLE = Statement(
    """
    UPDATE public.piccolo_user SET admin = :is_manager, superuser = :is_superuser
    WHERE id = :user_id RETURNING id
    """
)
SWITCH = Statement(
    """
    UPDATE public.piccolo_user SET active = :is_active
    WHERE id = :user_id AND active <> :is_active
        AND NOT EXISTS (SELECT FROM public.panel_invitations WHERE user_id = :user_id)
    RETURNING id
    """
)
RESET_SECOND_FACTOR = Statement(
    """
    UPDATE public.authenticator_secret SET revoked_at = now()
    WHERE user_id = :user_id AND revoked_at IS NULL
    """
)


@dataclass(frozen=True, slots=True)
class Colleague:
    """A user, who may sign in unless they are switched off or have no role.

    Attributes:
        role: None if the user has none.
        sessions: The number of sessions that have not ended.
        link_expires_at: The end of the link with which the user can join; None if they have joined.
    """

    user_id: int
    username: str
    email: str
    role: Role | None
    is_active: bool
    has_second_factor: bool
    last_sign_in: datetime | None
    sessions: int
    link_expires_at: datetime | None

    @property
    def is_link_expired(self) -> bool:
        """Whether the user was invited, and the link has expired."""
        return self.link_expires_at is not None and self.link_expires_at <= datetime.now(UTC)


def parse_role(text: str) -> Role:
    """Return the role with this name.

    Raises:
        HTTPException: There is none (422).
    """
    try:
        return Role(text)
    except ValueError:
        raise HTTPException(422, INVALID_ROLE) from None


async def list_all() -> list[Colleague]:
    """Return the users: those who may sign in first, then by name."""
    records = await engine.fetch(LIST_COLLEAGUES, now=_now(), limit=MAX_COLLEAGUES)
    return [_to_colleague(record) for record in records]


async def get(user_id: int) -> Colleague:
    """Return a user.

    Raises:
        HTTPException: There is no such user (404).
    """
    records = await engine.fetch(GET_COLLEAGUE, user_id=user_id, now=_now())
    if not records:
        raise HTTPException(404)
    return _to_colleague(records[0])


async def invite(username: str, *, email: str, role: Role, actor: str) -> tuple[int, str]:
    """Add a user who can't sign in yet, and return their id and the token of their link.

    Raises:
        HTTPException: The name or the address is no valid one, or the name is taken (422).
        InvalidInput: Somebody else has the name or the address.
    """
    if not 0 < len(username) <= MAX_USERNAME_LENGTH or not username.isprintable():
        raise HTTPException(422, INVALID_USERNAME)
    if len(email) > MAX_EMAIL_LENGTH or not email.isprintable() or not _is_address(email):
        raise HTTPException(422, INVALID_EMAIL)
    if await is_ambiguous_username(username):
        raise HTTPException(422, AMBIGUOUS_USERNAME)
    async with KNOWN_BROWSERS.turn():
        # Nobody knows this password.
        password = await asyncio.to_thread(BaseUser.hash_password, secrets.token_urlsafe())
    token = secrets.token_urlsafe()
    async with transaction():
        await act_as(actor)
        ((user_id,),) = await engine.fetch(
            ADD_USER, username=username, email=email, password=password, **_rights(role)
        )
        if role is Role.VIEWER:
            await engine.fetch(ADD_VIEWER, user_id=user_id)
        await engine.fetch(
            ADD_LINK, user_id=user_id, token_hash=_hash(token), lifetime=LINK_LIFETIME
        )
    logger.info("user:%d is invited as %s", user_id, role)
    return user_id, token


async def renew_link(user_id: int) -> str:
    """Return the token of a new link for an invited user; the link before it ends.

    Raises:
        HTTPException: The user has joined, or there is no such user (422).
    """
    token = secrets.token_urlsafe()
    if not await engine.fetch(
        RENEW_LINK, user_id=user_id, token_hash=_hash(token), lifetime=LINK_LIFETIME
    ):
        raise HTTPException(422, NOT_INVITED)
    logger.info("user:%d has a new link to join", user_id)
    return token


async def withdraw(user_id: int) -> None:
    """Delete an invited user who has not joined, and their link.

    Raises:
        HTTPException: The user has joined, or there is no such user (422).
    """
    if not await engine.fetch(WITHDRAW, user_id=user_id):
        raise HTTPException(422, NOT_INVITED)
    logger.info("The invitation of user:%d is withdrawn", user_id)


async def find_invited(token: str) -> Colleague:
    """Return the user who can join with a link.

    Raises:
        HTTPException: The link is no longer valid (404).
    """
    records = await engine.fetch(FIND_LINK, token_hash=_hash(token))
    if not records:
        raise HTTPException(404, INVALID_LINK)
    return await get(records[0]["user_id"])


async def join(token: str, *, password: str, settings: Settings) -> None:
    """Let an invited user sign in with this password; a link can be used once.

    Raises:
        HTTPException: The link is no longer valid (404), the user can't take the password (422), or
            too many people sign in (503).
    """
    invited = await find_invited(token)
    user = await PanelUser.objects().get(PanelUser.id == invited.user_id)
    if user is None:
        raise HTTPException(404, INVALID_LINK)
    async with KNOWN_BROWSERS.turn():
        if problem := await find_password_problem(password, user, settings):
            raise HTTPException(422, problem)
        hashed = await asyncio.to_thread(BaseUser.hash_password, password)
    async with transaction():
        await engine.fetch(LOCK_USER, user_id=invited.user_id)
        if not await engine.fetch(JOIN, token_hash=_hash(token), password=hashed):
            raise HTTPException(404, INVALID_LINK)
        await engine.fetch(DELETE_LINK, user_id=invited.user_id)
        await engine.fetch(DELETE_TEMPORARY_PASSWORD, user_id=invited.user_id)
    logger.info("user:%d has joined", invited.user_id)


async def set_role(user_id: int, role: Role, *, actor: str) -> None:
    """Give a user a role.

    Raises:
        HTTPException: There is no such user (404).
        InvalidInput: The user is the last superuser, or takes away their own access.
    """
    async with transaction():
        await act_as(actor)
        if not await engine.fetch(SET_ROLE, user_id=user_id, **_rights(role)):
            raise HTTPException(404)
        statement = ADD_VIEWER if role is Role.VIEWER else REMOVE_VIEWER
        await engine.fetch(statement, user_id=user_id)
    logger.info("The role of user:%d is now %s", user_id, role)


async def switch(user_id: int, *, is_active: bool, actor: str) -> None:
    """Switch a user off, which ends their sessions, or on again.

    Raises:
        HTTPException: The user is so already, has not joined yet, or there is no such user (422).
        InvalidInput: The user is the last superuser, or takes away their own access.
    """
    async with transaction():
        await act_as(actor)
        if not await engine.fetch(SWITCH, user_id=user_id, is_active=is_active):
            raise HTTPException(422, SWITCHED_ALREADY)
    logger.info("user:%d is switched %s", user_id, "on" if is_active else "off")


async def reset_second_factor(user_id: int, *, actor_id: int) -> None:
    """Remove the second factor of another user, who lost it.

    Raises:
        HTTPException: It is one's own, which needs the password (422).
    """
    if user_id == actor_id:
        raise HTTPException(422, OWN_SECOND_FACTOR)
    await engine.fetch(RESET_SECOND_FACTOR, user_id=user_id)
    logger.info("The second factor of user:%d is reset", user_id)


async def sign_out(user_id: int) -> None:
    """End all sessions of a user."""
    await end_sessions(user_id)
    logger.info("The sessions of user:%d are ended", user_id)


def _rights(role: Role) -> dict[str, bool]:
    return {
        "is_manager": role.includes(Role.MANAGER),
        "is_superuser": role.includes(Role.SUPERUSER),
    }


def _hash(token: str) -> bytes:
    """Return what is stored of a token: who reads the database can't use a link."""
    return hashlib.sha256(token.encode()).digest()


def _is_address(email: str) -> bool:
    name, _, domain = email.rpartition("@")
    return bool(name and domain) and not any(character.isspace() for character in email)


def _now() -> datetime:
    return datetime.now()  # noqa: DTZ005  the columns of sessions have no time zone


def _to_colleague(record: asyncpg.Record) -> Colleague:
    last_login, role = record["last_login"], record["role"]
    return Colleague(
        user_id=record["user_id"],
        username=record["username"],
        email=record["email"],
        role=None if role is None else Role(role),
        is_active=record["is_active"],
        has_second_factor=record["has_second_factor"],
        last_sign_in=None if last_login is None else last_login.astimezone(),
        sessions=record["sessions"],
        link_expires_at=record["link_expires_at"],
    )
