"""The names of people, programs and things in a story, and how they are shown."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Self
from uuid import UUID

from babel.dates import format_timedelta
from babel.lists import format_list
from markupsafe import Markup

from community_directory.database import Statement, engine
from community_directory.queries.audit import Change
from community_directory.queries.invitation_rows import effective_status_sql
from community_directory.web.pages import Visit, clean_name
from community_directory.web.workspace.story_texts import (
    CHANGED_THINGS,
    COMMAND_PREFIX,
    LOGIN_PREFIX,
    PROGRAMS,
)

MAX_VALUE_LENGTH = 60
"""The number of characters after which a name or value is cut in a sentence."""
MEMBER_FIELDS = ("invited_by", "merged_into", "accepted_by", "member_a", "member_b")
"""The fields of changes with the number of another member."""

FIND_NAMES = Statement("""
SELECT named.member_id, named.name, inviter.member_id AS inviter, inviter.name AS inviter_name,
    named.account
FROM (
    SELECT member_id, name, invited_by, NULL AS account
    FROM community_members WHERE member_id = ANY(:numbers)
    UNION ALL
    SELECT member_id, name, invited_by, platform || ':' || account_id
    FROM unnest(:platforms::text[], :account_ids::text[]) AS wanted(platform, account_id)
        JOIN member_accounts USING (platform, account_id)
        JOIN community_members USING (member_id)
) AS named LEFT JOIN community_members AS inviter ON inviter.member_id = named.invited_by
""")
FIND_INVITATIONS = Statement(f"""
SELECT invitation_id, {effective_status_sql("invitation")} AS status,
    invited_telegram_username AS username, accepted_by, accepted_at - created_at AS waited,
    expires_at - created_at AS open_for
FROM community_invitations AS invitation WHERE invitation_id = ANY(:invitation_ids)
""")


class Names:
    """The names in a story, and the invitations of which it tells."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._names: dict[str, str] = {}
        self._inviters: dict[str, str] = {}
        self._accounts: dict[str, str] = {}
        self._invitations: dict[UUID, Mapping[str, Any]] = {}

    @classmethod
    async def find(cls, visit: Visit, entries: Sequence[Change]) -> Self:
        """Return the names in these changes: one statement, and one for the invitations, if any."""
        names = cls(visit)
        if ids := [entry.invitation_id for entry in entries if entry.invitation_id]:
            records = await engine.read(FIND_INVITATIONS, invitation_ids=ids)
            names._invitations = {record["invitation_id"]: dict(record) for record in records}
        if entries:
            await names._find_names(entries)
        return names

    async def _find_names(self, entries: Sequence[Change]) -> None:
        numbers = {entry.member_id for entry in entries}
        numbers |= {entry.actor for entry in entries if entry.actor.startswith("#")}
        numbers |= {record["accepted_by"] for record in self._invitations.values()} - {None}
        for entry in entries:
            for field in MEMBER_FIELDS:
                numbers |= {number for number in entry.changes.get(field, ()) if number}
        accounts = {
            (platform, account_id)
            for platform, colon, account_id in (entry.actor.partition(":") for entry in entries)
            if colon and f"{platform}:" not in (COMMAND_PREFIX, LOGIN_PREFIX)
        }
        records = await engine.read(
            FIND_NAMES,
            numbers=list(numbers),
            platforms=[platform for platform, _ in accounts],
            account_ids=[account_id for _, account_id in accounts],
        )
        for number, name, inviter, inviter_name, account in records:
            self._names[number] = name
            if inviter:
                self._names[inviter] = inviter_name
                self._inviters[number] = inviter
            if account:
                self._accounts[account] = number

    def find_inviter(self, number: str) -> str | None:
        """Return the number of whoever invited a member, if anybody did."""
        return self._inviters.get(number)

    def find_invitation(self, entry: Change) -> Mapping[str, Any]:
        """Return the invitation of a change as it is now; nothing if it is not there any more."""
        return self._invitations.get(entry.row_id, {})

    def is_own(self, entry: Change) -> bool:
        """Tell whether the member of a change made it."""
        return entry.member_id in (entry.actor, self._accounts.get(entry.actor))

    def show_actor(self, actor: str) -> Markup:
        """Return the author of a change as people call them: a member, a user, or a program."""
        visit = self._visit
        if number := self._accounts.get(actor) or (actor if actor in self._names else None):
            return self.show_member(number)
        if actor in PROGRAMS:
            return visit.rich(PROGRAMS[actor])
        if actor.startswith(COMMAND_PREFIX):
            return visit.rich("Somebody at the command line")
        if actor.startswith(LOGIN_PREFIX):
            login = self.cut(actor.removeprefix(LOGIN_PREFIX))
            return visit.rich("The database login {login}", login=login)
        return Markup("<bdi>{}</bdi>").format(self.cut(actor))

    def show_member(self, number: str) -> Markup:
        """Return the name of a member, linked to their page."""
        name = clean_name(self._names.get(number, number))
        return Markup('<a href="{}/people/{}/"><bdi>{}</bdi></a>').format(
            self._visit.root, number.removeprefix("#"), name
        )

    def show_people(self, number: str, others: int) -> Markup:
        """Return a member, and how many others there are."""
        person = self.show_member(number)
        if not others:
            return person
        return self._visit.nrich(
            "{person} and {number} more",
            "{person} and {number} more",
            others,
            person=person,
            number=others,
        )

    def show_invited(self, entry: Change) -> Markup:
        """Return for whom an invitation is."""
        if username := self.find_invitation(entry).get("username"):
            return Markup("<bdi>@{}</bdi>").format(self.cut(username))
        return self._visit.rich("anyone with the link")

    def show_value(self, value: object, field: str | None = None) -> Markup:
        """Return a value, such as the old or the new one of a field."""
        shown = self.cut(str(value))
        if field == "country":
            shown = self._visit.translation.country(shown)
        if field == "primary_role":
            shown = self._visit.translation.role(shown)
        return Markup("<bdi>{}</bdi>").format(shown)

    def show_things(self, fields: Sequence[str]) -> str:
        """Return the names of changed fields, such as "the name and the country"."""
        names = [self._visit.gettext(CHANGED_THINGS[field]) for field in fields]
        return format_list(list(dict.fromkeys(names)), locale=self._visit.translation.locale)

    def show_duration(self, duration: timedelta) -> str:
        """Return a time span by its largest unit, such as "6 hours"."""
        return format_timedelta(duration, locale=self._visit.translation.locale)

    def cut(self, text: str) -> str:
        """Return a text without odd characters, cut if it is long."""
        text = clean_name(text)
        return text if len(text) <= MAX_VALUE_LENGTH else f"{text[: MAX_VALUE_LENGTH - 1]}…"
