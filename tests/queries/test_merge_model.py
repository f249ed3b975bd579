"""Random merges and unmerges agree with a model in plain Python, and no row is ever lost."""

import asyncio
import itertools
import json
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

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

from community_directory.calendar import days_between
from community_directory.database import engine
from community_directory.queries import (
    accounts,
    highlights,
    invitations,
    members,
    participation,
    permissions,
)
from community_directory.queries.highlights import FIND_CHANGED_DAYS
from community_directory.tables import MemberStatus
from tests.queries.recounts import TABLES_WITHOUT_KEYS, find_wrong_counts, find_wrong_sums

FIRST_DAY = date(2026, 1, 31)
DAYS = [FIRST_DAY, FIRST_DAY + timedelta(days=1), FIRST_DAY + timedelta(days=2)]
START = datetime(2026, 1, 31, tzinfo=UTC)
PEOPLE = 7
KINDS = ["MESSAGE", "REACTION", "VOICE"]

# The fields and rows that nobody but a merge changes here.
SNAPSHOT = """
SELECT
    (SELECT jsonb_object_agg(member_id, to_jsonb(member)
        - '{updated_at,search_text,last_active_at,reputation_score,reputation_tier}'::text[])
        FROM community_members AS member),
    (SELECT jsonb_object_agg(invitation_id, to_jsonb(invitation) - 'updated_at')
        FROM community_invitations AS invitation),
    (SELECT jsonb_agg(jsonb_build_array(member_id, joined_at, approved_at) ORDER BY member_id)
        FROM member_milestones),
    (SELECT jsonb_agg(jsonb_build_array(member_id, permission, granted_at)
        ORDER BY member_id, permission) FROM member_permissions)
"""


class Key(NamedTuple):
    """An event: the same one of the same member is stored once."""

    kind: str
    source_id: str
    hours: int


@dataclass
class Person:
    """What was stored for a number itself, and the number into which it was merged."""

    github: int = 0
    into: str | None = None
    merged: list[str] = field(default_factory=list)
    """The numbers that were merged into it, the last one at the end."""
    events: set[Key] = field(default_factory=set)
    accounts: set[str] = field(default_factory=set)
    joined_at: datetime = START
    points: int = 0


class Merging(RuleBasedStateMachine):
    """The model and the database; the helpers run in the event loop of the test."""

    loop: asyncio.AbstractEventLoop
    database: asyncpg.Pool

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout=60)

    def fetch(self, sql: str, *values: object) -> Any:
        return self.run(self.database.fetch(sql, *values))

    @initialize(data=st.data())
    def start(self, data: st.DataObject) -> None:
        self.run(
            self.database.execute(
                "TRUNCATE community_members, community_invitations, directory_rolled_up_days,"
                f" {TABLES_WITHOUT_KEYS} RESTART IDENTITY CASCADE"
            )
        )
        self.ids = itertools.count(5001)
        self.people: dict[str, Person] = {}
        self.stale: set[date] = {*DAYS}
        for index in range(PEOPLE):
            self.add(data, index)
        for number in self.people:
            drawn = data.draw(
                st.sampled_from(["active", "active", "review", "suspended", "banned"])
            )
            if drawn == "review":
                self.run(permissions.grant(number, "review", actor="test"))
            elif drawn != "active":
                self.run(members.set_status(number, drawn, actor="test"))
        self.original = self.snapshot()

    def add(self, data: st.DataObject, index: int) -> None:
        telegram_id = f"{data.draw(st.sampled_from(['', 'discord:']))}{1001 + index}"
        inviter = data.draw(st.sampled_from([None, *self.people]))
        invites = None
        if inviter is not None and data.draw(st.booleans()):
            invites = self.run(invitations.create(created_by=inviter))
            redemption = self.run(
                invitations.redeem(
                    invites.invitation_code,
                    telegram_id=telegram_id,
                    name="Ana",
                    primary_role="developer",
                )
            )
            number = redemption.member.member_id
        else:
            added = members.add(
                telegram_id=telegram_id, name="Ana", primary_role="developer", invited_by=inviter
            )
            number = self.run(added).member_id
        # Everybody is active until all have joined, so that everybody can invite.
        country = data.draw(st.sampled_from([None, "Peru", "Spain"]))
        profile = data.draw(st.sampled_from([None, {}, {"a": 1}, {"a": 2, "b": 3}]))
        self.fetch(
            "UPDATE community_members SET country = $2, profile_data = $3 WHERE member_id = $1",
            number,
            country,
            None if profile is None else json.dumps(profile),
        )
        for status in (MemberStatus.PENDING, MemberStatus.ACTIVE):
            self.fetch(
                "UPDATE community_members SET status = $2 WHERE member_id = $1 AND status <> $2",
                number,
                status.value,
            )
        platform, _, account_id = telegram_id.rpartition(":")
        person = Person(accounts={f"{platform or 'telegram'}:{account_id}"})
        if data.draw(st.booleans()):
            counts = {"publicRepos": index + 1, "followers": 0, "stars": 0, "contributions": 0}
            self.run(
                members.verify_github(
                    number, github_username=f"user{index}", github_profile_data=counts
                )
            )
            person.github = 5 * (index + 1)
            person.accounts.add(f"github:user{index}")
        person.joined_at = START + timedelta(hours=data.draw(st.sampled_from([-600, -30, 0, 47])))
        self.fetch(
            "UPDATE member_milestones SET joined_at = $2, approved_at = $2 WHERE member_id = $1",
            number,
            person.joined_at,
        )
        self.people[number] = person

    def snapshot(self) -> Any:
        [row] = self.fetch(SNAPSHOT)
        return [json.loads(value or "null") for value in row]

    def head(self, number: str) -> str:
        into = self.people[number].into
        return number if into is None else self.head(into)

    def heads(self) -> list[str]:
        return [number for number, person in self.people.items() if person.into is None]

    def freed(self) -> list[str]:
        return [number for number, person in self.people.items() if person.into is not None]

    def group(self, number: str) -> list[Person]:
        """Return everything that was merged into a number, itself included."""
        person = self.people[number]
        return [person, *itertools.chain(*(self.group(each) for each in person.merged))]

    def github(self, number: str) -> int:
        """Return the points of the GitHub account that a member shows: the own or the first one."""
        person = self.people[number]
        return person.github or next(filter(None, map(self.github, person.merged)), 0)

    @rule(
        data=st.data(),
        kind=st.sampled_from(KINDS),
        source_id=st.sampled_from("abcd"),
        day=st.sampled_from(DAYS[:2]),
        times=st.integers(1, 3),
    )
    def record(self, data: st.DataObject, kind: str, source_id: str, day: date, times: int) -> None:
        for number in data.draw(
            st.lists(st.sampled_from([*self.people]), min_size=times, max_size=times)
        ):
            head = self.head(number)
            hours = 23 + 24 * DAYS.index(day)
            known = any(
                (event.kind, event.source_id) == (kind, source_id)
                for person in self.group(head)
                for event in person.events
            )
            stored = participation.record(
                member_id=number,
                event_type=kind,
                platform="telegram",
                room_id="-100" if source_id in "ab" else "-200",
                source_id=source_id,
                occurred_at=START + timedelta(hours=hours),
                # A stay reaches into the next day.
                metadata={"duration_seconds": 7200} if kind == "VOICE" else None,
            )
            assert (self.run(stored) is None) is known
            if not known:
                self.people[head].events.add(Key(kind, source_id, hours))
                self.stale |= {*DAYS}

    @rule(data=st.data(), points=st.integers(1, 300))
    def give_points(self, data: st.DataObject, points: int) -> None:
        number = data.draw(st.sampled_from(self.heads()))
        self.fetch(
            "UPDATE community_members SET reputation_score = reputation_score + $2"
            " WHERE member_id = $1",
            number,
            points,
        )
        self.people[number].points += points

    @rule(data=st.data())
    def link(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.heads()))
        account_id = str(next(self.ids))
        self.run(accounts.link(number, "discord", account_id, actor="test"))
        self.people[number].accounts.add(f"discord:{account_id}")

    @rule()
    def roll_up(self) -> None:
        self.run(highlights.roll_up(DAYS[0], until=DAYS[-1]))
        self.stale = set()

    @precondition(lambda self: len(self.heads()) > 1)
    @rule(data=st.data())
    def merge(self, data: st.DataObject) -> None:
        duplicate, into = data.draw(
            st.lists(st.sampled_from(self.heads()), min_size=2, max_size=2, unique=True)
        )
        preview = self.run(members.merge_preview(duplicate, into=into))
        done = self.run(members.merge(duplicate, into=into, actor="test"))
        assert done.moved == preview.counts
        self.people[duplicate].into = into
        self.people[into].merged.append(duplicate)

    @precondition(lambda self: self.freed())
    @rule(data=st.data())
    def unmerge(self, data: st.DataObject) -> None:
        self.take_back(data.draw(st.sampled_from(self.freed())))

    def take_back(self, number: str) -> None:
        undone = self.run(members.unmerge(number, actor="test"))
        assert undone.left == ()
        into = self.people[number].into
        assert into is not None
        self.people[into].merged.remove(number)
        self.people[number].into = None

    @invariant()
    def every_number_leads_to_the_member_who_has_everything(self) -> None:
        found = dict(map(tuple, self.fetch("SELECT member_id, merged_into FROM community_members")))
        assert found == {
            number: None if person.into is None else self.head(number)
            for number, person in self.people.items()
        }

    @invariant()
    def no_event_and_no_account_is_lost(self) -> None:
        events = self.fetch("SELECT member_id, event_type, source_id FROM member_participation")
        expected = {
            (head, event.kind, event.source_id)
            for head in self.heads()
            for person in self.group(head)
            for event in person.events
        }
        assert sorted(map(tuple, events)) == sorted(expected)
        found = self.fetch("SELECT member_id, platform || ':' || account_id FROM member_accounts")
        assert sorted(map(tuple, found)) == sorted(
            (head, account)
            for head in self.heads()
            for person in self.group(head)
            for account in person.accounts
        )

    @invariant()
    def every_score_is_the_sum_of_its_parts(self) -> None:
        found = self.fetch(
            """
            SELECT member_id, reputation_score - coalesce((
                SELECT sum(reputation_earned) FROM member_daily_highlights AS highlight
                WHERE highlight.member_id = member.member_id
            ), 0) FROM community_members AS member WHERE merged_into IS NULL
            """
        )
        assert {number: int(points) for number, points in found} == {
            head: self.github(head) + sum(person.points for person in self.group(head))
            for head in self.heads()
        }

    @invariant()
    def everybody_joined_when_the_first_of_their_numbers_did(self) -> None:
        found = self.fetch("SELECT member_id, joined_at, approved_at FROM member_milestones")
        joined = {
            number: min(person.joined_at for person in self.group(number)) for number in self.people
        }
        assert {number: at for number, at, _ in found} == joined
        assert {number: at for number, _, at in found} == joined

    @invariant()
    def the_nightly_roll_up_has_nothing_to_do(self) -> None:
        days = days_between(DAYS[0], DAYS[-1], None)._asdict()
        changed = engine.fetch(FIND_CHANGED_DAYS, recent=date(2027, 1, 1), **days)
        assert {day for (day,) in self.run(changed)} <= self.stale
        if not self.stale:
            assert self.run(highlights.verify(DAYS[0], until=DAYS[-1])) == []
            assert self.run(find_wrong_counts(self.database)) == {}
        assert self.run(find_wrong_sums(self.database)) == {}

    @invariant()
    def without_merges_everything_is_as_it_was(self) -> None:
        if not self.freed():
            assert self.snapshot() == self.original
            assert self.fetch("SELECT FROM directory_merged_rows") == []

    def teardown(self) -> None:
        for number in getattr(self, "people", {}):
            if self.people[number].into is not None:
                self.take_back(number)
        if hasattr(self, "original"):
            self.no_event_and_no_account_is_lost()
            self.every_score_is_the_sum_of_its_parts()
            self.everybody_joined_when_the_first_of_their_numbers_did()
            self.the_nightly_roll_up_has_nothing_to_do()
            self.without_merges_everything_is_as_it_was()


@pytest.mark.parametrize(
    ("examples", "steps"),
    [(5, 20), pytest.param(80, 50, marks=pytest.mark.faults)],
    ids=["short", "long"],
)
async def test_merges_and_unmerges_agree_with_the_model(
    directory: asyncpg.Pool, examples: int, steps: int
) -> None:
    def run() -> None:
        run_state_machine_as_test(
            type("MergingHere", (Merging,), {"loop": loop, "database": directory}),
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )

    loop = asyncio.get_running_loop()
    await asyncio.to_thread(run)
