"""Two processes of the panel behind one address and one PgBouncer: they act as one."""

import asyncio
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import httpx
import pyotp
import pytest
from pydantic import SecretStr

from community_directory.settings import Settings
from community_directory.web.admin.attempts import ADDRESS_LIMIT
from community_directory.web.admin.second_factor import mfa_providers
from tests.conftest import Server, new_database
from tests.database.test_pgbouncer import apply_documented_limits
from tests.database.test_pgbouncer import documented as documented_pgbouncer
from tests.processes import ADMIN_PASSWORD, Panel, running_panel
from tests.servers import running_pgbouncer
from tests.tables import rows
from tests.web.test_proxies import HOST, Visitor, fail, running_proxy

pytestmark = pytest.mark.faults

MFA_KEY = "a key that is long enough for this"
Panels = tuple[Panel, Panel, str]
"""Two panels that trust one proxy, and the URL of their database."""


@pytest.fixture
async def panels(server: Server, template: str) -> AsyncIterator[Panels]:
    directory = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    directory.chmod(0o755)
    async with new_database(server, template) as url:
        await apply_documented_limits(url)
        connection = await asyncpg.connect(url)
        await rows.invitation(connection, expires_at=datetime(2026, 1, 1, tzinfo=UTC))
        await connection.close()
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, directory)
            pgbouncer = stack.enter_context(
                running_pgbouncer(directory, server.url, documented_pgbouncer("ini"))
            )
            settings = {
                "POSTGRES_URL": pgbouncer.url(url),
                "DIRECTORY_STATEMENT_CACHE_SIZE": "0",
                "DIRECTORY_ADMIN_PASSWORD": ADMIN_PASSWORD,
                "DIRECTORY_MFA_KEY": MFA_KEY,
                "DIRECTORY_PRODUCTION": "true",
                "DIRECTORY_ALLOWED_HOSTS": HOST,
                "DIRECTORY_TRUSTED_PROXIES": "1",
            }
            one, other = (stack.enter_context(running_panel(**settings)) for _ in range(2))
            yield one, other, url


def address(panel: Panel) -> str:
    return httpx.URL(panel.url).netloc.decode()


@pytest.mark.parametrize(
    ("name", "addresses"),
    [("caddy", ("127.0.0.6", "127.0.0.7")), ("nginx", ("127.0.0.8", "127.0.0.9"))],
)
async def test_two_processes_behind_the_documented_proxy_act_as_one(
    name: str, addresses: tuple[str, str], panels: Panels, tmp_path: Path
) -> None:
    one, other, url = panels
    upstreams = [address(one), address(other)]
    with running_proxy(name, tmp_path, *upstreams) as port:
        attacker, owner = (Visitor(port, each) for each in addresses)
        await attacker.open()
        await owner.open()
        # The limit counts the attempts at both.
        statuses = [
            await fail(attacker.request, number) for number in range(ADDRESS_LIMIT.failures + 1)
        ]
        assert statuses == [401] * ADDRESS_LIMIT.failures + [429]
        # A session, and the protection against forged requests, hold at both.
        answer = await owner.sign_in()
        assert answer.status_code == 200, answer.text
        owner.client.headers["Cookie"] += f"; id={answer.cookies['id']}"
        for _ in range(20):  # Caddy chooses at random
            answer = await owner.request("GET", "/admin/api/tables/community_members/")
            assert answer.status_code == 200
        new = {"name": "Eva", "telegram_id": "5", "primary_role": "designer"}
        form = (await owner.request("GET", "/admin/api/tables/community_members/new/")).json()
        answer = await owner.request(
            "POST", "/admin/api/tables/community_members/", {**form, **new}
        )
        assert answer.status_code == 201, answer.text
        await assert_a_code_is_used_once(owner, url)
        # A sign-out at one of them is one at both.
        assert (await owner.request("POST", "/admin/public/logout/")).status_code == 200
        for _ in range(10):
            answer = await owner.request("GET", "/admin/api/tables/community_members/")
            assert answer.status_code == 401
        for visitor in (attacker, owner):
            await visitor.client.aclose()
    assert [one.stop(), other.stop()] == [-signal.SIGTERM] * 2
    for panel in (one, other):
        assert any(" /admin/api/tables/community_members/ 200 " in line for line in panel.logged)
    assert_jobs_ran_once(one, other)


async def assert_a_code_is_used_once(owner: Visitor, url: str) -> None:
    """Set a second factor up, and sign in with it at whichever process answers."""
    page = await owner.client.post(
        "/me/second-factor/",
        data={"password": ADMIN_PASSWORD},
        extensions={"sni_hostname": HOST},
    )
    assert "otpauth://totp/" in page.text
    (provider,) = mfa_providers(Settings(mfa_key=SecretStr(MFA_KEY)))
    connection = await asyncpg.connect(url)
    stored = await connection.fetchval("SELECT secret FROM authenticator_secret")
    await connection.close()
    code = pyotp.TOTP(provider.encryption_provider.decrypt(stored)).now()
    form = {"username": "admin", "password": ADMIN_PASSWORD, "mfa_code": code}
    answers = await asyncio.gather(
        *(owner.request("POST", "/admin/public/login/", form) for _ in range(4))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401]


def assert_jobs_ran_once(*panels: Panel) -> None:
    """Assert that both processes ran the jobs, and that one of them did what there was to do."""
    expired = [
        line.rpartition(": ")[2]
        for panel in panels
        for line in panel.logged
        if "expire_overdue_invitations: " in line
    ]
    assert len(expired) == 2
    assert expired.count("1 rows") == 1, expired
