"""Restore a backup: completely, or not at all."""

import asyncio
import contextlib
import re
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Never

import asyncpg
from tqdm import tqdm

from community_directory.backup import BACKUP_TIMEOUT, Backup, back_up, read_backup
from community_directory.database import connect, engine
from community_directory.database.adoption import APP_NAME, REPLACED_MIGRATIONS
from community_directory.database.migrations import compare_migrations, migrate
from community_directory.database.programs import (
    CONNECT_TIMEOUT_SECONDS,
    find_program,
    make_url,
    read_chunks,
    replace_database,
    run,
    running,
    split_password,
)
from community_directory.database.roles import ERASE_FUNCTION, PRIVATE_FUNCTIONS
from community_directory.errors import (
    BackupFailed,
    DatabaseUnavailable,
    NotAllowed,
    database_errors,
)

RESTORE_LOCK_KEY = 0x726573746F7265
"""The key of the advisory lock that a restore into a new database takes: "restore" in ASCII."""
TABLE_LOCK_TIMEOUT = "30s"
"""The longest time that a restore waits for the programs that use the old tables."""
RENAME_TIMEOUT_SECONDS = 60
"""The longest time for closing the connections to the old database and renaming it."""
CLOSE_INTERVAL_SECONDS = 0.1

COUNT_MEMBERS = "SELECT count(*) FROM public.community_members"
# A database can be replaced if the role can create another one, and if it has nothing that belongs
# to a database and not to its contents: grants, settings or a limit of connections.
SELECT_TARGET = """
SELECT
    datname AS name,
    current_setting('server_version_num')::int / 10000 AS major,
    EXISTS (
        SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE relkind IN ('r', 'p') AND nspname !~ '^pg_' AND nspname <> 'information_schema'
    ) AS has_tables,
    to_regclass('public.community_members') IS NOT NULL AS is_directory,
    quote_ident(pg_get_userbyid(table_owner)) AS owner,
    coalesce(pg_has_role(table_owner, 'USAGE'), true) AS may_replace,
    (rolsuper OR (rolcreatedb AND pg_has_role(datdba, 'USAGE')))
        AND datacl IS NULL AND datconnlimit = -1
        AND NOT EXISTS (SELECT FROM pg_db_role_setting WHERE setdatabase = pg_database.oid)
        AS is_replaceable,
    ARRAY(SELECT quote_ident(rolname) FROM pg_roles) || '{PUBLIC}'::text[] AS grantees,
    ARRAY(
        SELECT quote_ident(rolname) FROM pg_roles AS owners
        WHERE pg_has_role(coalesce(table_owner, pg_roles.oid), owners.oid, 'MEMBER')
    ) AS owners,
    ARRAY(
        SELECT name FROM pg_available_extension_versions WHERE trusted OR installed OR rolsuper
    ) AS extensions,
    format(
        'TEMPLATE template0 OWNER %I ENCODING %L LC_COLLATE %L LC_CTYPE %L ',
        pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype
    ) || CASE datlocprovider
        WHEN 'c' THEN 'LOCALE_PROVIDER libc'
        WHEN 'i' THEN format('LOCALE_PROVIDER icu ICU_LOCALE %L', locale)
        ELSE format('LOCALE_PROVIDER builtin BUILTIN_LOCALE %L', locale)
    END AS options
FROM pg_database
JOIN pg_roles ON rolname = current_user
CROSS JOIN to_jsonb(pg_database) AS database
-- PostgreSQL 17 has renamed this column.
CROSS JOIN coalesce(database->>'datlocale', database->>'daticulocale') AS locale
-- A superuser stays one: not every owner may create all extensions of a backup.
LEFT JOIN LATERAL (
    SELECT relowner AS table_owner FROM pg_class
    WHERE pg_class.oid = to_regclass('public.community_members') AND NOT rolsuper
) AS directory ON true
WHERE datname = current_database()
"""
# The statements that drop everything that a backup contains, except extensions and their parts.
# Other schemas are dropped as a whole; the schema public belongs to the database.
SELECT_DROPS = """
WITH part_of_extension AS (
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
),
own_object AS (
    SELECT 1 AS place, 'pg_namespace'::regclass AS class, oid,
        format('SCHEMA IF EXISTS %I', nspname) AS name
    FROM pg_namespace
    WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'public')
    UNION ALL
    SELECT 2, 'pg_class'::regclass, oid, format('%s IF EXISTS public.%I', CASE relkind
        WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
        WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END, relname)
    FROM pg_class
    WHERE relnamespace = 'public'::regnamespace
        AND relkind IN ('v', 'm', 'S', 'f', 'c', 'r', 'p')
    UNION ALL
    SELECT 3, 'pg_proc'::regclass, oid, format('ROUTINE IF EXISTS %s', oid::regprocedure)
    FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL
    SELECT 4, 'pg_type'::regclass, oid, format('TYPE IF EXISTS %s', oid::regtype)
    FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd', 'r')
)
SELECT format('DROP %s CASCADE;', name) AS statement FROM own_object
WHERE (class, oid) NOT IN (SELECT * FROM part_of_extension)
ORDER BY place, name
"""
CLOSE_CONNECTIONS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity JOIN pg_roles ON rolname = current_user
WHERE datname = $1 AND pid <> pg_backend_pid() AND (rolsuper OR pg_has_role(usesysid, 'USAGE'))
"""
# Without its privileges, everybody may use a function that was restored.
REVOKE_PRIVATE_FUNCTIONS = "\n".join(
    f"REVOKE ALL ON FUNCTION public.{function} FROM PUBLIC;" for function in PRIVATE_FUNCTIONS
)
FIND_DATABASES = "SELECT quote_ident(datname) FROM pg_database WHERE starts_with(datname, $1)"
CHECK_COUNT = """
DO $$ BEGIN
    ASSERT (SELECT count(*) FROM public.community_members) = {members}, 'members are missing';
END $$;
"""


@dataclass(frozen=True)
class Target:
    """The database that a backup is restored into.

    Attributes:
        url: Its URL.
        name: Its name.
        major: The major version of its server.
        members: The number of its members; None if it is no directory.
        has_tables: Whether it has any table, which a restore replaces.
        owner: The role that owns its tables, quoted for SQL, and that owns the restored ones, too;
            None if it is no directory, or if a superuser restores.
        is_replaceable: Whether a new database may take its place.
        options: The options with which CREATE DATABASE makes another one like it.
        grantees: The roles to which rights can be granted, quoted for SQL.
        owners: The roles whose default privileges the owner may set, quoted for SQL.
        extensions: The extensions that are installed, or that this role may install.
    """

    url: str
    name: str
    major: int
    members: int | None
    has_tables: bool
    owner: str | None
    is_replaceable: bool
    options: str
    grantees: frozenset[str]
    owners: frozenset[str]
    extensions: frozenset[str]


@dataclass(frozen=True)
class Restored:
    """The outcome of a restore.

    Attributes:
        members: The number of members in the database.
        old_database: The name of the database that has the old data, if it was kept there.
        old_file: The backup that has the old data, if it was kept there.
        left_out: Sentences about what was not restored.
    """

    members: int
    old_database: str | None
    old_file: Path | None
    left_out: list[str]


async def find_target() -> Target:
    """Return the database of the settings, and what a restore would replace in it.

    Raises:
        NotAllowed: The role is no member of the owner of the tables.
    """
    async with connect():  # whose errors say why the database is not available
        url = make_url(engine.config)
    async with _session(url) as session:
        found: dict[str, Any] = dict(await session.fetchrow(SELECT_TARGET) or {})
        if not found.pop("may_replace"):
            raise NotAllowed(
                f"The tables belong to {found['owner']}: restore with a login that is this role, "
                "or a member of it, in POSTGRES_URL."
            )
        is_directory = found.pop("is_directory")
        members = await session.fetchval(COUNT_MEMBERS) if is_directory else None
    for name in ("grantees", "owners", "extensions"):
        found[name] = frozenset(found[name])
    return Target(url=url, members=members, **found)


async def check_backup(path: Path, target: Target) -> Backup:
    """Read a backup to its end, and return what it contains.

    Raises:
        BackupFailed: The file is damaged, or newer than the server or than this package.
        ConfigurationError: The program pg_restore of the server's version is missing.
    """
    backup = await read_backup(path, await find_program("pg_restore", target.major))
    if backup.major > target.major:
        raise BackupFailed(
            f"{path} comes from PostgreSQL {backup.major}, and this server runs {target.major}: "
            f"restore it into PostgreSQL {backup.major} or later."
        )
    _, unknown = compare_migrations({f"{app} {name}" for app, name in backup.migrations})
    if unknown - {f"{APP_NAME} {name}" for name in REPLACED_MIGRATIONS}:
        raise BackupFailed(
            f"{path} was written by a newer version of community-directory: "
            "install that version first."
        )
    return backup


async def restore(path: Path, backup: Backup, target: Target, *, keep_old: bool = True) -> Restored:
    """Restore a backup into a database, and bring its schema up to date.

    A role that may create databases restores into a new one, which takes the name of the old one
    when it is complete and its schema is up to date. Otherwise one transaction replaces the
    contents, and the migrations follow. Either way the database is as before if this fails, and
    other programs see the old contents or the new ones; only a migration that fails after the
    transaction leaves the restored contents with their older schema.

    Args:
        path: The file of the backup, which the database runs as a program: it must be trusted.
        backup: The description that `check_backup` returned.
        target: The target that `find_target` returned.
        keep_old: Keep the old contents: as a database with another name, or as a backup beside the
            file if the role can't create databases.

    Raises:
        BackupFailed: The backup could not be restored.
        MigrationFailed: Its schema could not be brought up to date.
    """
    try:
        async with asyncio.timeout(BACKUP_TIMEOUT.total_seconds()):
            left_out, use_privileges = await _find_left_out(path, backup, target)
            with _write_list(backup, target) as listed:
                arguments = [
                    "--exit-on-error",
                    "--no-owner",
                    *([] if use_privileges else ["--no-privileges"]),
                    f"--use-list={listed}",
                    "--verbose",
                    str(path),
                ]
                old_database, old_file = None, None
                if target.has_tables and target.is_replaceable:
                    old_database = await _replace_database(arguments, backup, target, keep_old)
                else:
                    old_file = await _replace_contents(arguments, backup, target, path, keep_old)
    except TimeoutError:
        raise BackupFailed(f"The restore took longer than {BACKUP_TIMEOUT}.") from None
    async with _session(target.url) as session:
        if not use_privileges:
            await session.execute(REVOKE_PRIVATE_FUNCTIONS)
        members = await session.fetchval(COUNT_MEMBERS)
    return Restored(members, old_database, old_file, left_out)


async def _find_left_out(path: Path, backup: Backup, target: Target) -> tuple[list[str], bool]:
    """Return sentences about what can't be restored, and whether rights can be."""
    extensions = set(filter(None, map(_find_extension, backup.entries)))
    left_out = [
        f"The extension {name} was left out: this role may not create it."
        for name in sorted(extensions - target.extensions)
    ]
    pg_restore = await find_program("pg_restore", target.major)
    script = (await run([str(pg_restore), "--schema-only", "--file=-", str(path)])).decode()
    needed = set(re.findall(r"^(?:GRANT|REVOKE) .* (?:TO|FROM) (\S+);$", script, re.MULTILINE))
    defaults = re.findall(
        r"^ALTER DEFAULT PRIVILEGES FOR ROLE (\S+) .*(?:TO|FROM) (\S+);$", script, re.MULTILINE
    )
    missing = (
        needed - target.grantees
        | {owner for owner, _ in defaults} - target.owners
        | {grantee for _, grantee in defaults} - target.grantees
    )
    if missing:
        left_out.append(
            f"The rights of roles were left out, because this role can't grant them to "
            f"{', '.join(sorted(missing))}: create the roles, and grant the rights again."
        )
    elif (
        target.owner is None
        and f"GRANT ALL ON FUNCTION public.{ERASE_FUNCTION.partition('(')[0]}(" in script
    ):
        left_out.append(
            "The tables belong to the role that restored them: run the SQL of `community-directory "
            "roles`, which gives them back to the owner's role."
        )
    return left_out, not missing


def _find_extension(entry: str) -> str | None:
    """Return the extension that an entry of a table of contents creates or comments on, if any."""
    found = re.search(r" (?:EXTENSION - |COMMENT - EXTENSION )(\S+)", entry)
    return found[1] if found else None


@contextlib.contextmanager
def _write_list(backup: Backup, target: Target) -> Iterator[Path]:
    """Write the parts to restore into a file for pg_restore."""
    # Only a superuser or the owner of an extension may set its comment.
    entries = [
        entry
        for entry in backup.entries
        if " COMMENT - EXTENSION " not in entry
        and (_find_extension(entry) or "") in {"", *target.extensions}
    ]
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "list"
        listed.write_text("\n".join(entries), encoding="utf-8")
        yield listed


# A new database that takes the place of the old one


async def _replace_database(
    arguments: list[str], backup: Backup, target: Target, keep_old: bool
) -> str | None:
    """Restore into a new database, and give it the name of the old one.

    Return the new name of the old database, or None if it was dropped.
    """
    new, old = _make_name(target, "restoring"), _make_name(target, "before")
    async with _session(_maintenance_url(target)) as session:
        if not await session.fetchval("SELECT pg_try_advisory_lock($1)", RESTORE_LOCK_KEY):
            raise BackupFailed("Another restore is running on this server. Try again later.")
        # A killed restore left these behind.
        for left in await session.fetch(FIND_DATABASES, new.rstrip("0123456789_")):
            await session.execute(f"DROP DATABASE {left[0]} WITH (FORCE)")
        await session.execute(f"CREATE DATABASE {_quote(new)} {target.options}")
        try:
            url = replace_database(target.url, new)
            await _load(arguments, backup, target, url)
            async with _session(url) as restored:
                if await restored.fetchval(COUNT_MEMBERS) != backup.members:
                    raise BackupFailed("The restore failed: members are missing.")  # noqa: TRY301
            async with connect(url, min_size=0):
                await migrate()
            await _swap(session, target, new, old)
        except BaseException:
            with contextlib.suppress(asyncpg.PostgresError, OSError):
                await session.execute(f"DROP DATABASE IF EXISTS {_quote(new)} WITH (FORCE)")
            raise
        if keep_old:
            return old
        await session.execute(f"DROP DATABASE {_quote(old)} WITH (FORCE)")
    return None


async def _load(arguments: list[str], backup: Backup, target: Target, url: str) -> None:
    """Let pg_restore write into the database with this URL."""
    url, password = split_password(url)
    pg_restore = await find_program("pg_restore", target.major)
    command = [str(pg_restore), f"--dbname={url}", "--no-password", *arguments]
    with _show_progress(backup) as progress:
        async with running(command, password=password, on_line=progress.update) as loading:
            await loading.wait()


async def _swap(session: asyncpg.Connection, target: Target, new: str, old: str) -> None:
    """Rename both databases at once, and close the connections to the old one.

    A program that connects in this moment waits, and gets the new database.
    """
    session_url = _maintenance_url(target)

    async def rename() -> None:
        async with session.transaction():
            await session.execute(f"ALTER DATABASE {_quote(target.name)} RENAME TO {_quote(old)}")
            await session.execute(f"ALTER DATABASE {_quote(new)} RENAME TO {_quote(target.name)}")

    renaming = asyncio.create_task(rename())
    try:
        async with asyncio.timeout(RENAME_TIMEOUT_SECONDS), _session(session_url) as other:
            while not renaming.done():
                # While PostgreSQL renames the database, it lets no new connection in.
                await other.execute(CLOSE_CONNECTIONS, target.name)
                await asyncio.wait({renaming}, timeout=CLOSE_INTERVAL_SECONDS)
        await renaming
    except (asyncpg.ObjectInUseError, TimeoutError):
        raise BackupFailed(
            f"Other programs use the database {target.name}, and this role may not disconnect "
            "them: stop the panel and the bots, and try again."
        ) from None
    finally:
        renaming.cancel()
        await asyncio.wait({renaming})


def _make_name(target: Target, what: str) -> str:
    """Return a name for a database or a file; PostgreSQL takes 63 bytes."""
    beginning = target.name.encode()[:35].decode(errors="ignore")
    return f"{beginning}_{what}_{datetime.now(UTC):%Y%m%d_%H%M%S}"


def _maintenance_url(target: Target) -> str:
    """Return the URL of a database that every server has, and that is not the target."""
    return replace_database(target.url, "template1" if target.name == "postgres" else "postgres")


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


# One transaction that replaces the contents


async def _replace_contents(
    arguments: list[str], backup: Backup, target: Target, path: Path, keep_old: bool
) -> Path | None:
    """Drop what the database contains and restore the backup, in one transaction.

    Return the backup of the old contents, if there is one.
    """
    kept = None
    if target.has_tables and keep_old:
        kept = path.parent / f"{_make_name(target, 'before')}.dump"
        async with connect(target.url, min_size=0):
            await back_up(kept)
    async with _session(target.url) as session:
        await session.execute("SET search_path = ''")
        drops = "\n".join(row[0] for row in await session.fetch(SELECT_DROPS))
    become_owner = f"SET LOCAL ROLE {target.owner};\n" if target.owner else ""
    begin = f"BEGIN;\nSET LOCAL lock_timeout = '{TABLE_LOCK_TIMEOUT}';\n{drops}\n{become_owner}"
    end = f"{CHECK_COUNT.format(members=backup.members)}COMMIT;\n"
    await _load_in_transaction(arguments, backup, target, begin, end)
    async with connect(target.url, min_size=0):
        await migrate()
    return kept


async def _load_in_transaction(
    arguments: list[str], backup: Backup, target: Target, begin: str, end: str
) -> None:
    """Let psql run what pg_restore prints, between the beginning and the end of a transaction."""
    url, password = split_password(target.url)
    psql = await find_program("psql", target.major)
    pg_restore = await find_program("pg_restore", target.major)
    load = [str(psql), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--no-password"]
    pipe = asyncio.subprocess.PIPE
    with _show_progress(backup) as progress:
        async with (
            running([*load, f"--dbname={url}", "--file=-"], password=password, stdin=pipe) as psql_,
            running(
                [str(pg_restore), *arguments, "--file=-"], stdout=pipe, on_line=progress.update
            ) as printing,
        ):
            stdin = psql_.process.stdin
            assert stdin  # noqa: S101  for mypy
            # If psql has failed, it has closed its input, and `wait` below says why.
            with contextlib.suppress(ConnectionError):
                stdin.write(begin.encode())
                is_first = True
                async for chunk in read_chunks(printing):
                    if is_first and b"\n\\restrict " not in chunk:
                        raise BackupFailed(
                            "This pg_restore is too old: it would let a file run programs. "
                            "Install the newest release of its version."
                        )
                    is_first = False
                    stdin.write(chunk)
                    await stdin.drain()
                # The transaction is committed only if the backup was read to its end.
                await printing.wait()
                stdin.write(end.encode())
                await stdin.drain()
            stdin.close()
            await psql_.wait()


def _show_progress(backup: Backup) -> "tqdm[Never]":
    return tqdm(desc="Restoring", total=len(backup.entries), unit=" parts", disable=None)


@contextlib.asynccontextmanager
async def _session(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Open a connection outside the pool, without the time limits of the settings."""
    with database_errors():
        try:
            session = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_SECONDS)
        except TimeoutError:
            raise DatabaseUnavailable("The database does not answer.") from None
        try:
            yield session
        finally:
            await session.close(timeout=CONNECT_TIMEOUT_SECONDS)
