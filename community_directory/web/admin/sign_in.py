"""Signing in: the rules of the sign-in page and of the API, and of the password and second factor.

A refusal is an `HTTPException` with a sentence for a person.
"""

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from nacl.exceptions import CryptoError
from piccolo.apps.user.tables import BaseUser
from piccolo_api.mfa.provider import MFAProvider
from piccolo_api.session_auth.tables import SessionsBase
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from community_directory.database import Statement, engine, transaction
from community_directory.error_texts import gettext_noop
from community_directory.errors import database_errors
from community_directory.observers import observers
from community_directory.passwords import MAX_PASSWORD_LENGTH, password_problem
from community_directory.settings import Settings
from community_directory.web.admin.attempts import Attempt, remember_browser
from community_directory.web.admin.hashing import KNOWN_BROWSERS
from community_directory.web.admin.users import PanelUser, Verified, replace_temporary_password
from community_directory.web.security import SESSION_IDLE_TIMEOUT, SESSION_MAX_AGE
from community_directory.web.sessions import SESSION_COOKIE

logger = logging.getLogger(__name__)

MFA_CODE_REQUIRED = "MFA code required"
"""The answer of the API upon which a client asks for the code."""
WRONG_CREDENTIALS = gettext_noop("The username or the password is wrong.")
WRONG_PASSWORD = gettext_noop("The present password is wrong.")
WRONG_CODE = gettext_noop("This code is wrong or was used before. Wait for the next one.")
NO_ACCESS = gettext_noop(
    "You can't sign in: your account is switched off or has no role. A superuser can change that."
)
MFA_SWITCHED_OFF = gettext_noop(
    "The second factor is switched off. Ask the operator of this panel to set DIRECTORY_MFA_KEY."
)
CHOICE_REQUIRED = gettext_noop(
    "Somebody else set your password. Choose a new one, which only you know."
)
SAME_CHOICE = gettext_noop("The new password must not be the one that you were given.")
PASSWORDS_DIFFER = gettext_noop("Type the same new password twice.")
PASSWORD_LENGTH = gettext_noop("The password must have 12 to 128 characters.")
WEAK_PASSWORD = gettext_noop(
    "The password is too easy to guess: "
    "take some uncommon words, no names, no repetitions and no sequences."
)
INVALID_FIELDS = gettext_noop("Fill in the form's fields with at most 128 characters each.")
CREDENTIALS_MISSING = gettext_noop("Type your username and your password.")

CREDENTIAL_TEXT = re.compile(rf"[^\0\ud800-\udfff]{{1,{MAX_PASSWORD_LENGTH}}}")

FIND_ACCESS = Statement(
    """
    SELECT
        active AND (
            admin OR EXISTS (SELECT FROM public.panel_viewers WHERE user_id = :user_id)
        ) AS may_enter,
        EXISTS (
            SELECT FROM public.authenticator_secret
            WHERE user_id = :user_id AND revoked_at IS NULL
        ) AS has_second_factor,
        EXISTS (
            SELECT FROM public.panel_temporary_passwords WHERE user_id = :user_id
        ) AS has_temporary_password
    FROM public.piccolo_user WHERE id = :user_id
    """
)

LOCK_PASSWORD = Statement(
    "SELECT FROM public.piccolo_user WHERE id = :user_id AND password = :stored FOR SHARE"
)


class NewPasswordRequired(HTTPException):
    """The password is right, but somebody else set it: the user must choose a new one (403)."""

    def __init__(self, detail: str) -> None:
        super().__init__(403, detail)


class SignIn:
    """Starts the sessions of users who have the right password, and the code if they need one."""

    def __init__(self, settings: Settings, providers: Sequence[MFAProvider]) -> None:
        self._settings, self._providers = settings, providers

    async def __call__(self, request: Request, credentials: Mapping[str, str]) -> tuple[int, str]:
        """Check credentials, and return the id of the user and the token of a new session.

        Args:
            request: The request, whose address and browser are limited.
            credentials: The texts "username" and "password", "mfa_code" for the second factor, and
                "new_password" to replace a temporary one.

        Raises:
            HTTPException: A text is missing or invalid (422), wrong (401), or one more is needed
                (`MFA_CODE_REQUIRED`, `NewPasswordRequired`); the user may not enter (403), has to
                wait (429), or too many people sign in (503).
        """
        if not {"username", "password"} <= credentials.keys():
            raise HTTPException(422, CREDENTIALS_MISSING)
        attempt = await Attempt.begin(request, credentials["username"])
        if not credentials.get("mfa_code", "").isascii():
            # pyotp accepts digits of other scripts, in which Piccolo doesn't recognize a code that
            # was used before.
            raise _wrong_code()
        try:
            async with attempt.queue.turn():
                with database_errors():
                    verified = await self._check(credentials)
                    token = await _start_session(verified)
        except HTTPException as refusal:
            if refusal.status_code not in (401, 429) or refusal.detail == MFA_CODE_REQUIRED:
                await attempt.discard()
            raise
        except ValueError as weak_password:
            # Piccolo hashes a correct old password again, and then refuses it as too weak.
            await attempt.discard()
            hint = "Ask a superuser for a new one."
            raise HTTPException(403, f"{weak_password} {hint}") from None
        except CryptoError:
            # A traceback could contain the secret.
            logger.error(  # noqa: TRY400
                "A second factor can't be read, because DIRECTORY_MFA_KEY has changed."
            )
            raise HTTPException(503, MFA_SWITCHED_OFF) from None
        await attempt.discard()
        return verified.user_id, token

    async def _check(self, credentials: Mapping[str, str]) -> Verified:
        """Return the user with these credentials.

        Raises:
            HTTPException: The user can't sign in with them.
        """
        verified = await PanelUser.verify(credentials["username"], credentials["password"])
        if verified is None:
            for observer in observers:
                observer.sign_in_failed("wrong_password")
            raise HTTPException(401, WRONG_CREDENTIALS)
        user_id = verified.user_id
        user = await PanelUser.objects().get(PanelUser.id == user_id)
        found = await engine.fetch(FIND_ACCESS, user_id=user_id)
        if user is None or not found:
            raise HTTPException(401, WRONG_CREDENTIALS)
        access = found[0]
        if self._providers and access["has_second_factor"]:
            # A code can be used only once, so the new password comes first.
            if "mfa_code" not in credentials:
                if access["has_temporary_password"]:
                    await self._check_new_password(credentials, user)
                raise HTTPException(401, MFA_CODE_REQUIRED)
            (provider,) = self._providers
            if not await provider.authenticate_user(user, credentials["mfa_code"]):
                raise _wrong_code()
        if not access["may_enter"]:
            raise HTTPException(403, NO_ACCESS)
        if access["has_second_factor"] and not self._providers:
            # A second factor can't be checked without the key, so its users can't sign in.
            raise HTTPException(403, MFA_SWITCHED_OFF)
        if access["has_temporary_password"]:
            await self._check_new_password(credentials, user)
            replaced = await replace_temporary_password(verified, credentials["new_password"])
            if replaced is None:
                raise HTTPException(401, WRONG_CREDENTIALS)
            return replaced
        return verified

    async def _check_new_password(self, credentials: Mapping[str, str], user: BaseUser) -> None:
        """Check the password that replaces a temporary one.

        Raises:
            NewPasswordRequired: It is missing, or the user can't take it.
        """
        password = credentials.get("new_password")
        if password is None:
            raise NewPasswordRequired(CHOICE_REQUIRED)
        if password == credentials["password"]:
            raise NewPasswordRequired(SAME_CHOICE)
        if problem := await find_password_problem(password, user, self._settings):
            raise NewPasswordRequired(problem)


async def _start_session(verified: Verified) -> str:
    # The columns have no time zone.
    now = datetime.now()  # noqa: DTZ005
    async with transaction():
        # Whoever changes the password waits for the lock, and then ends the session, too.
        if not await engine.fetch(LOCK_PASSWORD, **verified._asdict()):
            raise HTTPException(401, WRONG_CREDENTIALS)
        session = await SessionsBase.create_session(
            verified.user_id, now + SESSION_IDLE_TIMEOUT, now + SESSION_MAX_AGE
        )
    return str(session.token)


async def set_sign_in_cookies(
    request: Request, response: Response, settings: Settings, *, username: str, token: str
) -> None:
    """Give the browser its session, and remember that the user has signed in from it."""
    response.set_cookie(
        SESSION_COOKIE,
        token,
        max_age=int(SESSION_MAX_AGE.total_seconds()),
        httponly=True,
        secure=settings.production,
        samesite="lax",
    )
    await remember_browser(request, response, username)


async def confirm_password(request: Request, user: BaseUser, password: str) -> Verified:
    """Check the password of a user who is signed in; wrong ones count as failed sign-ins.

    Raises:
        HTTPException: The password is wrong (422), or was wrong too often (429).
    """
    attempt = await Attempt.begin(request, user.username)
    try:
        async with KNOWN_BROWSERS.turn():
            verified = await PanelUser.verify(user.username, password)
    except HTTPException:
        await attempt.discard()
        raise
    if verified is None:
        raise HTTPException(422, WRONG_PASSWORD)
    await attempt.discard()
    return verified


async def change_password(
    request: Request, user: BaseUser, settings: Settings, *, password: str, new_password: str
) -> None:
    """Replace the password of a user who is signed in, which ends all their sessions.

    Raises:
        HTTPException: The user can't take the new password, or the present one is wrong (422), or
            was wrong too often (429).
    """
    if problem := await find_password_problem(new_password, user, settings):
        raise HTTPException(422, problem)
    verified = await confirm_password(request, user, password)
    async with KNOWN_BROWSERS.turn():
        is_replaced = await PanelUser.replace_password(verified, new_password)
    if not is_replaced:
        raise HTTPException(422, WRONG_PASSWORD)


async def find_password_problem(password: str, user: BaseUser, settings: Settings) -> str | None:
    """Return why a user can't take this password, as a sentence, or None."""
    # The check runs in a thread, because it takes seconds for some passwords.
    problem = await asyncio.to_thread(
        password_problem, password, user.username, user.email, settings.site_name
    )
    return f"The password {problem}." if problem else None


async def read_credentials(request: Request, *names: str) -> dict[str, str]:
    """Return these fields of a JSON body or a form.

    Raises:
        HTTPException: The fields are missing, or contain no valid texts (422).
    """
    body: object = request.scope.get("form")
    if body is None:
        try:
            body = await request.json()
        except (ValueError, RecursionError):
            body = await request.form()
    texts: dict[str, Any] = {}
    if isinstance(body, Mapping):
        texts = {name: body[name] for name in names if body.get(name)}
    if not texts or not all(map(_is_credential_text, texts.values())):
        raise HTTPException(422, INVALID_FIELDS)
    return texts


def _is_credential_text(value: object) -> bool:
    return isinstance(value, str) and CREDENTIAL_TEXT.fullmatch(value) is not None


def _wrong_code() -> HTTPException:
    for observer in observers:
        observer.sign_in_failed("wrong_code")
    return HTTPException(401, WRONG_CODE)
