"""What the Log reads: the entries of some transactions, newest first, and those of one act."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from community_directory.calendar import days_between
from community_directory.database import Parameters, Statement, engine
from community_directory.queries.audit import Change, ChangeKind
from community_directory.queries.change_sql import KIND_SQL
from community_directory.queries.changes import CHANGE_COLUMNS, STATUS_KINDS
from community_directory.queries.pages import (
    INT_FIELD,
    TIME_FIELD,
    CursorFormat,
    Page,
    PagedList,
    PageOrder,
    make_page,
)

MOMENTS_ON_PAGE = 25
"""The number of transactions on a page."""
MAX_SHOWN = 100
"""The number of entries of a transaction up to which a page reads all of them."""
MAX_SHOWN_OF_KIND = 10
"""The number of entries of each kind that it reads of a larger transaction."""
MAX_SEARCHED = 30_000
"""The number of entries in which a page looks for a kind of change; the next one looks further."""

STATUS_CHANGES = frozenset(
    {ChangeKind.MEMBER_BANNED, ChangeKind.MEMBER_UNDECLINED, *STATUS_KINDS.values()}
) - {ChangeKind.MEMBER_JOINED}
"""The kinds that are changes of a member's status alone; an index has such entries."""
IS_STATUS_CHANGE = "table_name = 'community_members' AND action = 'UPDATE' AND changes ? 'status'"

MOMENT_CURSORS = CursorFormat("log", TIME_FIELD)

FIND_NUMBERS = Statement("""
SELECT member_id FROM community_members
WHERE member_id = :member_id OR merged_into = :member_id
""")
COUNT_KINDS = Statement(f"""
SELECT changed_at, kind, count(*), (array_agg(id ORDER BY id DESC))[:{MAX_SHOWN_OF_KIND}] AS ids
FROM (
    SELECT id, changed_at, {KIND_SQL} AS kind FROM directory_audit_log
    WHERE changed_at = ANY(:moments::timestamptz[]) AND (:actor::text IS NULL
        OR lower(actor) = lower(:actor))
) AS entry WHERE :kind::text IS NULL OR kind = :kind
GROUP BY changed_at, kind
""")
GET_ENTRIES = Statement(f"""
SELECT {CHANGE_COLUMNS} FROM directory_audit_log WHERE id = ANY(:ids::bigint[])
""")


@dataclass(frozen=True, slots=True)
class LogFilters:
    """What the page shows: of one colleague, one day, one person, one kind, or everything.

    Attributes:
        actor: The author of the changes.
        day: The day, in the community's time zone.
        member_id: The number of the member who was changed, or who invited.
        kind: The kind of the changes.
    """

    actor: str | None = None
    day: date | None = None
    member_id: str | None = None
    kind: ChangeKind | None = None


EVERYTHING = LogFilters()
Counts = Mapping[tuple[datetime, ChangeKind], int]


@dataclass(frozen=True, slots=True)
class LogPage:
    """A page of the log.

    Attributes:
        entries: The entries, newest first, those of one transaction after each other.
        counts: The numbers of entries by time and kind, of transactions with more than the page
            shows.
        page: The times of the transactions, with the cursors of other pages.
        searched_until: The time back to which a search for a kind has looked; None if it has found
            enough, or has looked at all entries.
    """

    entries: list[Change]
    counts: Counts
    page: Page[datetime]
    searched_until: datetime | None


async def read_log(filters: LogFilters, *, after: str | None = None) -> LogPage:
    """Read a page of the log.

    Raises:
        InvalidCursor: `after` is not a cursor of this list.
    """
    cursor = MOMENT_CURSORS.decode(after) if after else None
    order = PageOrder(
        is_descending=cursor is None or not cursor.is_backward, has_cursor=cursor is not None
    )
    numbers = await _find_numbers(filters.member_id)
    parameters = Parameters()
    condition = _make_condition(filters, numbers, parameters)
    if filters.kind in STATUS_CHANGES:
        condition += f" AND {IS_STATUS_CHANGE}"
    edge = order.after("changed_at", parameters.bind(cursor.values[0])) if cursor else "true"
    searched = f"""
        SELECT id, changed_at, table_name, action, changes, undone_act_id FROM directory_audit_log
        WHERE {condition} AND {edge}
        {order.by("changed_at", "id")} LIMIT {MAX_SEARCHED}"""
    kind = f"{KIND_SQL} = {parameters.bind(filters.kind)}::text" if filters.kind else "true"
    moments_sql = f"""
        SELECT DISTINCT changed_at FROM ({searched}) AS searched WHERE {kind}
        {order.by("changed_at")} LIMIT {MOMENTS_ON_PAGE + 1}"""
    moments = [moment for (moment,) in await engine.read(moments_sql, *parameters)]
    page = make_page(moments, MOMENTS_ON_PAGE, MOMENT_CURSORS, cursor, lambda moment: (moment,))
    searched_until = None
    if filters.kind and len(moments) <= MOMENTS_ON_PAGE and order.is_descending:
        searched_until = await _find_end_of_search(
            condition, edge, parameters, order, cursor.values[0] if cursor else None
        )
    entries = await _read_entries(filters, numbers, page.items)
    counts: Counts = {}
    if filters.member_id is None:
        entries, counts = await sum_up(entries, filters)
    return LogPage(
        entries,
        counts,
        page,
        searched_until,
    )


def encode_moment(moment: datetime) -> str:
    """Return the cursor of the page after a time."""
    return MOMENT_CURSORS.encode((moment,))


async def _find_end_of_search(
    condition: str, edge: str, parameters: Parameters, order: PageOrder, start: datetime | None
) -> datetime | None:
    """Return the time before which the next page looks, if there are older entries."""
    # The kind is the last parameter, which this statement does not have.
    sql = f"""
        SELECT changed_at FROM directory_audit_log WHERE {condition} AND {edge}
        {order.by("changed_at", "id")} OFFSET {MAX_SEARCHED} LIMIT 1"""
    records = await engine.read(sql, *parameters[:-1])
    if not records:
        return None
    # The search may have ended within a transaction, which the next page searches again; but it
    # goes on behind one that is larger than a search.
    end: datetime = records[0][0]
    again = end + timedelta(microseconds=1)
    return end if start is not None and again >= start else again


async def _find_numbers(member_id: str | None) -> list[str] | None:
    if member_id is None:
        return None
    return [number for (number,) in await engine.read(FIND_NUMBERS, member_id=member_id)]


def _make_condition(
    filters: LogFilters, numbers: Sequence[str] | None, parameters: Parameters
) -> str:
    """Return the condition in SQL of all filters but the kind."""
    conditions = ["true"]
    if filters.actor is not None:
        conditions.append(f"lower(actor) = lower({parameters.bind(filters.actor)}::text)")
    if filters.day is not None:
        span = days_between(filters.day, filters.day, None)
        conditions.append(f"changed_at >= {parameters.bind(span.starts[0])}")
        conditions.append(f"changed_at < {parameters.bind(span.end)}")
    if numbers is not None:
        conditions.append(f"member_id = ANY({parameters.bind(numbers)}::text[])")
    return " AND ".join(conditions)


async def _read_entries(
    filters: LogFilters, numbers: Sequence[str] | None, moments: Sequence[datetime]
) -> list[Change]:
    """Return the entries of some transactions that fulfil the filters, newest first."""
    parameters = Parameters()
    condition = _make_condition(filters, numbers, parameters)
    if filters.kind:
        condition += f" AND {KIND_SQL} = {parameters.bind(filters.kind)}::text"
    sql = f"""
        SELECT entry.* FROM unnest({parameters.bind(list(moments))}::timestamptz[]) AS moment,
            LATERAL (
                SELECT {CHANGE_COLUMNS} FROM directory_audit_log
                WHERE changed_at = moment AND {condition}
                ORDER BY id DESC LIMIT {MAX_SHOWN}
            ) AS entry
        ORDER BY changed_at DESC, id DESC"""
    records = await engine.read(sql, *parameters) if moments else []
    return [Change.from_record(record) for record in records]


async def sum_up(
    entries: Sequence[Change], filters: LogFilters = EVERYTHING
) -> tuple[list[Change], Counts]:
    """Replace the entries of large transactions by some of each kind, and count them by kind."""
    shown = Counter(entry.changed_at for entry in entries)
    large = [moment for moment, number in shown.items() if number >= MAX_SHOWN]
    if not large:
        return list(entries), {}
    groups = await engine.read(COUNT_KINDS, moments=large, actor=filters.actor, kind=filters.kind)
    records = await engine.read(
        GET_ENTRIES, ids=[each for group in groups for each in group["ids"]]
    )
    found = [entry for entry in entries if entry.changed_at not in large]
    found += map(Change.from_record, records)
    found.sort(key=lambda entry: (entry.changed_at, entry.id), reverse=True)
    return found, {(group[0], ChangeKind(group[1])): group[2] for group in groups}


def _make_act_list(name: str, condition: str) -> PagedList:
    """Return the list of all entries that fulfil a condition, in the order of their ids."""

    def make_sql(order: PageOrder) -> str:
        return f"""
SELECT {CHANGE_COLUMNS} FROM directory_audit_log
WHERE {condition} AND {order.after("id", ":last_id")} {order.by("id")} LIMIT :limit
"""

    return PagedList(name, {"last_id": INT_FIELD}, make_sql)


ENTRIES_OF_ACT = _make_act_list("act", "act_id = :act_id")
ENTRIES_OF_TRANSACTION = _make_act_list(
    "transaction",
    "changed_at = (SELECT changed_at FROM directory_audit_log WHERE id = :entry_id)",
)


async def read_act(act_id: UUID, after: str | None) -> Page[Change]:
    """List everything that an act has changed."""
    return await ENTRIES_OF_ACT.read_page(
        after, MAX_SHOWN, Change.from_record, lambda entry: (entry.id,), act_id=act_id
    )


async def read_transaction(entry_id: int, after: str | None) -> Page[Change]:
    """List everything that was changed in the same transaction as an entry of the log."""
    return await ENTRIES_OF_TRANSACTION.read_page(
        after, MAX_SHOWN, Change.from_record, lambda entry: (entry.id,), entry_id=entry_id
    )
