"""Periods for the tests of Insights."""

from datetime import date, timedelta

from community_directory.calendar import today
from community_directory.web.insights.period import ALL, Period


def last_days(days: int) -> Period:
    """Return the period of so many days up to yesterday."""
    return Period(str(days), today() - timedelta(days=days), today() - timedelta(days=1))


def all_days() -> Period:
    """Return the period of all days, which begins before everything else."""
    return Period(ALL, date(2020, 1, 1), today() - timedelta(days=1))
