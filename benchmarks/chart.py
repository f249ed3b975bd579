"""The README's chart of a run: how long a call takes beside bare asyncpg, in a few operations."""

from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.results import Results

PATH: Final = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.svg"
LINES: Final = {
    "member": "a member",
    "record": "record an event",
    "redeem": "redeem a code",
    "directory page": "a directory page",
}
CLIENTS: Final = {
    "helpers": "query helpers",
    "asyncpg": "bare asyncpg",
    "drizzle": "Drizzle",
    "tortoise": "Tortoise",
    "piccolo": "Piccolo ORM",
    "sqlalchemy": "SQLAlchemy",
    "django": "Django",
}
OURS: Final = "helpers"
YARDSTICK: Final = "asyncpg"

# Seen on a light page and on a dark one.
ACCENT, INK, BAR = "#e5484d", "#6e7985", "#9aa5b1"
FONT: Final = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
"""The reader's own, in place of the one that the places were worked out with."""
WIDTH, HEIGHT = 9.0, 2.9


def draw(results: Results, path: Path = PATH) -> None:
    """Draw the chart; the same figures make the same file."""
    settings: dict[str, Any] = {"svg.fonttype": "none", "svg.hashsalt": "benchmarks", "font.family": "DejaVu Sans"}
    with mpl.rc_context(settings):
        figure = _figure(results)
        figure.savefig(path, transparent=True, metadata={"Date": None})
    if path.suffix == ".svg":
        path.write_text(path.read_text(encoding="utf-8").replace("'DejaVu Sans'", FONT), encoding="utf-8")


def _figure(results: Results) -> Figure:
    ratios = {line: _ratios(results, line) for line in LINES}
    clients = [client for client in CLIENTS if any(client in found for found in ratios.values())]
    figure = Figure(figsize=(WIDTH, HEIGHT))
    panels = figure.subplots(1, len(LINES), sharex=True, sharey=True)
    figure.subplots_adjust(left=0.13, right=0.985, top=0.80, bottom=0.03, wspace=0.10)
    longest = max(ratio for found in ratios.values() for ratio in found.values())
    figure.text(0.005, 0.93, "Time of a call ÷ bare asyncpg on the same tables", color=INK, size=10, weight="bold")
    figure.text(0.985, 0.93, "shorter is faster", color=INK, size=9, ha="right")
    for panel, (line, title) in zip(panels, LINES.items(), strict=True):
        panel.set(xlim=(0, longest * 1.22), ylim=(len(clients) - 0.4, -0.6), xticks=[], yticks=[])
        panel.set_title(title, loc="left", color=INK, size=9, pad=5)
        for side in ("top", "right", "bottom"):
            panel.spines[side].set_visible(False)
        panel.spines["left"].set(color=BAR, linewidth=0.8)
        for place, client in enumerate(clients):
            if client not in ratios[line]:
                continue
            ratio, ours = ratios[line][client], client == OURS
            panel.barh(place, ratio, height=0.62, color=ACCENT if ours else BAR, alpha=1 if ours else 0.75)
            style: dict[str, Any] = {"color": ACCENT if ours else INK, "weight": "bold" if ours else "normal"}
            panel.text(
                ratio + longest * 0.02,
                place,
                f"{ratio:.1f}" if ratio >= 1 else f"{ratio:.2f}",
                size=9,
                va="center",
                **style,
            )
    for place, client in enumerate(clients):
        style = {"color": ACCENT if client == OURS else INK, "weight": "bold" if client == OURS else "normal"}
        panels[0].text(-longest * 0.06, place, CLIENTS[client], size=9, va="center", ha="right", **style)
    return figure


def _ratios(results: Results, line: str) -> dict[str, float]:
    return {
        client: results.ratio((line, client), (line, YARDSTICK))
        for client in CLIENTS
        if (line, client) in results.measured and (line, YARDSTICK) in results.measured
    }
