"""The panel's authentication: sign-in, passwords, the second factor, and who may edit users.

Triggers, which are in the migrations of this folder, end a session when its user's password or
rights change, and keep at least one superuser.
"""

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from nacl.exceptions import CryptoError
from piccolo.apps.user.tables import BaseUser
from piccolo_admin.endpoints import AdminRouter
from piccolo_api.change_password.endpoints import change_password
from piccolo_api.mfa.authenticator.tables import AuthenticatorSecret
from piccolo_api.mfa.endpoints import mfa_setup
from piccolo_api.mfa.provider import MFAProvider
from piccolo_api.session_auth.endpoints import session_login
from piccolo_api.shared.auth.hooks import LoginHooks
from starlette.endpoints import HTTPEndpoint
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from starlette.routing import BaseRoute

from community_directory.errors import (
    DirectoryError,
    InvalidInput,
    OperatorError,
    database_errors,
)
from community_directory.observers import observers
from community_directory.passwords import MAX_PASSWORD_LENGTH, password_problem
from community_directory.settings import Settings
from community_directory.web.admin.attempts import Attempt, remember_browser
from community_directory.web.admin.hashing import KNOWN_BROWSERS, TooBusy
from community_directory.web.admin.policy import RowData
from community_directory.web.admin.rows import answer_error
from community_directory.web.admin.users import (
    PanelUser,
    has_temporary_password,
    replace_temporary_password,
)
from community_directory.web.security import SESSION_IDLE_TIMEOUT, SESSION_MAX_AGE

logger = logging.getLogger(__name__)

MFA_CODE_REQUIRED = "MFA code required"
"""The answer upon which the front end asks for the code."""
WRONG_CREDENTIALS = "The username or the password is wrong."
WRONG_CODE = "This code is wrong or was used before. Wait for the next one."
NO_ACCESS = (
    "You can't enter the panel: your account is switched off or lacks the right “admin”. "
    "A superuser can change that."
)
MFA_SWITCHED_OFF = (
    "The second factor is switched off. Ask the operator of this panel to set DIRECTORY_MFA_KEY."
)

CHOICE_REQUIRED = "Somebody else set your password. Choose a new one, which only you know."
SAME_CHOICE = "The new password must not be the one that you were given."

CREDENTIAL_TEXT = re.compile(rf"[^\0\ud800-\udfff]{{1,{MAX_PASSWORD_LENGTH}}}")


class IncompatiblePiccoloAdmin(OperatorError):
    """The panel doesn't work with the installed version of Piccolo Admin."""

    code = "incompatible_piccolo_admin"

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"This version of Piccolo Admin is not supported: {reason}. "
            "Install the version that this package requires."
        )


def secure(panel: AdminRouter, settings: Settings, providers: Sequence[MFAProvider]) -> None:
    """Replace the auth endpoints of Piccolo Admin.

    Raises:
        IncompatiblePiccoloAdmin: An endpoint is not where it is expected.
    """
    # The app of the API is wrapped in the authentication.
    private = _find_route(panel.routes, "/api").app.app
    public = _find_route(panel.routes, "/public").app
    _find_route(public.routes, "/login").app = _sign_in_endpoint(settings, providers)
    change_password_route = _find_route(private.routes, "/change-password/")
    change_password_route.app = _change_password_endpoint(settings)
    if providers:
        _find_route(private.routes, "/mfa-setup").app = _mfa_setup_endpoint(providers[0])
    else:
        private.add_route("/mfa-setup/", _answer_mfa_switched_off)
    for app in (private, public):
        app.add_exception_handler(RequestValidationError, _answer_invalid_request)
        app.add_exception_handler(DirectoryError, answer_error)


async def hash_new_password(values: RowData) -> RowData:
    """Return a user's values to store, with the hash of a new password.

    Raises:
        InvalidInput: The password is too weak, or the email address is missing.
    """
    if "email" in values and not values["email"]:
        raise InvalidInput("This can't be empty.", field="email")
    if "password" not in values:
        return values
    password = str(values["password"] or "")
    personal = [str(values[name]) for name in ("username", "email") if values.get(name)]
    # Both steps run in a thread: the check takes seconds for some passwords.
    async with KNOWN_BROWSERS.turn():
        if problem := await asyncio.to_thread(password_problem, password, *personal):
            raise InvalidInput(f"The password {problem}.", field="password")
        return {**values, "password": await asyncio.to_thread(BaseUser.hash_password, password)}


def _sign_in_endpoint(settings: Settings, providers: Sequence[MFAProvider]) -> type[HTTPEndpoint]:
    base: Any = session_login(
        auth_table=PanelUser,
        session_expiry=SESSION_IDLE_TIMEOUT,
        max_session_expiry=SESSION_MAX_AGE,
        redirect_to=None,
        production=settings.production,
        mfa_providers=providers,
    )

    class SignIn(base):  # type: ignore[misc]  # a class that piccolo_api makes at run time
        @property
        def _hooks(self) -> LoginHooks:
            # Those of the base class would not know the request.
            return LoginHooks(
                login_success=[self._check_access], login_failure=[_wrong_credentials]
            )

        async def get(self, _: Request) -> Response:
            """Redirect to the panel, whose sign-in form is the only one."""
            return RedirectResponse("../../")

        async def post(self, request: Request) -> Response:
            credentials = await _read_texts(
                request, "username", "password", "mfa_code", "new_password"
            )
            if not {"username", "password"} <= credentials.keys():
                raise HTTPException(422, "Type your username and your password.")
            attempt = await Attempt.begin(request, credentials["username"])
            if not credentials.get("mfa_code", "").isascii():
                # pyotp accepts digits of other scripts, in which Piccolo doesn't recognize a
                # code that was used before.
                raise _wrong_code()
            try:
                async with attempt.queue.turn():
                    response = await self._sign_in(request, attempt)
            except TooBusy:
                await attempt.discard()
                raise
            if response.status_code != 401:
                await attempt.discard()
            if response.status_code == 200:
                await remember_browser(request, response, credentials["username"])
            return response

        async def _sign_in(self, request: Request, attempt: Attempt) -> Response:
            try:
                with database_errors():
                    response: Response = await super().post(request)
                return response
            except HTTPException as refusal:
                if refusal.detail == MFA_CODE_REQUIRED:
                    await attempt.discard()
                    # A code can be used only once, so the password comes first.
                    username = request.scope["form"]["username"]
                    user = await BaseUser.objects().get(BaseUser.username == username)
                    if (
                        user
                        and await has_temporary_password(username)
                        and (problem := await self._find_choice_problem(user))
                    ):
                        return _ask_for_new_password(problem)
                if refusal.detail == "MFA failed":
                    raise _wrong_code() from None
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

        async def _check_access(self, username: str, user_id: int) -> str | None:
            """Return why a user with the right password may not enter, or None."""
            user = await BaseUser.objects().get(
                (BaseUser.id == user_id) & BaseUser.active.eq(True) & BaseUser.admin.eq(True)
            )
            if user is None:
                return NO_ACCESS
            # A second factor can't be checked without the key, so its users can't sign in.
            if settings.mfa_key is None and await AuthenticatorSecret.exists().where(
                AuthenticatorSecret.user_id == user_id, AuthenticatorSecret.revoked_at.is_null()
            ):
                return MFA_SWITCHED_OFF
            if await has_temporary_password(username):
                return await self._replace_temporary_password(user)
            return None

        async def _replace_temporary_password(self, user: BaseUser) -> str | None:
            """Store the new password of the form, or return why it is needed or refused."""
            if problem := await self._find_choice_problem(user):
                return problem
            await replace_temporary_password(user.id, self.scope["form"]["new_password"])
            return None

        async def _find_choice_problem(self, user: BaseUser) -> str | None:
            """Return why the form has no password to replace a temporary one with, or None."""
            form: dict[str, str] = self.scope["form"]
            password = form.get("new_password")
            if password is None:
                return CHOICE_REQUIRED
            if password == form["password"]:
                return SAME_CHOICE
            return await _find_password_problem(password, user, settings)

        def _get_error_response(
            self,
            request: Request,  # noqa: ARG002  a parameter of piccolo_api
            error: str,
            response_format: str,  # noqa: ARG002
        ) -> Response:
            if error == WRONG_CREDENTIALS:
                return JSONResponse({"detail": error}, 401)
            if error in (NO_ACCESS, MFA_SWITCHED_OFF):
                return JSONResponse({"detail": error}, 403)
            return _ask_for_new_password(error)

    return SignIn


def _ask_for_new_password(detail: str) -> Response:
    """Answer a sign-in with a temporary password; the script of the form asks for a new one."""
    return JSONResponse({"detail": detail, "code": "new_password_required"}, 403)


async def _find_password_problem(password: str, user: BaseUser, settings: Settings) -> str | None:
    """Return why a user can't take this password, as a sentence, or None."""
    # The check runs in a thread, because it takes seconds for some passwords.
    problem = await asyncio.to_thread(
        password_problem, password, user.username, user.email, settings.site_name
    )
    return f"The password {problem}." if problem else None


def _wrong_credentials(username: str) -> str:  # noqa: ARG001  a parameter of piccolo_api
    for observer in observers:
        observer.sign_in_failed("wrong_password")
    return WRONG_CREDENTIALS


def _wrong_code() -> HTTPException:
    for observer in observers:
        observer.sign_in_failed("wrong_code")
    return HTTPException(401, WRONG_CODE)


def _change_password_endpoint(settings: Settings) -> type[HTTPEndpoint]:
    base: Any = change_password(login_url="./../../public/login/")

    class ChangePassword(base):  # type: ignore[misc]  # a class that piccolo_api makes at run time
        async def post(self, request: Request) -> Response:
            user = request.user.user
            form = await _read_texts(
                request, "current_password", "new_password", "confirm_new_password"
            )
            attempt = await Attempt.begin(request, user.username)
            new_password = form.get("new_password", "")
            if problem := await _find_password_problem(new_password, user, settings):
                await attempt.discard()
                raise HTTPException(422, problem)
            try:
                async with KNOWN_BROWSERS.turn():
                    response: Response = await super().post(request)
            except HTTPException as refusal:
                if refusal.detail != "Incorrect password.":
                    await attempt.discard()
                raise
            await attempt.discard()
            return response

    return ChangePassword


def _mfa_setup_endpoint(provider: MFAProvider) -> type[HTTPEndpoint]:
    base: Any = mfa_setup(provider=provider, auth_table=PanelUser)

    class MFASetup(base):  # type: ignore[misc]  # a class that piccolo_api makes at run time
        async def get(self, request: Request) -> Response:
            return _remove_blocked_content(await super().get(request))

        async def post(self, request: Request) -> Response:
            await _read_texts(request, "action", "password")
            attempt = await Attempt.begin(request, request.user.user.username)
            try:
                async with KNOWN_BROWSERS.turn():
                    response: Response = await super().post(request)
            except TooBusy:
                await attempt.discard()
                raise
            if response.status_code != 401 and b"<p>Error</p>" not in bytes(response.body):
                await attempt.discard()
            return _remove_blocked_content(response)

    return MFASetup


def _remove_blocked_content(response: Response) -> Response:
    """Remove what the Content-Security-Policy blocks: a foreign font and an inline script."""
    html = re.sub(rb"<link [^>]*fonts[^>]*>", b"", bytes(response.body))
    html = re.sub(rb'<a href="#" onclick="[^"]*">Copy</a> these', b"Copy these", html)
    return HTMLResponse(html, response.status_code)


async def _answer_mfa_switched_off(_: Request) -> Response:
    return PlainTextResponse(MFA_SWITCHED_OFF, 404)


async def _read_texts(request: Request, *names: str) -> dict[str, str]:
    """Return these fields of a JSON body or a form, and keep them for Piccolo's endpoints.

    Raises:
        HTTPException: The fields are missing, or contain no valid texts (422).
    """
    body: object = request.scope.get("form")
    if body is None:
        try:
            body = await request.json()
        except (ValueError, RecursionError):
            body = await request.form()
    texts = {}
    if isinstance(body, Mapping):
        texts = {name: body[name] for name in names if body.get(name)}
    if not texts or not all(map(_is_credential_text, texts.values())):
        raise HTTPException(
            422, f"Fill in the form's fields with at most {MAX_PASSWORD_LENGTH} characters each."
        )
    request.scope["form"] = texts
    return texts


def _is_credential_text(value: object) -> bool:
    return isinstance(value, str) and CREDENTIAL_TEXT.fullmatch(value) is not None


def _find_route(routes: Sequence[BaseRoute], path: str) -> Any:
    for route in routes:
        if getattr(route, "path", None) == path:
            return route
    raise IncompatiblePiccoloAdmin(f"there is nothing at {path}")


async def _answer_invalid_request(_: Request, error: Exception) -> Response:
    """Answer as FastAPI does, without the received values: one may be a password."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    problems = [{key: problem[key] for key in ("loc", "msg", "type")} for problem in found]
    return JSONResponse({"detail": problems}, 422)
