"""The schema of the database as TypeScript, for programs that use Drizzle ORM."""

import json
import re
from collections.abc import Iterable, Sequence
from itertools import groupby

import asyncpg

from community_directory.database import Statement, engine, transaction
from community_directory.errors import SchemaMissing

MAX_CHECK_LENGTH = 100
"""The longest condition of a CHECK, in characters, that the TypeScript has."""

HEADER = """\
// Written by `community-directory schema --typescript`: write it again after an upgrade.
// The database has triggers, functions and long checks that Drizzle does not know. Change it with
// `community-directory migrate`, and never with `drizzle-kit push`.
"""

CLEAR_SEARCH_PATH = "SELECT set_config('search_path', 'pg_catalog', true)"
"""PostgreSQL then writes each expression with all its schemas, whatever the session's path is."""

# The tables of this package, without those of Piccolo: nobody but the panel needs its passwords and
# sessions. A partition is part of its table.
OWN_TABLES = """
own AS (
    SELECT oid, relname FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
        AND relname ~ '^(community|directory|member|panel)_'
)"""

LIST_COLUMNS = Statement(f"""
WITH {OWN_TABLES}
SELECT relname AS table_name, attname AS name, format_type(atttypid, atttypmod) AS type,
    attnotnull AS not_null, attidentity::text AS identity, attgenerated <> '' AS generated,
    pg_get_expr(adbin, adrelid, true) AS expression
FROM own JOIN pg_attribute ON attrelid = oid
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attnum > 0 AND NOT attisdropped
ORDER BY relname, attnum
""")

LIST_CONSTRAINTS = Statement(f"""
WITH {OWN_TABLES}
SELECT own.relname AS table_name, conname AS name, contype::text AS type,
    pg_get_expr(conbin, conrelid, true) AS condition,
    other.relname AS other_table, confdeltype::text AS on_delete, confupdtype::text AS on_update,
    coalesce(indnullsnotdistinct, false) AS nulls_not_distinct,
    ARRAY(
        SELECT attname::text FROM unnest(conkey) WITH ORDINALITY AS key (attnum, place)
        JOIN pg_attribute USING (attnum) WHERE attrelid = conrelid ORDER BY place
    ) AS columns,
    ARRAY(
        SELECT attname::text FROM unnest(confkey) WITH ORDINALITY AS key (attnum, place)
        JOIN pg_attribute USING (attnum) WHERE attrelid = confrelid ORDER BY place
    ) AS other_columns
FROM own JOIN pg_constraint ON conrelid = own.oid
LEFT JOIN own AS other ON other.oid = confrelid
LEFT JOIN pg_index ON indexrelid = conindid AND contype = 'u'
WHERE contype IN ('p', 'u', 'c') OR contype = 'f' AND other.oid IS NOT NULL
ORDER BY own.relname, array_position(ARRAY['p', 'u', 'f', 'c'], contype::text), conname
""")

LIST_UNIQUE_INDEXES = Statement(f"""
WITH {OWN_TABLES}
SELECT own.relname AS table_name, pg_class.relname AS name,
    pg_get_expr(indpred, indrelid, true) AS condition,
    ARRAY(
        SELECT pg_get_indexdef(indexrelid, place, true)
        FROM generate_series(1, indnkeyatts) AS place ORDER BY place
    ) AS keys
FROM own JOIN pg_index ON indrelid = own.oid JOIN pg_class ON pg_class.oid = indexrelid
WHERE indisunique AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
ORDER BY own.relname, pg_class.relname
""")

BUILDERS = {
    "bigint": "bigint",
    "boolean": "boolean",
    "character varying": "varchar",
    "date": "date",
    "double precision": "doublePrecision",
    "integer": "integer",
    "json": "json",
    "jsonb": "jsonb",
    "numeric": "numeric",
    "real": "real",
    "smallint": "smallint",
    "text": "text",
    "timestamp with time zone": "timestamp",
    "timestamp without time zone": "timestamp",
    "uuid": "uuid",
}
"""Drizzle's functions for the types of PostgreSQL; a column of another type is a `customType`."""

FUNCTIONS = {
    *BUILDERS.values(),
    "check",
    "customType",
    "foreignKey",
    "pgTable",
    "primaryKey",
    "unique",
    "uniqueIndex",
}
"""All functions of Drizzle that the TypeScript may call."""

FIXED_OPTIONS: dict[str, dict[str, object]] = {
    "bigint": {"mode": "bigint"},
    "timestamp with time zone": {"withTimezone": True},
}
ARGUMENT_OPTIONS = {
    "character varying": ("length",),
    "numeric": ("precision", "scale"),
    "timestamp with time zone": ("precision",),
    "timestamp without time zone": ("precision",),
}
"""The options for the numbers in parentheses of a type."""

ACTIONS = {"c": "cascade", "d": "set default", "n": "set null", "r": "restrict"}
"""The actions of a foreign key. Without one, Drizzle's is PostgreSQL's: no action."""

TYPE = re.compile(r"([a-z ]+?)(?:\(([\d,]+)\))?( with(?:out)? time zone)?((?:\[\])*)")
TEXT_LITERAL = re.compile(r"'((?:[^'\\]|'')*)'::(?:text|character varying)")
NUMBER_LITERAL = re.compile(r"-?\d+")
IDENTIFIER = re.compile(r"[A-Za-z_$][\w$]*", re.ASCII)
ONE_OF = re.compile(r"\w+(?:::text)? = ANY \(\(?ARRAY\[(.*?)\](?:\)?::text\[\])?\)")
IS_OBJECT = re.compile(r"jsonb_typeof\(\w+\) = 'object'::text")


async def make_typescript() -> str:
    """Return a module of TypeScript with the tables of the connected database and their rows.

    It has a table of Drizzle ORM and two types for each table, with the columns, defaults, keys,
    unique indexes and short checks that the database has at this moment. A column whose check lists
    its values has a union of them as its type. The properties are the names of the columns.

    Raises:
        SchemaMissing: The database has no tables of a directory.
    """
    async with transaction():
        await engine.fetch(CLEAR_SEARCH_PATH)
        columns = await engine.fetch(LIST_COLUMNS)
        constraints = await engine.fetch(LIST_CONSTRAINTS)
        indexes = await engine.fetch(LIST_UNIQUE_INDEXES)
    if not columns:
        raise SchemaMissing(
            "The database has no tables of a directory: run `community-directory migrate` first."
        )
    tables = [
        _table(name, list(group), _of(name, constraints), _of(name, indexes))
        for name, group in groupby(columns, key=lambda column: str(column["table_name"]))
    ]
    body = "\n".join(tables)
    return f"{HEADER}{_imports(body)}\n{body}"


def _of(table: str, records: Iterable[asyncpg.Record]) -> list[asyncpg.Record]:
    return [record for record in records if record["table_name"] == table]


def _imports(body: str) -> str:
    """Return the imports of the names that the tables call."""
    called = set(re.findall(r"[( ]([a-z]\w*)[(<]", body))
    sql = 'import { sql } from "drizzle-orm";\n' if "sql`" in body else ""
    listed = "".join(f"  {name},\n" for name in sorted(called & FUNCTIONS))
    return f'{sql}import {{\n{listed}}} from "drizzle-orm/pg-core";\n'


def _table(
    name: str,
    columns: Sequence[asyncpg.Record],
    constraints: Sequence[asyncpg.Record],
    indexes: Sequence[asyncpg.Record],
) -> str:
    """Return the table and the types of its rows."""
    table, row = _camel_case(name), _pascal_case(_singular(name))
    fields = "".join(
        f"    {_property(column['name'])}: {_column(column, constraints)},\n" for column in columns
    )
    extras = [
        *filter(None, (_constraint(name, constraint) for constraint in constraints)),
        *map(_unique_index, indexes),
    ]
    listed = "".join(f"    {extra},\n" for extra in extras)
    rules = f"  (table) => [\n{listed}  ],\n" if extras else ""
    return (
        f"export const {table} = pgTable(\n  {json.dumps(name)},\n  {{\n{fields}  }},\n{rules});\n"
        f"export type {row} = typeof {table}.$inferSelect;\n"
        f"export type New{row} = typeof {table}.$inferInsert;\n"
    )


def _column(column: asyncpg.Record, constraints: Sequence[asyncpg.Record]) -> str:
    checks = [
        constraint["condition"]
        for constraint in constraints
        if constraint["type"] == "c" and constraint["columns"] == [column["name"]]
    ]
    # A primary key says so itself, so that Drizzle's own functions recognize it.
    is_key = any(
        constraint["type"] == "p" and constraint["columns"] == [column["name"]]
        for constraint in constraints
    )
    parts = [_builder(column["name"], column["type"], checks)]
    if column["generated"]:
        parts.append(f"generatedAlwaysAs({_sql(column['expression'])})")
    elif column["identity"]:
        way = "Always" if column["identity"] == "a" else "ByDefault"
        parts.append(f"generated{way}AsIdentity()")
    elif column["expression"] and not column["expression"].startswith("NULL::"):
        parts.append(_default(column["type"], column["expression"]))
    if is_key:
        parts.append("primaryKey()")
    elif column["not_null"]:
        parts.append("notNull()")
    return ".".join(parts)


def _builder(name: str, column_type: str, checks: Sequence[str]) -> str:
    """Return the call of Drizzle that makes a column of this type."""
    match = TYPE.fullmatch(column_type)
    base = f"{match[1]}{match[3] or ''}" if match else ""
    dimensions = column_type.count("[]")
    if match is None or base not in BUILDERS:
        data = "Uint8Array" if base == "bytea" else "unknown"
        sql_type = column_type.removesuffix("[]" * dimensions)
        maker = f"customType<{{ data: {data} }}>({{ dataType: () => {json.dumps(sql_type)} }})"
        return f"{maker}({json.dumps(name)})" + ".array()" * dimensions
    numbers = map(int, match[2].split(",")) if match[2] else ()
    options: dict[str, object] = dict(zip(ARGUMENT_OPTIONS.get(base, ()), numbers, strict=False))
    options |= FIXED_OPTIONS.get(base, {})
    values = next(filter(None, map(_listed_values, checks)), None)
    if values and base in ("character varying", "text") and not dimensions:
        options["enum"] = values
    call = f"{BUILDERS[base]}({', '.join([json.dumps(name), *_object(options)])})"
    if base == "jsonb" and any(IS_OBJECT.fullmatch(check) for check in checks):
        call += ".$type<Record<string, unknown>>()"
    return call + ".array()" * dimensions


def _object(options: dict[str, object]) -> list[str]:
    """Return the options as an object of TypeScript, or nothing if there are none."""
    if not options:
        return []
    fields = ", ".join(f"{key}: {json.dumps(value)}" for key, value in options.items())
    return [f"{{ {fields} }}"]


def _listed_values(condition: str) -> list[str] | None:
    """Return the values that a check lists, or None if it is another check."""
    match = ONE_OF.fullmatch(condition)
    if match is None:
        return None
    values = [_text(literal) for literal in match[1].split(", ")]
    texts = [value for value in values if value is not None]
    return texts if len(texts) == len(values) else None


def _text(literal: str) -> str | None:
    """Return the text of a literal, or None if it is another expression."""
    match = TEXT_LITERAL.fullmatch(literal)
    return match[1].replace("''", "'") if match else None


def _default(column_type: str, expression: str) -> str:
    if expression in ("now()", "CURRENT_TIMESTAMP") and column_type.startswith("timestamp"):
        return "defaultNow()"
    if expression == "gen_random_uuid()" and column_type == "uuid":
        return "defaultRandom()"
    if (text := _text(expression)) is not None:
        return f"default({json.dumps(text)})"
    is_number = column_type in ("integer", "smallint") and NUMBER_LITERAL.fullmatch(expression)
    if is_number or (column_type == "boolean" and expression in ("true", "false")):
        return f"default({expression})"
    return f"default({_sql(expression)})"


def _constraint(table: str, constraint: asyncpg.Record) -> str | None:
    """Return a constraint as Drizzle writes it, or None if the column says it, or it is long."""
    name, columns = json.dumps(constraint["name"]), _columns("table", constraint["columns"])
    match constraint["type"]:
        case "p" if len(constraint["columns"]) > 1:
            return f"primaryKey({{ name: {name}, columns: [{columns}] }})"
        case "u":
            nulls = ".nullsNotDistinct()" if constraint["nulls_not_distinct"] else ""
            return f"unique({name}).on({columns}){nulls}"
        case "f":
            other = constraint["other_table"]
            owner = "table" if other == table else _camel_case(other)
            others = _columns(owner, constraint["other_columns"])
            key = f"{{ name: {name}, columns: [{columns}], foreignColumns: [{others}] }}"
            actions = "".join(
                f'.{event}("{ACTIONS[action]}")'
                for event, action in (
                    ("onDelete", constraint["on_delete"]),
                    ("onUpdate", constraint["on_update"]),
                )
                if action in ACTIONS
            )
            return f"foreignKey({key}){actions}"
        case "c" if len(constraint["condition"]) <= MAX_CHECK_LENGTH:
            return f"check({name}, {_sql(constraint['condition'])})"
    return None


def _unique_index(index: asyncpg.Record) -> str:
    keys = ", ".join(map(_sql, index["keys"]))
    where = f".where({_sql(index['condition'])})" if index["condition"] else ""
    return f"uniqueIndex({json.dumps(index['name'])}).on({keys}){where}"


def _columns(table: str, names: Iterable[str]) -> str:
    return ", ".join(
        f"{table}.{name}" if IDENTIFIER.fullmatch(name) else f"{table}[{json.dumps(name)}]"
        for name in names
    )


def _property(name: str) -> str:
    return name if IDENTIFIER.fullmatch(name) else json.dumps(name)


def _sql(expression: str) -> str:
    """Return the expression in a template of Drizzle."""
    escaped = re.sub(r"[\\`]|\$(?=\{)", r"\\\g<0>", expression)
    return f"sql`{escaped}`"


def _camel_case(name: str) -> str:
    pascal = _pascal_case(name)
    return pascal[0].lower() + pascal[1:]


def _pascal_case(name: str) -> str:
    return "".join(word.capitalize() for word in re.findall(r"[A-Za-z0-9]+", name))


def _singular(name: str) -> str:
    return re.sub(r"ies$", "y", name) if name.endswith("ies") else name.removesuffix("s")
