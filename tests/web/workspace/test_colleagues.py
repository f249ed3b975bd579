"""Colleagues: roles, invitations by a link, and who may change whom."""

import asyncio
import hashlib
import logging
import re
import threading
from typing import Any

import asyncpg
import httpx
import pytest
from piccolo.apps.user.tables import BaseUser
from piccolo_api.session_auth.tables import SessionsBase
from starlette.exceptions import HTTPException
from starlette.routing import Route

from community_directory.settings import Settings
from community_directory.web.admin import colleagues
from community_directory.web.admin.second_factor import mfa_providers
from community_directory.web.admin.users import RESERVED_USERNAMES
from community_directory.web.pages import Role
from community_directory.web.workspace.app import create_workspace
from community_directory.web.workspace.story_texts import PROGRAMS
from tests.queries.test_participation import blocked
from tests.waiting import until_blocked_by
from tests.web.conftest import ADDRESS, PASSWORD, add_superuser, session_of
from tests.web.workspace.test_sign_in import (
    OWN,
    WITH_MFA,
    app_with_mfa,
    is_in,
    open_browser,
    send,
    sign_in_as,
)

pytestmark = pytest.mark.usefixtures("fast_hashes", "directory")

NEW = {"username": "leila", "email": "leila@example.org", "role": "manager"}


async def add_user(username: str, *, is_viewer: bool = False, **rights: bool) -> BaseUser:
    user = await BaseUser.create_user(
        username, PASSWORD, email=f"{username}@x.org", **{"active": True, **rights}
    )
    if is_viewer:
        await BaseUser.raw("INSERT INTO panel_viewers VALUES ({})", user.id)
    return user


async def browser_of(user: BaseUser) -> httpx.AsyncClient:
    client = await open_browser()
    client.cookies.set("id", await session_of(user), domain="directory.example", path="/")
    return client


@pytest.fixture
async def superuser() -> httpx.AsyncClient:
    """The browser of Irene, who is the only superuser."""
    return await browser_of(await add_superuser("irene"))


async def stored(directory: asyncpg.Pool, username: str) -> Any:
    """Return the rights of a user: active, admin, superuser, and whether they are a viewer."""
    return await directory.fetchrow(
        "SELECT active, admin, superuser, EXISTS (SELECT FROM panel_viewers WHERE user_id = id)"
        " FROM piccolo_user WHERE username = $1",
        username,
    )


async def id_of(username: str) -> int:
    user = await BaseUser.objects().get(BaseUser.username == username)
    assert user
    return int(user.id)


async def invite(client: httpx.AsyncClient, **fields: str) -> str:
    """Invite a colleague, and return the path of the link."""
    response = await send(client, "/colleagues/", **{**NEW, **fields})
    assert response.status_code == 200, response.text
    (link,) = re.findall(rf'value="{ADDRESS}(/join/[^"]+/)"', response.text)
    return str(link)


async def join(link: str, password: str = OWN, again: str = OWN) -> httpx.Response:
    return await send(await open_browser(), link, new_password=password, new_password_again=again)


# Roles


async def test_a_viewer_reads_and_can_neither_act_nor_use_the_panel() -> None:
    viewer = await browser_of(await add_user("vera", is_viewer=True))
    assert await is_in(viewer)
    html = (await viewer.get("/me/")).text
    assert "Tables" not in html
    for path in ("/colleagues/", "/colleagues/1/"):
        assert (await viewer.get(path)).status_code == 403
    assert (await send(viewer, "/colleagues/", **NEW)).status_code == 403
    assert await BaseUser.count() == 1
    viewer.headers["X-CSRFToken"] = viewer.cookies["csrftoken"]
    for path in ("/admin/api/user/", "/admin/api/tables/community_members/"):
        assert (await viewer.get(path)).status_code in (401, 403)


@pytest.mark.parametrize("rights", [{}, {"superuser": True}, {"active": False}])
async def test_a_user_who_has_no_role_can_neither_sign_in_nor_read(
    rights: dict[str, bool],
) -> None:
    user = await add_user("nobody", is_viewer="active" in rights, **rights)
    response = await sign_in_as(await open_browser(), "nobody")
    assert (response.status_code, "has no role" in response.text) == (403, True)
    assert not await SessionsBase.exists()
    response = await (await browser_of(user)).get("/me/")
    assert response.status_code == (303 if "active" in rights else 403)


async def test_only_superusers_see_and_change_colleagues(superuser: httpx.AsyncClient) -> None:
    manager = await browser_of(await add_user("luis", admin=True))
    user_id = await id_of("irene")
    assert (await manager.get("/colleagues/")).status_code == 403
    assert (await manager.get(f"/colleagues/{user_id}/")).status_code == 403
    for name in (
        "role",
        "switch-off",
        "switch-on",
        "second-factor",
        "sessions",
        "link",
        "withdraw",
    ):
        response = await send(manager, f"/colleagues/{user_id}/{name}/", role="viewer")
        assert response.status_code == 403, name
    assert await is_in(superuser)


async def test_the_list_shows_each_user_with_role_and_state(superuser: httpx.AsyncClient) -> None:
    await add_user("vera", is_viewer=True)
    await add_user("luis", admin=True, active=False)
    await add_user("<b>ghost</b>")
    await invite(superuser)
    html = (await superuser.get("/colleagues/")).text
    rows = [
        re.sub(r"<[^>]+>|\s", " ", row).split()
        for row in re.findall(r"<tr><th scope=\"row\".*?</tr>", html, re.DOTALL)
    ]
    assert [(row[0], row[1], " ".join(row[2:4])) for row in rows] == [
        ("&lt;b&gt;ghost&lt;/b&gt;", "none", "Switched on"),
        ("irene", "Superuser", "Switched on"),
        ("vera", "Viewer", "Switched on"),
        ("leila", "Manager", "Invited; the"),
        ("luis", "Manager", "Switched off"),
    ]


@pytest.mark.parametrize(
    ("role", "rights"),
    [
        ("viewer", (True, False, False, True)),
        ("manager", (True, True, False, False)),
        ("superuser", (True, True, True, False)),
    ],
)
@pytest.mark.parametrize("before", ["viewer", "superuser", None])
async def test_a_role_is_changed_and_counts_at_once(
    superuser: httpx.AsyncClient,
    directory: asyncpg.Pool,
    role: str,
    rights: tuple[bool, ...],
    before: str | None,
) -> None:
    is_super = before == "superuser"
    user = await add_user("vera", is_viewer=before == "viewer", admin=is_super, superuser=is_super)
    vera = await browser_of(user)
    response = await send(superuser, f"/colleagues/{user.id}/role/", role=role)
    assert (response.status_code, response.headers["location"]) == (303, f"/colleagues/{user.id}/")
    assert tuple(await stored(directory, "vera")) == rights
    expected = {"viewer": {403, 303}, "manager": {403}, "superuser": {200}}
    assert (await vera.get("/colleagues/")).status_code in expected[role]


async def test_no_role_is_made_up(superuser: httpx.AsyncClient, directory: asyncpg.Pool) -> None:
    user = await add_user("vera", is_viewer=True)
    for role in ("owner", "", "Manager"):
        response = await send(superuser, f"/colleagues/{user.id}/role/", role=role)
        assert (response.status_code, "Choose a role." in response.text) == (422, True)
    assert tuple(await stored(directory, "vera")) == (True, False, False, True)
    for path in ("/colleagues/999/role/", f"/colleagues/{2**40}/role/", "/colleagues/999/"):
        response = await (
            superuser.get(path) if path.count("/") < 4 else send(superuser, path, role="viewer")
        )
        assert response.status_code in (404, 422), path


async def test_the_last_superuser_stays_and_nobody_locks_themselves_out(
    superuser: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    user_id = await id_of("irene")
    for name, fields, problem in (
        ("role", {"role": "manager"}, "This is the last superuser"),
        ("role", {"role": "viewer"}, "You can&#39;t take away your own access"),
        ("switch-off", {}, "You can&#39;t take away your own access"),
    ):
        response = await send(superuser, f"/colleagues/{user_id}/{name}/", **fields)
        assert (response.status_code, problem in response.text) == (422, True), response.text
    assert tuple(await stored(directory, "irene")) == (True, True, True, False)


async def test_a_colleague_is_switched_off_which_ends_their_sessions_and_on_again(
    superuser: httpx.AsyncClient,
) -> None:
    for user in (await add_user("luis", admin=True), await add_user("vera", is_viewer=True)):
        client = await browser_of(user)
        path = f"/colleagues/{user.id}"
        assert (await send(superuser, f"{path}/switch-off/")).status_code == 303
        assert not await SessionsBase.exists().where(SessionsBase.user_id == user.id)
        assert not await is_in(client)
        assert (await send(superuser, f"{path}/switch-off/")).status_code == 422
        assert (await send(superuser, f"{path}/switch-on/")).status_code == 303
        assert not await is_in(client)
        assert (await sign_in_as(await open_browser(), user.username)).status_code == 303


async def test_a_second_factor_is_reset_and_ones_own_is_not(directory: asyncpg.Pool) -> None:
    irene, luis = await add_superuser("irene"), await add_user("luis", admin=True)
    (provider,) = mfa_providers(WITH_MFA)
    for user in (irene, luis):
        await provider.register(user)
    superuser = await browser_of(irene)
    assert (await send(superuser, f"/colleagues/{irene.id}/second-factor/")).status_code == 422
    assert await provider.is_user_enrolled(irene)
    assert (await send(superuser, f"/colleagues/{luis.id}/second-factor/")).status_code == 303
    assert not await provider.is_user_enrolled(luis)
    client = await open_browser(app_with_mfa())
    assert (await sign_in_as(client, "luis")).status_code == 303


async def test_the_sessions_of_a_colleague_are_ended(superuser: httpx.AsyncClient) -> None:
    user = await add_user("luis", admin=True)
    client = await browser_of(user)
    assert (await send(superuser, f"/colleagues/{user.id}/sessions/")).status_code == 303
    assert not await is_in(client)
    assert await is_in(superuser)


# Invitations


@pytest.mark.parametrize("role", ["viewer", "manager", "superuser"])
async def test_an_invited_colleague_joins_with_a_password_of_their_own(
    superuser: httpx.AsyncClient, directory: asyncpg.Pool, role: str
) -> None:
    link = await invite(superuser, role=role)
    token = link.split("/")[2]
    assert await directory.fetchval("SELECT token_hash FROM panel_invitations") == (
        hashlib.sha256(token.encode()).digest()
    )
    assert not (await stored(directory, "leila"))["active"]
    assert (await sign_in_as(await open_browser(), "leila")).status_code == 401
    page = await (await open_browser()).get(link)
    assert (page.status_code, 'value="leila"' in page.text) == (200, True)

    response = await join(link)
    assert (response.status_code, response.headers["location"]) == (303, "/sign-in/")
    client = await open_browser()
    assert (await sign_in_as(client, "leila", password=OWN)).status_code == 303
    assert await is_in(client)
    assert (await client.get("/colleagues/")).status_code == (200 if role == "superuser" else 403)
    assert (await join(link, "quite some other words", "quite some other words")).status_code == 404
    assert await BaseUser.login("leila", OWN)


@pytest.mark.parametrize(
    ("password", "again", "problem"),
    [
        ("short", "short", "The password must have 12 to 128 characters."),
        ("leila leila leila", "leila leila leila", "too easy to guess"),
        (OWN, "another one", "Type the same new password twice."),
        ("", "", "Fill in the form&#39;s fields"),
        ("", OWN, "Type the same new password twice."),
    ],
)
async def test_a_bad_password_does_not_use_the_link_up(
    superuser: httpx.AsyncClient, password: str, again: str, problem: str
) -> None:
    link = await invite(superuser)
    response = await join(link, password, again)
    assert (response.status_code, problem in response.text) == (422, True), response.text
    assert 'value="leila"' in response.text
    assert (await join(link)).status_code == 303


async def test_of_two_who_use_a_link_at_once_one_joins(
    superuser: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    link = await invite(superuser)
    passwords = [f"{number} very own words" for number in range(6)]
    responses = await asyncio.gather(*(join(link, password, password) for password in passwords))
    assert sorted(response.status_code for response in responses) == [303] + [404] * 5
    joined = [await BaseUser.login("leila", password) is not None for password in passwords]
    assert joined == [response.status_code == 303 for response in responses]
    assert not await directory.fetch("SELECT FROM panel_invitations")


async def test_a_link_that_is_replaced_while_somebody_uses_it_is_worth_nothing(
    directory_url: str,
) -> None:
    user_id, link = await colleagues.invite(
        "leila", email="leila@example.org", role=Role.MANAGER, actor="irene"
    )
    change = "UPDATE piccolo_user SET superuser = true WHERE id = $1"
    async with blocked(directory_url, change, user_id) as other:
        joining = asyncio.create_task(colleagues.join(link, password=OWN, settings=Settings()))
        await until_blocked_by(other)
        new_link = await colleagues.renew_link(user_id)
        await other.execute("COMMIT")
        with pytest.raises(HTTPException) as refused:
            await joining
    assert refused.value.status_code == 404
    await colleagues.join(new_link, password=OWN, settings=Settings())


async def test_an_expired_a_replaced_and_a_withdrawn_link_are_worth_nothing(
    superuser: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    link = await invite(superuser)
    user_id = await id_of("leila")
    await directory.execute("UPDATE panel_invitations SET expires_at = now()")
    assert "The link has expired" in (await superuser.get("/colleagues/")).text
    response = await superuser.get(link)
    assert (response.status_code, "Ask whoever sent it" in response.text) == (404, True)
    assert (await join(link)).status_code == 404

    response = await send(superuser, f"/colleagues/{user_id}/link/")
    (renewed,) = re.findall(rf'value="{ADDRESS}(/join/[^"]+/)"', response.text)
    assert (await join(link)).status_code == 404
    assert (await superuser.get(renewed)).status_code == 200

    assert (await send(superuser, f"/colleagues/{user_id}/withdraw/")).status_code == 303
    assert (await join(renewed)).status_code == 404
    assert await stored(directory, "leila") is None


async def test_who_has_joined_can_neither_be_withdrawn_nor_get_a_link(
    superuser: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    assert (await join(await invite(superuser))).status_code == 303
    for username in ("leila", "irene"):
        path = f"/colleagues/{await id_of(username)}"
        assert (await send(superuser, f"{path}/link/")).status_code == 422
        assert (await send(superuser, f"{path}/withdraw/")).status_code == 422
    assert (await stored(directory, "leila"))["active"]


async def test_who_is_invited_can_not_be_switched_on(superuser: httpx.AsyncClient) -> None:
    link = await invite(superuser)
    path = f"/colleagues/{await id_of('leila')}/switch-on/"
    assert (await send(superuser, path)).status_code == 422
    assert (await join(link)).status_code == 303


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"username": ""}, "A username has 1 to 100 characters"),
        ({"username": "x" * 101}, "A username has 1 to 100 characters"),
        ({"username": "a\nb"}, "A username has 1 to 100 characters"),
        ({"username": "Irene"}, "This name is taken"),
        ({"username": "bot"}, "This name is taken"),
        ({"username": "Clock"}, "This name is taken"),
        ({"username": "#12"}, "This name is taken"),
        ({"username": "db:postgres"}, "This name is taken"),
        ({"email": "nowhere"}, "This is no e-mail address."),
        ({"email": "a b@example.org"}, "This is no e-mail address."),
        ({"email": "irene@directory.example"}, "This e-mail address belongs to another user."),
        ({"role": ""}, "Choose a role."),
    ],
)
async def test_a_refused_invitation_adds_nobody_and_keeps_what_was_typed(
    superuser: httpx.AsyncClient, fields: dict[str, str], problem: str
) -> None:
    sent = {**NEW, **fields}
    response = await send(superuser, "/colleagues/", **sent)
    assert (response.status_code, problem in response.text) == (422, True), response.text
    assert f'value="{sent["email"]}"' in response.text
    assert await BaseUser.count() == 1


def test_nobody_has_the_name_of_a_program_of_the_log() -> None:
    assert {name for name in PROGRAMS if ":" not in name} <= RESERVED_USERNAMES


async def test_no_page_hashes_on_the_thread_of_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await add_superuser("ana")
    threads: list[int] = []
    original = hashlib.pbkdf2_hmac

    def compute(*arguments: Any) -> bytes:
        threads.append(threading.get_ident())
        return original(*arguments)

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", compute)
    client = await open_browser(app_with_mfa())

    async def hashes(expected: int, response: httpx.Response) -> None:
        assert response.status_code in (200, 303)
        assert (len(threads), threading.get_ident() in threads) == (expected, False)
        threads.clear()

    await hashes(1, await sign_in_as(client))
    link = await invite(client)
    threads.clear()
    await hashes(1, await join(link))
    await hashes(9, await send(client, "/me/second-factor/", password=PASSWORD))
    await hashes(1, await send(client, "/me/second-factor/remove/", password=PASSWORD))
    new = {"new_password": OWN, "new_password_again": OWN}
    await hashes(2, await send(client, "/me/password/", password=PASSWORD, **new))


async def test_the_log_has_each_act_and_no_personal_data(
    superuser: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, colleagues.logger.name)
    link = await invite(superuser)
    user_id = await id_of("leila")
    await join(link)
    for name in ("role", "sessions", "second-factor", "switch-off", "switch-on"):
        await send(superuser, f"/colleagues/{user_id}/{name}/", role="viewer")
    lines = [
        record.getMessage() for record in caplog.records if record.name == colleagues.logger.name
    ]
    assert lines == [
        f"user:{user_id} is invited as manager",
        f"user:{user_id} has joined",
        f"The role of user:{user_id} is now viewer",
        f"The sessions of user:{user_id} are ended",
        f"The second factor of user:{user_id} is reset",
        f"user:{user_id} is switched off",
        f"user:{user_id} is switched on",
    ]
    assert link.split("/")[2] not in caplog.text


# All pages

OPEN_PATHS = {"/sign-in/", "/sign-out/", "/theme/", "/language/", "/join/1/"}
"""The paths that need no session."""


def paths_of(method: str) -> list[str]:
    """Return a path of each route of the workspace with this method."""
    routes = create_workspace(Settings()).routes
    found = {
        re.sub(r"{[^}]+}", "1", route.path)
        for route in routes
        if isinstance(route, Route) and method in (route.methods or ())
    }
    return sorted(found - OPEN_PATHS)


async def test_without_a_session_no_page_is_shown_and_nothing_is_done() -> None:
    client = await open_browser()
    for path in paths_of("GET"):
        response = await client.get(path, follow_redirects=True)
        assert (response.status_code, response.url.path) == (200, "/sign-in/"), path
    for path in paths_of("POST"):
        assert (await send(client, path)).status_code == 401, path


async def test_a_viewer_can_act_on_nothing_but_their_own_account() -> None:
    viewer = await browser_of(await add_user("vera", is_viewer=True))
    paths = [path for path in paths_of("POST") if not path.startswith("/me/")]
    assert len(paths) > 10
    for path in paths:
        assert (await send(viewer, path)).status_code == 403, path
