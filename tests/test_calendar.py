"""Days of a community: from midnight to midnight in its zone, even when the clocks change."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from community_directory.calendar import MAX_SPAN_DAYS, count_days, days_between, load_zone, today
from community_directory.errors import ConfigurationError, InvalidInput
from tests.zones import use_zone

# Zones that only some machines have are left out.
ZONES = sorted(name for name in available_timezones() if "/" in name or name == "UTC")
HOUR = timedelta(hours=1)
A_DAY = date(2026, 1, 31)


def hours(zone: str, day: date) -> float:
    _, [start], end = days_between(day, day, zone)
    return (end - start) / HOUR


@pytest.mark.parametrize(
    ("zone", "day", "start", "length"),
    [
        ("UTC", date(2026, 1, 31), "2026-01-31T00:00", 24),
        ("Asia/Kolkata", date(2026, 1, 31), "2026-01-30T18:30", 24),
        ("America/New_York", date(2026, 3, 8), "2026-03-08T05:00", 23),
        ("America/New_York", date(2026, 3, 9), "2026-03-09T04:00", 24),
        ("America/New_York", date(2026, 11, 1), "2026-11-01T04:00", 25),
        ("Europe/Berlin", date(2026, 3, 29), "2026-03-28T23:00", 23),
        ("Europe/Berlin", date(2026, 10, 25), "2026-10-24T22:00", 25),
        ("Australia/Lord_Howe", date(2026, 4, 5), "2026-04-04T13:00", 24.5),
        # midnight comes twice
        ("America/Havana", date(2026, 11, 1), "2026-11-01T04:00", 25),
        ("America/Havana", date(2026, 11, 2), "2026-11-02T05:00", 24),
        # the hour before midnight comes twice
        ("America/Sao_Paulo", date(2018, 2, 17), "2018-02-17T02:00", 25),
        ("America/Sao_Paulo", date(2018, 2, 18), "2018-02-18T03:00", 24),
        # there is no midnight
        ("America/Sao_Paulo", date(2018, 11, 4), "2018-11-04T03:00", 23),
        ("Africa/Cairo", date(2026, 4, 24), "2026-04-23T22:00", 23),
        ("America/Havana", date(2026, 3, 8), "2026-03-08T05:00", 23),
        # there is no such day
        ("Pacific/Apia", date(2011, 12, 29), "2011-12-29T10:00", 24),
        ("Pacific/Apia", date(2011, 12, 30), "2011-12-30T10:00", 0),
        ("Pacific/Apia", date(2011, 12, 31), "2011-12-30T10:00", 24),
    ],
)
def test_a_day_begins_at_its_first_moment_and_ends_with_the_next_day(
    zone: str, day: date, start: str, length: float
) -> None:
    days, starts, _ = days_between(day, day, zone)
    assert (days, starts) == ([day], [datetime.fromisoformat(start).replace(tzinfo=UTC)])
    assert hours(zone, day) == length


@settings(deadline=None, max_examples=300)
@given(
    zone=st.sampled_from(ZONES),
    since=st.dates(date(1900, 1, 1), date(2100, 1, 1)),
    count=st.integers(1, 60),
)
@example(zone="Pacific/Apia", since=date(2011, 12, 28), count=4)
@example(zone="America/St_Johns", since=date(2006, 10, 28), count=3)
def test_days_follow_each_other_without_a_gap_and_without_an_overlap(
    zone: str, since: date, count: int
) -> None:
    days, starts, end = days_between(since, since + timedelta(days=count - 1), zone)
    ends = [*starts[1:], end]
    assert days == [since + timedelta(days=number) for number in range(count)]
    assert len(starts) == count
    assert all(start <= end for start, end in zip(starts, ends, strict=True))
    assert {moment.tzinfo for moment in (*starts, *ends)} == {UTC}
    # Asked for alone, a day is the same one.
    assert [days_between(day, day, zone) for day in days[:3]] == [
        ([day], [start], end) for day, start, end in list(zip(days, starts, ends, strict=True))[:3]
    ]


# Before 2011 some clocks went back over midnight: a part of a day came after the next day's begin.
MOMENTS = st.datetimes(datetime(2011, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  Hypothesis adds it


@settings(deadline=None, max_examples=500)
@given(zone=st.sampled_from(ZONES), moment=MOMENTS)
@example(zone="Pacific/Apia", moment=datetime(2011, 12, 30, 10, tzinfo=UTC))
@example(zone="Pacific/Apia", moment=datetime(2011, 12, 30, 9, 59, 59, 999999, tzinfo=UTC))
@example(zone="America/Havana", moment=datetime(2026, 11, 1, 5, tzinfo=UTC))
@example(zone="America/Havana", moment=datetime(2026, 11, 1, 4, tzinfo=UTC))
@example(zone="America/Sao_Paulo", moment=datetime(2018, 11, 4, 3, tzinfo=UTC))
@example(zone="America/Sao_Paulo", moment=datetime(2018, 2, 18, 2, 30, tzinfo=UTC))
def test_every_moment_is_in_the_day_of_its_date_and_in_no_other(
    zone: str, moment: datetime
) -> None:
    day = moment.astimezone(ZoneInfo(zone)).date()
    days, starts, end = days_between(day - timedelta(days=2), day + timedelta(days=2), zone)
    ends = [*starts[1:], end]
    found = [
        day for day, start, end in zip(days, starts, ends, strict=True) if start <= moment < end
    ]
    assert found == [day]


@settings(deadline=None, max_examples=200)
@given(
    zone=st.sampled_from(ZONES),
    day=st.dates(date(2011, 1, 1), date(2037, 1, 1)),
    part=st.floats(0, 0.999),
)
def test_the_first_and_the_last_moment_of_a_day_have_its_date(
    zone: str, day: date, part: float
) -> None:
    _, [start], end = days_between(day, day, zone)
    if start == end:
        return  # a day that was left out
    for moment in (start, start + part * (end - start), end - timedelta(microseconds=1)):
        assert moment.astimezone(ZoneInfo(zone)).date() == day
    assert (start - timedelta(microseconds=1)).astimezone(ZoneInfo(zone)).date() < day
    assert end.astimezone(ZoneInfo(zone)).date() > day


def test_the_days_are_those_of_the_community_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert days_between(A_DAY, A_DAY, None) == days_between(A_DAY, A_DAY, "UTC")
    use_zone(monkeypatch, "Asia/Kolkata")
    assert load_zone(None) == ZoneInfo("Asia/Kolkata")
    assert days_between(A_DAY, A_DAY, None) == days_between(A_DAY, A_DAY, "Asia/Kolkata")
    assert days_between(A_DAY, A_DAY, "UTC").starts == [datetime(2026, 1, 31, tzinfo=UTC)]


def test_a_wrong_setting_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIRECTORY_TIME_ZONE", "Nowhere")
    with pytest.raises(ConfigurationError, match="DIRECTORY_TIME_ZONE"):
        days_between(A_DAY, A_DAY, None)


@pytest.mark.parametrize(
    "zone",
    [
        "",
        " ",
        "Nowhere",
        "Europe",
        "/etc/passwd",
        "../UTC",
        "UTC\0",
        "\ud800",
        "x" * 100_000,
        7,
        1.5,
        b"UTC",
        [],
    ],
)
def test_an_unknown_time_zone_is_refused(zone: Any) -> None:
    for call in (load_zone, today, lambda zone: days_between(A_DAY, A_DAY, zone)):
        with pytest.raises(InvalidInput, match=r"^There is no time zone ") as refused:
            call(zone)
        assert refused.value.field == "zone"
        assert len(str(refused.value)) < 200


@settings(deadline=None)
@given(st.text() | st.from_regex(r"[A-Z][a-z]+/[A-Z][a-z]+") | st.sampled_from(ZONES))
def test_any_text_is_a_time_zone_or_is_refused(text: str) -> None:
    try:
        assert load_zone(text).key == text
    except InvalidInput:
        assert text not in ZONES


@pytest.mark.parametrize("days", [1, 2, 365, MAX_SPAN_DAYS])
def test_a_span_counts_its_first_and_its_last_day(days: int) -> None:
    assert count_days(A_DAY, A_DAY + timedelta(days=days - 1)) == days
    assert len(days_between(A_DAY, A_DAY + timedelta(days=days - 1), "UTC").days) == days


@pytest.mark.parametrize(
    ("since", "until"),
    [
        (A_DAY, A_DAY - timedelta(days=1)),
        (A_DAY, A_DAY + timedelta(days=MAX_SPAN_DAYS)),
        (date.min, date.max),
        (date.max, date.min),
    ],
)
def test_a_span_that_is_reversed_or_too_long_is_refused(since: date, until: date) -> None:
    for call in (lambda: count_days(since, until), lambda: days_between(since, until, "UTC")):
        with pytest.raises(
            InvalidInput, match=r"^Choose 1 to 3660 days, and put the first day first\.$"
        ) as refused:
            call()
        assert refused.value.field == "until"


@pytest.mark.parametrize("field", ["since", "until"])
def test_a_datetime_is_not_a_day(field: str) -> None:
    span: dict[str, Any] = {
        "since": A_DAY,
        "until": A_DAY,
        field: datetime(2026, 1, 31, tzinfo=UTC),
    }
    with pytest.raises(InvalidInput) as refused:
        count_days(**span)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("day", "zone"), [(date.max, "UTC"), (date.min, "Asia/Tokyo"), (date.max, "America/Lima")]
)
def test_a_day_at_the_end_of_time_is_refused(day: date, zone: str) -> None:
    with pytest.raises(InvalidInput, match=r"^This day is too far away\.$"):
        days_between(day, day, zone)


def test_the_first_day_of_all_is_a_day() -> None:
    assert days_between(date.min, date.min, "UTC").starts == [datetime(1, 1, 1, tzinfo=UTC)]


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kolkata"])
def test_today_is_the_day_of_this_moment(zone: str) -> None:
    before = datetime.now(ZoneInfo(zone)).date()
    found = today(zone)
    after = datetime.now(ZoneInfo(zone)).date()
    assert before <= found <= after
    assert type(found) is date


def test_today_is_another_day_on_the_other_side_of_the_date_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Their clocks differ by 26 hours, so never show the same date.
    west = today("Etc/GMT+12")
    assert today("Pacific/Kiritimati") > west
    use_zone(monkeypatch, "Pacific/Kiritimati")
    assert today() > west
