"""The policy of a table in the panel: what managers may see and change."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

ACTIONS = {"POST": "add", "PATCH": "edit", "DELETE": "delete"}
"""The actions that a policy can refuse, by the method of their requests."""

RowData = dict[str, Any]
"""The values of a row by column name."""


@dataclass(frozen=True, kw_only=True)
class TablePolicy:
    """The permissions of managers on the rows of a table, and how the panel shows them.

    Names in these fields are names of columns.
    """

    refusals: Mapping[str, str] = field(default_factory=dict)
    """The message by action, of "add", "edit" and "delete", for what nobody may do here."""
    locked: frozenset[str] = frozenset()
    """Columns that are shown but can't be edited: bots, triggers and forms write them."""
    locked_when_new: frozenset[str] = frozenset()
    """The same in the form for a new row."""
    hidden: frozenset[str] = frozenset()
    """Columns that are never sent to the browser."""
    add: Callable[[RowData, str], Awaitable[object]] | None = None
    """Adds a row with these values for an actor and returns its key, instead of an INSERT."""
    prepare: Callable[[RowData], Awaitable[RowData]] | None = None
    """Turns the values of a form into the values to store."""
    remove: Callable[[RowData, str], Awaitable[object]] | None = None
    """Removes a row for an actor, instead of a DELETE."""
    removed_at_column: str = ""
    """The time at which a row was removed. Forms don't edit removed rows."""
    listed: Mapping[str, str] = field(default_factory=dict)
    """SQL conditions by column: a list has the rows that meet each of them.

    A list that is filtered by the column itself, or by certain members in it, does not have to meet
    its condition, unless the filter asks for the same rows.
    """
    computed: Mapping[str, str] = field(default_factory=dict)
    """The SQL expression of each column that is not shown and filtered as it is stored."""
    value_conditions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The SQL condition by column and value that an index finds, instead of a comparison."""
    value_indexes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The first columns of an index, of which the last is the key, a column with few values.

    In a large table a filter compares a text with the values instead of with each row.
    """
    exact: Mapping[str, str] = field(default_factory=dict)
    """The SQL condition by column that an index finds; `{0}` is the value that a row has.

    In a large table a filter finds whole values by it, or by a comparison with the column.
    """
    unique_key: tuple[str, ...] = ()
    """The columns of a unique index that has the order of a list which is sorted by the first."""
    keeps_merged_numbers: bool = False
    """The rows keep the numbers of merged members, so that a filter by a number looks for all
    numbers of the person."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """The names of columns for people."""
    searched: frozenset[str] = frozenset()
    """The columns that the text index of the members contains."""
