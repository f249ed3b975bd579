"""Schemathesis calls every operation of the panel's API in each role, and the rows are compared."""

import asyncio
import contextlib
import json
import re
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

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
from community_directory.web.security import SESSION_IDLE_TIMEOUT
from tests.processes import environment
from tests.tables import rows
from tests.web.conftest import ADMIN_ADDRESS, PASSWORD, PanelServer

CSRF_TOKEN = "token-of-the-test"
FIRST_KEY = 900_000
"""Users and sessions have keys that Schemathesis doesn't guess: it must not sign itself out."""
KEY = uuid.UUID("01900000-0000-7000-8000-000000000001")
"""The primary key of a row of every table with UUIDs."""
SECRET = "JBSWY3DPEHPK3PXP"
"""The secret of a second factor."""
CODE = "MARKEDCODE234567"
NAME = "Ana of the seeded rows"


@dataclass(frozen=True, eq=False)
class Role:
    """Who calls the API.

    Attributes:
        name: The name of the role and of its user.
        rights: The rights of the user; None when nobody is signed in.
        may_write: The tables that its calls may change.
    """

    name: str
    rights: dict[str, bool] | None
    may_write: frozenset[str] = frozenset()

    @property
    def is_inside(self) -> bool:
        """The role may enter the panel."""
        return bool(self.rights and self.rights.get("admin"))


COMMUNITY_TABLES = frozenset(
    {
        "community_members",
        "community_invitations",
        "member_permissions",  # a removal takes them
        "member_requests",
        "member_relationships",
        "directory_bots",
        "member_accounts",
        "member_daily_highlights",
        "member_monthly_highlights",
        "member_daily_rooms",
        "member_monthly_rooms",
        "member_rooms",
        "member_milestones",
        "directory_hourly_counts",
        "directory_audit_log",
        "directory_rolled_up_days",
    }
)
MANAGER = Role("manager", {"admin": True}, COMMUNITY_TABLES)
SUPERUSER = Role(
    "superuser",
    {"admin": True, "superuser": True},
    COMMUNITY_TABLES | {"piccolo_user", "panel_temporary_passwords", "sessions"},
)
OUTSIDER = Role("outsider", {})
NOBODY = Role("nobody", None)
ROLES = [SUPERUSER, MANAGER, OUTSIDER, NOBODY]

SUPERUSER_PATHS = (
    "/admin/api/tables/piccolo_user/",
    "/admin/api/tables/sessions/",
)

KEYS = {"directory_audit_log": 1, "piccolo_user": FIRST_KEY, "sessions": FIRST_KEY}
"""The primary keys of rows in tables without UUIDs."""

BODIES: dict[tuple[str, str], dict[str, str]] = {
    ("post", "/tables/community_members/"): {
        "name": "Eva",
        "telegram_id": "2001",
        "primary_role": "designer",
    },
    ("patch", "/tables/community_members/{row_id}/"): {"country": "Perú"},
    ("post", "/tables/community_invitations/"): {"created_by": "#1"},
    ("post", "/tables/member_relationships/"): {
        "entity_id_a": "c",
        "entity_id_b": "d",
        "relationship_type": "INVITED",
    },
    ("post", "/tables/piccolo_user/"): {
        "username": "eva",
        "email": "eva@panel.example",
        "password": "a password of four words",
    },
    ("post", "/forms/mark-as-a-bot/"): {"member": "#4"},
    ("post", "/forms/mark-as-a-person/"): {"member": "#5"},
}
"""The bodies with which operations succeed on the seeded rows; other operations need none."""


class Answer(NamedTuple):
    """An answer of the API."""

    method: str
    path: str
    status: int
    body: bytes

    def contains(self, texts: list[str]) -> bool:
        return any(text.encode() in self.body for text in texts)


@dataclass
class Recorder:
    """ASGI middleware that keeps every answer of an app."""

    app: ASGIApp
    answers: list[Answer] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path, status, body = scope["method"], scope["path"], 0, b""

        async def record(message: Message) -> None:
            nonlocal status, body
            status = message.get("status", status)
            body += message.get("body", b"")
            await send(message)

        await self.app(scope, receive, record)
        self.answers.append(Answer(method, path, status, body))


@contextlib.asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[str]:
    """Serve an app on a free port, and yield its address."""
    config = uvicorn.Config(app, port=0, log_level="warning", lifespan="off")
    server = PanelServer(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


async def seed(directory: asyncpg.Pool) -> None:
    """Store a row in each table, and a user and a session that the API may change."""
    for table in ("piccolo_user", "sessions"):
        await directory.execute(f"SELECT setval('{table}_id_seq', {FIRST_KEY}, false)")
    target, other = await add_user("target", {}), await add_user("other", {})
    await session_for(other)
    await AuthenticatorSecret(user_id=target.id, secret=SECRET, recovery_codes=[SECRET]).save()
    for number in range(1, 6):
        await CommunityMember(
            id=uuid.UUID(int=KEY.int + number - 1),
            name=NAME if number == 1 else f"Person {number}",
            telegram_id=f"100{number}",
            telegram_username=f"person_{number}",
            primary_role="developer",
            status="pending" if number in (2, 3) else "active",
        ).save()
    await members.mark_bot("#5", actor="seed")
    await CommunityInvitation(invitation_id=KEY, invitation_code=CODE, created_by="#1").save()
    await MemberRelationship(
        id=KEY, entity_id_a="a", entity_id_b="b", relationship_type="INVITED"
    ).save()
    await MemberParticipation(
        id=KEY, member_id="#1", event_type="MESSAGE", platform="telegram", room_id="1"
    ).save()
    await MemberDailyHighlight(id=KEY, member_id="#1", highlight_date=date(2026, 1, 31)).save()
    await rows.permission(directory, id=KEY, member_id="#4", permission="invite")
    await rows.request(directory, id=KEY, member_id="#4")
    await rows.bot(directory, id=KEY)


async def fetch_document(app: ASGIApp) -> dict[str, Any]:
    """Return the document as a signed-in user gets it."""
    token = await session_for(await add_user("reader", {"admin": True}))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url=ADMIN_ADDRESS) as client:
        client.cookies.set("id", token)
        response = await client.get("/api/openapi.json")
    document: dict[str, Any] = response.json()
    return document


async def add_user(name: str, rights: dict[str, bool]) -> BaseUser:
    email = f"{name}@panel.example"
    return await BaseUser.create_user(name, PASSWORD, email=email, active=True, **rights)


async def session_for(user: BaseUser) -> str:
    """Create a session that is too new to be extended by a call, and return its token."""
    ends = datetime.now() + SESSION_IDLE_TIMEOUT  # noqa: DTZ005  as in piccolo_api
    session = await SessionsBase.create_session(user_id=user.id, expiry_date=ends)
    return str(session.token)


async def secrets_of(directory: asyncpg.Pool, role: Role) -> list[str]:
    """Return the texts that no answer to a role may contain."""
    users = await directory.fetch("SELECT password, email FROM piccolo_user")
    hidden = [SECRET, *(user["password"] for user in users)]
    hidden += [row["token"] for row in await directory.fetch("SELECT token FROM sessions")]
    if role is not SUPERUSER:
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


def add_examples(document: dict[str, Any]) -> None:
    """Add to each operation an example with which it succeeds once on the seeded rows."""
    for path, methods in document["paths"].items():
        for parameter in methods.get("parameters", ()):
            table = path.split("/")[2]
            parameter["example"] = KEYS.get(table, str(KEY))
        for method in ("post", "patch"):
            if method in methods and "requestBody" in methods[method]:
                (content,) = methods[method]["requestBody"]["content"].values()
                content["example"] = BODIES.get((method, path), {})


def configuration(role: Role, token: str | None) -> str:
    """Return the configuration of Schemathesis: the credentials and the checks."""
    accepted = ["2xx", 403, 404, 422] if role.is_inside else [401, 403]
    credentials = {"csrf_cookie": CSRF_TOKEN, "csrf_token": CSRF_TOKEN, "session": token}
    lines = ["warnings = false", "continue-on-failure = true"]
    # Keys of rows that calls have added differ from run to run.
    lines += [
        f"[phases.{phase}.extra-data-sources]\nresponses = false"
        for phase in ("examples", "coverage", "fuzzing")
    ]
    # An empty value in a query means the same as a missing one.
    lines += [
        f"[phases.{phase}.checks.negative_data_rejection]\nenabled = false"
        for phase in ("fuzzing", "stateful")
    ]
    lines.append(f"[checks.positive_data_acceptance]\nexpected-statuses = {json.dumps(accepted)}")
    for name, value in credentials.items():
        if value:
            lines.append(f"[auth.openapi.{name}]\napi_key = {json.dumps(value)}")
    return "\n".join(lines)


async def run_schemathesis(folder: Path, address: str, *options: str) -> str:
    """Run Schemathesis on the document in a folder, and return what it printed.

    Raises:
        AssertionError: It found a fault.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml"),
        *("run", "openapi.json", "--url", f"{address}/admin/api", "--no-color", *options),
        *("--generation-deterministic", "--max-redirects", "0"),
        cwd=folder,
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        printed = (await process.communicate())[0].decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, printed
    return printed


def operations(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the method and the path of every operation of a document."""
    return [
        (method.upper(), f"/admin/api{path}")
        for path, methods in document["paths"].items()
        for method in methods
        if method != "parameters"
    ]


def succeeded(recorder: Recorder, method: str, path: str) -> bool:
    pattern = re.escape(path).replace(re.escape("{row_id}"), "[^/]+")
    return any(
        answer.method == method
        and 200 <= answer.status < 300
        and re.fullmatch(pattern, answer.path)
        for answer in recorder.answers
    )


def options(role: Role, *, is_thorough: bool) -> list[str]:
    """Return the options that say how many calls Schemathesis makes."""
    if is_thorough:
        return ["--phases=examples,coverage,fuzzing,stateful", "--max-examples=60"]
    if role.is_inside:
        return ["--phases=examples,fuzzing", "--max-examples=1"]
    return ["--phases=fuzzing", "--max-examples=1"]


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
@pytest.mark.parametrize(
    "is_thorough",
    [
        pytest.param(False, marks=pytest.mark.timeout(900)),
        pytest.param(True, marks=[pytest.mark.faults, pytest.mark.timeout(3600)]),
    ],
    ids=["quick", "thorough"],
)
async def test_no_call_fails_shows_or_changes_what_its_role_may_not(
    directory: asyncpg.Pool,
    fast_hashes: None,
    tmp_path: Path,
    role: Role,
    is_thorough: bool,
) -> None:
    await seed(directory)
    token = None
    if role.rights is not None:
        token = await session_for(await add_user(role.name, role.rights))
    app = App(Settings(mfa_key=SecretStr("a key that is long enough for this")))
    document = await fetch_document(app)
    add_examples(document)
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    (tmp_path / "schemathesis.toml").write_text(configuration(role, token))
    hidden, before = await secrets_of(directory, role), await fingerprints(directory)
    recorder = Recorder(app)
    async with serving(recorder) as address:
        await run_schemathesis(tmp_path, address, *options(role, is_thorough=is_thorough))
    after = await fingerprints(directory)

    assert len(recorder.answers) > len(operations(document))
    assert [answer for answer in recorder.answers if answer.contains(hidden)] == []
    unwritten = set(before) - role.may_write
    assert {name for name in unwritten if before[name] != after[name]} == set()
    if not role.is_inside:
        refused = {
            answer.status for answer in recorder.answers if answer.path.startswith("/admin/api/")
        }
        assert refused <= {401, 403}
    if role is MANAGER:
        # Schemathesis also tries without the session: 401.
        for answer in recorder.answers:
            if answer.path.startswith(SUPERUSER_PATHS):
                assert answer.status in (401, 403, 404, 405), answer
    if role is SUPERUSER:
        # Otherwise the calls would prove little.
        failed = [
            operation for operation in operations(document) if not succeeded(recorder, *operation)
        ]
        assert failed == [], str(failed)
