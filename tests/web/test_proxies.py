"""The address and the scheme of requests through proxies, with the documented configurations."""

import asyncio
import logging
import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from community_directory.web.admin.attempts import ADDRESS_LIMIT
from community_directory.web.proxies import ForwardedHeaders
from tests.conftest import Server, new_database
from tests.processes import ADMIN_PASSWORD, PROJECT, running_panel

HOST = "directory.example.org"
"""The name of the panel in the documentation."""
SEVERAL = "Run several processes"
"""The section of the documentation about several processes."""


async def tell(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope)
    assert request.client
    await JSONResponse([request.client.host, request.url.scheme])(scope, receive, send)


async def seen(trusted: int, *headers: tuple[str, str]) -> tuple[str, str]:
    """Return the address and the scheme that an app sees behind these proxies."""
    app = ForwardedHeaders(tell, trusted_proxies=trusted)
    transport = httpx.ASGITransport(app, client=("10.0.0.9", 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        address, scheme = (await client.get("/", headers=list(headers))).json()
    return address, scheme


def forwarded_for(*values: str) -> list[tuple[str, str]]:
    return [("X-Forwarded-For", value) for value in values]


@pytest.mark.parametrize(
    ("trusted", "values", "address"),
    [
        (0, ["1.1.1.1"], "10.0.0.9"),
        (1, [], "10.0.0.9"),
        (1, ["1.1.1.1"], "1.1.1.1"),
        (1, ["9.9.9.9, 1.1.1.1"], "1.1.1.1"),
        (1, ["9.9.9.9", "1.1.1.1"], "1.1.1.1"),
        (1, ["2001:db8::1"], "2001:db8::1"),
        (1, ["1.1.1.1, unknown"], "10.0.0.9"),
        (1, [" , "], "10.0.0.9"),
        (2, ["1.1.1.1"], "10.0.0.9"),
        (2, ["9.9.9.9,1.1.1.1 , 10.0.0.2"], "1.1.1.1"),
    ],
)
async def test_the_address_is_the_one_that_the_first_trusted_proxy_saw(
    trusted: int, values: list[str], address: str
) -> None:
    assert (await seen(trusted, *forwarded_for(*values)))[0] == address


@pytest.mark.parametrize(
    ("trusted", "value", "scheme"),
    [
        (0, "https", "http"),
        (1, "https", "https"),
        (1, "http", "http"),
        (1, "https, http", "http"),
        (1, "javascript", "http"),
        (2, "https", "https"),
        (2, "https, http", "https"),
    ],
)
async def test_the_scheme_is_the_one_that_the_first_trusted_proxy_saw(
    trusted: int, value: str, scheme: str
) -> None:
    assert (await seen(trusted, ("X-Forwarded-Proto", value)))[1] == scheme


async def test_an_operator_who_forgot_the_setting_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = ForwardedHeaders(tell, trusted_proxies=0)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        await client.get("/")
        assert not caplog.records
        for _ in range(2):
            await client.get("/", headers={"X-Forwarded-For": "1.1.1.1"})
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "set DIRECTORY_TRUSTED_PROXIES to 1" in record.getMessage()
    assert "1.1.1.1" not in record.getMessage()


# Caddy and nginx


def documented(language: str, heading: str = "Put a proxy in front") -> str:
    """Return the configuration of a proxy from a section of the documentation."""
    text = (PROJECT / "docs/how-to/deploy.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    (block,) = re.findall(rf"^    ```{language}\n(.*?)^    ```$", section, re.DOTALL | re.MULTILINE)
    return str(re.sub("^    ", "", block, flags=re.MULTILINE))


def replace_all(text: str, **parts: object) -> str:
    """Replace parts of a configuration, each of which must be there."""
    for old, new in parts.items():
        assert old in text, f"{old} is not in the documented configuration"
        text = text.replace(old, str(new))
    return text


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def caddy_arguments(folder: Path, port: int, *upstreams: str) -> list[str]:
    """Write the documented configuration with an internal certificate, and return the arguments."""
    site = documented("text")
    if len(upstreams) > 1:
        several = documented("text", SEVERAL).strip()
        site = replace_all(site, **{"reverse_proxy 127.0.0.1:8000": several})
    options = (
        "{\nadmin off\nauto_https disable_redirects\nlocal_certs\nskip_install_trust\n"
        f"default_bind 127.0.0.1\nhttps_port {port}\nstorage file_system {folder}\n}}\n"
    )
    file = folder / "Caddyfile"
    file.write_text(options + name_upstreams(site, *upstreams))
    return ["run", "--config", str(file)]


def name_upstreams(configuration: str, *upstreams: str) -> str:
    """Replace the documented addresses of the panel's processes."""
    names = ("127.0.0.1:8000", "127.0.0.1:8001")
    return replace_all(configuration, **dict(zip(names, upstreams, strict=False)))


def nginx_arguments(folder: Path, port: int, *upstreams: str) -> list[str]:
    """Write the documented configuration with a certificate, and return the arguments."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    files = ["-subj", f"/CN={HOST}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *files], check=True, capture_output=True)
    server = replace_all(
        documented("nginx"),
        **{
            "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
            "/etc/ssl/directory.pem": certificate,
            "/etc/ssl/directory.key": key,
        },
    )
    if len(upstreams) > 1:
        server = replace_all(server, **{"http://127.0.0.1:8000": "http://directory"})
        server = documented("nginx", SEVERAL) + server
    server = name_upstreams(server, *upstreams)
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;\n" if os.geteuid() == 0 else ""
    file = folder / "nginx.conf"
    file.write_text(
        f"{user}daemon off;\npid {folder}/pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}{server}\n}}\n"
    )
    return ["-c", str(file), "-p", str(folder), "-e", "stderr"]


@contextmanager
def running_proxy(name: str, folder: Path, *upstreams: str) -> Iterator[int]:
    """Run a proxy with the documented configuration, and yield its port."""
    # Debian has nginx in a folder that is not on the path of every user.
    program = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail(f"CI must install {name}")
        pytest.skip(f"no {name} on this machine")
    port = free_port()
    arguments = {"caddy": caddy_arguments, "nginx": nginx_arguments}[name](folder, port, *upstreams)
    environment = {**os.environ, "HOME": str(folder)}
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen([program, *arguments], env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            yield port
        except BaseException:
            print((folder / "log").read_text())  # noqa: T201  pytest shows it
            raise
        finally:
            process.terminate()


async def fail(request: Callable[..., Awaitable[httpx.Response]], number: int) -> int:
    """Fail to sign in with an invented address, and return the status.

    The code is refused before the password is hashed, which would take longer.
    """
    form = {"username": f"nobody{number}", "password": ADMIN_PASSWORD, "mfa_code": "é"}
    headers = {"X-Forwarded-For": f"8.8.8.{number}"}
    return (await request("POST", "/admin/public/login/", json=form, headers=headers)).status_code


class Visitor:
    """A client behind the proxy, at an address of its own."""

    def __init__(self, port: int, address: str) -> None:
        # The certificate belongs to the name in the documentation, and no authority knows it.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.client = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(verify=context, local_address=address),
            base_url=f"https://127.0.0.1:{port}",
            headers={"Host": HOST, "Origin": f"https://{HOST}"},
            timeout=60,
        )

    async def request(
        self,
        method: str,
        path: str,
        json: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        return await self.client.request(
            method, path, json=json, headers=headers, extensions={"sni_hostname": HOST}
        )

    async def open(self) -> None:
        """Open the panel, as soon as the proxy runs."""
        async with asyncio.timeout(60):
            while True:
                try:
                    answer = await self.request("GET", "/admin/")
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
                else:
                    break
        assert answer.status_code == 200
        self.client.headers["X-CSRFToken"] = answer.cookies["csrftoken"]
        # The cookie is secure, and belongs to the name of the panel.
        self.client.headers["Cookie"] = f"csrftoken={answer.cookies['csrftoken']}"

    async def sign_in(self, **headers: str) -> httpx.Response:
        """Sign in as the first superuser."""
        form = {"username": "admin", "password": ADMIN_PASSWORD}
        return await self.request("POST", "/admin/public/login/", form, headers)


@pytest.fixture(scope="module")
async def panel_address(server: Server, template: str) -> AsyncIterator[str]:
    """The host and port of a panel that expects one proxy."""
    async with new_database(server, template) as url:
        with running_panel(
            POSTGRES_URL=url,
            DIRECTORY_PRODUCTION="true",
            DIRECTORY_ALLOWED_HOSTS=HOST,
            DIRECTORY_TRUSTED_PROXIES="1",
            DIRECTORY_ADMIN_PASSWORD=ADMIN_PASSWORD,
        ) as panel:
            yield httpx.URL(panel.url).netloc.decode()
            panel.stop()


@pytest.mark.parametrize(
    ("name", "addresses"),
    [("caddy", ("127.0.0.2", "127.0.0.3")), ("nginx", ("127.0.0.4", "127.0.0.5"))],
)
async def test_the_documented_proxy_tells_visitors_apart(
    name: str, addresses: tuple[str, str], panel_address: str, tmp_path: Path
) -> None:
    with running_proxy(name, tmp_path, panel_address) as port:
        attacker, owner = (Visitor(port, address) for address in addresses)
        await attacker.open()
        await owner.open()
        statuses = [
            await fail(attacker.request, number) for number in range(ADDRESS_LIMIT.failures + 1)
        ]
        assert statuses == [401] * ADDRESS_LIMIT.failures + [429]

        answer = await owner.sign_in()
        assert answer.status_code == 200, answer.text
        cookies = answer.headers.get_list("Set-Cookie")
        assert cookies
        assert all("Secure" in cookie for cookie in cookies)
        # The panel knows that the connection is encrypted, and therefore checks the origin.
        refused = await owner.sign_in(Origin="https://evil.example")
        assert (refused.status_code, refused.text) == (403, "Referer or origin is incorrect")
        redirect = await owner.request("GET", "/insights")
        assert redirect.status_code == 307
        for visitor in (attacker, owner):
            await visitor.client.aclose()


async def test_without_a_proxy_an_invented_address_is_ignored(database: str) -> None:
    settings = {"POSTGRES_URL": database, "DIRECTORY_ADMIN_PASSWORD": ADMIN_PASSWORD}
    with running_panel(**settings) as panel:
        async with httpx.AsyncClient(base_url=panel.url, timeout=60) as client:
            client.headers["X-CSRFToken"] = (await client.get("/admin/")).cookies["csrftoken"]
            statuses = [
                await fail(client.request, number) for number in range(ADDRESS_LIMIT.failures + 1)
            ]
    assert statuses == [401] * ADDRESS_LIMIT.failures + [429]
