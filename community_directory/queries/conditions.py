"""The conditions of searches, counts and streams of members, and their SQL."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypedDict

from community_directory.database import Parameters
from community_directory.errors import InvalidInput
from community_directory.queries.folding import contains_pattern, fold_needle
from community_directory.queries.identifiers import clean_identifier
from community_directory.queries.reputation import MAX_SCORE, scores_of
from community_directory.queries.values import (
    check_text,
    check_texts,
    member_number,
    parse_choice,
    present_number_sql,
)
from community_directory.tables import CommunityMember, MemberStatus, ReputationTier

MAX_SEARCH_LENGTH = 200
SEARCH_TEXT_LENGTH = 350
"""The length at which the column `search_text` is cut."""
MAX_INACTIVITY = timedelta(days=36_500)

USERNAME_PATTERN = re.compile(r"[\w.-]+")
"""A text that can be the username of an account."""
IS_ACTIVE = f"status = '{MemberStatus.ACTIVE}'"
"""A condition in SQL, with a literal for the predicates of the indexes."""

# The username of an account on Discord, or of a second one on Telegram, is not in search_text. The
# key of the member, unlike the number, is in the index of the best members. With arrays instead of
# a join PostgreSQL expects a few members, and does not read the whole table.
HAS_USERNAME = """id = ANY(ARRAY(
    SELECT id FROM community_members WHERE member_id = ANY(ARRAY(
        SELECT member_id FROM member_accounts
        WHERE lower(username) = lower((SELECT {USERNAME}::text))
    ))
))"""
"""A condition in SQL: the member has an account with this username."""


class MemberConditions(TypedDict, total=False):
    """The conditions that members meet; `members.search` describes each of them."""

    role: str | None
    country: str | None
    organization: str | None
    status: MemberStatus | str | None
    min_reputation: int | None
    max_reputation: int | None
    tier: ReputationTier | str | None
    invited_by: str | int | None
    github_verified: bool | None
    inactive_for: timedelta | None
    joined_since: datetime | None
    is_bot: bool


class Filter(NamedTuple):
    """A condition in SQL on one column."""

    sql: str
    in_index: str
    """The condition for a statement that reads an index of the column.

    From a condition with = or >= and an unknown value, PostgreSQL expects as many members as have
    an average value, or a third of all, and reads the whole table; with BETWEEN it expects few.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """The checked conditions of a search, a count or a stream; None is no condition."""

    text: str | None
    """The folded text, which is not empty; None finds everybody."""
    username: str | None
    """The text as a username; None if it can be none."""
    equal: Mapping[str, str | None]
    """Columns and the values that they must have."""
    scores: range
    invited_by: str | None
    github_verified: bool | None
    inactive_for: timedelta | None
    joined_since: datetime | None
    is_bot: bool

    @property
    def finds_nobody(self) -> bool:
        """Whether no member can meet them."""
        return self.text == "" or not self.scores

    @property
    def is_active_or_any(self) -> bool:
        """Whether the status is active, or there is no condition on it."""
        return self.equal["status"] in (MemberStatus.ACTIVE, None)

    @property
    def people(self) -> str:
        """The condition that removed members, and bots or all others, are left out, in SQL."""
        return f"deleted_at IS NULL AND {'is_bot' if self.is_bot else 'NOT is_bot'}"

    def filters(self, parameters: Parameters) -> dict[str, Filter]:
        """Return the conditions on columns, whose values become parameters, by their columns.

        A parameter is written as (SELECT $1): PostgreSQL does not know this value when it plans the
        statement, so one plan serves all values.
        """
        found: dict[str, Filter] = {}
        for column, value in self.equal.items():
            if (column, value) == ("status", MemberStatus.ACTIVE):
                found[column] = Filter(IS_ACTIVE, "true")
            elif value is not None:
                # A literal lets PostgreSQL use the index of the other statuses.
                others = f" AND NOT {IS_ACTIVE}" if column == "status" else ""
                found[column] = _equals(column, f"{parameters.bind(value)}::text", others)
        if self.invited_by is not None:
            number = present_number_sql(f"{parameters.bind(self.invited_by)}::text")
            found["invited_by"] = _equals("invited_by", number)
        if scores := " AND ".join(self._score_limits(parameters)):
            found["reputation_score"] = Filter(scores, "true")
        if self.github_verified is not None:
            verified = "github_verified" if self.github_verified else "NOT github_verified"
            found["github_verified"] = Filter(verified, "true")
        if self.inactive_for is not None:
            since = f"(SELECT now() - {parameters.bind(self.inactive_for)}::interval)"
            found["last_active_at"] = Filter(
                f"coalesce(last_active_at, 'epoch') <= {since}", "true"
            )
        if self.joined_since is not None:
            since = f"(SELECT {parameters.bind(self.joined_since)}::timestamptz)"
            found["created_at"] = Filter(
                f"created_at >= {since}", f"created_at BETWEEN {since} AND 'infinity'"
            )
        return found

    def _score_limits(self, parameters: Parameters) -> Iterator[str]:
        if self.scores.start > 0:
            yield f"reputation_score >= (SELECT {parameters.bind(self.scores.start)}::integer)"
        if self.scores.stop <= MAX_SCORE:
            yield f"reputation_score < (SELECT {parameters.bind(self.scores.stop)}::integer)"

    def matches(self, parameters: Parameters) -> Iterator[str]:
        """Yield the conditions of which one must be true if there is a text; no two are."""
        if self.text is None:
            return
        pattern = f"(SELECT {parameters.bind(contains_pattern(self.text))}::text)"
        yield f"search_text LIKE {pattern}"
        if self.username is not None and is_indexed(self.text):
            has_username = HAS_USERNAME.format(USERNAME=parameters.bind(self.username))
            yield f"{has_username} AND search_text NOT LIKE {pattern}"


def _equals(column: str, value: str, others: str = "") -> Filter:
    selected = f"(SELECT {value})"
    return Filter(f"{column} = {selected}{others}", f"{column} BETWEEN {selected} AND {selected}")


def check_conditions(
    text: str | None = None,
    *,
    role: str | None = None,
    country: str | None = None,
    organization: str | None = None,
    status: MemberStatus | str | None = MemberStatus.ACTIVE,
    min_reputation: int | None = None,
    max_reputation: int | None = None,
    tier: ReputationTier | str | None = None,
    invited_by: str | int | None = None,
    github_verified: bool | None = None,
    inactive_for: timedelta | None = None,
    joined_since: datetime | None = None,
    is_bot: bool = False,
) -> Conditions:
    """Return the conditions if they are valid.

    Raises:
        InvalidInput: A value is too long or has the wrong type, or there is no such status, tier,
            score or time.
    """
    check_text("text", text, MAX_SEARCH_LENGTH)
    check_text("role", role, CommunityMember.primary_role.length)
    check_texts(CommunityMember, country=country, organization=organization)
    if invited_by is not None:
        invited_by = member_number(invited_by, "invited_by")
        check_text("invited_by", invited_by, CommunityMember.member_id.length)
    return Conditions(
        text=fold_needle(text) if text and text.strip() else None,
        username=None if text is None else _parse_username(text),
        equal={
            "primary_role": role,
            "country": country,
            "status": None if status is None else parse_choice(MemberStatus, status, "status"),
            "organization": organization,
        },
        scores=scores_between(min_reputation, max_reputation, tier),
        invited_by=invited_by,
        github_verified=github_verified,
        inactive_for=_checked_inactivity(inactive_for),
        joined_since=_checked_time(joined_since),
        is_bot=is_bot,
    )


def _parse_username(text: str) -> str | None:
    """Return the username that the text can be, or None if it can be none."""
    username = clean_identifier(text).removeprefix("@")
    return username if USERNAME_PATTERN.fullmatch(username) else None


def _checked_inactivity(value: object) -> timedelta | None:
    if value is not None and not (
        isinstance(value, timedelta) and timedelta(seconds=1) <= value <= MAX_INACTIVITY
    ):
        raise InvalidInput(
            f"The time without activity is 1 second to {MAX_INACTIVITY.days:,} days.",
            field="inactive_for",
        )
    return value


def _checked_time(value: object) -> datetime | None:
    """Return a time in UTC.

    Raises:
        InvalidInput: The value is not an aware datetime, or it is too far away.
    """
    if value is None:
        return None
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise InvalidInput("This time must be a datetime with a time zone.", field="joined_since")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise InvalidInput("This time is too far away.", field="joined_since") from None


def is_indexed(text: str) -> bool:
    """Return whether a text index can find a folded text: three letters or digits in a row."""
    return re.search(r"[^\W_]{3}", text) is not None


def scores_between(least: int | None, most: int | None, tier: ReputationTier | str | None) -> range:
    """Return the scores from `least` to `most` that belong to the tier; None means no limit.

    Raises:
        InvalidInput: There is no such score or tier.
    """
    for field, score in (("min_reputation", least), ("max_reputation", most)):
        if score is not None and (type(score) is not int or abs(score) > MAX_SCORE):
            raise InvalidInput("There is no such score.", field=field)
    scores = range(MAX_SCORE + 1)
    if tier is not None:
        scores = scores_of(parse_choice(ReputationTier, tier, "tier"))
    return range(
        scores.start if least is None else max(scores.start, least),
        scores.stop if most is None else min(scores.stop, most + 1),
    )
