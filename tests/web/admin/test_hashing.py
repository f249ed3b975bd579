"""Passwords are hashed in threads, for a limited number of requests at once."""

import asyncio
import hashlib
import threading
import time

import asyncpg
import httpx
import pytest
from piccolo.apps.user.tables import BaseUser

from community_directory import app as main
from community_directory.web.admin import attempts, hashing
from community_directory.web.admin.hashing import HashingQueue, TooBusy
from tests.web.admin.test_security import (
    ANOTHER,
    PASSWORD,
    WITH_MFA,
    add_user,
    attack,
    sign_in,
    visitor,
)
from tests.web.conftest import ADDRESS

pytestmark = [
    pytest.mark.filterwarnings("ignore:If running sessions in production"),
    pytest.mark.usefixtures("fast_hashes", "short_delays"),
]


@pytest.fixture
def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "MAX_DELAY_SECONDS", 0.001)


class Hashes:
    """The hashes that were computed: on which threads, and how many at the same time."""

    def __init__(self) -> None:
        self.threads: set[int] = set()
        self.running = self.most = self.total = 0
        self._lock = threading.Lock()

    def begin(self) -> None:
        with self._lock:
            self.threads.add(threading.get_ident())
            self.total += 1
            self.running += 1
            self.most = max(self.most, self.running)

    def end(self) -> None:
        with self._lock:
            self.running -= 1


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> Hashes:
    found = Hashes()
    original = hashlib.pbkdf2_hmac

    def compute(*arguments: object) -> bytes:
        found.begin()
        time.sleep(0.01)
        found.end()
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", compute)
    return found


async def test_no_request_hashes_on_the_thread_of_the_event_loop(
    client: httpx.AsyncClient, hashes: Hashes, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_user()
    hashes.threads.clear()
    ana = await visitor(main.App(WITH_MFA))

    async def hashes_of(status: int, answer: httpx.Response) -> int:
        assert answer.status_code == status, answer.text
        computed, hashes.total = hashes.total, 0
        return computed

    hashes.total = 0
    assert await hashes_of(401, await sign_in(ana, password="a wrong password")) == 1
    assert await hashes_of(401, await sign_in(ana, "nobody")) == 1
    assert await hashes_of(200, await sign_in(ana)) == 1
    form = {"password": PASSWORD, "new_password": ANOTHER, "new_password_again": ANOTHER}
    changed = await ana.post(f"{ADDRESS}/me/password/", data=form)
    assert await hashes_of(303, changed) == 2
    monkeypatch.setattr(BaseUser, "_pbkdf2_iteration_count", 2)
    assert await hashes_of(200, await sign_in(ana, password=ANOTHER)) == 2

    registered = await ana.post(f"{ADDRESS}/me/second-factor/", data={"password": ANOTHER})
    assert await hashes_of(200, registered) == 9
    code = registered.text.partition("<code>")[2].partition("</code>")[0].strip()
    assert len(code) > 10
    wrong = await sign_in(ana, password=ANOTHER, mfa_code="x" * 12)
    assert await hashes_of(401, wrong) == 2
    right = await sign_in(ana, password=ANOTHER, mfa_code=code)
    assert await hashes_of(200, right) == 2
    again = await sign_in(ana, password=ANOTHER, mfa_code=code)
    assert await hashes_of(401, again) == 2

    user = {"username": "eva", "email": "e@x.org", "password": ANOTHER}
    users = "/api/tables/piccolo_user/"
    added = await client.post(users, json=user)
    assert await hashes_of(201, added) == 1
    assert await hashes_of(200, await client.get(f"{users}new/")) == 0
    changed = await client.patch(f"{users}{added.json()[0]['id']}/", json={"password": PASSWORD})
    assert await hashes_of(200, changed) == 1
    assert threading.get_ident() not in hashes.threads


async def test_a_flood_of_guesses_hashes_two_at_once_and_does_not_delay_a_known_browser(
    directory: asyncpg.Pool, hashes: Hashes, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_user()
    known = await visitor(host="192.0.2.1")
    assert (await sign_in(known)).status_code == 200
    monkeypatch.setattr(attempts.Attempt, "queue", HashingQueue(max_running=2, max_waiting=3))
    hashes.most = 0
    statuses = await attack("ana", 100)
    assert hashes.most == 2
    assert set(statuses) == {401, 503}

    # Nobody else gets a turn, yet the known browser does.
    queue = HashingQueue(max_running=1, max_waiting=0)
    monkeypatch.setattr(attempts.Attempt, "queue", queue)
    async with queue.turn():
        refused = await sign_in(await visitor(host="192.0.2.2"))
        assert (refused.status_code, refused.json()["detail"]) == (503, hashing.BUSY)
        assert refused.headers["Retry-After"] == "5"
        assert (await sign_in(known)).status_code == 200
    # What was not checked does not count as a failure.
    assert await directory.fetchval("SELECT max(failures) FROM panel_attempts") == statuses.count(
        401
    )


async def test_a_turn_ends_with_its_block_and_with_its_task() -> None:
    queue = HashingQueue(max_running=1, max_waiting=1)

    async def wait() -> None:
        async with queue.turn():
            await asyncio.sleep(600)

    running, waiting = asyncio.create_task(wait()), asyncio.create_task(wait())
    await asyncio.sleep(0)
    with pytest.raises(TooBusy):
        async with queue.turn():
            pass
    for task in (waiting, running):
        task.cancel()
    await asyncio.wait({running, waiting})
    async with queue.turn(), asyncio.timeout(10):
        pass
