"""The report of a run in Markdown, as it is printed and saved in `RESULTS.md`."""

import os
import platform
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import asyncpg

from benchmarks.clients import LABELS
from benchmarks.measure import NAMES, ROOT
from benchmarks.operations import GOALS, GROWTH, LINES, SIZES
from benchmarks.results import Measured, Results

YARDSTICK: Final = "asyncpg"
PATH: Final = Path(__file__).with_name("RESULTS.md")
SHORT_TABLE_PAGE: Final = ROOT / "docs/explanation/performance.md"
SHORT_LINES: Final = {
    "member": "a member by Telegram id",
    "record": "record an event",
    "record 1,000": "record 1,000 events",
    "redeem": "redeem a code",
    "directory page": "a page of the directory",
    "search: a rare word": "search a rare word",
    "search: a common word": "search a common word",
    "last 30 days": "a member's last 30 days",
}
"""The lines of the short table, with their names there."""
MARK: Final = (
    "<!-- `python -m benchmarks` writes the part above this line, people the part below. -->\n"
)

_LINES: Final = list(
    dict.fromkeys(line.name for lines in (*LINES.values(), GROWTH) for line in lines)
)

# Settings about files, logging, connections and formats are left out.
SETTINGS = """
SELECT name, current_setting(name) FROM pg_settings
WHERE setting IS DISTINCT FROM boot_val
    AND source NOT IN ('default', 'override', 'client', 'session')
    AND category !~ concat(
        '^(File Locations|Reporting|Client Connection Defaults|',
        'Connections and Authentication)'
    )
ORDER BY name
"""


async def server(connection: asyncpg.Connection) -> str:
    """Return the server's version and the settings that differ from the defaults."""
    version = await connection.fetchval("SELECT split_part(version(), ' ', 2)")
    settings = ", ".join(f"{name} = {value}" for name, value in await connection.fetch(SETTINGS))
    return f"PostgreSQL {version} ({settings or 'all settings are the defaults'})"


def load() -> float:
    """Return the load of the machine in the last minute."""
    return os.getloadavg()[0]


def heading(
    *, command: str, size: str, server: str, load: float, versions: Iterable[str] = ()
) -> str:
    """Return the circumstances of this run; `load` is that of the machine before it."""
    machine = f"{os.cpu_count()} cores, {platform.machine()}"
    loads = f"load of the machine {load:.1f} before and {os.getloadavg()[0]:.1f} at the end"
    python = ", ".join([f"Python {platform.python_version()}", *versions])
    busy = "\n**The machine was busy with other work: these figures are rough.**\n"
    return f"""{datetime.now(UTC):%Y-%m-%d} · `{command}` · {size} ·
{machine} · {loads} ·
{python} ·
{server}
{busy if load > (os.cpu_count() or 1) / 2 else ""}"""


def replace_part(path: Path, name: str, text: str) -> None:
    """Replace the part of a Markdown file between the comments with this name."""
    pattern = re.compile(f"(<!-- {name}: .*? -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    before = path.read_text(encoding="utf-8")
    after, parts = pattern.subn(lambda found: f"{found[1]}{text}{found[2]}", before)
    if parts != 1:
        raise ValueError(f"{path} has {parts} parts with the name {name}.")
    path.write_text(after, encoding="utf-8")


def save(results: Results, *, command: str, size: str, server: str, load: float) -> None:
    """Write the report into `RESULTS.md`, above the part that people write."""
    by_hand = PATH.read_text(encoding="utf-8").partition(MARK)[2]
    versions = (f"{name} {version}" for name, version in sorted(results.versions.items()))
    head = f"""# Results

Only the ratios mean something: one run measures all clients in turn, each in its own process with
eight connections. Times of different runs or machines can't be compared. A ratio is the median of
the rounds' ratios. No client uses uvloop, and Python's garbage collector is on. The ORMs' `record`
and `roll_up` do less: the helpers, and asyncpg with the same statements, also update members' last
activity and points, and split voice stays at midnight. All clients search the same stored column
with the same indexes; the helpers and asyncpg also find the usernames of other accounts.

{heading(command=command, size=size, server=server, load=load, versions=versions)}"""
    PATH.write_text(f"{head}\n{tables(results)}\n{MARK}{by_hand}", encoding="utf-8")
    replace_part(SHORT_TABLE_PAGE, "benchmarks", f"\n{short_table(results)}\n")


def short_table(results: Results) -> str:
    """Return the table of a few operations, for readers who don't know the benchmarks."""
    clients = [client for client in LABELS if client != YARDSTICK]
    rows = [
        [label, *(_ratio(results, (line, client), (line, YARDSTICK)) for client in clients)]
        for line, label in SHORT_LINES.items()
    ]
    return table(["time ÷ bare asyncpg", *(LABELS[client] for client in clients)], rows)


def tables(results: Results) -> str:
    """Return the tables of the goals, the ratios, the growth, and all figures."""
    parts = [
        "## Goals, set for 100,000 members\n",
        _goals(results),
        "## Time ÷ bare asyncpg\n",
        _ratios(results),
    ]
    if any(client in SIZES for _, client in results.measured):
        parts += ["## Growth: the helpers' time ÷ that among 10,000 members\n", _growth(results)]
    parts += ["## All figures\n", _figures(results)]
    remarks = "".join(
        f"- {client} {remark}\n"
        for client, remarks in results.remarks.items()
        for remark in remarks
    )
    return "\n".join([*parts, remarks])


def _goals(results: Results) -> str:
    rows = []
    for goal in GOALS:
        try:
            figure = goal.figure(results)
        except KeyError:
            continue  # not measured this time
        limit = (
            f"≤ {goal.most}"
            if goal.least is None
            else f"≥ {goal.least}"
            if goal.most is None
            else f"{goal.least}"
        )
        rows.append(
            [
                goal.operation,
                goal.what,
                limit,
                _number(figure),
                "yes" if goal.is_met(figure) else "**no**",
            ]
        )
    return table(["operation", "figure", "goal", "found", "met"], rows)


def _ratios(results: Results) -> str:
    clients = [name for name in NAMES if any(name == client for _, client in results.measured)]
    rows = [
        [line, *(_ratio(results, (line, name), (line, YARDSTICK)) for name in clients)]
        for line in _LINES
        if (line, YARDSTICK) in results.measured
    ]
    return table(["", *clients], rows)


def _growth(results: Results) -> str:
    first = next(iter(SIZES))
    rows = [
        [line.name, *(_ratio(results, (line.name, size), (line.name, first)) for size in SIZES)]
        for line in GROWTH
    ]
    return table(["", *(f"{members:,} members" for members in SIZES.values())], rows)


def _ratio(results: Results, over: tuple[str, str], under: tuple[str, str]) -> str:
    try:
        return _number(results.ratio(over, under))
    except KeyError:
        return ""


def _figures(results: Results) -> str:
    """Return the table of all figures; a client with the name of a size is the helpers."""
    rows = [
        [line, client, *_times(results.cost(line, client), measured)]
        for (line, client), measured in sorted(
            results.measured.items(), key=lambda item: _place(*item[0])
        )
    ]
    return table(
        [
            "",
            "client",
            "µs a call",
            "95 % of the calls within µs",
            "calls or rows a second",
            "winners",
        ],
        rows,
    )


def _times(cost: float, measured: Measured) -> list[str]:
    winners = sorted({min(measured.winners), max(measured.winners)}) if measured.winners else []
    times = [f"{cost * 1e6:,.0f}", f"{measured.slow * 1e6:,.0f}", f"{measured.rows / cost:,.0f}"]
    return [*times, "–".join(str(number) for number in winners)]


def _place(line: str, client: str) -> tuple[int, int]:
    """Return the place of a figure in the order of the lines and the clients."""
    return _LINES.index(line), [*NAMES, *SIZES].index(client)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    """Return a Markdown table with aligned columns."""
    cells = [head, *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = [f"| {' | '.join(map(str.ljust, row, widths))} |" for row in cells]
    rule = "|".join("-" * (width + 2) for width in widths)
    return "\n".join([lines[0], f"|{rule}|", *lines[1:], ""])
