"""The audit log: the history of a member, and the feed of all changes."""

from community_directory.queries.changes import CHANGE_COLUMNS, Change, ChangeKind
from community_directory.queries.feed import Consumer, consumers, follow, forget_consumer
from community_directory.queries.observation import observe_helpers
from community_directory.queries.pages import (
    INT_FIELD,
    Page,
    PagedList,
    PageOrder,
    checked_limit,
)
from community_directory.queries.values import member_number

__all__ = [
    "Change",
    "ChangeKind",
    "Consumer",
    "consumers",
    "follow",
    "forget_consumer",
    "history",
]


def _list_entries_sql(order: PageOrder) -> str:
    return f"""
WITH person AS (
    -- the number, and those of the member who has everything of it and of all merged into that one
    SELECT :member_id::text AS number
    UNION
    SELECT number FROM community_members AS named, LATERAL (
        SELECT coalesce(named.merged_into, named.member_id) AS number
        UNION ALL
        SELECT member_id FROM community_members
        WHERE merged_into = coalesce(named.merged_into, named.member_id)
    ) AS numbers
    WHERE named.member_id = :member_id
)
SELECT entry.* FROM person, LATERAL (
    SELECT {CHANGE_COLUMNS}
    FROM directory_audit_log
    WHERE member_id = number AND {order.after("id", ":entry_id")}
    {order.by("id")} LIMIT :limit
) AS entry
{order.by("id")} LIMIT :limit
"""


AUDIT_ENTRIES = PagedList("history", {"entry_id": INT_FIELD}, _list_entries_sql, is_descending=True)


async def history(
    member_id: str | int, *, after: str | None = None, limit: int = 20
) -> Page[Change]:
    """List the changes of a member and of the invitations that they created, newest first.

    The changes of all writers are included: helpers, the panel and plain SQL. Those of everybody
    who was merged into the member are included, too, and the number of a merged member leads to the
    other one. The page is empty if no member has this number.

    Args:
        member_id: The member's number, "#247" or 247.
        after: A cursor of another page.
        limit: The number of entries on the page, 1 to 100.

    Raises:
        InvalidCursor: `after` is not a cursor of this list.
        InvalidInput: The limit is not 1 to 100, or the number is neither a text nor an integer.
    """
    return await AUDIT_ENTRIES.read_page(
        after,
        checked_limit(limit),
        Change.from_record,
        lambda entry: (entry.id,),
        member_id=member_number(member_id),
    )


observe_helpers(globals())
