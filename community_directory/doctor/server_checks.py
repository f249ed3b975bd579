"""Checks of the server: its settings, versions, space and sessions."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from community_directory.database import Statement, engine
from community_directory.database.roles import missing_privileges
from community_directory.doctor.model import Check, Finding, Scope, Verdict
from community_directory.settings import load_settings, variable

MAX_CLOCK_DIFFERENCE_SECONDS = 2
CLOCK_SAMPLES = 3
"""The number of measurements; that with the shortest round trip is the most exact one."""
GET_CLOCK = "SELECT clock_timestamp()"

# `reset_val` is the value with which the session began. The check itself has another one.
LIST_TIMEOUTS = """
SELECT name, reset_val::bigint FROM pg_settings WHERE name IN ('statement_timeout', 'lock_timeout')
"""

FIND_UNSAFE_SETTINGS = Statement("""
SELECT format('%s is %s', name, reset_val) AS finding,
    CASE name WHEN 'autovacuum' THEN 'warning' END AS verdict
FROM pg_settings
WHERE (name, reset_val) IN (
    ('fsync', 'off'), ('full_page_writes', 'off'), ('synchronous_commit', 'off'),
    ('autovacuum', 'off'), ('zero_damaged_pages', 'on'), ('ignore_checksum_failure', 'on'),
    ('session_replication_role', 'replica')
) ORDER BY name
""")

FIND_OLD_EXTENSIONS = Statement("""
SELECT format('ALTER EXTENSION %I UPDATE; -- from %s to %s', name, installed_version,
    default_version) AS finding
FROM pg_available_extensions WHERE installed_version <> default_version ORDER BY name
""")

# The order of texts changed, and an index that was built in the old order may not find its rows.
FIND_CHANGED_COLLATIONS = Statement("""
SELECT format('REINDEX DATABASE %1$I; ALTER DATABASE %1$I REFRESH COLLATION VERSION;'
    ' -- from %2$s to %3$s', datname, coalesce(datcollversion, 'none'),
    coalesce(pg_database_collation_actual_version(oid), 'none')) AS finding
FROM pg_database WHERE datname = current_database()
    AND datcollversion <> coalesce(pg_database_collation_actual_version(oid), '')
UNION ALL
SELECT DISTINCT format('ALTER COLLATION %s REFRESH VERSION; -- after REINDEX; from %s to %s',
    used.oid::regcollation, collversion, pg_collation_actual_version(used.oid))
FROM pg_collation AS used JOIN pg_attribute ON attcollation = used.oid
JOIN pg_class ON pg_class.oid = attrelid AND relnamespace = 'public'::regnamespace
WHERE collversion <> pg_collation_actual_version(used.oid)
""")

FIND_REPLICATION_LAG = Statement("""
SELECT format('standby %s is behind by %s', coalesce(nullif(application_name, ''), pid::text),
    date_trunc('second', replay_lag)) AS finding
FROM pg_stat_replication WHERE replay_lag > :lag::interval
UNION ALL
SELECT format('this standby is behind by %s', date_trunc('second', now() - replayed_at))
FROM (
    -- NULL before the first transaction that a standby replays after its start
    SELECT coalesce(pg_last_xact_replay_timestamp(), pg_postmaster_start_time()) AS replayed_at
) AS standby
WHERE pg_is_in_recovery() AND pg_last_wal_receive_lsn() <> pg_last_wal_replay_lsn()
    AND now() - replayed_at > :lag::interval
""")
FIND_SLOTS = Statement("""
SELECT format('slot %s keeps %s, and is %s', slot_name, pg_size_pretty(retained),
    CASE WHEN active THEN 'in use' ELSE 'not in use' END) AS finding,
    CASE WHEN wal_status IN ('unreserved', 'lost') THEN 'failed' END AS verdict
FROM pg_replication_slots, LATERAL (
    SELECT pg_wal_lsn_diff(
        CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
        restart_lsn
    ) AS retained
) AS wal
WHERE retained > :max_bytes::bigint OR wal_status IN ('unreserved', 'lost') ORDER BY slot_name
""")

# Autovacuum begins at 20 percent.
FIND_DEAD_ROWS = Statement("""
SELECT format('%s: %s dead rows beside %s, last vacuumed %s', relname, n_dead_tup, n_live_tup,
    coalesce(date_trunc('second', greatest(last_vacuum, last_autovacuum))::text, 'never'))
    AS finding
FROM pg_stat_user_tables
WHERE schemaname = 'public' AND n_dead_tup > :min_rows::bigint AND n_dead_tup > 0.4 * n_live_tup
ORDER BY n_dead_tup DESC
""")
# An entry of a B-tree has 12 bytes beside its values, which are aligned to 8 bytes, and a full page
# is filled to 90 percent. Pages that split in the middle make an index up to twice as large.
FIND_BLOATED_INDEXES = Statement("""
WITH widths AS (
    -- the average bytes of the values of an entry; NULL if a column has no statistics
    SELECT indexrelid, indrelid, CASE WHEN bool_and(avg_width IS NOT NULL)
        THEN sum(avg_width * (1 - null_frac)) END AS width
    FROM pg_index JOIN pg_class AS indexed ON indexed.oid = indrelid
    JOIN pg_attribute AS part ON part.attrelid = indexrelid
    LEFT JOIN pg_attribute AS source
        ON source.attrelid = indrelid AND source.attnum = indkey[part.attnum - 1]
    LEFT JOIN pg_stats ON schemaname = 'public'
        AND tablename = CASE WHEN source.attnum IS NULL THEN indexrelid::regclass::text
            ELSE indexed.relname END
        AND pg_stats.attname = coalesce(source.attname, part.attname)
    WHERE indexed.relnamespace = 'public'::regnamespace
    GROUP BY indexrelid, indrelid
)
SELECT format('%s: %s, about %s would do', indexrelid::regclass, pg_size_pretty(size),
    pg_size_pretty(estimate::bigint)) AS finding
FROM widths JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam,
LATERAL (
    SELECT pg_relation_size(indexrelid) AS size,
        greatest(reltuples, 0) * (12 + 8 * ceil(width / 8)) / 0.9 AS estimate
) AS sizes
WHERE amname = 'btree' AND size > :min_bytes::bigint AND size > 2.5 * estimate
ORDER BY size - estimate DESC
""")

FIND_OLD_TRANSACTION_IDS = Statement("""
SELECT format('database %s: the oldest id is %s transactions old', datname, oldest) AS finding,
    CASE WHEN oldest > 1500000000 THEN 'failed' END AS verdict
FROM pg_database, LATERAL (SELECT greatest(age(datfrozenxid), mxid_age(datminmxid)) AS oldest)
    AS ages
WHERE datallowconn AND oldest > :max_age::bigint ORDER BY oldest DESC
""")

FIND_LONG_SESSIONS = Statement("""
SELECT format('process %s of %s: %s for %s', pid,
    coalesce(nullif(application_name, ''), 'a program without a name'), state,
    date_trunc('second', CASE state WHEN 'active' THEN now() - xact_start
        ELSE now() - state_change END)) AS finding
FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
    AND (state LIKE 'idle in transaction%' AND now() - state_change > :max_idle::interval
        OR state = 'active' AND now() - xact_start > :max_active::interval)
ORDER BY xact_start
""")


async def find_clock_difference(_: Scope) -> Sequence[Finding]:
    """Compare the server's clock with that of this machine."""
    measured = []
    for _sample in range(CLOCK_SAMPLES):
        started, local = time.perf_counter(), datetime.now(UTC)
        [(server,)] = await engine.fetch(GET_CLOCK)
        round_trip = time.perf_counter() - started
        measured.append((round_trip, (server - local).total_seconds() - round_trip / 2))
    difference = min(measured)[1]
    if abs(difference) <= MAX_CLOCK_DIFFERENCE_SECONDS:
        return []
    direction = "ahead of" if difference > 0 else "behind"
    return [Finding(f"the server is {abs(difference):,.0f} seconds {direction} this machine")]


async def find_ineffective_timeouts(_: Scope) -> Sequence[Finding]:
    """Compare the time limits of the settings with those of a session of this program."""
    settings = load_settings()
    expected = {
        name: round(getattr(settings, name) * 1000)
        for name in ("statement_timeout", "lock_timeout")
    }
    effective = dict(tuple(record) for record in await engine.fetch(LIST_TIMEOUTS))
    return [
        Finding(f"{variable(name)} is {limit} ms, and {name} is {effective[name]} ms")
        for name, limit in expected.items()
        if limit and effective[name] != limit
    ]


async def find_missing_privileges(_: Scope) -> Sequence[Finding]:
    """Find the privileges of the panel and the bots that the present role lacks."""
    return [Finding(missing) for missing in await missing_privileges()]


async def find_unusable_replicas(_: Scope) -> Sequence[Finding]:
    """Find the servers of POSTGRES_READ_URL that can't answer queries now."""
    if engine.replicas is None:
        return []
    return [Finding(problem) for problem in await engine.replicas.find_problems()]


SERVER_CHECKS = (
    Check(
        id="clock",
        title=f"The clocks agree to {MAX_CLOCK_DIFFERENCE_SECONDS} seconds",
        problem="Clocks that differ",
        next_step="Let both machines set their clocks by NTP: invitations expire by the server's.",
        find=find_clock_difference,
        verdict=Verdict.WARNING,
    ),
    Check(
        id="timeouts",
        title="The time limits of the settings are in force",
        problem="Time limits that are not in force",
        next_step="A pooler between this program and the server may drop them: set them with "
        "ALTER ROLE … SET.",
        find=find_ineffective_timeouts,
        verdict=Verdict.WARNING,
    ),
    Check(
        id="settings",
        title="No setting of the server risks data",
        problem="Settings of the server that risk data",
        next_step="Set them back in postgresql.conf, with ALTER SYSTEM, or for the role.",
        find=FIND_UNSAFE_SETTINGS,
    ),
    Check(
        id="extensions",
        title="Every extension is up to date",
        problem="Extensions that are older than the server's",
        next_step="Run these statements as the owner of the extension.",
        find=FIND_OLD_EXTENSIONS,
        verdict=Verdict.WARNING,
    ),
    Check(
        id="collations",
        title="Every index was built in the present order of texts",
        problem="Collations whose version changed",
        next_step="Run these statements as the owner of the database, with the programs stopped.",
        find=FIND_CHANGED_COLLATIONS,
    ),
    Check(
        id="privileges",
        title="This login has the privileges that the panel and the bots need",
        problem="Missing privileges of this login",
        next_step="Run `community-directory roles --apply` as the owner of the tables, and grant "
        "the role directory_app to this login.",
        find=find_missing_privileges,
    ),
    Check(
        id="replication",
        title="No standby is more than 30 seconds behind",
        problem="Standbys that are behind",
        next_step="Look at the load and the log of the standby.",
        find=FIND_REPLICATION_LAG,
        values={"lag": timedelta(seconds=30)},
        verdict=Verdict.WARNING,
        needs="pg_read_all_stats",
    ),
    Check(
        id="replicas",
        title="Every server of POSTGRES_READ_URL can answer queries",
        problem="Servers of POSTGRES_READ_URL that can't answer",
        next_step="Start the standby, set it up again, or take it out of POSTGRES_READ_URL. "
        "Meanwhile the primary answers.",
        find=find_unusable_replicas,
        verdict=Verdict.WARNING,
    ),
    Check(
        id="slots",
        title="No replication slot fills the disk",
        problem="Replication slots that keep 1 GB or more of WAL, or have lost it",
        next_step="Start the standby of the slot, or drop it with pg_drop_replication_slot.",
        find=FIND_SLOTS,
        values={"max_bytes": 2**30},
        verdict=Verdict.WARNING,
    ),
    Check(
        id="dead_rows",
        title="No table has many dead rows",
        problem="Tables of which a large part is dead rows",
        next_step="Run VACUUM for each, and find out what kept autovacuum from it: a long "
        "transaction, a replication slot, or its settings.",
        find=FIND_DEAD_ROWS,
        values={"min_rows": 10_000},
        verdict=Verdict.WARNING,
    ),
    Check(
        id="bloat",
        title="No index is far larger than it needs to be",
        problem="Indexes of 10 MB or more that could be less than half as large",
        next_step="Run REINDEX INDEX CONCURRENTLY for each, as the owner of the table.",
        find=FIND_BLOATED_INDEXES,
        values={"min_bytes": 10 * 2**20},
        verdict=Verdict.WARNING,
    ),
    Check(
        id="transaction_ids",
        title="Transaction ids are far from their end",
        problem="Databases with old transaction ids",
        next_step="Run VACUUM FREEZE in the database, and end what holds it up: long sessions, "
        "prepared transactions or replication slots. Above 2 billion the server stops.",
        find=FIND_OLD_TRANSACTION_IDS,
        values={"max_age": 500_000_000},
        verdict=Verdict.WARNING,
    ),
    Check(
        id="long_sessions",
        title="No transaction stays open",
        problem="Sessions idle in a transaction for 5 minutes, or active for an hour",
        next_step="Find out what the program waits for, or end the session with "
        "pg_terminate_backend(process).",
        find=FIND_LONG_SESSIONS,
        values={"max_idle": timedelta(minutes=5), "max_active": timedelta(hours=1)},
        verdict=Verdict.WARNING,
        needs="pg_read_all_stats",
    ),
)
