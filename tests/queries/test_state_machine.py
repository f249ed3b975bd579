"""Random changes of members and invitations agree with a model in plain Python after each step."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from community_directory.database import engine
from community_directory.errors import (
    AlreadyMember,
    DirectoryError,
    InvalidInput,
    InvitationCancelled,
    InvitationExpired,
    InvitationForSomeoneElse,
    InvitationUsed,
    MemberBanned,
    MemberExists,
    MemberNotActive,
    MemberNotFound,
    StatusChangeRefused,
)
from community_directory.queries import invitations, members
from community_directory.settings import load_settings
from tests.tables.test_members import ALLOWED_TRANSITIONS

Outcome = type[DirectoryError] | None

PEOPLE = [str(number) for number in range(1, 13)]
STATUSES = ["not_member", "pending", "active", "suspended", "banned"]
USERNAMES = [None, None, None, "bea", "BEA", "@eva"]


@dataclass
class Person:
    telegram_id: str
    status: str
    invited_by: str | None = None
    removed: bool = False

    @property
    def may_invite(self) -> bool:
        return self.status == "active" and not self.removed


@dataclass
class Invite:
    created_by: str
    username: str | None
    stored: str = "pending"
    overdue: bool = False
    accepted_by: str | None = None

    @property
    def status(self) -> str:
        return "expired" if self.stored == "pending" and self.overdue else self.stored


def plain(username: str | None) -> str | None:
    return username and username.removeprefix("@").lower()


class Directory(RuleBasedStateMachine):
    """The model and the database; the helpers run in the event loop of the test."""

    loop: asyncio.AbstractEventLoop
    database: asyncpg.Pool

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout=30)

    def ends(self, work: Coroutine[Any, Any, Any], expected: Outcome) -> Any:
        """Return the result of a helper, and check that it raises the expected error, or none."""
        result, error = None, None
        try:
            result = self.run(work)
        except DirectoryError as raised:
            error = type(raised)
        assert error is expected
        return result

    @initialize()
    def start(self) -> None:
        self.people: dict[str, Person] = {}
        self.invites: dict[str, Invite] = {}
        self.run(self.database.execute("TRUNCATE community_members, community_invitations CASCADE"))
        for telegram_id in PEOPLE[:2]:
            self.add(telegram_id, "active")
        for inviter, username in zip(
            [*self.people, *self.people], [None, None, None, "bea"], strict=True
        ):
            self.make(inviter, username)

    def number_of(self, telegram_id: str) -> str | None:
        return next(
            (number for number, person in self.people.items() if person.telegram_id == telegram_id),
            None,
        )

    def some(self, data: st.DataObject, what: dict[str, Any]) -> str:
        # Codes are drawn by their index: Hypothesis repeats a draw, and codes differ in each run.
        return list(what)[data.draw(st.integers(0, len(what) - 1))]

    @rule(telegram_id=st.sampled_from(PEOPLE), status=st.sampled_from(STATUSES))
    def add(self, telegram_id: str, status: str) -> None:
        known = self.number_of(telegram_id)
        expected: Outcome = None
        if known is not None:
            expected = MemberBanned if self.people[known].status == "banned" else MemberExists
        added = self.ends(
            members.add(
                telegram_id=telegram_id, name="Ana", primary_role="developer", status=status
            ),
            expected,
        )
        if added is not None:
            self.people[added.member_id] = Person(telegram_id, status)

    @rule(data=st.data(), username=st.sampled_from(USERNAMES))
    def create(self, data: st.DataObject, username: str | None) -> None:
        able = {number: person for number, person in self.people.items() if person.may_invite}
        self.make(
            self.some(data, self.people if data.draw(st.booleans()) or not able else able), username
        )

    def make(self, inviter: str, username: str | None) -> None:
        expected: Outcome = None
        if self.people[inviter].removed:
            expected = MemberNotFound
        elif self.people[inviter].status != "active":
            expected = MemberNotActive
        made = self.ends(
            invitations.create(created_by=inviter, telegram_username=username), expected
        )
        if made is None:
            return
        same = None
        for code, invite in self.invites.items():
            if (
                username is not None
                and plain(invite.username) == plain(username)
                and invite.stored == "pending"
            ):
                if invite.overdue:
                    invite.stored = "expired"
                elif not self.people[invite.created_by].may_invite:
                    invite.stored = "cancelled"
                else:
                    same = code
        assert same in (None, made.invitation_code)
        if same is None:
            self.invites[made.invitation_code] = Invite(inviter, username)

    def refusal(
        self, invite: Invite, telegram_id: str, username: str | None
    ) -> tuple[Outcome, bool]:
        """Return the error of redeeming this code, and whether the person did so before."""
        number = self.number_of(telegram_id)
        person = self.people[number] if number is not None else None
        if person is not None and person.status == "banned":
            return MemberBanned, False
        declined = person is not None and person.status == "not_member"
        if (
            person is not None
            and not person.removed
            and not declined
            and invite.accepted_by == number
        ):
            return None, True
        by_status = {
            "accepted": InvitationUsed,
            "cancelled": InvitationCancelled,
            "expired": InvitationExpired,
        }
        error: Outcome = by_status.get(invite.status)
        if error is not None:
            pass
        elif invite.username is not None and plain(invite.username) != plain(username):
            error = InvitationForSomeoneElse
        elif not self.people[invite.created_by].may_invite:
            error = InvitationCancelled
        elif person is not None and not person.removed and person.status != "not_member":
            error = AlreadyMember
        elif (
            person is not None
            and person.status == "not_member"
            and number in self.above(invite.created_by)
        ):
            error = InvalidInput
        return error, False

    def above(self, number: str | None) -> list[str]:
        found: list[str] = []
        while number is not None:
            assert number not in found
            found.append(number)
            number = self.people[number].invited_by
        return found

    @rule(data=st.data(), telegram_id=st.sampled_from(PEOPLE), anybody=st.sampled_from(USERNAMES))
    def redeem(self, data: st.DataObject, telegram_id: str, anybody: str | None) -> None:
        self.try_code(self.some(data, self.invites), telegram_id, anybody)

    @rule(data=st.data(), telegram_id=st.sampled_from(PEOPLE))
    def redeem_one_that_is_pending(self, data: st.DataObject, telegram_id: str) -> None:
        pending = {
            code: invite for code, invite in self.invites.items() if invite.stored == "pending"
        }
        if pending:
            code = self.some(data, pending)
            self.try_code(code, telegram_id, self.invites[code].username)

    def try_code(self, code: str, telegram_id: str, username: str | None) -> None:
        invite = self.invites[code]
        expected, repeated = self.refusal(invite, telegram_id, username)
        checked = self.ends(
            invitations.check(code, telegram_id=telegram_id, telegram_username=username), expected
        )
        if checked is not None:
            assert (checked.invitation.invitation_code, checked.repeated) == (code, repeated)
            joined = checked.member and checked.member.member_id
            assert joined == (invite.accepted_by if repeated else None)
        redemption = self.ends(
            invitations.redeem(
                code,
                telegram_id=telegram_id,
                name="Bea",
                primary_role="designer",
                telegram_username=username,
            ),
            expected,
        )
        if redemption is None:
            return
        assert redemption.repeated is repeated
        if repeated:
            return
        number = redemption.member.member_id
        known = self.people.get(number)
        if known is None or known.status == "not_member":
            self.people[number] = Person(telegram_id, "pending", invite.created_by)
        else:
            known.removed = False
        invite.stored, invite.accepted_by = "accepted", number

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        code = self.some(data, self.invites)
        invite = self.invites[code]
        settled: dict[str, Outcome] = {"accepted": InvitationUsed, "cancelled": InvitationCancelled}
        if self.ends(invitations.cancel(code), settled.get(invite.stored)) is not None:
            invite.stored = "cancelled"

    @rule(data=st.data())
    def extend(self, data: st.DataObject) -> None:
        code = self.some(data, self.invites)
        invite = self.invites[code]
        settled: dict[str, Outcome] = {"accepted": InvitationUsed, "cancelled": InvitationCancelled}
        expected = settled.get(invite.stored)
        if invite.stored == "expired" and invite.username is not None:
            others = [other for other in self.invites.values() if other.stored == "pending"]
            if any(plain(other.username) == plain(invite.username) for other in others):
                expected = InvalidInput
        if self.ends(invitations.extend(code), expected) is not None:
            invite.stored, invite.overdue = "pending", False

    @rule(data=st.data())
    def let_time_pass(self, data: st.DataObject) -> None:
        code = self.some(data, self.invites)
        sql = (
            "UPDATE community_invitations SET expires_at = now() - interval '1 day'"
            " WHERE invitation_code = $1"
        )
        self.run(engine.fetch(sql, code))
        self.invites[code].overdue = True

    @rule()
    def expire_overdue(self) -> None:
        overdue = [
            invite
            for invite in self.invites.values()
            if invite.stored == "pending" and invite.overdue
        ]
        assert self.run(invitations.expire_overdue()) == len(overdue)
        for invite in overdue:
            invite.stored = "expired"

    @rule(data=st.data(), status=st.sampled_from(STATUSES))
    def set_status(self, data: st.DataObject, status: str) -> None:
        number = self.some(data, self.people)
        person = self.people[number]
        expected: Outcome = None
        if person.removed and status != "banned":
            expected = MemberNotFound
        elif (person.status, status) not in ALLOWED_TRANSITIONS:
            expected = StatusChangeRefused
        if self.ends(members.set_status(number, status, actor="test"), expected) is not None:
            person.status = status

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        number = self.some(data, self.people)
        person = self.people[number]
        self.ends(members.remove(number, actor="test"), MemberNotFound if person.removed else None)
        person.removed = True

    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        removed = {number: person for number, person in self.people.items() if person.removed}
        number = self.some(data, removed or self.people)
        person = self.people[number]
        self.ends(members.restore(number, actor="test"), None if person.removed else MemberNotFound)
        person.removed = False

    @invariant()
    def the_database_is_as_the_model(self) -> None:
        found = self.run(
            engine.fetch(
                "SELECT member_id, telegram_id, status, invited_by, deleted_at IS NOT NULL"
                " FROM community_members"
            )
        )
        assert {row[0]: Person(*row[1:]) for row in found} == self.people
        found = self.run(
            engine.fetch(
                """
                SELECT invitation_code, created_by, lower(invited_telegram_username), status,
                    expires_at <= now(),
                    accepted_by, accepted_at IS NOT NULL
                FROM community_invitations
                """
            )
        )
        for code, created_by, username, status, overdue, accepted_by, accepted in found:
            invite = self.invites[code]
            assert (created_by, username) == (invite.created_by, plain(invite.username))
            assert (status, overdue, accepted_by) == (
                invite.stored,
                invite.overdue,
                invite.accepted_by,
            )
            assert (status == "accepted") == (accepted_by is not None) == accepted
        assert len(found) == len(self.invites)

    @invariant()
    def nobody_is_above_themselves(self) -> None:
        for number in self.people:
            self.above(number)


@pytest.mark.parametrize(
    "examples", [30, pytest.param(60, marks=pytest.mark.faults)], ids=["short", "long"]
)
async def test_the_database_agrees_with_the_model_after_any_sequence(
    directory: asyncpg.Pool, examples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No sequence reaches these quotas, which have tests of their own.
    monkeypatch.setenv("DIRECTORY_MAX_OPEN_INVITATIONS", "100")
    monkeypatch.setenv("DIRECTORY_MAX_WEEKLY_INVITATIONS", "100")
    load_settings.cache_clear()

    def run() -> None:
        run_state_machine_as_test(
            type("DirectoryHere", (Directory,), {"loop": loop, "database": directory}),
            settings=settings(
                max_examples=examples,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )

    loop = asyncio.get_running_loop()
    await asyncio.to_thread(run)
