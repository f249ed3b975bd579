"""What the panel asks of a table before it reads many rows: its size, a plan, a column's values."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from community_directory.database import Statement, engine

MAX_DISTINCT_VALUES = 1000
"""The most different values of a column, or of two, that are compared with a text one by one."""

ESTIMATE_TABLE_ROWS = Statement(
    "SELECT reltuples::bigint FROM pg_class WHERE oid = :table_name::text::regclass"
)


class Plan(NamedTuple):
    """The planner's estimate of a query."""

    rows: int
    """The rows that it returns."""
    cost: float
    """The cost of all of them."""
    is_walk: bool
    """The rows are read in their order, and those that a filter does not match are skipped."""


async def count_table_rows(table_name: str) -> int:
    """Return the estimated number of rows of a table; -1 if it was never analyzed."""
    records = await engine.fetch(ESTIMATE_TABLE_ROWS, table_name=table_name)
    return int(records[0][0])


async def plan_query(sql: str, arguments: Sequence[object]) -> Plan:
    """Return the planner's estimate of a query, which is not run."""
    records = await engine.fetch(f"EXPLAIN (FORMAT JSON) {sql}", *arguments)
    top = node = json.loads(records[0][0])[0]["Plan"]
    while node.get("Plans") and node["Node Type"] != "Sort":
        node = node["Plans"][0]
    is_walk = node["Node Type"] != "Sort" and "Index Cond" not in node
    return Plan(top["Plan Rows"], top["Total Cost"], is_walk)


async def find_values(
    table_name: str, columns: Sequence[str], condition: str, arguments: Sequence[object]
) -> list[tuple[str, ...]] | None:
    """Return the values of a column that meet a condition, each with those of the columns before.

    Each step of the recursion finds the next values in an index that begins with the columns, so
    that the rows with the same values are skipped.

    Args:
        table_name: The quoted name of the table.
        columns: The first columns of an index; the condition is about the last one.
        condition: The SQL of the condition, about a table `this`.
        arguments: The arguments of the condition.

    Returns:
        The values, or None if there are more than `MAX_DISTINCT_VALUES` different ones.
    """
    names = ", ".join(f'"{column}"' for column in columns)
    earlier = ", ".join(f'earlier."{column}"' for column in columns)
    last = f'"{columns[-1]}"'
    following = f"SELECT {names} FROM {table_name} WHERE {last} IS NOT NULL"
    records = await engine.fetch(
        f"""
        WITH RECURSIVE this AS (
            ({following} ORDER BY {names} LIMIT 1)
            UNION ALL
            SELECT later.* FROM this AS earlier CROSS JOIN LATERAL (
                {following} AND ({names}) > ({earlier}) ORDER BY {names} LIMIT 1
            ) AS later
        ), found AS MATERIALIZED (SELECT * FROM this LIMIT {MAX_DISTINCT_VALUES + 1})
        SELECT {names}, count(*) OVER () AS different, {condition} AS is_match FROM found AS this
        """,
        *arguments,
    )
    if records and records[0]["different"] > MAX_DISTINCT_VALUES:
        return None
    return [tuple(record[column] for column in columns) for record in records if record["is_match"]]
