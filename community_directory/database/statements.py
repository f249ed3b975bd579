"""SQL statements whose parameters have names."""

import re
from collections.abc import Mapping

# Quoted texts, quoted names, comments and casts come first, so that a colon in them is no parameter.
TOKEN = re.compile(r"""'[^']*'|"[^"]*"|--[^\n]*|::|(?<!\w):([a-z_][a-z0-9_]*)""")


class Statement:
    """One SQL statement with named parameters, such as `WHERE member_id = :member_id`.

    PostgreSQL knows numbered parameters only: the names become `$1`, `$2`, … once, when the
    statement is made, in the order in which they first appear. `DirectoryEngine.fetch` takes the
    values as keywords.
    """

    __slots__ = ("parameters", "sql")

    def __init__(self, sql: str) -> None:
        numbers: dict[str, int] = {}

        def number(match: re.Match[str]) -> str:
            name = match.group(1)
            return f"${numbers.setdefault(name, len(numbers) + 1)}" if name else match.group()

        self.sql = TOKEN.sub(number, sql)
        self.parameters = tuple(numbers)

    def arguments(self, values: Mapping[str, object]) -> list[object]:
        """Return the values in the order of their numbers.

        Raises:
            TypeError: A parameter has no value, or a value no parameter.
        """
        if values.keys() != set(self.parameters):
            wrong = ", ".join(sorted(values.keys() ^ set(self.parameters)))
            raise TypeError(f"The statement and its values differ in: {wrong}.")
        return [values[name] for name in self.parameters]
