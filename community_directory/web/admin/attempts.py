"""How often somebody may guess at a password or a code, counted in the database for all workers."""

import hashlib
import ipaddress
from datetime import timedelta
from typing import NamedTuple, Self

from starlette.exceptions import HTTPException
from starlette.requests import Request

from community_directory.database import engine, transaction


class Limit(NamedTuple):
    """How many failures there may be within a time, which begins anew when the last one is reached."""

    failures: int
    period: timedelta


PER_ADDRESS = Limit(20, timedelta(minutes=15))
PER_ACCOUNT = Limit(10, timedelta(minutes=5))
"""Not for an address that the account has signed in from: who only knows a name can't lock its owner out."""
KNOWN_FOR = timedelta(days=30)

_COUNT = """
INSERT INTO public.panel_attempts AS stored (key, failures, ends) VALUES ($1, 1, clock_timestamp() + $3)
ON CONFLICT (key) DO UPDATE SET
    failures = CASE WHEN stored.ends <= clock_timestamp() THEN 1 ELSE stored.failures + 1 END,
    ends = CASE
        WHEN stored.ends <= clock_timestamp() OR stored.failures + 1 = $2 THEN clock_timestamp() + $3
        ELSE stored.ends
    END
WHERE stored.ends <= clock_timestamp() OR stored.failures < $2
RETURNING 1
"""
_SECONDS_LEFT = """
SELECT ceil(extract(epoch FROM ends - clock_timestamp()))::integer FROM public.panel_attempts WHERE key = $1
"""
_FORGIVE = (
    "UPDATE public.panel_attempts SET failures = failures - 1 WHERE key = $1 AND failures > 0"
)
_IS_KNOWN = "SELECT 1 FROM public.panel_attempts WHERE key = $1 AND ends > clock_timestamp()"
_REMEMBER = """
INSERT INTO public.panel_attempts (key, failures, ends) VALUES ($1, 0, clock_timestamp() + $2)
ON CONFLICT (key) DO UPDATE SET ends = excluded.ends
"""
# Rows that somebody else holds are left to the next time: nobody waits for a lock here while holding one.
_FORGET = """
DELETE FROM public.panel_attempts WHERE key IN
    (SELECT key FROM public.panel_attempts WHERE ends <= clock_timestamp() FOR UPDATE SKIP LOCKED)
"""


class Attempt:
    """One guess at a password or code. It counts as a failure until it is forgiven, so that many at once all count.

    The counts lie in the database: one for all workers, and a restart forgives nothing.
    """

    def __init__(self, request: Request, username: str) -> None:
        address = _address(request)
        self._known = _digest("known", username, address)
        self._account = _digest("account", username)
        self._limits = {_digest("address", address): PER_ADDRESS, self._account: PER_ACCOUNT}

    @classmethod
    async def begin(cls, request: Request, username: str) -> Self:
        """Count it. Raises the answer 429 after too many failures of the account or from the address."""
        attempt = cls(request, username)
        if await engine.fetch(_IS_KNOWN, attempt._known):
            del attempt._limits[attempt._account]
        async with transaction():
            for key, limit in sorted(
                attempt._limits.items()
            ):  # in one order, or two would wait for each other
                if not await engine.fetch(_COUNT, key, *limit):
                    seconds = (await engine.fetch(_SECONDS_LEFT, key))[0][0]
                    raise _too_many(max(1, seconds))
        return attempt

    async def forgive(self) -> None:
        """Don't count it: the guess was right."""
        for key in self._limits:
            await engine.fetch(_FORGIVE, key)

    async def remember(self) -> None:
        """From now on this address is one that the account signs in from."""
        await engine.fetch(_REMEMBER, self._known, KNOWN_FOR)
        await engine.fetch(_FORGET)


def _too_many(seconds: int) -> HTTPException:
    minutes = -(-seconds // 60)
    sentence = (
        f"Too many failed attempts: try again in {minutes} minute{'s' if minutes > 1 else ''}."
    )
    return HTTPException(429, sentence, headers={"Retry-After": str(seconds)})


def _digest(*parts: str) -> bytes:
    """What is stored instead of a name (some type their password there) and an address."""
    return hashlib.sha256("\0".join(parts).encode()).digest()


def _address(request: Request) -> str:
    """Where the request comes from; one customer's whole network in IPv6, which has addresses without end."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(getattr(address, "ipv4_mapped", None) or address)
