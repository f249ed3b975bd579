"""The page of one's own account: password, second factor, sessions and language."""

import re
from typing import Any

import asyncpg
import httpx
import pytest
from piccolo.apps.user.tables import BaseUser
from piccolo_api.session_auth.tables import SessionsBase

from community_directory.database import act_as, transaction
from community_directory.web.admin import attempts, sign_in
from community_directory.web.admin.attempts import ADDRESS_LIMIT
from community_directory.web.admin.sign_in import WRONG_PASSWORD
from tests.web.conftest import PASSWORD, add_superuser, session_of
from tests.web.workspace.test_sign_in import (
    ANOTHER,
    OWN,
    app_with_mfa,
    is_in,
    open_browser,
    send,
    sign_in_as,
)

pytestmark = pytest.mark.usefixtures("fast_hashes", "directory")


@pytest.fixture(autouse=True)
def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "MAX_DELAY_SECONDS", 0.001)


@pytest.fixture
async def ana() -> httpx.AsyncClient:
    """Ana's browser, in a workspace with the second factor."""
    await add_superuser("ana")
    client = await open_browser(app_with_mfa())
    assert (await sign_in_as(client)).status_code == 303
    return client


async def change_password(
    client: httpx.AsyncClient, password: str = PASSWORD, new: str = OWN, again: str = OWN
) -> httpx.Response:
    fields = {"password": password, "new_password": new, "new_password_again": again}
    return await send(client, "/me/password/", **fields)


async def test_the_page_shows_the_account_and_its_sessions(ana: httpx.AsyncClient) -> None:
    user = await BaseUser.objects().first()
    assert user
    await session_of(user)
    html = (await ana.get("/me/")).text
    assert "Superuser · ana@directory.example" in html
    sessions = re.findall(r"<li><div>Since .*</li>", html)
    assert ["this browser" in session for session in sessions] == [True, False]
    assert ana.cookies["id"] not in html


async def test_a_new_password_ends_all_sessions(ana: httpx.AsyncClient) -> None:
    response = await change_password(ana)
    assert (response.status_code, response.headers["location"]) == (303, "/sign-in/?next=/me/")
    assert not await SessionsBase.exists()
    assert not await is_in(ana)
    assert (await sign_in_as(ana)).status_code == 401
    assert (await sign_in_as(ana, password=OWN)).status_code == 303


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"password": "a wrong password"}, WRONG_PASSWORD),
        ({"password": ""}, WRONG_PASSWORD),
        ({"again": "something else"}, "Type the same new password twice."),
        ({"new": "short", "again": "short"}, "The password must have 12 to 128 characters."),
        ({"new": "Community Directory", "again": "Community Directory"}, "too easy to guess"),
        ({"new": "ana ana ana ana", "again": "ana ana ana ana"}, "too easy to guess"),
        ({"new": "", "again": ""}, "The password must have 12 to 128 characters."),
        ({"password": "x" * 129}, "at most 128 characters each."),
    ],
)
async def test_a_password_is_not_changed_without_the_present_one_and_a_good_one(
    ana: httpx.AsyncClient, fields: dict[str, str], problem: str
) -> None:
    response = await change_password(ana, **fields)
    assert (response.status_code, problem in response.text) == (422, True)
    assert await is_in(ana)
    assert await BaseUser.login("ana", PASSWORD)


async def test_a_password_that_somebody_else_has_set_in_the_meantime_stays(
    ana: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    confirm = sign_in.confirm_password

    async def confirm_in_time(*arguments: Any) -> Any:
        confirmed = await confirm(*arguments)
        async with transaction():
            await act_as("eva")
            await BaseUser.update_password("ana", ANOTHER)
        return confirmed

    monkeypatch.setattr(sign_in, "confirm_password", confirm_in_time)
    response = await change_password(ana)
    assert response.status_code == 422
    assert WRONG_PASSWORD in response.text
    assert await BaseUser.login("ana", OWN) is None
    assert await BaseUser.login("ana", ANOTHER)


async def test_a_stolen_session_has_few_guesses_of_the_password(ana: httpx.AsyncClient) -> None:
    ana.cookies.delete("known_browser")
    statuses = [
        (await change_password(ana, "a wrong password")).status_code
        for _ in range(ADDRESS_LIMIT.failures)
    ]
    assert set(statuses) == {422}
    for response in (
        await change_password(ana),
        await send(ana, "/me/second-factor/", password=PASSWORD),
        await send(ana, "/me/second-factor/remove/", password=PASSWORD),
    ):
        assert response.status_code == 429
        assert "15 minutes" in response.text


async def test_a_second_factor_is_set_up_shown_once_and_removed(
    ana: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    stored = "SELECT count(*) FROM authenticator_secret WHERE revoked_at IS NULL"
    response = await send(ana, "/me/second-factor/", password="a wrong password")
    assert (response.status_code, WRONG_PASSWORD in response.text) == (422, True)
    assert await directory.fetchval(stored) == 0

    response = await send(ana, "/me/second-factor/", password=PASSWORD)
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    codes = re.findall("<code>([^<]+)</code>", response.text)
    assert len(codes) == 8
    assert 'href="otpauth://totp/' in response.text
    assert 'src="data:image/png;base64,' in response.text
    assert (await send(ana, "/me/second-factor/", password=PASSWORD)).status_code == 303
    assert await directory.fetchval(stored) == 1
    assert codes[0] not in (await ana.get("/me/")).text

    other = await open_browser(app_with_mfa())
    assert (await sign_in_as(other)).status_code == 401
    assert (await sign_in_as(other, mfa_code=codes[0])).status_code == 303
    response = await send(ana, "/me/second-factor/remove/", password="a wrong password")
    assert response.status_code == 422
    assert (await send(ana, "/me/second-factor/remove/", password=PASSWORD)).status_code == 303
    assert await directory.fetchval(stored) == 0


async def test_without_a_key_no_second_factor_is_set_up() -> None:
    await add_superuser("ana")
    client = await open_browser()
    await sign_in_as(client)
    assert "set DIRECTORY_MFA_KEY" in (await client.get("/me/")).text
    assert (await send(client, "/me/second-factor/", password=PASSWORD)).status_code == 422


async def test_one_signs_out_everywhere(ana: httpx.AsyncClient) -> None:
    user, other = await BaseUser.objects().first(), await add_superuser("bea")
    assert user
    await session_of(user)
    await session_of(other)
    assert (await send(ana, "/me/sessions/")).status_code == 303
    assert [session.user_id for session in await SessionsBase.objects()] == [other.id]


async def test_a_viewer_has_an_account_too(directory: asyncpg.Pool) -> None:
    user = await BaseUser.create_user("ana", PASSWORD, email="a@x.org", active=True)
    await directory.execute("INSERT INTO panel_viewers VALUES ($1)", user.id)
    client = await open_browser()
    assert (await sign_in_as(client)).status_code == 303
    html = (await client.get("/me/")).text
    assert "Viewer · a@x.org" in html
    assert "/colleagues/" not in html
    assert (await change_password(client)).status_code == 303
