"""Connections to a URL of several servers: the first server that accepts writes is used."""

import os
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

import asyncpg

from community_directory.database.limits import acquire_limit

CONNECT_SHARE = 0.8
"""The share of the wait for a connection that all servers of a URL together may take.

Each has an equal part of it, so that a server that is silent does not use up the time of a call.
"""
LOST_ERRORS = (
    OSError,
    TimeoutError,
    asyncpg.CannotConnectNowError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.InternalClientError,
)
"""The exceptions of a server that is away, starting, or without the wanted attributes."""

_last_used: dict[str, str] = {}
"""The server that was used last, by the URL of several servers.

It is tried first: a former primary that comes back must not be preferred to its successor.
"""


async def open_connection(dsn: str | None = None, **options: Any) -> asyncpg.Connection:
    """Open a connection with these arguments of `asyncpg.connect`.

    If the URL names several servers, the connection is to the first one that accepts writes, or
    that has the `target_session_attrs` of the URL.

    Raises:
        ConnectionError: None of several servers can be used.
        TooManyConnectionsError: One of them is full, and no other one can be used.
    """
    servers = split_servers(dsn or "")
    if dsn is None or len(servers) == 1:
        single: asyncpg.Connection = await asyncpg.connect(dsn, **options)
        return single
    options["timeout"] = CONNECT_SHARE * acquire_limit() / len(servers)
    if not _names_session_attributes(dsn):
        options["target_session_attrs"] = "read-write"
    failures: list[str] = []
    refusal: asyncpg.TooManyConnectionsError | None = None
    for server in sorted(servers, key=lambda server: server != _last_used.get(dsn)):
        try:
            connection: asyncpg.Connection = await asyncpg.connect(server, **options)
        except asyncpg.TooManyConnectionsError as error:
            refusal = error
        except LOST_ERRORS as error:
            failures.append(f"{host_of(server)}: {_explain(error)}")
        else:
            _last_used[dsn] = server
            return connection
    raise refusal or ConnectionError("; ".join(failures))


def split_servers(url: str) -> list[str]:
    """Return the URLs of the servers that `open_connection` tries one after the other."""
    # asyncpg must see all servers to tell whether one is the standby that is preferred.
    return [url] if "prefer-standby" in urlsplit(url).query else list_servers(url)


def list_servers(url: str) -> list[str]:
    """Return the URL of each server that a URL such as postgresql://user@a,b/database names."""
    parts = urlsplit(url)
    login, at, hosts = parts.netloc.rpartition("@")
    return [urlunsplit(parts._replace(netloc=f"{login}{at}{host}")) for host in hosts.split(",")]


def name_session_attributes(url: str) -> str:
    """Return the URL with which PostgreSQL's programs find the same server as `open_connection`."""
    if len(split_servers(url)) == 1 or _names_session_attributes(url):
        return url
    return f"{url}{'&' if urlsplit(url).query else '?'}target_session_attrs=read-write"


def _names_session_attributes(url: str) -> bool:
    return (
        "target_session_attrs" in parse_qs(urlsplit(url).query)
        or "PGTARGETSESSIONATTRS" in os.environ
    )


def host_of(url: str) -> str:
    """Return the host and port of a URL, without its login."""
    return urlsplit(url).netloc.rpartition("@")[2]


def _explain(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return "it is read-only"
    return str(error) or type(error).__name__
