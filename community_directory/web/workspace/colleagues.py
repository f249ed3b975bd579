"""Colleagues: who may sign in, in which role; and the page with which an invited one joins."""

from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from community_directory.web.admin import colleagues
from community_directory.web.admin.sign_in import PASSWORDS_DIFFER, read_credentials
from community_directory.web.pages import (
    SIGN_IN_PATH,
    Build,
    Handle,
    PageContent,
    Pages,
    Role,
    Visit,
    message_page,
)
from community_directory.web.workspace.sign_in import explain_refusals

COLLEAGUES_PATH = "/colleagues/"


async def build_list(_: Visit) -> PageContent:
    """Build the list, with the form for an invitation."""
    variables = {"colleagues": await colleagues.list_all(), "roles": list(Role)}
    return PageContent("colleagues.html", variables)


async def build_colleague(visit: Visit) -> PageContent:
    """Build the page of one colleague."""
    return await _build_colleague(visit, link=None)


async def _build_colleague(visit: Visit, *, link: str | None) -> PageContent:
    colleague = await colleagues.get(visit.request.path_params["user_id"])
    variables = {"colleague": colleague, "roles": list(Role), "link": link}
    return PageContent("colleague.html", variables)


async def set_role(visit: Visit, user_id: int) -> str:
    """Give a colleague another role."""
    role = colleagues.parse_role(visit.typed("role"))
    await colleagues.set_role(user_id, role, actor=visit.user.username)
    return visit.gettext("The role is changed.")


async def switch_off(visit: Visit, user_id: int) -> str:
    """Take away access."""
    await colleagues.switch(user_id, is_active=False, actor=visit.user.username)
    return visit.gettext("The account is switched off, and its sessions have ended.")


async def switch_on(visit: Visit, user_id: int) -> str:
    """Give access back."""
    await colleagues.switch(user_id, is_active=True, actor=visit.user.username)
    return visit.gettext("The account is switched on.")


async def reset_second_factor(visit: Visit, user_id: int) -> str:
    """Remove the second factor of somebody who lost it."""
    await colleagues.reset_second_factor(user_id, actor_id=visit.user.user_id)
    return visit.gettext("The second factor is removed. They can set up another one.")


async def sign_out(visit: Visit, user_id: int) -> str:
    """End the sessions of a colleague."""
    await colleagues.sign_out(user_id)
    return visit.gettext("All their sessions have ended.")


ACTS: dict[str, Callable[[Visit, int], Awaitable[str]]] = {
    "role": set_role,
    "switch-off": switch_off,
    "switch-on": switch_on,
    "second-factor": reset_second_factor,
    "sessions": sign_out,
}
"""What a form of a colleague's page does, by the last part of its path; returns the notice."""


def make_handler(act: Callable[[Visit, int], Awaitable[str]]) -> Handle:
    """Return a handler that does this to the colleague of the path, and goes back to the page."""

    async def handle(visit: Visit) -> Response:
        user_id = visit.request.path_params["user_id"]
        notice = await act(visit, user_id)
        return visit.redirect(f"{COLLEAGUES_PATH}{user_id}/", notice=notice)

    return handle


async def withdraw(visit: Visit) -> Response:
    """Withdraw an invitation."""
    await colleagues.withdraw(visit.request.path_params["user_id"])
    notice = visit.gettext("The invitation is withdrawn.")
    return visit.redirect(COLLEAGUES_PATH, notice=notice)


async def build_join(visit: Visit) -> PageContent:
    """Build the page on which an invited colleague chooses a password."""
    try:
        invited = await colleagues.find_invited(visit.request.path_params["token"])
    except HTTPException as refusal:
        heading = visit.gettext("This link is not valid")
        visit.problem = None
        return message_page(heading, visit.gettext(refusal.detail), 404)
    return PageContent("join.html", {"username": invited.username})


def routes(pages: Pages) -> list[Route]:
    """Return the routes of the pages."""

    async def invite(visit: Visit) -> Response:
        """Add a colleague, and show the link, which nobody can show again."""
        user_id, token = await colleagues.invite(
            visit.typed("username"),
            email=visit.typed("email"),
            role=colleagues.parse_role(visit.typed("role")),
            actor=visit.user.username,
        )
        return await show_link(visit, user_id, token)

    async def renew_link(visit: Visit) -> Response:
        user_id = visit.request.path_params["user_id"]
        return await show_link(visit, user_id, await colleagues.renew_link(user_id))

    async def show_link(visit: Visit, user_id: int, token: str) -> Response:
        visit.request.path_params["user_id"] = user_id
        url = visit.request.url
        link = f"{url.scheme}://{url.netloc}{visit.root}/join/{token}/"
        response = await pages.render(visit, await _build_colleague(visit, link=link))
        response.headers["HX-Push-Url"] = "false"
        return response

    async def join(visit: Visit) -> Response:
        """Store the password that an invited colleague has chosen."""
        fields = await read_credentials(visit.request, "new_password", "new_password_again")
        if fields.get("new_password") != fields.get("new_password_again"):
            raise HTTPException(422, PASSWORDS_DIFFER)
        token = visit.request.path_params["token"]
        await colleagues.join(token, password=fields["new_password"], settings=pages.settings)
        notice = visit.gettext("Your account is ready. Sign in with your new password.")
        return visit.redirect(SIGN_IN_PATH, notice=notice)

    def page(path: str, build: Build, role: Role | None = Role.SUPERUSER) -> Route:
        return Route(path, pages.page(build, role=role), methods=["GET"])

    def form(path: str, handle: Handle, again: Build, role: Role | None = Role.SUPERUSER) -> Route:
        endpoint = pages.act(explain_refusals(pages, handle, again=again), again=again, role=role)
        return Route(path, endpoint, methods=["POST"])

    one = f"{COLLEAGUES_PATH}{{user_id:int}}/"
    return [
        page(COLLEAGUES_PATH, build_list),
        form(COLLEAGUES_PATH, invite, build_list),
        page(one, build_colleague),
        form(f"{one}link/", renew_link, build_colleague),
        form(f"{one}withdraw/", withdraw, build_colleague),
        *(form(f"{one}{name}/", make_handler(act), build_colleague) for name, act in ACTS.items()),
        page("/join/{token}/", build_join, role=None),
        form("/join/{token}/", join, build_join, role=None),
    ]
