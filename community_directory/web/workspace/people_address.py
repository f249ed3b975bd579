"""The address of the page People: its filters, order and segment, and links to others like it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from community_directory.error_texts import gettext_noop
from community_directory.errors import InvalidInput
from community_directory.queries.people import PEOPLE_SORTS
from community_directory.queries.people_activity import ActivityFilters
from community_directory.queries.people_filters import PeopleFilters
from community_directory.queries.segments import Segment
from community_directory.web.pages import Visit

PATH = "/people/"
FILTER_NAMES = tuple(
    sorted(PeopleFilters.__annotations__, key=lambda name: name in ActivityFilters.__annotations__)
)
"""The filters, those by activity, joining and invitation last."""
DEFAULT_SORT = "name"

SEGMENT_NAMES = (
    gettext_noop("At risk"),
    gettext_noop("Newcomers of this month"),
    gettext_noop("Best connected"),
)
"""The names of the first segments, which are translated."""


@dataclass(frozen=True, slots=True)
class PeopleAddress:
    """What an address of the page asks for.

    Attributes:
        given: The filters and the order that the address itself names.
        segment: The segment that it names, or None.
        after: The cursor of the page, or None for the first one.
    """

    given: Mapping[str, str]
    segment: Segment | None = None
    after: str | None = None

    @property
    def _all(self) -> dict[str, str]:
        found = {} if self.segment is None else dict(self.segment.filters)
        return {**found, **self.given}

    @property
    def filters(self) -> dict[str, Any]:
        """The filters in force; those of the address go before those of the segment."""
        return {name: value for name, value in self._all.items() if name != "sort" and value}

    @property
    def sort(self) -> Any:
        """The order in force."""
        return self._all.get("sort") or DEFAULT_SORT

    @property
    def saved(self) -> dict[str, str]:
        """The filters and the order, without a segment, as a segment stores them."""
        order = {} if self.sort == DEFAULT_SORT else {"sort": str(self.sort)}
        return {**self.filters, **order}

    def query(self, **changes: str | None) -> str:
        """Return the query of this address with some parameters changed; None leaves one out."""
        segment = {} if self.segment is None else {"segment": str(self.segment.id)}
        changed = {**segment, **self.given, **changes}
        return _query({name: value for name, value in changed.items() if value})

    def sort_query(self, column: str) -> str:
        """Return the query that sorts by a column, or turns its order around."""
        descending_first = column in ("score", "tier", "joined", "active", "invited")
        first, second = (f"-{column}", column) if descending_first else (column, f"-{column}")
        wanted = second if self.sort == first and second in PEOPLE_SORTS else first
        return self.query(sort=wanted)

    def query_without(self, names: Collection[str]) -> str:
        """Return the query without some of the filters in force, and without the segment."""
        return _query({name: value for name, value in self.saved.items() if name not in names})


def read_address(parameters: Mapping[str, Any], segments: Sequence[Segment]) -> PeopleAddress:
    """Return what the parameters of an address or the fields of a form ask for.

    Raises:
        InvalidInput: There is no such segment.
    """
    given = {
        name: value.strip()
        for name in (*FILTER_NAMES, "sort")
        if isinstance(value := parameters.get(name), str) and value.strip()
    }
    segment, wanted = None, parameters.get("segment")
    if wanted:
        segment = next((each for each in segments if str(each.id) == wanted), None)
        if segment is None:
            raise InvalidInput("There is no such segment.", field="segment")
    return PeopleAddress(given, segment, parameters.get("after") or None)


def segment_name(visit: Visit, name: str) -> str:
    """Return the name of a segment; those of the first ones are translated."""
    return visit.gettext(name) if name in SEGMENT_NAMES else name


def _query(parameters: Mapping[str, str]) -> str:
    return f"?{urlencode(parameters)}" if parameters else "?"
