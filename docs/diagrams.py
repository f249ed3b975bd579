"""Draw the tables, the accounts and the imports of the package as SVG.

MkDocs calls `on_page_markdown` for each page: `<!-- diagram of the tables -->`,
`<!-- diagram of the accounts -->` and `<!-- diagram of the imports -->` become pictures, whose
colours `site.css` gives.
"""

import ast
from graphlib import TopologicalSorter
from html import escape
from pathlib import Path
from typing import Any

from piccolo.columns import ForeignKey

from community_directory.piccolo_app import APP_CONFIG
from community_directory.tables import Platform

PACKAGE = Path(__file__).parent.parent / "community_directory"
ROW_HEIGHT = 18
TABLE_WIDTH, TABLE_GAP = 190, 50
PART_WIDTH, PART_HEIGHT, PART_GAP = 200, 48, 20

TABLE_COLUMNS = (
    (
        "community_invitations",
        "member_permissions",
        "member_requests",
        "member_notes",
        "member_relationships",
        "directory_bots",
    ),
    ("community_members", "member_accounts"),
    ("member_participation", "member_daily_highlights", "directory_merges", "directory_audit_log"),
)
"""The tables from left to right, and from top to bottom."""

ACCOUNTS = {
    Platform.TELEGRAM: "1001",
    Platform.DISCORD: "80351110224678912",
    Platform.GITHUB: "583231",
    Platform.ELIZAOS: "b850bc30-45f8-…",
}
"""An account on each platform, as the picture shows it."""
OWNED_THINGS = (
    "events and highlights",
    "invitations and invited members",
    "relationships",
    "audit log",
)
"""What a member has; after a merge, that of both members."""


def on_page_markdown(markdown: str, **_: object) -> str:
    """Replace each line that names a picture by that picture."""
    pictures = (("tables", draw_tables), ("accounts", draw_accounts), ("imports", draw_imports))
    for name, draw in pictures:
        if (line := f"<!-- diagram of the {name} -->") in markdown:
            markdown = markdown.replace(line, f'<div class="diagram" tabindex="0">{draw()}</div>')
    return markdown


def draw_tables() -> str:
    """Return the tables with their columns, and an arrow for each foreign key."""
    tables = {table._meta.tablename: table for table in APP_CONFIG.table_classes}
    shapes: list[str] = []
    places: dict[tuple[str, str], tuple[int, int]] = {}
    bottom = 0
    for column_number, names in enumerate(TABLE_COLUMNS):
        x, y = column_number * (TABLE_WIDTH + TABLE_GAP), 0
        for name in names:
            columns = tables[name]._meta.columns
            shapes.append(_box(x, y, TABLE_WIDTH, (len(columns) + 1) * ROW_HEIGHT + 8))
            shapes.append(_text(x + 8, y + ROW_HEIGHT - 2, name, "title"))
            for number, column in enumerate(columns, 2):
                middle = y + number * ROW_HEIGHT - 2
                places[name, column._meta.name] = (x, middle - 5)
                shapes.append(_text(x + 8, middle, column._meta.name))
            y += (len(columns) + 1) * ROW_HEIGHT + 30
        bottom = max(bottom, y)
    arrows = [
        _reference(places[table, column._meta.name], places[_target(column)])
        for table in tables
        for column in tables[table]._meta.columns
        if isinstance(column, ForeignKey)
    ]
    width = len(TABLE_COLUMNS) * (TABLE_WIDTH + TABLE_GAP) - TABLE_GAP
    return _svg(width, bottom, "The tables and their foreign keys", [*arrows, *shapes])


def draw_accounts() -> str:
    """Return a member with their accounts, and another one who was merged into them."""
    member_x, things_x = 260, 520
    step = PART_HEIGHT + PART_GAP
    middle = 2 * step - PART_GAP // 2
    shapes = []
    for number, (platform, account_id) in enumerate(ACCOUNTS.items()):
        y = number * step
        shapes += _labeled_box(0, y, platform, account_id)
        shapes.append(_arrow(PART_WIDTH, y + PART_HEIGHT // 2, member_x, middle))
    for number, thing in enumerate(OWNED_THINGS):
        y = number * step
        shapes.append(_box(things_x, y, PART_WIDTH, PART_HEIGHT))
        shapes.append(_text(things_x + PART_WIDTH // 2, y + 29, thing, middle=True))
        shapes.append(_arrow(member_x + PART_WIDTH, middle, things_x, y + PART_HEIGHT // 2))
    merged_y = 4 * step
    shapes += _labeled_box(member_x, middle - PART_HEIGHT // 2, "member #247", "community_members")
    shapes += _labeled_box(member_x, merged_y, "merged member #298", "merged_into = #247")
    center = member_x + PART_WIDTH // 2
    shapes.append(
        f'<path d="M{center} {merged_y} V{middle + PART_HEIGHT // 2}" marker-end="url(#arrow)"/>'
    )
    height = merged_y + PART_HEIGHT
    return _svg(things_x + PART_WIDTH, height, "The accounts of a member, and a merge", shapes)


def draw_imports() -> str:
    """Return the parts of the package in rows, each part above those that it imports.

    An import that follows from another one (of a part that an imported part imports) is not named.
    """
    imports = read_imports()
    rows: dict[int, list[str]] = {}
    for part, level in sorted(_levels(imports).items()):
        rows.setdefault(level, []).append(part)
    width = max(map(len, rows.values())) * (PART_WIDTH + PART_GAP) - PART_GAP
    shapes = []
    for level, parts in rows.items():
        y = (max(rows) - level) * (PART_HEIGHT + PART_GAP)
        start = (width - len(parts) * (PART_WIDTH + PART_GAP) + PART_GAP) // 2
        for number, part in enumerate(parts):
            x = start + number * (PART_WIDTH + PART_GAP)
            imported = ", ".join(sorted(direct_imports(part, imports)))
            shapes.append(_box(x, y, PART_WIDTH, PART_HEIGHT))
            shapes.append(_text(x + PART_WIDTH // 2, y + 20, part, "title", middle=True))
            if imported:
                shapes.append(
                    _text(x + PART_WIDTH // 2, y + 39, f"→ {imported}", "muted", middle=True)
                )
    height = (max(rows) + 1) * (PART_HEIGHT + PART_GAP)
    return _svg(width, height, "What imports what", shapes)


def read_imports() -> dict[str, set[str]]:
    """Return, for each folder and module of the package, the others that it imports.

    Imports inside a function count too; those of Piccolo's configuration do not, because Piccolo
    asks for it by name.
    """
    imports: dict[str, set[str]] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        part = _part(file.relative_to(PACKAGE).parts)
        if part is not None:
            found = imports.setdefault(part, set())
            found |= {name for name in _imported(ast.parse(file.read_text())) if name != part}
    return {part: found & imports.keys() for part, found in imports.items()}


def _part(path: tuple[str, ...]) -> str | None:
    name = path[0].removesuffix(".py")
    left_out = {"__init__", "piccolo_app", "piccolo_conf", "piccolo_migrations"}
    return None if left_out & {name, *path} else name


def _imported(tree: ast.Module) -> set[str]:
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "community_directory":
            names += [f"community_directory.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    ours = [name.split(".") for name in names if name.startswith("community_directory.")]
    return {parts[1] for parts in ours}


def _levels(imports: dict[str, set[str]]) -> dict[str, int]:
    """Return how far each part stands above those that import nothing.

    Raises:
        graphlib.CycleError: Two parts import each other.
    """
    levels: dict[str, int] = {}
    for part in TopologicalSorter(imports).static_order():
        levels[part] = max((levels[other] + 1 for other in imports[part]), default=0)
    return levels


def direct_imports(part: str, imports: dict[str, set[str]]) -> set[str]:
    """Return the imports of a part that no other import of it brings along."""

    def reached(start: str) -> set[str]:
        return set().union(*({other} | reached(other) for other in imports[start]))

    return imports[part] - set().union(*(reached(other) for other in imports[part]))


def _target(column: ForeignKey[Any]) -> tuple[str, str]:
    meta = column._foreign_key_meta
    return meta.resolved_references._meta.tablename, meta.resolved_target_column._meta.name


def _reference(start: tuple[int, int], end: tuple[int, int]) -> str:
    """Draw from the nearer edge of a column to that of the column it references."""
    (x1, y1), (x2, y2) = start, end
    if x1 < x2:
        x1, bend = x1 + TABLE_WIDTH, x2 - TABLE_GAP // 2
    elif x1 > x2:
        x2, bend = x2 + TABLE_WIDTH, x1 - TABLE_GAP // 2
    else:
        bend = x1 - TABLE_GAP // 4
    return f'<path d="M{x1} {y1} H{bend} V{y2} H{x2}" marker-end="url(#arrow)"/>'


def _labeled_box(x: int, y: int, title: str, text: str) -> list[str]:
    center = x + PART_WIDTH // 2
    return [
        _box(x, y, PART_WIDTH, PART_HEIGHT),
        _text(center, y + 20, title, "title", middle=True),
        _text(center, y + 39, text, "muted", middle=True),
    ]


def _arrow(x1: int, y1: int, x2: int, y2: int) -> str:
    bend = (x1 + x2) // 2
    return f'<path d="M{x1} {y1} H{bend} V{y2} H{x2}" marker-end="url(#arrow)"/>'


def _box(x: int, y: int, width: int, height: int) -> str:
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="4"/>'


def _text(x: int, y: int, text: str, kind: str = "", *, middle: bool = False) -> str:
    anchor = "middle" if middle else "start"
    return f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(width: int, height: int, title: str, shapes: list[str]) -> str:
    marker = (
        '<marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0 L8 4 L0 8 z"/></marker>'
    )
    return (
        f'<svg viewBox="-20 -2 {width + 24} {height + 4}" width="{width + 24}" role="img">'
        f"<title>{title}</title><defs>{marker}</defs>{''.join(shapes)}</svg>"
    )
