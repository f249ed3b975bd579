"""One valid and one refused call of every query helper, for the tests that cover all of them.

The helpers are found by their modules, so a test fails for a new one without a case.
"""

import inspect
import json
import pkgutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from importlib import import_module
from typing import Any
from uuid import UUID

from community_directory import queries
from community_directory.database import DirectoryTransaction, engine, transaction
from community_directory.queries.members import UNSET
from community_directory.queries.participation import NewEvent
from tests.tables import rows

Helper = Callable[..., Awaitable[Any]]

INTERNAL_FUNCTIONS = {
    "begin_with_first_open_day",
    "change_hours",
    "count_hours_of",
    "count_member_events",
    "count_room_spans_of",
    "count_rooms_and_hours",
    "count_rooms_of",
    "find_archive",
    "find_differences",
    "find_first_open_day",
    "find_joined",
    "get_pair",
    "judge",
    "make_preview",
    "member_not_found",
    "open_days",
    "perform",
    "recount",
    "recount_members",
}
"""The functions that only other modules of the helpers call."""


def _found() -> dict[str, Helper]:
    """Return the helpers by the names that callers use: `members.search` lies in `search`."""
    names: dict[Helper, str] = {}
    helpers: dict[Helper, Helper] = {}
    for found in pkgutil.iter_modules(queries.__path__):
        module = import_module(f"{queries.__name__}.{found.name}")
        for name, function in inspect.getmembers(module, inspect.iscoroutinefunction):
            if name.startswith("_") or not function.__module__.startswith(queries.__name__):
                continue
            if name in INTERNAL_FUNCTIONS:
                continue
            # The module that exports a helper of another module counts.
            itself = inspect.unwrap(function)
            if function.__module__ != module.__name__ or itself not in names:
                names[itself] = f"{found.name}.{name}"
                helpers[itself] = function
    return {name: helpers[itself] for itself, name in names.items()}


HELPERS = _found()


@dataclass(frozen=True)
class Case:
    """Arguments of a valid and of a refused call in the community of `community()`."""

    valid: Mapping[str, object]
    refused: Mapping[str, object] | None = None
    statements: int | None = 1
    """The number of statements of the valid call; None is a transaction of any number."""
    statements_when_refused: int = 1


NEWCOMER = {
    "telegram_id": "900",
    "name": "Eva",
    "primary_role": "developer",
    "telegram_username": "eva",
    "organization": "Frutero",
    "country": "Chile",
    "github_username": "eva-dev",
    "profile_data": {"bio": "hello"},
}
BY = {"actor": "bot", "reason": "a test"}
NOBODY = {"member_id": "#99"}
LINK_CODE = "ABCDEFGH2345"
NOTE = UUID("01980a4e-2a5c-7000-8000-000000000001")
SEGMENT = UUID("01980a4e-2a5c-7000-8000-000000000002")
AGENT = "b850bc30-45f8-0041-a00a-83df46d8555d"
ACT_ID = "0190f1a0-0000-7000-8000-000000000001"
ACT = {"invited_by": None, "including_managers": True}
CURSOR = {"after": None, "limit": 5}
CONDITIONS = {
    "role": "developer",
    "country": "México",
    "organization": "Frutero",
    "status": "active",
    "min_reputation": 0,
    "max_reputation": 1000,
    "tier": "Novice",
    "invited_by": "#4",
    "github_verified": False,
    "inactive_for": timedelta(days=30),
    "joined_since": datetime(2026, 1, 31, tzinfo=UTC),
    "is_bot": False,
}
FILTERS = {
    "q": "ana",
    "status": "active",
    "role": "developer",
    "country": "México",
    "tier": "Novice",
    "github": "none",
    "organization": "Frutero",
    "inviter": "#4",
    "joined_from": "2026-01-31",
    "joined_to": "30d",
    "quiet_days": "30",
    "never_active": "1",
    "permission": "manage",
    "bot": "both",
    "member_from": "month",
    "member_to": "2026-12-31",
    "since": "60d",
    "until": "1d",
    "activity": "at_risk",
    "room": "telegram:-1001234567890",
    "contributions_from": "1",
    "contributions_to": "9",
    "active_week": "1",
    "inactive_week": "4",
    "active_month": "0",
    "inactive_month": "12",
    "invited_from": "90d",
    "invited_to": "1d",
    "reached": "week4",
    "stuck": "waiting",
}
"""The filters of the page People."""
DAY = date(2026, 1, 31)
DAYS = {"since": DAY, "until": date(2026, 2, 28), "zone": "America/Mexico_City"}
BACKWARDS = {"since": DAY, "until": date(2026, 1, 30)}
EVENT: dict[str, Any] = {
    "member_id": "#1",
    "account": None,
    "event_type": "VOICE",
    "platform": "discord",
    "room_id": "general",
    "source_id": "987",
    "occurred_at": datetime(2026, 1, 31, 12, tzinfo=UTC),
    "metadata": {"duration_seconds": 600},
}
MERGED: dict[str, Any] = {
    "into": {},
    "duplicate": {"telegram_id": "104", "github_verified": False, "deleted_at": None},
    "points": {"other": 0, "github": 0, "highlights": 0},
    "permissions": [],
    "days": None,
}
"""What a merge of a member without anything else stores to be undone."""

CASES = {
    "accounts.begin_link": Case({"member_id": "#1", "account": None}, NOBODY),
    "accounts.complete_link": Case(
        {"code": LINK_CODE, "platform": "discord", "account_id": "5", "username": "ana"},
        {"code": "NOSUCHCODE"},
        statements=10,
        statements_when_refused=6,
    ),
    "accounts.link": Case(
        {
            "member_id": "#1",
            "platform": "elizaos",
            "account_id": "b850bc30-45f8-0041-a00a-83df46d8555d",
            "username": "ana",
            "details": {"agent_id": "b850bc30-45f8-0041-a00a-83df46d8555d", "seed": "1001"},
            **BY,
        },
        NOBODY,
        statements=4,
        statements_when_refused=5,
    ),
    "accounts.of": Case({"member_id": "#1"}),
    "accounts.unlink": Case(
        {"platform": "discord", "account_id": "5", **BY},
        {"platform": "telegram", "account_id": "101"},
    ),
    "acts.preview": Case(
        {"kind": "suspend", "numbers": ["#1", "#2"], **ACT},
        {"numbers": []},
        statements_when_refused=0,
    ),
    "acts.apply": Case(
        {
            "kind": "suspend",
            "numbers": ["#1", "#2"],
            **ACT,
            "cancel_invitations": True,
            "until": datetime(2190, 1, 1, tzinfo=UTC),
            **BY,
        },
        {"numbers": []},
        statements=9,
        statements_when_refused=0,
    ),
    "acts.get": Case({"act_id": ACT_ID}, {"act_id": AGENT}),
    "acts.undo": Case(
        {"act_id": ACT_ID, **BY}, {"act_id": AGENT}, statements=9, statements_when_refused=3
    ),
    "branches.preview": Case({"member_id": "#1"}, NOBODY, statements=2, statements_when_refused=2),
    "branches.preview_act": Case(
        {"member_id": "#1", "kind": "ban", "numbers": ["#2"], **ACT},
        {"kind": "approve"},
        statements_when_refused=0,
    ),
    "branches.apply": Case(
        {
            "member_id": "#1",
            "kind": "ban",
            "numbers": ["#2"],
            **ACT,
            "cancel_invitations": False,
            "until": None,
            **BY,
        },
        {"kind": "approve"},
        statements=7,
        statements_when_refused=0,
    ),
    "archive.archive_next_day": Case(
        {"before": date(2026, 2, 1)},
        {"before": date(2190, 1, 1)},
        statements=None,
        statements_when_refused=0,
    ),
    "archive.preview": Case(
        {"before": DAY}, {"before": date(2190, 1, 1)}, statements=2, statements_when_refused=0
    ),
    "audit.consumers": Case({}),
    "audit.forget_consumer": Case(
        {"consumer": "greeter"}, {"consumer": "Greeter"}, statements_when_refused=0
    ),
    "audit.history": Case({"member_id": "#1", **CURSOR}, {"limit": 0}, statements_when_refused=0),
    "highlights.between": Case(
        {"since": DAY, "until": DAY, "member_id": "#1", **CURSOR},
        BACKWARDS,
        statements_when_refused=0,
    ),
    "highlights.roll_up": Case(
        {"day": DAY, "until": DAY, "zone": "America/Mexico_City", "actor": "bot"},
        {"zone": "Mars/Olympus"},
        statements=20,
        statements_when_refused=0,
    ),
    "highlights.verify": Case(
        {"day": DAY, "until": DAY, "zone": "America/Mexico_City", "repair": False},
        {"zone": "Mars/Olympus"},
        statements=14,
        statements_when_refused=0,
    ),
    "invitations.cancel": Case(
        {"code": "OPENCODE", "invitation_id": None, **BY}, {"code": "NOSUCHCODE"}
    ),
    "invitations.check": Case(
        {"code": "OPENCODE", "telegram_id": "900", "telegram_username": "eva"},
        {"code": "NOSUCHCODE"},
    ),
    "invitations.create": Case(
        {
            "created_by": "#1",
            "telegram_username": "eva",
            "valid_for": timedelta(days=1),
            "required_permission": "invite",
            "invitation_id": None,
            **BY,
        },
        {"created_by": "#2"},
        statements_when_refused=2,
    ),
    "invitations.expire_overdue": Case({"actor": "bot"}),
    "invitations.extend": Case(
        {"code": "OPENCODE", "invitation_id": None, "valid_for": timedelta(days=1), **BY},
        {"code": "NOSUCHCODE"},
    ),
    "invitations.find": Case({"code": "OPENCODE", "invitation_id": None}),
    "invitations.find_open_for": Case(
        {"username": "eva"}, {"username": "a b"}, statements_when_refused=0
    ),
    "invitations.get": Case({"code": "OPENCODE", "invitation_id": None}, {"code": "NOSUCHCODE"}),
    "invitations.lineage": Case({"member_id": "#2", "limit": 5}, NOBODY),
    "invitations.list_page": Case(
        {
            "created_by": "#1",
            "status": "pending",
            "created_from": "30d",
            "created_to": date(2026, 11, 1),
            **CURSOR,
            "with_total": False,
        },
        {"limit": 0},
        statements_when_refused=0,
    ),
    "invitations.quota": Case({"member_id": "#1"}, NOBODY, statements_when_refused=2),
    "invitations.redeem": Case(
        {"code": "OPENCODE", **NEWCOMER}, {"code": "NOSUCHCODE"}, statements_when_refused=2
    ),
    "invitations.statistics": Case({"member_id": "#1"}, NOBODY),
    "invitations.tree": Case(
        {"member_id": "#1", "max_depth": 5, "after": None, "limit": 5}, NOBODY
    ),
    "invitations.tree_counts": Case(
        {"member_id": "#1", "max_depth": 5, "max_members": 100}, NOBODY
    ),
    "members.add": Case(
        {**NEWCOMER, "status": "pending", "invited_by": "#1", **BY},
        {"telegram_id": "101"},
        statements_when_refused=2,
    ),
    "members.check_addable": Case({"telegram_id": "999"}, {"telegram_id": "101"}),
    "members.count": Case(
        {"text": "ana", **CONDITIONS}, {"status": "asleep"}, statements_when_refused=0
    ),
    "members.dismiss_suggestion": Case({"member_id": "#1", "other": "#2", **BY}, {"other": "#99"}),
    "members.end_suspensions": Case({"actor": "bot"}),
    "members.find": Case({"member_id": "#1"}),
    "members.find_erased": Case({"telegram_ids": ["101", "discord:102"]}),
    "members.find_by_account": Case({"platform": "telegram", "account_id": "101"}),
    "members.find_by_username": Case(
        {"username": "@ana", "platform": "telegram"},
        {"username": "a b"},
        statements_when_refused=0,
    ),
    "members.find_by_telegram_id": Case({"telegram_id": "101"}),
    "members.forget_bot": Case({"telegram_id": "800"}),
    "members.get": Case({"member_id": "#1"}, NOBODY),
    "members.get_by_telegram_id": Case({"telegram_id": "101"}, {"telegram_id": "999"}),
    "members.known_bots": Case({"telegram_ids": ["800", "101", "discord:102"]}),
    "members.leaderboard": Case(
        {"status": "active", **CURSOR}, {"limit": 0}, statements_when_refused=0
    ),
    "members.mark_bot": Case(
        {"member_id": "#1", "is_bot": True, **BY},
        NOBODY,
        statements=6,
        statements_when_refused=8,
    ),
    "members.merge": Case(
        {"duplicate": "#2", "into": "#1", **BY},
        {"into": "#99"},
        statements=None,
        statements_when_refused=5,
    ),
    "members.merge_preview": Case(
        {"duplicate": "#2", "into": "#1"},
        {"into": "#99"},
        statements=None,
        statements_when_refused=3,
    ),
    "members.unmerge": Case(
        {"member_id_or_merge": "#4", **BY},
        {"member_id_or_merge": "#1"},
        statements=None,
        statements_when_refused=5,
    ),
    "members.merge_suggestions": Case(
        CURSOR, {"limit": 0}, statements=2, statements_when_refused=0
    ),
    "members.rank": Case({"member_id": "#1"}),
    "members.remember_bots": Case(
        {"names": {"800": "Rose", "discord:102": None}},
        {"names": {"8 0": "Rose"}},
        statements_when_refused=0,
    ),
    "members.remove": Case({"member_id": "#1", **BY}, NOBODY, statements_when_refused=2),
    "members.resolve": Case({"member": "#1"}, {"member": "#99"}),
    "members.restore": Case(
        {"member_id": "#3", **BY}, {"member_id": "#1"}, statements_when_refused=2
    ),
    "members.search": Case(
        {
            "text": "ana",
            **CONDITIONS,
            "sort": "name",
            **CURSOR,
            "with_total": False,
        },
        {"limit": 0},
        statements_when_refused=0,
    ),
    "members.seen": Case(
        {"telegram_id": "101", "username": "ana", "name": "Ana"},
        {"username": "a b"},
        statements_when_refused=0,
    ),
    "members.set_status": Case(
        {
            "member_id": "#1",
            "status": "suspended",
            "before": ["active"],
            "until": datetime(2190, 1, 1, tzinfo=UTC),
            **BY,
        },
        {"status": "not_member", "until": None},
    ),
    "members.set_username": Case(
        {"member_id": "#1", "telegram_username": "ana", **BY},
        NOBODY,
        statements=5,
        statements_when_refused=6,
    ),
    "members.update_profile": Case(
        {
            "member_id": "#1",
            "name": "Ana María",
            "telegram_username": "ana_maria",
            "primary_role": "designer",
            "organization": "Frutero",
            "country": "Chile",
            "profile_data": {"bio": "hello"},
            "replace_profile_data": UNSET,
            "before": {"country": "México", "profile_data": {"bio": None}},
            **BY,
        },
        NOBODY,
        statements_when_refused=2,
    ),
    "members.verify_github": Case(
        {
            "member_id": "#1",
            "github_username": "ana-dev",
            "github_profile_data": {"followers": 3},
            **BY,
        },
        {"github_username": "bo-dev"},
        statements=6,
        statements_when_refused=6,
    ),
    "participation.activity": Case(
        {"member_id": "#1", **DAYS}, BACKWARDS, statements_when_refused=0
    ),
    "participation.by_day": Case({"member_id": "#1", **DAYS}, BACKWARDS, statements_when_refused=0),
    "participation.by_room": Case(
        {"member_id": "#1", **DAYS, "limit": 5}, BACKWARDS, statements_when_refused=0
    ),
    "participation.history": Case(
        {"member_id": "#1", **CURSOR}, {"limit": 0}, statements_when_refused=0
    ),
    "participation.most_active": Case({**DAYS, "limit": 5}, BACKWARDS, statements_when_refused=0),
    "participation.move_room": Case(
        {"platform": "discord", "old_room_id": "general", "new_room_id": "lobby"},
        {"new_room_id": "general"},
        statements=None,
        statements_when_refused=7,
    ),
    "participation.record": Case({**EVENT, "durable": False}, NOBODY),
    "participation.record_many": Case({"events": [NewEvent(**EVENT)]}, statements=4),
    "participation.take_back": Case(
        {
            "member_id": "#1",
            "account": None,
            "platform": "telegram",
            "room_id": "-1",
            "source_id": "9",
            "event_type": "REACTION",
        },
        {"room_id": "\0"},
    ),
    "notes.add": Case({"member_id": "#2", "text": "Met in Oaxaca.", "actor": "eva"}, NOBODY),
    "notes.list_for": Case({"member_id": "#1", **CURSOR}, {"limit": 0}, statements_when_refused=0),
    "notes.remove": Case({"note_id": NOTE, "actor": "eva"}, {"note_id": UUID(int=9)}),
    "people.choices": Case({}),
    "people.count": Case(FILTERS, {"status": "asleep"}, statements_when_refused=0),
    "people.numbers": Case(FILTERS, {"status": "asleep"}, statements_when_refused=0),
    "people.search": Case(
        {**FILTERS, "sort": "-number", **CURSOR, "with_total": False},
        {"sort": "age"},
        statements_when_refused=0,
    ),
    "permissions.grant": Case(
        {"member_id": "#1", "permission": "review", "granted_by": "#1", **BY},
        {"granted_by": "#2"},
        statements=7,
        statements_when_refused=4,
    ),
    "permissions.has": Case({"member_id": "#1", "permission": "review"}),
    "permissions.holders": Case(
        {"permission": "review", **CURSOR}, {"limit": 0}, statements_when_refused=0
    ),
    "permissions.of": Case({"member_id": "#1"}, NOBODY),
    "requests.ask": Case({"member_id": "#2", "kind": "erasure", **BY}, NOBODY),
    "requests.list_open": Case(
        {"kind": "erasure", **CURSOR}, {"limit": 0}, statements_when_refused=0
    ),
    "requests.may_erase_themselves": Case({"member_id": "#2"}, NOBODY),
    "requests.resolve": Case({"member_id": "#1", "kind": "link", **BY}),
    "permissions.revoke": Case(
        {"member_id": "#1", "permission": "invite", "revoked_by": "#1", **BY},
        {"revoked_by": "#2"},
        statements=6,
        statements_when_refused=4,
    ),
    "members.erase": Case(
        {"member_id": "#1", "entity_ids": ["entity-a"], "by_themselves": False, **BY},
        NOBODY,
        statements=None,
        statements_when_refused=5,
    ),
    "members.export": Case(
        {"member_id": "#1", "entity_ids": ["entity-a"]},
        NOBODY,
        statements=2,
        statements_when_refused=2,
    ),
    "reputation.explain": Case({"member_id": "#1"}, NOBODY),
    "relationships.entities_of": Case({"member_id": "#1", "agent_id": AGENT}, NOBODY),
    "relationships.link": Case(
        {
            "entity_id_a": "entity-a",
            "entity_id_b": "entity-c",
            "relationship_type": "MENTORED",
            "content": {"since": 2026},
        },
        {"entity_id_b": "entity-a"},
    ),
    "relationships.list_for": Case({"entity_id": "entity-a", "relationship_type": "MENTORED"}),
    "relationships.of_member": Case(
        {"member_id": "#1", "relationship_type": "INVITED", "agent_id": AGENT},
        NOBODY,
        statements=5,
        statements_when_refused=3,
    ),
    "relationships.unlink": Case(
        {"entity_id_a": "entity-a", "entity_id_b": "entity-b", "relationship_type": "MENTORED"}
    ),
    "segments.list_all": Case({}),
    "segments.remove": Case(
        {"segment_id": SEGMENT}, {"segment_id": "x"}, statements_when_refused=0
    ),
    "segments.rename": Case({"segment_id": SEGMENT, "name": "In México"}, {"name": "Taken"}),
    "segments.save": Case(
        {"name": "In México", "filters": {"country": "México"}, "actor": "eva"},
        {"name": "Taken"},
        statements=5,
        statements_when_refused=4,
    ),
}


def arguments(helper: str, changed: Mapping[str, object] | None = None) -> dict[str, object]:
    """Return the valid arguments of a helper, some of them changed."""
    return {**CASES[helper].valid, **(changed or {})}


async def community(database: rows.Database) -> None:
    """Add the active #1, who wrote once and invited the pending #2, and the removed #3.

    #4 was merged into #1.
    Somebody has just approved #2, as an act.
    There are an open request, a note, an open invitation, a link, and a code with which #1 links
    another account, and two segments, too.
    """
    await rows.member(
        database, telegram_id="101", telegram_username="ana", country="México", status="active"
    )
    await rows.member(
        database,
        telegram_id="102",
        name="Bo",
        status="pending",
        invited_by="#1",
        github_username="bo-dev",
        github_verified=True,
        github_verified_at=await database.fetchval("SELECT now()"),
    )
    await rows.member(
        database,
        telegram_id="103",
        status="active",
        deleted_at=await database.fetchval("SELECT now()"),
    )
    await rows.audit_entry(
        database,
        act_id=ACT_ID,
        action="UPDATE",
        table_name="community_members",
        row_id=await database.fetchval("SELECT id FROM community_members WHERE member_id = '#2'"),
        member_id="#2",
        changes={"status": ["pending", "active"]},
    )
    await rows.merged_member(database, merged_into="#1")
    await rows.merge(database, duplicate_id="#4", before=json.dumps(MERGED))
    await rows.permission(database, member_id="#1", permission="manage")
    await rows.request(database, member_id="#1", kind="link")
    await rows.note(database, id=NOTE, member_id="#1")
    await rows.segment(database, id=SEGMENT)
    await rows.segment(database, name="Taken")
    await rows.invitation(database, invitation_code="OPENCODE", created_by="#1")
    await rows.relationship(
        database, entity_id_a="entity-a", entity_id_b="entity-b", relationship_type="MENTORED"
    )
    await rows.link_code(database, member_id="#1", code_hash=sha256(LINK_CODE.encode()).digest())
    await rows.event(database, member_id="#1", occurred_at=datetime(2026, 1, 31, 18, tzinfo=UTC))


class _Undo(Exception):
    pass


@asynccontextmanager
async def undone() -> AsyncIterator[DirectoryTransaction]:
    """Open a transaction that is rolled back at its end."""
    try:
        async with transaction() as current:
            yield current
            raise _Undo  # noqa: TRY301  caught below on purpose
    except _Undo:
        pass


def all_idle() -> bool:
    """Tell whether no helper holds a connection."""
    return engine.pool is not None and engine.pool.get_idle_size() == engine.pool.get_size()
