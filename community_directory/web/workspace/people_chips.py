"""The filters of the page People in words: the labels of their choices, and those in force."""

from collections.abc import Mapping
from typing import NamedTuple

from community_directory.error_texts import gettext_noop
from community_directory.errors import MemberNotFound
from community_directory.queries.filter_values import MONTH, parse_day, parse_period
from community_directory.queries.people_filters import parse_inviters
from community_directory.web.pages import Visit
from community_directory.web.workspace.filtered_person import find_filtered_person
from community_directory.web.workspace.people_address import PeopleAddress

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
STATUS_LABELS = STATE_LABELS | {
    "present": gettext_noop("Members and contacts"),
    "member": gettext_noop("Members"),
    "gone": gettext_noop("Gone: former members"),
    "ever_member": gettext_noop("Members, and those who are gone"),
}
ACTIVITY_LABELS = {
    "active": gettext_noop("Active"),
    "inactive": gettext_noop("Not active"),
    "at_risk": gettext_noop("At risk"),
    "came_back": gettext_noop("Came back"),
}
REACHED_LABELS = {
    "joined": gettext_noop("Joined"),
    "approved": gettext_noop("Approved"),
    "message": gettext_noop("First message"),
    "week4": gettext_noop("Active in week 4"),
}
STUCK_LABELS = {
    "joined": gettext_noop("Joined"),
    "approved": gettext_noop("Approved"),
    "message": gettext_noop("First message"),
    "waiting": gettext_noop("Any step, can still take the next one"),
    "waiting_joined": gettext_noop("Joined, waits for approval"),
    "waiting_approved": gettext_noop("Approved, can still write"),
    "waiting_message": gettext_noop("First message, week 4 is not over"),
}

LABELS = {
    "status": STATUS_LABELS | {"any": gettext_noop("Any status")},
    "github": GITHUB_LABELS,
    "permission": PERMISSION_LABELS,
    "bot": BOT_LABELS,
}
"""The choices that are chips by themselves."""
ACTIVITY_TEXTS = {
    "active": gettext_noop("Active {days}"),
    "inactive": gettext_noop("Not active {days}"),
    "at_risk": gettext_noop("At risk {days}"),
    "came_back": gettext_noop("Came back {days}"),
}
DAYS_TEXTS = {
    "member": (
        gettext_noop("Became a member {days}"),
        gettext_noop("Became a member since {day}"),
        gettext_noop("Became a member until {day}"),
    ),
    "invited": (
        gettext_noop("Invited {days}"),
        gettext_noop("Invited since {day}"),
        gettext_noop("Invited until {day}"),
    ),
}
"""The texts for two days, for the first one alone, and for the last one alone."""
AFTER_JOINING_TEXTS = {
    "active_week": gettext_noop("Active in week {number} after joining"),
    "inactive_week": gettext_noop("Not active in week {number} after joining"),
    "active_month": gettext_noop("Active in month {number} after joining"),
    "inactive_month": gettext_noop("Not active in month {number} after joining"),
}
CHIP_NAMES = {
    **dict.fromkeys(("member_from", "member_to"), "member"),
    **dict.fromkeys(("invited_from", "invited_to"), "invited"),
    **dict.fromkeys(("contributions_from", "contributions_to"), "contributions"),
    **dict.fromkeys(("since", "until"), "period"),
}
"""The filters that share a chip; each other one has a chip of its own name."""
PERIOD_CHIPS = ("activity", "room", "contributions")
"""The chips that name the period: it has none of its own beside them."""


class Chip(NamedTuple):
    """What is in force, in the visitor's language, and the query without it."""

    text: str
    query: str


async def make_chips(visit: Visit, address: PeopleAddress) -> list[Chip]:
    """Return the filters in force, which are valid."""
    filters = address.filters
    names = list(dict.fromkeys(CHIP_NAMES.get(name, name) for name in filters))
    with_period = [name for name in names if name in PERIOD_CHIPS]
    found = []
    for name in names:
        if name == "period" and with_period:
            continue
        # The period goes with the last chip that names it.
        removed = {name, "period"} if with_period == [name] else {name}
        without = [each for each in filters if CHIP_NAMES.get(each, each) in removed]
        if name == "inviter":
            text = await _describe_inviters(visit, filters[name])
        else:
            text = _describe(visit, name, filters)
        found.append(Chip(text, address.query_without(without)))
    return found


def format_day(visit: Visit, value: str) -> str:
    """Return the day of a filter, which may be relative to today."""
    day = parse_day("day", value)
    return value if day is None else visit.translation.format_short_date(day)


def describe_days(
    visit: Visit, texts: tuple[str, str, str], first: str | None, last: str | None
) -> str:
    """Return the words for the days of a filter, of which one may be missing.

    Args:
        visit: The request to the page.
        texts: The texts for two days, for the first one alone, and for the last one alone.
        first: The first day, which may be relative to today.
        last: The last day.
    """
    both, since, until = texts
    first_day, last_day = parse_day("day", first), parse_day("day", last)
    if first_day and last_day:
        return visit.gettext(both, days=visit.translation.format_days(first_day, last_day))
    return visit.gettext(since if first else until, day=format_day(visit, first or last or ""))


async def _describe_inviters(visit: Visit, value: str) -> str:
    inviters = []
    for number in parse_inviters(value) or []:
        try:
            inviter = await find_filtered_person(number)
        except MemberNotFound:
            inviters.append(number)
        else:
            inviters.append(f"{inviter.name} ({inviter.member_id})")
    names = ", ".join(dict.fromkeys(inviters))
    return visit.gettext("Invited by {inviters}", inviters=names)


def _describe(visit: Visit, name: str, filters: Mapping[str, str]) -> str:
    if name in ("period", *PERIOD_CHIPS):
        return _describe_activity(visit, name, filters)
    if name in DAYS_TEXTS:
        first, last = filters.get(f"{name}_from"), filters.get(f"{name}_to")
        return describe_days(visit, DAYS_TEXTS[name], first, last)
    value = filters[name]
    if name in LABELS:
        return visit.gettext(LABELS[name][value])
    return _describe_step(visit, name, value) or _describe_value(visit, name, value)


def _describe_value(visit: Visit, name: str, value: str) -> str:  # noqa: PLR0911
    gettext = visit.gettext
    match name:
        case "q":
            return gettext("“{text}”", text=value)
        case "role":
            return visit.translation.role(value)
        case "tier":
            return visit.translation.word(value)
        case "country":
            return visit.translation.country(value)
        case "joined_from":
            if value == MONTH:
                return gettext("Joined this month")
            return gettext("Joined since {day}", day=format_day(visit, value))
        case "joined_to":
            return gettext("Joined until {day}", day=format_day(visit, value))
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


def _describe_step(visit: Visit, name: str, value: str) -> str | None:
    """Return the words for a filter by the way of a new member; None for another filter."""
    gettext = visit.gettext
    if name in AFTER_JOINING_TEXTS:
        return gettext(AFTER_JOINING_TEXTS[name], number=int(value))
    match name:
        case "reached":
            return gettext("Reached: {step}", step=gettext(REACHED_LABELS[value]))
        case "stuck":
            return gettext("Stopped after: {step}", step=gettext(STUCK_LABELS[value]))
    return None


def _describe_activity(visit: Visit, name: str, filters: Mapping[str, str]) -> str:
    """Return the words for a filter of the period, or for the period."""
    gettext = visit.gettext
    period = parse_period(filters.get("since"), filters.get("until"))
    days = visit.translation.format_days(*period)
    match name:
        case "activity":
            return gettext(ACTIVITY_TEXTS[filters["activity"]], days=days)
        case "room":
            return gettext("In {room}, {days}", room=filters["room"], days=days)
        case "contributions":
            return f"{_describe_contributions(visit, filters)}, {days}"
    return gettext("Period {days}", days=days)


def _describe_contributions(visit: Visit, filters: Mapping[str, str]) -> str:
    least, most = filters.get("contributions_from"), filters.get("contributions_to")
    if most is None:
        number = int(least or 0)
        return visit.ngettext(
            "At least {number} contribution",
            "At least {number} contributions",
            number,
            number=number,
        )
    if least is None:
        return visit.ngettext(
            "At most {number} contribution",
            "At most {number} contributions",
            int(most),
            number=int(most),
        )
    return visit.ngettext(
        "{least} to {most} contribution",
        "{least} to {most} contributions",
        int(most),
        least=int(least),
        most=int(most),
    )
