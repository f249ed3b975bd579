"""The Log: who did what, in words, and what exactly was changed."""

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from functools import partial
from typing import NamedTuple
from urllib.parse import urlencode
from uuid import UUID

from starlette.routing import Route

from community_directory.calendar import load_zone, today
from community_directory.database import Statement, engine
from community_directory.error_texts import gettext_noop
from community_directory.errors import InvalidInput
from community_directory.queries.audit import Change, ChangeKind
from community_directory.queries.filter_values import checked_choice
from community_directory.web.pages import PageContent, Pages, Visit, clean_name
from community_directory.web.workspace.filtered_person import find_filtered_person
from community_directory.web.workspace.log_entries import (
    EVERYTHING,
    LogFilters,
    encode_moment,
    read_act,
    read_log,
    read_transaction,
    sum_up,
)
from community_directory.web.workspace.story import StoryLine, tell

MAX_DETAILED = 10
"""The number of entries of a line whose values a page shows; a link leads to all."""
MAX_VALUE_LENGTH = 300
"""The number of characters after which a value is cut."""
MAX_COLLEAGUES = 12
MAX_ENTRY_ID = 2**63 - 1

SECRET_FIELDS = frozenset({"invitation_code"})
"""The fields whose values only managers see: whoever knows a code can join with it."""
HIDDEN_FIELDS = frozenset({"id", "invitation_id", "created_at"})
"""The fields of new rows that say nothing to a person."""

KIND_NAMES = {
    ChangeKind.MEMBER_APPROVED: gettext_noop("Approval"),
    ChangeKind.MEMBER_DECLINED: gettext_noop("Refusal"),
    ChangeKind.MEMBER_UNAPPROVED: gettext_noop("Approval taken back"),
    ChangeKind.MEMBER_UNDECLINED: gettext_noop("Refusal taken back"),
    ChangeKind.MEMBER_SUSPENDED: gettext_noop("Suspension"),
    ChangeKind.SUSPENSION_CHANGED: gettext_noop("End of a suspension changed"),
    ChangeKind.MEMBER_REINSTATED: gettext_noop("Suspension ended"),
    ChangeKind.MEMBER_BANNED: gettext_noop("Ban"),
    ChangeKind.MEMBER_UNBANNED: gettext_noop("Ban lifted"),
    ChangeKind.MEMBER_REMOVED: gettext_noop("Removal"),
    ChangeKind.MEMBER_RESTORED: gettext_noop("Restoration"),
    ChangeKind.MEMBER_ERASED: gettext_noop("Erasure of personal data"),
    ChangeKind.MEMBER_JOINED: gettext_noop("Joining"),
    ChangeKind.MEMBER_ADDED: gettext_noop("New person"),
    ChangeKind.PROFILE_CHANGED: gettext_noop("Profile changed"),
    ChangeKind.NOTE_ADDED: gettext_noop("Note written"),
    ChangeKind.NOTE_REMOVED: gettext_noop("Note removed"),
    ChangeKind.INVITATION_CREATED: gettext_noop("Invitation made"),
    ChangeKind.INVITATION_REDEEMED: gettext_noop("Invitation accepted"),
    ChangeKind.INVITATION_EXTENDED: gettext_noop("Invitation extended"),
    ChangeKind.INVITATION_CANCELLED: gettext_noop("Invitation cancelled"),
    ChangeKind.INVITATION_EXPIRED: gettext_noop("Invitation expired"),
    ChangeKind.PERMISSION_GRANTED: gettext_noop("Permission given"),
    ChangeKind.PERMISSION_REVOKED: gettext_noop("Permission taken"),
    ChangeKind.ACCOUNT_LINKED: gettext_noop("Account linked"),
    ChangeKind.ACCOUNT_UNLINKED: gettext_noop("Account unlinked"),
    ChangeKind.MEMBER_MERGED: gettext_noop("Merge"),
    ChangeKind.MEMBER_UNMERGED: gettext_noop("Merge taken back"),
    ChangeKind.TIER_REACHED: gettext_noop("Higher tier"),
    ChangeKind.TIER_LOST: gettext_noop("Lower tier"),
    ChangeKind.OTHER: gettext_noop("Another change"),
}
"""The kinds in the order in which the page offers them."""

LIST_COLLEAGUES = Statement("""
SELECT username FROM piccolo_user WHERE active AND admin
ORDER BY last_login DESC NULLS LAST, username LIMIT :limit
""")


class FieldChange(NamedTuple):
    """A changed field with its old and new value, as text."""

    name: str
    before: str
    after: str


class EntryDetails(NamedTuple):
    """What exactly an entry of the log has changed."""

    change: Change
    fields: list[FieldChange]


class LogLine(NamedTuple):
    """A line of the page, with the exact changes of its first entries."""

    story: StoryLine
    time: str
    details: list[EntryDetails]


class Day(NamedTuple):
    """The lines of a day, newest first."""

    day: date
    lines: list[LogLine]


def routes(pages: Pages) -> list[Route]:
    """Return the routes of the page."""
    return [Route("/log/", pages.page(build_log))]


async def build_log(visit: Visit) -> PageContent:
    """Build the page: the log with filters, or everything that one act has changed."""
    if visit.query.get("act") or visit.query.get("entry"):
        return await _build_act(visit)
    query = visit.query
    named = query.get("person", "").strip()
    person = await find_filtered_person(named) if named else None
    kind = checked_choice("kind", query.get("kind"), ChangeKind)
    filters = LogFilters(
        actor=query.get("by", "").strip() or None,
        day=_parse_day(query.get("day", "")),
        member_id=person.member_id if person else None,
        kind=ChangeKind(kind) if kind else None,
    )
    state: dict[str, str | None] = {
        "by": filters.actor,
        "day": filters.day.isoformat() if filters.day else None,
        "person": person.member_id.removeprefix("#") if person else None,
        "kind": filters.kind,
    }
    log = await read_log(filters, after=query.get("after"))
    lines = await tell(visit, log.entries, counts=log.counts)
    colleagues = await engine.read(LIST_COLLEAGUES, limit=MAX_COLLEAGUES)
    now = today()
    variables = {
        "days": _group_by_day(visit, lines),
        "page": log.page,
        "searched_until": log.searched_until,
        "further": encode_moment(log.searched_until) if log.searched_until else None,
        "filters": filters,
        "person": person,
        "colleagues": [username for (username,) in colleagues],
        "recent_days": [now, now - timedelta(days=1)],
        "kinds": KIND_NAMES,
        "address": partial(_make_address, state),
        "has_filters": filters != EVERYTHING,
    }
    return PageContent("log.html", variables)


async def _build_act(visit: Visit) -> PageContent:
    """Build the page of everything that one act, or one transaction, has changed."""
    after = visit.query.get("after")
    with suppress(ValueError):
        if visit.query.get("act"):
            page = await read_act(UUID(visit.query["act"]), after)
        else:
            page = await read_transaction(_parse_entry_id(visit.query["entry"]), after)
        if page.items or after:
            lines = await tell(visit, page.items, one_by_one=True)
            newest_first, counts = await sum_up(page.items[::-1])
            show_time = visit.translation.format_short_datetime
            variables = {
                "summary": await tell(visit, newest_first, counts=counts),
                "lines": [_detail(visit, line, show_time(line.moment)) for line in lines],
                "page": page,
                "address": partial(
                    _make_address,
                    {name: visit.query.get(name) for name in ("act", "entry")},
                ),
            }
            return PageContent("log_act.html", variables)
    heading = visit.gettext("There is no such entry in the log")
    text = visit.gettext("Look for it in the list.")
    return PageContent("message.html", {"heading": heading, "message": text}, 404)


def _make_address(state: dict[str, str | None], **changes: str | None) -> str:
    """Return the address of the page with other parameters; a page of the list is left."""
    kept = {name: value for name, value in {**state, **changes}.items() if value}
    return f"?{urlencode(kept)}" if kept else "?"


def _parse_day(text: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidInput("A day is a date without a time.", field="day") from None


def _parse_entry_id(text: str) -> int:
    number = int(text)
    if not 0 <= number <= MAX_ENTRY_ID:
        raise ValueError
    return number


def _group_by_day(visit: Visit, lines: Sequence[StoryLine]) -> list[Day]:
    days: list[Day] = []
    zone = load_zone(None)
    for line in lines:
        local = line.moment.astimezone(zone)
        if not days or days[-1].day != local.date():
            days.append(Day(local.date(), []))
        days[-1].lines.append(_detail(visit, line, f"{local:%H:%M}"))
    return days


def _detail(visit: Visit, line: StoryLine, time: str) -> LogLine:
    shown = [
        EntryDetails(entry, _list_fields(visit, entry)) for entry in line.entries[:MAX_DETAILED]
    ]
    return LogLine(line, time, shown)


def _list_fields(visit: Visit, entry: Change) -> list[FieldChange]:
    """Return the changed fields with their values; codes only for managers."""
    return [
        FieldChange(
            visit.translation.word(field), *(_show_value(visit, value, field) for value in pair)
        )
        for field, pair in sorted(entry.changes.items())
        if field not in HIDDEN_FIELDS and (field not in SECRET_FIELDS or visit.may("manager"))
    ]


def _show_value(visit: Visit, value: object, field: str) -> str:
    """Return a value of the log as text; an empty one is a dash."""
    if value is None:
        return "—"
    if isinstance(value, bool):
        return visit.gettext("yes") if value else visit.gettext("no")
    if isinstance(value, str) and field.endswith(("_at", "_until")):
        with suppress(ValueError):
            return visit.translation.format_short_datetime(datetime.fromisoformat(value))
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = clean_name(visit.translation.word(text) if field in WORD_FIELDS else text)
    return text if len(text) <= MAX_VALUE_LENGTH else f"{text[: MAX_VALUE_LENGTH - 1]}…"


WORD_FIELDS = frozenset({"status", "permission", "reputation_tier"})
"""The fields whose values are names in the code."""
