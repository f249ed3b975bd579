"""`community-directory doctor`: each fault is found, and repaired where that is promised."""

import asyncio
import dataclasses
import json
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from piccolo.apps.user.tables import BaseUser
from pydantic import TypeAdapter

from community_directory import commands, doctor, jobs
from community_directory.calendar import today
from community_directory.database import act_as, connect, engine, transaction
from community_directory.doctor import CHECKS, Check, Result, Verdict, run, server_checks
from community_directory.doctor.model import Finding, Report, Scope
from community_directory.doctor.schema_checks import CATALOG_PATH, read_catalog
from community_directory.doctor.text import MARKS, format_result, format_summary
from community_directory.errors import DatabaseUnavailable
from community_directory.jobs import archive_old_events
from community_directory.queries import highlights, members
from community_directory.settings import load_settings
from tests.conftest import Server, closed_to_all, database_name, raw_pool, run_sql
from tests.processes import PROGRAM, PROJECT, environment
from tests.servers import find_free_port
from tests.tables import rows

ALL_CHECKS = {check.id: (check, group) for group, checks in CHECKS.items() for check in checks}
SAMPLE = Scope(sample=run.SAMPLE_ROWS)
FULL = Scope(sample=None)
COUNTED_TABLES = ("member_daily_highlights", "member_daily_rooms", "directory_hourly_counts")
"""The tables that a roll-up counts from the events of a day."""


async def examine(name: str, *, full: bool = False, fix: bool = False, **changed: object) -> Result:
    """Run one check; `changed` replaces parameters of its statement."""
    check, group = ALL_CHECKS[name]
    check = dataclasses.replace(check, values={**check.values, **changed})
    return await run.run_check(check, group, FULL if full else SAMPLE, fix=fix)


@pytest.fixture
async def as_superuser(database: str) -> AsyncIterator[asyncpg.Pool]:
    """Connect the helpers as a superuser, and yield a pool for raw SQL on the database."""
    async with connect(database), asyncpg.create_pool(database, min_size=0) as pool:
        yield pool


def replace_connections() -> None:
    """Let the next check have a new connection, with the settings that the database has now."""
    assert engine.pool is not None
    engine.pool.cut_idle(silent_since=asyncio.get_running_loop().time())


async def assert_healthy(name: str) -> None:
    result = await examine(name)
    assert (result.verdict, result.count, result.examples, result.next_step) == (
        Verdict.OK,
        0,
        [],
        None,
    ), result


@asynccontextmanager
async def unguarded(database: asyncpg.Pool) -> AsyncIterator[rows.Database]:
    """Yield a connection on which no trigger and no foreign key is in force."""
    async with database.acquire() as connection:
        await connection.execute("SET session_replication_role = replica")
        yield connection
        await connection.execute("RESET session_replication_role")


async def assert_repaired(name: str) -> None:
    """Check that the check repairs what it finds, and that a second run finds nothing."""
    result = await examine(name, fix=True)
    assert (result.verdict, result.next_step, result.examples) == (Verdict.FIXED, None, [])
    assert result.message.endswith(", repaired.")
    await assert_healthy(name)


# The command


@pytest.fixture
async def here(
    database: str, durable_server: None, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[asyncpg.Pool]:
    """A pool for raw SQL on the database that the command uses; its server keeps its data.

    The database is the test's own: the one of other tests has dead rows.
    """
    monkeypatch.setenv("POSTGRES_URL", database)
    load_settings.cache_clear()
    async with raw_pool(database) as pool:
        yield pool


async def test_a_fault_is_exit_code_1_and_a_warning_alone_is_0(
    here: asyncpg.Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    await rows.invitation(here, expires_at=datetime(2026, 1, 1, tzinfo=UTC))
    await commands.run_doctor()
    shown = capsys.readouterr().out.splitlines()
    assert [line for line in shown if line.startswith("  !")] == [
        "  ! warning      Invitations that have been overdue for two hours or more: 1."
    ]
    async with unguarded(here) as connection:
        await connection.execute("UPDATE community_members SET reputation_tier = 'Expert'")
    with pytest.raises(SystemExit) as ended:
        await commands.run_doctor()
    assert ended.value.code == 1
    shown = capsys.readouterr().out.splitlines()
    assert "  ✗ failed       Members whose tier or shortfall does not fit their score: 1." in shown
    assert shown[-1].endswith(f" s: {len(ALL_CHECKS) - 2} ok, 1 warning, 1 failed.")
    await commands.run_doctor(fix=True)
    assert capsys.readouterr().out.endswith(f" s: {len(ALL_CHECKS) - 2} ok, 2 fixed.\n")


async def test_the_report_as_json_has_stable_names_and_is_the_stored_one(
    here: asyncpg.Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    await rows.invitation(here, expires_at=datetime(2026, 1, 1, tzinfo=UTC))
    await commands.run_doctor(json=True, full=True)
    shown = capsys.readouterr()
    assert shown.err == ""
    report = TypeAdapter(Report).validate_json(shown.out, strict=True)
    assert list(json.loads(shown.out)) == [
        "checked_at",
        "checked_by",
        "is_full",
        "verdict",
        "results",
    ]
    assert (report.is_full, report.verdict) == (True, Verdict.WARNING)
    assert [result.id for result in report.results] == list(ALL_CHECKS)
    [overdue] = [result for result in report.results if result.id == "overdue_invitations"]
    assert (overdue.verdict, overdue.count, len(overdue.examples)) == (Verdict.WARNING, 1, 1)
    async with connect(min_size=0):
        assert await doctor.load_last_report() == report


async def test_a_database_without_tables_is_examined(
    empty_database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POSTGRES_URL", empty_database)
    load_settings.cache_clear()
    with pytest.raises(SystemExit):
        await commands.run_doctor(fix=True)
    shown = capsys.readouterr()
    assert "- table community_members is missing" in shown.out
    assert "  ✗ failed       Migrations that have not run, or are unknown: " in shown.out
    assert "– not checked  Every tier follows from the score" in shown.out
    assert shown.err == "The report was not stored, so the panel shows an earlier one.\n"


def test_a_reader_that_ends_early_is_no_error(directory_url: str) -> None:
    with subprocess.Popen(
        [*PROGRAM, "doctor"],
        env=environment(POSTGRES_URL=directory_url, PYTHONPATH=str(PROJECT)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == ("", 1)


# The schema


@pytest.mark.schema
async def test_the_catalog_is_what_the_migrations_make(directory: asyncpg.Pool) -> None:
    """If it fails after a new migration, run `python -m tools.make_catalog`."""
    assert json.loads(CATALOG_PATH.read_text()) == await read_catalog()


@pytest.mark.schema
@pytest.mark.parametrize(
    "name", [name for name, (_, group) in ALL_CHECKS.items() if group == "Schema"]
)
async def test_the_schema_of_the_migrations_is_in_order(directory: asyncpg.Pool, name: str) -> None:
    await assert_healthy(name)


CHANGED_SCHEMAS = {
    "DROP INDEX member_status_idx": "index community_members.member_status_idx is missing",
    "ALTER TABLE community_members DROP COLUMN github_verified_at CASCADE": (
        "column community_members.github_verified_at is missing"
    ),
    "ALTER TABLE community_members ALTER registration_fee_tx_hash TYPE varchar(300)": (
        "column community_members.registration_fee_tx_hash differs"
    ),
    "ALTER TABLE community_members ALTER name DROP NOT NULL": (
        "column community_members.name differs"
    ),
    "ALTER TABLE community_members DROP CONSTRAINT member_status_check": (
        "constraint community_members.member_status_check is missing"
    ),
    "DROP TRIGGER community_members_audit ON community_members": (
        "trigger community_members.community_members_audit is missing"
    ),
    "DROP TRIGGER panel_user_changed ON piccolo_user": (
        "trigger piccolo_user.panel_user_changed is missing"
    ),
    "DROP TRIGGER panel_session_started ON sessions": (
        "trigger sessions.panel_session_started is missing"
    ),
    "GRANT EXECUTE ON FUNCTION directory_audit_log_erase TO PUBLIC": (
        "function directory_audit_log_erase differs"
    ),
    """
    CREATE OR REPLACE FUNCTION community_members_check_status() RETURNS trigger LANGUAGE plpgsql
        AS 'BEGIN RETURN NEW; END'
    """: "function community_members_check_status differs",
    "DROP SEQUENCE community_member_number": "sequence community_member_number is missing",
    "DROP TABLE panel_attempts": "table panel_attempts is missing",
    "DROP EXTENSION pg_trgm CASCADE": "extension pg_trgm is missing",
}


@pytest.mark.parametrize(("change", "found"), CHANGED_SCHEMAS.items())
async def test_a_changed_schema_is_found(
    database: str, directory: asyncpg.Pool, change: str, found: str
) -> None:
    await directory.execute(change)
    result = await examine("schema")
    assert result.verdict is Verdict.FAILED
    assert found in result.examples


async def test_what_was_added_to_our_tables_is_a_warning_and_other_tables_are_ignored(
    database: str, directory: asyncpg.Pool
) -> None:
    await directory.execute("CREATE TABLE member_photos (); CREATE VIEW community_names AS SELECT")
    await assert_healthy("schema")
    await directory.execute("ALTER TABLE member_relationships ADD COLUMN note text")
    result = await examine("schema")
    assert result.verdict is Verdict.WARNING
    assert result.examples == ["column member_relationships.note was added"]


async def test_the_search_path_of_the_session_makes_no_difference(
    database: str, directory: asyncpg.Pool
) -> None:
    await directory.execute(
        f"ALTER DATABASE {database_name(database)} SET search_path = pg_catalog, public"
    )
    replace_connections()
    await assert_healthy("schema")


async def test_the_extension_may_lie_in_another_schema(
    database: str, directory: asyncpg.Pool
) -> None:
    await directory.execute(
        "CREATE SCHEMA extensions; ALTER EXTENSION pg_trgm SET SCHEMA extensions"
    )
    await assert_healthy("schema")


async def test_a_migration_that_has_not_run_is_found(
    database: str, directory: asyncpg.Pool
) -> None:
    await assert_healthy("migrations")
    await directory.execute("DELETE FROM migration WHERE name = '2026-11-28T21:10:00:000000'")
    result = await examine("migrations")
    assert (result.verdict, result.examples) == (
        Verdict.FAILED,
        ["community_directory 2026-11-28T21:10:00:000000 has not run"],
    )


async def test_a_migration_of_a_newer_version_is_a_warning(
    database: str, directory: asyncpg.Pool
) -> None:
    await directory.execute(
        "INSERT INTO migration (name, app_name) VALUES ('2030', 'community_directory'), ('1', 'x')"
    )
    result = await examine("migrations")
    assert (result.verdict, result.examples) == (
        Verdict.WARNING,
        ["community_directory 2030 is unknown to this version of the program"],
    )


async def test_an_invalid_index_is_found(database: str, directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await rows.member(directory)
    with pytest.raises(asyncpg.UniqueViolationError):
        await directory.execute(
            "CREATE UNIQUE INDEX CONCURRENTLY names ON community_members (name)"
        )
    result = await examine("indexes")
    assert result.examples == ["index names on community_members"]


@pytest.mark.parametrize(
    ("change", "found"),
    {
        "DISABLE TRIGGER community_members_audit": (
            "trigger community_members_audit on community_members"
        ),
        "ENABLE REPLICA TRIGGER community_members_audit": (
            "trigger community_members_audit on community_members"
        ),
        "DISABLE TRIGGER ALL": (
            "foreign key community_members_invited_by_fkey on community_members"
        ),
    }.items(),
)
async def test_a_disabled_trigger_is_found(
    database: str, directory: asyncpg.Pool, change: str, found: str
) -> None:
    await directory.execute(f"ALTER TABLE community_members {change}")
    result = await examine("triggers", full=True)
    assert result.verdict is Verdict.FAILED
    assert any(found in example for example in await findings("triggers"))


MERGED = {"telegram_id": "merged:0a-1", "deleted_at": datetime(2026, 1, 1, tzinfo=UTC)}


async def findings(name: str, scope: Scope = SAMPLE) -> list[str]:
    """Return the texts of all faults of a check."""
    check, _ = ALL_CHECKS[name]
    return [finding.text for finding in await run._find(check, scope)]


async def test_a_constraint_that_was_not_validated_is_found(
    database: str, directory: asyncpg.Pool
) -> None:
    await directory.execute(
        "ALTER TABLE community_members DROP CONSTRAINT member_status_check, ADD CONSTRAINT"
        " member_status_check CHECK (status IN ('not_member', 'pending', 'active', 'suspended',"
        " 'banned')) NOT VALID"
    )
    result = await examine("constraints")
    assert result.examples == ["constraint member_status_check on community_members"]
    await assert_healthy("schema")


# The data


async def test_an_overdue_invitation_is_found_and_marked(directory: asyncpg.Pool) -> None:
    now = datetime.now(UTC)
    await rows.invitation(directory, expires_at=now - timedelta(hours=1))
    await assert_healthy("overdue_invitations")
    overdue = await rows.invitation(directory, expires_at=now - timedelta(hours=3))
    result = await examine("overdue_invitations")
    assert (result.verdict, result.examples) == (
        Verdict.WARNING,
        [f"invitation {overdue['invitation_id']}"],
    )
    await assert_repaired("overdue_invitations")
    entry = await rows.fetch_row(
        directory, "SELECT actor FROM directory_audit_log WHERE action = 'UPDATE'"
    )
    assert entry["actor"] == "doctor"


async def test_a_suspension_that_should_have_ended_is_found_and_ended(
    directory: asyncpg.Pool,
) -> None:
    now = datetime.now(UTC)
    for minutes in (-5, 5):
        end = now - timedelta(minutes=minutes)
        await rows.member(directory, status="suspended", suspended_until=end)
    await assert_healthy("overdue_suspensions")
    end = now - timedelta(minutes=11)
    await rows.member(directory, status="suspended", suspended_until=end)
    await rows.member(directory, status="suspended", suspended_until=end, deleted_at=now)
    result = await examine("overdue_suspensions")
    assert (result.verdict, result.examples) == (Verdict.WARNING, ["member #3"])
    await assert_repaired("overdue_suspensions")


async def test_an_accepted_invitation_without_an_acceptor_is_found(
    database: str, directory: asyncpg.Pool
) -> None:
    await directory.execute(
        "ALTER TABLE community_invitations DROP CONSTRAINT invitation_accepted_by_check"
    )
    made = await rows.invitation(directory, status="accepted")
    result = await examine("acceptors")
    assert (result.verdict, result.examples) == (
        Verdict.FAILED,
        [f"invitation {made['invitation_id']}"],
    )


async def test_a_reference_to_nobody_is_found_in_every_column(directory: asyncpg.Pool) -> None:
    async with unguarded(directory) as connection:
        await rows.member(connection, member_id="#1", invited_by="#91")
        made = await rows.invitation(connection, created_by="#92")
        taken = await rows.invitation(
            connection,
            created_by="#1",
            accepted_by="#93",
            status="accepted",
            accepted_at=datetime.now(UTC),
        )
        event = await rows.event(connection, member_id="#94")
        await rows.highlight(connection, member_id="#95")
        await rows.account(connection, member_id="#96")
        await rows.member(connection, **MERGED, member_id="#98", merged_into="#97")
    assert (await examine("references")).verdict is Verdict.FAILED
    for scope in (SAMPLE, FULL):
        assert sorted(await findings("references", scope)) == [
            "#91, an inviter, does not exist",
            f"#92, the creator of invitation {made['invitation_id']}, does not exist",
            f"#93, the acceptor of invitation {taken['invitation_id']}, does not exist",
            f"#94, the member of event {event['id']}, does not exist",
            "#95, the member of a highlight of 2026-01-31, does not exist",
            "#96, the member of an account, does not exist",
            "#97, the member into whom others were merged, does not exist",
        ]


async def test_a_circle_of_inviters_is_found_and_those_who_lead_to_it_are_not(
    directory: asyncpg.Pool,
) -> None:
    for inviter in (None, "#1", "#2", "#3"):
        await rows.member(directory, invited_by=inviter)
    # An inviter with a higher number is no fault: people were added in another order.
    await directory.execute("UPDATE community_members SET invited_by = NULL WHERE member_id = '#2'")
    await directory.execute("UPDATE community_members SET invited_by = '#2' WHERE member_id = '#1'")
    await assert_healthy("circles")
    async with unguarded(directory) as connection:
        await connection.execute(
            "UPDATE community_members SET invited_by = '#3' WHERE member_id = '#2'"
        )
    for full in (False, True):
        result = await examine("circles", full=full)
        assert (result.verdict, result.examples) == (
            Verdict.FAILED,
            ["#2 is among those who led to their own invitation"],
        )


def noon(days_ago: int) -> datetime:
    return datetime.combine(today() - timedelta(days=days_ago), time(12), UTC)


@pytest.fixture
async def active_member(directory: asyncpg.Pool) -> str:
    """The number of a member with rolled-up messages of some days."""
    member_id = (await rows.member(directory))["member_id"]
    for days_ago in (100, 7, 2, 1, 0):
        await rows.event(directory, member_id=member_id, occurred_at=noon(days_ago))
    await highlights.roll_up(noon(100).date(), until=today())
    await assert_healthy("highlights")
    return str(member_id)


@pytest.mark.parametrize("days_ago", [7, 1])
async def test_a_wrong_highlight_is_found_and_rolled_up_again(
    directory: asyncpg.Pool, active_member: str, days_ago: int
) -> None:
    day = noon(days_ago).date()
    await directory.execute(
        "UPDATE member_daily_highlights SET message_count = 9 WHERE highlight_date = $1", day
    )
    result = await examine("highlights")
    assert (result.verdict, result.examples) == (
        Verdict.FAILED,
        [f"{day}: 1 rows of member_daily_highlights", "1 rows of member_monthly_highlights"],
    )
    await assert_repaired("highlights")
    assert await highlights.verify(day) == []


async def test_an_old_wrong_highlight_is_found_and_repaired_when_all_days_are_counted(
    directory: asyncpg.Pool, active_member: str
) -> None:
    day = noon(100).date()
    await directory.execute(
        "UPDATE member_daily_highlights SET message_count = 9 WHERE highlight_date = $1", day
    )
    await assert_healthy("highlights")
    result = await examine("highlights", full=True)
    assert result.examples == [
        f"{day}: 1 rows of member_daily_highlights",
        "1 rows of member_monthly_highlights",
    ]
    result = await examine("highlights", full=True, fix=True)
    assert result.verdict is Verdict.FIXED
    assert await highlights.verify(day) == []


async def test_an_event_on_an_archived_day_is_found(directory: asyncpg.Pool) -> None:
    end = noon(100)
    await rows.archive(directory, closed_before=end, archived_until=end.date(), archived_before=end)
    await rows.event(directory, occurred_at=end)
    async with unguarded(directory) as connection:
        for duration in (3600, 3601):  # the second stay reaches into the next day
            await rows.event(
                connection,
                member_id="#1",
                event_type="VOICE",
                occurred_at=end - timedelta(hours=1),
                event_metadata={"duration_seconds": duration},
            )
    result = await examine("archived_days")
    assert (result.verdict, result.count) == (Verdict.WARNING, 1)
    # Nothing is counted of archived days.
    await assert_healthy("highlights")
    assert (await examine("highlights", full=True)).count == len(COUNTED_TABLES)


async def test_events_that_should_have_been_archived_are_found(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rows.event(directory, occurred_at=noon(98))
    await assert_healthy("old_events")
    monkeypatch.setenv("DIRECTORY_EVENT_RETENTION_DAYS", "90")
    load_settings.cache_clear()
    result = await examine("old_events")
    assert (result.verdict, result.examples) == (
        Verdict.WARNING,
        [f"8 days from {noon(98).date()} on"],
    )
    await archive_old_events()
    await assert_healthy("old_events")
    await rows.event(directory, occurred_at=noon(90))
    await assert_healthy("old_events")


async def test_a_consumer_that_is_behind_for_a_day_is_found(directory: asyncpg.Pool) -> None:
    await assert_healthy("consumers")
    for _ in range(3):
        await rows.member(directory)
    await directory.execute(
        "UPDATE directory_audit_log SET changed_at = now() - interval '25 hours' WHERE id < 3"
    )
    await rows.audit_consumer(directory, name="behind", last_id=1)
    await rows.audit_consumer(directory, name="recent", last_id=2)
    result = await examine("consumers")
    assert result.verdict is Verdict.WARNING
    (example,) = result.examples
    assert example.startswith("behind, since ")


async def test_late_events_of_older_days_are_a_warning_and_those_of_yesterday_and_today_nothing(
    directory: asyncpg.Pool, active_member: str
) -> None:
    for days_ago in (1, 0):
        await rows.event(directory, member_id=active_member, occurred_at=noon(days_ago))
    await assert_healthy("highlights")
    await rows.event(directory, member_id=active_member, occurred_at=noon(2))
    result = await examine("highlights")
    assert (result.verdict, result.examples) == (
        Verdict.WARNING,
        [
            f"{noon(2).date()}: 1 rows of {table}, because events came after the roll-up"
            for table in COUNTED_TABLES
        ],
    )


@pytest.mark.parametrize(
    "change", ["reputation_tier = 'Expert'", "reputation_tier = NULL", "reputation_shortfall = 5"]
)
async def test_a_wrong_tier_or_shortfall_is_found_and_computed_again(
    directory: asyncpg.Pool, change: str
) -> None:
    await rows.member(directory, reputation_score=300)
    await rows.member(directory, reputation_score=0, reputation_shortfall=5)
    async with unguarded(directory) as connection:
        await connection.execute(f"UPDATE community_members SET {change} WHERE member_id = '#1'")
    assert (await examine("tiers")).verdict is Verdict.FAILED
    await assert_repaired("tiers")
    found = await directory.fetch(
        "SELECT reputation_tier, reputation_shortfall FROM community_members ORDER BY member_id"
    )
    assert list(map(tuple, found)) == [("Contributor", 0), ("Novice", 5)]


GITHUB = {"public_repos": 2, "followers": 1, "stars": 2.5, "contributions": "7"}


async def test_a_score_that_lacks_points_is_found_and_completed(
    directory: asyncpg.Pool, active_member: str
) -> None:
    await members.verify_github(active_member, github_username="ana", github_profile_data=GITHUB)
    await assert_healthy("scores")
    async with unguarded(directory) as connection:
        await connection.execute("UPDATE community_members SET reputation_score = 4")
    for full in (False, True):
        result = await examine("scores", full=full)
        assert (result.verdict, result.examples) == (Verdict.FAILED, ["#1 lacks 14 points"])
    await assert_repaired("scores")
    assert (await members.get(active_member)).reputation_score == 2 * 5 + 1 * 3 + 5


async def test_a_count_that_an_earlier_version_did_not_find_earns_its_points(
    directory: asyncpg.Pool,
) -> None:
    data = {"repositories": {"totalCount": 15}, "total_stars": 200}
    await rows.member(
        directory,
        github_username="ana",
        github_verified=True,
        github_verified_at=datetime.now(UTC),
        github_profile_data=json.dumps(data),
    )
    assert (await examine("scores")).examples == ["#1 lacks 475 points"]
    await assert_repaired("scores")
    assert (await members.get("#1")).reputation_score == 475
    again = await members.verify_github("#1", github_username="ana", github_profile_data=data)
    assert again.reputation_score == 475


async def test_a_score_from_which_somebody_took_points_is_left_alone(
    directory: asyncpg.Pool, active_member: str
) -> None:
    await directory.execute("UPDATE community_members SET reputation_score = 1")
    await assert_healthy("scores")


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"profile_data": {"discord_id": "1234"}}, "#1: the Discord id has an unknown form"),
    ],
)
async def test_an_account_of_an_unknown_form_is_found(
    directory: asyncpg.Pool, columns: dict[str, Any], found: str
) -> None:
    await rows.member(directory, **columns)
    for telegram_id in ("discord:123456789012345678", "banned:0a1b", "erased:1-2", "5"):
        await rows.member(directory, telegram_id=telegram_id)
    await rows.member(directory, **MERGED, merged_into="#1", **columns)
    result = await examine("accounts")
    assert (result.verdict, result.examples) == (Verdict.WARNING, [found])


@pytest.mark.parametrize(
    "second",
    [
        {"profile_data": {"discord_id": "123456789012345678"}},
        {"telegram_id": "discord:123456789012345678"},
    ],
)
async def test_a_discord_account_of_two_members_is_found(
    directory: asyncpg.Pool, second: dict[str, Any]
) -> None:
    await rows.member(directory, profile_data={"discord_id": "123456789012345678"})
    await assert_healthy("shared_accounts")
    await rows.member(directory, **second)
    result = await examine("shared_accounts")
    assert result.examples == ["#1, #2 have the same account on discord"]
    await members.merge("#2", into="#1", actor="eva")
    await assert_healthy("shared_accounts")


async def test_a_verified_github_account_of_two_members_is_found(directory: asyncpg.Pool) -> None:
    async with unguarded(directory) as connection:
        for number, data in (("#1", {"id": 7}), ("#2", {"databaseId": 7})):
            await rows.member(
                connection,
                member_id=number,
                github_username=f"ana-{number[1:]}",  # renamed since
                github_verified=True,
                github_verified_at=noon(1),
                github_profile_data=data,
            )
    result = await examine("shared_accounts")
    assert result.examples == ["#1, #2 have the same account on github"]


async def test_an_account_without_a_row_is_found_and_gets_one(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await rows.member(directory, telegram_id="erased:1")
    await rows.member(directory, **MERGED, merged_into="#1")
    await assert_healthy("account_rows")
    async with unguarded(directory) as connection:
        await rows.member(
            connection, member_id="#4", telegram_id="5", profile_data={"discord_id": "801"}
        )
        for number, day in (("#5", 7), ("#6", 6)):
            await rows.member(
                connection,
                member_id=number,
                telegram_id=f"discord:{day}",
                github_username=f"eva-{day}",
                github_verified=True,
                github_verified_at=datetime(2026, 1, day, tzinfo=UTC),
                github_profile_data={"id": 7},
            )
    result = await examine("account_rows")
    assert (result.verdict, result.count) == (Verdict.FAILED, 6)
    assert sorted(result.examples) == [
        "#4: the account on telegram",
        "#5: the account on discord",
        "#5: the account on github",
        "#6: the account on discord",
        "#6: the account on github",
    ]
    await assert_repaired("account_rows")
    found = await directory.fetch(
        "SELECT member_id, platform, account_id, username, proof, proved_at IS NOT NULL"
        " FROM member_accounts WHERE member_id > '#3' ORDER BY 1, 2"
    )
    assert [tuple(row) for row in found] == [
        ("#4", "discord", "801", None, "stated", False),
        ("#4", "telegram", "5", None, "platform", True),
        ("#5", "discord", "7", None, "platform", True),
        ("#6", "discord", "6", None, "platform", True),
        ("#6", "github", "7", "eva-6", "platform", True),
    ]
    assert (await examine("shared_accounts")).examples == ["#5, #6 have the same account on github"]


async def test_a_stated_account_without_a_row_is_a_warning(directory: asyncpg.Pool) -> None:
    for _ in range(2):
        await rows.member(directory, profile_data={"discord_id": "123456789012345678"})
    await members.update_profile("#1", profile_data=None, actor="eva")
    result = await examine("account_rows")
    assert (result.verdict, result.examples) == (Verdict.WARNING, ["#2: the account on discord"])
    await assert_repaired("account_rows")


async def test_what_belongs_to_a_merged_member_is_found_and_moved(directory: asyncpg.Pool) -> None:
    for _ in range(3):
        await rows.member(directory, status="active")
    await members.merge("#1", into="#2", actor="eva")
    await assert_healthy("merged_members")
    async with unguarded(directory) as connection:
        await rows.account(connection, member_id="#1", platform="discord", account_id="5")
        for created_by, accepted_by in (("#1", "#3"), ("#3", "#1"), ("#1", "#2"), ("#2", "#1")):
            await rows.invitation(
                connection,
                created_by=created_by,
                accepted_by=accepted_by,
                status="accepted",
                accepted_at=datetime.now(UTC),
            )
        await connection.execute(
            "UPDATE community_members SET invited_by = '#1' WHERE member_id > '#1'"
        )
        event = await rows.event(connection, member_id="#1")
        await rows.highlight(connection, member_id="#1")
    result = await examine("merged_members")
    assert (result.verdict, result.examples) == (
        Verdict.FAILED,
        [
            f"#1 was merged into #2, and still has {kind}"
            for kind in (
                "accounts",
                "events",
                "highlights",
                "invitations",
                "members whom they invited",
            )
        ],
    )
    # What could be wrong afterwards is left: events, and what would lead from a member to itself.
    assert (await examine("merged_members", fix=True)).count == 4
    found = await directory.fetch(
        "SELECT created_by, accepted_by FROM community_invitations ORDER BY 1, 2"
    )
    assert [tuple(row) for row in found] == [("#1", "#2"), ("#2", "#1"), ("#2", "#3"), ("#3", "#2")]
    assert (await members.get("#3")).invited_by == "#2"
    assert (await members.find_by_account("discord", "5")).member_id == "#2"  # type: ignore[union-attr]
    async with unguarded(directory) as connection:
        await connection.execute("UPDATE community_members SET invited_by = NULL")
        await connection.execute("DELETE FROM community_invitations WHERE created_by < '#3'")
        await connection.execute("DELETE FROM member_daily_highlights")
        await connection.execute("DELETE FROM member_participation WHERE id = $1", event["id"])
        await connection.execute("UPDATE member_accounts SET member_id = '#1'")
    await assert_repaired("merged_members")


async def add_merged(connection: rows.Database, number: int, into: int) -> None:
    columns = {**MERGED, "telegram_id": f"merged:{number}", "member_id": f"#{number}"}
    await rows.member(connection, **columns, merged_into=f"#{into}")


async def test_a_merged_number_that_leads_to_a_merged_one_is_found_and_led_on(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    async with unguarded(directory) as connection:
        for number in range(2, 6):
            await add_merged(connection, number, number - 1)
    result = await examine("merge_chains")
    assert (result.verdict, result.examples) == (
        Verdict.FAILED,
        [f"#{last} leads to #{last - 1}, and that one to #{last - 2}" for last in (3, 4, 5)],
    )
    await assert_repaired("merge_chains")
    assert {(await members.get(f"#{number}")).member_id for number in range(1, 6)} == {"#1"}


async def test_merged_numbers_that_lead_to_each_other_are_left(directory: asyncpg.Pool) -> None:
    async with unguarded(directory) as connection:
        for number, into in ((1, 2), (2, 1), (3, 1)):
            await add_merged(connection, number, into)
    assert (await examine("merge_chains", fix=True)).count == 3


async def test_a_relationship_with_a_number_that_nobody_has_is_found(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    await rows.relationship(directory, entity_id_a="#1")
    await assert_healthy("entities")
    made = await rows.relationship(directory, entity_id_b="#9")
    result = await examine("entities")
    assert result.examples == [f"relationship {made['id']}: #9 does not exist"]


async def test_a_sequence_behind_the_numbers_is_found_and_moved(directory: asyncpg.Pool) -> None:
    await assert_healthy("next_number")
    for _ in range(3):
        await rows.member(directory)
    await rows.member(directory, member_id="#9")
    await assert_healthy("next_number")
    await directory.execute("SELECT setval('community_member_number', 1)")
    result = await examine("next_number")
    assert (result.verdict, result.examples) == (
        Verdict.WARNING,
        ["the next number is #2, which is taken"],
    )
    await assert_repaired("next_number")
    assert await directory.fetchval("SELECT nextval('community_member_number')") == 4


async def test_a_sequence_that_was_never_used_is_found(directory: asyncpg.Pool) -> None:
    await rows.member(directory, member_id="#1")
    assert (await examine("next_number")).examples == ["the next number is #1, which is taken"]
    await assert_repaired("next_number")


@pytest.mark.parametrize(
    ("inviter", "is_found"),
    [
        ({"status": "active"}, False),
        ({"status": "suspended"}, False),
        ({"status": "banned"}, True),
        ({"status": "active", "deleted_at": datetime(2026, 1, 1, tzinfo=UTC)}, True),
    ],
)
async def test_open_invitations_of_people_who_lost_their_access_are_found(
    directory: asyncpg.Pool, inviter: dict[str, Any], is_found: bool
) -> None:
    await rows.member(directory, **inviter)
    made = await rows.invitation(directory, created_by="#1")
    result = await examine("inviters")
    assert result.examples == [f"invitation {made['invitation_id']} by #1"] * is_found


@pytest.mark.parametrize("columns", ["status = 'suspended'", "deleted_at = now()", "is_bot = true"])
async def test_a_permission_of_somebody_who_is_not_active_is_found_and_deleted(
    directory: asyncpg.Pool, columns: str
) -> None:
    await rows.permission(directory, permission="review")
    await rows.permission(directory, permission="manage")
    await assert_healthy("permissions")
    async with directory.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(f"UPDATE community_members SET {columns} WHERE member_id = '#2'")
    result = await examine("permissions")
    assert (result.verdict, result.examples) == (
        Verdict.FAILED,
        ["#2 has the permission manage"],
    )
    await assert_repaired("permissions")
    assert await directory.fetchval("SELECT permission FROM member_permissions") == "review"


# The panel


async def add_user(**columns: Any) -> int:
    user = await BaseUser.create_user(
        "eva", "long enough for this", **{"email": "eva@directory.example", **columns}
    )
    return int(user.id)


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A patch of the environment, whose settings the checks read."""
    load_settings.cache_clear()
    return monkeypatch


async def test_a_superuser_without_a_second_factor_is_found_if_there_is_a_key(
    directory: asyncpg.Pool, settings: pytest.MonkeyPatch
) -> None:
    user = await add_user(active=True, admin=True, superuser=True)
    await assert_healthy("second_factor")
    settings.setenv("DIRECTORY_MFA_KEY", "a key that is long enough for this")
    load_settings.cache_clear()
    result = await examine("second_factor")
    assert (result.verdict, result.examples) == (Verdict.WARNING, [f"user {user}"])
    await directory.execute(
        "INSERT INTO authenticator_secret (user_id, secret) VALUES ($1, 'x')", user
    )
    await assert_healthy("second_factor")
    await directory.execute("UPDATE authenticator_secret SET revoked_at = now()")
    assert (await examine("second_factor")).count == 1


async def test_a_password_that_somebody_else_knows_is_found(directory: asyncpg.Pool) -> None:
    user = await add_user(active=True, admin=True)
    await assert_healthy("temporary_passwords")
    async with transaction():
        await act_as("ana")
        await BaseUser.update_password("eva", "another one that is long")
    assert (await examine("temporary_passwords")).examples == [f"user {user}"]
    await directory.execute("UPDATE piccolo_user SET active = false")
    await assert_healthy("temporary_passwords")


async def test_a_user_who_has_not_signed_in_for_90_days_is_found(directory: asyncpg.Pool) -> None:
    user = await add_user(active=True, admin=True)
    await assert_healthy("unused_accounts")
    await directory.execute("UPDATE piccolo_user SET last_login = '2026-01-31'")
    result = await examine("unused_accounts")
    assert result.examples == [f"user {user}, last signed in on 2026-01-31"]


async def test_the_default_email_address_is_found_in_production(
    directory: asyncpg.Pool, settings: pytest.MonkeyPatch
) -> None:
    user = await add_user(active=True, admin=True, email="admin@localhost")
    await assert_healthy("default_email")
    settings.setenv("DIRECTORY_PRODUCTION", "true")
    settings.setenv("DIRECTORY_ALLOWED_HOSTS", "directory.example")
    load_settings.cache_clear()
    assert (await examine("default_email")).examples == [f"user {user}"]


async def test_old_sessions_are_found_and_deleted(directory: asyncpg.Pool) -> None:
    await directory.execute(
        "INSERT INTO sessions (token, user_id, expiry_date)"
        " VALUES ('a', 1, now() - interval '31 days'), ('b', 1, now() + interval '1 hour')"
    )
    assert (await examine("sessions")).count == 1
    await assert_repaired("sessions")
    assert [row["token"] for row in await directory.fetch("SELECT token FROM sessions")] == ["b"]


# The server


@pytest.mark.parametrize(
    ("seconds", "found"), [(60, "60 seconds behind"), (-60, "60 seconds ahead")]
)
async def test_a_clock_that_differs_is_found(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch, seconds: int, found: str
) -> None:
    class ShiftedClock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "ShiftedClock":
            return super().now(tz) + timedelta(seconds=seconds)

    await assert_healthy("clock")
    monkeypatch.setattr(server_checks, "datetime", ShiftedClock)
    [example] = (await examine("clock")).examples
    assert found in example


async def test_a_time_limit_that_the_server_does_not_keep_is_found(
    directory: asyncpg.Pool, settings: pytest.MonkeyPatch
) -> None:
    await assert_healthy("timeouts")
    settings.setenv("DIRECTORY_STATEMENT_TIMEOUT", "1.5")
    load_settings.cache_clear()
    # The pool of this test was opened before, as if a pooler had dropped the setting.
    [example] = (await examine("timeouts")).examples
    assert example.startswith("DIRECTORY_STATEMENT_TIMEOUT is 1500 ms, and statement_timeout is ")


async def test_a_time_limit_that_the_server_keeps_is_in_order(
    database: str, settings: pytest.MonkeyPatch
) -> None:
    settings.setenv("DIRECTORY_STATEMENT_TIMEOUT", "1.5")
    load_settings.cache_clear()
    async with connect(database, min_size=0):
        await assert_healthy("timeouts")


@pytest.mark.parametrize(
    ("setting", "value"),
    [("synchronous_commit", "off"), ("session_replication_role", "replica")],
)
async def test_a_setting_that_risks_data_is_found(database: str, setting: str, value: str) -> None:
    await run_sql(database, f"ALTER DATABASE {database_name(database)} SET {setting} = {value}")
    async with connect(database, min_size=0):
        result = await examine("settings")
    assert result.verdict is Verdict.FAILED
    assert f"{setting} is {value}" in result.examples


async def test_an_old_extension_is_found(database: str, directory: asyncpg.Pool) -> None:
    await assert_healthy("extensions")
    await directory.execute("UPDATE pg_extension SET extversion = '1.3' WHERE extname = 'pg_trgm'")
    [example] = (await examine("extensions")).examples
    assert example.startswith("ALTER EXTENSION pg_trgm UPDATE; -- from 1.3 to ")


async def test_a_changed_collation_of_the_database_is_found(
    database: str, directory: asyncpg.Pool
) -> None:
    name = database_name(database)
    await assert_healthy("collations")
    await directory.execute(
        "UPDATE pg_database SET datcollversion = '0.1' WHERE datname = $1", name
    )
    [example] = (await examine("collations")).examples
    assert example.startswith(
        f"REINDEX DATABASE {name}; ALTER DATABASE {name} REFRESH COLLATION VERSION; -- from 0.1 to"
    )


async def test_a_standby_that_is_behind_is_found(database: str, as_superuser: asyncpg.Pool) -> None:
    await assert_healthy("replication")
    # A view before PostgreSQL's own one, because the server of the tests has no standby.
    await as_superuser.execute(
        "CREATE VIEW pg_stat_replication AS SELECT * FROM (VALUES"
        " (1, 'slow', interval '31 seconds'), (2, 'fast', interval '29 seconds'),"
        " (3, 'idle', NULL)) AS standbys(pid, application_name, replay_lag);"
        f"ALTER DATABASE {database_name(database)} SET search_path = public, pg_catalog"
    )
    replace_connections()
    result = await examine("replication")
    assert (result.verdict, result.examples) == (
        Verdict.WARNING,
        ["standby slow is behind by 00:00:31"],
    )


async def test_a_replica_that_cannot_answer_is_found(database: str) -> None:
    async with connect(database):
        await assert_healthy("replicas")
    closed = f"127.0.0.1:{find_free_port()}"
    async with connect(database, read_url=f"postgresql://postgres@{closed}/postgres"):
        result = await examine("replicas")
        assert (result.verdict, result.count) == (Verdict.WARNING, 1)
        assert result.examples[0].startswith(closed)
        async with transaction():  # as in the nightly job
            assert (await examine("replicas")).examples == result.examples


async def test_a_slot_that_keeps_much_is_found(directory: asyncpg.Pool, server: Server) -> None:
    name = f"slot_{database_name(server.url)}"
    await directory.execute("SELECT pg_create_physical_replication_slot($1, true)", name)
    try:
        assert (await examine("slots", max_bytes=-1)).verdict is Verdict.WARNING
        assert any(
            f"slot {name} keeps " in text for text in await findings_with("slots", max_bytes=-1)
        )
    finally:
        await directory.execute("SELECT pg_drop_replication_slot($1)", name)


async def findings_with(name: str, **values: object) -> list[str]:
    check, _ = ALL_CHECKS[name]
    check = dataclasses.replace(check, values={**check.values, **values})
    return [finding.text for finding in await run._find(check, SAMPLE)]


async def test_a_table_with_many_dead_rows_is_found(database: str, directory: asyncpg.Pool) -> None:
    async with directory.acquire() as connection:
        await connection.execute("ALTER TABLE member_relationships SET (autovacuum_enabled = off)")
        for _ in range(20):
            await rows.relationship(connection)
        await connection.execute("UPDATE member_relationships SET content = '{\"a\": 1}'")
        await connection.execute("SELECT pg_stat_force_next_flush()")
    found = await findings_with("dead_rows", min_rows=10)
    assert found == ["member_relationships: 20 dead rows beside 20, last vacuumed never"]
    await assert_healthy("dead_rows")


async def test_an_index_that_is_mostly_empty_is_found(
    database: str, directory: asyncpg.Pool
) -> None:
    await directory.execute(
        "INSERT INTO member_relationships (entity_id_a, entity_id_b, relationship_type, content)"
        " SELECT md5(n::text), md5((-n)::text), 'INVITED', '{}' FROM generate_series(1, 5000) AS n"
    )
    await directory.execute("VACUUM ANALYZE member_relationships")
    assert await findings_with("bloat", min_bytes=200_000) == []
    await directory.execute("DELETE FROM member_relationships WHERE entity_id_a > '2'")
    await directory.execute("VACUUM ANALYZE member_relationships")
    found = await findings_with("bloat", min_bytes=200_000)
    assert any(text.startswith("relationship_entity_a_idx: ") for text in found)
    await assert_healthy("bloat")


async def test_old_transaction_ids_are_found(directory: asyncpg.Pool, server: Server) -> None:
    await assert_healthy("transaction_ids")
    found = await findings_with("transaction_ids", max_age=-1)
    assert any(f"database {database_name(server.url)}: the oldest id is" in text for text in found)


@pytest.mark.usefixtures("as_superuser")
async def test_a_session_that_stays_in_a_transaction_is_found(database: str) -> None:
    await assert_healthy("long_sessions")
    other = await asyncpg.connect(database, server_settings={"application_name": "forgotten"})
    await other.execute("BEGIN; SELECT")
    [found] = await findings_with("long_sessions", max_idle=timedelta(0))
    assert f"process {other.get_server_pid()} of forgotten: idle in transaction for " in found
    await other.close()


# How a check runs


async def test_a_check_changes_nothing(directory: asyncpg.Pool) -> None:
    async def delete(_: Scope) -> list[Finding]:
        await engine.fetch("DELETE FROM community_members")
        return []

    await rows.member(directory)
    result = await run.run_check(make_check(delete), "Data", SAMPLE, fix=False)
    assert result.verdict is Verdict.NOT_CHECKED
    assert "read-only transaction" in result.message
    assert await directory.fetchval("SELECT count(*) FROM community_members") == 1


def make_check(find: Any, fix: Any = None) -> Check:
    return Check(id="x", title="It is so", problem="Faults", next_step="Do.", find=find, fix=fix)


@pytest.mark.parametrize("limit", ["the check's", "the call's"])
async def test_a_check_that_takes_too_long_is_not_made(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    async def sleep(_: Scope) -> list[Finding]:
        await engine.fetch("SELECT pg_sleep(600)")
        return []

    if limit == "the check's":
        monkeypatch.setattr(run, "CHECK_TIMEOUT_SECONDS", 1)
    else:
        monkeypatch.setenv("DIRECTORY_CALL_TIMEOUT", "1")
        load_settings.cache_clear()
    result = await run.run_check(make_check(sleep), "Data", SAMPLE, fix=False)
    assert (result.verdict, result.message) == (
        Verdict.NOT_CHECKED,
        "It is so: it takes too long; --full gives it an hour.",
    )


async def test_more_faults_than_are_counted_are_said_to_be_more(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "MAX_COUNT", 2)
    for _ in range(4):
        await rows.invitation(directory, expires_at=datetime(2026, 1, 1, tzinfo=UTC))
    result = await examine("overdue_invitations")
    assert result.message.endswith(": more than 2.")
    assert result.count == 3


async def test_a_repair_that_fails_says_why(directory: asyncpg.Pool) -> None:
    async def find(_: Scope) -> list[Finding]:
        return [Finding("a fault")]

    async def fix(_: Scope) -> None:
        await engine.fetch("SELECT 1/0")

    result = await run.run_check(make_check(find, fix), "Data", SAMPLE, fix=True)
    assert (result.verdict, result.next_step) == (
        Verdict.FAILED,
        "The repair failed: division by zero.",
    )


async def test_a_lost_connection_ends_the_run(
    database: str, directory: asyncpg.Pool, server: Server
) -> None:
    async with closed_to_all(server, database):
        with pytest.raises(DatabaseUnavailable):
            await examine("tiers")


@asynccontextmanager
async def connected_as_a_stranger(server: Server, database: str) -> AsyncIterator[None]:
    """Connect the helpers as a role that may only read members."""
    role = f"stranger_of_{database_name(database)}"
    await run_sql(database, f"CREATE ROLE {role}", f"GRANT SELECT ON community_members TO {role}")
    await run_sql(database, f"ALTER DATABASE {database_name(database)} SET role = {role}")
    try:
        async with connect(database, min_size=0):
            yield
    finally:
        await run_sql(server.url, f"ALTER DATABASE {database_name(database)} RESET role")
        await run_sql(database, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


async def test_a_role_without_privileges_is_told_what_it_cannot_check(
    database: str, server: Server
) -> None:
    async with connected_as_a_stranger(server, database):
        results = {result.id: result async for result in doctor.run_checks(fix=True)}
        report = await doctor.make_report(list(results.values()))
        assert not await doctor.store_report(report)
    assert results["tiers"].verdict is Verdict.OK
    assert results["acceptors"].message == (
        "Every accepted invitation has a member who accepted it: "
        "permission denied for table community_invitations."
    )
    assert results["next_number"].message.endswith(
        "this needs USAGE on the sequence community_member_number."
    )
    assert results["replication"].message.endswith("this needs the role pg_read_all_stats.")
    missing = results["privileges"]
    assert missing.verdict is Verdict.FAILED
    assert "INSERT on the table community_members" in missing.examples
    assert results["schema"].verdict is Verdict.OK
    assert {result.verdict for result in results.values()} <= {
        Verdict.OK,
        Verdict.NOT_CHECKED,
        # The privileges are missing, and the server of the tests runs without fsync.
        Verdict.FAILED,
    }


@pytest.mark.usefixtures("as_superuser")
async def test_a_read_only_server_is_examined_and_stores_nothing(database: str) -> None:
    await run_sql(
        database,
        f"ALTER DATABASE {database_name(database)} SET default_transaction_read_only = on",
    )
    replace_connections()
    results = [result async for result in doctor.run_checks()]
    assert {result.verdict for result in results if result.id != "settings"} == {Verdict.OK}
    assert not await doctor.store_report(await doctor.make_report(results))
    assert await doctor.load_last_report() is None


# The report


async def test_the_nightly_job_stores_a_report(
    directory: asyncpg.Pool, caplog: pytest.LogCaptureFixture
) -> None:
    await rows.invitation(directory, expires_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert await jobs.check_directory() == 1
    report = await doctor.load_last_report()
    assert report is not None
    assert (report.checked_by, report.is_full) == ("nightly job", False)
    assert [result.id for result in report.results] == list(ALL_CHECKS)
    assert "says what to do about: overdue_invitations" in caplog.text


async def test_the_newest_report_is_the_last_one_whether_or_not_it_is_full(
    directory: asyncpg.Pool,
) -> None:
    assert await doctor.load_last_report() is None
    results = [await examine("tiers")]
    for full in (True, False, True):
        report = await doctor.make_report(results, full=full)
        assert await doctor.store_report(report)
        assert await doctor.load_last_report() == report
    assert await directory.fetchval("SELECT count(*) FROM directory_doctor_reports") == 2


def test_a_result_as_text_is_aligned_and_says_what_to_do() -> None:
    result = Result(
        id="tiers",
        group="Data",
        verdict=Verdict.FAILED,
        count=1200,
        message="Faults: more than 1,000.",
        next_step=f"Do {'this, ' * 14}that.",
        examples=["#1", "#2"],
        milliseconds=12,
    )
    assert format_result(result).splitlines() == [
        "  ✗ failed       Faults: more than 1,000.",
        "                 - #1",
        "                 - #2",
        "                   and 1,198 more",
        f"                 → Do {'this, ' * 12}this,",
        "                   this, that.",
    ]
    assert format_summary([result]) == "1 checks in 0.0 s: 1 failed."


def test_every_verdict_has_a_sign_and_a_word() -> None:
    assert MARKS.keys() == set(Verdict)
    assert len({word for _, word in MARKS.values()}) == len(Verdict)


def test_every_check_has_a_name_of_its_own_and_says_what_to_do() -> None:
    assert len(ALL_CHECKS) == sum(map(len, CHECKS.values()))
    for check, _ in ALL_CHECKS.values():
        assert check.next_step.endswith((".", ")"))
        assert not check.title.endswith(".")
        if check.fix is not None:
            assert "--fix" in check.next_step


def test_every_check_has_a_test_that_plants_its_fault() -> None:
    tests = Path(__file__).read_text()
    for name in ALL_CHECKS:
        assert re.search(
            rf'(examine|findings|findings_with)\(\s*"{name}"|results\["{name}"\]', tests
        ), name
    for name, (check, _) in ALL_CHECKS.items():
        is_repaired = f'await assert_repaired("{name}")' in tests
        assert is_repaired == (check.fix is not None), name
