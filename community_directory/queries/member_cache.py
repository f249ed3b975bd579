"""The members whom `members.seen` has looked up in the last minute, in the memory of the process.

A helper that changes a member, or whose account is whose, calls `forget`.
"""

import asyncio
from collections import OrderedDict
from enum import Enum
from functools import partial
from time import monotonic
from typing import Final, TypeVar
from weakref import WeakKeyDictionary

from community_directory.database import engine
from community_directory.database.pool import ConnectionPool
from community_directory.queries.member_rows import Member

LIFETIME_SECONDS = 60.0
"""The time for which an answer is used again."""
MAX_CACHED = 10_000
"""The maximum number of accounts, and of members, which take about 2 kB each."""


class _Missing(Enum):
    """The type of `MISSING`: an enum, so that type checkers understand `is MISSING`."""

    MISSING = "missing"


MISSING: Final = _Missing.MISSING
"""The account has to be looked up."""

Value = TypeVar("Value")


class MemberCache:
    """Members by their accounts, each for `LIFETIME_SECONDS`.

    Attributes:
        generation: A number that grows with each change of a member. What was looked up before a
            change may be wrong, and is not stored.
        pending: The results of the lookups that are running, by their accounts.
    """

    def __init__(self) -> None:
        self.generation = 0
        self.pending: dict[str, asyncio.Future[Member | None]] = {}
        # Each value has the time of its end. The first one ends first.
        self._numbers: OrderedDict[str, tuple[float, str | None]] = OrderedDict()
        self._members: OrderedDict[str, tuple[float, Member | None]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._numbers)

    def get(self, account: str) -> Member | _Missing | None:
        """Return the member with this account, None if no present member has it, or `MISSING`."""
        found = self._numbers.get(account)
        if found is None or found[0] <= monotonic():
            return MISSING
        if found[1] is None:
            return None
        # The member was stored with the account or later.
        member = self._members.get(found[1])
        return MISSING if member is None else member[1]

    def store(
        self, account: str, number: str | None, member: Member | None, generation: int
    ) -> None:
        """Store whose account this is, unless a member has changed since that generation.

        Args:
            account: The account.
            number: The number of its member; None if nobody has it.
            member: The member; None if nobody has it or the member was removed.
            generation: The generation before the account was looked up.
        """
        if generation != self.generation:
            return
        _add(self._numbers, account, number)
        if number is not None:
            _add(self._members, number, member)

    def forget(self, *keys: str) -> None:
        """Forget accounts and the members with these numbers; without a key, forget everything."""
        self.generation += 1
        if not keys:
            self._numbers.clear()
            self._members.clear()
        for key in keys:
            self._numbers.pop(key, None)
            self._members.pop(key, None)


def _add(values: OrderedDict[str, tuple[float, Value]], key: str, value: Value) -> None:
    """Add a value, and drop those that have ended, or the first ones if there are too many."""
    now = monotonic()
    values[key] = (now + LIFETIME_SECONDS, value)
    values.move_to_end(key)
    while len(values) > MAX_CACHED or next(iter(values.values()))[0] <= now:
        values.popitem(last=False)


_caches: WeakKeyDictionary[ConnectionPool, MemberCache] = WeakKeyDictionary()


def member_cache(pool: ConnectionPool) -> MemberCache:
    """Return the cache of the program's connection to the directory."""
    cache = _caches.get(pool)
    if cache is None:
        cache = _caches[pool] = MemberCache()
    return cache


def forget(*keys: str) -> None:
    """Forget members by their numbers, and accounts, that a call has changed; or everything.

    In a transaction they are forgotten at its end again, because others could have looked them up
    as they were before.
    """
    cache = None if engine.pool is None else _caches.get(engine.pool)
    if cache is None:
        return
    cache.forget(*keys)
    current = engine.find_open_transaction()
    if current is not None:
        current.call_at_end(partial(cache.forget, *keys))
