"""Random events, roll-ups, archives and merges: archiving never changes what was counted."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from community_directory.errors import EventArchived
from community_directory.queries import highlights, members, participation
from community_directory.queries.archive import archive_next_day
from tests.queries.recounts import TABLES_WITHOUT_KEYS, find_wrong_counts, find_wrong_sums

FIRST_DAY = date(2026, 1, 31)
DAYS = [FIRST_DAY + timedelta(days=number) for number in range(6)]
START = datetime(2026, 1, 31, tzinfo=UTC)
PEOPLE = ["#1", "#2", "#3", "#4"]
COLUMNS = {"MESSAGE": "message_count", "REACTION": "reaction_count", "VOICE": "voice_minutes"}

COUNTS = f"""
SELECT member_id, highlight_date, {", ".join(COLUMNS.values())} FROM member_daily_highlights
"""
SCORES = """
SELECT member_id, reputation_score - coalesce((
    SELECT sum(reputation_earned) FROM member_daily_highlights AS highlight
    WHERE highlight.member_id = member.member_id
), 0) AS rest
FROM community_members AS member WHERE merged_into IS NULL
"""


@dataclass(frozen=True)
class Told:
    """An event that was recorded for a number, and into which hours it reaches."""

    number: str
    event_type: str
    hour: int
    hours: int

    def days(self) -> dict[date, int]:
        """Return what each day counts of it: 1, or the minutes of a stay."""
        if self.event_type != "VOICE":
            return {DAYS[self.hour // 24]: 1}
        hours = range(self.hour, self.hour + self.hours)
        return {
            day: 60 * count for day, count in Counter(DAYS[hour // 24] for hour in hours).items()
        }


class Archiving(RuleBasedStateMachine):
    """The model and the database; the helpers run in the event loop of the test."""

    loop: asyncio.AbstractEventLoop
    database: asyncpg.Pool

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout=60)

    def fetch(self, sql: str) -> Any:
        return self.run(self.database.fetch(sql))

    @initialize()
    def start(self) -> None:
        self.run(
            self.database.execute(
                "TRUNCATE community_members, directory_rolled_up_days, directory_archive,"
                f" {TABLES_WITHOUT_KEYS} CASCADE;"
                " SELECT setval('community_member_number', 1, false)"
            )
        )
        for number in PEOPLE:
            added = members.add(telegram_id=f"100{number[1:]}", name="Ana", primary_role="dev")
            assert self.run(added).member_id == number
        self.events: list[Told] = []
        self.merged: dict[str, str] = {}
        self.archived = 0
        """The number of archived days."""

    def head(self, number: str) -> str:
        return self.head(self.merged[number]) if number in self.merged else number

    def heads(self) -> list[str]:
        return [number for number in PEOPLE if number not in self.merged]

    @rule(
        number=st.sampled_from(PEOPLE),
        event_type=st.sampled_from([*COLUMNS]),
        hour=st.integers(0, 24 * 4 - 1),
        data=st.data(),
    )
    def record(self, number: str, event_type: str, hour: int, data: st.DataObject) -> None:
        hours = data.draw(st.integers(1, 30)) if event_type == "VOICE" else 0
        # Stays at the same time count once, which a sum of minutes does not know.
        free = all(
            event.event_type != "VOICE"
            or not {*range(event.hour, event.hour + event.hours)} & {*range(hour, hour + hours)}
            for event in self.events
        )
        if not free:
            return
        stored = participation.record(
            member_id=number,
            event_type=event_type,
            platform="telegram",
            room_id="-100" if hour % 2 else "-200",
            occurred_at=START + timedelta(hours=hour),
            metadata={"duration_seconds": 3600 * hours} if event_type == "VOICE" else None,
        )
        if hour < 24 * self.archived:
            with pytest.raises(EventArchived):
                self.run(stored)
            return
        self.run(stored)
        # An event that is recorded for a merged number is the other member's for good.
        self.events.append(Told(self.head(number), event_type, hour, hours))

    @rule(first=st.sampled_from(DAYS), until=st.sampled_from(DAYS))
    def roll_up(self, first: date, until: date) -> None:
        self.run(highlights.roll_up(min(first, until), until=max(first, until)))

    @rule(until=st.integers(1, 4))
    def archive(self, until: int) -> None:
        # Days without events at the end of the archive stay open.
        while found := self.run(archive_next_day(DAYS[until])):
            self.archived = max(self.archived, until)
            assert found.day < DAYS[until]

    @precondition(lambda self: len(self.heads()) > 1)
    @rule(data=st.data())
    def merge(self, data: st.DataObject) -> None:
        pair = st.lists(st.sampled_from(self.heads()), min_size=2, max_size=2, unique=True)
        duplicate, into = data.draw(pair)
        self.run(members.merge(duplicate, into=into, actor="test"))
        self.merged[duplicate] = into

    @precondition(lambda self: self.merged)
    @rule(data=st.data())
    def unmerge(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from([*self.merged]))
        assert self.run(members.unmerge(number, actor="test")).left == ()
        del self.merged[number]

    @invariant()
    def archived_days_have_the_counts_of_all_their_events(self) -> None:
        [row] = self.fetch("SELECT max(archived_until) FROM directory_archive")
        expected: Counter[tuple[str, date, str]] = Counter()
        for event in self.events:
            for day, count in event.days().items():
                if row[0] is not None and day <= row[0]:
                    expected[self.head(event.number), day, COLUMNS[event.event_type]] += count
        found = {
            (member_id, day, column): count
            for member_id, day, *counts in self.fetch(COUNTS)
            for column, count in zip(COLUMNS.values(), counts, strict=True)
            if count and row[0] is not None and day <= row[0]
        }
        assert found == expected

    @invariant()
    def months_and_milestones_are_those_of_the_days(self) -> None:
        assert self.run(find_wrong_sums(self.database)) == {}

    @invariant()
    def every_score_is_the_sum_of_its_days(self) -> None:
        assert all(rest == 0 for _, rest in self.fetch(SCORES))

    @invariant()
    def a_roll_up_of_all_days_ends_in_the_counts_of_all_events(self) -> None:
        if not self.events or len(self.events) % 4:
            return
        self.run(highlights.roll_up(DAYS[0], until=DAYS[-1]))
        assert self.run(highlights.verify(DAYS[0], until=DAYS[-1])) == []
        assert self.run(find_wrong_counts(self.database)) == {}
        self.archived_hours_are_those_of_all_events()
        expected = Counter[str]()
        for event in self.events:
            expected[COLUMNS[event.event_type]] += sum(event.days().values())
        found = Counter[str]()
        for _, _, *counts in self.fetch(COUNTS):
            found.update(dict(zip(COLUMNS.values(), counts, strict=True)))
        assert +found == expected

    def archived_hours_are_those_of_all_events(self) -> None:
        """Merges do not change them: these events differ."""
        found = self.fetch(
            "SELECT day, hour, event_type, event_count FROM directory_hourly_counts"
            " WHERE day <= (SELECT archived_until FROM directory_archive)"
        )
        [row] = self.fetch("SELECT max(archived_until) FROM directory_archive")
        assert {tuple(key): count for *key, count in found} == Counter(
            (day, event.hour % 24, event.event_type)
            for event in self.events
            if (day := DAYS[event.hour // 24]) <= (row[0] or date.min)
        )


@pytest.mark.parametrize(
    ("examples", "steps"),
    [(5, 20), pytest.param(80, 50, marks=pytest.mark.faults)],
    ids=["short", "long"],
)
async def test_archiving_never_changes_what_was_counted(
    directory: asyncpg.Pool, examples: int, steps: int
) -> None:
    def run() -> None:
        run_state_machine_as_test(
            type("ArchivingHere", (Archiving,), {"loop": loop, "database": directory}),
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )

    loop = asyncio.get_running_loop()
    await asyncio.to_thread(run)
