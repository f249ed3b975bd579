"""Fill in the tables of the pages that come from the code.

MkDocs calls `on_page_markdown` for each page. A line such as `<!-- settings -->` becomes the table
of the settings; `PARTS` has all of them.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.metadata import metadata
from pathlib import Path

from piccolo.columns import Column, ForeignKey

import community_directory.imports.members_csv
import community_directory.queries.participation  # noqa: F401  these two define errors of their own
from community_directory.constraints import CONSTRAINT_MESSAGES
from community_directory.doctor import CHECKS, Verdict
from community_directory.errors import (
    DirectoryError,
    OperatorError,
    UserError,
)
from community_directory.piccolo_app import APP_CONFIG
from community_directory.settings import Settings, variable

REPOSITORY = dict(
    url.split(", ") for url in metadata("community-directory").get_all("Project-URL", [])
)["Repository"]


def on_page_markdown(markdown: str, **_: object) -> str:
    """Replace each line that names a part by that part, and link each test to its file."""
    for name, write in PARTS.items():
        if (line := f"<!-- {name} -->") in markdown:
            markdown = markdown.replace(line, write())
    return re.sub(r"`(tests/[\w/]+\.py)::test_(\w+)`", _link_test, markdown)


def _link_test(match: re.Match[str]) -> str:
    return f"[{match[2].replace('_', ' ')}]({REPOSITORY}/blob/main/{match[1]})"


def settings_table() -> str:
    """Return the settings with their default values and what they mean."""
    rows = [
        (f"`{variable(name)}`", _default(name), field.description or "")
        for name, field in Settings.model_fields.items()
    ]
    return _table(("Variable", "Default", "Meaning"), rows)


def checks_tables() -> str:
    """Return the checks of `community-directory doctor`, a table for each group."""
    sections = []
    for group, checks in CHECKS.items():
        rows = [
            (
                f"`{check.id}`",
                check.title,
                "a warning" if check.verdict is Verdict.WARNING else "a failure",
                "yes" if check.fix else "",
            )
            for check in checks
        ]
        table = _table(("Id", "What is checked", "A fault is", "Repaired by `--fix`"), rows)
        sections.append(f"### {group}\n\n{table}")
    return "\n\n".join(sections)


def errors_table(family: type[DirectoryError]) -> str:
    """Return every error of a family by its stable code."""
    rows = [
        (
            f"`{error.code}`",
            f"[`{error.__name__}`][{error.__module__}.{error.__name__}]",
            _first_paragraph(error.__doc__ or ""),
        )
        for error in sorted(error_classes(family), key=lambda error: error.code)
    ]
    return _table(("Code", "Error", "Meaning"), rows)


def error_classes(base: type[DirectoryError]) -> Iterator[type[DirectoryError]]:
    """Yield this error and those below it that have a code of their own.

    Errors of the web are left out: no caller of the helpers meets them.
    """
    if "code" in vars(base) and not base.__module__.startswith("community_directory.web."):
        yield base
    for error in base.__subclasses__():
        yield from error_classes(error)


def constraints_table() -> str:
    """Return the message of each constraint, and the field that it is about."""
    rows = [
        (f"`{name}`", f"`{field}`" if field else "", message)
        for name, (message, field) in sorted(CONSTRAINT_MESSAGES.items())
    ]
    return _table(("Constraint", "Field", "Message"), rows)


def tables() -> str:
    """Return a section for each table, with its columns."""
    return "\n\n".join(
        f"## {table._meta.tablename}\n\n{table._meta.help_text}\n\n"
        + _table(
            ("Column", "Type", "Null", "Meaning"), [_row(column) for column in table._meta.columns]
        )
        for table in APP_CONFIG.table_classes
    )


PARTS: dict[str, Callable[[], str]] = {
    "checks": checks_tables,
    "settings": settings_table,
    "user errors": partial(errors_table, UserError),
    "operator errors": partial(errors_table, OperatorError),
    "constraints": constraints_table,
    "tables": tables,
}
"""The function that writes each part, by the name in the comment."""


def _default(name: str) -> str:
    field = Settings.model_fields[name]
    if field.default_factory is not None:
        default = field.get_default(call_default_factory=True, validated_data={})
        return f"`{default.name}`" if isinstance(default, Path) else f"`{default}`"
    if field.default is None or field.default in ([], {}):
        return "none"
    return f"`{str(field.default).lower()}`" if field.default is False else f"`{field.default}`"


def _row(column: Column) -> tuple[str, str, str, str]:
    meta = column._meta
    meaning = [meta.help_text or ""]
    if meta.primary_key:
        meaning.append("The primary key.")
    if isinstance(column, ForeignKey):
        target = column._foreign_key_meta.resolved_references._meta.tablename
        referenced = column._foreign_key_meta.resolved_target_column._meta.name
        meaning.append(f"References `{target}.{referenced}`.")
    if meta.choices is not None and isinstance(meta.choices, type):
        meaning.append("One of " + ", ".join(f"`{choice.value}`" for choice in meta.choices) + ".")
    return (
        f"`{meta.name}`",
        column.column_type.lower(),
        "yes" if meta.null else "no",
        " ".join(filter(None, meaning)),
    )


def _first_paragraph(docstring: str) -> str:
    return re.sub(r"\s+", " ", docstring.strip().partition("\n\n")[0])


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
