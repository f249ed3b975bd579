"""Scratch databases on the server of POSTGRES_URL, or on an embedded one."""

import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from community_directory.database import connect, embedded
from community_directory.database.migrations import migrate


@asynccontextmanager
async def scratch_database() -> AsyncIterator[str]:
    """Create a migrated database, yield its URL, and drop it at the end."""
    url, directory = os.environ.get("POSTGRES_URL"), None
    if url is None:
        # If this process is root, PostgreSQL runs as another user, who must reach the directory.
        directory = Path(tempfile.mkdtemp(prefix="benchmark-"))
        arguments = await embedded.start(directory / "postgres")
        url = f"postgresql://postgres@/postgres?host={arguments['host']}&port={arguments['port']}"
    name = f"benchmark_{secrets.token_hex(4)}"
    server = await asyncpg.connect(url)
    await server.execute(f"CREATE DATABASE {name}")
    try:
        scratch = urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
        async with connect(scratch):
            await migrate()
        yield scratch
    finally:
        await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await server.close()
        if directory is not None:
            embedded.release()
            shutil.rmtree(directory, ignore_errors=True)


# A few members write most events. The events are of the last 180 days, oldest first.
LOAD_MEMBERS = """
INSERT INTO community_members (telegram_id, name, primary_role, status)
SELECT n::text, 'Member ' || n, 'developer', 'active' FROM generate_series(1, $1::integer) AS n
"""
LOAD_EVENTS = """
INSERT INTO member_participation (member_id, event_type, platform, room_id, source_id, occurred_at)
SELECT '#' || 1 + floor($1::integer * random() ^ 3)::integer,
    (ARRAY['MESSAGE', 'MESSAGE', 'REACTION'])[1 + n % 3],
    'telegram', '-1001', n::text, now() - ($3::integer - n) * (interval '180 days' / $3)
FROM generate_series($2::integer, $3::integer) AS n
"""


async def load(connection: asyncpg.Connection, *, members: int, events: int) -> None:
    """Fill the tables up to these numbers of members and events."""
    present = await connection.fetchval("SELECT count(*) FROM community_members")
    if present < members:
        await connection.execute(LOAD_MEMBERS, members - present, timeout=600)
    recorded = await connection.fetchval("SELECT count(*) FROM member_participation")
    await connection.execute(LOAD_EVENTS, members, recorded + 1, events, timeout=3600)
    await connection.execute("VACUUM ANALYZE", timeout=600)
