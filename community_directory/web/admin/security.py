"""The panel's authentication: its endpoints for sign-in, password and second factor.

Triggers, which are in the migrations of this folder, end a session when its user's password or
rights change, and keep at least one superuser.
"""

import asyncio
import logging
import re
from collections.abc import Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from piccolo.apps.user.tables import BaseUser
from piccolo_admin.endpoints import AdminRouter
from piccolo_api.change_password.endpoints import change_password as change_password_form
from piccolo_api.mfa.endpoints import mfa_setup
from piccolo_api.mfa.provider import MFAProvider
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
)
from community_directory.passwords import password_problem
from community_directory.settings import Settings
from community_directory.web.admin.attempts import Attempt
from community_directory.web.admin.hashing import KNOWN_BROWSERS, TooBusy
from community_directory.web.admin.policy import RowData
from community_directory.web.admin.rows import answer_error
from community_directory.web.admin.sign_in import (
    MFA_SWITCHED_OFF,
    PASSWORDS_DIFFER,
    NewPasswordRequired,
    SignIn,
    change_password,
    read_credentials,
    set_sign_in_cookies,
)
from community_directory.web.admin.users import PanelUser
from community_directory.web.sessions import SESSION_COOKIE

logger = logging.getLogger(__name__)


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
    sign_in = SignIn(settings, providers)

    class SignInEndpoint(HTTPEndpoint):
        async def get(self, _: Request) -> Response:
            """Redirect to the panel, which leads to the sign-in page."""
            return RedirectResponse("../../")

        async def post(self, request: Request) -> Response:
            credentials = await read_credentials(
                request, "username", "password", "mfa_code", "new_password"
            )
            try:
                _, token = await sign_in(request, credentials)
            except NewPasswordRequired as refusal:
                answer = {"detail": refusal.detail, "code": "new_password_required"}
                return JSONResponse(answer, refusal.status_code)
            response = JSONResponse({"message": "logged in"})
            await set_sign_in_cookies(
                request, response, settings, username=credentials["username"], token=token
            )
            return response

    return SignInEndpoint


def _change_password_endpoint(settings: Settings) -> type[HTTPEndpoint]:
    login_url = "./../../public/login/"
    base: Any = change_password_form(login_url=login_url)

    class ChangePassword(base):  # type: ignore[misc]  # a class that piccolo_api makes at run time
        async def post(self, request: Request) -> Response:
            form = await read_credentials(
                request, "current_password", "new_password", "confirm_new_password"
            )
            if len(form) < 3:
                raise HTTPException(422, "Fill in all fields.")
            if form["new_password"] != form["confirm_new_password"]:
                raise HTTPException(422, PASSWORDS_DIFFER)
            await change_password(
                request,
                request.user.user,
                settings,
                password=form["current_password"],
                new_password=form["new_password"],
            )
            response = RedirectResponse(login_url, 303)
            response.delete_cookie(SESSION_COOKIE)
            return response

    return ChangePassword


def _mfa_setup_endpoint(provider: MFAProvider) -> type[HTTPEndpoint]:
    base: Any = mfa_setup(provider=provider, auth_table=PanelUser)

    class MFASetup(base):  # type: ignore[misc]  # a class that piccolo_api makes at run time
        async def get(self, request: Request) -> Response:
            return _remove_blocked_content(await super().get(request))

        async def post(self, request: Request) -> Response:
            await read_credentials(request, "action", "password")
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
