"""Any input returns a result or raises a `DirectoryError`, and releases its connection."""

import inspect
import math
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from community_directory.database import connect
from community_directory.errors import InvalidInput, UserError
from community_directory.queries import members, participation, relationships
from community_directory.queries.participation import Event, NewEvent, Recorded
from tests.conftest import Server, new_database, raw_pool
from tests.queries.cases import CASES, EVENT, HELPERS, all_idle, arguments, community, undone

HOSTILE = {
    "quotes": "'; DROP TABLE community_members; --\"`",
    "braces": "{} {0} {actor}",
    "percent": "100%_%s%(a)s",
    "dollar": "$1 $99 $$",
    "backslash": "\\ \\\\ \\0 \\u0000",
    "nul": "a\0b",
    "lone surrogate": "a\ud800b",
    "10 MB": "x" * 10_000_000,
    "empty": "",
    "spaces": "   ",
    "emoji": "👩‍👩‍👧‍👦🇲🇽",
    "right to left": "\u202eمرحبا שלום\u202c",
    "control characters": "\x01\x07\x1b[31m\r\n\x7f",
}
NUMBERS = (-(10**30), -(2**63) - 1, -(2**31) - 1, -1, 0, 1, 101, 2**31, 2**63, 10**30)
DAYS = (
    date.min,
    date(1, 1, 2),
    date(1883, 11, 18),
    date(2016, 2, 29),
    date(9999, 12, 30),
    date.max,
)
EAST, WEST = timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))
MOMENTS = {
    "now in the east": (datetime(2026, 1, 31, 12, tzinfo=EAST), True),
    "the first one": (datetime.min.replace(tzinfo=UTC), False),
    "the last one": (datetime.max.replace(tzinfo=UTC), False),
    "the first of 2000": (datetime(2000, 1, 1, tzinfo=UTC), True),
    "the last before 2000": (datetime(1999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), False),
    "the first of 2000, in the east": (datetime(2000, 1, 1, tzinfo=EAST), False),
    "the last before 2200": (datetime(2199, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), False),
    "after the last one": (datetime.max.replace(tzinfo=WEST), False),
    "before the first one": (datetime.min.replace(tzinfo=EAST), False),
    "naive": (datetime(2026, 1, 31, 12), False),  # noqa: DTZ001  on purpose
    "the first one, naive": (datetime.min, False),  # noqa: DTZ901  on purpose
    "the last one, naive": (datetime.max, False),  # noqa: DTZ901  on purpose
}
"""Texts, and whether each can be stored."""
NO_ZONES = (
    "",
    " ",
    ".",
    "/",
    "../x",
    "/etc/passwd",
    "Europe",
    "tzdata.zi",
    "Mars/Olympus",
    *HOSTILE.values(),
)
TEXT_FIELDS = ("member_id", "event_type", "platform", "room_id", "source_id")


def deep(levels: int) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for _ in range(levels):
        data = {"a": data}
    return data


def circle() -> dict[str, Any]:
    data: dict[str, Any] = {}
    data["a"] = [data]
    return data


JSON: dict[str, Any] = {
    "NaN": {"a": math.nan},
    "infinity": {"a": [math.inf]},
    "an object": {"a": object()},
    "a set": {"a": {1}},
    "bytes": {"a": b"a"},
    "a tuple as a key": {(1, 2): 3},
    "deep": deep(500),
    "deeper than Python": deep(50_000),
    "a circle": circle(),
    "nul": {"a": "\0"},
    "nul in a key": {"\0": 1},
    "a lone surrogate": {"a": "\ud800"},
    "a huge number": {"a": 10**1000},
    "a number that Python does not write": {"a": 10**5000},
    "10 MB": {"a": "x" * 10_000_000},
    "a list": [],
    "a text": "text",
    "a number": 1,
    "nothing": None,
}
STORABLE: dict[str, Any] = {
    "empty": {},
    "a read-only one": MappingProxyType({"a": 1}),
    "text": {"a": "👩‍👩‍👧‍👦 \u202e \\ ' % {} $1"},
    "nested": {"a": [{"b": [None, True, 1.5]}]},
    "a large number": {"a": 2**80},
}


@pytest.fixture(scope="module")
async def directory(server: Server, template: str) -> AsyncIterator[asyncpg.Pool]:
    """The community of this module; every call is rolled back."""
    async with (
        new_database(server, template) as url,
        connect(url, min_size=0),
        raw_pool(url) as pool,
    ):
        await community(pool)
        yield pool


def kinds(helper: str) -> dict[str, str]:  # noqa: PLR0912  one branch for each kind
    """Return a test for each parameter of a helper."""
    hints = get_type_hints(HELPERS[helper])
    names = list(inspect.signature(HELPERS[helper]).parameters)
    if "conditions" in names:  # those of a search, as keyword arguments
        names.remove("conditions")
        [conditions] = get_args(hints["conditions"])
        names += conditions.__annotations__
        hints |= get_type_hints(conditions)
    found = {}
    for name in names:
        options = {hints[name], *get_args(hints[name])}
        if any(get_origin(option) is Sequence for option in options):
            found[name] = "texts"
        elif any(get_origin(option) is tuple for option in options):
            found[name] = "account"
        elif get_origin(hints[name]) is Literal or str in options:
            found[name] = "text"
        elif bool in options:
            found[name] = "flag"
        elif int in options:
            found[name] = "number"
        elif timedelta in options:
            found[name] = "time"
        elif datetime in options:
            found[name] = "moment"
        elif date in options:
            found[name] = "day"
        elif get_origin(hints[name]) is Iterable:
            found[name] = "events"
        elif any(get_origin(option) is Mapping for option in options):
            found[name] = "json"
        else:
            found[name] = f"unknown: {hints[name]}"
    return found


KINDS = {helper: kinds(helper) for helper in HELPERS}


def of_kind(kind: str) -> list[tuple[str, str]]:
    return [
        (helper, name)
        for helper, found in KINDS.items()
        for name, its in found.items()
        if its == kind
    ]


async def settle(helper: str, **changed: object) -> object:
    """Call the helper, roll it back, and return its result or its `DirectoryError`."""
    answer: object = None
    try:
        async with undone():
            answer = await HELPERS[helper](**arguments(helper, changed))
    except UserError as error:
        return error
    return answer


def is_sentence(error: object) -> bool:
    text = str(error)
    return text.isprintable() and len(text) <= 200 and text.endswith(".")


async def test_the_cases_name_every_parameter_and_each_is_fuzzed() -> None:
    assert HELPERS.keys() == CASES.keys()
    for helper, found in KINDS.items():
        assert found.keys() == CASES[helper].valid.keys()
        assert set(found.values()) <= {
            "text",
            "texts",
            "account",
            "number",
            "time",
            "json",
            "day",
            "moment",
            "events",
            "flag",
        }


@pytest.mark.parametrize(("helper", "name"), [*of_kind("text"), *of_kind("texts")])
async def test_hostile_text_returns_a_result_or_raises_a_directory_error(
    directory: asyncpg.Pool, helper: str, name: str
) -> None:
    for text in HOSTILE.values():
        value = [text, text] if KINDS[helper][name] == "texts" else text
        answer = await settle(helper, **{name: value})
        if isinstance(answer, UserError):
            assert is_sentence(answer)
        assert all_idle()


@pytest.mark.parametrize(("helper", "name"), of_kind("account"))
async def test_a_hostile_account_returns_a_result_or_raises_a_directory_error(
    directory: asyncpg.Pool, helper: str, name: str
) -> None:
    for text in [*HOSTILE.values(), *NUMBERS, None, True]:
        for account in ((text, "101"), ("telegram", text), ("discord", text), (text,), text):
            answer = await settle(helper, **{"member_id": None, name: account})
            if isinstance(answer, UserError):
                assert is_sentence(answer)
            assert all_idle()


@pytest.mark.parametrize(("helper", "name"), of_kind("text"))
@pytest.mark.parametrize(
    "text", [HOSTILE["nul"], HOSTILE["lone surrogate"]], ids=["nul", "lone surrogate"]
)
async def test_text_that_postgresql_cannot_store_is_refused_outside_a_transaction_too(
    directory: asyncpg.Pool, helper: str, name: str, text: str
) -> None:
    answer: object
    try:
        answer = await HELPERS[helper](**arguments(helper, {name: text}))
    except UserError as error:
        answer = error
    assert answer is None or is_sentence(answer)
    assert all_idle()


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(where=st.sampled_from(of_kind("text")), text=st.text(max_size=300))
async def test_any_text_returns_a_result_or_raises_a_directory_error(
    directory: asyncpg.Pool, where: tuple[str, str], text: str
) -> None:
    helper, name = where
    answer = await settle(helper, **{name: text})
    if isinstance(answer, UserError):
        assert is_sentence(answer)


@pytest.mark.parametrize(("helper", "name"), of_kind("number"))
async def test_any_number_returns_a_result_or_raises_a_directory_error(
    directory: asyncpg.Pool, helper: str, name: str
) -> None:
    for number in NUMBERS:
        answer = await settle(helper, **{name: number})
        if abs(number) == 10**30:
            assert isinstance(answer, InvalidInput)
    assert all_idle()


@pytest.mark.parametrize(("helper", "name"), of_kind("time"))
async def test_any_duration_returns_a_result_or_raises_a_directory_error(
    directory: asyncpg.Pool, helper: str, name: str
) -> None:
    for span in (timedelta.min, timedelta(microseconds=-1), timedelta(0), timedelta.max):
        assert isinstance(await settle(helper, **{name: span}), InvalidInput)


@pytest.mark.parametrize(("helper", "name"), of_kind("day"))
async def test_any_day_returns_a_result_or_raises_a_directory_error(
    directory: asyncpg.Pool, helper: str, name: str
) -> None:
    for day in DAYS:
        for zone in ("UTC", "Pacific/Apia", "America/New_York"):
            changed = {"zone": zone} if "zone" in KINDS[helper] else {}
            answer = await settle(helper, **changed, **{name: day})
            if isinstance(answer, UserError):
                assert isinstance(answer, InvalidInput)
                assert is_sentence(answer)
        assert all_idle()


RANGES = [helper for helper, found in KINDS.items() if [*found.values()].count("day") == 2]


@pytest.mark.parametrize("helper", RANGES)
async def test_any_range_of_days_returns_a_result_or_raises_a_directory_error(
    directory: asyncpg.Pool, helper: str
) -> None:
    first, last = (name for name, kind in KINDS[helper].items() if kind == "day")
    today = date(2026, 1, 31)
    for since, until in (
        (today, today - timedelta(days=1)),
        (today, today + timedelta(days=3660)),
        (today, date(2046, 1, 31)),
        (date.min, date.max),
        (date.max, date.min),
    ):
        refused = await settle(helper, **{first: since, last: until})
        assert isinstance(refused, InvalidInput)
        assert is_sentence(refused)
    for since, until in ((today, today), (today, today + timedelta(days=3659))):
        assert not isinstance(await settle(helper, **{first: since, last: until}), UserError)
    with_time = await settle(helper, **{first: datetime(2026, 1, 31, tzinfo=UTC)})
    assert isinstance(with_time, InvalidInput)
    assert all_idle()


@pytest.mark.parametrize("helper", [helper for helper, name in of_kind("text") if name == "zone"])
async def test_an_unknown_time_zone_is_refused(directory: asyncpg.Pool, helper: str) -> None:
    for zone in NO_ZONES:
        refused = await settle(helper, zone=zone)
        assert isinstance(refused, InvalidInput)
        assert refused.field == "zone"
        assert is_sentence(refused)


@pytest.mark.parametrize(("moment", "storable"), MOMENTS.values(), ids=MOMENTS)
async def test_any_time_is_stored_unchanged_or_refused(
    directory: asyncpg.Pool, moment: datetime, storable: bool
) -> None:
    answer = await settle("participation.record", occurred_at=moment)
    if storable:
        assert isinstance(answer, Event)
        assert answer.occurred_at == moment
    else:
        assert isinstance(answer, InvalidInput)
        assert is_sentence(answer)
    assert all_idle()


@pytest.mark.parametrize("moment", [moment for moment, _ in MOMENTS.values()], ids=MOMENTS)
async def test_any_time_of_a_condition_returns_a_result_or_is_refused(
    directory: asyncpg.Pool, moment: datetime
) -> None:
    asked = set(of_kind("moment")) - {("participation.record", "occurred_at")}
    assert asked == {
        ("acts.apply", "until"),
        ("branches.apply", "until"),
        ("members.count", "joined_since"),
        ("members.search", "joined_since"),
        ("members.set_status", "until"),
    }
    for helper, name in asked:
        answer = await settle(helper, **{name: moment})
        if moment.tzinfo is None:
            assert isinstance(answer, InvalidInput)
        if isinstance(answer, UserError):
            assert is_sentence(answer)


async def test_any_flag_returns_a_result(directory: asyncpg.Pool) -> None:
    for helper, name in of_kind("flag"):
        for flag in (True, False):
            assert not isinstance(await settle(helper, **{name: flag}), UserError)


def good_events() -> Iterator[NewEvent]:
    for number in range(10):
        yield replace(NewEvent(**EVENT), source_id=f"good {number}")


async def recorded_with(*hostile: NewEvent) -> Recorded:
    """Record hostile events among good ones, and check that all good ones are stored."""
    good = list(good_events())
    assert of_kind("events") == [("participation.record_many", "events")]
    answer = await settle("participation.record_many", events=[*good[:5], *hostile, *good[5:]])
    assert isinstance(answer, Recorded)
    assert [event for event in answer.inserted if event not in hostile] == good
    told = [
        *answer.inserted,
        *answer.duplicates,
        *answer.unknown,
        *(refused.event for refused in answer.refused),
    ]
    assert len(told) == len(good) + len(hostile)
    assert all(any(event is it for it in told) for event in hostile)
    assert all(is_sentence(refused.error) for refused in answer.refused)
    return answer


@pytest.mark.parametrize("field", TEXT_FIELDS)
async def test_a_hostile_text_in_one_event_does_not_prevent_the_others(
    directory: asyncpg.Pool, field: str
) -> None:
    events = [NewEvent(**{**EVENT, field: text}) for text in HOSTILE.values()]
    for event in events:
        answer = await recorded_with(event)
        if field in ("event_type", "platform"):
            assert not answer.inserted[10:]
        if getattr(event, field) in (HOSTILE["nul"], HOSTILE["lone surrogate"]):
            assert [refused.event for refused in answer.refused] == [event]
        elif field == "member_id":
            assert answer.unknown == [event]
    await recorded_with(*events)
    assert all_idle()


@pytest.mark.parametrize("what", JSON)
async def test_hostile_metadata_of_one_event_does_not_prevent_the_others(
    directory: asyncpg.Pool, what: str
) -> None:
    event = replace(NewEvent(**EVENT), metadata=JSON[what])
    answer = await recorded_with(event)
    assert [refused.event for refused in answer.refused] == ([] if what == "nothing" else [event])
    assert all_idle()


@pytest.mark.parametrize(("moment", "storable"), MOMENTS.values(), ids=MOMENTS)
async def test_a_hostile_time_of_one_event_does_not_prevent_the_others(
    directory: asyncpg.Pool, moment: datetime, storable: bool
) -> None:
    event = replace(NewEvent(**EVENT), occurred_at=moment)
    answer = await recorded_with(event)
    assert [refused.event for refused in answer.refused] == ([] if storable else [event])
    assert all_idle()


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    events=st.lists(
        st.builds(NewEvent, **dict.fromkeys(TEXT_FIELDS, st.text(max_size=60))), max_size=20
    )
)
async def test_a_batch_with_any_texts_reports_every_event(
    directory: asyncpg.Pool, events: list[NewEvent]
) -> None:
    await recorded_with(*events)


@pytest.mark.parametrize("data", STORABLE.values(), ids=STORABLE)
async def test_any_metadata_of_an_event_is_read_back_unchanged(
    directory: asyncpg.Pool, data: dict[str, Any]
) -> None:
    async with undone():
        first = await participation.record(**{**EVENT, "metadata": data})
        assert first is not None
        assert first.metadata == data
        assert first in (await participation.history("#1")).items


@pytest.mark.parametrize("what", JSON)
@pytest.mark.parametrize(("helper", "name"), of_kind("json"))
async def test_json_that_is_not_an_object_is_refused(
    directory: asyncpg.Pool, helper: str, name: str, what: str
) -> None:
    replaced = {"profile_data": members.UNSET} if name == "replace_profile_data" else {}
    answer = await settle(helper, **replaced, **{name: JSON[what]})
    if what == "nothing" and name != "content":
        assert not isinstance(answer, UserError)
    else:
        assert isinstance(answer, InvalidInput)
        assert is_sentence(answer)
    assert all_idle()


@pytest.mark.parametrize("data", STORABLE.values(), ids=STORABLE)
async def test_any_json_object_is_read_back_unchanged(
    directory: asyncpg.Pool, data: dict[str, Any]
) -> None:
    async with undone():
        changed = await members.update_profile("#1", replace_profile_data=data)
        assert changed.profile_data == data
        assert await members.get("#1") == changed
        assert (await relationships.link("entity-a", "entity-c", "MENTORED", data)).content == data


async def test_the_community_is_unchanged_after_all_of_these_tests(directory: asyncpg.Pool) -> None:
    assert all_idle()
    assert {member.member_id for member in (await members.search(status=None)).items} == {
        "#1",
        "#2",
    }
