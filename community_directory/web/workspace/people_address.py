"""The address of the page People: its filters, order and segment, and links to others like it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple
from urllib.parse import urlencode

from community_directory.error_texts import gettext_noop
from community_directory.errors import InvalidInput
from community_directory.queries.filter_values import MONTH, parse_day
from community_directory.queries.people import PEOPLE_SORTS
from community_directory.queries.people_filters import PeopleFilters
from community_directory.queries.segments import Segment
from community_directory.web.pages import Visit, label

PATH = "/people/"
FILTER_NAMES = tuple(PeopleFilters.__annotations__)
DEFAULT_SORT = "name"

STATE_LABELS = {
    "active": gettext_noop("Active"),
    "pending": gettext_noop("Pending"),
    "suspended": gettext_noop("Suspended"),
    "banned": gettext_noop("Banned"),
    "removed": gettext_noop("Removed"),
    "not_member": gettext_noop("Contact"),
}
GITHUB_LABELS = {
    "proved": gettext_noop("GitHub proved"),
    "unproved": gettext_noop("GitHub not proved"),
    "none": gettext_noop("No GitHub given"),
}
PERMISSION_LABELS = {
    "invite": gettext_noop("Invites"),
    "review": gettext_noop("Reviews"),
    "moderate": gettext_noop("Moderates"),
    "manage": gettext_noop("Manages"),
    "none": gettext_noop("No permission"),
}
BOT_LABELS = {
    "people": gettext_noop("People only"),
    "bots": gettext_noop("Bots only"),
    "both": gettext_noop("People and bots"),
}
SEGMENT_NAMES = (
    gettext_noop("At risk"),
    gettext_noop("Newcomers of this month"),
    gettext_noop("Best connected"),
)
"""The names of the first segments, which are translated."""


class Chip(NamedTuple):
    """A filter in force: its name, what it says, and the query without it."""

    name: str
    text: str
    query: str


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

    def chips(self, visit: Visit) -> list[Chip]:
        """Return the filters in force, in the visitor's language."""
        return [
            Chip(
                name,
                _describe(visit, name, value),
                _query({other: each for other, each in self.saved.items() if other != name}),
            )
            for name, value in self.filters.items()
        ]


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


def _describe(visit: Visit, name: str, value: str) -> str:  # noqa: PLR0911  one for each filter
    gettext = visit.gettext
    labels = {
        "status": STATE_LABELS | {"any": gettext_noop("Any status")},
        "github": GITHUB_LABELS,
        "permission": PERMISSION_LABELS,
        "bot": BOT_LABELS,
    }
    if name in labels:
        return gettext(labels[name][value])
    match name:
        case "q":
            return gettext("“{text}”", text=value)
        case "role":
            return label(value)
        case "tier":
            return visit.translation.word(value)
        case "country":
            return visit.translation.country(value)
        case "inviter":
            number = f"#{value.removeprefix('#')}"
            return gettext("Invited by {member_id}", member_id=number)
        case "joined_from":
            if value == MONTH:
                return gettext("Joined this month")
            return gettext("Joined since {day}", day=_show_day(visit, value))
        case "joined_to":
            return gettext("Joined until {day}", day=_show_day(visit, value))
        case "quiet_days":
            return visit.ngettext(
                "Last active more than {days} day ago",
                "Last active more than {days} days ago",
                int(value),
                days=int(value),
            )
        case "never_active":
            return gettext("Never active")
    return value


def _show_day(visit: Visit, value: str) -> str:
    day: date | None = parse_day("joined_from", value)
    return value if day is None else visit.translation.format_short_date(day)
