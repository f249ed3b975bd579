"""The limit on failed sign-ins: attempts are counted in the database, for all workers together."""

import hashlib
import ipaddress
from datetime import timedelta
from typing import NamedTuple, Self

from starlette.exceptions import HTTPException
from starlette.requests import Request

from community_directory.database import Statement, engine, transaction


class AttemptLimit(NamedTuple):
    """The number of failures that is allowed within a period.

    The failure that reaches the limit starts the period again: nobody can try until it is over.
    """

    failures: int
    period: timedelta


ADDRESS_LIMIT = AttemptLimit(20, timedelta(minutes=15))
ACCOUNT_LIMIT = AttemptLimit(10, timedelta(minutes=5))
"""The limit does not apply to an address from which the account has signed in before.

Otherwise anybody who knows a username could lock its owner out.
"""
KNOWN_ADDRESS_LIFETIME = timedelta(days=30)

# The statement returns no row when the limit was reached before.
COUNT_FAILURE = Statement(
    """
    INSERT INTO public.panel_attempts AS stored (key, failures, ends)
    VALUES (:key, 1, clock_timestamp() + :period)
    ON CONFLICT (key) DO UPDATE SET
        failures = CASE WHEN stored.ends <= clock_timestamp() THEN 1 ELSE stored.failures + 1 END,
        ends = CASE
            WHEN stored.ends <= clock_timestamp() OR stored.failures + 1 = :limit
            THEN clock_timestamp() + :period
            ELSE stored.ends
        END
    WHERE stored.ends <= clock_timestamp() OR stored.failures < :limit
    RETURNING 1
    """
)
GET_SECONDS_LEFT = Statement(
    """
    SELECT ceil(extract(epoch FROM ends - clock_timestamp()))::integer AS seconds
    FROM public.panel_attempts WHERE key = :key
    """
)
DISCARD_FAILURE = Statement(
    "UPDATE public.panel_attempts SET failures = failures - 1 WHERE key = :key AND failures > 0"
)
FIND_KNOWN_ADDRESS = Statement(
    "SELECT 1 FROM public.panel_attempts WHERE key = :key AND ends > clock_timestamp()"
)
STORE_KNOWN_ADDRESS = Statement(
    """
    INSERT INTO public.panel_attempts (key, failures, ends)
    VALUES (:key, 0, clock_timestamp() + :lifetime)
    ON CONFLICT (key) DO UPDATE SET ends = excluded.ends
    """
)
# Locked rows are skipped, so that no sign-in waits for a lock while it holds another.
DELETE_EXPIRED_ATTEMPTS = """
DELETE FROM public.panel_attempts WHERE key IN
    (SELECT key FROM public.panel_attempts WHERE ends <= clock_timestamp() FOR UPDATE SKIP LOCKED)
"""


class Attempt:
    """One attempt to guess a password or a code.

    It counts as a failure until it is discarded, so that simultaneous attempts all count. The
    counts are stored in the database and survive a restart.
    """

    def __init__(self, request: Request, username: str) -> None:
        address = _client_network(request)
        self._known_address = _digest("known", username, address)
        self._account = _digest("account", username)
        self._limits = {_digest("address", address): ADDRESS_LIMIT, self._account: ACCOUNT_LIMIT}

    @classmethod
    async def begin(cls, request: Request, username: str) -> Self:
        """Count an attempt.

        Raises:
            HTTPException: The account or the address has failed too often (429).
        """
        attempt = cls(request, username)
        if await engine.fetch(FIND_KNOWN_ADDRESS, key=attempt._known_address):
            del attempt._limits[attempt._account]
        async with transaction():
            # Rows are locked in the order of their keys: two transactions could otherwise wait
            # for each other.
            for key, (failures, period) in sorted(attempt._limits.items()):
                if not await engine.fetch(COUNT_FAILURE, key=key, limit=failures, period=period):
                    records = await engine.fetch(GET_SECONDS_LEFT, key=key)
                    raise _too_many_attempts(max(1, records[0]["seconds"]))
        return attempt

    async def discard(self) -> None:
        """Remove the attempt from the counts, because it was not a wrong guess."""
        for key in self._limits:
            await engine.fetch(DISCARD_FAILURE, key=key)

    async def remember_address(self) -> None:
        """Store that the account has signed in from this address."""
        await engine.fetch(
            STORE_KNOWN_ADDRESS, key=self._known_address, lifetime=KNOWN_ADDRESS_LIFETIME
        )
        await engine.fetch(DELETE_EXPIRED_ATTEMPTS)


def _too_many_attempts(seconds: int) -> HTTPException:
    minutes = -(-seconds // 60)
    wait = f"{minutes} minute{'s' if minutes > 1 else ''}"
    return HTTPException(
        429,
        f"Too many failed attempts. Try again in {wait}.",
        headers={"Retry-After": str(seconds)},
    )


def _digest(*parts: str) -> bytes:
    """Return a hash, which is stored instead of an address and a username.

    People sometimes type their password into the field for the username.
    """
    return hashlib.sha256("\0".join(parts).encode()).digest()


def _client_network(request: Request) -> str:
    """Return the client's IPv4 address or IPv6 /64 network.

    A customer of an internet provider has a whole IPv6 network, whose addresses never run out.
    """
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(getattr(address, "ipv4_mapped", None) or address)
