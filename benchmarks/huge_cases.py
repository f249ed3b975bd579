"""Every helper with the arguments that its interface offers, for a community of any size."""

import csv
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any, Final, get_args
from uuid import UUID

import asyncpg

from benchmarks.community import WORDS, Community
from community_directory import queries
from community_directory.database import engine
from community_directory.imports.members_csv import import_members
from community_directory.queries import accounts, highlights, members, participation
from community_directory.queries.archived_days import find_first_open_day
from community_directory.queries.search import Sort
from community_directory.settings import MIN_RETENTION_DAYS
from community_directory.tables import InvitationStatus, MemberStatus, ReputationTier

PAGE_SECONDS: Final = 0.1
"""The limit of a call that answers one page, or writes what one person does."""
COUNT_SECONDS: Final = 1
"""The limit of a count of all members who meet some conditions."""
PERSON_SECONDS: Final = 0.05
"""The limit of an export and of an erasure."""
DAY_SECONDS: Final = 3
MONTH_SECONDS: Final = 20
CSV_SECONDS: Final = 2
CSV_ROWS: Final = 10_000
BATCH: Final = 1000
SPANS: Final = (1, 7, 30, 180)
"""The days of a list of the most active members, or of highlights."""
TEXTS: Final = (None, *WORDS.values(), "a", "Ana", "studio 7", "@user7919")
"""The texts of searches: words, letters, a name, an organization and a username."""
FILTERS: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"role": "developer"},
    {"role": "lawyer"},
    {"role": "nobody has this role"},
    {"country": "Mexico"},
    {"country": "Iceland"},
    {"country": "Atlantis"},
    {"role": "developer", "country": "Mexico"},
    {"role": "lawyer", "country": "Iceland"},
    {"status": None},
    *({"status": status} for status in MemberStatus if status is not MemberStatus.ACTIVE),
    {"status": "pending", "country": "Iceland"},
    *({"tier": tier} for tier in ReputationTier),
    {"min_reputation": 2000},
    {"max_reputation": 0},
    {"is_bot": True},
    {"organization": "Studio 1"},
    {"organization": "nobody works here"},
    {"invited_by": 1},
    {"github_verified": True},
    {"inactive_for": timedelta(days=30)},
    {"joined_since": datetime.now(UTC) - timedelta(days=7)},
)
SORTS: Final[tuple[Sort, ...]] = get_args(Sort)


@dataclass(frozen=True)
class Case:
    """A call to be measured."""

    group: str
    title: str
    call: Callable[..., Awaitable[object]]
    arguments: Mapping[str, object] = field(default_factory=dict)
    seconds: float = PAGE_SECONDS
    """The limit."""
    writes: bool = False
    """Whether the call is rolled back."""
    prepare: Callable[[], Awaitable[Mapping[str, object]]] | None = None
    """What happens before the clock starts; it may return more arguments of the call."""

    def __str__(self) -> str:
        if not self.arguments:
            return self.title
        shown = (f"{name}={_short(value)}" for name, value in self.arguments.items())
        return f"{self.title}({', '.join(shown)})"


def _short(value: object) -> str:
    text = str(value) if isinstance(value, date | timedelta) else repr(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _case(
    group: str,
    helper: str,
    seconds: float = PAGE_SECONDS,
    /,
    *,
    writes: bool = False,
    **arguments: Any,
) -> Case:
    """Return the case of a helper, such as "members.search", with these arguments."""
    module, name = helper.split(".")
    call = getattr(import_module(f"{queries.__name__}.{module}"), name)
    return Case(group, helper, call, arguments, seconds, writes=writes)


@dataclass(frozen=True)
class People:
    """The rows of the community that the cases are about."""

    community: Community
    ordinary: str
    """An active member with a few events."""
    other: str
    username: str
    """The Telegram username of the ordinary member."""
    removed: str
    pending: str
    busy_inviter: str
    """The member with the most invitations."""
    newest: str
    """The last member, with many inviters above."""
    many: list[str]
    """The Telegram ids of active members."""

    @property
    def first(self) -> str:
        """Return the first member, below whom everybody is."""
        return "#1"


FIND_PEOPLE = """
SELECT
    (SELECT telegram_username FROM community_members WHERE member_id = $1),
    (SELECT member_id FROM community_members WHERE deleted_at IS NOT NULL LIMIT 1),
    (SELECT member_id FROM community_members
        WHERE status = 'pending' AND deleted_at IS NULL LIMIT 1),
    (SELECT created_by FROM community_invitations GROUP BY 1 ORDER BY count(*) DESC LIMIT 1),
    (SELECT member_id FROM community_members WHERE NOT is_bot AND deleted_at IS NULL
        ORDER BY created_at DESC LIMIT 1),
    ARRAY(SELECT telegram_id FROM community_members
        WHERE status = 'active' AND deleted_at IS NULL LIMIT $2)
"""


async def find_people(connection: asyncpg.Connection, community: Community) -> People:
    """Look up the rows of the cases."""
    ordinary, other = community.member_ids[:2]
    found = await connection.fetchrow(FIND_PEOPLE, ordinary, CSV_ROWS, timeout=600)
    assert found is not None
    return People(community, ordinary, other, *found)


@asynccontextmanager
async def all_cases(people: People) -> AsyncIterator[list[Case]]:
    """Yield the cases; those that write are last, because what is rolled back leaves dead rows."""
    with tempfile.TemporaryDirectory() as directory:
        yield [
            *await _searches(),
            *_lookups(people),
            *await _lists(people),
            *_activity(people),
            *_writes(people),
            *_roll_ups(people.community.day),
            *_archive(people.community.day),
            *_imports(Path(directory), people),
        ]


async def _searches() -> list[Case]:
    """Return each text with each filter in each order: the first page, and a later one."""
    cases = []
    for sort in SORTS:
        # A cursor in the middle of everybody, because its five members are anywhere.
        rare = await members.search(WORDS["a rare word"], sort=sort, limit=3)
        for text, filters in product(TEXTS, FILTERS):
            arguments: dict[str, Any] = {"text": text, **filters, "sort": sort}
            cases.append(_case("search", "members.search", **arguments))
            if rare.next_cursor:
                later = {**arguments, "after": rare.next_cursor}
                cases.append(_case("search", "members.search", **later))
    return [
        *cases,
        _case("search", "members.search", text="garcia", limit=100),
        *(
            _case("count", "members.count", COUNT_SECONDS, text=text, **filters)
            for text, filters in product((None, *WORDS.values()), FILTERS)
        ),
        *(
            _case("search", "members.leaderboard", status=status)
            for status in (None, *MemberStatus)
        ),
    ]


def _lookups(people: People) -> Iterator[Case]:
    group, someone = "one member or invitation", people.ordinary
    telegram_id, code = people.community.telegram_ids[0], people.community.codes[0]
    for member_id in (someone, people.first, people.removed):
        for helper in (
            "members.find",
            "accounts.of",
            "permissions.of",
            "requests.may_erase_themselves",
            "relationships.entities_of",
            "relationships.of_member",
            "reputation.explain",
            "invitations.quota",
            "invitations.statistics",
        ):
            yield _case(group, helper, member_id=member_id)
    for key in (someone, people.first, telegram_id, f"@{people.username}", "https://t.me/user7919"):
        yield _case(group, "members.resolve", member=key)
    yield _case(group, "members.get", member_id=someone)
    yield _case(group, "members.get_by_telegram_id", telegram_id=telegram_id)
    yield _case(group, "members.find_by_telegram_id", telegram_id=telegram_id)
    for platform in ("telegram", "discord"):
        yield _case(group, "members.find_by_account", platform=platform, account_id=telegram_id)
        yield _case(group, "members.find_by_username", username=people.username, platform=platform)
    ids = people.community.telegram_ids[:BATCH]
    yield _case(group, "members.find_erased", telegram_ids=ids)
    yield _case(group, "members.known_bots", telegram_ids=ids)
    yield _case(group, "members.check_addable", telegram_id="999000000001")
    yield _case(group, "permissions.has", member_id=someone, permission="review")
    for member_id in (someone, people.first):
        yield _case("count", "members.rank", COUNT_SECONDS, member_id=member_id)
    yield _case(group, "relationships.list_for", entity_id=someone)
    yield _case(group, "members.seen", telegram_id=telegram_id, name="x", username=people.username)
    yield _case(group, "invitations.find", code=code)
    yield _case(group, "invitations.get", code=code)
    yield _case(group, "invitations.check", code=code, telegram_id="999000000001")
    yield _case(group, "invitations.find_open_for", username=people.username)
    for member_id in (someone, people.other):
        yield _case("export and erase", "members.export", PERSON_SECONDS, member_id=member_id)
    for duplicate, into in ((someone, people.other), (someone, people.first)):
        yield _case("merge", "members.merge_preview", duplicate=duplicate, into=into)
    for member_id in (people.community.trees[0], someone, people.newest, people.first):
        yield _case("tree", "invitations.tree", member_id=member_id)
        yield _case("tree", "invitations.tree_counts", member_id=member_id)
        yield _case("tree", "invitations.lineage", member_id=member_id)


async def _lists(people: People) -> list[Case]:
    day, group = people.community.day, "lists"
    cases = [
        _case(group, "invitations.list_page", created_by=creator, status=status, limit=limit)
        for creator in (None, people.busy_inviter, people.ordinary)
        for status in (None, *InvitationStatus)
        for limit in (20, 100)
    ]
    cases.append(_case("count", "invitations.list_page", COUNT_SECONDS, with_total=True))
    cases.append(_case(group, "audit.consumers"))
    cases.append(_case(group, "audit.forget_consumer", consumer="nobody"))
    for member_id in (people.ordinary, people.first):
        cases.append(_case(group, "audit.history", member_id=member_id))
        cases.append(_case(group, "participation.history", member_id=member_id))
        cases.append(_case(group, "participation.history", member_id=member_id, limit=100))
    middle = day - timedelta(days=90)
    later = await highlights.between(middle, middle, limit=1)
    for member in (None, people.ordinary, people.first):
        for days in SPANS:
            since = day - timedelta(days=days - 1)
            found: dict[str, Any] = {"since": since, "until": day, "member_id": member}
            cases.append(_case("highlights", "highlights.between", **found))
            if later.next_cursor:
                found["after"] = later.next_cursor
                cases.append(_case("highlights", "highlights.between", **found))
    cases += [
        _case(group, "permissions.holders", permission=permission)
        for permission in ("invite", "review", "moderate", "manage")
    ]
    cases += [
        _case(group, f"people.{helper}", permission="manage")
        for helper in ("search", "count", "numbers")
    ]
    cases.append(_case(group, "people.choices"))
    cases.append(_case(group, "segments.list_all"))
    cases.append(_case(group, "requests.list_open"))
    cases.append(_case(group, "notes.list_for", member_id=people.ordinary))
    return [*cases, _case(group, "members.merge_suggestions")]


def _activity(people: People) -> Iterator[Case]:
    day = people.community.day
    for days in SPANS:
        span: dict[str, Any] = {
            "since": day - timedelta(days=days - 1),
            "until": day,
            "zone": "UTC",
        }
        for limit in (10, 100):
            yield _case("most active", "participation.most_active", **span, limit=limit)
        for member_id in (people.ordinary, people.first):
            yield _case("activity", "participation.activity", member_id=member_id, **span)
            yield _case("activity", "participation.by_day", member_id=member_id, **span)
            yield _case("activity", "participation.by_room", member_id=member_id, **span)
        for helper in ("participation.by_day", "participation.by_room"):
            yield _case("most active", helper, DAY_SECONDS, **span)


def _writes(people: People) -> Iterator[Case]:
    """Return what bots, people and managers do to one member or invitation."""
    someone, other, code = people.ordinary, people.other, people.community.codes[0]
    newcomer, by = _newcomer(0), {"actor": "benchmark"}
    pair = {"duplicate": someone, "into": other, **by}
    discord = {"platform": "discord", "account_id": "999000000001"}
    entities = {"entity_id_a": "a", "entity_id_b": "b", "relationship_type": "MENTORED"}
    rooms = {"platform": "telegram", "old_room_id": "-1002", "new_room_id": "-1003"}
    github = {"github_username": "somebody-else", "github_profile_data": {"followers": 3}}
    calls: tuple[tuple[str, dict[str, Any]], ...] = (
        ("members.add", newcomer),
        ("members.update_profile", {"member_id": someone, "name": "Somebody Else"}),
        ("members.set_status", {"member_id": people.pending, "status": "active", **by}),
        ("members.set_username", {"member_id": someone, "telegram_username": "somebody_else"}),
        ("members.verify_github", {"member_id": someone, **github}),
        ("members.remove", {"member_id": someone, **by}),
        ("members.restore", {"member_id": people.removed, **by}),
        ("members.mark_bot", {"member_id": someone, "is_bot": True, **by}),
        ("members.remember_bots", {"names": {"999000000001": "A bot"}}),
        ("members.forget_bot", {"telegram_id": "999000000001"}),
        ("members.dismiss_suggestion", {"member_id": someone, "other": other, **by}),
        ("accounts.link", {"member_id": someone, **discord, **by}),
        ("accounts.unlink", {**discord, **by}),
        ("accounts.begin_link", {"member_id": someone}),
        ("requests.ask", {"member_id": someone, "kind": "erasure", **by}),
        ("requests.resolve", {"member_id": someone, "kind": "erasure", **by}),
        ("notes.add", {"member_id": someone, "text": "Speaks at meet-ups.", **by}),
        ("notes.remove", {"note_id": str(UUID(int=1)), **by}),
        ("members.end_suspensions", {}),
        ("acts.preview", {"kind": "suspend", "numbers": [someone, other]}),
        ("acts.apply", {"kind": "suspend", "numbers": [someone, other], **by}),
        ("acts.get", {"act_id": str(UUID(int=1))}),
        ("acts.undo", {"act_id": str(UUID(int=1)), **by}),
        ("branches.preview", {"member_id": someone}),
        ("branches.preview_act", {"member_id": someone, "kind": "ban", "numbers": [someone]}),
        (
            "branches.apply",
            {"member_id": someone, "kind": "ban", "numbers": [someone], "reason": None, **by},
        ),
        ("segments.save", {"name": "Managers", "filters": {"permission": "manage"}, **by}),
        ("segments.rename", {"segment_id": str(UUID(int=1)), "name": "Nobody"}),
        ("segments.remove", {"segment_id": str(UUID(int=1))}),
        ("permissions.grant", {"member_id": someone, "permission": "review", **by}),
        ("permissions.revoke", {"member_id": someone, "permission": "review", **by}),
        ("relationships.link", {**entities, "content": {}}),
        ("relationships.unlink", entities),
        ("invitations.create", {"created_by": someone}),
        ("invitations.create", {"created_by": someone, "telegram_username": "guest_of_somebody"}),
        ("invitations.extend", {"code": code}),
        ("invitations.cancel", {"code": code}),
        ("invitations.expire_overdue", {}),
        ("invitations.redeem", {"code": code, **newcomer}),
        ("participation.record", {"member_id": someone, **_EVENT, "source_id": "new"}),
        ("participation.record", {"member_id": people.first, **_EVENT, "source_id": "new"}),
        ("participation.record_many", {"events": _events(people.community.member_ids)}),
        ("participation.record_many", {"events": _events([people.first])}),
        ("participation.take_back", {"member_id": someone, **_REACTION}),
        ("participation.move_room", rooms),
    )
    for helper, arguments in calls:
        yield _case("writes", helper, writes=True, **arguments)
    for member_id in (someone, other):
        yield _case(
            "export and erase",
            "members.erase",
            PERSON_SECONDS,
            writes=True,
            member_id=member_id,
            **by,
        )
    for into in (other, people.first):
        yield _case("merge", "members.merge", writes=True, **{**pair, "into": into})

    async def merge() -> dict[str, object]:
        await members.merge(**pair)
        return {}

    async def begin_link() -> dict[str, object]:
        return {"code": (await accounts.begin_link(someone)).code}

    yield replace(
        _case("merge", "members.unmerge", writes=True, member_id_or_merge=someone, **by),
        prepare=merge,
    )
    yield replace(
        _case("writes", "accounts.complete_link", writes=True, **discord), prepare=begin_link
    )


_EVENT: dict[str, Any] = {"event_type": "MESSAGE", "platform": "telegram", "room_id": "-1001"}
_REACTION = {"platform": "telegram", "room_id": "-1001", "source_id": "7"}


def _events(authors: list[str]) -> list[participation.NewEvent]:
    return [
        participation.NewEvent(
            member_id=authors[number % len(authors)],
            **_EVENT,
            source_id=f"new-{number}",
            occurred_at=datetime.now(UTC),
        )
        for number in range(BATCH)
    ]


def _newcomer(number: int) -> dict[str, str]:
    return {
        "telegram_id": str(999_000_000_000 + number),
        "name": f"Newcomer {number}",
        "primary_role": "developer",
        "telegram_username": f"newcomer_{number}",
        "country": "Mexico",
    }


def _roll_ups(last_day: date) -> Iterator[Case]:
    """Return roll-ups of days that were never counted, and the check of a day."""
    until = last_day - timedelta(days=31)
    for days, seconds in ((1, DAY_SECONDS), (30, MONTH_SECONDS)):
        day = until - timedelta(days=days - 1)
        yield replace(
            _case(
                *("roll-up", "highlights.roll_up", seconds),
                writes=True,
                day=day,
                until=until,
                zone="UTC",
            ),
            prepare=partial(_forget_days, day, until),
        )
    yield _case(*("roll-up", "highlights.verify", DAY_SECONDS), writes=True, day=until, zone="UTC")


def _archive(last_day: date) -> Iterator[Case]:
    """Return what would be archived, and the archive of the oldest day after its roll-up."""
    before = last_day - timedelta(days=MIN_RETENTION_DAYS)
    yield _case("archive", "archive.preview", MONTH_SECONDS, before=before)
    yield replace(
        _case("archive", "archive.archive_next_day", DAY_SECONDS, writes=True, before=before),
        prepare=_roll_up_oldest_day,
    )


async def _roll_up_oldest_day() -> dict[str, object]:
    day = await find_first_open_day()
    assert day is not None
    await highlights.roll_up(day)
    return {}


async def _forget_days(first: date, last: date) -> dict[str, object]:
    await engine.fetch(
        "DELETE FROM member_daily_highlights WHERE highlight_date BETWEEN $1 AND $2", first, last
    )
    await engine.fetch(
        "DELETE FROM directory_rolled_up_days WHERE day BETWEEN $1 AND $2", first, last
    )
    return {}


def _imports(directory: Path, people: People) -> Iterator[Case]:
    """Return imports of as many new and as many changed members, as files of a spreadsheet."""
    changed = (
        {"telegram_id": telegram_id, "name": f"Renamed {number}", "primary_role": "developer"}
        for number, telegram_id in enumerate(people.many)
    )
    for name, lines in (
        ("new", [_newcomer(number) for number in range(CSV_ROWS)]),
        ("changed", list(changed)),
    ):
        path = directory / f"{name}.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, lines[0])
            writer.writeheader()
            writer.writerows(lines)
        yield Case(
            "CSV",
            f"import of {len(lines):,} {name} members",
            partial(import_members, path),
            seconds=CSV_SECONDS,
            writes=True,
        )
