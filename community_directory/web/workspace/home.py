"""Home: what waits for a manager, and what colleagues did since their last visit."""

import asyncio
import contextlib
import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from starlette.routing import Route

from community_directory.database import Statement, engine
from community_directory.doctor import Verdict, load_last_report
from community_directory.errors import DirectoryError
from community_directory.queries import members
from community_directory.queries.audit import Change
from community_directory.queries.changes import CHANGE_COLUMNS
from community_directory.queries.pages import MAX_PAGE_SIZE
from community_directory.web import visits
from community_directory.web.pages import PageContent, Pages, Visit
from community_directory.web.workspace import newcomers, story
from community_directory.web.workspace.log_entries import MAX_SHOWN, sum_up
from community_directory.web.workspace.story import StoryLine

SHOWN_NEWCOMERS = 6
SHOWN_CHANGES = 8
QUIET_AFTER = timedelta(days=60)
FIRST_VISIT_SHOWS = timedelta(days=7)
"""The time of which somebody sees the changes who was never here."""

MAX_COUNTED = 1000
"""The number after which quiet members and invitations are not counted."""
MAX_CHANGES = 2000
"""The most changes that are read of each colleague."""
SUGGESTIONS_TIMEOUT_SECONDS = 0.04
"""The time for which the page waits for the number of merge suggestions."""
SUGGESTIONS_SHARE = 0.05
"""The largest share of the time for which merge suggestions are counted."""

# The limits stop the counts, which otherwise read all members.
COUNT_TASKS = Statement("""
WITH ending AS (
    SELECT expires_at FROM community_invitations
    WHERE status = 'pending' AND expires_at > now() AND expires_at <= now() + interval '24 hours'
    ORDER BY expires_at LIMIT :max_counted
), requests AS (
    -- both members of a merge may have asked for the same
    SELECT kind, min(asked_at) AS asked_at
    FROM member_requests JOIN community_members AS named USING (member_id)
    GROUP BY kind, coalesce(merged_into, named.member_id)
)
SELECT (SELECT count(*) FROM ending) AS ending, (SELECT min(expires_at) FROM ending) AS first_end,
    (SELECT count(*) FROM requests WHERE kind = 'link') AS link,
    (SELECT min(asked_at) FROM requests WHERE kind = 'link') AS first_link,
    (SELECT count(*) FROM requests WHERE kind = 'erasure') AS erasure,
    (SELECT min(asked_at) FROM requests WHERE kind = 'erasure') AS first_erasure,
    NOT EXISTS (SELECT FROM community_members) AS is_empty
""")
COUNT_QUIET_MEMBERS = Statement("""
SELECT count(*) FROM (
    SELECT FROM community_members
    WHERE status = 'active' AND deleted_at IS NULL AND NOT is_bot
        AND last_active_at < now() - :quiet_after::interval
    LIMIT :max_counted
) AS quiet
""")
ENTRY_COLUMNS = ", ".join(f"entry.{column}" for column in CHANGE_COLUMNS.split(", "))
# Each colleague's changes come from an index of the log, newest first. An act can change thousands
# of members, and must not hide what was done before it.
LIST_CHANGES_OF_COLLEAGUES = Statement(f"""
SELECT {ENTRY_COLUMNS} FROM piccolo_user AS colleague, LATERAL (
    SELECT *, row_number() OVER (PARTITION BY changed_at ORDER BY newest.id DESC) AS place
    FROM (
        SELECT {CHANGE_COLUMNS} FROM directory_audit_log
        WHERE lower(actor) = lower(colleague.username)
            AND changed_at > coalesce(:since::timestamptz, now() - :first_visit_shows::interval)
        ORDER BY changed_at DESC, id DESC LIMIT :max_changes
    ) AS newest
) AS entry
WHERE colleague.id <> :user_id AND place <= :max_of_transaction
ORDER BY changed_at DESC, entry.id DESC
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tasks:
    """The numbers of what waits, and since or until when the first of each does.

    Attributes:
        quiet: The number of active members who were active once, but not in the last 60 days.
        suggestions: The number of merge suggestions; None if it is still being counted.
        is_empty: Whether the directory has no members at all.
    """

    ending: int
    first_end: datetime | None
    quiet: int
    suggestions: int | None
    link: int
    first_link: datetime | None
    erasure: int
    first_erasure: datetime | None
    is_empty: bool

    @property
    def is_clear(self) -> bool:
        """Whether nothing waits."""
        counts = (self.ending, self.quiet, self.suggestions, self.link, self.erasure)
        return all(count == 0 for count in counts)


class SuggestionCounter:
    """Counts the merge suggestions, for which the database compares all members.

    That takes a second for a hundred thousand members. One count runs at a time, and rests after it
    in proportion. Whoever would wait longer than the timeout gets the number of the last one.
    """

    def __init__(self) -> None:
        self._counting: asyncio.Task[None] | None = None
        self._last: int | None = None
        self._next_at = 0.0

    async def get(self) -> int | None:
        """Return the number of suggestions, at most `MAX_PAGE_SIZE`; None before the first count.

        It can be as old as the last call.
        """
        is_running = self._counting is not None and not self._counting.done()
        if not is_running and time.monotonic() >= self._next_at:
            self._counting = asyncio.create_task(self._count())
        if self._counting is not None:
            await asyncio.wait([self._counting], timeout=SUGGESTIONS_TIMEOUT_SECONDS)
        return self._last

    async def _count(self) -> None:
        began = time.monotonic()
        with contextlib.suppress(DirectoryError):  # other numbers must not wait for this one
            page = await members.merge_suggestions(limit=MAX_PAGE_SIZE)
            self._last = len(page.items)
        self._next_at = time.monotonic() + (time.monotonic() - began) / SUGGESTIONS_SHARE


def routes(pages: Pages) -> list[Route]:
    """Return the routes of the page."""
    suggestions = SuggestionCounter()

    async def build_home(visit: Visit) -> PageContent:
        """Build the page. All its numbers are read at the same time."""
        waiting, tasks, (last_visit, lines), faults = await asyncio.gather(
            newcomers.list_waiting(limit=SHOWN_NEWCOMERS),
            _count_tasks(suggestions),
            _tell_changes(visit),
            _count_faults(),
        )
        return PageContent(
            "home.html",
            {
                "waiting_people": waiting,
                "tasks": tasks,
                "last_visit": last_visit,
                "lines": lines[:SHOWN_CHANGES],
                "faults": faults,
                "quiet_days": QUIET_AFTER.days,
                "max_counted": MAX_COUNTED,
                "max_suggestions": MAX_PAGE_SIZE,
            },
        )

    return [Route("/", pages.page(build_home))]


async def _count_tasks(suggestions: SuggestionCounter) -> Tasks:
    [tasks], [(quiet,)], suggested = await asyncio.gather(
        engine.read(COUNT_TASKS, max_counted=MAX_COUNTED),
        engine.read(COUNT_QUIET_MEMBERS, quiet_after=QUIET_AFTER, max_counted=MAX_COUNTED),
        suggestions.get(),
    )
    return Tasks(**tasks, quiet=quiet, suggestions=suggested)


async def _tell_changes(visit: Visit) -> tuple[datetime | None, list[StoryLine]]:
    """Return when the last visit ended, and what colleagues have done since, newest first."""
    last_visit = await visits.touch(visit.user.user_id)
    records = await engine.read(
        LIST_CHANGES_OF_COLLEAGUES,
        user_id=visit.user.user_id,
        since=last_visit,
        first_visit_shows=FIRST_VISIT_SHOWS,
        max_changes=MAX_CHANGES,
        max_of_transaction=MAX_SHOWN,
    )
    changes, counts = await sum_up([Change.from_record(record) for record in records])
    return last_visit, await story.tell(visit, changes, counts=counts)


async def _count_faults() -> int:
    """Return the number of faults in the last report of the doctor."""
    report = await load_last_report()
    if report is None:
        return 0
    return report.count(Verdict.FAILED) + report.count(Verdict.WARNING)
