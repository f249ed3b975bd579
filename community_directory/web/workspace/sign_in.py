"""Signing in and out: the pages for all parts of the program, and what was typed meanwhile."""

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from community_directory.passwords import MAX_PASSWORD_LENGTH
from community_directory.web.admin.attempts import TooManyAttempts
from community_directory.web.admin.second_factor import mfa_providers
from community_directory.web.admin.sign_in import (
    MFA_CODE_REQUIRED,
    PASSWORDS_DIFFER,
    WRONG_CODE,
    NewPasswordRequired,
    SignIn,
    read_credentials,
    set_sign_in_cookies,
)
from community_directory.web.pages import (
    SIGN_IN_PATH,
    Build,
    Handle,
    PageContent,
    Pages,
    Role,
    Visit,
    Visitor,
    sign_in_page,
)
from community_directory.web.returning import KeptForm, find_own_path
from community_directory.web.sessions import SESSION_COOKIE, end_session, find_signed_in

FIELDS = ("username", "password", "mfa_code", "new_password", "new_password_again")


async def build_sign_in(visit: Visit) -> PageContent:
    """Build the page."""
    return sign_in_page(following=find_own_path(visit.query.get("next")))


async def sign_out(visit: Visit) -> Response:
    """End the session of the browser."""
    await end_session(visit.request.cookies.get(SESSION_COOKIE, ""))
    response = visit.redirect(SIGN_IN_PATH, notice=visit.gettext("You are signed out."))
    response.delete_cookie(SESSION_COOKIE)
    return response


def explain(visit: Visit, refusal: HTTPException) -> str:
    """Return why a sign-in or a change of a password was refused, as a sentence."""
    if isinstance(refusal, TooManyAttempts):
        return visit.ngettext(
            "Too many failed attempts. Try again in {minutes} minute.",
            "Too many failed attempts. Try again in {minutes} minutes.",
            refusal.minutes,
            minutes=refusal.minutes,
        )
    return visit.gettext(refusal.detail)


async def answer_refusal(
    pages: Pages, visit: Visit, refusal: HTTPException, again: Build
) -> Response:
    """Render the page with a form again, and say why it was refused."""
    visit.problem = explain(visit, refusal)
    response = await pages.build(visit, again, refusal.status_code)
    response.headers.update(refusal.headers or {})
    response.headers["HX-Push-Url"] = "false"
    return response


def explain_refusals(pages: Pages, handle: Handle, *, again: Build) -> Handle:
    """Return a handler that renders the page with the form again if a password is refused."""

    async def run(visit: Visit) -> Response:
        try:
            return await handle(visit)
        except HTTPException as refusal:
            return await answer_refusal(pages, visit, refusal, again)

    return run


class SignInPage:
    """The form for signing in, and the page after it."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._sign_in = SignIn(pages.settings, mfa_providers(pages.settings))

    async def handle(self, visit: Visit) -> Response:
        """Start a session, and go on to the page or the form that asked for it."""
        credentials: dict[str, str] = {}
        try:
            credentials = await read_credentials(visit.request, *FIELDS)
            repeated = credentials.pop("new_password_again", None)
            if repeated != credentials.get("new_password"):
                raise NewPasswordRequired(PASSWORDS_DIFFER)
            user_id, token = await self._sign_in(visit.request, credentials)
        except HTTPException as refusal:
            return await self._ask_again(visit, refusal, credentials)
        response = await self._go_on(visit, user_id, token)
        await set_sign_in_cookies(
            visit.request,
            response,
            self._pages.settings,
            username=credentials["username"],
            token=token,
        )
        return response

    async def _ask_again(
        self, visit: Visit, refusal: HTTPException, credentials: dict[str, str]
    ) -> Response:
        async def build(_: Visit) -> PageContent:
            return sign_in_page(
                following=find_own_path(visit.query.get("next")),
                kept=KeptForm.parse(visit.typed("kept")),
                username=visit.typed("username")[:MAX_PASSWORD_LENGTH],
                needs_code="mfa_code" in credentials
                or refusal.detail in (MFA_CODE_REQUIRED, WRONG_CODE),
                needs_password="new_password" in credentials
                or isinstance(refusal, NewPasswordRequired),
            )

        if refusal.detail == MFA_CODE_REQUIRED:  # the page asks for it
            return await self._pages.render(visit, await build(visit), refusal.status_code)
        return await answer_refusal(self._pages, visit, refusal, build)

    async def _go_on(self, visit: Visit, user_id: int, token: str) -> Response:
        following = find_own_path(visit.query.get("next"))
        kept = KeptForm.parse(visit.typed("kept"))
        if kept is None:
            # A script would put the next page into this one, which may be of another part.
            if "HX-Request" in visit.request.headers:
                location = visit.redirect(following).headers["location"]
                return Response(headers={"HX-Redirect": location})
            return visit.redirect(following)
        signed_in = await find_signed_in(token)
        if signed_in and signed_in.role:
            visit.visitor = Visitor(user_id, signed_in.username, Role(signed_in.role))
            if kept.user_id != user_id:
                visit.problem = visit.gettext(
                    "You are signed in as {username}, and somebody else may have typed this. "
                    "Read it before you send it.",
                    username=signed_in.username,
                )
        content = PageContent("continue.html", {"kept": kept, "following": following})
        return await self._pages.render(visit, content)


def routes(pages: Pages) -> list[Route]:
    """Return the routes of the pages."""
    sign_in = SignInPage(pages)
    return [
        Route(SIGN_IN_PATH, pages.page(build_sign_in, role=None), methods=["GET"]),
        Route(
            SIGN_IN_PATH,
            pages.act(sign_in.handle, again=build_sign_in, role=None),
            methods=["POST"],
        ),
        Route("/sign-out/", pages.act(sign_out, again=build_sign_in, role=None), methods=["POST"]),
    ]
