"""Run the checks, repair what can be repaired without harm, and keep the last report."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from math import ceil

import asyncpg
from pydantic import TypeAdapter

from community_directory.database import Statement, engine, transaction
from community_directory.database.limits import PART_SHARE, call_limit
from community_directory.doctor.data_checks import DATA_CHECKS
from community_directory.doctor.model import Check, Finding, Fix, Report, Result, Scope, Verdict
from community_directory.doctor.panel_checks import PANEL_CHECKS
from community_directory.doctor.schema_checks import SCHEMA_CHECKS
from community_directory.doctor.server_checks import SERVER_CHECKS
from community_directory.errors import (
    DatabaseUnavailable,
    DirectoryError,
    NotAllowed,
    SchemaMissing,
)

CHECKS: Mapping[str, Sequence[Check]] = {
    "Schema": SCHEMA_CHECKS,
    "Data": DATA_CHECKS,
    "Panel": PANEL_CHECKS,
    "Server": SERVER_CHECKS,
}
"""The checks by the names of their groups."""
CHECK_COUNT = sum(map(len, CHECKS.values()))
REPORT_ADAPTER = TypeAdapter(Report)
"""Reads and writes a report as JSON."""

SAMPLE_ROWS = 10_000
"""The newest rows that a check of a large table reads, unless it reads all."""
CHECK_TIMEOUT_SECONDS = 3
"""The time limit of a statement of a check."""
FULL_CHECK_TIMEOUT_SECONDS = 3600
MAX_COUNT = 1000
"""The number of faults above which a check stops counting."""
MAX_EXAMPLES = 5

OUTAGES_OF_ONE_CHECK = (
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.TransactionRollbackError,
)
"""The causes of `DatabaseUnavailable` after which the other checks can still be made."""

# A check changes nothing, and a statement that takes too long ends it.
START_CHECK = Statement("""
SELECT set_config('transaction_read_only', 'on', true),
    set_config('statement_timeout', :timeout, true)
""")
HAS_ROLE = Statement("SELECT pg_has_role(current_user, :role, 'USAGE')")
GET_RUN = "SELECT now(), session_user::text"

STORE_REPORT = Statement("""
INSERT INTO directory_doctor_reports (is_full, checked_at, report)
VALUES (:is_full, :checked_at, :report::jsonb)
ON CONFLICT (is_full) DO UPDATE SET checked_at = EXCLUDED.checked_at, report = EXCLUDED.report
""")
GET_LAST_REPORT = """
SELECT report FROM directory_doctor_reports ORDER BY checked_at DESC LIMIT 1
"""


class _NotChecked(Exception):
    """A check can't be made; the message is the reason."""


async def run_checks(*, full: bool = False, fix: bool = False) -> AsyncIterator[Result]:
    """Run all checks one after the other, and yield the result of each when it is known.

    Args:
        full: Read all rows instead of the newest ones.
        fix: Repair what a check promises to repair, and check it again.

    Raises:
        DatabaseUnavailable: The database can't be reached.
    """
    scope = Scope(sample=None if full else SAMPLE_ROWS)
    for group, checks in CHECKS.items():
        for check in checks:
            yield await run_check(check, group, scope, fix=fix)


async def run_check(check: Check, group: str, scope: Scope, *, fix: bool) -> Result:
    """Run one check, and repair what it finds if `fix` is set and the check promises it."""
    started = time.perf_counter()
    try:
        found = await _find(check, scope)
        result = _judge(check, group, found)
        if found and fix and check.fix is not None:
            result = await _repair(check, check.fix, group, scope, result)
    except _NotChecked as reason:
        result = _make_result(check, group, Verdict.NOT_CHECKED, f"{check.title}: {reason}")
    return replace(result, milliseconds=round((time.perf_counter() - started) * 1000))


def worst_verdict(results: Sequence[Result]) -> Verdict:
    """Return the verdict of a report with these results."""
    verdicts = {result.verdict for result in results}
    return next(verdict for verdict in reversed(Verdict) if verdict in verdicts)


async def make_report(
    results: Sequence[Result], *, full: bool = False, checked_by: str | None = None
) -> Report:
    """Return the report of a run; `checked_by` is the login of the database if it is left out."""
    [(checked_at, login)] = await engine.fetch(GET_RUN)
    return Report(checked_at, checked_by or login, full, worst_verdict(results), list(results))


def format_json(report: Report) -> str:
    """Return a report as JSON."""
    return REPORT_ADAPTER.dump_json(report, indent=2).decode()


async def store_report(report: Report) -> bool:
    """Store a report for the panel, in place of the last one of its kind.

    Returns:
        False if the database can't store it: it is a standby, the role lacks the privilege, or the
        migrations have not run.
    """
    try:
        await engine.fetch(
            STORE_REPORT,
            is_full=report.is_full,
            checked_at=report.checked_at,
            report=format_json(report),
        )
    except (NotAllowed, SchemaMissing):
        return False
    except DatabaseUnavailable as error:
        if isinstance(error.__cause__, asyncpg.ReadOnlySQLTransactionError):
            return False
        raise
    return True


async def load_last_report() -> Report | None:
    """Return the last report, or None if there is none."""
    records = await engine.fetch(GET_LAST_REPORT)
    return REPORT_ADAPTER.validate_json(records[0]["report"]) if records else None


async def _find(check: Check, scope: Scope) -> list[Finding]:
    """Return the faults, at most one more than `MAX_COUNT`, those of the worst verdict first.

    Raises:
        _NotChecked: The check can't be made.
    """
    timeout: float = FULL_CHECK_TIMEOUT_SECONDS if scope.is_full else CHECK_TIMEOUT_SECONDS
    # A client that gives up first would cut the connection, and end the whole run.
    timeout = min(timeout, PART_SHARE * call_limit())
    try:
        # The rollback takes back the settings, too, if the caller has a transaction around it.
        async with transaction() as current:
            await engine.fetch(START_CHECK, timeout=f"{ceil(1000 * timeout)}ms")
            if check.needs is not None:
                [(has_role,)] = await engine.fetch(HAS_ROLE, role=check.needs)
                if not has_role:
                    raise _NotChecked(f"this needs the role {check.needs}")
            if isinstance(check.find, Statement):
                found = await _fetch_findings(check.find, {**check.values, "sample": scope.sample})
            else:
                found = list(await check.find(scope))
            await current.rollback()
            return found
    except (DirectoryError, asyncpg.PostgresError) as error:
        raise _NotChecked(_explain(error)) from error


async def _fetch_findings(statement: Statement, values: Mapping[str, object]) -> list[Finding]:
    arguments = statement.arguments({name: values[name] for name in statement.parameters})
    records = await engine.fetch(
        f"SELECT * FROM ({statement.sql}) AS found LIMIT {MAX_COUNT + 1}", *arguments
    )
    return [
        Finding(record["finding"], Verdict(verdict) if (verdict := record.get("verdict")) else None)
        for record in records
    ]


async def _repair(check: Check, fix: Fix, group: str, scope: Scope, before: Result) -> Result:
    """Repair what a check found, and return the result of checking it again."""
    try:
        await fix(scope)
    except (DirectoryError, asyncpg.PostgresError) as error:
        return replace(before, next_step=f"The repair failed: {_explain(error)}.")
    after = await _find(check, scope)
    if after:
        return _judge(check, group, after)
    message = f"{check.problem}: {_format_count(before.count)}, repaired"
    return replace(_make_result(check, group, Verdict.FIXED, message), count=before.count)


def _explain(error: DirectoryError | asyncpg.PostgresError) -> str:
    """Return why a check or a repair can't be made.

    Raises:
        DirectoryError: The connection is lost, which concerns every check.
    """
    cause = error if isinstance(error, asyncpg.PostgresError) else error.__cause__
    if isinstance(cause, asyncpg.QueryCanceledError):
        return "it takes too long; --full gives it an hour"
    is_lost = isinstance(error, DatabaseUnavailable) and not isinstance(cause, OUTAGES_OF_ONE_CHECK)
    if is_lost or not isinstance(cause, asyncpg.PostgresError):
        raise error
    return str(cause).rstrip(".")


def _judge(check: Check, group: str, found: Sequence[Finding]) -> Result:
    """Return the result of a check that found these faults."""
    if not found:
        return _make_result(check, group, Verdict.OK, check.title)
    verdicts = [finding.verdict or check.verdict for finding in found]
    worst = max(verdicts, key=list(Verdict).index)
    if worst is Verdict.NOT_CHECKED:
        raise _NotChecked(found[0].text)
    examples = [
        finding.text for finding, verdict in zip(found, verdicts, strict=True) if verdict is worst
    ]
    message = f"{check.problem}: {_format_count(len(found))}"
    return replace(
        _make_result(check, group, worst, message),
        count=len(found),
        next_step=check.next_step,
        examples=examples[:MAX_EXAMPLES],
    )


def _format_count(number: int) -> str:
    return f"{number:,}" if number <= MAX_COUNT else f"more than {MAX_COUNT:,}"


def _make_result(check: Check, group: str, verdict: Verdict, message: str) -> Result:
    return Result(
        id=check.id,
        group=group,
        verdict=verdict,
        count=0,
        message=f"{message}.",
        next_step=None,
        examples=[],
        milliseconds=0,
    )
