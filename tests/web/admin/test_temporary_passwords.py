"""A password that one user sets for another is changed at the first sign-in."""

import asyncio

import asyncpg
import httpx
import pyotp
import pytest
from piccolo.apps.user.tables import BaseUser
from piccolo_api.session_auth.tables import SessionsBase

from community_directory import app as main
from community_directory.web.admin import sign_in as rules
from community_directory.web.admin.users import add_superuser
from tests.waiting import until_waiting
from tests.web.admin.test_security import (
    ANOTHER,
    PASSWORD,
    WITH_MFA,
    add_user,
    enrol,
    is_in,
    sign_in,
    visitor,
)
from tests.web.conftest import session_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:If running sessions in production"),
    pytest.mark.usefixtures("fast_hashes"),
]

OWN = "my very own words"
"""A password that a user chooses."""


async def set_password(client: httpx.AsyncClient, username: str, password: str) -> None:
    """Set a user's password in the panel's table of users."""
    user = await BaseUser.objects().get(BaseUser.username == username)
    assert user
    path = f"/api/tables/piccolo_user/{user.id}/"
    assert (await client.patch(path, json={"password": password})).status_code == 200


async def marked(directory: asyncpg.Pool) -> list[str]:
    """Return the names of the users with a temporary password."""
    rows = await directory.fetch(
        "SELECT username FROM panel_temporary_passwords JOIN piccolo_user ON id = user_id"
    )
    return [row["username"] for row in rows]


async def test_a_user_whose_password_was_set_signs_in_only_with_a_new_one(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await add_user()
    await set_password(client, "ana", ANOTHER)
    ana = await visitor()
    response = await sign_in(ana, password=ANOTHER)
    assert (response.status_code, response.json()) == (
        403,
        {"detail": rules.CHOICE_REQUIRED, "code": "new_password_required"},
    )
    assert not await is_in(ana)
    for refused, said in (
        (ANOTHER, rules.SAME_CHOICE),
        ("short", "The password must have 12 to 128 characters."),
        ("ana ana ana ana", "The password is too easy to guess"),
    ):
        response = await sign_in(ana, password=ANOTHER, new_password=refused)
        assert response.status_code == 403
        assert response.json()["detail"].startswith(said)
        assert response.json()["code"] == "new_password_required"
        assert not await is_in(ana)
    assert await marked(directory) == ["ana"]

    assert (await sign_in(ana, password=ANOTHER, new_password=OWN)).status_code == 200
    assert await is_in(ana)
    assert await marked(directory) == []
    assert (await sign_in(await visitor(), password=ANOTHER)).status_code == 401
    assert (await sign_in(await visitor(), password=OWN)).status_code == 200


async def test_a_temporary_password_that_is_replaced_in_the_meantime_is_worth_nothing(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_user()
    await set_password(client, "ana", ANOTHER)

    async def set_another_one(*_: object) -> None:
        await set_password(client, "ana", PASSWORD)

    monkeypatch.setattr(rules, "find_password_problem", set_another_one)
    ana = await visitor()
    response = await sign_in(ana, password=ANOTHER, new_password=OWN)
    assert (response.status_code, response.json()) == (401, {"detail": rules.WRONG_CREDENTIALS})
    assert await marked(directory) == ["ana"]
    assert (await sign_in(ana, password=OWN)).status_code == 401
    assert (await sign_in(ana, password=PASSWORD)).json()["detail"] == rules.CHOICE_REQUIRED


async def test_a_wrong_password_does_not_tell_that_it_is_temporary(
    client: httpx.AsyncClient,
) -> None:
    await add_user()
    await set_password(client, "ana", ANOTHER)
    response = await sign_in(await visitor(), password=PASSWORD, new_password=OWN)
    assert (response.status_code, response.json()) == (
        401,
        {"detail": rules.WRONG_CREDENTIALS},
    )


async def test_a_user_added_in_the_panel_must_choose_a_password(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    new = {"username": "eva", "email": "e@x.org", "password": ANOTHER, "active": True}
    answer = await client.post("/api/tables/piccolo_user/", json={**new, "admin": True})
    assert answer.status_code == 201
    assert await marked(directory) == ["eva"]
    assert (await sign_in(await visitor(), "eva", ANOTHER)).status_code == 403


async def test_a_password_that_users_or_operators_set_for_themselves_stays(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await set_password(client, "manager", ANOTHER)
    await BaseUser.update_password("owner", ANOTHER)
    assert await marked(directory) == []
    await add_superuser("eva", "eva@x.org", ANOTHER)
    assert await marked(directory) == []
    await add_superuser("bea", "bea@x.org", ANOTHER, temporary=True)
    assert await marked(directory) == ["bea"]


async def test_another_change_does_not_make_a_password_temporary(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    user = await add_user()
    path = f"/api/tables/piccolo_user/{user.id}/"
    assert (await client.patch(path, json={"email": "new@x.org"})).status_code == 200
    assert await marked(directory) == []


async def test_a_new_password_is_not_taken_from_a_user_who_needs_none(
    directory: asyncpg.Pool,
) -> None:
    await add_user()
    client = await visitor()
    assert (await sign_in(client, new_password=OWN)).status_code == 200
    assert (await sign_in(client)).status_code == 200


async def test_a_second_factor_is_asked_for_after_the_new_password(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await add_user()
    ana = await visitor(main.App(WITH_MFA))
    assert (await sign_in(ana)).status_code == 200
    secret = await enrol()
    await set_password(client, "ana", ANOTHER)
    assert (await sign_in(ana, password=ANOTHER)).json()["code"] == "new_password_required"
    refused = await sign_in(ana, password=ANOTHER, new_password="short")
    assert refused.json()["detail"] == "The password must have 12 to 128 characters."
    response = await sign_in(ana, password=ANOTHER, new_password=OWN)
    assert (response.status_code, response.json()) == (401, {"detail": "MFA code required"})
    assert await marked(directory) == ["ana"]
    code = pyotp.TOTP(secret).now()
    response = await sign_in(ana, password=ANOTHER, new_password=OWN, mfa_code=code)
    assert response.status_code == 200
    assert await marked(directory) == []


async def test_a_session_that_starts_while_the_password_is_set_is_refused_or_ended(
    database: str, directory: asyncpg.Pool
) -> None:
    user = await add_user()
    superuser = await asyncpg.connect(database)
    async with superuser.transaction():
        await superuser.execute("SELECT set_config('community_directory.actor', 'eva', true)")
        await superuser.execute("UPDATE piccolo_user SET password = 'another'")
        starting = asyncio.create_task(session_of(user))
        await until_waiting(directory)
    await superuser.close()
    with pytest.raises(asyncpg.CheckViolationError, match="The password is temporary"):
        await starting
    assert not await SessionsBase.exists()
