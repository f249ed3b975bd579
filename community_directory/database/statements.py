"""SQL statements whose parameters have names."""

import re
from collections.abc import Mapping

# The alternatives above the parameter match first, so a colon inside them starts no parameter.
TOKEN_PATTERN = re.compile(
    r"""
    '[^']*'                           # a string
    | "[^"]*"                         # a quoted identifier
    | --[^\n]* | /\*.*?\*/            # a comment
    | ::                              # a cast
    | (?<!\w) : (?P<name>[a-z_]\w*)   # a parameter
    | (?P<number>\$[0-9]+)
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)


class Statement:
    """One SQL statement with named parameters, such as `WHERE member_id = :member_id`.

    PostgreSQL knows only numbered parameters, so the names become `$1`, `$2`, … when the object is
    created, in the order of their first appearance. `DirectoryEngine.fetch` takes the values as
    keyword arguments. A parameter's name is in lower case.

    A colon in a string, a quoted identifier, a comment or a cast stays as it is. Strings with
    backslash escapes (`E'…'`), dollar quotes and array slices with a name as bound are not
    supported.

    Attributes:
        sql: The statement with numbered parameters.
        parameters: The names of the parameters, in the order of their numbers.

    Raises:
        ValueError: The statement has a numbered parameter, too.
    """

    __slots__ = ("parameters", "sql")

    def __init__(self, sql: str) -> None:
        numbers: dict[str, int] = {}

        def replace_name(match: re.Match[str]) -> str:
            if match["number"]:
                raise ValueError(f"Give the parameter {match['number']} a name, like the others.")
            name = match["name"]
            return f"${numbers.setdefault(name, len(numbers) + 1)}" if name else match.group()

        self.sql = TOKEN_PATTERN.sub(replace_name, sql)
        self.parameters = tuple(numbers)

    def arguments(self, values: Mapping[str, object]) -> list[object]:
        """Return the values in the order of the parameters' numbers.

        Raises:
            TypeError: A parameter has no value, or a value has no parameter.
        """
        if len(values) == len(self.parameters):
            try:
                return [values[name] for name in self.parameters]
            except KeyError:
                pass
        missing = [name for name in self.parameters if name not in values]
        unknown = [name for name in values if name not in self.parameters]
        problems = [
            f"{kind} {', '.join(names)}"
            for kind, names in (("no value for", missing), ("no parameter", unknown))
            if names
        ]
        raise TypeError(f"The values do not fit the statement: {'; '.join(problems)}.")


class Parameters(list[object]):
    """The arguments of a statement whose SQL is composed when it runs."""

    def bind(self, value: object) -> str:
        """Add an argument, and return its placeholder, such as `$1`."""
        self.append(value)
        return f"${len(self)}"
