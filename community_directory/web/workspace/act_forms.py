"""What the forms of acts share: the frozen list of people, the end of a suspension, and texts."""

import re
from collections.abc import Mapping
from datetime import date, datetime, time

from community_directory.calendar import load_zone, today
from community_directory.error_texts import ngettext_noop
from community_directory.errors import InvalidInput
from community_directory.queries.act_rows import REMOVED_STATE
from community_directory.tables import MemberStatus
from community_directory.web.pages import FormRefused, Visit

LAST_END = date(2199, 12, 31)
"""The last day on which a suspension can end: the database has no later times."""
MAX_WITHOUT_COUNT = 20
"""The number of people up to which nobody types it to confirm an act."""
FROZEN_PATTERN = re.compile(r"([1-9][0-9]{0,18}):([a-z_]+)")

_Text = tuple[str, str]

SUSPEND_TEXTS: tuple[_Text, _Text, _Text, _Text] = (
    ngettext_noop("Suspend {number} person?", "Suspend {number} people?"),
    ngettext_noop("This person is suspended", "These {number} are suspended"),
    ngettext_noop("Suspend {number} person", "Suspend {number} people"),
    ngettext_noop("{number} person is suspended.", "{number} people are suspended."),
)
"""The question, the heading of the list of people, the button, and the notice afterwards."""
BAN_TEXTS: tuple[_Text, _Text, _Text, _Text] = (
    ngettext_noop("Ban {number} person?", "Ban {number} people?"),
    ngettext_noop("This person is banned", "These {number} are banned"),
    ngettext_noop("Ban {number} person", "Ban {number} people"),
    ngettext_noop("{number} person is banned.", "{number} people are banned."),
)
"""The same four of a ban."""


def freeze(states: Mapping[str, str]) -> str:
    """Return the numbers of people with their states, for a field of a form."""
    return " ".join(f"{number.removeprefix('#')}:{state}" for number, state in states.items())


def read_frozen(visit: Visit) -> dict[str, str]:
    """Return the states of those in the form by their numbers."""
    found = FROZEN_PATTERN.findall(visit.typed("people"))
    states = {*MemberStatus, REMOVED_STATE}
    return {f"#{number}": state for number, state in found if state in states}


def needs_count(number: int) -> bool:
    """Tell whether an act on this number of people is confirmed by typing the number."""
    return number > MAX_WITHOUT_COUNT


def lacks_count(visit: Visit, number: int) -> bool:
    """Tell whether a form does not have the number of people, and needs it."""
    return needs_count(number) and visit.typed("count") != str(number)


def check_count(visit: Visit, number: int) -> None:
    """Check that a form has the number of people, if it needs it.

    Raises:
        InvalidInput: It lacks the number, or has another one.
    """
    if lacks_count(visit, number):
        raise InvalidInput(
            f"Type {number:,}, the number of people, to confirm.",
            field="count",
            limit=number,
            code="count_differs",
        )


def read_end(visit: Visit) -> datetime | None:
    """Return the start of the day on which a suspension ends; None if it has no end.

    Raises:
        FormRefused: The text is no day, or the day is not in the future or too far in it.
    """
    if not (typed := visit.typed("until")):
        return None
    try:
        day = date.fromisoformat(typed)
    except ValueError:
        raise FormRefused(
            visit.gettext("The end is no day. Write it as {example}.", example="2026-11-01")
        ) from None
    if day <= today():
        raise FormRefused(visit.gettext("The suspension must end on a later day than today."))
    if day > LAST_END:
        text = visit.gettext(
            "The suspension must end by {day}, or have no end.",
            day=visit.translation.format_short_date(LAST_END),
        )
        raise FormRefused(text)
    return datetime.combine(day, time.min, load_zone(None))
