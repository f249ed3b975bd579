"""Write `helpers.md` from the docstrings: `python docs/make_helpers.py`."""

import importlib
import inspect
import re
from pathlib import Path
from types import FunctionType, ModuleType

MODULES = ("members", "invitations", "participation", "highlights", "relationships", "audit")
PAGE = Path(__file__).parent / "helpers.md"
HEAD = """# The query helpers

`from community_directory.queries import invitations, members, participation` inside `async with connect():`. Each
helper is an async function that works on the pool, or inside the caller's own `async with transaction():`. It answers
with frozen dataclasses, and fails with a `DirectoryError`: a sentence for a person, data for a program. Text that can't
be stored (too long, NUL, half a surrogate pair) is `InvalidInput` everywhere, in a batch for that one event alone, and
a database that is away `DatabaseUnavailable`. What the database refuses inside a transaction spoils it;
`async with transaction():` around that one call makes it a savepoint.

Helpers that change members or invitations take `actor` and `reason`, which land in the audit log with the change.
Lists come as `Page(items, next_cursor)`: pass `next_cursor` as `after` for the next page. Days are those of the
community's time zone (`DIRECTORY_TIME_ZONE`), from midnight to midnight; a moment says in which zone it is.
"""


def helpers(module: ModuleType) -> dict[str, FunctionType]:
    """The public async functions of a module: its own, then those that it passes on from another module of queries."""
    found = {
        name: value for name, value in vars(module).items() if inspect.iscoroutinefunction(value)
    }
    public = {
        name: value
        for name, value in found.items()
        if not name.startswith("_") and value.__module__.startswith("community_directory.queries.")
    }
    return dict(sorted(public.items(), key=lambda item: item[1].__module__ != module.__name__))


def page() -> str:
    """The page as it should be."""
    parts = [HEAD]
    for name in MODULES:
        module = importlib.import_module(f"community_directory.queries.{name}")
        parts.append(f"\n## {name}\n\n{inspect.getdoc(module)}\n")
        for helper, function in helpers(module).items():
            parts.append(f"\n### {name}.{helper}\n\n```python\n{_signature(function)}\n```\n")
            parts.append(f"\n{inspect.getdoc(function)}\n")
    return "".join(parts)


def _signature(function: FunctionType) -> str:
    """The function's first lines, as they are written."""
    return re.split(r'\n +r?"""', inspect.getsource(function), maxsplit=1)[0]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
