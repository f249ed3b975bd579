"""One's own account: language, password, second factor and sessions."""

from babel import Locale
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from community_directory.database import Statement, engine
from community_directory.language import LANGUAGES
from community_directory.web.admin.hashing import KNOWN_BROWSERS
from community_directory.web.admin.second_factor import PanelSecret, mfa_providers
from community_directory.web.admin.sign_in import (
    MFA_SWITCHED_OFF,
    PASSWORDS_DIFFER,
    change_password,
    confirm_password,
    read_credentials,
)
from community_directory.web.admin.users import PanelUser
from community_directory.web.pages import (
    SIGN_IN_PATH,
    PageContent,
    Pages,
    Role,
    Visit,
    find_theme,
)
from community_directory.web.sessions import SESSION_COOKIE, end_sessions, list_sessions
from community_directory.web.workspace.sign_in import explain_refusals

ME_PATH = "/me/"
BACK_TO_ME = f"{SIGN_IN_PATH}?next={ME_PATH}"

GET_ACCOUNT = Statement(
    """
    SELECT email, EXISTS (
        SELECT FROM public.authenticator_secret
        WHERE user_id = :user_id AND revoked_at IS NULL
    ) AS has_second_factor
    FROM public.piccolo_user WHERE id = :user_id
    """
)
LANGUAGE_NAMES = {
    code: str(Locale.parse(code).get_language_name(code)).capitalize() for code in LANGUAGES
}


class MyAccount:
    """The page, and what its forms do."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._authenticator = next(iter(mfa_providers(pages.settings)), None)

    async def build(self, visit: Visit) -> PageContent:
        """Build the page."""
        user_id = visit.user.user_id
        (account,) = await engine.fetch(GET_ACCOUNT, user_id=user_id)
        variables = {
            "email": account["email"],
            "has_second_factor": account["has_second_factor"],
            "may_have_second_factor": self._authenticator is not None,
            "sessions": await list_sessions(user_id, visit.request.cookies[SESSION_COOKIE]),
            "languages": LANGUAGE_NAMES,
            "chosen_theme": find_theme(visit.request),
        }
        return PageContent("me.html", variables)

    async def change_password(self, visit: Visit) -> Response:
        """Replace the password, which ends all sessions."""
        fields = await read_credentials(
            visit.request, "password", "new_password", "new_password_again"
        )
        if fields.get("new_password") != fields.get("new_password_again"):
            raise HTTPException(422, PASSWORDS_DIFFER)
        await change_password(
            visit.request,
            await self._load_user(visit),
            self._pages.settings,
            password=fields.get("password", ""),
            new_password=fields.get("new_password", ""),
        )
        notice = visit.gettext("Your password is changed. Sign in with the new one.")
        return self._leave(visit, notice)

    async def set_up_second_factor(self, visit: Visit) -> Response:
        """Set up the second factor, and show once what the authenticator app needs."""
        if self._authenticator is None:
            raise HTTPException(422, MFA_SWITCHED_OFF)
        user = await self._confirm(visit)
        if await self._authenticator.is_user_enrolled(user):
            return visit.redirect(ME_PATH)
        async with KNOWN_BROWSERS.turn():
            registration = await self._authenticator.register(user)
        content = PageContent("second_factor.html", {"registration": registration})
        return await self._pages.render(visit, content)

    async def remove_second_factor(self, visit: Visit) -> Response:
        """Remove the second factor."""
        user = await self._confirm(visit)
        await PanelSecret.revoke(user.id)
        return visit.redirect(ME_PATH, notice=visit.gettext("Your second factor is removed."))

    async def sign_out_everywhere(self, visit: Visit) -> Response:
        """End all sessions, also that of this browser."""
        await end_sessions(visit.user.user_id)
        return self._leave(visit, visit.gettext("You are signed out everywhere."))

    def _leave(self, visit: Visit, notice: str) -> Response:
        response = visit.redirect(BACK_TO_ME, notice=notice)
        response.delete_cookie(SESSION_COOKIE)
        return response

    async def _confirm(self, visit: Visit) -> PanelUser:
        fields = await read_credentials(visit.request, "password")
        user = await self._load_user(visit)
        await confirm_password(visit.request, user, fields["password"])
        return user

    async def _load_user(self, visit: Visit) -> PanelUser:
        user = await PanelUser.objects().get(PanelUser.id == visit.user.user_id)
        if user is None:  # deleted since the session was found
            raise HTTPException(401)
        return user


def routes(pages: Pages) -> list[Route]:
    """Return the routes of the page."""
    account = MyAccount(pages)
    forms = {
        "password": account.change_password,
        "second-factor": account.set_up_second_factor,
        "second-factor/remove": account.remove_second_factor,
        "sessions": account.sign_out_everywhere,
    }
    return [
        Route(ME_PATH, pages.page(account.build)),
        *(
            Route(
                f"{ME_PATH}{name}/",
                pages.act(
                    explain_refusals(pages, handle, again=account.build),
                    again=account.build,
                    role=Role.VIEWER,
                ),
                methods=["POST"],
            )
            for name, handle in forms.items()
        ),
    ]
