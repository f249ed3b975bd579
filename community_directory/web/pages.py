"""Server-rendered pages for signed-in people: templates, access, acts, and messages for errors.

A page is built from a `Visit`, which has the request, who is signed in, and their language. An act
is a POST with a CSRF token. Everything works without a script.
"""

import unicodedata
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape
from piccolo_api.csrf.middleware import CSRFMiddleware
from starlette.authentication import AuthenticationError
from starlette.datastructures import FormData, QueryParams
from starlette.exceptions import HTTPException
from starlette.middleware.base import RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Match

from community_directory.calendar import load_zone
from community_directory.errors import (
    InvalidCursor,
    InvitationNotFound,
    MemberNotFound,
    OperatorError,
    UserError,
)
from community_directory.language import LANGUAGES, Translation, find_translation
from community_directory.queries import members
from community_directory.settings import Settings
from community_directory.web.outage import report
from community_directory.web.returning import KeptForm, find_present_path
from community_directory.web.security import ADMIN_PATH
from community_directory.web.sessions import SESSION_COOKIE, find_signed_in, find_user_of_session

TEMPLATES_PATH = Path(__file__).parent / "templates"

SIGN_IN_PATH = "/sign-in/"

NOTICE_COOKIE, THEME_COOKIE, LANGUAGE_COOKIE = "notice", "theme", "language"
NOTICE_SECONDS = 60
"""The time within which the page after an act shows its notice."""
MAX_NOTICE_BYTES = 1000
"""The length of a notice: a cookie of more than 4,000 characters would be lost."""
THEMES = ("light", "dark")

NOT_FOUND_ERRORS = (InvalidCursor, InvitationNotFound, MemberNotFound)
"""The errors of a page whose address asks for what does not exist."""

# Bidirectional control characters change the direction of the text after a name. Neither <bdi>
# nor escaping prevents that.
BIDIRECTIONAL_CONTROLS = dict.fromkeys(
    map(ord, "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
)
CONTROL_CATEGORIES = ("Cc", "Cs", "Zl", "Zp")


class Role(StrEnum):
    """What somebody who is signed in may do; each role may do what the ones before it may."""

    VIEWER = "viewer"
    """Read the pages."""
    MANAGER = "manager"
    """Act, and use the tables."""
    SUPERUSER = "superuser"
    """Export and erase data, and decide who else may sign in."""

    def includes(self, other: "Role") -> bool:
        """Tell whether this role may do what the other one may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who is signed in."""

    user_id: int
    username: str
    role: Role


class FormRefused(UserError):
    """A form is refused for a reason of its page, told in the visitor's language."""

    code = "form_refused"


class PageContent(NamedTuple):
    """The content of a page: a template, its variables, and the status of the response."""

    template: str
    variables: Mapping[str, object]
    status: int = 200


@dataclass
class Visit:
    """A request to a page, with who is signed in and the language in which they read.

    Attributes:
        form: The fields of an act, or none.
        problem: The sentence that says why an act was refused, for the page that shows its form
            again.
    """

    request: Request
    translation: Translation
    visitor: Visitor | None = None
    form: FormData = field(default_factory=FormData)
    problem: str | None = None

    @property
    def user(self) -> Visitor:
        """Whoever is signed in."""
        if self.visitor is None:
            raise AuthenticationError
        return self.visitor

    @property
    def query(self) -> QueryParams:
        """The parameters of the address."""
        return self.request.query_params

    @property
    def root(self) -> str:
        """The path at which the app is mounted, without a slash at its end."""
        return str(self.request.scope.get("root_path", ""))

    @property
    def gettext(self) -> Callable[..., str]:
        """`Translation.gettext` of the visitor's language."""
        return self.translation.gettext

    @property
    def ngettext(self) -> Callable[..., str]:
        """`Translation.ngettext` of the visitor's language."""
        return self.translation.ngettext

    def typed(self, name: str) -> str:
        """Return a field of the form, without space around it; "" if it is missing or a file."""
        value = self.form.get(name)
        return value.strip() if isinstance(value, str) else ""

    def rich(self, text: str, /, **values: object) -> Markup:
        """Return the translation of a text with markup in the places of its names."""
        return self._fill(self.translation.gettext(text), values)

    def nrich(self, one: str, many: str, number: int, /, **values: object) -> Markup:
        """Return the translation of a text for a number, with markup in its names' places."""
        return self._fill(self.translation.ngettext(one, many, number), values)

    def _fill(self, text: str, values: Mapping[str, object]) -> Markup:
        shown = {
            name: value if hasattr(value, "__html__") else self.translation.show(value)
            for name, value in values.items()
        }
        return escape(text).format(**shown)

    def explain(self, error: UserError) -> str:
        """Return the sentence of an error in the visitor's language."""
        if isinstance(error, FormRefused):
            return str(error)
        return self.translation.error(error)

    def may(self, role: Role | str) -> bool:
        """Tell whether the visitor may do what a role may."""
        return self.visitor is not None and self.visitor.role.includes(Role(role))

    def redirect(self, path: str, *, notice: str | None = None) -> Response:
        """Return a redirect to a page of ours, which shows the notice once.

        Args:
            path: The path and the query of the page, without the root.
            notice: What was done, in the visitor's language.
        """
        response = RedirectResponse(self.root + path, status_code=303)
        if notice:
            text = quote(notice.encode()[:MAX_NOTICE_BYTES].decode(errors="ignore"))
            response.set_cookie(
                NOTICE_COOKIE, text, max_age=NOTICE_SECONDS, httponly=True, samesite="lax"
            )
        return response


Build = Callable[[Visit], Awaitable[PageContent | Response]]
"""A function that makes a page, or redirects to another one."""
Handle = Callable[[Visit], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


def message_page(heading: str, message: str, status: int) -> PageContent:
    """Return a page with one message."""
    return PageContent("message.html", {"heading": heading, "message": message}, status)


class Pages:
    """Makes endpoints of pages and acts, which only those who are signed in may use."""

    def __init__(self, settings: Settings) -> None:
        self._templates = Environment(
            loader=FileSystemLoader(TEMPLATES_PATH),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(site_name=settings.site_name, now=_now)
        self._templates.filters.update(FILTERS)
        self.settings = settings

    def page(self, build: Build, *, role: Role | None = Role.VIEWER) -> Endpoint:
        """Return an endpoint that renders a page.

        A visitor without a session is redirected to the sign-in page, which leads back. A user who
        lacks the role gets a message, and so does everybody while the database is unavailable.

        Args:
            build: Builds the page.
            role: The role that a visitor needs; None for a page that needs no session.
        """

        async def answer(request: Request) -> Response:
            visit = Visit(request, find_language(request))
            return await self._answer(visit, role, lambda: self.build(visit, build))

        return answer

    def act(self, handle: Handle, *, again: Build, role: Role | None = Role.MANAGER) -> Endpoint:
        """Return an endpoint for a POST, after which the visitor is sent on to a page.

        A user's error renders the page with the form again: `visit.problem` says why, and
        `visit.form` has what was typed. A visitor whose session has ended gets the sign-in page,
        which keeps what was typed.

        Args:
            handle: Does what the form asks for.
            again: Builds the page with the form.
            role: The role that a visitor needs; None for a form that needs no session.
        """

        async def run(visit: Visit) -> Response:
            try:
                return await handle(visit)
            except UserError as error:
                visit.problem = visit.explain(error)
                response = await self.build(visit, again, status=422)
                response.headers["HX-Push-Url"] = "false"
                return response

        async def answer(request: Request) -> Response:
            visit = Visit(request, find_language(request), form=request.scope["form"])
            return await self._answer(visit, role, lambda: run(visit))

        return answer

    async def _answer(
        self, visit: Visit, role: Role | None, respond: Callable[[], Awaitable[Response]]
    ) -> Response:
        try:
            if role is None:
                return await respond()
            visit.visitor = await find_visitor(visit.request)
            if visit.visitor is None:
                return await self.render(visit, _refuse_account(visit))
            if not visit.may(role):
                return await self.render(visit, _refuse_role(visit))
            return await respond()
        except AuthenticationError:
            return await self._ask_to_sign_in(visit)
        except OperatorError as error:
            heading = visit.gettext("This page is not available right now")
            report(error)
            text = visit.translation.error(error)
            return await self.render(visit, message_page(heading, text, 503))

    async def build(self, visit: Visit, build: Build, status: int | None = None) -> Response:
        """Return a page, or a message if it can't be built, or where it redirects to."""
        try:
            content = await build(visit)
        except UserError as error:
            found = 404 if isinstance(error, NOT_FOUND_ERRORS) else 400
            heading = (
                visit.gettext("There is no such page")
                if found == 404
                else visit.gettext("The address has a mistake")
            )
            content = message_page(heading, visit.explain(error), found)
        if isinstance(content, Response):
            return content
        return await self.render(visit, content, status)

    async def render(
        self, visit: Visit, content: PageContent, status: int | None = None
    ) -> Response:
        """Return a page, with the notice of the act before it."""
        html = self._templates.get_template(content.template).render(
            visit=visit,
            root=visit.root,
            panel=f"{visit.root}{ADMIN_PATH}/",
            waiting=await self._count_newcomers(visit),
            notice=unquote(visit.request.cookies.get(NOTICE_COOKIE, "")),
            theme=find_theme(visit.request),
            csrf_token=visit.request.scope.get("csrftoken", ""),
            gettext=visit.gettext,
            ngettext=visit.ngettext,
            rich=visit.rich,
            nrich=visit.nrich,
            **content.variables,
        )
        response = HTMLResponse(html, status or content.status)
        response.headers["Cache-Control"] = "no-store"
        response.headers["Vary"] = "Accept-Language, Cookie"
        if NOTICE_COOKIE in visit.request.cookies:
            response.delete_cookie(NOTICE_COOKIE)
        return response

    async def answer_missing(self, request: Request, _: Exception) -> Response:
        """Answer a request to an address that no page has."""
        visit = Visit(request, find_language(request))
        heading = visit.gettext("There is no such page")
        text = visit.gettext("Check the address, or start from Home.")
        return await self.render(visit, message_page(heading, text, 404))

    async def answer_wrong_method(self, request: Request, error: Exception) -> Response:
        """Lead from the address of a form to the page above it, such as after a reload."""
        path, top = request.scope["path"], request.scope.get("root_path", "") + "/"
        while request.method in ("GET", "HEAD") and path not in (top, "/"):
            path = path.rstrip("/").rpartition("/")[0] + "/"
            scope = {**request.scope, "path": path}
            if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes):
                return RedirectResponse(path, status_code=303)
        return await self.answer_missing(request, error)

    async def answer_failure(self, request: Request, _: Exception) -> Response:
        """Answer a request that failed for a reason nobody foresaw; the log has the traceback."""
        visit = Visit(request, find_language(request))
        heading = visit.gettext("Something went wrong")
        text = visit.gettext("The page could not be made. Go back and look at what was changed.")
        return await self.render(visit, message_page(heading, text, 500))

    async def _count_newcomers(self, visit: Visit) -> int:
        """Return the number of newcomers, which the navigation shows; 0 on a message."""
        if visit.visitor is None:
            return 0
        try:
            return await members.count(status="pending")
        except OperatorError:
            return 0

    async def _ask_to_sign_in(self, visit: Visit) -> Response:
        """Lead to the sign-in page, and back from there; keep the fields of a form.

        htmx replaces a part of a page with a response, but the sign-in replaces the page.
        """
        request = visit.request
        query = f"?{request.url.query}" if request.url.query else ""
        path = request.url.path.removeprefix(visit.root) + query
        is_partial = "HX-Request" in request.headers and "HX-Boosted" not in request.headers
        if request.method != "POST":
            if is_partial:
                path = find_present_path(request, request.headers.get("HX-Current-URL", ""))
            address = f"{visit.root}{SIGN_IN_PATH}?next={quote(path, safe='')}"
            if is_partial:
                return Response(headers={"HX-Redirect": address})
            return RedirectResponse(address, status_code=303)
        user_id = await find_user_of_session(request.cookies.get(SESSION_COOKIE, ""))
        kept = KeptForm.make(path, user_id, visit.form)
        following = find_present_path(request, request.headers.get("referer", ""))
        response = await self.render(visit, sign_in_page(following=following, kept=kept), 401)
        response.headers.update({"HX-Retarget": "body", "HX-Reswap": "innerHTML"})
        response.headers["HX-Push-Url"] = "false"
        return response


def sign_in_page(
    *,
    following: str,
    kept: KeptForm | None = None,
    username: str = "",
    needs_code: bool = False,
    needs_password: bool = False,
) -> PageContent:
    """Return the sign-in page.

    Args:
        following: The path and query of the page after the sign-in.
        kept: A form to send after the sign-in.
        username: The name that was typed.
        needs_code: Ask for a code of the second factor, too.
        needs_password: Ask for a password that replaces a temporary one, too.
    """
    kept_text = kept.to_json() if kept and kept.group() else ""
    variables = {
        "following": following,
        "kept": kept_text or "",
        "is_lost": kept_text is None,
        "username": username,
        "needs_code": needs_code,
        "needs_password": needs_password,
    }
    return PageContent("sign_in.html", variables)


class CSRFProtection(CSRFMiddleware):
    """Piccolo's check of the CSRF token, in a header or a form, with a page for a refusal.

    The fields of the form are in `request.scope["form"]` afterwards.
    """

    def __init__(self, app: Any, pages: Pages) -> None:
        super().__init__(
            app, allowed_hosts=pages.settings.allowed_hosts or [], allow_form_param=True
        )
        self._pages = pages

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        """Pass a request on, or answer that its form can't be accepted."""
        is_passed = False

        async def pass_on(request: Request) -> Response:
            nonlocal is_passed
            if "form" not in request.scope:  # the token was in the header
                request.scope["form"] = await request.form()
            is_passed = True
            return await call_next(request)

        try:
            response: Response = await super().dispatch(request, pass_on)
            if is_passed:
                return response
        except HTTPException:  # the body is no form
            if is_passed:
                raise
        visit = Visit(request, find_language(request))
        text = visit.gettext(
            "Nothing was changed. Go back, load the page again, and send the form once more."
        )
        heading = visit.gettext("This form can't be accepted")
        return await self._pages.render(visit, message_page(heading, text, 403))


async def find_visitor(request: Request) -> Visitor | None:
    """Return whoever is signed in, or None if they have no role.

    Raises:
        AuthenticationError: Nobody is signed in, or the session has ended.
        OperatorError: The database is not available.
    """
    token = request.cookies.get(SESSION_COOKIE)
    signed_in = await find_signed_in(token) if token else None
    if signed_in is None:
        raise AuthenticationError
    request.scope["user_id"] = signed_in.user_id  # the log names it
    if signed_in.role is None:
        return None
    return Visitor(signed_in.user_id, signed_in.username, Role(signed_in.role))


def _refuse_account(visit: Visit) -> PageContent:
    return message_page(
        visit.gettext("You may not read these pages"),
        visit.gettext("Your account has no role. Ask a superuser to give you one."),
        403,
    )


def _refuse_role(visit: Visit) -> PageContent:
    return message_page(
        visit.gettext("You may not do this"),
        visit.gettext("Your account may read, but not change this. Ask a superuser."),
        403,
    )


def find_language(request: Request) -> Translation:
    """Return the language that was chosen, or the first of the browser's that there is."""
    chosen = request.cookies.get(LANGUAGE_COOKIE)
    accepted = request.headers.get("accept-language", "")
    for code in (chosen, *(part.partition(";")[0].strip() for part in accepted.split(","))):
        if code and code.replace("_", "-").partition("-")[0].lower() in LANGUAGES:
            return find_translation(code)
    return find_translation(None)


def find_theme(request: Request) -> str | None:
    """Return the chosen theme, or None for that of the system."""
    theme = request.cookies.get(THEME_COOKIE)
    return theme if theme in THEMES else None


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


def _now() -> datetime:
    return datetime.now(load_zone(None))


def _by_language(show: Callable[[Translation, Any], str]) -> Callable[..., str]:
    """Return a filter that shows a value in the language of the visit."""

    @pass_context
    def show_value(context: Context, value: object) -> str:
        return show(context["visit"].translation, value)

    return show_value


def _show_distance(translation: Translation, moment: datetime) -> str:
    return translation.format_distance(moment - _now())


def label(name: str) -> str:
    """Return a name from the data as words: "community_members" has two."""
    return name.replace("_", " ")


FILTERS: Mapping[str, Callable[..., object]] = {
    "ago": _by_language(_show_distance),
    "brief": _by_language(Translation.format_brief_number),
    "clean": clean_name,
    "clock": _by_language(Translation.format_clock),
    "country": _by_language(Translation.country),
    "day": _by_language(Translation.format_short_date),
    "daytime": _by_language(Translation.format_short_datetime),
    "duration": _by_language(Translation.format_duration),
    "label": label,
    "month": _by_language(partial(Translation.format_month, with_year=True)),
    "number": _by_language(Translation.format_number),
    "percent": _by_language(Translation.format_percent),
    "role": _by_language(Translation.role),
    "signed_percent": _by_language(Translation.format_signed_percent),
    "word": _by_language(Translation.word),
}
