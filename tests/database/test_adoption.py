"""A database of the migrations before version 0.1.0 is adopted, and keeps its rows."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from community_directory.database import connect
from community_directory.database.migrations import migrate
from community_directory.errors import MigrationFailed
from community_directory.queries import audit, members
from tests.conftest import Server, new_database, run_sql
from tests.database.test_migrations import (
    BACKWARDS,
    FORWARDS,
    OURS,
    PICCOLO,
    dump,
    kill_at,
    relations,
    run_four_at_once,
    run_migrations,
    session,
)
from tests.tables import rows

pytestmark = pytest.mark.schema

# Created by pg_dump --inserts of PostgreSQL 15, so that every supported server can restore it.
OLD_SCHEMA = (Path(__file__).parent / "data" / "old_schema.sql").read_text(encoding="utf-8")
BROKEN = {
    "a number": """'{"points": [1, 1e5000]}'""",
    "nesting": f"""'{'{"a":' * 101}1{"}" * 101}'""",
    "infinity": "'infinity'",
}


@pytest.fixture
async def old_database(empty_database: str) -> str:
    """Return the URL of a database of the last migration before 0.1.0, with rows in every table."""
    await run_sql(empty_database, OLD_SCHEMA)
    return empty_database


@pytest.fixture(scope="module")
async def clean_dump(server: Server) -> str:
    """Return the schema that the present migrations create, without further roles."""
    async with new_database(server) as url:
        await adopt(url)
        return await dump(url)


async def adopt(url: str) -> None:
    async with connect(url, min_size=0):
        await migrate()


async def content(url: str) -> dict[str, list[dict[str, Any]]]:
    """Return all rows of all tables, without Piccolo's record and the columns that are new."""
    found: dict[str, list[dict[str, Any]]] = {}
    async with session(url) as connection:
        for table in sorted(await relations(url) - {"migration"}):
            if await connection.fetchval(
                "SELECT relkind = 'r' FROM pg_class WHERE relname = $1", table
            ):
                selected = await connection.fetch(
                    f"SELECT to_jsonb(t) FROM {table} AS t ORDER BY t::text"
                )
                found[table] = [json.loads(row[0]) for row in selected]
    for row in found["community_members"]:
        row.pop("search_text")
        for column in (
            "reputation_shortfall",
            "is_bot",
            "reputation_withheld",
            "merged_into",
            "suspended_until",
        ):
            row.pop(column, None)
    return found


async def ran(url: str) -> list[tuple[str, str]]:
    async with session(url) as connection:
        found = await connection.fetch(
            "SELECT app_name, name FROM migration ORDER BY app_name, ran_on"
        )
        return [(row["app_name"], row["name"]) for row in found]


async def test_an_adopted_database_is_like_a_new_one_and_keeps_its_rows(
    old_database: str, database: str, clean_dump: str
) -> None:
    before = await content(old_database)
    assert all(before[table] for table in OURS)
    for event in before["member_participation"]:
        if event["event_type"] == "VOICE":  # the stored time was the end of the stay
            duration = timedelta(seconds=event["event_metadata"]["duration_seconds"])
            start = datetime.fromisoformat(event["occurred_at"]) - duration
            event["occurred_at"] = start.isoformat()
    before["directory_rolled_up_days"] = before["directory_doctor_reports"] = []
    before["panel_viewers"] = before["panel_invitations"] = before["panel_visits"] = []
    before["panel_temporary_passwords"] = before["directory_moved_rooms"] = []
    before["directory_bots"] = before["member_permissions"] = []
    before["directory_erased_accounts"] = before["directory_link_codes"] = []
    before["directory_merges"] = before["directory_merged_rows"] = []
    before["directory_link_tries"] = before["directory_proved_pairs"] = []
    before["directory_bot_states"] = []
    before["directory_dismissed_merges"] = before["directory_archive"] = []
    before["member_requests"] = before["member_notes"] = []
    before["directory_bot_chats"] = before["directory_bot_notices"] = []
    before["directory_audit_consumers"] = []
    before["member_daily_rooms"] = before["member_monthly_rooms"] = []
    before["member_rooms"] = []
    before["directory_hourly_counts"] = []
    for entry in before["directory_audit_log"]:
        entry |= {"act_id": None, "undone_act_id": None}

    await adopt(old_database)
    assert await dump(old_database) == clean_dump
    after = await content(old_database)
    before["member_accounts"] = after["member_accounts"]
    before["directory_segments"] = after["directory_segments"]
    for table in ("member_monthly_highlights", "member_milestones"):
        before[table] = after[table]
        assert {row["member_id"] for row in after["member_daily_highlights"]} <= {
            row["member_id"] for row in after[table]
        }
    assert after == before
    assert {account["member_id"] for account in after["member_accounts"]} == {
        member["member_id"] for member in after["community_members"]
    }
    # The order matters: Piccolo goes back in an app by the time at which a migration ran.
    assert await ran(old_database) == await ran(database)

    await adopt(old_database)
    assert await dump(old_database) == clean_dump
    assert await content(old_database) == before


async def test_an_adopted_database_counts_on_from_its_last_number(old_database: str) -> None:
    await run_sql(old_database, "SELECT setval('community_member_number', 246)")
    await adopt(old_database)
    async with session(old_database) as connection:
        assert (await rows.member(connection))["member_id"] == "#247"


async def test_an_adopted_database_keeps_the_privileges_of_a_role(old_database: str) -> None:
    async with session(old_database) as connection:
        await connection.execute(
            """
            GRANT SELECT, INSERT ON community_members TO pg_monitor;
            GRANT USAGE ON community_member_number TO pg_monitor;
            """
        )
    await adopt(old_database)
    async with session(old_database) as connection:
        await connection.execute("SET ROLE pg_monitor")
        assert (await rows.member(connection))["member_id"] == "#5"


async def test_an_adopted_database_finds_names_in_any_case(old_database: str) -> None:
    await adopt(old_database)
    async with connect(old_database, min_size=0):
        found = await members.search("қанат")
    assert [member.name for member in found.items] == ["Қанат Ғабит"]


async def test_the_command_line_adopts_and_goes_back(old_database: str, clean_dump: str) -> None:
    await run_four_at_once(*PICCOLO, *FORWARDS, url=old_database)
    assert await dump(old_database) == clean_dump
    code, output = run_migrations(*BACKWARDS, url=old_database)
    assert code == 0, output
    assert not await relations(old_database) & OURS


async def test_the_command_line_can_go_back_at_once(old_database: str) -> None:
    code, output = run_migrations(*BACKWARDS, url=old_database)
    assert code == 0, output
    assert not await relations(old_database) & OURS


async def test_a_preview_adopts_nothing(old_database: str) -> None:
    before = await dump(old_database)
    code, output = run_migrations(*FORWARDS, "--preview", url=old_database)
    assert code == 0, output
    assert await dump(old_database) == before


async def test_an_adoption_that_is_killed_changes_nothing(old_database: str) -> None:
    before = await dump(old_database), await ran(old_database)
    await kill_at("LOCK TABLE migration IN SHARE MODE", *PICCOLO, *FORWARDS, url=old_database)
    assert (await dump(old_database), await ran(old_database)) == before
    await adopt(old_database)


@pytest.mark.parametrize("newest", ["2026-11-22T17:35:08:597298", "2026-11-22T23:50:00:000000"])
async def test_a_database_with_only_some_of_the_old_migrations_is_refused(
    old_database: str, newest: str
) -> None:
    delete = f"DELETE FROM migration WHERE app_name = 'community_directory' AND name > '{newest}'"
    await run_sql(old_database, delete)
    before = await dump(old_database), await ran(old_database)
    with pytest.raises(
        MigrationFailed, match=r"^This database has only some of the migrations .*version"
    ):
        await adopt(old_database)
    code, output = run_migrations(*FORWARDS, url=old_database)
    assert (code, "only some of the migrations" in output) == (1, True), output
    assert (await dump(old_database), await ran(old_database)) == before


REPAIRED = {
    "one value of each column": [
        ("community_members", "last_active_at", "20000-01-01", "now"),
        ("community_members", "created_at", "-infinity", "2000-01-01"),
        ("community_members", "updated_at", "infinity", "now"),
        ("community_members", "github_verified_at", "1970-01-01", "2000-01-01"),
        ("community_members", "deleted_at", "infinity", "now"),
        ("community_invitations", "expires_at", "infinity", "2199-12-31"),
        ("community_invitations", "created_at", "infinity", "now"),
        ("community_invitations", "updated_at", "infinity", "now"),
        ("community_invitations", "accepted_at", "infinity", "now"),
        ("member_relationships", "created_at", "infinity", "now"),
        ("member_daily_highlights", "created_at", "infinity", "now"),
        ("directory_audit_log", "changed_at", "infinity", "now"),
    ],
    "another one": [
        ("community_members", "last_active_at", "-infinity", "2000-01-01"),
        ("community_members", "created_at", "2200-01-01Z", "now"),
        ("community_invitations", "expires_at", "1999-12-31 23:59:59.999999Z", "2000-01-01"),
    ],
}


@pytest.mark.parametrize("cases", REPAIRED.values(), ids=REPAIRED.keys())
async def test_a_date_outside_of_the_range_is_repaired(
    old_database: str, cases: list[tuple[str, str, str, str]]
) -> None:
    rows_of = {"accepted_at": "status = 'accepted'"}
    for table, column, stored, _ in cases:
        where = rows_of.get(column, "true")
        await write_anything(old_database, table, f"{column} = '{stored}'", where)
    await adopt(old_database)
    async with session(old_database) as connection:
        for table, column, _, repaired in cases:
            is_repaired = (
                f"now() - {column} < interval '1 minute'"
                if repaired == "now"
                else f"({column} AT TIME ZONE 'UTC')::date = '{repaired}'"
            )
            where = rows_of.get(column, "true")
            found = await connection.fetchval(
                f"SELECT bool_and({is_repaired}) FROM {table} WHERE {where}"
            )
            assert found, (table, column)


async def test_the_log_records_a_repair(old_database: str) -> None:
    async with session(old_database) as connection:
        await connection.execute(
            "UPDATE community_members SET deleted_at = 'infinity' WHERE member_id = '#3'"
        )
    await adopt(old_database)
    async with connect(old_database, min_size=0):
        (entry, *_) = (await audit.history("#3")).items
    assert (entry.actor, entry.reason) == ("migration", "A date outside the years 2000 to 2199")
    assert entry.changes["deleted_at"][0] == "infinity"


REPORTED = [
    ("community_members", "profile_data", "a number", "member_profile_data_readable_check"),
    ("community_members", "profile_data", "nesting", "member_profile_data_readable_check"),
    (
        "community_members",
        "github_profile_data",
        "a number",
        "member_github_profile_data_readable_check",
    ),
    (
        "community_members",
        "github_profile_data",
        "nesting",
        "member_github_profile_data_readable_check",
    ),
    (
        "member_participation",
        "event_metadata",
        "a number",
        "participation_event_metadata_readable_check",
    ),
    (
        "member_participation",
        "event_metadata",
        "nesting",
        "participation_event_metadata_readable_check",
    ),
    ("member_participation", "occurred_at", "infinity", "participation_occurred_at_range_check"),
    ("member_relationships", "content", "a number", "relationship_content_readable_check"),
    ("member_relationships", "content", "nesting", "relationship_content_readable_check"),
    ("member_daily_highlights", "highlight_date", "infinity", "highlight_date_range_check"),
]


async def test_a_row_without_an_obvious_repair_is_reported(old_database: str) -> None:
    schema = await dump(old_database)
    for table, column, broken, rule in REPORTED:
        async with session(old_database) as connection:
            key, before = await rows.fetch_row(
                connection,
                f"SELECT id::text, quote_nullable({column}::text) FROM {table} ORDER BY id LIMIT 1",
            )
        await write_anything(old_database, table, f"{column} = {BROKEN[broken]}", f"id = '{key}'")

        with pytest.raises(MigrationFailed) as refused:
            await adopt(old_database)
        assert str(refused.value) == (
            "The schema could not be brought up to date: some rows break the new rules, "
            f"and must be changed first; {table}.{column} ({rule}): {key}"
        )
        assert await dump(old_database) == schema

        await write_anything(old_database, table, f"{column} = {before}", f"id = '{key}'")
    await adopt(old_database)


async def test_an_unreadable_value_is_deleted_from_the_log(
    old_database: str, clean_dump: str
) -> None:
    async with session(old_database) as connection:
        for assignments in (
            f"profile_data = {BROKEN['a number']}",
            f"profile_data = {BROKEN['nesting']}",
            "profile_data = NULL, name = 'B'",
        ):
            await connection.execute(
                f"UPDATE community_members SET {assignments} WHERE member_id = '#3'"
            )
    await adopt(old_database)
    assert await dump(old_database) == clean_dump
    async with connect(old_database, min_size=0):
        newest = (await audit.history("#3")).items[0]
    assert newest.changes == {"profile_data": [None, None], "name": ["Арман Ұлы", "B"]}


async def write_anything(url: str, table: str, assignment: str, where: str) -> None:
    """Change rows without the triggers."""
    await run_sql(
        url,
        f"SET session_replication_role = replica; UPDATE {table} SET {assignment} WHERE {where}",
    )
