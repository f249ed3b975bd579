"""Insights: the community drawn, on a page behind the panel's sign-in, by templates and without a script."""

import asyncio
import re
import unicodedata
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from piccolo_api.session_auth.middleware import SessionsAuthBackend
from starlette.applications import Starlette
from starlette.authentication import AuthenticationError
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from community_directory.calendar import load_zone
from community_directory.database import engine
from community_directory.errors import MemberNotFound, OperatorError, database_errors
from community_directory.queries.invitation_rows import effective_status_sql
from community_directory.settings import Settings
from community_directory.tables import InvitationStatus, MemberStatus, ReputationTier
from community_directory.web.admin.security import EXTENDED
from community_directory.web.outage import report

PATH = "/insights"
"""Where the page is mounted; the panel is one step above."""

WEEKS = 26
"""The weeks of growth and of invitations."""
DAYS = 28
"""The days that weekdays and hours are counted from."""
ACTIVE_DAYS = 7
"""The days, today among them, of the most active members."""
EVENTS = 40_000
"""The newest events that weekdays and hours are counted from at the most: all of a busy month would take too long."""

LEVELS, CHILDREN, NODES = 4, 12, 150
"""The levels of the drawn tree below its root, the people below each, and the people in all; counts tell the rest."""
NUMBER = re.compile(r"\s*#?([1-9][0-9]{0,18})\s*")

REMOVED = "removed"
BANDS = [
    MemberStatus.ACTIVE,
    MemberStatus.PENDING,
    MemberStatus.SUSPENDED,
    MemberStatus.BANNED,
    REMOVED,
]
"""From the bottom of the picture to its top."""
OUTCOMES = [
    InvitationStatus.ACCEPTED,
    InvitationStatus.PENDING,
    InvitationStatus.EXPIRED,
    InvitationStatus.CANCELLED,
]
WAITS = {
    "under 1 h": timedelta(hours=1),
    "1–6 h": timedelta(hours=6),
    "6–24 h": timedelta(days=1),
    "1–2 days": timedelta(days=2),
    "2–3 days": timedelta(days=3),
    "longer": timedelta.max,
}
"""How long an acceptance took: the name of each span, and its end."""
WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]

# Bidirectional controls turn the text around a name; <bdi> and escaping don't stop them.
BIDI = dict.fromkeys(
    map(ord, "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
)

# Everybody as they are now, by the week they came and the one they were removed in: $1 are the weeks' ends.
MEMBERS = """
SELECT CASE WHEN created_at < ($1::timestamptz[])[1] THEN 0 ELSE width_bucket(created_at, $1) END AS came,
    width_bucket(deleted_at, $1) AS went, status, reputation_tier, count(*)
FROM community_members GROUP BY 1, 2, 3, 4
"""
# What happened to statuses since the first week's end, to be undone on the way back from now.
CHANGES = """
SELECT CASE WHEN created_at < ($1::timestamptz[])[1] THEN 0 ELSE width_bucket(created_at, $1) END AS came,
    least(width_bucket(changed_at, $1), width_bucket(deleted_at, $1)) AS until,
    changes -> 'status' ->> 0, changes -> 'status' ->> 1, count(*)
FROM directory_audit_log AS entry JOIN community_members AS member ON member.id = entry.row_id
WHERE table_name = 'community_members' AND action = 'UPDATE' AND changes ? 'status'
    AND changed_at >= ($1::timestamptz[])[1]
GROUP BY 1, 2, 3, 4
"""
INVITATIONS = f"""
SELECT {effective_status_sql("invitation")}, width_bucket(accepted_at - created_at, $3::interval[]), count(*)
FROM community_invitations AS invitation WHERE status = ANY($2::text[]) AND created_at >= $1 GROUP BY 1, 2
"""  # noqa: S608  made of our own pieces
# By the quarter of an hour: the offset of every time zone is a multiple of it.
HOURS = """
SELECT date_bin('15 minutes', occurred_at, timestamptz '2000-01-01 00:00Z'), count(*) FROM (
    SELECT occurred_at FROM member_participation WHERE occurred_at >= $1 AND occurred_at <= $2
    ORDER BY occurred_at DESC LIMIT $3
) AS newest GROUP BY 1
"""
# Names are looked up for more than are shown, because removed members are left out.
MOST_ACTIVE = """
SELECT member_id, name, messages, reactions, minutes FROM (
    SELECT member_id, sum(message_count) AS messages, sum(reaction_count) AS reactions, sum(voice_minutes) AS minutes
    FROM member_daily_highlights WHERE highlight_date > $1
    GROUP BY member_id
    ORDER BY sum(message_count + reaction_count) DESC, sum(voice_minutes) DESC, length(member_id), member_id LIMIT 100
) AS counted JOIN community_members USING (member_id)
WHERE deleted_at IS NULL AND messages + reactions + minutes > 0
ORDER BY messages + reactions DESC, minutes DESC, length(member_id), member_id LIMIT 12
"""
# Level by level; PostgreSQL stops when it has the rows that were asked for.
TREE = """
WITH RECURSIVE tree AS (
    SELECT member_id, name, status, deleted_at, invited_by, 0 AS level
    FROM community_members WHERE member_id = $1
    UNION ALL
    SELECT child.*, level + 1 FROM tree CROSS JOIN LATERAL (
        SELECT member_id, name, status, deleted_at, invited_by FROM community_members
        WHERE invited_by = tree.member_id ORDER BY length(member_id), member_id LIMIT $3
    ) AS child WHERE level < $2
), drawn AS (SELECT * FROM tree LIMIT $4)
SELECT member_id, name, CASE WHEN deleted_at IS NULL THEN status ELSE 'removed' END, invited_by,
    (SELECT count(*) FROM community_members AS child WHERE child.invited_by = drawn.member_id)
FROM drawn
"""
NAME = "SELECT name FROM community_members WHERE member_id = $1"

SESSIONS = SessionsAuthBackend(admin_only=False, increase_expiry=EXTENDED)
"""As in the panel, but for who lacks the right, whom we tell so."""


def create_insights(settings: Settings) -> Starlette:
    """The ASGI app of the pages, to be mounted at `PATH` beside the panel."""
    here = Path(__file__).parent
    templates = Environment(
        loader=FileSystemLoader(here / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals.update(site_name=settings.site_name)
    templates.filters.update(
        clean=clean, number="{:,}".format, brief=brief, label=lambda name: name.replace("_", " ")
    )

    def page(
        answer: Callable[[Request], Awaitable[tuple[str, dict[str, Any]]]],
    ) -> Callable[..., Awaitable[Response]]:
        """A page for who is signed in and may see it; else, and when something is missing, a sentence."""

        async def guarded(request: Request) -> Response:
            root = request.scope.get("root_path", "")
            status, template, context = 200, "message.html", {}
            try:
                with database_errors():
                    _, user = await SESSIONS.authenticate(request) or (None, None)
                if user is None or not user.user.admin:
                    status, context = 403, _sentence("This page is for managers", NO_RIGHT)
                else:
                    template, context = await answer(request)
            except AuthenticationError:
                wanted = quote(PATH + request.url.path.removeprefix(root), safe="")
                return RedirectResponse(f"{_panel(root)}#/login?nextURL={wanted}", status_code=303)
            except MemberNotFound as error:
                status, context = (
                    404,
                    {**_sentence("Nobody has that number", str(error)), "pick": True},
                )
            except OperatorError as error:
                status, context = (
                    503,
                    _sentence("The numbers are not there right now", report(error)),
                )
            html = templates.get_template(template).render(root=root, panel=_panel(root), **context)
            return HTMLResponse(html, status, headers={"Cache-Control": "no-store"})

        return guarded

    tree = page(_tree)

    async def find(request: Request) -> Response:
        """Where the tree of the picked member is: an address of its own, which survives the sign-in."""
        found = NUMBER.fullmatch(request.query_params.get("member", ""))
        root = request.scope.get("root_path", "")
        return (
            RedirectResponse(f"{root}/tree/{found[1]}/", status_code=303)
            if found
            else await tree(request)
        )

    return Starlette(
        routes=[
            Route("/", page(_insights)),
            Route("/tree/", find),
            Route("/tree/{number}/", tree),
            Mount("/static", StaticFiles(directory=here / "static")),
        ]
    )


NO_RIGHT = "Your account lacks the right “admin”. Whoever runs the panel can give it to you."


def _sentence(heading: str, sentence: str) -> dict[str, Any]:
    return {"heading": heading, "sentence": sentence, "pick": False}


def _panel(root: str) -> str:
    return root.removesuffix(PATH) + "/"


def clean(name: str) -> str:
    """A name without characters that change how what stands around it is shown; the template escapes it."""
    kept = (
        c for c in name.translate(BIDI) if unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp")
    )
    return "".join(kept).strip() or "—"


def brief(number: int) -> str:
    """A number for a narrow column: from 10,000 on in whole thousands (k), millions (M) or billions (G), cut."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= max(size, 10_000):
            return f"{number // size:,}{unit}"
    return f"{number:,}"


async def _insights(_: Request) -> tuple[str, dict[str, Any]]:
    zone = load_zone(None)
    now = datetime.now(UTC)
    day = now.astimezone(zone).date()
    monday = day - timedelta(days=day.weekday())
    mondays = [
        datetime.combine(monday - timedelta(weeks=weeks), time.min, zone).astimezone(UTC)
        for weeks in reversed(range(WEEKS))
    ]
    # At once, each on a connection of its own.
    members, changes, invitations, quarters, active = await asyncio.gather(
        engine.fetch(MEMBERS, mondays),
        engine.fetch(CHANGES, mondays),
        engine.fetch(INVITATIONS, mondays[0], list(InvitationStatus), list(WAITS.values())[:-1]),
        engine.fetch(HOURS, now - timedelta(days=DAYS), now, EVENTS),
        engine.fetch(MOST_ACTIVE, day - timedelta(days=ACTIVE_DAYS)),
    )
    growth = count_weeks(members, changes, len(mondays) + 1)
    labels = [f"{edge.astimezone(zone) - timedelta(days=1):%-d %b}" for edge in mondays] + ["now"]
    return "insights.html", {
        "zone": zone.key,
        "weeks": WEEKS,
        "days": DAYS,
        "active_days": ACTIVE_DAYS,
        "labels": labels,
        "growth": growth,
        "area": area(list(growth.values())),
        "tiers": _tiers(members),
        "funnel": _funnel(invitations),
        "waits": _waits(invitations),
        "hours": count_hours([(record[0].astimezone(zone), record[1]) for record in quarters], now),
        "weekdays": WEEKDAYS,
        "active": active,
    }


def count_weeks(members: Iterable[Any], changes: Iterable[Any], weeks: int) -> dict[str, list[int]]:
    """How many had each status at each week's end, the last one being now.

    `members` are as they are now; each of `changes` is undone for the ends between the member's coming and the change.
    """
    counts: dict[str, list[int]] = {status: [0] * weeks for status in [*MemberStatus, REMOVED]}

    def add(status: str, first: int, end: int, number: int) -> None:
        for week in range(first, end):
            counts[status][week] += number

    for came, left, status, _, number in members:
        end = weeks if left is None else left
        add(status, came, end, number)
        if status != MemberStatus.NOT_MEMBER:
            add(REMOVED, max(came, end), weeks, number)
    for came, end, before, after, number in changes:
        add(before, came, end, number)
        add(after, came, end, -number)
    return {status: counts[status] for status in BANDS}


def area(series: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Bands on top of each other, as polygons in a box of 1,000 × 400, and the ticks of the axis beside it."""
    totals = [sum(values) for values in zip(*series, strict=True)]
    ticks = _ticks(max(totals))
    step = 1000 / (len(totals) - 1)
    bands, base = [], [0] * len(totals)
    for values in series:
        upper = [below + value for below, value in zip(base, values, strict=True)]
        points = [*enumerate(upper), *reversed(list(enumerate(base)))]
        bands.append(" ".join(f"{x * step:.1f},{400 - 400 * y / ticks[-1]:.1f}" for x, y in points))
        base = upper
    return {
        "bands": bands,
        "ticks": [(tick, 100 - 100 * tick / ticks[-1]) for tick in ticks],
        "totals": totals,
    }


def _ticks(top: int) -> list[int]:
    """Three to five round numbers from zero to `top` or a little above."""
    step = next(
        number * 10**power
        for power in range(12)
        for number in (1, 2, 5)
        if number * 10**power * 4 >= max(top, 1)
    )
    return [step * number for number in range(-(-max(top, 1) // step) + 1)]


def _shares(counts: Mapping[str, int], total: int | None = None) -> list[dict[str, Any]]:
    """The rows of a bar chart: each count, its share of all, and the length of its bar."""
    longest, whole = (
        max(counts.values(), default=0) or 1,
        (sum(counts.values()) if total is None else total) or 1,
    )
    return [
        {
            "name": name,
            "count": count,
            "length": 100 * count / longest,
            "share": 100 * count / whole,
        }
        for name, count in counts.items()
    ]


def _tiers(members: Iterable[Any]) -> list[dict[str, Any]]:
    """Active members by their tier."""
    counts = {tier.value: 0 for tier in ReputationTier}
    for _, left, status, tier, number in members:
        if left is None and status == MemberStatus.ACTIVE and tier is not None:
            counts[tier] += number
    return _shares(counts)


def _funnel(invitations: Iterable[Any]) -> list[dict[str, Any]]:
    counts = {"sent": 0} | {status.value: 0 for status in OUTCOMES}
    for status, _, number in invitations:
        counts["sent"] += number
        counts[status] += number
    return _shares(counts, counts["sent"])


def _waits(invitations: Iterable[Any]) -> list[dict[str, Any]]:
    counts = dict.fromkeys(WAITS, 0)
    for _, wait, number in invitations:
        if wait is not None:
            counts[list(WAITS)[wait]] += number
    return _shares(counts)


@dataclass(frozen=True)
class Hours:
    """Events by weekday and hour, what they were counted from, and how dark each hour is drawn (0 to 5)."""

    counts: list[list[int]]
    shades: list[list[int]]
    total: int
    since: datetime | None
    whole_weeks: int


def count_hours(quarters: Sequence[tuple[datetime, int]], now: datetime) -> Hours:
    """Events by weekday and hour of their own time zone.

    When there were more events than are read, only whole weeks of those count, so that no weekday counts twice; a
    community that has more of them in one week is counted from the time that they cover.
    """
    since = min((start for start, _ in quarters), default=None)
    weeks = DAYS // 7
    if since is not None and sum(number for _, number in quarters) >= EVENTS:
        weeks = (now - since) // timedelta(weeks=1)
        since = now - timedelta(weeks=weeks) if weeks else since
        quarters = [(start, number) for start, number in quarters if start >= since]
    counted: Counter[tuple[int, int]] = Counter()
    for start, number in quarters:
        counted[start.weekday(), start.hour] += number
    counts = [[counted[weekday, hour] for hour in range(24)] for weekday in range(7)]
    most = max(map(max, counts))
    shades = [[-(-5 * number // most) if most else 0 for number in row] for row in counts]
    return Hours(counts, shades, counted.total(), since, weeks)


async def _tree(request: Request) -> tuple[str, dict[str, Any]]:
    asked = request.path_params.get("number") or request.query_params.get("member", "")
    if not asked.strip():
        return "tree.html", {"tree": None, "inviter": None}
    found = NUMBER.fullmatch(asked)
    member_id = f"#{found[1]}" if found else asked
    records = await engine.fetch(TREE, member_id, LEVELS, CHILDREN, NODES) if found else []
    if not records:
        raise MemberNotFound(member_id)
    tree = draw_tree([Node(*record) for record in records])
    inviter = tree.nodes[0].invited_by
    names = await engine.fetch(NAME, inviter) if inviter else []
    return "tree.html", {"tree": tree, "inviter": (inviter, names[0]["name"]) if names else None}


@dataclass
class Node:
    """A member in the tree, and where: column and row, counted from the upper left."""

    member_id: str
    name: str
    status: str
    invited_by: str | None
    invited: int
    column: int = 0
    row: float = 0
    hidden: int = 0
    """Those this member invited who are not drawn."""


@dataclass(frozen=True)
class Tree:
    """The drawn members in reading order, the lines from each to those it invited, and the size of the picture."""

    nodes: list[Node]
    lines: list[tuple[Node, Node]]
    columns: int
    rows: int


def draw_tree(found: Sequence[Node]) -> Tree:
    """Place each member beside the one who invited them: each one on a row below the last, the first child level.

    `found` begins with the root, and each member comes after the one who invited them.
    """
    children: dict[str, list[Node]] = {node.member_id: [] for node in found}
    for node in found[1:]:
        children[str(node.invited_by)].append(node)
    placed: list[Node] = []
    lines: list[tuple[Node, Node]] = []
    waiting = [found[0]]
    rows = 0
    while waiting:
        node = waiting.pop()
        below = children[node.member_id]
        node.hidden = node.invited - len(below)
        node.row = rows
        if not below:
            rows += 1
        for child in below:
            child.column = node.column + 1
            lines.append((node, child))
        waiting += reversed(below)
        placed.append(node)
    return Tree(placed, lines, 1 + max(node.column for node in placed), rows)
