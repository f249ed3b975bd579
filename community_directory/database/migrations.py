"""Migrations: all pending ones run in one transaction, and in one process at a time."""

import contextlib
import functools
import importlib.util
import io
import logging
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Set
from contextvars import ContextVar
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ParamSpec
from unittest.mock import patch

import asyncpg
from tqdm import tqdm

from community_directory.database import (
    CONNECTION_ERRORS,
    DirectoryTransaction,
    connect,
    engine,
    long_running,
)
from community_directory.database.adoption import adopt
from community_directory.errors import DirectoryError, MigrationFailed

if TYPE_CHECKING:
    from piccolo.apps.migrations.commands.base import MigrationResult

logger = logging.getLogger(__name__)

PICCOLO_APPS = (
    "community_directory.piccolo_app",
    "piccolo.apps.user.piccolo_app",
    "piccolo_api.session_auth.piccolo_app",
    "piccolo_api.mfa.authenticator.piccolo_app",
    "community_directory.web.admin.piccolo_app",
)
CONFIGURATION_MODULE = "community_directory.piccolo_conf"

MIGRATION_LOCK_KEY = 0x636F6D6D756E6974
"""The key of the advisory lock that `migrate` takes: "communit" in ASCII."""
MIGRATION_LOCK_TIMEOUT = "5min"
"""The longest time that a process waits for another one that is migrating."""
TABLE_LOCK_TIMEOUT = "10s"
"""The longest time that a migration waits for a table: other programs queue behind the wait."""

FIND_OWNER = """
SELECT quote_ident(rolname) AS owner, rolname = current_user AS is_current,
    pg_has_role(pg_roles.oid, 'USAGE') AS may_be_current
FROM pg_class JOIN pg_roles ON pg_roles.oid = relowner
WHERE relname = 'community_members' AND relnamespace = to_regnamespace('public')
"""

P = ParamSpec("P")


async def migrate() -> int:
    """Bring the schema up to date: all pending migrations run, or none. Return how many ran.

    Several processes may call it at once: one of them migrates, and the others wait, then find
    nothing to do. The process may be killed at any moment, because the migrations and Piccolo's
    record of them are one transaction under an advisory lock. The function uses this package's own
    apps and engine even in a program that has another Piccolo configuration, which stays as it is.

    Raises:
        MigrationFailed: The schema could not be changed; it is as it was before.
    """
    printed = io.StringIO()
    try:
        with _use_own_configuration():
            async with _open_migration_transaction():
                with contextlib.redirect_stdout(printed):
                    return await _run_pending()
    finally:
        logger.debug("Piccolo's report of the migrations: %s", printed.getvalue())


async def _run_pending() -> int:
    # Piccolo's commands take as long to import as all other modules, and bots don't need them.
    from piccolo.apps.migrations.commands.check import CheckMigrationManager  # noqa: PLC0415
    from piccolo.apps.migrations.commands.forwards import run_forwards  # noqa: PLC0415

    manager = CheckMigrationManager("all")
    statuses = await manager.get_migration_statuses()
    pending = Counter(status.app_name for status in statuses if not status.has_ran)
    total = pending.total()
    if total:
        if not await _become_owner():
            raise MigrationFailed(
                f"Pending migrations: {total}. The login of this program may not run them. Run "
                "`community-directory migrate` with the login of the tables' owner in "
                "POSTGRES_URL, and then start this program again."
            )
        logger.info("Running %d migrations.", total)
    with tqdm(desc="Migrating", total=total, disable=None if total else True) as progress:
        for app_name in manager.get_app_names():
            for _ in range(pending[app_name]):
                result = await run_forwards(app_name, "1")
                if not result.success:
                    raise MigrationFailed(
                        f"The schema could not be brought up to date: {result.message}"
                    )
                progress.update()
    return total


@functools.cache
def list_known_migrations() -> frozenset[str]:
    """Return the app and the id of each migration of this version, separated by a space."""
    from piccolo.apps.migrations.commands.base import BaseMigrationManager  # noqa: PLC0415  slow
    from piccolo.conf.apps import AppRegistry  # noqa: PLC0415  slow: it imports Black

    manager = BaseMigrationManager()
    return frozenset(
        f"{app.app_name} {migration_id}"
        for app in AppRegistry(list(PICCOLO_APPS)).app_configs.values()
        for migration_id in manager.get_migration_modules(app.resolved_migrations_folder_path)
    )


def compare_migrations(ran: Set[str]) -> tuple[Set[str], Set[str]]:
    """Return the migrations that have not run, and those that only a newer version knows.

    Args:
        ran: The migrations that have run, as `list_known_migrations` names them. Those of apps
            that do not belong to this package are ignored.
    """
    known = list_known_migrations()
    apps = {migration.partition(" ")[0] for migration in known}
    unknown = {each for each in ran - known if each.partition(" ")[0] in apps}
    return known - ran, unknown


def configure_piccolo() -> None:
    """Let Piccolo use this package's configuration, unless the program has one of its own."""
    from piccolo.conf.apps import DEFAULT_MODULE_NAME, ENVIRONMENT_VARIABLE  # noqa: PLC0415  slow

    if not os.environ.get(ENVIRONMENT_VARIABLE) and not importlib.util.find_spec(
        DEFAULT_MODULE_NAME
    ):
        os.environ[ENVIRONMENT_VARIABLE] = CONFIGURATION_MODULE


_uses_own_configuration = ContextVar("uses_own_configuration", default=False)


class _ConfigurationPatch:
    """Lets Piccolo use this package's apps and engine in the tasks that ask for it.

    Several tasks may use it at once: the last one restores Piccolo.
    """

    def __init__(self) -> None:
        self._users = 0
        self._restore = contextlib.ExitStack()

    def __enter__(self) -> None:
        if self._users == 0:
            self._apply()
        self._users += 1

    def __exit__(self, *_: object) -> None:
        self._users -= 1
        if self._users == 0:
            self._restore.close()

    def _apply(self) -> None:
        from piccolo.apps.migrations.tables import Migration  # noqa: PLC0415  slow, as above
        from piccolo.conf.apps import AppRegistry, Finder  # noqa: PLC0415

        find_module = Finder.get_piccolo_conf_module
        own = SimpleNamespace(APP_REGISTRY=AppRegistry(list(PICCOLO_APPS)), DB=engine)

        def find_own_module(finder: Finder, module_name: str | None = None) -> object:
            return own if _uses_own_configuration.get() else find_module(finder, module_name)

        finder_patch = patch.object(Finder, "get_piccolo_conf_module", find_own_module)
        self._restore.enter_context(finder_patch)
        # A table keeps the first engine that it was used with.
        self._restore.enter_context(patch.object(Migration._meta, "_db", engine))


_configuration_patch = _ConfigurationPatch()


@contextlib.contextmanager
def _use_own_configuration() -> Iterator[None]:
    """Let Piccolo use this package's apps and engine in the current task, and in no other one."""
    token = _uses_own_configuration.set(True)
    try:
        with _configuration_patch:
            yield
    finally:
        _uses_own_configuration.reset(token)


def in_one_transaction(
    run: Callable[P, Coroutine[Any, Any, "MigrationResult"]],
) -> Callable[P, Coroutine[Any, Any, "MigrationResult"]]:
    """Wrap Piccolo's `run_forwards` or `run_backwards` in one transaction, like `migrate()`.

    The wrapper opens a connection pool if none is open. Inside the transaction of `migrate()` it
    only calls the function.
    """

    @functools.wraps(run)
    async def run_in_one_transaction(*args: P.args, **kwargs: P.kwargs) -> "MigrationResult":
        if engine.transaction_exists():
            return await run(*args, **kwargs)
        try:
            async with contextlib.AsyncExitStack() as stack:
                if engine.pool is None:
                    await stack.enter_async_context(connect(min_size=0))
                current = await stack.enter_async_context(_open_migration_transaction())
                result = await run(*args, **kwargs)
                if kwargs.get("preview") or not result.success:
                    await current.rollback()
        except DirectoryError as error:
            sys.exit(str(error))  # Piccolo would print its help after the message
        return result

    return run_in_one_transaction


async def _become_owner() -> bool:
    """Go on as the owner of the tables until the transaction ends; return whether that is allowed.

    Whichever member of the owner runs a migration, superusers included, the owner also owns what
    the migration creates. If there are no tables, the login that creates them becomes their owner.
    """
    records = await engine.fetch(FIND_OWNER)
    if not records or records[0]["is_current"]:
        return True
    if records[0]["may_be_current"]:
        await engine.fetch(f"SET LOCAL ROLE {records[0]['owner']}")
    return bool(records[0]["may_be_current"])


@contextlib.asynccontextmanager
async def _open_migration_transaction() -> AsyncIterator[DirectoryTransaction]:
    """Open the transaction of all migrations, take the lock, and adopt an old database.

    In it the owner of the tables acts, if the login of the program is a member of the owner.
    """
    try:
        with long_running():
            async with engine.transaction(allow_nested=False) as current:
                with current.limit_time():
                    await current.connection.execute(
                        f"SET LOCAL lock_timeout = '{MIGRATION_LOCK_TIMEOUT}';"
                        f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK_KEY});"
                        f"SET LOCAL lock_timeout = '{TABLE_LOCK_TIMEOUT}'"
                    )
                if await _become_owner():
                    await adopt()
                yield current
    except asyncpg.LockNotAvailableError as error:
        raise MigrationFailed(
            "The schema could not be brought up to date: "
            "another process is migrating, or holds a lock on a table."
        ) from error
    except CONNECTION_ERRORS as error:
        raise MigrationFailed(f"The schema could not be brought up to date: {error}") from error
