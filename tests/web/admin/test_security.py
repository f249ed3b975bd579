"""The authentication of the panel: headers, sign-in, limits, sessions, and the second factor."""

import asyncio
import hashlib
import logging
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pyotp
import pytest
from piccolo.apps.user.tables import BaseUser
from piccolo_api.session_auth.tables import SessionsBase
from pydantic import SecretStr
from starlette.requests import Request
from starlette.types import ASGIApp

from community_directory import app as main
from community_directory.errors import OperatorError
from community_directory.settings import Settings
from community_directory.web.admin import attempts, second_factor, security
from community_directory.web.admin import sign_in as rules
from community_directory.web.admin.attempts import (
    ADDRESS_LIMIT,
    BROWSER_COOKIE,
    BROWSER_LIMIT,
    CODE_LIMIT,
    UNDELAYED_FAILURES,
    Attempt,
    delay_seconds,
)
from community_directory.web.admin.sign_in import WRONG_CREDENTIALS
from community_directory.web.security import ADMIN_PATH
from tests.conftest import Server, closed_to_all
from tests.waiting import start_during, until_waiting
from tests.web.conftest import ADDRESS, ADMIN_ADDRESS

pytestmark = [
    pytest.mark.filterwarnings("ignore:If running sessions in production"),
    pytest.mark.usefixtures("fast_hashes", "short_delays"),
]

PASSWORD = "long enough for this"
ANOTHER = "quite some other words"
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self'; "
    "frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
)
PRODUCTION = Settings(production=True, allowed_hosts=["directory.example"])
WITH_MFA = Settings(mfa_key=SecretStr("a key that is long enough for this"))


@pytest.fixture
def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Delay attempts at accounts that have failed often for a moment only."""
    monkeypatch.setattr(attempts, "MAX_DELAY_SECONDS", 0.001)


async def visitor(
    app: ASGIApp = main.app, *, host: str = "198.51.100.1", url: str = ADDRESS, raises: bool = True
) -> httpx.AsyncClient:
    """Return a client that has opened the panel."""
    transport = httpx.ASGITransport(app, client=(host, 50000), raise_app_exceptions=raises)
    client = httpx.AsyncClient(
        transport=transport, base_url=f"{url}{ADMIN_PATH}/", headers={"Origin": url}
    )
    await client.get("/")
    client.headers["X-CSRFToken"] = client.cookies["csrftoken"]
    return client


async def sign_in(
    client: httpx.AsyncClient, username: str = "ana", password: str = PASSWORD, **more: str
) -> Any:
    return await client.post(
        "/public/login/", json={"username": username, "password": password, **more}
    )


async def add_user(username: str = "ana", **rights: bool) -> BaseUser:
    values: dict[str, Any] = {"active": True, "admin": True, "email": f"{username}@x.org", **rights}
    return await BaseUser.create_user(username, PASSWORD, **values)


async def signed_in(username: str = "ana", **rights: bool) -> httpx.AsyncClient:
    await add_user(username, **rights)
    client = await visitor()
    assert (await sign_in(client, username)).status_code == 200
    return client


async def is_in(client: httpx.AsyncClient) -> bool:
    response = await client.get("/api/user/")
    assert response.status_code in (200, 401)
    return response.status_code == 200


# Headers, hosts, cookies


@pytest.mark.parametrize(
    ("path", "status"),
    [
        *(
            ("/", 200),
            ("/directory-assets/panel.js", 200),
            ("/assets/nothing.js", 404),
            (f"{ADDRESS}/healthz", 200),
            (f"{ADDRESS}/readyz", 200),
            (f"{ADDRESS}/nowhere", 404),
        ),
        *(
            ("/api/tables/", 401),
            ("/public/meta/", 200),
            ("/nowhere", 404),
            ("/public/login/", 307),
        ),
    ],
)
async def test_every_answer_has_the_security_headers(
    directory: asyncpg.Pool, path: str, status: int
) -> None:
    response = await (await visitor()).get(path)
    assert response.status_code == status
    headers = response.headers
    assert headers["Content-Security-Policy"] == POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "camera=()" in headers["Permissions-Policy"]
    assert "Strict-Transport-Security" not in headers
    assert headers.get("Cache-Control") == (
        "no-store" if path.startswith(("/api", "/public", ADDRESS + "/nowhere")) else None
    )


async def test_the_script_of_the_page_is_the_one_that_is_served(directory: asyncpg.Pool) -> None:
    client = await visitor()
    paths = re.findall(r'src="\.(/[^"]+)"', (await client.get("/")).text)
    assert "/directory-assets/panel.js" in paths
    for path in paths:
        assert (await client.get(path)).headers["Content-Type"].startswith("text/javascript")


async def test_a_server_error_has_the_security_headers(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    client = await visitor(raises=False)
    monkeypatch.setattr(SessionsBase, "get_user_id", broken)
    client.cookies.set("id", "x")
    response = await client.get("/api/user/")
    assert response.status_code == 500
    assert response.headers["Content-Security-Policy"] == POLICY
    assert response.headers["Cache-Control"] == "no-store"


async def test_production_requires_https_and_secure_cookies(
    directory: asyncpg.Pool,
) -> None:
    await add_user()
    client = await visitor(main.App(PRODUCTION), url="https://directory.example")
    response = await sign_in(client)
    assert response.status_code == 200, response.text
    assert response.headers["Strict-Transport-Security"] == "max-age=31536000"
    session, browser = response.headers.get_list("Set-Cookie")
    assert session.startswith("id=")
    assert browser.startswith(f"{BROWSER_COOKIE}=")
    for cookie, lifetime in ((session, 604_800), (browser, 2_592_000)):
        for attribute in ("HttpOnly", "Secure", f"Max-Age={lifetime}"):
            assert cookie.count(attribute) == 1
    assert "SameSite=lax" in session
    assert "SameSite=strict" in browser
    client.cookies.clear()
    assert (await client.get("/")).headers["Set-Cookie"].endswith("; Secure")


async def test_a_session_ends_after_eight_idle_hours_or_one_week(
    directory: asyncpg.Pool,
) -> None:
    client = await signed_in()
    (session,) = await SessionsBase.objects()
    hour = timedelta(hours=1)

    async def left() -> timedelta:
        await session.refresh()
        return session.expiry_date - datetime.now()  # noqa: DTZ005  as in piccolo_api

    assert 7.9 * hour < await left() <= 8 * hour
    assert session.max_expiry_date - session.expiry_date == timedelta(days=7) - 8 * hour
    for hours, extended in ((5, 5), (3, 7), (-1, -1)):
        session.expiry_date = datetime.now() + hours * hour  # noqa: DTZ005  as above
        await session.save()
        assert await is_in(client) == (hours > 0)
        assert (extended - 0.1) * hour < await left() <= extended * hour
    session.expiry_date = datetime.now() + hour  # noqa: DTZ005  as above
    session.max_expiry_date = datetime.now() - hour  # noqa: DTZ005  as above
    await session.save()
    assert not await is_in(client)


@pytest.mark.parametrize("path", ["/", "/public/meta/", "/api/user/"])
async def test_production_answers_only_under_its_allowed_hosts(
    directory: asyncpg.Pool, path: str
) -> None:
    client = await visitor(main.App(PRODUCTION), url="https://directory.example")
    assert (await client.get(path)).status_code in (200, 401)
    response = await client.get(path, headers={"Host": "evil.example"})
    assert (response.status_code, response.text) == (400, "Invalid host header")
    assert response.headers["Content-Security-Policy"] == POLICY
    assert (
        await client.get("https://directory.example/healthz", headers={"Host": "10.0.0.7"})
    ).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE", "PUT"])
@pytest.mark.parametrize(
    "path", ["/api/tables/piccolo_user/1/", "/public/login/", "/public/logout/"]
)
async def test_a_write_without_the_token_is_refused(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    for token in (None, "another"):
        client.headers.pop("X-CSRFToken", None)
        if token:
            client.headers["X-CSRFToken"] = token
        response = await client.request(
            method, path, json={"username": "manager", "password": PASSWORD}
        )
        assert response.status_code == 403
        assert "CSRF token" in response.text
    assert await is_in(client)


async def test_production_accepts_writes_only_from_its_own_pages(directory: asyncpg.Pool) -> None:
    client = await visitor(main.App(PRODUCTION), url="https://directory.example")
    client.headers["Origin"] = "https://evil.example"
    assert (await sign_in(client)).text == "Referer or origin is incorrect"


# Signing in and out


async def test_a_wrong_username_and_a_wrong_password_get_the_same_answer_in_the_same_time(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_user()
    await add_user("off", active=False)
    hashed: list[int | None] = []
    original = BaseUser.hash_password

    def count(password: str, salt: str = "", iterations: int | None = None) -> str:
        hashed.append(iterations or BaseUser._pbkdf2_iteration_count)
        return original(password, salt, iterations)

    monkeypatch.setattr(BaseUser, "hash_password", count)
    client = await visitor()
    for username in ("ana", "nobody", "off"):
        hashed.clear()
        response = await sign_in(client, username, "a wrong password")
        assert (response.status_code, response.json()) == (401, {"detail": WRONG_CREDENTIALS})
        assert hashed == [1], username


@pytest.mark.parametrize(
    "rights", [{"active": False}, {"admin": False}, {"admin": False, "superuser": True}]
)
async def test_a_user_without_access_gets_a_message_and_no_session(
    directory: asyncpg.Pool, rights: dict[str, bool]
) -> None:
    await add_user("ana", **rights)
    client = await visitor()
    response = await sign_in(client)
    assert response.status_code == 403
    assert response.json()["detail"] == rules.NO_ACCESS
    assert "id" not in client.cookies
    assert not await SessionsBase.exists()


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b"{",
            b"[]",
            b"null",
            b"\xff",
            b'{"username": "ana"}',
            b'{"username": 1, "password": 2}',
            b"[" * 100_000,
        ),
        *(
            b'{"username": "a\\u0000", "password": "x"}',
            b'{"username": "\\ud800", "password": "x"}',
        ),
        b'{"username": {"a": 1}, "password": ["x"]}',
        b'{"username": "ana", "password": "%s"}' % (b"x" * 129),
    ],
)
async def test_an_invalid_sign_in_request_is_refused_with_a_message(
    directory: asyncpg.Pool, body: bytes
) -> None:
    response = await (await visitor()).post("/public/login/", content=body)
    assert response.status_code == 422
    assert isinstance(response.json()["detail"], str)


@pytest.mark.parametrize("path", ["/public/login", "/public/login//", "/public/login/x"])
async def test_no_other_path_bypasses_the_limits(directory: asyncpg.Pool, path: str) -> None:
    await add_user()
    client = await visitor()
    for _ in range(ADDRESS_LIMIT.failures):
        await sign_in(client, password="a wrong password")
    response = await client.post(
        path, json={"username": "ana", "password": PASSWORD}, follow_redirects=True
    )
    assert response.status_code in (429, 404)


async def test_signing_out_deletes_the_session(directory: asyncpg.Pool) -> None:
    client = await signed_in()
    token = client.cookies["id"]
    assert (await client.post("/public/logout/")).status_code == 200
    assert not await SessionsBase.exists()
    client.cookies.set("id", token)
    assert not await is_in(client)


async def test_an_old_weak_password_is_reported_when_piccolo_hashes_it_again(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = await add_user()
    user.password = "123456"
    await user.save()
    monkeypatch.setattr(BaseUser, "_pbkdf2_iteration_count", 2)
    response = await sign_in(await visitor())
    assert response.status_code == 401
    response = await sign_in(await visitor(), password="123456")
    assert response.status_code == 403
    assert response.json()["detail"].startswith("The password must have 12 to 128 characters.")


@pytest.mark.parametrize("iterations", [1, 2], ids=["same_hash", "new_hash"])
async def test_a_sign_in_that_waits_for_another_password_is_refused(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch, iterations: int
) -> None:
    user, ana = await add_user(), await visitor()
    # A sign-in stores the password with more iterations.
    monkeypatch.setattr(BaseUser, "_pbkdf2_iteration_count", iterations)
    change = BaseUser.update_password(user.id, ANOTHER)
    signing_in = await start_during(directory, change, sign_in(ana))
    assert (await signing_in).status_code == 401
    assert not await is_in(ana)
    assert (await sign_in(ana, password=ANOTHER)).status_code == 200


async def test_a_sign_in_that_waits_for_a_new_hash_of_its_password_goes_on(
    directory: asyncpg.Pool,
) -> None:
    user, ana = await add_user(), await visitor()
    change = BaseUser.update_password(user.id, PASSWORD)
    signing_in = await start_during(directory, change, sign_in(ana))
    assert (await signing_in).status_code == 200
    assert await is_in(ana)


async def test_a_password_that_is_changed_before_the_session_begins_opens_none(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, ana = await add_user(), await visitor()
    start_session = rules._start_session

    async def start_late(*arguments: Any) -> str:
        await BaseUser.update_password(user.id, ANOTHER)
        return await start_session(*arguments)

    monkeypatch.setattr(rules, "_start_session", start_late)
    response = await sign_in(ana)
    assert (response.status_code, response.json()["detail"]) == (401, WRONG_CREDENTIALS)
    assert not await is_in(ana)
    assert await directory.fetchval("SELECT count(*) FROM sessions") == 0


# Limits


async def test_a_right_password_is_refused_after_too_many_failures(
    directory: asyncpg.Pool,
) -> None:
    await add_user()
    client = await visitor()
    for _ in range(ADDRESS_LIMIT.failures):
        assert (await sign_in(client, password="a wrong password")).status_code == 401
    response = await sign_in(client)
    assert response.status_code == 429
    assert response.json()["detail"] == "Too many failed attempts. Try again in 15 minutes."
    assert 890 < int(response.headers["Retry-After"]) <= 900
    assert (
        await sign_in(await visitor(main.App(Settings())))
    ).status_code == 429  # another worker, or a restart
    await directory.execute("UPDATE panel_attempts SET ends = now()")
    assert (await sign_in(client)).status_code == 200


async def test_an_address_that_tries_many_usernames_is_refused(directory: asyncpg.Pool) -> None:
    await add_user()
    client = await visitor()
    for number in range(ADDRESS_LIMIT.failures):
        assert (await sign_in(client, f"name{number}")).status_code == 401
    response = await sign_in(client)
    assert (response.status_code, response.json()["detail"]) == (
        429,
        "Too many failed attempts. Try again in 15 minutes.",
    )
    assert (await sign_in(await visitor(host="198.51.100.2"))).status_code == 200


async def attack(username: str, times: int) -> list[int]:
    """Guess a password once from each of many addresses, and return the statuses."""
    crowd = asyncio.Semaphore(20)
    token = {"csrftoken": "x"}

    async def guess(number: int) -> int:
        address = f"203.0.{number // 250}.{number % 250}"
        transport = httpx.ASGITransport(main.app, client=(address, 50000))
        async with (
            crowd,
            httpx.AsyncClient(transport=transport, base_url=ADMIN_ADDRESS, cookies=token) as client,
        ):
            client.headers["X-CSRFToken"] = token["csrftoken"]
            return int((await sign_in(client, username, "a wrong password")).status_code)

    return await asyncio.gather(*map(guess, range(times)))


def record_delays(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that receives the number of failures for each attempt that may be delayed."""
    delays: list[int] = []

    def delay(failures: int) -> int:
        delays.append(failures)
        return 0

    monkeypatch.setattr(attempts, "delay_seconds", delay)
    return delays


async def test_a_thousand_guesses_from_elsewhere_do_not_lock_the_owner_out(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_user("admin")
    known = await visitor(host="192.0.2.1")
    assert (await sign_in(known, "admin")).status_code == 200
    assert await attack("admin", 50) == [401] * 50
    # The attack goes on.
    counted = await directory.execute(
        "UPDATE panel_attempts SET failures = 1000 WHERE failures = 50"
    )
    assert counted == "UPDATE 1"

    delays = record_delays(monkeypatch)
    assert (await sign_in(known, "admin")).status_code == 200
    assert delays == []
    assert (await sign_in(await visitor(host="192.0.2.2"), "admin")).status_code == 200
    assert delays == [1001]


def test_an_attempt_waits_half_a_minute_at_most() -> None:
    failures = (0, UNDELAYED_FAILURES, UNDELAYED_FAILURES + 1, UNDELAYED_FAILURES + 3, 2**31)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(attempts, "MAX_DELAY_SECONDS", 30)
        assert list(map(delay_seconds, failures)) == [0, 0, 1, 4, 30]


async def test_the_right_password_waits_like_a_wrong_one(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_user()
    client = await visitor()
    for _ in range(UNDELAYED_FAILURES):
        await sign_in(client, password="a wrong password")
    monkeypatch.setattr(attempts, "MAX_DELAY_SECONDS", 1)
    for password, status in (("a wrong password", 401), (PASSWORD, 200)):
        start = asyncio.get_running_loop().time()
        assert (await sign_in(client, password=password)).status_code == status
        assert asyncio.get_running_loop().time() - start > 0.9


async def test_a_known_browser_has_a_limit_of_its_own(directory: asyncpg.Pool) -> None:
    await add_user()
    known = await visitor()
    assert (await sign_in(known)).status_code == 200
    wrong = [(await sign_in(known, password="a wrong password")).status_code for _ in range(11)]
    assert wrong == [401] * BROWSER_LIMIT.failures + [429]
    # The limit follows the browser to another address, and applies to no other browser.
    moved = await visitor(host="198.51.100.2")
    moved.cookies.set(BROWSER_COOKIE, known.cookies[BROWSER_COOKIE])
    assert (await sign_in(moved)).status_code == 429
    assert (await sign_in(await visitor(host="198.51.100.3"))).status_code == 200


async def test_a_known_browser_signs_in_at_an_address_where_somebody_else_failed(
    directory: asyncpg.Pool,
) -> None:
    await add_user()
    known, attacker = await visitor(), await visitor()
    assert (await sign_in(known)).status_code == 200
    for number in range(ADDRESS_LIMIT.failures):
        assert (await sign_in(attacker, f"name{number}")).status_code == 401
    assert (await sign_in(attacker)).status_code == 429
    assert (await sign_in(known)).status_code == 200


async def test_a_browser_is_known_to_the_accounts_that_signed_in_for_a_month(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    delays = record_delays(monkeypatch)
    for username in ("ana", "bea", "eva"):
        await add_user(username)
    client = await visitor()
    for username in ("ana", "bea"):
        assert (await sign_in(client, username)).status_code == 200
    assert len(delays) == 2
    for username in ("ana", "bea"):
        assert (await sign_in(client, username)).status_code == 200
    assert len(delays) == 2
    assert (await sign_in(client, "eva")).status_code == 200
    assert len(delays) == 3
    await directory.execute("UPDATE panel_attempts SET ends = now() WHERE failures = 0")
    assert (await sign_in(client, "ana")).status_code == 200
    assert len(delays) == 4


async def test_successes_and_refusals_without_a_guess_are_not_counted(
    directory: asyncpg.Pool,
) -> None:
    await add_user()
    await add_user("off", active=False)
    client = await visitor()
    for _ in range(ADDRESS_LIMIT.failures + 1):
        assert (await sign_in(client)).status_code == 200
        assert (await sign_in(client, "off")).status_code == 403
    assert (await sign_in(client, password="a wrong password")).status_code == 401


async def test_an_attempt_that_outlives_its_period_frees_no_further_attempt(
    directory: asyncpg.Pool,
) -> None:
    request = Request({"type": "http", "client": ("198.51.100.1", 50000), "headers": []})
    slow = [await Attempt.begin(request, "ana") for _ in range(3)]
    await directory.execute("UPDATE panel_attempts SET ends = now()")
    quick = await Attempt.begin(request, "ana")  # the first one of a new period
    for attempt in (quick, *slow):
        await attempt.discard()
    client = await visitor()
    answers = [
        (await sign_in(client, password="a wrong password")).status_code
        for _ in range(ADDRESS_LIMIT.failures + 1)
    ]
    assert answers == [401] * ADDRESS_LIMIT.failures + [429]


async def test_simultaneous_attempts_are_limited_like_successive_ones(
    directory: asyncpg.Pool,
) -> None:
    await add_user()
    client = await visitor()
    answers = await asyncio.gather(
        *(sign_in(client, password="a wrong password") for _ in range(30))
    )
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(401), statuses.count(429)) == (
        ADDRESS_LIMIT.failures,
        30 - ADDRESS_LIMIT.failures,
    )


async def test_an_ipv6_network_counts_as_one_address(directory: asyncpg.Pool) -> None:
    for number in range(ADDRESS_LIMIT.failures):
        client = await visitor(host=f"2001:db8:1:2::{number:x}")
        assert (await sign_in(client, f"name{number}")).status_code == 401
    assert (await sign_in(await visitor(host="2001:db8:1:2:ffff::1"))).status_code == 429
    assert (await sign_in(await visitor(host="2001:db8:1:3::1"))).status_code == 401


async def test_neither_usernames_nor_addresses_are_stored_and_old_counts_are_deleted(
    directory: asyncpg.Pool,
) -> None:
    await add_user()
    client = await visitor()
    await sign_in(client, "typed into the wrong field", "x")
    stored = await directory.fetch("SELECT key FROM panel_attempts")
    assert len(stored) == 2
    assert {len(row["key"]) for row in stored} == {hashlib.sha256().digest_size}
    await directory.execute("UPDATE panel_attempts SET ends = now()")
    await sign_in(client)
    assert await directory.fetchval("SELECT count(*) FROM panel_attempts WHERE ends < now()") == 0


async def test_a_sign_in_after_a_flood_deletes_a_part_of_the_old_counts(
    directory: asyncpg.Pool,
) -> None:
    await add_user()
    await directory.execute(
        "INSERT INTO panel_attempts SELECT int4send(n), 1, now() FROM generate_series(1, 10003) n"
    )
    assert (await sign_in(await visitor())).status_code == 200
    assert await directory.fetchval("SELECT count(*) FROM panel_attempts WHERE ends < now()") == 3


async def test_an_unavailable_database_is_reported_at_sign_in(
    directory: asyncpg.Pool, database: str, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with closed_to_all(server, database):
        response = await sign_in(await visitor())
    assert (response.status_code, response.json()) == (
        503,
        {"detail": OperatorError.public_message},
    )
    assert "A request failed (database_unavailable): The database " in caplog.text


# When sessions end


@pytest.mark.parametrize(
    "change",
    [
        {"active": False},
        {"admin": False},
        {"password": ANOTHER},
    ],
)
async def test_a_superusers_change_to_a_user_ends_their_sessions(
    client: httpx.AsyncClient, change: dict[str, Any]
) -> None:
    ana = await signed_in()
    user = await BaseUser.objects().get(BaseUser.username == "ana")
    assert user
    path = f"/api/tables/piccolo_user/{user.id}/"
    assert (await client.patch(path, json={"first_name": "Ana"})).status_code == 200
    assert await is_in(ana)
    assert (await client.patch(path, json=change)).status_code == 200
    assert not await is_in(ana)
    undo = {name: True for name in change if name != "password"}
    if undo:
        assert (await client.patch(path, json=undo)).status_code == 200
    assert not await is_in(ana)
    assert await is_in(client)


async def test_a_deleted_users_sessions_end(client: httpx.AsyncClient) -> None:
    ana = await signed_in()
    user = await BaseUser.objects().get(BaseUser.username == "ana")
    assert user
    assert (await client.delete(f"/api/tables/piccolo_user/{user.id}/")).status_code == 204
    assert not await is_in(ana)


# Users and sessions


@pytest.mark.parametrize("table", ["piccolo_user", "sessions"])
async def test_only_superusers_read_and_change_users_and_sessions(
    directory: asyncpg.Pool, table: str
) -> None:
    ana = await signed_in()
    path = f"/api/tables/{table}/"
    user = await BaseUser.objects().first()
    assert user
    for part in ("", "count/", "ids/", "new/", "schema/", "references/", f"{user.id}/"):
        response = await ana.get(path + part)
        assert response.status_code == 403, part
        assert response.json()["detail"] == "Only a superuser may see who can enter the panel."
    new = {"username": "eve", "password": ANOTHER, "email": "eve@x.org", "superuser": True}
    assert (
        await ana.post(path, json=new if table == "piccolo_user" else {"token": "x", "user_id": 1})
    ).status_code in (
        403,
        405,
    )
    for change in ({"superuser": True}, {"password": "short"}):
        assert (await ana.patch(f"{path}{user.id}/", json=change)).status_code in (403, 405)
    assert (await ana.put(f"{path}{user.id}/", json=new)).status_code in (403, 405, 422)
    assert (await ana.delete(f"{path}{user.id}/")).status_code in (403, 405)
    assert await BaseUser.count() == 1
    assert not await BaseUser.exists().where(BaseUser.superuser.eq(True))
    assert await SessionsBase.count() == 1


async def test_a_session_can_be_deleted_but_not_written(client: httpx.AsyncClient) -> None:
    ana = await signed_in()
    session = await SessionsBase.objects().get(SessionsBase.token == ana.cookies["id"])
    assert session
    path = f"/api/tables/sessions/{session.id}/"
    assert (await client.patch(path, json={"user_id": 1})).status_code == 405
    assert (
        await client.post("/api/tables/sessions/", json={"token": "x", "user_id": 1})
    ).status_code == 405
    assert (await client.delete(path)).status_code == 204
    assert not await is_in(ana)


async def test_no_response_contains_a_hash_or_a_token(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await add_user()
    secrets = [
        row[0]
        for row in await directory.fetch(
            "SELECT password FROM piccolo_user UNION SELECT token FROM sessions"
        )
    ]
    assert len(secrets) == 4
    for table, secret in (("piccolo_user", "password"), ("sessions", "token")):
        path = f"/api/tables/{table}/"
        key = (await client.get(path)).json()["rows"][0]["id"]
        answers = [
            await client.get(f"{path}{part}")
            for part in (
                "",
                f"{key}/",
                f"{key}/?__visible_fields=id,{secret}",
                f"?__visible_fields=id,{secret}",
                "ids/",
                "new/",
            )
        ]
        if table == "piccolo_user":
            answers.append(await client.patch(f"{path}{key}/", json={"first_name": "A"}))
            answers.append(await client.patch(f"{path}{key}/", json={"active": "what"}))
        for answer in answers:
            assert not any(secret in answer.text for secret in secrets), answer.url
    log = await directory.fetchval(
        "SELECT count(*) FROM directory_audit_log WHERE table_name = 'piccolo_user'"
    )
    assert log == 0


@pytest.mark.parametrize(
    "change", [{"superuser": False}, {"active": False}, {"admin": False}, None]
)
async def test_the_last_superuser_is_kept(
    client: httpx.AsyncClient, change: dict[str, bool] | None
) -> None:
    await BaseUser.delete().where(BaseUser.username == "owner")
    user = await BaseUser.objects().first()
    assert user
    path = f"/api/tables/piccolo_user/{user.id}/"
    response = await (client.patch(path, json=change) if change else client.delete(path))
    assert response.status_code == 422
    assert re.search(
        r"This is the last superuser|You can't take away your own access", response.text
    )
    assert await BaseUser.exists().where(BaseUser.superuser.eq(True), BaseUser.active.eq(True))
    assert await is_in(client)


@pytest.mark.parametrize("change", [{"active": False}, {"admin": False}, None])
async def test_users_cannot_lock_themselves_out(
    client: httpx.AsyncClient, change: dict[str, bool] | None
) -> None:
    await add_user("second", superuser=True)
    user = await BaseUser.objects().get(BaseUser.username == "manager")
    assert user
    path = f"/api/tables/piccolo_user/{user.id}/"
    response = await (client.patch(path, json=change) if change else client.delete(path))
    assert response.status_code == 422
    assert "You can't take away your own access: ask another superuser to do it." in response.text
    assert await is_in(client)
    assert (await client.patch(path, json={"superuser": False})).status_code == 200


async def test_two_superusers_who_demote_each_other_at_once_leave_one(
    database: str, directory: asyncpg.Pool
) -> None:
    for name in ("one", "two"):
        await add_user(name, superuser=True)
    demote = "UPDATE piccolo_user SET superuser = false WHERE username = $1"
    first = await asyncpg.connect(database)
    async with first.transaction():
        await first.execute(demote, "one")
        other = asyncio.create_task(directory.execute(demote, "two"))
        await until_waiting(directory)
    await first.close()
    with pytest.raises(asyncpg.CheckViolationError, match="The last superuser stays"):
        await other


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("short", "The password must have 12 to 128 characters."),
        ("iloveyou1234", "The password is too easy to guess"),
        ("eve eve eve eve", "The password is too easy to guess"),
    ],
)
async def test_a_superuser_cannot_give_a_bad_password(
    client: httpx.AsyncClient, password: str, said: str
) -> None:
    form = {
        "username": "eve",
        "email": "eve@x.org",
        "active": True,
        "admin": True,
        "superuser": False,
    }
    assert (
        await client.post("/api/tables/piccolo_user/", json={**form, "password": ANOTHER})
    ).status_code == 201
    eve = await BaseUser.objects().get(BaseUser.username == "eve")
    assert eve
    for response in (
        await client.post(
            "/api/tables/piccolo_user/", json={**form, "username": "eve2", "password": password}
        ),
        await client.patch(f"/api/tables/piccolo_user/{eve.id}/", json={"password": password}),
    ):
        assert response.status_code == 422
        (problem,) = response.json()["detail"]
        assert problem["loc"] == ["body", "password"]
        assert problem["msg"].startswith(said)
    assert await BaseUser.login("eve", ANOTHER) == eve.id
    response = await client.post("/api/tables/piccolo_user/", json={**form, "password": ANOTHER})
    assert response.status_code == 422
    assert "piccolo_user" not in response.text


# The second factor


async def enrol() -> str:
    """Set Ana's second factor up, and return its secret."""
    (provider,) = second_factor.mfa_providers(WITH_MFA)
    ana = await BaseUser.objects().get(BaseUser.username == "ana")
    assert ana
    await provider.register(ana)
    stored = await BaseUser.raw("SELECT secret FROM authenticator_secret")
    secret: str = provider.encryption_provider.decrypt(stored[0]["secret"])
    assert secret not in stored[0]["secret"]
    return secret


@pytest.fixture
async def with_mfa(directory: asyncpg.Pool) -> httpx.AsyncClient:
    """Ana's client, in a panel with the second factor switched on."""
    await add_user()
    client = await visitor(main.App(WITH_MFA))
    assert (await sign_in(client)).status_code == 200
    return client


async def test_a_user_with_a_second_factor_signs_in_only_with_it(
    with_mfa: httpx.AsyncClient,
) -> None:
    secret = await enrol()
    client = await visitor(main.App(WITH_MFA))
    response = await sign_in(client)
    assert (response.status_code, response.json()) == (401, {"detail": "MFA code required"})
    assert not await is_in(client)
    response = await sign_in(client, mfa_code="000000")
    assert (response.status_code, response.json()) == (401, {"detail": rules.WRONG_CODE})
    assert (
        await sign_in(client, password="a wrong password", mfa_code=pyotp.TOTP(secret).now())
    ).status_code == 401
    code = pyotp.TOTP(secret).now()
    assert (await sign_in(client, mfa_code=code)).status_code == 200
    assert await is_in(client)
    assert (await sign_in(client, mfa_code=code)).status_code == 401


async def test_a_code_from_before_the_last_one_is_refused(with_mfa: httpx.AsyncClient) -> None:
    totp = pyotp.TOTP(await enrol())
    now = datetime.now(UTC)
    assert (await sign_in(with_mfa, mfa_code=totp.at(now, 1))).status_code == 200
    for earlier in (0, 1):
        assert (await sign_in(with_mfa, mfa_code=totp.at(now, earlier))).status_code == 401


async def test_of_simultaneous_attempts_with_the_same_code_one_succeeds(
    with_mfa: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    code = pyotp.TOTP(await enrol()).now()
    (provider,) = second_factor.mfa_providers(WITH_MFA)
    ana = await BaseUser.objects().get(BaseUser.username == "ana")
    assert ana
    async with directory.acquire() as other, directory.acquire() as observer:
        await other.execute("BEGIN; SELECT FROM authenticator_secret FOR UPDATE")
        both = [asyncio.create_task(provider.authenticate_user(ana, code)) for _ in range(2)]
        await until_waiting(observer, 2)
        await other.execute("ROLLBACK")
        assert sorted(await asyncio.gather(*both)) == [False, True]


async def test_codes_have_the_same_limit_as_passwords(with_mfa: httpx.AsyncClient) -> None:
    await enrol()
    client = await visitor(main.App(WITH_MFA), host="203.0.113.1")
    for _ in range(CODE_LIMIT.failures + 5):
        assert (await sign_in(client)).json()["detail"] == "MFA code required"
    answers = [
        (await sign_in(client, mfa_code="000000")).status_code
        for _ in range(CODE_LIMIT.failures + 1)
    ]
    assert answers == [401] * CODE_LIMIT.failures + [429]


async def test_a_right_code_is_not_counted(
    with_mfa: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    code = pyotp.TOTP(await enrol()).now()
    assert (await sign_in(with_mfa, mfa_code=code)).status_code == 200
    assert await directory.fetchval("SELECT max(failures) FROM panel_attempts") == 0


# Logs


async def test_no_log_and_no_response_contains_a_secret(
    client: httpx.AsyncClient, with_mfa: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret, wrong = await enrol(), "wrong-and-recognisable"
    code = pyotp.TOTP(secret).now()
    user = {"username": "eve", "email": "eve@x.org", "password": ANOTHER}
    answers = [
        await sign_in(with_mfa, password=wrong),
        await sign_in(with_mfa, password=wrong + "x" * 129),
        await sign_in(with_mfa, mfa_code=code),
        await sign_in(with_mfa, mfa_code=code),
        await client.post(
            "/api/tables/piccolo_user/", json={"password": ANOTHER, "active": "what"}
        ),
        await client.post("/api/tables/piccolo_user/", json={"password": [ANOTHER]}),
        await client.post("/api/tables/piccolo_user/", json={**user, "username": "manager"}),
        await client.post("/api/tables/piccolo_user/", json=user),
        await client.post(
            "/api/tables/piccolo_user/", json={**user, "email": "eve\0@x.org", "username": "eve2"}
        ),
    ]
    told = caplog.text + "".join(answer.text for answer in answers)
    for hidden in (
        PASSWORD,
        ANOTHER,
        wrong,
        secret,
        code,
        client.cookies["id"],
        with_mfa.cookies["id"],
    ):
        assert hidden not in told


def test_a_piccolo_admin_with_other_auth_endpoints_stops_the_app() -> None:
    with pytest.raises(security.IncompatiblePiccoloAdmin, match="nothing at /login"):
        security._find_route([], "/login")


async def test_a_code_is_used_once_in_digits_of_any_script(with_mfa: httpx.AsyncClient) -> None:
    secret = await enrol()
    client = await visitor(main.App(WITH_MFA))
    code = pyotp.TOTP(secret).now()
    assert (await sign_in(client, mfa_code=code)).status_code == 200
    wide = "".join(chr(ord(digit) - ord("0") + ord("０")) for digit in code)
    for again in (code, wide, code):
        assert (await sign_in(client, mfa_code=again)).status_code == 401


async def test_without_the_key_a_user_with_a_second_factor_cannot_sign_in(
    with_mfa: httpx.AsyncClient,
) -> None:
    secret = await enrol()
    response = await sign_in(await visitor(main.App(Settings())))
    assert (response.status_code, response.json()["detail"]) == (
        403,
        rules.MFA_SWITCHED_OFF,
    )
    other = WITH_MFA.model_copy(update={"mfa_key": SecretStr("z" * 40)})
    response = await sign_in(await visitor(main.App(other)), mfa_code=pyotp.TOTP(secret).now())
    assert response.status_code == 503


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("username", ""),
        ("password", None),
        ("email", ""),
        ("username", "Manager"),
        ("username", "expiry"),
        ("username", "sweep"),
        ("username", "db:postgres"),
        ("email", "owner@directory.example"),
    ],
)
async def test_an_incomplete_or_ambiguous_user_is_refused(
    client: httpx.AsyncClient, field: str, value: str | None
) -> None:
    sent: dict[str, Any] = {
        "username": "eva",
        "email": "eva@directory.example",
        "password": ANOTHER,
        field: value,
    }
    response = await client.post(
        "/api/tables/piccolo_user/",
        json={name: value for name, value in sent.items() if value is not None},
    )
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["body", field]
    assert not await BaseUser.exists().where(
        BaseUser.username.is_in(["eva", "Manager", "expiry", "db:postgres", ""])
    )


@pytest.mark.parametrize("path", ["/admin", "/insights"])
async def test_every_part_is_found_without_the_slash(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(f"{ADDRESS}{path}", follow_redirects=True)
    assert (response.status_code, response.url.path) == (200, f"{path}/")
