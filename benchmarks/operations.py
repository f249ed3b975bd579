"""The measured operations: the lines of the tables, their calls and checks, and the goals."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count, cycle, islice
from random import Random
from typing import Any, Final

from benchmarks.community import DAY_EVENTS, WORDS, Community
from benchmarks.results import Results

BATCH: Final = 1000
RACERS: Final = 50


class Supply:
    """The arguments of calls: members of the database, and new people, codes and events."""

    def __init__(self, community: Community) -> None:
        self.community = community
        self._random = Random(1)
        self._new = count(1)
        # The active members: the last activity of each moves once a minute.
        self._writers: Iterator[str] = cycle(community.member_ids[:500])
        self._codes = iter(community.codes)

    def members(self, calls: int) -> list[list[Any]]:
        """Return the Telegram ids of random members."""
        return [
            [telegram_id]
            for telegram_id in self._random.choices(self.community.telegram_ids, k=calls)
        ]

    def popular_pages(self, calls: int) -> list[list[Any]]:
        """Return a first and a later page of the directory in turn."""
        return list(islice(cycle(self.community.popular_pages), calls))

    def small_pages(self, calls: int) -> list[list[Any]]:
        """Return pages of a country with few members: one in 160."""
        return list(islice(cycle(self.community.small_pages), calls))

    def rare_pages(self, calls: int) -> list[list[Any]]:
        """Return pages of a role and a country that few members have: one in 770."""
        return list(islice(cycle(self.community.rare_pages), calls))

    def trees(self, calls: int) -> list[list[Any]]:
        """Return members who invited a few people."""
        return [[member_id] for member_id in self._random.choices(self.community.trees, k=calls)]

    def month(self, calls: int) -> list[list[Any]]:
        """Return the last 30 days of the busiest member."""
        day = self.community.day
        return [[self.community.busiest, str(day - timedelta(days=29)), str(day)]] * calls

    def day(self, calls: int) -> list[list[Any]]:
        """Return the last day."""
        return [[str(self.community.day)]] * calls

    def nothing(self, calls: int) -> list[list[Any]]:
        """Return no arguments."""
        return [[]] * calls

    def events(self, calls: int) -> list[list[Any]]:
        """Return new events of one member after the other."""
        return [[self._event(next(self._writers))] for _ in range(calls)]

    def events_of_one(self, calls: int) -> list[list[Any]]:
        """Return new events of the busiest member."""
        return [[self._event(self.community.busiest)] for _ in range(calls)]

    def batches(self, calls: int) -> list[list[Any]]:
        """Return a thousand new events for each call."""
        return [[[self._event(next(self._writers)) for _ in range(BATCH)]] for _ in range(calls)]

    def redemptions(self, calls: int) -> list[list[Any]]:
        """Return new people, each with a code."""
        return [[next(self._codes), *self._person()] for _ in range(calls)]

    def race(self, calls: int) -> list[list[Any]]:
        """Return new people, all with the same code."""
        code = next(self._codes)
        return [[code, *self._person()] for _ in range(calls)]

    def _person(self) -> list[str]:
        number = next(self._new)
        return [str(9_000_000_000 + number), f"Newcomer {number}"]

    def _event(self, member_id: str) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat()
        common = {
            "event_type": "MESSAGE",
            "platform": "telegram",
            "room_id": "-1001",
            "occurred_at": now,
        }
        return {"member_id": member_id, "source_id": f"new-{next(self._new)}", **common}


@dataclass(frozen=True)
class Line:
    """One line of the tables: a kind of call, for every client that has the method."""

    name: str
    method: str
    calls: Callable[[Supply, int], list[list[Any]]]
    most: int = 40
    """The most calls of a slice."""
    least: int = 3
    tasks: int = 1
    """The number of concurrent callers. With one, each call is timed; with more, the slice."""
    rows: int = 1
    """The rows that a call writes or counts."""
    right: Callable[[list[Any], Any], bool] | None = None
    """The check of an answer, for calls that each client makes with its own arguments.

    Without it, all clients make the same calls and must give the same answers.
    """
    race: bool = False
    """Whether only the time of the whole slice counts, and the number of its answers."""
    uncounted: int = 0
    """The number of calls before those that count."""
    before: str | None = None
    """A statement before each slice, which is not timed; `$1` is the last day."""


def _throughput(line: Line, tasks: int) -> Line:
    return Line(
        f"{line.name}, {tasks} callers",
        line.method,
        line.calls,
        tasks * 8,
        tasks * 2,
        tasks,
        right=line.right,
    )


def _search(kind: str, word: str) -> Line:
    return Line(f"search: {kind}", "search", lambda _, calls: [[word]] * calls, most=10)


def _is_true(_: list[Any], answer: Any) -> bool:
    return answer is True


def _is_batch(_: list[Any], answer: Any) -> bool:
    return bool(answer == BATCH)


def _is_newcomer(call: list[Any], answer: Any) -> bool:
    return bool(answer and answer[0] == call[1] and answer[1] == "pending" and answer[2])


MEMBER = Line("member", "member", Supply.members)
DIRECTORY = Line("directory page", "directory", Supply.popular_pages)
SMALL_COUNTRY = Line("directory page, small country", "directory", Supply.small_pages)
RARE_PAIR = Line("directory page, rare pair", "directory", Supply.rare_pages)
SEARCHES = tuple(_search(kind, word) for kind, word in WORDS.items())
MONTH = Line("last 30 days", "last_30_days", Supply.month)
TREE = Line("tree", "tree", Supply.trees, most=20)
EXPIRE_OVERDUE = Line("expire overdue", "expire_overdue", Supply.nothing, most=20)
RECORD = Line("record", "record", Supply.events, right=_is_true)
RECORD_OF_ONE = Line("record of one busy member", "record", Supply.events_of_one, right=_is_true)
FORGET = "DELETE FROM member_daily_highlights WHERE highlight_date = $1"
ROLL_UP = Line(
    "roll-up", "roll_up", Supply.day, 1, 1, rows=DAY_EVENTS, before=FORGET, right=lambda *_: True
)

# One uncounted call is first, because other clients leave other rows.
ROLL_UP_AGAIN = Line(
    "roll-up again",
    "roll_up",
    Supply.day,
    2,
    2,
    uncounted=1,
    rows=DAY_EVENTS,
    right=lambda *_: True,
)

LINES: Final[dict[str, tuple[Line, ...]]] = {
    "member": (MEMBER, _throughput(MEMBER, 8), _throughput(MEMBER, 32)),
    "directory": (DIRECTORY, RARE_PAIR, _throughput(DIRECTORY, 8), _throughput(DIRECTORY, 32)),
    "search": SEARCHES,
    "last_30_days": (
        MONTH,
        Line("last 30 days, from the events", "last_30_days_raw", Supply.month, most=10),
    ),
    "tree": (TREE,),
    "expire_overdue": (EXPIRE_OVERDUE,),
    "record": (
        RECORD,
        _throughput(RECORD, 8),
        _throughput(RECORD, 32),
        _throughput(RECORD_OF_ONE, 32),
    ),
    "record_many": (
        Line("record 1,000", "record_many", Supply.batches, 3, 2, rows=BATCH, right=_is_batch),
        Line("bare INSERT of 1,000", "insert", Supply.batches, 3, 2, rows=BATCH, right=_is_batch),
        Line("bare COPY of 1,000", "copy", Supply.batches, 3, 2, rows=BATCH, right=_is_batch),
    ),
    "redeem": (
        Line("redeem", "redeem", Supply.redemptions, most=5, right=_is_newcomer),
        Line(
            "race for one code",
            "redeem",
            Supply.race,
            RACERS,
            RACERS,
            RACERS,
            race=True,
            right=lambda *_: True,
        ),
    ),
    "roll_up": (ROLL_UP, ROLL_UP_AGAIN),
}
"""The lines of each operation, which are measured in turn; those that only read are first."""

GROWTH: Final = (MEMBER, DIRECTORY, SMALL_COUNTRY, *SEARCHES, MONTH, TREE, EXPIRE_OVERDUE, ROLL_UP)
"""The lines that the helpers run in communities of three sizes."""
SIZES: Final = {"10k": 10_000, "100k": 100_000, "1M": 1_000_000}


@dataclass(frozen=True)
class Goal:
    """The limit of a figure."""

    operation: str
    what: str
    figure: Callable[[Results], float]
    """Computes the figure; it raises `KeyError` if it was not measured."""
    most: float | None = None
    least: float | None = None

    def is_met(self, figure: float) -> bool:
        """Return whether the figure is within the limits."""
        return (self.most is None or figure <= self.most) and (
            self.least is None or figure >= self.least
        )


Figure = Callable[[Results], float]
SIDE_BY_SIDE: Final = ("piccolo", "sqlalchemy", "tortoise", "django", "drizzle")


def _time(
    line: str, over: str = "helpers", under: str = "asyncpg", *, under_line: str | None = None
) -> Figure:
    """Divide the times of two clients, of one line or of two that were measured in turn."""
    return lambda results: results.ratio((line, over), (under_line or line, under))


def _speed(line: str, *, under_line: str | None = None) -> Figure:
    """Divide the helpers' calls in a second by asyncpg's."""
    return _time(under_line or line, "asyncpg", "helpers", under_line=line)


def _ours(line: str) -> Figure:
    """Divide asyncpg's time on the original design's tables by its time on ours."""
    return _time(line, "asyncpg-original", "asyncpg")


def _growth(line: str, small: str = "10k") -> Figure:
    return _time(line, "1M", small)


def _milliseconds(line: str) -> Figure:
    return lambda results: results.cost(line, "helpers") * 1000


def _peers(operation: str, least: dict[str, float]) -> Iterator[Goal]:
    for peer, times in least.items():
        yield Goal(
            operation, f"time of {peer} ÷ helpers", _time(operation, peer, "helpers"), least=times
        )


GROWN, ORIGINAL = (
    "time at 1,000,000 members ÷ 10,000",
    "time with the original design's indexes ÷ ours",
)
BUSY, FROM_EVENTS = "record of one busy member, 32 callers", "last 30 days, from the events"
COPY, INSERT = "bare COPY of 1,000", "bare INSERT of 1,000"
GOALS: Final = (
    Goal("member", "time ÷ asyncpg", _time("member"), most=0.7),
    Goal(
        "member", "time ÷ asyncpg without reset", _time("member", under="asyncpg-no-reset"), most=1
    ),
    *_peers("member", {"piccolo": 3, "sqlalchemy": 4, "tortoise": 2.5, "django": 5, "drizzle": 2}),
    Goal(
        "member", "calls a second, 32 callers, ÷ asyncpg", _speed("member, 32 callers"), least=1.5
    ),
    Goal("directory", "time ÷ asyncpg", _time("directory page"), most=0.85),
    Goal("directory", ORIGINAL, _ours("directory page"), least=20),
    Goal("directory", f"rare pair, {ORIGINAL}", _ours("directory page, rare pair"), least=20),
    Goal("directory", GROWN, _growth("directory page"), most=1.3),
    Goal(
        "directory", f"small country, {GROWN}", _growth("directory page, small country"), most=1.3
    ),
    *(Goal("search", f"{kind}, ms", _milliseconds(f"search: {kind}"), most=10) for kind in WORDS),
    *(
        Goal(
            "search",
            f"{kind}, time at 1,000,000 members ÷ 100,000",
            _growth(f"search: {kind}", "100k"),
            most=5,
        )
        for kind in WORDS
    ),
    Goal(
        "last_30_days",
        "time from the events ÷ from highlights",
        _time(FROM_EVENTS, under="helpers", under_line="last 30 days"),
        least=30,
    ),
    Goal("last_30_days", GROWN, _growth("last 30 days"), most=1.2),
    Goal("tree", ORIGINAL, _ours("tree"), least=100),
    Goal("tree", GROWN, _growth("tree"), most=1.5),
    Goal("expire_overdue", ORIGINAL, _ours("expire overdue"), least=20),
    Goal("expire_overdue", GROWN, _growth("expire overdue"), most=1.5),
    Goal("record", "time ÷ asyncpg", _time("record"), most=0.8),
    Goal("record", "calls a second, 32 callers, ÷ asyncpg", _speed("record, 32 callers"), least=1),
    Goal("record", "calls a second, 32 callers for one member, ÷ asyncpg", _speed(BUSY), least=1),
    Goal(
        "record_many",
        "rows a second ÷ bare COPY",
        _speed("record 1,000", under_line=COPY),
        least=0.85,
    ),
    Goal(
        "record_many",
        "rows a second ÷ the original design's table, by INSERT",
        _ours(INSERT),
        least=1.15,
    ),
    Goal(
        "record_many",
        "rows a second ÷ the original design's table, by COPY",
        _ours(COPY),
        least=1.15,
    ),
    Goal("redeem", "time ÷ asyncpg's transaction", _time("redeem"), most=0.8),
    Goal(
        "redeem",
        f"winners of {RACERS} callers with one code, in each race",
        lambda results: results.winners("race for one code", "helpers"),
        most=1,
        least=1,
    ),
    *_peers("redeem", dict.fromkeys(SIDE_BY_SIDE, 3)),
    Goal(
        "roll_up",
        "time again, with nothing new, ÷ first",
        _time("roll-up again", under="helpers", under_line="roll-up"),
        most=0.5,
    ),
    Goal(
        "roll_up",
        "time of an event among 3,000,000 ÷ 300,000",
        _time("roll-up", "100k", "10k"),
        most=1.2,
    ),
)
