"""A signed-in client of the panel, on a database of the test's own, and the browser of those that look at its pages."""

import os
import shutil
from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest
from piccolo.apps.user.tables import BaseUser
from piccolo_api.session_auth.tables import SessionsBase
from playwright.async_api import Browser, async_playwright

from community_directory.tables import CommunityMember
from main import app

ADDRESS = "http://directory.example"

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# As root Chromium needs --no-sandbox; it asks nobody outside this machine for anything.
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("CI must install Chromium")
        pytest.skip("no Chromium on this machine")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        await browser.close()


@pytest.fixture
async def client(directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    """A superuser's session; its requests carry what the front end's do."""
    # Real hashing takes a third of a second on purpose.
    monkeypatch.setattr(BaseUser, "_pbkdf2_iteration_count", 1)
    user = await BaseUser.create_user(
        username="manager", password="long enough for this", active=True, admin=True, superuser=True
    )
    # The last superuser can't be touched, and is none of those that a test is about.
    await BaseUser.create_user(
        username="owner",
        password="long enough for this",
        email="owner@directory.example",
        active=True,
        admin=True,
        superuser=True,
    )
    session = await SessionsBase.create_session(user_id=user.id)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ADDRESS) as client:
        client.cookies.set("id", session.token)
        await client.get("/")
        client.headers["X-CSRFToken"] = client.cookies["csrftoken"]
        yield client


@pytest.fixture
async def ana(directory: asyncpg.Pool) -> CommunityMember:
    """Member #1."""
    return await _member("Ana García", "1001")


@pytest.fixture
async def bea(ana: CommunityMember) -> CommunityMember:
    """Member #2."""
    return await _member("Bea O'Neill", "1002")


async def _member(name: str, telegram_id: str) -> CommunityMember:
    member = CommunityMember(name=name, telegram_id=telegram_id, primary_role="developer", status="active")
    await member.save()
    await member.refresh()
    return member
