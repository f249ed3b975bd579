"""Schemathesis calls every operation of the panel's API in each role, and the rows are compared."""

import asyncio
import contextlib
import json
import re
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import uvicorn
from piccolo.apps.user.tables import BaseUser
from piccolo_api.mfa.authenticator.tables import AuthenticatorSecret
from piccolo_api.session_auth.tables import SessionsBase
from pydantic import SecretStr
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from community_directory.app import App
from community_directory.queries import members
from community_directory.settings import Settings
from community_directory.tables import (
    CommunityInvitation,
    CommunityMember,
    MemberDailyHighlight,
    MemberParticipation,
    MemberRelationship,
)
from tests.processes import environment
from tests.web.conftest import PanelServer, fast_hashes as fast_hashes

pytest.importorskip("schemathesis", reason="Schemathesis comes with the extra dev")

CSRF_TOKEN = "token-of-the-test"
FIRST_KEY = 900_000
"""Users and sessions have keys that Schemathesis doesn't guess: it must not sign itself out."""
KEY = uuid.UUID("01900000-0000-7000-8000-000000000001")
"""The primary key of a row of every table with UUIDs."""
SECRET = "JBSWY3DPEHPK3PXP"
"""The secret of a second factor."""
PASSWORD = "long enough for this"
CODE = "MARKEDCODE234567"
NAME = "Ana of the seeded rows"


@dataclass(frozen=True, eq=False)
class Role:
    """Who calls the API."""

    name: str
    rights: dict[str, bool] | None
    """The rights of the user; None when nobody is signed in."""

    @property
    def is_inside(self) -> bool:
        return bool(self.rights and self.rights.get("admin"))


SUPERUSER = Role("superuser", {"admin": True, "superuser": True})
MANAGER = Role("manager", {"admin": True})
OUTSIDER = Role("outsider", {})
NOBODY = Role("nobody", None)
ROLES = [SUPERUSER, MANAGER, OUTSIDER, NOBODY]

SUPERUSER_PATHS = ("/api/tables/piccolo_user/", "/api/tables/sessions/")
SUPERUSER_FORMS = ("/api/forms/export-a-person/", "/api/forms/erase-a-person/")
UNWRITTEN_TABLES = {
    SUPERUSER: {"member_participation", "authenticator_secret", "panel_attempts", "migration"},
    MANAGER: {
        *("member_participation", "authenticator_secret", "panel_attempts", "migration"),
        *("piccolo_user", "sessions"),
    },
}
"""The tables that a role must not change; other roles must change none."""


@dataclass
class Recorder:
    """ASGI middleware that keeps every answer of an app."""

    app: ASGIApp
    answers: list[tuple[str, str, int, bytes]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path, status, body = scope["method"], scope["path"], 0, b""

        async def record(message: Message) -> None:
            nonlocal status, body
            status = message.get("status", status)
            body += message.get("body", b"")
            await send(message)

        await self.app(scope, receive, record)
        self.answers.append((method, path, status, body))


@pytest.fixture
async def recorder(directory: asyncpg.Pool) -> AsyncIterator[Recorder]:
    settings = Settings(mfa_key=SecretStr("a key that is long enough for this"))
    yield Recorder(App(settings))


@contextlib.asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[str]:
    """Serve an app on a free port, and yield its address."""
    config = uvicorn.Config(app, port=0, log_level="warning", lifespan="off")
    server = PanelServer(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await task


async def seed(directory: asyncpg.Pool) -> None:
    """Store a row in each table, and one more user, whom the API may change."""
    for table in ("piccolo_user", "sessions"):
        await directory.execute(f"SELECT setval('{table}_id_seq', {FIRST_KEY}, false)")
    target = await add_user("target", {})
    await SessionsBase.create_session(user_id=target.id)
    await AuthenticatorSecret(user_id=target.id, secret=SECRET, recovery_codes=[SECRET]).save()
    people = [
        CommunityMember(
            id=KEY if number == 1 else uuid.UUID(int=KEY.int + number),
            name=NAME if number == 1 else f"Person {number}",
            telegram_id=f"100{number}",
            telegram_username=f"person_{number}",
            primary_role="developer",
            status="pending" if number == 2 else "active",
        )
        for number in range(1, 6)
    ]
    for person in people:
        await person.save()
    await members.remove("#4", actor="seed")
    await members.set_status("#5", "suspended", actor="seed")
    await CommunityInvitation(
        invitation_id=KEY, invitation_code=CODE, created_by="#1", invited_telegram_username="eva"
    ).save()
    await MemberRelationship(
        id=KEY, entity_id_a="a", entity_id_b="b", relationship_type="INVITED"
    ).save()
    await MemberParticipation(
        id=KEY, member_id="#1", event_type="MESSAGE", platform="telegram", room_id="1"
    ).save()
    [(today,)] = await directory.fetch("SELECT current_date")
    await MemberDailyHighlight(id=KEY, member_id="#1", highlight_date=today).save()


async def add_user(name: str, rights: dict[str, bool]) -> BaseUser:
    email = f"{name}@panel.example"
    return await BaseUser.create_user(name, PASSWORD, email=email, active=True, **rights)


async def secrets_of(directory: asyncpg.Pool, role: Role) -> list[str]:
    """Return the texts that no answer to a role may contain."""
    users = await directory.fetch("SELECT password, email FROM piccolo_user")
    hidden = [SECRET, *(user["password"] for user in users)]
    hidden += [row["token"] for row in await directory.fetch("SELECT token FROM sessions")]
    if role != SUPERUSER:
        hidden += [user["email"] for user in users]
    if not role.is_inside:
        hidden += [CODE, NAME, str(KEY), "person_2"]
    return hidden


async def fingerprints(directory: asyncpg.Pool) -> dict[str, str]:
    """Return a hash of the rows of each table."""
    names = await directory.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return {
        name: await directory.fetchval(
            f"SELECT md5(coalesce(string_agg(r::text, ',' ORDER BY r::text), '')) FROM {name} AS r"
        )
        for (name,) in names
    }


def configuration(token: str | None) -> str:
    """Return the configuration of Schemathesis: keys and names of rows that exist, and checks."""
    values = {
        "keys": [str(KEY)],
        "numbers": [1, 2, 3],
        "users": [FIRST_KEY],
        "members": ["#1", "#2", "#3", "1", "person", "#5"],
        "removed": ["#4"],
        "invitations": [CODE],
        "codes": [CODE],
    }
    lines = [
        "warnings = false",
        "continue-on-failure = true",
        "[generation]",
        "deterministic = true",
        f'[auth.openapi]\ncsrf_cookie = {{ api_key = "{CSRF_TOKEN}" }}',
        f'csrf_token = {{ api_key = "{CSRF_TOKEN}" }}',
    ]
    if token:
        lines.append(f'session = {{ api_key = "{token}" }}')
    for name, listed in values.items():
        lines.append(f"[dictionaries.{name}]\nvalues = {json.dumps(listed)}")
    return "\n".join(lines)
