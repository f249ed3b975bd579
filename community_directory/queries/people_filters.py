"""The filters of the page People, as its address and its segments write them, and their SQL."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Unpack

from community_directory.database import Parameters
from community_directory.errors import InvalidInput
from community_directory.queries.conditions import (
    HAS_USERNAME,
    MAX_INACTIVITY,
    MAX_SEARCH_LENGTH,
    Conditions,
    check_conditions,
    is_indexed,
)
from community_directory.queries.filter_values import checked_choice, parse_number, parse_times
from community_directory.queries.folding import contains_pattern
from community_directory.queries.lookup import MemberKey, parse_member_key
from community_directory.queries.people_activity import (
    ActivityConditions,
    ActivityFilters,
    check_activity_filters,
)
from community_directory.queries.standing import EVER_MEMBER, GONE, MEMBER, PRESENT
from community_directory.queries.values import MEMBER_NUMBER_PATTERN, check_text, member_number
from community_directory.tables import MemberStatus, Permission, Platform

STANDING_SQL = {
    "present": PRESENT,
    "member": MEMBER,
    "ever_member": EVER_MEMBER,
    "gone": GONE,
}
"""The conditions of the choices of the filter `status` that are of several statuses."""
STATUS_FILTERS = ("any", *MemberStatus, "removed", *STANDING_SQL)
GITHUB_FILTERS = ("proved", "unproved", "none")
PERMISSION_FILTERS = (*Permission, "none")
BOT_FILTERS = ("people", "bots", "both")

GITHUB_SQL = {
    "proved": "github_verified",
    "unproved": "github_username IS NOT NULL AND NOT github_verified",
    "none": "github_username IS NULL",
}
# With arrays instead of joins PostgreSQL looks few members up, and does not read all.
HAS_KEY = """id = ANY(ARRAY(
    SELECT id FROM community_members WHERE member_id = ANY(ARRAY(
        SELECT coalesce(merged_into, member_id) FROM community_members
        WHERE member_id = (SELECT {NUMBER}::text)
        UNION ALL
        SELECT member_id FROM member_accounts
        WHERE platform = ANY({PLATFORMS}::text[]) AND account_id = (SELECT {ACCOUNT_ID}::text)
    ))
))"""
"""A condition in SQL: the member has this number or account."""
HOLDERS = "ARRAY(SELECT member_id FROM member_permissions{WHERE})"

MAX_INVITERS = 20
"""The most numbers in the filter `inviter`."""
PRESENT_NUMBERS = """ARRAY(
    SELECT coalesce(merged_into, member_id) FROM community_members
    WHERE member_id = ANY({NUMBERS}::text[])
)"""
"""The numbers of members, or of those into whom they were merged, in SQL."""


class PeopleFilters(ActivityFilters, total=False):
    """The filters of the page People, with `ActivityFilters`; an empty one finds everybody.

    Attributes:
        q: A part of a name, a Telegram or GitHub username, or an organization, or a whole number,
            account or username, as people write it, or a link to one.
        status: "any", a status, or "removed". Without it, as with "any", everybody is found who was
            not removed; "removed" finds those who were, whatever their status was. Four more
            choices find people only, and no bots: "present" those who were neither removed nor
            banned, "member" those of them who are more than contacts, "ever_member" those who are
            or were members, and "gone" those who were, and are none now.
        role: The exact `primary_role`.
        country: The exact country.
        tier: A reputation tier such as "Contributor".
        github: "proved", "unproved" (named, but not proved) or "none".
        organization: The exact organization.
        inviter: The number of the inviter, or up to 20 numbers with commas, such as "#48, 55":
            finds the people of all of these inviters. The number of a merged member leads to the
            other one.
        joined_from: The first day on which people were added, in the community's time zone: a date,
            "month" for the first day of this month, or a number of days ago such as "30d".
        joined_to: The last day on which people were added, like `joined_from`.
        quiet_days: A number of days. Finds people whose last activity is longer ago.
        never_active: "1" or True finds people who never were active; with `quiet_days`, those as
            well.
        permission: A permission that people hold, or "none".
        bot: "people", "bots" or "both". Without it, only people are found.
    """

    q: str | None
    status: str | None
    role: str | None
    country: str | None
    tier: str | None
    github: str | None
    organization: str | None
    inviter: str | int | None
    joined_from: str | date | None
    joined_to: str | date | None
    quiet_days: str | int | None
    never_active: str | bool | None
    permission: str | None
    bot: str | None


@dataclass(frozen=True, kw_only=True)
class PeopleConditions(Conditions):
    """The checked filters of the page People; None is no condition."""

    standing: str
    """The status, or another choice of `STATUS_FILTERS`."""
    bot: str
    github: str | None
    joined_before: datetime | None
    quiet_for: timedelta | None
    never_active: bool
    permission: str | None
    inviters: list[str] | None
    """The numbers of the inviters."""
    activity: ActivityConditions
    key: MemberKey
    """The number and the account that the text can mean."""

    @property
    def has_order(self) -> bool:
        """Whether the indexes have those who meet them in order: people who were not removed."""
        may_be_removed = self.standing in ("removed", "ever_member", "gone")
        return self.bot != "bots" and not may_be_removed

    @property
    def parts(self) -> list[str]:
        """The conditions on removed members and bots in SQL, of which one is true."""
        # The number of a merged member belongs to somebody else, who is found instead.
        not_merged = "merged_into IS NULL"
        kept = {
            "removed": f"deleted_at IS NOT NULL AND {not_merged}",
            "ever_member": not_merged,
            "gone": not_merged,
        }.get(self.standing, "deleted_at IS NULL")
        bots = {"people": ["NOT is_bot"], "bots": ["is_bot"], "both": ["NOT is_bot", "is_bot"]}
        return [f"{kept} AND {is_bot}" for is_bot in bots[self.bot]]

    @property
    def people(self) -> str:
        """The condition on removed members and bots, in SQL."""
        return f"({' OR '.join(self.parts)})"

    def where(self, parameters: Parameters, *, is_of_few: bool = False) -> list[str]:
        """Return the conditions beside `people` in SQL, whose values become parameters.

        Args:
            parameters: The parameters of the statement.
            is_of_few: Whether the statement looks only among few members.
        """
        where = [each.sql for each in self.filters(parameters).values()]
        if self.standing in STANDING_SQL:
            where.append(STANDING_SQL[self.standing])
        if self.github is not None:
            where.append(GITHUB_SQL[self.github])
        if self.inviters is not None:
            numbers = PRESENT_NUMBERS.format(NUMBERS=parameters.bind(self.inviters))
            where.append(f"invited_by = ANY({numbers})")
        if self.joined_before is not None:
            where.append(
                f"created_at < (SELECT {parameters.bind(self.joined_before)}::timestamptz)"
            )
        activity = []
        if self.quiet_for is not None:
            quiet_for = parameters.bind(self.quiet_for)
            activity.append(f"last_active_at < (SELECT now() - {quiet_for}::interval)")
        if self.never_active:
            activity.append("last_active_at IS NULL")
        if activity:
            where.append(f"({' OR '.join(activity)})")
        if self.permission == "none":
            where.append(f"member_id <> ALL({HOLDERS.format(WHERE='')})")
        elif self.permission is not None:
            held = f" WHERE permission = {parameters.bind(self.permission)}"
            where.append(f"member_id = ANY({HOLDERS.format(WHERE=held)})")
        where += self.activity.where(parameters, is_of_few=is_of_few)
        if self.text is not None:
            where.append(self._matching(parameters))
        return where

    @property
    def _platforms(self) -> list[str | None]:
        """The platforms on which the account can be: the ids of both are digits alone."""
        is_digits = self.text == self.key.account_id
        return [Platform.TELEGRAM, Platform.DISCORD] if is_digits else [self.key.platform]

    def _matching(self, parameters: Parameters) -> str:
        pattern = parameters.bind(contains_pattern(self.text or ""))
        matches = [f"search_text LIKE (SELECT {pattern}::text)"]
        if self.username is not None:
            matches.append(HAS_USERNAME.format(USERNAME=parameters.bind(self.username)))
        if self.key != MemberKey():
            matches.append(
                HAS_KEY.format(
                    NUMBER=parameters.bind(self.key.number),
                    PLATFORMS=parameters.bind(self._platforms),
                    ACCOUNT_ID=parameters.bind(self.key.account_id),
                )
            )
        # The text index would be read as a whole for a text that it does not have.
        matching = " OR ".join(matches)
        return (
            f"({matching})"
            if is_indexed(self.text or "")
            else f"CASE WHEN {matching} THEN true END"
        )


def check_people_filters(
    *,
    q: str | None = None,
    status: str | None = None,
    role: str | None = None,
    country: str | None = None,
    tier: str | None = None,
    github: str | None = None,
    organization: str | None = None,
    inviter: str | int | None = None,
    joined_from: str | date | None = None,
    joined_to: str | date | None = None,
    quiet_days: str | int | None = None,
    never_active: str | bool | None = None,
    permission: str | None = None,
    bot: str | None = None,
    **activity: Unpack[ActivityFilters],
) -> PeopleConditions:
    """Return the conditions of filters, which `PeopleFilters` describes.

    Raises:
        InvalidInput: A value is too long or has the wrong type, or there is no such choice, tier,
            day or number of days, or `inviter` is no number or too many.
    """
    check_text("q", q, MAX_SEARCH_LENGTH)
    status = checked_choice("status", status, STATUS_FILTERS) or "any"
    key = parse_member_key(q) if q else None
    if q and key is not None and key.username is not None:
        q = key.username  # of a link, too
    joined_since, joined_before = parse_times("joined", joined_from, joined_to)
    shared = check_conditions(
        q or None,
        status=status if status in list(MemberStatus) else None,
        role=role or None,
        country=country or None,
        organization=organization or None,
        tier=tier or None,
        joined_since=joined_since,
    )
    days = parse_number("quiet_days", quiet_days, range(1, MAX_INACTIVITY.days + 1))
    return PeopleConditions(
        **{name: getattr(shared, name) for name in shared.__dataclass_fields__},
        standing=status,
        bot=checked_choice("bot", bot, BOT_FILTERS) or "people",
        github=checked_choice("github", github, GITHUB_FILTERS),
        joined_before=joined_before,
        quiet_for=None if days is None else timedelta(days=days),
        never_active=_parse_flag("never_active", never_active),
        permission=checked_choice("permission", permission, PERMISSION_FILTERS),
        inviters=parse_inviters(inviter),
        activity=check_activity_filters(**activity),
        key=key or MemberKey(),
    )


def parse_inviters(value: str | int | None) -> list[str] | None:
    """Return the numbers of a filter `inviter`, each once; None if there is no filter.

    Raises:
        InvalidInput: The value or a part of it is no number, or there are more than `MAX_INVITERS`.
    """
    if value is None or value == "":
        return None
    parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else [value]
    numbers = list(dict.fromkeys(member_number(part, "inviter") for part in parts))
    for number in numbers:
        if not MEMBER_NUMBER_PATTERN.fullmatch(number):
            raise InvalidInput(
                "Write the number of an inviter as 48, or several as 48, 55.", field="inviter"
            )
    if len(numbers) > MAX_INVITERS:
        raise InvalidInput(f"Choose at most {MAX_INVITERS} inviters.", field="inviter")
    return numbers


def _parse_flag(field: str, value: str | bool | None) -> bool:
    return checked_choice(field, "1" if value is True else value or None, ["1"]) is not None
