"""What a run found: the tables that are printed and saved, and the chart."""

import asyncpg

from benchmarks.operations import GOALS
from benchmarks.results import Results

YARDSTICK = "asyncpg"


async def server(connection: asyncpg.Connection) -> str:
    """The server's version, and what is set otherwise than by default."""
    return ""


def save(results: Results, *, command: str, size: str, server: str) -> None:
    """Save."""


def tables(results: Results) -> str:
    """The goals, the ratios, and all the figures, in Markdown."""
    rows = []
    for (line, client), measured in results.measured.items():
        cost = results.cost(line, client)
        try:
            ratio = f"{results.ratio((line, client), (line, YARDSTICK)):.2f}"
        except KeyError:
            ratio = ""
        rows.append(f"{line:40} {client:18} {cost*1e6:10.0f} {measured.slow*1e6:10.0f} {measured.rows/cost:10.0f} {ratio} {measured.winners or ''}")
    for goal in GOALS:
        try:
            f = goal.figure(results)
        except KeyError:
            continue
        rows.append(f"{goal.operation}: {goal.what} {f:.2f} {goal.most} {goal.least} {goal.is_met(f)}")
    rows += [f"{c}: {r}" for c,r in results.remarks.items()]
    return "\n".join(rows)
