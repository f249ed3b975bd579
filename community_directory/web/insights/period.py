"""The period that a page of Insights shows: whole days up to yesterday, and as many days before.

A day is rolled up in the night after it, so today is in no period.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from community_directory.calendar import MAX_SPAN_DAYS, days_between, load_zone, today
from community_directory.database import Statement, engine
from community_directory.error_texts import gettext_noop
from community_directory.errors import InvalidInput, sanitize_for_message
from community_directory.queries.filter_values import DayPeriod, parse_day
from community_directory.web.pages import FormRefused, Visit

PERIOD_DAYS = {"7": 7, "28": 28, "90": 90}
YEAR, ALL, CUSTOM = "12m", "all", "custom"
PERIOD_LABELS = {
    "7": gettext_noop("7 days"),
    "28": gettext_noop("28 days"),
    "90": gettext_noop("90 days"),
    YEAR: gettext_noop("12 months"),
    ALL: gettext_noop("All"),
}
"""The periods to choose from, as the address has them, and their labels."""

DAYS_OF_ALL = 28
"""The last days of all that are compared with the days before them."""

FIND_FIRST_DAY = Statement("""
SELECT least(
    (SELECT min(highlight_date) FROM member_daily_highlights),
    (SELECT min(day) FROM directory_hourly_counts),
    (SELECT (min(created_at) AT TIME ZONE :zone)::date FROM community_members),
    (SELECT (min(created_at) AT TIME ZONE :zone)::date FROM community_invitations)
)
""")


@dataclass(frozen=True, slots=True)
class Period:
    """Whole days of the community's time zone.

    Attributes:
        name: One of the `PERIOD_LABELS`, or "custom".
        since: The first day.
        until: The last day, which is included.
    """

    name: str
    since: date
    until: date

    @property
    def span(self) -> DayPeriod:
        """The days, as the filters of People have them."""
        return DayPeriod(self.since, self.until)

    @property
    def starts_at(self) -> datetime:
        """The time at which the first day starts."""
        return days_between(self.since, self.since, None).starts[0]

    @property
    def ends_at(self) -> datetime:
        """The time at which the last day ends."""
        return days_between(self.until, self.until, None).end

    @property
    def before(self) -> "Period | None":
        """The period of as many days that ends the day before; None if this one has all days."""
        if self.name == ALL:
            return None
        return Period(CUSTOM, *self.span.before)

    @property
    def query(self) -> dict[str, str]:
        """The parameters of an address that ask for this period."""
        if self.name == CUSTOM:
            return {"from": self.since.isoformat(), "to": self.until.isoformat()}
        return {"period": self.name}


def choose_periods(period: Period) -> tuple[Period, Period]:
    """Return two periods to compare: this one and the one before.

    All days have none before: the last `DAYS_OF_ALL` of them stand for all.
    """
    if period.before is not None:
        return period, period.before
    since = period.until - timedelta(days=DAYS_OF_ALL - 1)
    return choose_periods(Period(CUSTOM, since, period.until))


async def read_period(visit: Visit, default: str = "28") -> Period:
    """Return the period that the address of a page asks for.

    Without `to`, the last day is yesterday; without `from`, the first one is the first day of which
    anything is known.

    Args:
        visit: The visit, whose address has `period`, or `from` and `to`.
        default: The period of an address without one.

    Raises:
        FormRefused: There is no such period, a day can't be read or has not been counted yet, the
            first day is after the last one, or there are too many days.
    """
    if visit.query.get("from") or visit.query.get("to"):
        return await _read_days(visit)
    period = await _find_period(visit.query.get("period") or default)
    if period is None:
        raise FormRefused(visit.gettext("There is no such period. Choose one of these."))
    return period


async def _find_period(name: str) -> Period | None:
    yesterday = find_yesterday()
    if name in PERIOD_DAYS:
        return Period(name, yesterday - timedelta(days=PERIOD_DAYS[name] - 1), yesterday)
    if name == YEAR:
        return Period(name, _a_year_before(yesterday) + timedelta(days=1), yesterday)
    if name == ALL:
        return Period(name, min(await _find_first_day() or yesterday, yesterday), yesterday)
    return None


async def _read_days(visit: Visit) -> Period:
    """Return the period between two days of the address; either of them can be missing."""
    yesterday = find_yesterday()
    first, last = _read_day(visit, "from"), _read_day(visit, "to")
    until = min(last or yesterday, yesterday)
    since = first or min(await _find_first_day() or until, until)
    if since > yesterday:
        raise FormRefused(
            visit.gettext(
                "A day is counted in the night after it. Choose days up to {yesterday}.",
                yesterday=yesterday,
            )
        )
    if since > until:
        raise FormRefused(visit.gettext("The first day can’t be after the last one."))
    if (until - since).days >= MAX_SPAN_DAYS:
        raise FormRefused(visit.gettext("Choose at most {limit} days.", limit=MAX_SPAN_DAYS))
    return Period(CUSTOM, since, until)


def _read_day(visit: Visit, name: str) -> date | None:
    text = visit.query.get(name)
    try:
        return parse_day(name, text)
    except InvalidInput:
        shown = sanitize_for_message(text)
        raise FormRefused(
            visit.gettext("{text} is no day from 1900 to 2199. Write it as 2026-11-01.", text=shown)
        ) from None


def find_yesterday() -> date:
    """Return the last day that has been counted."""
    return today() - timedelta(days=1)


def _a_year_before(day: date) -> date:
    is_leap_day = (day.month, day.day) == (2, 29)
    return day.replace(year=day.year - 1, day=28 if is_leap_day else day.day)


async def _find_first_day() -> date | None:
    """Return the first day of which anything is known, at most ten years ago."""
    [(day,)] = await engine.read(FIND_FIRST_DAY, zone=load_zone(None).key)
    earliest = today() - timedelta(days=MAX_SPAN_DAYS)
    return None if day is None else max(day, earliest)
