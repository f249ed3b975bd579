"""Checks of the schema: it is what the migrations make, and every part of it is in force."""

import json
from collections.abc import Sequence
from pathlib import Path

from community_directory.database import Statement, engine, transaction
from community_directory.database.migrations import compare_migrations
from community_directory.doctor.model import Check, Finding, Scope, Verdict

CATALOG_PATH = Path(__file__).parent / "catalog.json"
"""The expected objects of the schema, which `python -m tools.make_catalog` writes."""

# The definitions are compared by their MD5, which keeps the file of the expected ones small. They
# leave out what may differ without harm, or has a check of its own: the schema of the extension,
# whether a constraint is validated, and the parentheses and casts of text, which PostgreSQL places
# differently after a restore. Of a view they have the columns only, because each version of
# PostgreSQL writes its query differently. NOT NULL is part of its column, although PostgreSQL 18
# also has a constraint for it. A function with its owner's rights is not for everybody, as it would
# be after a restore without privileges.
LIST_CATALOG = Statement(r"""
WITH relations AS (
    SELECT oid, relname, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace
), own AS (
    -- the tables of this package; those of Piccolo change with its version
    SELECT * FROM relations WHERE relname ~ '^(community|directory|insights|member|panel)_'
), objects AS (
    SELECT CASE relkind WHEN 'v' THEN 'view' ELSE 'table' END AS kind, relname::text AS name,
        '' AS on_table, relkind::text AS definition
    FROM own WHERE relkind IN ('r', 'v')
    UNION ALL
    SELECT 'sequence', relname, '',
        concat_ws(' ', seqtypid::regtype, seqstart, seqincrement, seqmin, seqmax, seqcycle)
    FROM pg_sequence JOIN own ON oid = seqrelid
    UNION ALL
    SELECT 'column', attname, relname, format_type(atttypid, atttypmod)
        || CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END
        || coalesce(' DEFAULT ' || pg_get_expr(adbin, adrelid), '')
    FROM pg_attribute JOIN own ON oid = attrelid
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE relkind IN ('r', 'v') AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT 'constraint', conname, relname,
        replace(pg_get_constraintdef(pg_constraint.oid), ' NOT VALID', '')
    FROM pg_constraint JOIN own ON own.oid = conrelid WHERE contype NOT IN ('n', 't')
    UNION ALL
    SELECT 'index', relations.relname, own.relname,
        regexp_replace(pg_get_indexdef(indexrelid), '[^ .]+\.gin_trgm_ops', 'gin_trgm_ops')
    FROM pg_index JOIN own ON own.oid = indrelid JOIN relations ON relations.oid = indexrelid
    UNION ALL
    SELECT 'trigger', tgname, relname, pg_get_triggerdef(pg_trigger.oid)
    FROM pg_trigger JOIN relations ON relations.oid = tgrelid
    WHERE NOT tgisinternal
        AND (relname IN ('piccolo_user', 'sessions') OR relname IN (SELECT relname FROM own))
    UNION ALL
    SELECT 'function', proname, '', pg_get_functiondef(oid)
        || CASE WHEN prosecdef AND has_function_privilege('public', oid, 'EXECUTE')
            THEN ' PUBLIC' ELSE '' END
    FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prokind = 'f'
        AND proname ~ '^(community|directory|member|panel)_'
    UNION ALL
    SELECT 'extension', extname, '', '' FROM pg_extension WHERE extname = 'pg_trgm'
)
SELECT concat_ws('.', kind || ' ' || nullif(on_table, ''),
    CASE WHEN on_table = '' THEN kind || ' ' ELSE '' END || name) AS object,
    md5(CASE WHEN kind IN ('constraint', 'index', 'trigger')
        THEN regexp_replace(definition, '[()]|::(text|character varying)(\[\])?', '', 'g')
        ELSE definition END) AS definition
FROM objects ORDER BY 1
""")

CLEAR_SEARCH_PATH = "SELECT set_config('search_path', 'pg_catalog', true)"
"""PostgreSQL then writes each definition with all its schemas, whatever the session's path is."""

HAS_MIGRATIONS = "SELECT to_regclass('public.migration') IS NOT NULL"
LIST_MIGRATIONS = "SELECT app_name || ' ' || name AS migration FROM public.migration"

FIND_INVALID_INDEXES = Statement("""
SELECT format('index %s on %s', indexrelid::regclass, indrelid::regclass) AS finding
FROM pg_index JOIN pg_class ON oid = indrelid
WHERE relnamespace = 'public'::regnamespace AND NOT (indisvalid AND indisready AND indislive)
ORDER BY 1
""")

# Among the internal ones are the triggers of the foreign keys.
FIND_DISABLED_TRIGGERS = Statement("""
SELECT DISTINCT format('%s on %s', coalesce('foreign key ' || conname, 'trigger ' || tgname),
    tgrelid::regclass) AS finding
FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
LEFT JOIN pg_constraint ON pg_constraint.oid = tgconstraint
WHERE relnamespace = 'public'::regnamespace AND tgenabled IN ('D', 'R') ORDER BY 1
""")

FIND_UNVALIDATED_CONSTRAINTS = Statement("""
SELECT format('constraint %s on %s', conname, conrelid::regclass) AS finding
FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND NOT convalidated ORDER BY 1
""")


async def read_catalog() -> dict[str, str]:
    """Return the MD5 of the definition of each object of the schema."""
    async with transaction():
        await engine.fetch(CLEAR_SEARCH_PATH)
        records = await engine.fetch(LIST_CATALOG)
    return {record["object"]: record["definition"] for record in records}


async def find_differences(_: Scope) -> Sequence[Finding]:
    """Find the objects that are missing or changed, and those that were added to our tables."""
    expected: dict[str, str] = json.loads(CATALOG_PATH.read_text(encoding="utf-8"))
    found = await read_catalog()
    # Missing tables and views come first, and are named without their parts.
    whole = ("table ", "view ")
    gone = sorted(
        expected.keys() - found.keys(), key=lambda name: (not name.startswith(whole), name)
    )
    missing = [
        Finding(f"{name} is missing")
        for name in gone
        if not any(f"{kind}{_table_of(name)}" in gone for kind in whole)
    ]
    changed = [
        Finding(f"{name} differs")
        for name, definition in expected.items()
        if found.get(name, definition) != definition
    ]
    tables = {_table_of(name) for name in expected} - {None}
    added = [
        Finding(f"{name} was added", Verdict.WARNING)
        for name in found
        if name not in expected and _table_of(name) in tables
    ]
    return missing + changed + added


def _table_of(name: str) -> str | None:
    """Return the table or view of a column, constraint, index or trigger; None for others."""
    table, dot, _ = name.partition(" ")[2].partition(".")
    return table if dot else None


async def find_migrations(_: Scope) -> Sequence[Finding]:
    """Find the migrations that have not run, and those that only a newer version knows."""
    [(has_migrations,)] = await engine.fetch(HAS_MIGRATIONS)
    records = await engine.fetch(LIST_MIGRATIONS) if has_migrations else []
    pending, unknown = compare_migrations({record["migration"] for record in records})
    return [
        *(Finding(f"{migration} has not run") for migration in sorted(pending)),
        *(
            Finding(f"{migration} is unknown to this version of the program", Verdict.WARNING)
            for migration in sorted(unknown)
        ),
    ]


SCHEMA_CHECKS = (
    Check(
        id="migrations",
        title="All migrations have run",
        problem="Migrations that have not run, or are unknown",
        next_step="Run `community-directory migrate`. If one is unknown, upgrade this program.",
        find=find_migrations,
    ),
    Check(
        id="schema",
        title="The schema is what the migrations make",
        problem="Differences from the schema of the migrations",
        next_step="Undo what was changed by hand: the definitions are in piccolo_migrations/sql.",
        find=find_differences,
    ),
    Check(
        id="indexes",
        title="Every index is valid",
        problem="Invalid indexes",
        next_step="Run REINDEX INDEX CONCURRENTLY for each, as the owner of the table.",
        find=FIND_INVALID_INDEXES,
    ),
    Check(
        id="triggers",
        title="Every trigger is enabled",
        problem="Disabled triggers",
        next_step="Run ALTER TABLE … ENABLE TRIGGER … for each, as the owner of the table. "
        "What was written without them may need a look: run `community-directory doctor --full`.",
        find=FIND_DISABLED_TRIGGERS,
    ),
    Check(
        id="constraints",
        title="Every constraint is validated",
        problem="Constraints that old rows may break",
        next_step="Run ALTER TABLE … VALIDATE CONSTRAINT … for each, as the owner of the table.",
        find=FIND_UNVALIDATED_CONSTRAINTS,
    ),
)
