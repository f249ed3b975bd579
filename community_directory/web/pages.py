"""Server-rendered pages for signed-in managers: templates, access, and error messages.

The pages need no script. They use the sign-in and the sessions of the panel.
"""

import unicodedata
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from piccolo_api.session_auth.middleware import SessionsAuthBackend
from starlette.authentication import AuthenticationError
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from community_directory.errors import OperatorError, database_errors
from community_directory.settings import Settings
from community_directory.web.outage import report
from community_directory.web.security import ADMIN_PATH, SESSION_EXTENSION

TEMPLATES_PATH = Path(__file__).parent / "templates"

# Users without the right "admin" are authenticated too, so that a message can say what they lack.
SESSIONS = SessionsAuthBackend(admin_only=False, increase_expiry=SESSION_EXTENSION)

# Bidirectional control characters change the direction of the text after a name. Neither <bdi>
# nor escaping prevents that.
BIDIRECTIONAL_CONTROLS = dict.fromkeys(
    map(ord, "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
)
CONTROL_CATEGORIES = ("Cc", "Cs", "Zl", "Zp")


class PageContent(NamedTuple):
    """The content of a page: a template, its variables, and the status of the response."""

    template: str
    variables: Mapping[str, object]
    status: int = 200


def message_page(heading: str, message: str, status: int, *, pick: bool = False) -> PageContent:
    """Return a page with one message; with `pick` it also has the field that picks a member."""
    variables = {"heading": heading, "message": message, "pick": pick}
    return PageContent("message.html", variables, status)


class ManagerPages:
    """Renders pages that only managers may see, below the path at which they are mounted."""

    def __init__(self, settings: Settings, path: str) -> None:
        self._path = path
        self._templates = Environment(
            loader=FileSystemLoader(TEMPLATES_PATH),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(site_name=settings.site_name)
        self._templates.filters.update(
            clean=clean_name,
            number="{:,}".format,
            brief=abbreviate,
            label=lambda name: name.replace("_", " "),
        )

    def endpoint(
        self, build: Callable[[Request], Awaitable[PageContent]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return an endpoint that renders a page for managers.

        A visitor without a session is redirected to the sign-in form, which leads back to the
        page. A user without the right "admin" gets a message, and so does everybody while the
        database is unavailable.
        """

        async def answer(request: Request) -> Response:
            try:
                page = await self._build_for_manager(request, build)
            except AuthenticationError:
                return self._redirect_to_sign_in(request)
            except OperatorError as error:
                page = message_page("This page is not available right now", report(error), 503)
            root = request.scope.get("root_path", "")
            html = self._templates.get_template(page.template).render(
                root=root, panel=self._panel_path(root), **page.variables
            )
            return HTMLResponse(html, page.status, headers={"Cache-Control": "no-store"})

        return answer

    async def _build_for_manager(
        self, request: Request, build: Callable[[Request], Awaitable[PageContent]]
    ) -> PageContent:
        with database_errors():
            _, user = await SESSIONS.authenticate(request) or (None, None)
        request.scope["user"] = user  # the log names the user's id
        if user is None or not user.user.admin:
            return message_page(
                "This page is for managers",
                "Your account lacks the right “admin”. Ask a superuser to give it to you.",
                403,
            )
        return await build(request)

    def _redirect_to_sign_in(self, request: Request) -> Response:
        root = request.scope.get("root_path", "")
        requested = quote(self._path + request.url.path.removeprefix(root), safe="")
        return RedirectResponse(
            f"{self._panel_path(root)}#/login?nextURL={requested}", status_code=303
        )

    def _panel_path(self, root: str) -> str:
        return f"{root.removesuffix(self._path)}{ADMIN_PATH}/"


def clean_name(name: str) -> str:
    """Return a name without characters that change how the text around it is shown.

    The template escapes it.
    """
    kept = (
        character
        for character in name.translate(BIDIRECTIONAL_CONTROLS)
        if unicodedata.category(character) not in CONTROL_CATEGORIES
    )
    return "".join(kept).strip() or "—"


def abbreviate(number: int) -> str:
    """Return a number for a narrow column.

    From 10,000 on it is cut to whole thousands (k), millions (M) or billions (G).
    """
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= max(size, 10_000):
            return f"{number // size:,}{unit}"
    return f"{number:,}"
