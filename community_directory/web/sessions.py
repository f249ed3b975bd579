"""The sessions of the pages: who is signed in, and in which role."""

from datetime import datetime
from typing import NamedTuple

from community_directory.database import Statement, engine
from community_directory.web import visits
from community_directory.web.security import SESSION_EXTENSION, SESSION_MAX_AGE

SESSION_COOKIE = "id"

# Piccolo stores the times of sessions without a time zone, by the clock of the program.
FIND_SIGNED_IN = Statement(
    """
    SELECT person.id AS user_id, username,
        CASE
            WHEN admin AND superuser THEN 'superuser'
            WHEN admin THEN 'manager'
            WHEN EXISTS (SELECT FROM public.panel_viewers WHERE user_id = person.id) THEN 'viewer'
        END AS role,
        expiry_date < :now::timestamp + :extension::interval AS ends_soon,
        NOT EXISTS (
            SELECT FROM public.panel_visits
            WHERE user_id = person.id AND seen_at > now() - :write_interval::interval
        ) AS is_visit_old
    FROM public.sessions JOIN public.piccolo_user AS person ON person.id = sessions.user_id
    WHERE token = :token AND active
        AND expiry_date > :now::timestamp AND max_expiry_date > :now::timestamp
    """
)
# Of several requests at the same time, one extends the session.
EXTEND_SESSION = Statement(
    """
    UPDATE public.sessions SET expiry_date = expiry_date + :extension
    WHERE token = :token AND expiry_date < :now::timestamp + :extension::interval
    """
)
FIND_USER_OF_SESSION = Statement("SELECT user_id FROM public.sessions WHERE token = :token")
END_SESSION = Statement("DELETE FROM public.sessions WHERE token = :token")
END_SESSIONS = Statement("DELETE FROM public.sessions WHERE user_id = :user_id")
LIST_SESSIONS = Statement(
    """
    SELECT token = :token AS is_this, expiry_date, max_expiry_date FROM public.sessions
    WHERE user_id = :user_id AND expiry_date > :now::timestamp AND max_expiry_date > :now::timestamp
    ORDER BY token = :token DESC, max_expiry_date DESC LIMIT 20
    """
)


class Session(NamedTuple):
    """A session that has not ended."""

    is_this: bool
    """Whether it is that of the browser that asks."""
    started_at: datetime
    ends_at: datetime
    """When it ends without a further request."""


class SignedIn(NamedTuple):
    """Who is signed in."""

    user_id: int
    username: str
    role: str | None
    """"viewer", "manager" or "superuser"; None if the user may not read the pages."""


async def find_signed_in(token: str) -> SignedIn | None:
    """Return who is signed in with the token of a session, or None if it has ended.

    A session that ends soon is extended, and the visit is noted, each at most once in a while.
    """
    if not token.isprintable():  # PostgreSQL stores no NUL
        return None
    # The columns have no time zone.
    now = datetime.now()  # noqa: DTZ005
    records = await engine.fetch(
        FIND_SIGNED_IN,
        token=token,
        now=now,
        extension=SESSION_EXTENSION,
        write_interval=visits.WRITE_INTERVAL,
    )
    if not records:
        return None
    user_id, username, role, ends_soon, is_visit_old = records[0]
    if ends_soon:
        await engine.fetch(EXTEND_SESSION, token=token, now=now, extension=SESSION_EXTENSION)
    if is_visit_old and role:
        await visits.touch(user_id)
    return SignedIn(user_id, username, role)


async def find_user_of_session(token: str) -> int | None:
    """Return the id of the user of a session, which may have expired; None if it is gone."""
    records = await engine.fetch(FIND_USER_OF_SESSION, token=token) if token.isprintable() else []
    return records[0]["user_id"] if records else None


async def end_session(token: str) -> None:
    """Delete a session, so that its token is worth nothing any more."""
    await engine.fetch(END_SESSION, token=token)


async def end_sessions(user_id: int) -> None:
    """Delete all sessions of a user."""
    await engine.fetch(END_SESSIONS, user_id=user_id)


async def list_sessions(user_id: int, token: str) -> list[Session]:
    """Return the sessions of a user, at most 20: the one with the token first, then the newest."""
    now = datetime.now()  # noqa: DTZ005  the columns have no time zone
    records = await engine.fetch(LIST_SESSIONS, user_id=user_id, token=token, now=now)
    return [
        Session(
            is_this,
            (ends_at_last - SESSION_MAX_AGE).astimezone(),
            min(ends_at, ends_at_last).astimezone(),
        )
        for is_this, ends_at, ends_at_last in records
    ]
