"""The panel's authentication: its endpoint for the sign-in.

Triggers, which are in the migrations of this folder, end a session when its user's password or
rights change, and keep at least one superuser.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from piccolo.apps.user.tables import BaseUser
from piccolo_admin.endpoints import AdminRouter
from piccolo_api.mfa.provider import MFAProvider
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import (
    JSONResponse,
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
from community_directory.web.admin.hashing import KNOWN_BROWSERS
from community_directory.web.admin.policy import RowData
from community_directory.web.admin.rows import answer_error
from community_directory.web.admin.sign_in import (
    NewPasswordRequired,
    SignIn,
    read_credentials,
    set_sign_in_cookies,
)

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
    """Replace the sign-in of Piccolo Admin, and let its apps answer errors as ours.

    Raises:
        IncompatiblePiccoloAdmin: An endpoint is not where it is expected.
    """
    # The app of the API is wrapped in the authentication.
    private = _find_route(panel.routes, "/api").app.app
    public = _find_route(panel.routes, "/public").app
    _find_route(public.routes, "/login").app = _sign_in_endpoint(settings, providers)
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
