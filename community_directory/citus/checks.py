"""Checks of a database before and after its tables are distributed.

A check says what is so, whether something is missing for Citus, and what the scripts would change.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple

import asyncpg

from community_directory.calendar import days_between, today
from community_directory.database import Statement, engine, transaction

DISTRIBUTED_TABLES = ("member_participation", "member_daily_highlights")
"""The tables that the recipe distributes by `member_id`."""
REPLACED_TRIGGER = "member_participation_follow_merge"
"""The trigger that a distributed table can't have: the recipe drops it."""
VERSIONS = range(15, 18)
"""The major versions of PostgreSQL for which Citus 13.2 exists, the version that was tried."""
OUTPUT_PLUGINS = ("citus", "citus_pgoutput", "citus_wal2json")
"""The decoders that Citus loads when it moves shards."""

FIND_SETTINGS = Statement("""
SELECT name, setting FROM pg_settings WHERE name = ANY(:names)
UNION ALL
SELECT 'installed_citus', extversion FROM pg_extension WHERE extname = 'citus'
""")
SETTINGS = (
    "server_version_num",
    "server_version",
    "wal_level",
    "shared_preload_libraries",
    "max_prepared_transactions",
    "output_plugin_libraries",
)

# Citus refuses any other action of a foreign key, a unique key without the column by which it
# distributes, and triggers.
FIND_OBSTACLES = Statement("""
WITH tables AS (SELECT oid, relname FROM pg_class WHERE oid = ANY(:tables::text[]::regclass[]))
SELECT 'key' AS kind, relname || '.' || conname AS name FROM pg_constraint
JOIN tables ON tables.oid = conrelid
WHERE contype = 'f' AND (confdeltype <> 'r' OR confupdtype <> 'r')
UNION ALL
SELECT 'reference', conrelid::regclass || '.' || conname FROM pg_constraint
WHERE contype = 'f' AND confrelid IN (SELECT oid FROM tables)
UNION ALL
SELECT CASE WHEN indisprimary THEN 'primary key' ELSE 'unique key' END, indexrelid::regclass::text
FROM pg_index JOIN tables ON tables.oid = indrelid
WHERE indisunique AND NOT EXISTS (
    SELECT FROM pg_attribute
    WHERE attrelid = indrelid AND attname = 'member_id' AND attnum = ANY(indkey)
)
UNION ALL
SELECT 'trigger', tgname FROM pg_trigger JOIN tables ON tables.oid = tgrelid
WHERE NOT tgisinternal
ORDER BY 1, 2
""")

FIND_SIZES = Statement("""
SELECT relname, greatest(reltuples, 0)::bigint AS row_count,
    pg_size_pretty(pg_total_relation_size(oid)) AS size
FROM pg_class WHERE oid = ANY(:tables::text[]::regclass[]) ORDER BY relname DESC
""")

# The tables of Citus exist only where its extension does.
FIND_DISTRIBUTED = Statement("SELECT to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL")
FIND_NODES = Statement("""
SELECT count(*) FILTER (WHERE groupid <> 0 AND isactive) AS workers,
    count(*) FILTER (WHERE groupid = 0) AS coordinators
FROM pg_dist_node WHERE noderole = 'primary'
""")
FIND_SHARDS = Statement("""
SELECT logicalrelid::text AS name, column_to_column_name(logicalrelid, partkey) AS distributed_by,
    colocationid, (SELECT count(*) FROM pg_dist_shard AS shard
        WHERE shard.logicalrelid = partition.logicalrelid) AS shards
FROM pg_dist_partition AS partition
WHERE partmethod = 'h' AND logicalrelid = ANY(:tables::text[]::regclass[])
""")
COUNT_STRAY_KEYS = Statement("""
WITH keys AS (SELECT member_id FROM member_keys),
members AS (SELECT member_id FROM community_members WHERE merged_into IS NULL)
SELECT count(*) FROM keys FULL JOIN members USING (member_id)
WHERE keys.member_id IS NULL OR members.member_id IS NULL
""")
EXPLAIN_MEMBER = Statement("""
EXPLAIN (COSTS OFF) SELECT count(*) FROM member_participation
WHERE member_id = '#1' AND occurred_at >= :start AND occurred_at < :end
""")


class Outcome(StrEnum):
    """What a finding means for the operator."""

    READY = "ready"
    MISSING = "missing"
    CHANGE = "change"
    """The scripts change it, and change it back."""


class Finding(NamedTuple):
    """One fact about the database."""

    outcome: Outcome
    sentence: str


async def check() -> list[Finding]:
    """Say whether the database is ready for Citus, and what would change, or how it is distributed.

    It changes nothing, and works on PostgreSQL without Citus.

    Raises:
        SchemaMissing: The migrations have not run.
    """
    async with transaction():
        records = await engine.fetch(FIND_SETTINGS, names=SETTINGS)
        settings = {record["name"]: record["setting"] for record in records}
        findings = list(_check_server(settings))
        [(has_citus,)] = await engine.fetch(FIND_DISTRIBUTED)
        shards = []
        if has_citus:
            findings += await _check_nodes()
            shards = await engine.fetch(FIND_SHARDS, tables=DISTRIBUTED_TABLES)
        if shards:
            return findings + await _check_distribution(shards)
        return findings + await _check_schema()


def _check_server(settings: Mapping[str, str]) -> Iterator[Finding]:
    number, version = int(settings["server_version_num"]), settings["server_version"]
    if number // 10_000 in VERSIONS:
        yield Finding(Outcome.READY, f"Citus 13.2 runs on PostgreSQL {version}.")
    else:
        yield Finding(
            Outcome.MISSING,
            f"The server runs PostgreSQL {version}; Citus 13.2, with which the scripts were tried, "
            f"exists for {VERSIONS[0]} to {VERSIONS[-1]}. Move to one of them with pg_dump.",
        )
    preloaded = settings.get("shared_preload_libraries")
    if preloaded is None:
        yield Finding(
            Outcome.MISSING,
            "This role may not read shared_preload_libraries: run the check as a superuser.",
        )
    elif preloaded.split(",")[0].strip() == "citus":
        yield Finding(Outcome.READY, "shared_preload_libraries begins with citus.")
    else:
        yield Finding(
            Outcome.MISSING,
            "Install Citus on every node, put citus first into shared_preload_libraries, and "
            "restart.",
        )
    if settings["wal_level"] == "logical":
        yield Finding(Outcome.READY, "wal_level is logical.")
    else:
        yield Finding(
            Outcome.MISSING,
            f"Set wal_level from {settings['wal_level']} to logical on every node, and restart: "
            "Citus moves shards by logical replication.",
        )
    if int(settings["max_prepared_transactions"]) > 0:
        yield Finding(Outcome.READY, "max_prepared_transactions allows commits on several nodes.")
    else:
        yield Finding(
            Outcome.MISSING,
            "Set max_prepared_transactions to twice max_connections on every node, and restart: a "
            "commit on several nodes prepares it on each.",
        )
    yield from _check_plugins(settings.get("output_plugin_libraries"))
    if "installed_citus" in settings:
        yield Finding(Outcome.READY, f"The extension citus {settings['installed_citus']} is there.")
    else:
        yield Finding(Outcome.MISSING, "Run CREATE EXTENSION citus in this database on every node.")


def _check_plugins(allowed: str | None) -> Iterator[Finding]:
    """Check the setting of PostgreSQL 15.20 and its contemporaries; earlier versions lack it."""
    names = [] if allowed is None else [name.strip() for name in allowed.split(",")]
    absent = [name for name in OUTPUT_PLUGINS if name not in names]
    if allowed is not None and absent:
        yield Finding(
            Outcome.MISSING,
            f"Add {', '.join(absent)} to output_plugin_libraries on every node: without them no "
            "shard can move.",
        )


async def _check_nodes() -> list[Finding]:
    [(workers, coordinators)] = await engine.fetch(FIND_NODES)
    if workers and coordinators:
        return [Finding(Outcome.READY, f"The coordinator knows {workers} workers.")]
    return [
        Finding(
            Outcome.MISSING,
            "Name the nodes in this database: citus_set_coordinator_host(...), then "
            "citus_add_node(...) for each worker.",
        )
    ]


async def _check_schema() -> list[Finding]:
    """Check the keys and triggers of the tables, and say what the script changes."""
    findings = [
        Finding(Outcome.CHANGE, f"{name} is distributed by member_id: {rows:,} rows, {size}.")
        for name, rows, size in await engine.fetch(FIND_SIZES, tables=DISTRIBUTED_TABLES)
    ]
    for kind, name in await engine.fetch(FIND_OBSTACLES, tables=DISTRIBUTED_TABLES):
        if kind == "primary key":
            findings.append(Finding(Outcome.CHANGE, f"{name} becomes (id, member_id)."))
        elif kind == "trigger" and name == REPLACED_TRIGGER:
            findings.append(
                Finding(
                    Outcome.CHANGE,
                    f"The trigger {name} is dropped: events of a merged number that other programs "
                    "write are refused, and those of archived days are not.",
                )
            )
        else:
            findings.append(
                Finding(
                    Outcome.MISSING,
                    f"Citus refuses the {kind} {name}, which is not of this package: drop it.",
                )
            )
    findings.append(
        Finding(
            Outcome.CHANGE,
            "The foreign keys of both tables lead to member_keys, a table on every node that "
            "triggers on community_members keep.",
        )
    )
    return findings


async def _check_distribution(shards: list[asyncpg.Record]) -> list[Finding]:
    """Check that the tables are distributed together, their numbers, and one question."""
    found = {shard["name"]: shard for shard in shards}
    apart = len({(shard["colocationid"], shard["distributed_by"]) for shard in shards}) > 1
    if set(found) != set(DISTRIBUTED_TABLES) or apart:
        return [
            Finding(
                Outcome.MISSING,
                "Only a part is distributed, or not together: run the script undistribute, and "
                "then distribute.",
            )
        ]
    findings = [
        Finding(
            Outcome.READY,
            f"{name} is distributed by {shard['distributed_by']} in {shard['shards']} shards.",
        )
        for name, shard in found.items()
    ]
    [(strays,)] = await engine.fetch(COUNT_STRAY_KEYS)
    findings.append(
        Finding(
            Outcome.MISSING if strays else Outcome.READY,
            f"{strays:,} numbers of member_keys and members differ: run the script undistribute, "
            "and then distribute."
            if strays
            else "member_keys has the number of every member who was not merged.",
        )
    )
    days = days_between(today(), today(), None)
    plan = await engine.fetch(EXPLAIN_MEMBER, start=days.starts[0], end=days.end)
    is_one = any(line.strip() == "Task Count: 1" for (line,) in plan)
    findings.append(
        Finding(
            Outcome.READY if is_one else Outcome.MISSING,
            "The events of a member are read by one task."
            if is_one
            else "The events of a member are read by more than one task: member_participation is "
            "not distributed by member_id.",
        )
    )
    return findings
