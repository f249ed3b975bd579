"""The database roles of the tests: programs connect as they do in production, never as superuser.

Each worker has roles of its own, because roles belong to a whole server.
"""

import secrets
from urllib.parse import urlsplit, urlunsplit

import asyncpg

PREFIX = f"test_{secrets.token_hex(8)}"
"""The beginning of the names of this worker's roles."""
GROUPS = ("owner", "app", "reader")
PASSWORD = secrets.token_hex(16)
MIGRATOR, PROGRAM, REPORTER = f"{PREFIX}_migrator", f"{PREFIX}_program", f"{PREFIX}_reporter"
"""The logins: the owner of the database, a member of the app's role, and one of the reader's."""


def app_url(url: str) -> str:
    """Return the URL of the same database for a login with the rights of the panel and the bots."""
    return with_login(url, PROGRAM)


def reader_url(url: str) -> str:
    """Return the URL of the same database for a login that sees no personal data."""
    return with_login(url, REPORTER)


def migrator_url(url: str) -> str:
    """Return the URL of the same database for the login that migrates."""
    return with_login(url, MIGRATOR)


def with_login(url: str, login: str) -> str:
    """Return the URL of the same database for another login, which has the same password."""
    parts = urlsplit(url)
    hosts = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{login}:{PASSWORD}@{hosts}"))


async def create_migrator(superuser: asyncpg.Connection) -> None:
    """Create the login that migrates; it becomes a member of the owner's role later."""
    await superuser.execute(f"CREATE ROLE {MIGRATOR} LOGIN PASSWORD '{PASSWORD}'")


async def create_programs(superuser: asyncpg.Connection) -> None:
    """Create the other logins, as members of the roles that `community-directory roles` made."""
    for login, role in ((PROGRAM, "app"), (REPORTER, "reader")):
        await superuser.execute(
            f"CREATE ROLE {login} LOGIN PASSWORD '{PASSWORD}' IN ROLE {PREFIX}_{role}"
        )


def make_login_script(login: str, group: str) -> str:
    """Return the SQL that creates a login on a worker of Citus."""
    return f"""
    DO $$ BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{login}') THEN
            CREATE ROLE {login} LOGIN PASSWORD '{PASSWORD}';
        END IF;
        GRANT {PREFIX}_{group} TO {login};
    END $$"""


async def drop_roles(superuser: asyncpg.Connection) -> None:
    """Drop the roles of this worker; its databases are gone."""
    for role in (MIGRATOR, PROGRAM, REPORTER, *(f"{PREFIX}_{name}" for name in GROUPS)):
        await superuser.execute(f"DROP ROLE IF EXISTS {role}")
