"""What keeps others out of the panel: headers, sign-in and its limits, the second factor, and who may touch users.

That a session ends with its password or right, and that a superuser is left, are triggers: see the migrations here.
"""

import asyncio
import hashlib
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from fastapi.exceptions import RequestValidationError
from nacl.exceptions import CryptoError
from piccolo.apps.user.tables import BaseUser
from piccolo_admin.endpoints import AdminRouter
from piccolo_api.change_password.endpoints import change_password
from piccolo_api.crud.endpoints import PiccoloCRUD
from piccolo_api.encryption.providers import XChaCha20Provider
from piccolo_api.mfa.authenticator.provider import AuthenticatorProvider
from piccolo_api.mfa.authenticator.tables import AuthenticatorSecret
from piccolo_api.mfa.endpoints import mfa_setup
from piccolo_api.mfa.provider import MFAProvider
from piccolo_api.session_auth.endpoints import session_login
from piccolo_api.shared.auth.hooks import LoginHooks
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from community_directory.errors import DirectoryError, InvalidInput, OperatorError
from community_directory.passwords import MAX_PASSWORD_LENGTH, password_problem
from community_directory.settings import Settings
from community_directory.web.admin.attempts import Attempt
from community_directory.web.admin.crud import Row, answer_error

logger = logging.getLogger(__name__)

HEADERS = {
    # Styles may stand in a page: the panel's own do. Scripts may not.
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; script-src 'self'; "
        "frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "same-origin",  # over HTTPS the CSRF check wants a referrer or an origin of our own
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
HTTPS_ONLY = {"Strict-Transport-Security": "max-age=31536000"}

IDLE, LONGEST_SESSION = timedelta(hours=8), timedelta(days=7)
EXTENDED = IDLE / 2
"""A session with less than this left is extended by as much: it ends after four to eight idle hours."""

CODE_REQUIRED = "MFA code required"
"""What the front end asks for the code upon."""
WRONG = "The username or the password is wrong."
WRONG_CODE = "This code is wrong, or was used already: wait for the next one."
NO_ENTRY = "You may not enter the panel: your account is switched off, or lacks the right. A superuser can change that."
NO_SECOND_FACTOR = (
    "The second factor is switched off here: whoever runs this panel can set DIRECTORY_MFA_KEY."
)


class PanelMisfit(OperatorError):
    """This version of Piccolo Admin is not the one that the panel was made for."""

    code = "panel_misfit"


class SecurityHeaders:
    """Puts the headers on every answer; nothing of the API stays in a cache."""

    def __init__(self, app: ASGIApp, *, production: bool) -> None:
        self._app = app
        self._production = production
        self._headers = {**HEADERS, **(HTTPS_ONLY if production else {})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))  # the routers change both

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(self._headers)
                if path.startswith(("/api/", "/public/")):
                    headers["Cache-Control"] = "no-store"
                if self._production:
                    _secure_cookies(message)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _secure_cookies(message: Message) -> None:
    """The CSRF token's cookie is never marked by Piccolo."""
    message["headers"] = [
        (
            name,
            value + b"; Secure"
            if name == b"set-cookie" and b"secure" not in value.lower()
            else value,
        )
        for name, value in message["headers"]
    ]


async def _texts(request: Request, *names: str) -> dict[str, str]:
    """These texts of a JSON body or form, for Piccolo's endpoints to find. Raises the answer 422 for anything else."""
    body: Any = request.scope.get("form")
    if body is None:
        try:
            body = await request.json()
        except (ValueError, RecursionError):
            body = await request.form()
    given = (
        {name: body[name] for name in names if body.get(name)} if isinstance(body, Mapping) else {}
    )
    if not given or not all(
        isinstance(text, str) and _TEXT.fullmatch(text) for text in given.values()
    ):
        raise HTTPException(
            422, f"Send the form's fields, each a text of at most {MAX_PASSWORD_LENGTH} characters."
        )
    request.scope["form"] = given
    return given


_TEXT = re.compile(rf"[^\0\ud800-\udfff]{{1,{MAX_PASSWORD_LENGTH}}}")


def _sign_in(settings: Settings, providers: Sequence[MFAProvider]) -> Any:
    stock: Any = session_login(
        session_expiry=IDLE,
        max_session_expiry=LONGEST_SESSION,
        redirect_to=None,
        production=settings.production,
        hooks=LoginHooks(login_success=[_entry(settings)], login_failure=[_refuse]),
        mfa_providers=providers,
    )

    class SignIn(stock):  # type: ignore[misc]  # piccolo_api makes its endpoints as it needs them
        async def get(self, _: Request) -> Response:
            """Lead to the panel's own form: Piccolo's other one would be a second one to keep safe."""
            return RedirectResponse("../../")

        async def post(self, request: Request) -> Response:
            given = await _texts(request, "username", "password", "mfa_code")
            if not {"username", "password"} <= given.keys():
                raise HTTPException(422, "Type your username and your password.")
            attempt = await Attempt.begin(request, given["username"])
            if not given.get("mfa_code", "").isascii():
                # pyotp reads other digits too, but Piccolo would not see that such a code was used before.
                raise HTTPException(401, WRONG_CODE)
            try:
                response: Response = await super().post(request)
            except HTTPException as refusal:
                if refusal.detail == CODE_REQUIRED:
                    await attempt.forgive()
                if refusal.detail == "MFA failed":
                    raise HTTPException(401, WRONG_CODE) from None
                raise
            except ValueError as weak:
                # Piccolo hashes an old password anew when it is right, and then finds that it isn't good enough.
                await attempt.forgive()
                raise HTTPException(403, f"{weak} A superuser can give you a new one.") from None
            except CryptoError:
                logger.error(  # noqa: TRY400  the error would tell of the secret
                    "A second factor can't be read: DIRECTORY_MFA_KEY is not the one that it was set up with."
                )
                raise HTTPException(503, NO_SECOND_FACTOR) from None
            if response.status_code != 401:
                await attempt.forgive()
            if response.status_code == 200:
                await attempt.remember()
            return response

        def _get_error_response(
            self, request: Request, error: str, response_format: str
        ) -> Response:  # noqa: ARG002  piccolo_api's
            return JSONResponse({"detail": error}, 401 if error == WRONG else 403)

    return SignIn


def _refuse(username: str) -> str:  # noqa: ARG001  piccolo_api's names
    return WRONG


def _entry(settings: Settings) -> Callable[[str, int], Awaitable[str | None]]:
    async def refuse_who_may_not_enter(username: str, user_id: int) -> str | None:  # noqa: ARG001  piccolo_api's names
        may = await BaseUser.exists().where(
            BaseUser.id == user_id, BaseUser.active.eq(True), BaseUser.admin.eq(True)
        )
        if not may:
            return NO_ENTRY
        if settings.mfa_key is None and await AuthenticatorSecret.exists().where(
            AuthenticatorSecret.user_id == user_id, AuthenticatorSecret.revoked_at.is_null()
        ):
            return NO_SECOND_FACTOR  # a setting that got lost lets nobody in without it
        return None

    return refuse_who_may_not_enter


def _change_password(settings: Settings) -> Any:
    stock: Any = change_password(login_url="./../../public/login/")

    class ChangePassword(stock):  # type: ignore[misc]  # as above
        async def post(self, request: Request) -> Response:
            user = request.user.user
            given = await _texts(
                request, "current_password", "new_password", "confirm_new_password"
            )
            new = given.get("new_password", "")
            attempt = await Attempt.begin(request, user.username)
            # In a thread, because a strange password keeps it busy for seconds.
            problem = await asyncio.to_thread(
                password_problem, new, user.username, user.email, settings.site_name
            )
            if problem:
                await attempt.forgive()
                raise HTTPException(422, f"The password {problem}.")
            try:
                response: Response = await super().post(request)
            except HTTPException as refusal:
                if refusal.detail != "Incorrect password.":
                    await attempt.forgive()
                raise
            await attempt.forgive()
            return response

    return ChangePassword


def mfa_providers(settings: Settings) -> list[MFAProvider]:
    """The second factor that users can set up: an app for codes, when the settings have a key; else none."""
    if settings.mfa_key is None:
        return []
    key = hashlib.sha256(settings.mfa_key.get_secret_value().encode()).digest()
    # A clock may be half a minute off.
    return [
        AuthenticatorProvider(
            XChaCha20Provider(key), issuer_name=settings.site_name, valid_window=1
        )
    ]


def _mfa_setup(provider: MFAProvider) -> Any:
    stock: Any = mfa_setup(provider=provider)

    class MFASetup(stock):  # type: ignore[misc]  # as above
        async def get(self, request: Request) -> Response:
            return _without_what_the_policy_forbids(await super().get(request))

        async def post(self, request: Request) -> Response:
            await _texts(request, "action", "password")
            attempt = await Attempt.begin(request, request.user.user.username)
            response: Response = await super().post(request)
            if response.status_code != 401 and b"<p>Error</p>" not in bytes(response.body):
                await attempt.forgive()
            return _without_what_the_policy_forbids(response)

    return MFASetup


def _without_what_the_policy_forbids(response: Response) -> Response:
    """Piccolo's pages take a font from elsewhere, and copy by a script that stands in the page."""
    html = re.sub(rb"<link [^>]*fonts[^>]*>", b"", bytes(response.body))
    html = re.sub(rb'<a href="#" onclick="[^"]*">Copy</a> these', b"Copy these", html)
    return HTMLResponse(html, response.status_code)


async def _no_second_factor(_: Request) -> Response:
    return PlainTextResponse(NO_SECOND_FACTOR, 404)


def secure(panel: AdminRouter, settings: Settings, providers: Sequence[MFAProvider]) -> None:
    """Replace the panel's auth endpoints by ours. Raises `PanelMisfit` for another version of Piccolo Admin."""
    private = _at(panel.routes, "/api").app.app  # inside of the authentication
    public = _at(panel.routes, "/public").app
    _at(public.routes, "/login").app = _sign_in(settings, providers)
    _at(private.routes, "/change-password/").app = _change_password(settings)
    if providers:
        _at(private.routes, "/mfa-setup").app = _mfa_setup(providers[0])
    else:
        private.add_route("/mfa-setup/", _no_second_factor)
    for app in (private, public):
        app.add_exception_handler(RequestValidationError, _invalid)
        app.add_exception_handler(DirectoryError, answer_error)


def _at(routes: Sequence[Any], path: str) -> Any:
    for route in routes:
        if getattr(route, "path", None) == path:
            return route
    raise PanelMisfit(f"This version of Piccolo Admin has nothing at {path} any more.")


async def _invalid(_: Request, error: Exception) -> Response:
    """FastAPI's answer without the values that came in: a password may be one of them."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    problems = [{key: problem[key] for key in ("loc", "msg", "type")} for problem in found]
    return JSONResponse({"detail": problems}, 422)


def only_ended(piccolo_crud: PiccoloCRUD, request: Request) -> None:
    """A validator for sessions: who could write one could be anybody."""
    if request.method not in ("GET", "HEAD", "DELETE"):
        raise HTTPException(
            405, f"{piccolo_crud.table._meta.tablename.capitalize()} can only be ended."
        )


def with_password_hash(values: Row) -> Row:
    """What is stored of a user's values that were typed. Raises `InvalidInput` for a bad password."""
    if "email" in values and not values["email"]:
        raise InvalidInput("This can't be empty.", field="email")
    if "password" not in values:
        return values
    password = str(values["password"] or "")
    personal = [str(values[name]) for name in ("username", "email") if values.get(name)]
    if problem := password_problem(password, *personal):
        raise InvalidInput(f"The password {problem}.", field="password")
    return {**values, "password": BaseUser.hash_password(password)}
