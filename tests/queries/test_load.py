"""A hundred callers at once on a pool of ten."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import astuple
from datetime import UTC, date, datetime, timedelta

import asyncpg

from community_directory.database import connect, transaction
from community_directory.errors import (
    ActNotFound,
    ActNotUndoable,
    DatabaseUnavailable,
    DirectoryError,
    InvalidInput,
)
from community_directory.queries import (
    accounts,
    acts,
    archive,
    audit,
    branches,
    highlights,
    invitations,
    members,
    notes,
    participation,
    people,
    permissions,
    privacy,
    relationships,
    reputation,
    requests,
    segments,
)
from community_directory.queries.participation import NewEvent, Recorder
from tests.queries.cases import CASES
from tests.roles import app_url
from tests.tables import rows

CALLERS = 100
CALLS = 25
COMMUNITY = 40
DAY = date(2026, 1, 31)


class Caller:
    """A caller of random helpers, who checks that each answer belongs to the call."""

    def __init__(
        self, number: int, codes: list[str], made: Counter[str], recorder: Recorder
    ) -> None:
        self.random = random.Random(number)
        self.number = number
        self.codes = codes
        self.made = made
        self.recorder = recorder
        self.newcomers = 0
        self.stored: list[str] = []
        """The source ids of the events that were answered as new."""

    def anybody(self) -> str:
        return f"#{self.random.randint(1, COMMUNITY)}"

    def newcomer(self) -> str:
        self.newcomers += 1
        return f"new:{self.number}-{self.newcomers}"

    async def add(self) -> None:
        account = self.random.choice([self.newcomer(), f"shared:{self.random.randint(1, 20)}"])
        await members.check_addable(account)
        added = await members.add(
            telegram_id=account, name=account, primary_role="developer", actor="load"
        )
        assert (added.telegram_id, added.name) == (account, account)

    async def look(self) -> None:
        number = self.anybody()
        found = await members.find(number)
        assert found is None or (found.member_id, found.telegram_id) == (
            number,
            f"account:{number}",
        )
        assert (await members.get(number)).member_id == number

    async def see(self) -> None:
        number = self.anybody()
        found = await members.seen(telegram_id=f"account:{number}", name="seen")
        assert found is None or found.telegram_id == f"account:{number}"

    async def look_by_account(self) -> None:
        account = f"account:{self.anybody()}"
        found = await members.find_by_telegram_id(account)
        assert found is None or found.telegram_id == account
        assert (await members.get_by_telegram_id(account)).telegram_id == account

    async def edit(self) -> None:
        number, country = self.anybody(), f"country {self.random.random()}"
        edited = await members.update_profile(number, country=country, actor="load")
        assert (edited.member_id, edited.country) == (number, country)

    async def change_status(self) -> None:
        number, status = self.anybody(), self.random.choice(["active", "suspended"])
        changed = await members.set_status(number, status, actor="load")
        assert (changed.member_id, changed.status) == (number, status)

    async def verify(self) -> None:
        number = self.anybody()
        verified = await members.verify_github(
            number,
            github_username=f"dev{self.random.randint(1, 60)}",
            github_profile_data={"followers": self.number},
        )
        assert (verified.member_id, verified.github_profile_data) == (
            number,
            {"followers": self.number},
        )

    async def remove_and_restore(self) -> None:
        number = self.anybody()
        assert (await members.remove(number, actor="load")).member_id == number
        assert (await members.restore(number, actor="load")).member_id == number

    async def mark_and_unmark_bot(self) -> None:
        number = self.anybody()
        marked = await members.mark_bot(number, actor="load")
        assert (marked.member_id, marked.is_bot, marked.reputation_score) == (number, True, 0)
        assert not (await members.mark_bot(number, False, actor="load")).is_bot

    async def dismiss_suggestion(self) -> None:
        pair = self.random.sample(range(1, COMMUNITY + 1), 2)
        await members.dismiss_suggestion(*pair, actor="load")
        for suggestion in (await members.merge_suggestions()).items:
            assert suggestion.member.member_id != suggestion.other.member_id

    async def remember_and_forget_bots(self) -> None:
        account = self.newcomer()
        await members.remember_bots({account: "Rose", f"{account}-2": None})
        assert await members.known_bots([account, "another"]) == {account}
        assert await members.forget_bot(account)
        assert await members.known_bots([account]) == set()

    async def take_over_username(self) -> None:
        number, username = self.anybody(), f"user{self.random.randint(1, 10)}"
        named = await members.set_username(number, username, actor="load")
        assert (named.member_id, named.telegram_username) == (number, username)

    async def grant_and_revoke(self) -> None:
        number = self.anybody()
        granted = await permissions.grant(number, "review", actor="load")
        assert (granted.member_id, granted.permission) == (number, "review")
        found = await permissions.of(number)
        assert {held.member_id for held in found} <= {number}
        await permissions.has(number, "review")
        await permissions.holders("review")
        await permissions.revoke(number, "review", actor="load")

    async def act_on_many(self) -> None:
        number = self.anybody()
        seen = (await acts.preview("suspend", [number])).states
        if seen:  # somebody else may have suspended them
            act = await acts.apply("suspend", seen, actor="load")
            assert {member.member_id for member in act.members} <= {number}
            with suppress(ActNotFound, ActNotUndoable):  # another call was first
                assert (await acts.get(act.id)).members == act.members
                await acts.undo(act.id, actor="load")
        await acts.apply("reinstate", [number], actor="load")

    async def act_on_a_branch(self) -> None:
        number = self.anybody()
        branch = await branches.preview(number)
        assert branch.root.member_id == number
        states = {member.member_id: member.state for member in branch.members[:5]}
        states[number] = branch.root.state
        await branches.preview_act(number, "cancel_invitations", states)
        act = await branches.apply(
            number, "cancel_invitations", states, actor="load", reason="load"
        )
        assert {member.member_id for member in act.members} <= states.keys()

    async def ask_managers(self) -> None:
        number = self.anybody()
        asked = await requests.ask(number, "link", actor="load")
        assert asked.kind == "link"
        await requests.may_erase_themselves(number)
        for request in (await requests.list_open(kind="link")).items:
            assert request.kind == "link"
        await requests.resolve(number, "link", actor="load")

    async def write_notes(self) -> None:
        number = self.anybody()
        note = await notes.add(number, "Met in Oaxaca.", actor="load")
        assert {found.member_id for found in (await notes.list_for(number)).items} <= {number}
        await notes.remove(note.id, actor="load")

    async def end_suspensions(self) -> None:
        await members.end_suspensions(actor="load")

    async def look_for_people(self) -> None:
        number = self.anybody()
        page = await people.search(q=number, bot="both", with_total=True)
        assert {person.member_id for person in page.items} <= {number}
        assert set(await people.numbers(q=number)) <= {number}
        assert await people.count(q=number) <= 1
        await people.choices()

    async def save_segments(self) -> None:
        saved = await segments.save(self.newcomer(), {"status": "active"}, actor="load")
        await segments.list_all()
        assert await segments.rename(saved.id, self.newcomer())
        assert await segments.remove(saved.id)

    async def search(self) -> None:
        number = self.anybody()
        page = await members.search(
            number.replace("#", "name-") + ".", sort=self.random.choice(["name", "newest"])
        )
        assert {member.member_id for member in page.items} <= {number}
        assert await members.count(number.replace("#", "name-") + ".") <= 1
        async for member in members.stream(number.replace("#", "name-") + "."):
            assert member.member_id == number
        await members.leaderboard(limit=5)
        rank = await members.rank(number)
        assert rank is None or 1 <= rank.position <= rank.of

    async def invite(self) -> None:
        maker, guest = self.anybody(), f"guest{self.random.randint(1, 30)}"
        await invitations.quota(maker)
        made = await invitations.create(
            created_by=maker, telegram_username=self.random.choice([guest, None])
        )
        assert made.invitation_code not in self.codes or made.invited_telegram_username is not None
        self.codes.append(made.invitation_code)

    def code(self) -> str:
        return self.random.choice(self.codes)

    async def redeem(self) -> None:
        code, account = self.code(), self.newcomer()
        redeemed = await invitations.redeem(
            code,
            telegram_id=account,
            name=account,
            primary_role="developer",
            telegram_username=f"guest{self.random.randint(1, 30)}",
        )
        assert (redeemed.invitation.invitation_code, redeemed.member.telegram_id) == (code, account)
        assert redeemed.invitation.accepted_by == redeemed.member.member_id
        checked = await invitations.check(code, telegram_id=account)
        assert (checked.repeated, checked.invitation) == (True, redeemed.invitation)

    async def look_at_invitations(self) -> None:
        code, maker = self.code(), self.anybody()
        assert (await invitations.get(code)).invitation_code == code
        found = await invitations.find(code)
        assert found is not None
        assert found.invitation_code == code
        page = await invitations.list_page(created_by=maker)
        assert {invitation.created_by for invitation in page.items} <= {maker}
        assert len(page.items) <= sum(astuple(await invitations.statistics(maker))[:4])
        for_guest = await invitations.find_open_for("guest1")
        assert for_guest is None or for_guest.invited_telegram_username == "guest1"

    async def extend(self) -> None:
        code = self.code()
        assert (await invitations.extend(code, actor="load")).invitation_code == code

    async def cancel(self) -> None:
        code = self.code()
        assert (await invitations.cancel(code, actor="load")).invitation_code == code

    async def expire_overdue(self) -> None:
        await invitations.expire_overdue()

    async def look_at_the_tree(self) -> None:
        number = self.anybody()
        assert (await invitations.lineage(number))[0].member_id == number
        assert (await invitations.tree(number)).items[0].member_id == number
        assert (await invitations.tree_counts(number)).is_complete

    async def link(self) -> None:
        a, b = f"e{self.random.randint(1, 9)}", f"f{self.random.randint(1, 9)}"
        linked = await relationships.link(a, b, "MENTORED", {"by": self.number})
        assert (linked.entity_id_a, linked.entity_id_b, linked.content) == (
            a,
            b,
            {"by": self.number},
        )
        assert all(
            a in (link.entity_id_a, link.entity_id_b) for link in await relationships.list_for(a)
        )
        await relationships.unlink(a, b, "MENTORED")

    async def link_account(self) -> None:
        number, account = self.anybody(), self.newcomer()
        begun = await accounts.begin_link(number)
        linked = await accounts.complete_link(begun.code, platform="load", account_id=account)
        assert (linked.member_id, linked.account_id) == (number, account)
        assert linked in await accounts.of(number)
        for again in (number, self.anybody()):
            await accounts.link(again, "load", f"{account}-{again}", username=account, actor="load")
        found = await members.find_by_account("load", account)
        assert found is None or found.member_id == number
        assert await accounts.unlink("load", account, actor="load")

    async def resolve(self) -> None:
        number = self.anybody()
        assert (await members.resolve(number)).member_id == number
        await members.find_by_username(f"user{self.random.randint(1, 10)}")

    async def look_at_the_graph(self) -> None:
        number = self.anybody()
        assert number in {entity.entity_id for entity in await relationships.entities_of(number)}
        for edge in await relationships.of_member(number):
            assert number in (edge.member_id_a, edge.member_id_b)

    async def explain_score(self) -> None:
        explained = await reputation.explain(self.anybody())
        parts = (*explained.github.values(), explained.earned, explained.other)
        assert explained.score == max(sum(parts), 0)

    async def look_back(self) -> None:
        number = self.anybody()
        assert {entry.member_id for entry in (await audit.history(number)).items} <= {number}
        assert await audit.consumers() == []
        assert not await audit.forget_consumer("nobody")

    async def export(self) -> None:
        number = self.anybody()
        assert (await privacy.export(number))["member"]["member_id"] == number

    async def erase(self) -> None:
        account = self.newcomer()
        added = await members.add(telegram_id=account, name=account, primary_role="developer")
        await privacy.erase(added.member_id, actor="load")
        assert await members.find_by_telegram_id(account) is None
        # DIRECTORY_SECRET_KEY is not set.
        assert await members.find_erased([account]) == set()

    async def merge(self) -> None:
        accounts_of_both = self.newcomer(), self.newcomer()
        into, duplicate = [
            (await members.add(telegram_id=account, name=account, primary_role="x")).member_id
            for account in accounts_of_both
        ]
        assert not (await members.merge_preview(duplicate, into=into)).is_refused
        merged = await members.merge(duplicate, into=into, actor="load")
        assert (await members.get(duplicate)).member_id == merged.into == into
        undone = await members.unmerge(duplicate, actor="load")
        assert (undone.id, undone.left) == (merged.id, ())
        assert (await members.get(duplicate)).telegram_id == accounts_of_both[1]

    def event(self) -> NewEvent:
        """Each source id is of one member and one time, whoever delivers it."""
        number = self.random.randint(1, 500)
        return NewEvent(
            member_id=f"#{number % COMMUNITY + 1}",
            event_type="MESSAGE",
            platform="telegram",
            room_id="-100",
            source_id=str(number),
            occurred_at=datetime(2026, 1, 31, tzinfo=UTC) + timedelta(minutes=number * 2),
        )

    async def record(self) -> None:
        new = self.event()
        event = await participation.record(**{name: getattr(new, name) for name in new.__slots__})
        if event is not None:
            assert (event.member_id, event.source_id) == (new.member_id, new.source_id)
            self.stored.append(str(event.source_id))

    async def add_to_recorder(self) -> None:
        self.recorder.add(self.event())
        if self.random.random() < 0.1:
            await self.recorder.flush()

    async def record_many(self) -> None:
        events = [self.event() for _ in range(self.random.randint(1, 30))]
        recorded = await participation.record_many(events)
        assert len(recorded.inserted) + len(recorded.duplicates) == len(events)
        assert {event.source_id for event in recorded.inserted} <= {
            event.source_id for event in events
        }
        self.stored += [str(event.source_id) for event in recorded.inserted]

    def event_of(self, event_type: str) -> NewEvent:
        """Return an event in a room of its own."""
        return NewEvent(
            member_id=self.anybody(),
            event_type=event_type,
            platform="telegram",
            room_id=self.newcomer(),
            source_id="1",
        )

    async def take_back(self) -> None:
        event = self.event_of("REACTION")
        assert len((await participation.record_many([event])).inserted) == 1
        for is_stored in (True, False):
            assert is_stored is await participation.take_back(
                member_id=event.member_id,
                platform=event.platform,
                room_id=event.room_id,
                source_id="1",
            )

    async def move_room(self) -> None:
        event = self.event_of("JOINED")
        assert len((await participation.record_many([event])).inserted) == 1
        assert await participation.move_room("telegram", event.room_id, self.newcomer()) == 1
        assert len((await participation.record_many([event])).duplicates) == 1

    async def look_at_participation(self) -> None:
        number = self.anybody()
        page = await participation.history(number, limit=5)
        assert {event.member_id for event in page.items} <= {number}
        counted = await participation.activity(number, since=DAY, until=DAY)
        assert {(activity.day, activity.event_type) for activity in counted} <= {(DAY, "MESSAGE")}
        [of_day] = await participation.by_day(member_id=number, since=DAY, until=DAY)
        rooms = await participation.by_room(member_id=number, since=DAY, until=DAY)
        assert sum(activity.events for activity in counted) <= of_day.events
        assert {room.members for room in rooms} <= {1}
        most = await participation.most_active(since=DAY, until=DAY, limit=3)
        assert [member.events for member in most] == sorted(
            (member.events for member in most), reverse=True
        )
        async for event in participation.stream(since=DAY, until=DAY, member_id=number):
            assert event.member_id == number

    async def roll_up(self) -> None:
        await highlights.roll_up(DAY)
        assert {row.highlight_date for row in (await highlights.between(DAY, DAY)).items} <= {DAY}
        await highlights.verify(DAY, repair=True)

    async def archive_old_days(self) -> None:
        before = date(2026, 1, 1)
        assert await archive.preview(before) == []
        assert await archive.archive_next_day(before) is None

    async def all_or_nothing(self) -> None:
        number, account = self.anybody(), f"undone:{self.newcomer()}"
        async with transaction():
            assert (await members.get(number)).member_id == number
            added = await members.add(telegram_id=account, name=account, primary_role="developer")
            assert (await members.get(added.member_id)).telegram_id == account
            await members.update_profile(added.member_id, name=" ")

    async def run(self, calls: int) -> None:
        actions: list[Callable[[], Awaitable[None]]] = [
            *(
                self.add,
                self.look,
                self.see,
                self.look_by_account,
                self.edit,
                self.change_status,
                self.verify,
                self.mark_and_unmark_bot,
                self.remember_and_forget_bots,
                self.take_over_username,
                self.search,
                self.dismiss_suggestion,
            ),
            *(
                self.remove_and_restore,
                self.grant_and_revoke,
                self.act_on_many,
                self.act_on_a_branch,
                self.ask_managers,
                self.write_notes,
                self.look_for_people,
                self.save_segments,
                self.end_suspensions,
                self.invite,
                self.redeem,
                self.look_at_invitations,
                self.extend,
                self.cancel,
            ),
            *(
                self.expire_overdue,
                self.look_at_the_tree,
                self.link,
                self.link_account,
                self.resolve,
                self.merge,
                self.look_at_the_graph,
                self.explain_score,
                self.look_back,
                self.export,
                self.erase,
            ),
            *(
                self.record,
                self.record_many,
                self.add_to_recorder,
                self.take_back,
                self.move_room,
                self.look_at_participation,
                self.roll_up,
                self.archive_old_days,
                self.all_or_nothing,
            ),
        ]
        for _ in range(calls):
            action = self.random.choice(actions)
            name = getattr(action, "__name__", "")
            try:
                await action()
                self.made[name] += 1
            except DatabaseUnavailable:
                raise  # a deadlock, for one
            except InvalidInput:
                assert name == "all_or_nothing"
                self.made[name] += 1
            except DirectoryError:
                pass  # what another caller did came first


async def backends(connection: asyncpg.Connection) -> dict[str, int]:
    """Return the number of other connections to the database by their state."""
    query = """
        SELECT state, count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
            AND backend_type = 'client backend'
        GROUP BY state
    """
    return dict(map(tuple, await connection.fetch(query)))


async def run_callers(
    watcher: asyncpg.Connection, number_of_callers: int = CALLERS, calls: int = CALLS
) -> None:
    """Run the callers at once, and assert that their answers and the rows are right.

    Args:
        watcher: A connection to the database that the helpers are connected to.
        number_of_callers: The number of callers.
        calls: The number of calls of each of them.
    """
    for number in range(1, COMMUNITY + 1):
        await rows.member(
            watcher, telegram_id=f"account:#{number}", name=f"name-{number}.", status="active"
        )
    await permissions.grant("#1", "manage", actor="load")
    codes = [(await invitations.create(created_by="#1")).invitation_code for _ in range(20)]
    made: Counter[str] = Counter()

    async with participation.recorder() as recorder:
        callers = [Caller(number, codes, made, recorder) for number in range(number_of_callers)]
        await asyncio.gather(*(caller.run(calls) for caller in callers))

    actions = {
        name for name, function in vars(Caller).items() if asyncio.iscoroutinefunction(function)
    }
    assert made.keys() == actions - {"run"}
    # No person twice, no code twice redeemed, nothing of a transaction that failed.
    assert not await watcher.fetch(
        "SELECT FROM community_members GROUP BY telegram_id HAVING count(*) > 1"
    )
    assert not await watcher.fetch(
        "SELECT FROM community_members WHERE telegram_id LIKE 'undone:%'"
    )
    accepted = "SELECT FROM community_invitations WHERE accepted_by IS NOT NULL"
    assert not await watcher.fetch(f"{accepted} GROUP BY accepted_by HAVING count(*) > 1")
    assert len(await watcher.fetch(accepted)) == made["redeem"]
    # Each event once, and told to one caller as new.
    sources = [
        row["source_id"]
        for row in await watcher.fetch(
            "SELECT source_id FROM member_participation WHERE event_type = 'MESSAGE'"
        )
    ]
    assert len(set(sources)) == len(sources) > 100
    answered = Counter(source for caller in callers for source in caller.stored)
    assert max(answered.values()) == 1
    assert len(sources) == answered.total() + recorder.stored
    await highlights.roll_up(DAY)
    assert await highlights.verify(DAY) == []
    changes = await watcher.fetchval(
        "SELECT count(*) FROM directory_audit_log WHERE changes ? 'country'"
    )
    assert changes == made["edit"]


async def test_a_hundred_callers_on_ten_connections_get_their_own_answers(
    database: str,
) -> None:
    watcher = await asyncpg.connect(database)
    async with connect(app_url(database), min_size=10, max_size=10):
        await run_callers(watcher)
        assert await backends(watcher) == {"idle": 10}
    await watcher.close()


def test_the_callers_use_every_helper() -> None:
    used = {
        f"{value.__name__.rpartition('.')[2]}.{name}"
        for function in vars(Caller).values()
        if asyncio.iscoroutinefunction(function)
        for value in (
            accounts,
            acts,
            archive,
            audit,
            branches,
            highlights,
            invitations,
            members,
            notes,
            participation,
            people,
            permissions,
            privacy,
            relationships,
            reputation,
            requests,
            segments,
        )
        for name in function.__code__.co_names
        if hasattr(value, name)
    }
    assert used >= CASES.keys()
