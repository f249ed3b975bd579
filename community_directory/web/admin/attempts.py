"""The limits on failed sign-ins: attempts are counted in the database, for all workers together."""

import asyncio
import hashlib
import ipaddress
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple, Self

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from community_directory.database import Statement, engine, transaction
from community_directory.observers import observers
from community_directory.web.admin.hashing import KNOWN_BROWSERS, UNKNOWN_BROWSERS, HashingQueue


class AttemptLimit(NamedTuple):
    """The number of failures that is allowed within a period.

    The failure that reaches the limit starts the period again: nobody can try until it is over.
    """

    failures: int
    period: timedelta


ADDRESS_LIMIT = AttemptLimit(20, timedelta(minutes=15))
BROWSER_LIMIT = AttemptLimit(10, timedelta(minutes=5))
"""The limit of an account in a browser that it signed in from before, instead of the others."""
CODE_LIMIT = AttemptLimit(10, timedelta(minutes=5))
"""The limit on codes of the second factor. Only somebody with the right password can reach it."""
ACCOUNT_LIMIT = AttemptLimit(2**31 - 1, timedelta(minutes=15))
"""An account is never blocked: anybody who knows a username could lock its owner out."""

UNDELAYED_FAILURES = 10
"""The number of failures of an account within its period after which further attempts wait."""
MAX_DELAY_SECONDS = 30

BROWSER_COOKIE = "known_browser"
BROWSER_LIFETIME = timedelta(days=30)

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
    RETURNING failures
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
FIND_KNOWN_BROWSER = Statement(
    "SELECT 1 FROM public.panel_attempts WHERE key = :key AND ends > clock_timestamp()"
)
STORE_KNOWN_BROWSER = Statement(
    """
    INSERT INTO public.panel_attempts (key, failures, ends)
    VALUES (:key, 0, clock_timestamp() + :lifetime)
    ON CONFLICT (key) DO UPDATE SET ends = excluded.ends
    """
)
# Locked rows are skipped, so that no sign-in waits for a lock while it holds another.
# The number is limited, because the sign-in after a flood of guesses waits for the statement.
DELETE_EXPIRED_ATTEMPTS = """
DELETE FROM public.panel_attempts WHERE key = ANY (ARRAY(
    SELECT key FROM public.panel_attempts WHERE ends <= clock_timestamp()
    LIMIT 10000 FOR UPDATE SKIP LOCKED
))
"""


class TooManyAttempts(HTTPException):
    """An account, browser or address has failed too often, and has to wait (429).

    Attributes:
        minutes: The minutes to wait.
    """

    def __init__(self, seconds: int) -> None:
        for observer in observers:
            observer.sign_in_failed("too_many_attempts")
        self.minutes = -(-seconds // 60)
        wait = f"{self.minutes} minute{'s' if self.minutes > 1 else ''}"
        detail = f"Too many failed attempts. Try again in {wait}."
        super().__init__(429, detail, headers={"Retry-After": str(seconds)})


class Attempt:
    """One attempt to guess a password or a code.

    It counts as a failure until it is discarded, so that simultaneous attempts all count. The
    counts are stored in the database and survive a restart.
    """

    queue: HashingQueue = UNKNOWN_BROWSERS
    """The queue in which the attempt waits until its password is hashed."""

    def __init__(self, limits: Mapping[bytes, AttemptLimit]) -> None:
        self._limits = limits

    @classmethod
    async def begin(cls, request: Request, username: str) -> Self:
        """Count an attempt to guess a password, and delay it if the account has failed often.

        The delay applies to the right password, too, because a guess that is answered earlier
        would be a hint. It ends, so nobody can keep the owner of an account out. A browser that
        the account has signed in from has only a limit of its own: somebody else may have failed
        at the same address.

        Raises:
            HTTPException: The address or the known browser has failed too often (429).
        """
        token = request.cookies.get(BROWSER_COOKIE, "")
        if await engine.fetch(FIND_KNOWN_BROWSER, key=_digest("known", username, token)):
            attempt = cls({_digest("browser", username, token): BROWSER_LIMIT})
            attempt.queue = KNOWN_BROWSERS
            await attempt._count()
            return attempt
        account = _digest("account", username)
        address = _digest("address", _client_network(request))
        attempt = cls({account: ACCOUNT_LIMIT, address: ADDRESS_LIMIT})
        failures = await attempt._count()
        await asyncio.sleep(delay_seconds(failures[account]))
        return attempt

    @classmethod
    async def begin_code(cls, user_id: int) -> Self:
        """Count an attempt to guess a code of a user's second factor.

        Raises:
            HTTPException: The account has failed too often (429).
        """
        attempt = cls({_digest("code", str(user_id)): CODE_LIMIT})
        await attempt._count()
        return attempt

    async def _count(self) -> dict[bytes, int]:
        """Count a failure for each limit, and return the numbers of failures."""
        counts = {}
        async with transaction():
            # Rows are locked in the order of their keys: two transactions could otherwise wait
            # for each other.
            for key, (failures, period) in sorted(self._limits.items()):
                counted = await engine.fetch(COUNT_FAILURE, key=key, limit=failures, period=period)
                if not counted:
                    records = await engine.fetch(GET_SECONDS_LEFT, key=key)
                    raise TooManyAttempts(max(1, records[0]["seconds"]))
                counts[key] = counted[0]["failures"]
        return counts

    async def discard(self) -> None:
        """Remove the attempt from the counts, because it was not a wrong guess."""
        for key in self._limits:
            await engine.fetch(DISCARD_FAILURE, key=key)


def delay_seconds(failures: int) -> int:
    """Return how long an attempt waits that may be the account's failure with this number."""
    delayed = failures - UNDELAYED_FAILURES
    if delayed <= 0:
        return 0
    # The exponent is bounded because the count is not.
    return min(1 << min(delayed - 1, 10), MAX_DELAY_SECONDS)


async def remember_browser(request: Request, response: Response, username: str) -> None:
    """Store that the account has signed in from this browser, which a cookie recognizes.

    The cookie is a random token. One browser may have signed in several accounts.
    """
    token = request.cookies.get(BROWSER_COOKIE) or secrets.token_urlsafe()
    await engine.fetch(
        STORE_KNOWN_BROWSER, key=_digest("known", username, token), lifetime=BROWSER_LIFETIME
    )
    await engine.fetch(DELETE_EXPIRED_ATTEMPTS)
    response.set_cookie(
        BROWSER_COOKIE,
        token,
        max_age=int(BROWSER_LIFETIME.total_seconds()),
        httponly=True,
        samesite="strict",
    )


def _digest(*parts: str) -> bytes:
    """Return a hash, which is stored instead of an address, a username and a token.

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
