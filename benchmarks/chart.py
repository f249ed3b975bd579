"""The chart of a run for the documentation: the time of a call divided by that of bare asyncpg."""

from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.clients import LABELS
from benchmarks.results import Results

PATH: Final = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.svg"
LINES: Final = {
    "member": "a member",
    "record": "record an event",
    "redeem": "redeem a code",
    "directory page": "a directory page",
}
OURS, YARDSTICK = "helpers", "asyncpg"

# Colors that are readable on a light and on a dark page.
ACCENT, INK, BAR = "#e5484d", "#6e7985", "#a3adb8"
WORKED_OUT_WITH: Final = "DejaVu Sans"
FONTS: Final = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
"""The reader's own fonts, instead of the one that matplotlib has measured."""
WIDTH, HEIGHT = 9.0, 3.5


def draw(results: Results, path: Path = PATH) -> None:
    """Draw the chart. The same figures make the same file."""
    with mpl.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "benchmarks", "font.family": [WORKED_OUT_WITH]}
    ):
        _figure(results).savefig(path, transparent=True, metadata={"Date": None, "Creator": None})
    path.write_text(
        path.read_text(encoding="utf-8").replace(f"'{WORKED_OUT_WITH}'", FONTS), encoding="utf-8"
    )


def _figure(results: Results) -> Figure:
    ratios = {line: _ratios(results, line) for line in LINES}
    clients = [client for client in LABELS if any(client in found for found in ratios.values())]
    longest = max(ratio for found in ratios.values() for ratio in found.values())
    figure = Figure(figsize=(WIDTH, HEIGHT))
    figure.subplots_adjust(left=0.17, right=0.985, top=0.83, bottom=0.03, wspace=0.10)
    figure.text(
        0.005,
        0.93,
        "Time of a call ÷ bare asyncpg on the same tables",
        color=INK,
        size=10,
        weight="bold",
    )
    figure.text(0.985, 0.93, "shorter is faster", color=INK, size=9, ha="right")
    panels = figure.subplots(1, len(LINES))
    for panel, (line, title) in zip(panels, LINES.items(), strict=True):
        panel.set(xlim=(0, longest * 1.22), ylim=(len(clients) - 0.4, -0.6), xticks=[], yticks=[])
        panel.set_title(title, loc="left", color=INK, size=9, pad=5)
        panel.spines[["top", "right", "bottom"]].set_visible(False)
        panel.spines["left"].set(color=BAR, linewidth=0.8)
        for place, client in enumerate(clients):
            if ratio := ratios[line].get(client):
                panel.barh(place, ratio, height=0.62, color=ACCENT if client == OURS else BAR)
                panel.text(
                    ratio + longest * 0.02,
                    place,
                    f"{ratio:.2f}" if ratio < 1 else f"{ratio:.1f}",
                    **_style(client),
                )
    for place, client in enumerate(clients):
        panels[0].text(-longest * 0.06, place, LABELS[client], ha="right", **_style(client))
    return figure


def _style(client: str) -> dict[str, Any]:
    ours = client == OURS
    return {
        "color": ACCENT if ours else INK,
        "weight": "bold" if ours else "normal",
        "size": 9,
        "va": "center",
    }


def _ratios(results: Results, line: str) -> dict[str, float]:
    measured = [client for client in LABELS if (line, client) in results.measured]
    return {client: results.ratio((line, client), (line, YARDSTICK)) for client in measured}
