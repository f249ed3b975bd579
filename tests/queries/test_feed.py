"""The change feed: nothing is missed, nothing is told too early, whatever dies."""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import asyncpg
import pytest
from asyncpg.pool import PoolConnectionProxy

from community_directory.database import connect, engine
from community_directory.errors import ConsumerInUse, InvalidInput, NotConnected, SchemaMissing
from community_directory.metrics import Metrics
from community_directory.queries import (
    accounts,
    acts,
    audit,
    feed,
    invitations,
    members,
    notes,
    permissions,
)
from community_directory.queries.audit import Change, ChangeKind
from community_directory.tables import AuditAction
from tests.conftest import Server, new_database, raw_pool, superuser_session
from tests.database.test_migrations import pg_dump_of, run
from tests.proxy import Proxy
from tests.roles import app_url
from tests.tables import rows
from tests.waiting import until

ANA: dict[str, Any] = {"telegram_id": "1", "name": "Ana", "primary_role": "developer"}
SELECT_IDS = "SELECT id FROM directory_audit_log ORDER BY id"
FOLLOWER_SESSION = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND query ILIKE '%newest_id%' AND pid <> pg_backend_pid()
"""
COUNT = "UPDATE community_members SET organization = organization::int + 1 WHERE member_id = $1"


@pytest.fixture(autouse=True)
def short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let followers look more often than each second."""
    monkeypatch.setattr(feed, "POLL_INTERVAL_SECONDS", 0.1)
    monkeypatch.setattr(feed, "LOCK_INTERVAL_SECONDS", 0.1)


class Reader:
    """A program that follows the changes for one consumer, and can be killed."""

    def __init__(self, consumer: str, after: int | datetime | None = None) -> None:
        self.told: list[Change] = []
        self.task = asyncio.create_task(self._read(consumer, after))

    async def _read(self, consumer: str, after: int | datetime | None) -> None:
        async with aclosing(audit.follow(consumer, after=after)) as changes:
            async for change in changes:
                self.told.append(change)

    @property
    def ids(self) -> list[int]:
        return [change.id for change in self.told]

    async def has(self, *ids: int) -> None:
        """Wait until these changes were told."""
        await until(lambda: self.task.done() or set(ids) <= set(self.ids))
        assert set(ids) <= set(self.ids)

    async def kill(self) -> None:
        self.task.cancel()
        await asyncio.wait({self.task}, timeout=10)
        assert self.task.done()
        if not self.task.cancelled():
            self.task.result()


@asynccontextmanager
async def following(consumer: str, after: int | datetime | None = 0) -> AsyncIterator[Reader]:
    """Follow the changes during the block; by default all of the log."""
    reader = Reader(consumer, after)
    try:
        yield reader
    finally:
        await reader.kill()


async def is_known(consumer: str) -> bool:
    return consumer in {each.name for each in await audit.consumers()}


async def newest_id(database: asyncpg.Pool) -> int:
    return int(await database.fetchval("SELECT max(id) FROM directory_audit_log"))


# What is told


async def test_a_new_consumer_begins_with_what_is_written_from_now_on(
    directory: asyncpg.Pool,
) -> None:
    await members.add(**ANA)
    async with following("bot", after=None) as reader:
        await until(lambda: is_known("bot"))
        await members.set_status("#1", "banned", actor="Luis", reason="spam")
        await reader.has(2)
    (change,) = reader.told
    assert change.kind is ChangeKind.MEMBER_BANNED
    assert (change.member_id, change.actor, change.reason) == ("#1", "Luis", "spam")
    assert change.changes == {"status": ["not_member", "banned"]}
    assert change.action is AuditAction.UPDATE
    assert change.invitation_id is None


async def test_a_new_consumer_of_an_empty_log_is_told_the_first_change(
    directory: asyncpg.Pool,
) -> None:
    async with following("bot", after=None) as reader:
        await until(lambda: is_known("bot"))
        await rows.member(directory)
        await reader.has(1)


async def test_a_new_consumer_may_begin_at_an_id_or_a_time(directory: asyncpg.Pool) -> None:
    for number in range(1, 6):
        await rows.member(directory, telegram_id=str(number))
    [(at,)] = await directory.fetch("SELECT changed_at FROM directory_audit_log WHERE id = 3")
    for name, after, expected in (
        ("all", 0, [1, 2, 3, 4, 5]),
        ("id", 2, [3, 4, 5]),
        ("time", at, [4, 5]),
        ("past", at - timedelta(days=1), [1, 2, 3, 4, 5]),
    ):
        async with following(name, after) as reader:
            await reader.has(5)
            assert reader.ids == expected
    async with following("future", datetime.now(UTC) + timedelta(days=1)):
        await until(lambda: is_known("future"))
    assert {each.name: each.last_id for each in await audit.consumers()}["future"] == 5


async def test_a_consumer_that_begins_at_a_time_misses_no_change_that_commits_late(
    directory: asyncpg.Pool,
) -> None:
    before = datetime.now(UTC) - timedelta(hours=1)
    async with directory.acquire() as writer:
        transaction = writer.transaction()
        await transaction.start()
        await rows.member(writer)
        await rows.member(directory, telegram_id="77")
        async with following("bot", after=before) as reader:
            await until(lambda: has_looked_for_writers(directory))
            await transaction.commit()
            await reader.has(2)
    assert reader.ids == [1, 2]


async def has_looked_for_writers(database: asyncpg.Pool) -> bool:
    found = """
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND query LIKE $1 AND pid <> pg_backend_pid()
    """
    return bool(await database.fetch(found, "%pg_locks%"))


async def test_a_known_consumer_continues_at_its_place(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await rows.member(directory)
    async with following("bot") as first:
        await first.has(2)
    # The change that the loop had not finished is told again, and none before.
    async with aclosing(audit.follow("other", after=0)) as changes:
        await anext(changes)
        await anext(changes)
    for after in (0, None):
        async with following("other", after) as second:
            await second.has(2)
            await until(lambda: has_place("other", 2))
        assert second.ids == [2]
        await directory.execute("UPDATE directory_audit_consumers SET last_id = 1")


async def test_a_change_is_confirmed_when_the_next_one_is_asked_for(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    async with following("bot") as reader:
        await reader.has(1)
        await until(lambda: has_place("bot", 1))


async def test_a_reader_that_is_late_moves_no_place_back(directory: asyncpg.Pool) -> None:
    for _ in range(3):
        await rows.member(directory)
    async with aclosing(audit.follow("bot", after=0)) as changes:
        await anext(changes)
        # Another reader, which the server has let in, is further.
        await directory.execute("UPDATE directory_audit_consumers SET last_id = 3")
        await anext(changes)
        assert await has_place("bot", 3)


async def has_place(consumer: str, last_id: int) -> bool:
    return {each.name: each.last_id for each in await audit.consumers()}.get(consumer) == last_id


async def test_every_consumer_is_told_everything(directory: asyncpg.Pool) -> None:
    async with following("bot") as first, following("mail") as second:
        await rows.member(directory)
        await first.has(1)
        await second.has(1)
    assert [each.name for each in await audit.consumers()] == ["bot", "mail"]


async def test_each_kind_of_change_is_told(directory: asyncpg.Pool) -> None:
    await rows.member(directory, status="active", telegram_id="900")
    await directory.execute(
        "INSERT INTO member_permissions (id, member_id, permission)"
        " VALUES (gen_random_uuid(), '#1', 'manage')"
    )
    by: dict[str, Any] = {"actor": "Luis"}
    made = await invitations.create(created_by="#1")
    await invitations.extend(made.invitation_code, valid_for=timedelta(days=5))
    await invitations.redeem(made.invitation_code, **ANA)
    await members.set_status("#2", "not_member", **by)
    second = await invitations.create(created_by="#1")
    await invitations.redeem(second.invitation_code, **ANA)
    for kind in ("decline", "approve"):
        act = await acts.apply(kind, ["#2"], **by)
        await acts.undo(act.id, **by)
    await members.set_status("#2", "active", **by)
    await members.update_profile("#2", country="Chile")
    await directory.execute(
        "UPDATE community_members SET reputation_score = 900 WHERE member_id = '#2'"
    )
    await directory.execute(
        "UPDATE community_members SET reputation_score = 1 WHERE member_id = '#2'"
    )
    await permissions.grant("#2", "review", actor="Luis")
    await permissions.revoke("#2", "review", actor="Luis")
    await accounts.link("#2", "discord", "5", **by)
    await accounts.unlink("discord", "5", **by)
    await members.set_status("#2", "suspended", **by)
    until = datetime.now(UTC) + timedelta(days=1)
    await members.set_status("#2", "suspended", until=until, **by)
    note = await notes.add("#2", "Met in Oaxaca.", **by)
    await notes.remove(note.id, **by)
    await members.set_status("#2", "active", **by)
    await members.set_status("#2", "banned", **by)
    await members.set_status("#2", "active", **by)
    await members.remove("#2", **by)
    await members.restore("#2", **by)
    third = await invitations.create(created_by="#1")
    await invitations.cancel(third.invitation_code)
    fourth = await invitations.create(created_by="#1")
    await directory.execute(
        "UPDATE community_invitations SET created_at = now() - interval '2 days',"
        " expires_at = now() - interval '1 day' WHERE invitation_id = $1",
        fourth.invitation_id,
    )
    await invitations.expire_overdue()
    await members.add(telegram_id="3", name="Ana", primary_role="developer")
    await members.merge("#3", into="#2", **by)
    await members.unmerge("#3", **by)
    await members.erase("#3", **by)

    async with following("bot") as reader:
        await reader.has(await newest_id(directory))
    told = [change.kind.value for change in reader.told]
    assert set(told) == set(ChangeKind)
    other = [each.table_name for each in reader.told if each.kind is ChangeKind.OTHER]
    assert set(other) == {"member_accounts"}  # they went to another member, and came back
    of_ana = [
        change.kind.value
        for change in reader.told
        if change.member_id == "#2" and change.table_name == "community_members"
    ]
    assert of_ana[:18] == [
        "member_joined",
        "member_declined",
        "member_joined",
        "member_declined",
        "member_undeclined",
        "member_approved",
        "member_unapproved",
        "member_approved",
        "profile_changed",
        "tier_reached",
        "tier_lost",
        "member_suspended",
        "suspension_changed",
        "member_reinstated",
        "member_banned",
        "member_unbanned",
        "member_removed",
        "member_restored",
    ]
    redeemed = [each for each in reader.told if each.kind is ChangeKind.INVITATION_REDEEMED]
    assert redeemed[0].invitation_id == made.invitation_id
    assert redeemed[0].changes["accepted_by"] == [None, "#2"]


async def test_an_erased_member_has_no_personal_data_in_the_feed(
    directory: asyncpg.Pool,
) -> None:
    await members.add(**{**ANA, "name": "Ana Personal"}, organization="Private", reason="Secret")
    await members.update_profile("#1", country="Atlantis")
    async with aclosing(audit.follow("bot", after=0)) as changes:
        first = await anext(changes)
        # It is not read before it is asked for, so the next one is that of after the erasure.
        await members.erase("#1", actor="Luis", reason="asked")
        later = [await anext(changes) for _ in range(3)]
    assert first.changes["name"] == [None, "Ana Personal"]
    assert later[0].kind is ChangeKind.PROFILE_CHANGED
    assert later[-1].kind is ChangeKind.MEMBER_ERASED
    for word in ("Personal", "Private", "Secret", "Atlantis"):
        assert word not in repr(later)


# Nothing missed, nothing too early


async def test_a_change_is_not_told_before_it_is_committed(directory: asyncpg.Pool) -> None:
    async with directory.acquire() as writer, following("bot") as reader:
        transaction = writer.transaction()
        await transaction.start()
        await rows.member(writer)
        await rows.member(directory, telegram_id="77")  # committed, with a higher id
        await until(lambda: is_known("bot"))
        await asyncio.sleep(3 * feed.MAX_WRITER_WAIT_SECONDS)  # it would be told by now
        assert reader.ids == []
        await transaction.commit()
        await reader.has(1, 2)
        assert reader.ids == [1, 2]


async def test_a_transaction_that_is_rolled_back_holds_nothing_back_for_ever(
    directory: asyncpg.Pool,
) -> None:
    async with directory.acquire() as writer, following("bot") as reader:
        transaction = writer.transaction()
        await transaction.start()
        await rows.member(writer)
        await rows.member(directory, telegram_id="77")
        await transaction.rollback()
        await reader.has(2)
    assert reader.ids == [2]


async def test_a_transaction_that_writes_no_change_holds_nothing_back(
    directory: asyncpg.Pool,
) -> None:
    async with directory.acquire() as writer, writer.transaction(), following("bot") as reader:
        await writer.execute("SELECT pg_current_xact_id()")
        await writer.execute("SELECT FROM directory_audit_log FOR SHARE")
        await rows.member(directory)
        await reader.has(1)


async def test_an_entry_with_a_lower_id_that_commits_late_is_told(
    directory: asyncpg.Pool,
) -> None:
    """The writer takes its id before its transaction has an id: no snapshot knows of it."""
    insert = """
    INSERT INTO directory_audit_log (id, actor, action, table_name, row_id, member_id, changes)
    SELECT $1, 'test', 'UPDATE', 'other', gen_random_uuid(), '#1', '{}' FROM pg_sleep($2)
    """
    async with directory.acquire() as slow, following("bot") as reader:
        late = asyncio.create_task(slow.execute(insert, 1, 0.4))
        await until(lambda: holds_lock(directory))
        await directory.execute(insert, 2, 0.0)
        await reader.has(1, 2)
        await late
    assert reader.ids == [1, 2]


async def test_what_is_committed_while_changes_are_told_is_not_told_too_early(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    await rows.member(directory)
    async with (
        directory.acquire() as writer,
        aclosing(audit.follow("bot", after=0)) as changes,
    ):
        told = [(await anext(changes)).id]
        transaction = writer.transaction()
        await transaction.start()
        await rows.member(writer)
        await rows.member(directory, telegram_id="77")
        told.append((await anext(changes)).id)
        third = asyncio.create_task(anext(changes))
        await until(lambda: has_place("bot", 2))
        await transaction.commit()
        told += [(await third).id, (await anext(changes)).id]
    assert told == [1, 2, 3, 4]


async def holds_lock(database: asyncpg.Pool) -> bool:
    found = f"SELECT EXISTS (SELECT FROM pg_locks WHERE {feed.IS_WRITER})"
    return bool(await database.fetchval(found))


class CountingWriters:
    """Writers that count members up, so that a member's changes are a chain from old to new."""

    def __init__(self, url: str, chance: random.Random) -> None:
        self._url, self._chance = url, chance

    async def run(self, number_of_writers: int, transactions: int) -> None:
        pool = await asyncpg.create_pool(self._url, min_size=0, max_size=number_of_writers)
        async with pool, asyncio.TaskGroup() as group:
            for _ in range(number_of_writers):
                group.create_task(self._write(pool, transactions))

    async def _write(self, pool: asyncpg.Pool, transactions: int) -> None:
        async with pool.acquire() as connection:
            for _ in range(transactions):
                await self._count(connection)

    async def _count(self, connection: "PoolConnectionProxy[asyncpg.Record]") -> None:
        transaction = connection.transaction()
        await transaction.start()
        if self._chance.random() < 0.5:  # the transaction is older than what it writes
            await connection.execute("SELECT pg_current_xact_id()")
            await self._pause()
        await connection.execute(COUNT, f"#{self._chance.randint(1, 8)}")
        await self._pause()
        if self._chance.random() < 0.2:
            await transaction.rollback()
        else:
            await transaction.commit()

    async def _pause(self) -> None:
        await asyncio.sleep(self._chance.random() ** 4 * 0.1)


def assert_complete(told: list[Change], all_ids: list[int], *, repeats: int) -> None:
    """Assert that every change was told, in order for each member, with so many repeats at most."""
    first_ids = list(dict.fromkeys(change.id for change in told))
    assert first_ids == all_ids
    assert len(told) - len(first_ids) <= repeats
    counts: defaultdict[str, list[str]] = defaultdict(lambda: ["0"])
    told_first = {change.id: change for change in reversed(told)}
    for id_ in first_ids:
        change = told_first[id_]
        if "organization" in change.changes and change.action is AuditAction.UPDATE:
            before, after = change.changes["organization"]
            assert counts[change.member_id][-1] == before
            counts[change.member_id].append(after)


async def add_counted_members(database: rows.Database) -> None:
    for number in range(1, 9):
        await rows.member(database, telegram_id=str(number), organization="0")


async def test_fifty_writers_and_a_follower_that_dies_at_random_miss_nothing(
    directory: asyncpg.Pool, directory_url: str
) -> None:
    chance = random.Random(17)
    await add_counted_members(directory)
    writing = asyncio.create_task(CountingWriters(directory_url, chance).run(50, 4))
    told: list[Change] = []
    deaths = 0
    while not writing.done():
        reader = Reader("bot", after=0)
        await asyncio.sleep(chance.random() * 0.2)
        await reader.kill()
        told += reader.told
        deaths += 1
    await writing
    newest = await newest_id(directory)
    async with following("bot") as reader:
        await until(lambda: has_place("bot", newest))
    told += reader.told
    all_ids = [row["id"] for row in await directory.fetch(SELECT_IDS)]
    assert_complete(told, all_ids, repeats=deaths)


# Being woken, and being lost


async def test_a_notification_wakes_the_follower(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "POLL_INTERVAL_SECONDS", 600)
    async with following("bot") as reader:
        await until(lambda: is_idle("bot"))
        await rows.member(directory)
        await reader.has(1)


async def is_idle(consumer: str) -> bool:
    """Return whether the follower has found nothing, and waits."""
    return any(
        each.name == consumer and each.caught_up_at is not None and each._final_id is None
        for each in feed.open_followers
    )


async def test_a_change_without_a_notification_is_found(
    directory: asyncpg.Pool,
) -> None:
    async with directory.acquire() as other, following("bot") as reader:
        # Somebody else is about to notify, and does not.
        await other.execute("SELECT pg_advisory_lock(1717921124)")
        await rows.member(directory)
        await reader.has(1)
        await other.execute("SELECT pg_advisory_unlock(1717921124)")


async def test_writers_do_not_wait_for_each_others_notifications(
    directory: asyncpg.Pool,
) -> None:
    async with directory.acquire() as first, directory.acquire() as second, first.transaction():
        await rows.member(first)
        held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 1717921124"
        assert await first.fetchval(held) == 1
        async with second.transaction():
            await rows.member(second, telegram_id="77")
            assert await second.fetchval(held) == 1


async def test_a_follower_whose_connection_is_killed_continues(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "POLL_INTERVAL_SECONDS", 600)  # the end of the connection wakes it
    async with following("bot") as reader:
        for number in range(1, 4):
            await until(lambda: is_idle("bot"))
            await rows.member(directory, telegram_id=str(number))
            await reader.has(number)
            await until(partial(has_place, "bot", number))
            killed = f"SELECT pg_terminate_backend(pid, 5000) FROM ({FOLLOWER_SESSION}) AS found"
            assert await directory.fetch(killed)
        await rows.member(directory, telegram_id="4")
        await reader.has(4)
    assert reader.ids == [1, 2, 3, 4]


async def test_a_server_that_does_not_answer_is_noticed(
    directory_url: str, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = Proxy(app_url(directory_url))
    monkeypatch.setattr(feed, "call_limit", lambda: 0.3)
    async with proxy.running() as url:
        monkeypatch.setitem(engine.config, "dsn", url)
        async with following("bot") as reader:
            await until(lambda: is_idle("bot"))
            proxy.freeze(new=False)
            await rows.member(directory)
            await reader.has(1)


async def test_one_of_two_followers_reads_and_the_other_one_takes_over(
    directory: asyncpg.Pool,
) -> None:
    async with following("bot") as first:
        await until(lambda: is_idle("bot"))
        async with following("bot") as second:
            await rows.member(directory)
            await first.has(1)
            await until(lambda: has_place("bot", 1))
            await asyncio.sleep(1.5 * feed.LOCK_INTERVAL_SECONDS)  # it has tried again
            assert second.ids == []
            await first.kill()
            await rows.member(directory, telegram_id="77")
            await second.has(2)
            assert second.ids == [2]
    assert first.ids == [1]


async def test_a_cancelled_follower_ends_at_once_and_leaves_no_session(
    directory: asyncpg.Pool,
) -> None:
    async with following("bot") as reader:
        await until(lambda: is_idle("bot"))
        (follower,) = feed.open_followers
        began = time.monotonic()
        await reader.kill()
        assert time.monotonic() - began < 5
    assert feed.open_followers == set()
    assert follower._connection is None  # it was not left to the garbage collector
    await until(lambda: has_no_session(directory))


async def has_no_session(database: asyncpg.Pool) -> bool:
    return not await database.fetch(FOLLOWER_SESSION)


async def test_a_follower_ends_when_the_pool_is_closed(database: str) -> None:
    async with connect(app_url(database), min_size=0):
        reader = Reader("bot")
        await until(lambda: is_idle("bot"))
    await asyncio.wait({reader.task}, timeout=10)
    with pytest.raises(NotConnected):
        reader.task.result()


async def test_a_follower_needs_a_pool_and_a_schema(empty_database: str) -> None:
    with pytest.raises(NotConnected):
        await anext(audit.follow("bot"))
    async with connect(empty_database, min_size=0):
        with pytest.raises(SchemaMissing):
            await anext(audit.follow("bot"))


@pytest.mark.parametrize("name", ["", "Bot", "a b", "1st", "a" * 64, "bot\n"])
async def test_a_name_of_another_form_is_refused(directory: asyncpg.Pool, name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await anext(audit.follow(name))
    assert refused.value.field == "consumer"


@pytest.mark.parametrize("after", [-1, 2**63, True, "1", datetime(2026, 1, 1)])  # noqa: DTZ001
async def test_a_start_that_is_no_id_and_no_time_is_refused(
    directory: asyncpg.Pool, after: Any
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await anext(audit.follow("bot", after=after))
    assert refused.value.field == "after"


async def test_a_follower_that_was_woken_waits_again(directory: asyncpg.Pool) -> None:
    async with following("bot") as reader:
        await rows.member(directory)
        await reader.has(1)
        await until(lambda: is_idle("bot"))
        (follower,) = feed.open_followers
        await until(lambda: not follower._woken.is_set())


# Consumers


async def test_the_lag_of_a_consumer_is_shown_by_its_reader(directory: asyncpg.Pool) -> None:
    registry = Metrics().registry

    def lag() -> float | None:
        return registry.get_sample_value("directory_feed_lag_seconds", {"consumer": "bot"})

    assert lag() is None
    await rows.member(directory)
    async with aclosing(audit.follow("bot", after=0)) as changes:
        await anext(changes)
        reader, before = next(iter(feed.open_followers)), lag()
        async with following("bot"):
            await until(lambda: len(feed.open_followers) == 2)
            (waiting,) = feed.open_followers - {reader}
            await until(lambda: waiting._connection is not None)
            assert waiting.caught_up_at is None
            after = lag()
        assert before is not None
        assert after is not None
        assert before < after
    async with following("bot"):
        await until(lambda: is_idle("bot"))
        caught_up = lag()
        assert caught_up is not None
        assert caught_up < after


async def test_a_reader_that_has_lost_its_consumer_shows_no_lag(directory: asyncpg.Pool) -> None:
    async with following("bot"), directory.acquire() as thief:
        await until(lambda: is_idle("bot"))
        (follower,) = feed.open_followers
        await thief.fetch(
            "SELECT pg_terminate_backend(pid, 5000),"
            f" pg_advisory_lock(hashtextextended('bot', 1717921124)) FROM ({FOLLOWER_SESSION}) AS f"
        )
        await until(lambda: follower.caught_up_at is None)
        await thief.execute("SELECT pg_advisory_unlock_all()")
        await until(lambda: is_idle("bot"))


async def test_a_consumer_shows_since_when_changes_wait_for_it(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await rows.member(directory, telegram_id="77")
    async with aclosing(audit.follow("bot", after=0)) as changes:
        await anext(changes)
        await anext(changes)
    [(at,)] = await directory.fetch("SELECT changed_at FROM directory_audit_log WHERE id = 2")
    assert await audit.consumers() == [audit.Consumer("bot", 1, at)]
    async with following("bot"):
        await until(lambda: has_place("bot", 2))
    assert await audit.consumers() == [audit.Consumer("bot", 2, None)]


async def test_a_consumer_is_forgotten_unless_it_is_followed(directory: asyncpg.Pool) -> None:
    assert await audit.forget_consumer("bot") is False
    async with following("bot"):
        await until(lambda: is_idle("bot"))
        with pytest.raises(ConsumerInUse) as refused:
            await audit.forget_consumer("bot")
        assert refused.value.consumer == "bot"
    await until(lambda: has_no_session(directory))
    assert await audit.forget_consumer("bot") is True
    assert await audit.consumers() == []


# Copies


async def restore_copy(url: str, target: str) -> None:
    """Restore what pg_dump writes of a database into an empty one, perhaps of another server."""
    options = ("--inserts", "--no-owner", "--no-privileges", f"--dbname={url}")
    code, dumped = await run(await pg_dump_of(url), *options)
    assert code == 0, dumped
    # The commands of psql are left out.
    script = "\n".join(line for line in dumped.splitlines() if not line.startswith("\\"))
    async with superuser_session(target) as session:
        await session.execute(script)


async def test_a_restored_directory_tells_what_was_not_told(database: str, server: Server) -> None:
    async with connect(database, min_size=0), raw_pool(database) as pool:
        await add_counted_members(pool)
        async with aclosing(audit.follow("bot", after=0)) as changes:
            told = [await anext(changes) for _ in range(4)]
    async with new_database(server) as url:
        await restore_copy(database, url)
        async with connect(url, min_size=0), raw_pool(url) as pool:
            await rows.member(pool, telegram_id="77")
            async with following("bot", after=None) as reader:
                await reader.has(9)
    assert_complete([*told, *reader.told], [*range(1, 10)], repeats=1)
