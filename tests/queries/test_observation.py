"""Every helper is observed, and looks to its callers as if it were not."""

import asyncio
import inspect
import traceback

import asyncpg
import pytest

from community_directory.errors import DatabaseUnavailable, InvalidInput, MemberNotFound
from community_directory.observers import Observer, code_of, observers, outcome_of
from community_directory.queries import members, observation
from community_directory.queries.observation import CallDurations, call_durations, observed
from tests.queries.cases import HELPERS
from tests.tables import rows


class Seen(Observer):
    """Keeps what it is told about calls."""

    def __init__(self) -> None:
        self.failed: list[tuple[str, str]] = []
        self.returned: list[tuple[str, object]] = []

    def call_failed(self, helper: str, error: BaseException) -> None:
        self.failed.append((helper, outcome_of(error)))

    def call_returned(self, helper: str, result: object) -> None:
        self.returned.append((helper, result))


@pytest.fixture
def seen() -> Seen:
    seen = Seen()
    observers.append(seen)
    return seen


def calls_of(name: str, outcome: str = "ok") -> int:
    durations = call_durations[name, outcome]
    durations.count()
    return sum(durations.counts)


def test_every_helper_is_observed_under_its_name() -> None:
    named = {name for name, outcome in call_durations if outcome == "ok"}
    assert named >= HELPERS.keys()
    for name, helper in HELPERS.items():
        assert helper is not inspect.unwrap(helper), name


def test_an_observed_helper_keeps_its_name_signature_and_docstring() -> None:
    for name, helper in HELPERS.items():
        itself = inspect.unwrap(helper)
        assert helper.__name__ == itself.__name__ == name.partition(".")[2]
        assert helper.__doc__ == itself.__doc__
        assert inspect.signature(helper) == inspect.signature(itself)
        assert inspect.iscoroutinefunction(helper)


async def test_a_traceback_has_one_more_line(directory: asyncpg.Pool) -> None:
    with pytest.raises(MemberNotFound) as raised:
        await members.get("#1")
    files = [frame.filename for frame in traceback.extract_tb(raised.value.__traceback__)]
    assert sum(file == observation.__file__ for file in files) == 1


async def test_nothing_is_counted_while_nobody_observes(directory: asyncpg.Pool) -> None:
    before = calls_of("members.find")
    await members.find("#1")
    assert calls_of("members.find") == before


async def test_a_call_is_counted_in_the_bucket_of_its_duration(
    seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([5.0, 5.004])
    monkeypatch.setattr(observation, "perf_counter", lambda: next(times))

    @observed("tests.of_a_bucket")
    async def answer() -> int:
        return 42

    assert await answer() == 42
    assert seen.returned == []
    durations = call_durations["tests.of_a_bucket", "ok"]
    durations.count()
    assert durations.counts == [int(bound == 0.005) for bound in (*observation.CALL_BUCKETS, 0)]
    assert durations.seconds == pytest.approx(0.004)


@pytest.mark.parametrize(
    ("error", "outcome", "code"),
    [
        (InvalidInput("No."), "refused", "invalid_input"),
        (DatabaseUnavailable("No."), "failed", "database_unavailable"),
        (ZeroDivisionError(), "failed", "unexpected"),
        (TimeoutError(), "failed", "unexpected"),
        (asyncio.CancelledError(), "cancelled", "unexpected"),
        (GeneratorExit(), "cancelled", "unexpected"),
    ],
)
async def test_a_call_that_fails_is_counted_by_its_outcome(
    seen: Seen, error: BaseException, outcome: str, code: str
) -> None:
    name = f"tests.{type(error).__name__}"

    @observed(name)
    async def fail() -> None:
        raise error

    with pytest.raises(type(error)):
        await fail()
    assert seen.failed == [(name, outcome)]
    assert calls_of(name, outcome) == 1
    assert calls_of(name) == 0
    assert code_of(error) == code


async def test_a_part_of_a_call_is_no_call(directory: asyncpg.Pool, seen: Seen) -> None:
    await rows.member(directory)
    before = {key: calls_of(*key) for key in list(call_durations)}
    await members.update_profile("#1", name="Eva")
    grown = {key for key, calls in before.items() if calls_of(*key) > calls}
    assert grown == {("members.update_profile", "ok")}


def test_durations_that_nobody_reads_take_little_memory() -> None:
    durations = CallDurations()
    for _ in range(observation.MAX_UNCOUNTED * 3 - 1):
        durations.add(0.002)
    assert len(durations.uncounted) == observation.MAX_UNCOUNTED - 1
    durations.count()
    assert sum(durations.counts) == observation.MAX_UNCOUNTED * 3 - 1


async def test_the_durations_of_ten_thousand_calls_take_little_memory(seen: Seen) -> None:
    @observed("tests.many")
    async def answer() -> None:
        pass

    for _ in range(10_000):
        await answer()
    assert len(call_durations["tests.many", "ok"].uncounted) < observation.MAX_UNCOUNTED
    assert calls_of("tests.many") == 10_000
