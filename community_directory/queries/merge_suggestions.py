"""Suggestions to merge members who seem to be one person, and those that were dismissed.

Callers use it as `members.merge_suggestions` and `members.dismiss_suggestion`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import asyncpg

from community_directory.database import Statement, engine, long_running
from community_directory.error_texts import gettext_noop
from community_directory.errors import InvalidInput, MemberNotFound, sanitize_for_message
from community_directory.queries.member_rows import Member, member_columns, member_from
from community_directory.queries.pages import (
    NUMBER_FIELD,
    SMALL_INT_FIELD,
    Page,
    PagedList,
    PageOrder,
    checked_limit,
)
from community_directory.queries.values import ACTOR_CTE, member_number, required_actor
from community_directory.tables import MemberStatus


class ReasonKind(StrEnum):
    """The kinds of reasons to suggest that two members are one person, the strongest first."""

    PROVED = "proved"
    """Somebody proved with a one-time code that an account of each is theirs."""
    GITHUB = "github"
    """Both name the same GitHub account."""
    STATED = "stated"
    """The profile of one states an account of the other."""
    USERNAME = "username"
    """They have the same username on two platforms, in any case."""
    NAME = "name"
    """They have the same name, as searches compare it, and the same inviter."""


REASON_MESSAGES = {
    ReasonKind.PROVED: gettext_noop("the same person proved accounts of both"),
    ReasonKind.GITHUB: gettext_noop("the same GitHub account: {detail}"),
    ReasonKind.STATED: gettext_noop("one profile states the other's Discord account: {detail}"),
    ReasonKind.USERNAME: gettext_noop("the same username on two platforms: {detail}"),
    ReasonKind.NAME: gettext_noop("the same name, and the same inviter: {detail}"),
}


@dataclass(frozen=True, slots=True)
class SuggestionReason:
    """A reason to suggest that two members are one person.

    Attributes:
        kind: The kind of the reason.
        detail: The GitHub username or id, the Discord id, the username in lower case, or the number
            of the inviter; None if somebody proved accounts of both.
    """

    kind: ReasonKind
    detail: str | None

    @property
    def message(self) -> str:
        """The reason in words, such as "the same GitHub account: ana"."""
        return REASON_MESSAGES[self.kind].format(detail=sanitize_for_message(self.detail))


@dataclass(frozen=True, slots=True)
class MergeSuggestion:
    """Two members who seem to be one person.

    Attributes:
        member: The one to keep: the first who joined, or the one who is no mere contact.
        other: The one to merge into `member`.
        reasons: Why they seem to be one person, the strongest reason first.
    """

    member: Member
    other: Member
    reasons: tuple[SuggestionReason, ...]


# A name or a username of many members makes a pair of each with the next ten of them only, so that
# the number of pairs stays a multiple of the number of members.
NEXT_TEN = "length(member_id), member_id GROUPS BETWEEN 1 FOLLOWING AND 10 FOLLOWING"


def _pair_key(strength: str, member_a: str, member_b: str) -> list[str]:
    """Return the SQL of the sort key of a pair, from columns or parameters."""
    numbers = (member_a, member_b)
    return [strength, *(part for n in numbers for part in (f"length({n})", f'{n} COLLATE "C"'))]


def _list_suggestions_sql(order: PageOrder) -> str:
    key = _pair_key("strength", "member_a", "member_b")
    cursor = _pair_key(":strength::integer", ":member_a::text", ":member_b::text")
    return f"""
WITH usernames AS MATERIALIZED (
    -- every username of a member on a platform; on GitHub also one that is not verified
    SELECT lower(username) AS username, platform, member_id FROM member_accounts
    WHERE username IS NOT NULL
    UNION ALL
    SELECT lower(github_username), 'github', member_id FROM community_members
    WHERE github_username IS NOT NULL AND NOT github_verified
    UNION ALL
    SELECT lower(telegram_username), 'telegram', member_id FROM community_members
    WHERE telegram_username IS NOT NULL AND telegram_id !~ '^[1-9]'
), same_usernames AS (
    -- each holder of a username that several have, with the next holders
    SELECT username, platform, member_id, array_agg(member_id) OVER next_ten AS next_members,
        array_agg(platform) OVER next_ten AS next_platforms
    FROM usernames
    WHERE username IN (SELECT username FROM usernames GROUP BY username HAVING count(*) > 1)
    WINDOW next_ten AS (PARTITION BY username ORDER BY {NEXT_TEN})
), shared_names AS (
    -- the names that several people of one inviter have
    SELECT invited_by, directory_search_text(name) AS folded_name FROM community_members
    WHERE invited_by IS NOT NULL AND deleted_at IS NULL AND NOT is_bot
    GROUP BY invited_by, directory_search_text(name)
    HAVING count(*) > 1 AND directory_search_text(name) <> ''
), same_names AS (
    -- each of these people, with the next of them
    SELECT invited_by, member_id, array_agg(member_id) OVER (
        PARTITION BY invited_by, folded_name ORDER BY {NEXT_TEN}
    ) AS next_members
    FROM shared_names JOIN community_members AS member USING (invited_by)
    WHERE directory_search_text(member.name) = folded_name
        AND invited_by IS NOT NULL AND deleted_at IS NULL AND NOT is_bot
), hints (kind, detail, first_member, second_member) AS (
    SELECT 'proved', NULL,
        coalesce(first.merged_into, first.member_id), coalesce(second.merged_into, second.member_id)
    FROM directory_proved_pairs
        JOIN community_members AS first ON first.member_id = member_a
        JOIN community_members AS second ON second.member_id = member_b
    UNION
    SELECT 'github', coalesce(github_username, account_id), account.member_id, member.member_id
    FROM member_accounts AS account JOIN community_members AS member ON account_id
        = coalesce(github_profile_data ->> 'id', github_profile_data ->> 'databaseId')
    WHERE platform = 'github' AND account.member_id <> member.member_id
    UNION
    SELECT 'stated', account_id, account.member_id, member.member_id
    FROM member_accounts AS account
        JOIN community_members AS member ON account_id = profile_data ->> 'discord_id'
    WHERE platform = 'discord' AND profile_data ->> 'discord_id' IS NOT NULL
        AND account.member_id <> member.member_id
    UNION
    SELECT CASE WHEN platform = next_platform THEN 'github' ELSE 'username' END, username,
        member_id, next_member
    FROM same_usernames, unnest(next_members, next_platforms) AS next(next_member, next_platform)
    WHERE platform <> next_platform OR platform = 'github'
    UNION
    SELECT 'name', invited_by, member_id, unnest(next_members) FROM same_names
), pairs AS (
    -- each pair once, the lower number first
    SELECT member_a, member_b, min(strength) AS strength,
        array_agg(kind ORDER BY strength, detail) AS kinds,
        array_agg(detail ORDER BY strength, detail) AS details
    FROM (
        SELECT kind, detail, array_position(:kinds::text[], kind) AS strength,
            CASE WHEN is_ordered THEN first_member ELSE second_member END AS member_a,
            CASE WHEN is_ordered THEN second_member ELSE first_member END AS member_b
        FROM hints, LATERAL (
            SELECT (length(first_member), first_member COLLATE "C")
                < (length(second_member), second_member COLLATE "C") AS is_ordered
        ) AS pair_order
        WHERE first_member <> second_member
    ) AS ordered_hints
    GROUP BY member_a, member_b
)
SELECT strength, member_a, member_b, kinds, details,
    {member_columns("first")}, {member_columns("second")}
FROM pairs
    JOIN community_members AS first ON first.member_id = member_a
    JOIN community_members AS second ON second.member_id = member_b
WHERE first.deleted_at IS NULL AND NOT first.is_bot
    AND second.deleted_at IS NULL AND NOT second.is_bot
    -- Whoever is not the same person as a merged member is not the one who has everything of it.
    AND NOT EXISTS (
        SELECT FROM directory_dismissed_merges AS dismissed
            JOIN community_members AS a ON a.member_id = dismissed.member_a
            JOIN community_members AS b ON b.member_id = dismissed.member_b
        WHERE pairs.member_a IN (
                coalesce(a.merged_into, a.member_id), coalesce(b.merged_into, b.member_id)
            )
            AND pairs.member_b IN (
                coalesce(a.merged_into, a.member_id), coalesce(b.merged_into, b.member_id)
            )
    )
    AND {order.after(", ".join(key), ", ".join(cursor))}
{order.by(*key)} LIMIT :limit
"""


SUGGESTIONS = PagedList(
    "merge_suggestions",
    {"strength": SMALL_INT_FIELD, "member_a": NUMBER_FIELD, "member_b": NUMBER_FIELD},
    _list_suggestions_sql,
)

DISMISS_SUGGESTION = Statement(f"""
WITH {ACTOR_CTE}, pair AS (
    -- the two members, or whom they were merged into; NULL if there is none
    SELECT (
        SELECT coalesce(merged_into, member_id) FROM community_members WHERE member_id = :first
    ) AS first, (
        SELECT coalesce(merged_into, member_id) FROM community_members WHERE member_id = :second
    ) AS second
), dismissed AS (
    INSERT INTO directory_dismissed_merges (member_a, member_b)
    SELECT CASE WHEN is_ordered THEN first ELSE second END,
        CASE WHEN is_ordered THEN second ELSE first END
    FROM pair, actor, LATERAL (
        SELECT (length(first), first COLLATE "C") < (length(second), second COLLATE "C")
            AS is_ordered
    ) AS pair_order
    WHERE first <> second
    ON CONFLICT (member_a, member_b) DO NOTHING
)
SELECT first, second FROM pair
""")


async def merge_suggestions(*, limit: int = 20, after: str | None = None) -> Page[MergeSuggestion]:
    """List pairs of members who seem to be one person, those with the strongest reason first.

    Bots, and removed, erased and merged members, are in no pair, nor are two members whose
    suggestion was dismissed. Each pair is listed once, with all its reasons. If more than ten
    members have the same name or username, each makes a pair with the next ten of them.

    Every page compares all members: with a million of them it takes one to two seconds, and has the
    long time limit.

    Args:
        limit: The number of suggestions on the page, 1 to 100.
        after: A cursor of another page.

    Raises:
        InvalidCursor: `after` is not a cursor of this list.
        InvalidInput: The limit is not 1 to 100.
    """
    with long_running():
        page = await SUGGESTIONS.read_page(
            after,
            checked_limit(limit),
            lambda record: record,
            lambda record: tuple(record[:3]),
            kinds=list(ReasonKind),
        )
    found = [_suggestion_from(record) for record in page.items]
    return Page(found, page.next_cursor, page.previous_cursor)


async def dismiss_suggestion(
    member_id: str | int, other: str | int, *, actor: str, reason: str | None = None
) -> None:
    """Never suggest again that two members are one person.

    The order of the two does not matter. A repeated call changes nothing. The suggestion also stays
    away from whoever one of the two is merged into later, until that merge is undone.

    Args:
        member_id: The number of one member. That of a merged member means the one who has
            everything of it.
        other: The number of the other member.
        actor: The author of the change, for the audit log.
        reason: The reason of the change, for the audit log.

    Raises:
        MemberNotFound: No member has one of these numbers.
        InvalidInput: Both numbers mean the same member, or the actor is blank.
    """
    numbers = member_number(member_id), member_number(other, "other")
    [found] = await engine.fetch(
        DISMISS_SUGGESTION,
        first=numbers[0],
        second=numbers[1],
        actor=required_actor(actor),
        reason=reason,
    )
    for number, present in zip(numbers, found, strict=True):
        if present is None:
            raise MemberNotFound(number)
    if found["first"] == found["second"]:
        raise InvalidInput("These are the same member. Choose two members.", field="other")


def _suggestion_from(record: asyncpg.Record | Sequence[Any]) -> MergeSuggestion:
    _, _, _, kinds, details, *columns = record
    first, second = member_from(columns), member_from(columns[len(columns) // 2 :])
    if first.status is MemberStatus.NOT_MEMBER is not second.status:
        first, second = second, first
    reasons = (SuggestionReason(ReasonKind(k), d) for k, d in zip(kinds, details, strict=True))
    return MergeSuggestion(first, second, tuple(reasons))
