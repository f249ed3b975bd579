"""The documentation says what the code says, and its examples run."""

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from piccolo.conf.apps import Finder

from community_directory import queries
from community_directory.commands import COMMANDS, Command
from community_directory.constraints import CONSTRAINT_MESSAGES
from community_directory.database import DirectoryConnection, connect
from community_directory.errors import (
    DirectoryError,
    OperatorError,
    UserError,
)
from community_directory.settings import Settings, load_settings, variable
from community_directory.tables import Platform
from docs import diagrams, hooks
from tests.processes import PROJECT
from tests.queries.cases import INTERNAL_FUNCTIONS
from tests.roles import app_url
from tests.tables import rows

DOCS = PROJECT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
EVERY_PAGE = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *PAGES]
TEXT = {page: page.read_text() for page in EVERY_PAGE}
COMMAND_LINE = TEXT[DOCS / "reference/command-line.md"]
UPGRADE = TEXT[DOCS / "how-to/upgrade.md"]
MIGRATION_SQL = PROJECT / "community_directory/piccolo_migrations/sql"
MKDOCS = (PROJECT / "mkdocs.yml").read_text()


def name_of(page: Path) -> str:
    return str(page.relative_to(PROJECT))


# What comes from the code


def test_every_setting_is_in_the_table_with_its_default() -> None:
    table = hooks.settings_table().splitlines()
    for name, field in Settings.model_fields.items():
        row = next((line for line in table if line.startswith(f"| `{variable(name)}`")), None)
        assert row, f"{variable(name)} is missing from the table"
        assert field.description
        assert field.description in row
        if isinstance(field.default, str | int) and not isinstance(field.default, bool):
            assert f"`{field.default}`" in row
    assert "<!-- settings -->" in TEXT[DOCS / "reference/settings.md"]


def test_no_setting_is_named_that_does_not_exist() -> None:
    known = {variable(name) for name in Settings.model_fields}
    for text in TEXT.values():
        assert set(re.findall(r"\bDIRECTORY_[A-Z_]+|POSTGRES_URL", text)) <= known


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
def test_every_command_is_in_the_table_of_commands(command: Command) -> None:
    named = rf"^\| `piccolo community_directory {command.__name__}\b[^|]*` +\| \w"
    assert re.search(named, COMMAND_LINE, re.MULTILINE), f"{command.__name__} is missing"


def test_every_option_of_a_command_is_named() -> None:
    for command in COMMANDS:
        for option, parameter in inspect.signature(command).parameters.items():
            if parameter.default is not parameter.empty:
                assert f"--{option.replace('_', '-')}" in COMMAND_LINE, (command, option)


def test_no_command_is_named_that_is_not_in_the_table() -> None:
    known = set(re.findall(r"^\| `community-directory ([a-z-]+)", COMMAND_LINE, re.MULTILINE))
    for page, text in TEXT.items():
        assert set(re.findall(r"community-directory ([a-z][a-z-]+)", text)) <= known, page
        named = re.findall(r"piccolo community_directory (\w+)", text)
        assert set(named) <= {command.__name__ for command in COMMANDS}, page


def test_every_table_and_column_is_in_the_reference() -> None:
    assert "<!-- tables -->" in TEXT[DOCS / "reference/tables.md"]
    sections = hooks.tables()
    drawing = diagrams.draw_tables()
    for table in Finder().get_app_config("community_directory").table_classes:
        section = sections.partition(f"## {table._meta.tablename}\n")[2].partition("\n## ")[0]
        named = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
        columns = [column._meta.name for column in table._meta.columns]
        assert named == columns
        assert f">{table._meta.tablename}</text>" in drawing
        assert all(f">{column}</text>" in drawing for column in columns)
        for column in table._meta.columns:
            assert (column._meta.help_text or "") in section


def test_the_diagram_of_the_tables_has_an_arrow_for_each_foreign_key() -> None:
    tables = Finder().get_app_config("community_directory").table_classes
    keys = [key for table in tables for key in table._meta.foreign_key_columns]
    assert diagrams.draw_tables().count('marker-end="url(#arrow)"') == len(keys) > 0


def test_every_platform_is_in_the_diagram_of_the_accounts() -> None:
    assert "<!-- diagram of the accounts -->" in TEXT[DOCS / "explanation/accounts.md"]
    drawing = diagrams.draw_accounts()
    assert all(f">{platform}</text>" in drawing for platform in Platform)


def test_every_part_of_the_package_is_in_the_diagram_and_explained() -> None:
    page = TEXT[DOCS / "explanation/architecture.md"]
    assert "<!-- diagram of the imports -->" in page
    drawing = diagrams.draw_imports()
    imports = diagrams.read_imports()
    assert {"database", "tables", "queries", "imports", "web"} <= imports.keys()
    for part in imports:
        assert f">{part}</text>" in drawing
        assert re.search(rf"`{part}/?`", page), f"{part} is not explained"


def test_the_diagram_leaves_out_imports_that_follow_from_others() -> None:
    imports = {"web": {"queries", "errors"}, "queries": {"errors"}, "errors": set[str]()}
    assert diagrams.direct_imports("web", imports) == {"queries"}
    assert diagrams.direct_imports("queries", imports) == {"errors"}


def test_a_page_without_a_marker_stays_as_it_is() -> None:
    for hook in (hooks, diagrams):
        assert hook.on_page_markdown("# Title\n", page=None) == "# Title\n"


def test_a_test_that_a_page_names_is_linked_to_its_file() -> None:
    linked = hooks.on_page_markdown("`tests/test_docs.py::test_it_works`, `tests/test_docs.py`")
    assert linked == (
        f"[it works]({hooks.REPOSITORY}/blob/main/tests/test_docs.py), `tests/test_docs.py`"
    )


# What mkdocstrings takes from the docstrings


@dataclass(frozen=True)
class Directive:
    """A line of a page that shows an object; `members` are those that it chooses, if it does."""

    name: str
    members: list[str]

    def shows(self, module: str, name: str) -> bool:
        """Tell whether the page has this name of this module."""
        if not self.members:
            return self.name in (module, f"{module}.{name}")
        if name not in self.members:
            return False
        # A module may also show what it imports from another one.
        found = getattr(pkgutil.resolve_name(self.name), name)
        own = getattr(importlib.import_module(module), name)
        # The module that exports a helper observes its calls.
        return inspect.unwrap(found) is inspect.unwrap(own) if callable(own) else found is own


def directives() -> Iterator[Directive]:
    for text in TEXT.values():
        for name, options in re.findall(r"^::: ([\w.]+)\n((?:    .*\n)*)", text, re.MULTILINE):
            members = re.search(r"members: \[(.*)\]", options)
            chosen = re.split(r",\s*", members[1]) if members else []
            yield Directive(name, chosen)


def is_documented(module: str, name: str) -> bool:
    return any(directive.shows(module, name) for directive in directives())


@pytest.mark.parametrize(
    "module_name", [found.name for found in pkgutil.iter_modules(queries.__path__)]
)
def test_every_public_helper_is_in_the_reference(module_name: str) -> None:
    module = importlib.import_module(f"community_directory.queries.{module_name}")
    # What a module shares with other modules of the package only is not in its __all__.
    for name in getattr(module, "__all__", vars(module)):
        value = getattr(module, name)
        if inspect.iscoroutinefunction(value) and not name.startswith("_"):
            if name in INTERNAL_FUNCTIONS:
                continue
            assert is_documented(value.__module__, name), f"{module_name}.{name}"
            assert inspect.getdoc(value)


def test_every_documented_name_exists() -> None:
    found = list(directives())
    assert len(found) > 15
    for directive in found:
        value = pkgutil.resolve_name(directive.name)
        for name in directive.members:
            assert hasattr(value, name), (directive.name, name)


def test_every_error_is_in_the_reference_with_its_code() -> None:
    page = TEXT[DOCS / "reference/errors.md"]
    for marker, family in (("user errors", UserError), ("operator errors", OperatorError)):
        assert f"<!-- {marker} -->" in page
        table = hooks.errors_table(family)
        for error in hooks.error_classes(family):
            assert f"| `{error.code}` | [`{error.__name__}`]" in table
            assert is_documented(error.__module__, error.__name__), error
    assert {error.code for error in hooks.error_classes(DirectoryError)} >= {
        "invitation_expired",
        "member_banned",
        "database_unavailable",
        "recorder_full",
    }


def test_every_constraint_is_in_the_reference_with_its_message() -> None:
    assert "<!-- constraints -->" in TEXT[DOCS / "reference/errors.md"]
    table = hooks.constraints_table().splitlines()
    for name, (message, field) in CONSTRAINT_MESSAGES.items():
        [row] = [line for line in table if line.startswith(f"| `{name}` |")]
        assert message in row
        assert field is None or f"`{field}`" in row


# Links


def anchors(page: Path) -> set[str]:
    """Return the anchors that a page's headings get."""
    text = re.sub(r"^```.*?^```", "", TEXT[page], flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    words = [re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings]
    return {re.sub(r"[-\s]+", "-", heading) for heading in words}


@pytest.mark.parametrize("page", EVERY_PAGE, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", TEXT[page], flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)", prose):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_page_is_in_the_navigation_and_has_one_title(page: Path) -> None:
    assert re.search(rf"[ :]{re.escape(str(page.relative_to(DOCS)))}$", MKDOCS, re.MULTILINE)
    text = re.sub(r"^```.*?^```", "", TEXT[page], flags=re.MULTILINE | re.DOTALL)
    includes_a_page = re.search("^--8<-- ", text, re.MULTILINE)
    assert len(re.findall(r"^# ", text, re.MULTILINE)) == (0 if includes_a_page else 1)


def test_every_file_that_a_page_includes_exists() -> None:
    included = {name for text in TEXT.values() for name in re.findall(r'--8<-- "(.+)"', text)}
    assert {"examples/telegram_bot.py", "CHANGELOG.md"} <= included
    for name in included:
        assert (PROJECT / name).is_file(), name
    examples = {str(file.relative_to(PROJECT)) for file in (PROJECT / "examples").glob("*.[ps]*")}
    assert {name for name in included if name.startswith("examples/")} == examples


def test_every_picture_exists_is_small_and_is_used() -> None:
    named = {
        (page.parent / name).resolve()
        for page, text in TEXT.items()
        for name in re.findall(r"\]\(([^)]+\.png)\)", text)
    }
    assert named == set((DOCS / "screenshots").iterdir())
    for picture in named:
        assert picture.stat().st_size < 200_000, picture


def test_every_test_that_a_page_names_exists() -> None:
    named = [
        found
        for text in TEXT.values()
        for found in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    ]
    assert len(named) > 60
    missing = [
        f"{file}::{test}"
        for file, test in named
        if not re.search(rf"def {test}\(", (PROJECT / file).read_text())
    ]
    assert not missing


def test_the_site_loads_nothing_from_elsewhere() -> None:
    assert re.search(r"^  font: false$", MKDOCS, re.MULTILINE)
    assert "http" not in MKDOCS
    assert "http" not in (DOCS / "site.css").read_text()
    for page, text in TEXT.items():
        assert not re.search(r"!\[[^]]*\]\(http|<(script|img|link|iframe)\b", text), page


# Examples


def fences(page: Path) -> list[str]:
    """Return the Python of a page, at the line numbers of the page; included files are left out."""
    return [
        "\n" * TEXT[page][: fence.start()].count("\n") + f"\n{fence[1]}"
        for fence in re.finditer(r"^```python\n(.*?)^```", TEXT[page], re.MULTILINE | re.DOTALL)
        if "--8<--" not in fence[1]
    ]


async def run_fences(page: Path, names: dict[str, object]) -> None:
    """Run a page's Python from top to bottom, as a notebook does."""
    for source in fences(page):
        code = compile(source, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        running = eval(code, names)
        if inspect.iscoroutine(running):
            await running


@pytest.fixture
async def community(directory_url: str) -> None:
    """The members #1 and #247, whom the pages name."""
    connection = await asyncpg.connect(directory_url)
    await rows.member(connection, telegram_id="1001", status="active")
    await rows.member(
        connection,
        member_id="#247",
        telegram_id="1002",
        name="Bea O'Neill",
        status="active",
        reputation_score=7,
    )
    await rows.invitation(connection, created_by="#247")
    await connection.close()


PAGES_WITH_PYTHON = [page for page in PAGES if fences(page)]
NOTEBOOK = DOCS / "how-to/notebook.md"


def test_many_pages_have_python_that_runs() -> None:
    assert len(PAGES_WITH_PYTHON) > 10
    assert NOTEBOOK in PAGES_WITH_PYTHON


@pytest.mark.parametrize(
    "page", [page for page in PAGES_WITH_PYTHON if page != NOTEBOOK], ids=name_of
)
async def test_the_python_of_a_page_runs(
    community: None, directory_url: str, page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with connect(app_url(directory_url), min_size=0):
        await run_fences(page, {"__name__": "a_page"})


async def test_the_cells_of_the_notebook_run(
    community: None,
    directory_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("POSTGRES_URL", app_url(directory_url))
    load_settings.cache_clear()
    names: dict[str, object] = {"__name__": "a_page"}
    try:
        await run_fences(NOTEBOOK, names)
    finally:
        if isinstance(connection := names.get("directory"), DirectoryConnection):
            await connection.close()
    assert capsys.readouterr().out == "#247 Bea O'Neill 7\n#1 Ana García 0\n"


async def test_the_indexes_that_can_be_created_before_are_those_of_the_migrations(
    database: str,
) -> None:
    creates = re.findall(r"CREATE INDEX CONCURRENTLY (\w+).*?;", UPGRADE, re.DOTALL)
    scripts = "".join(
        (MIGRATION_SQL / f"{name}.sql").read_text()
        for name in (
            *("members_2026_11_29", "panel_lists", "audit_erasure", "member_organization"),
            "member_rooms",
        )
    )
    assert set(creates) == set(re.findall(r"CREATE INDEX IF NOT EXISTS (\w+)", scripts))
    connection = await asyncpg.connect(database)
    definitions = "SELECT indexname, indexdef FROM pg_indexes WHERE indexname = ANY($1)"
    migrated = set(await connection.fetch(definitions, creates))
    await connection.execute(f"DROP INDEX {', '.join(creates)}")
    for statement in re.findall(r"CREATE INDEX CONCURRENTLY .*?;", UPGRADE, re.DOTALL):
        await connection.execute(statement)
    assert set(await connection.fetch(definitions, creates)) == migrated
    assert len(migrated) == len(creates)
    await connection.close()
