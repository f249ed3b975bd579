"""A person: everything that is known about one member, and what a manager can do about it."""

import asyncio
import json
from collections.abc import Awaitable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from starlette.convertors import StringConvertor, register_url_convertor
from starlette.responses import Response
from starlette.routing import Route

from community_directory.calendar import today
from community_directory.errors import ActNotFound, InvalidInput, MemberNotFound
from community_directory.queries import acts, audit, invitations, notes, permissions, reputation
from community_directory.queries.acts import Act
from community_directory.queries.audit import Change
from community_directory.queries.members import Member
from community_directory.queries.reputation import GITHUB_POINTS, Explanation, scores_of
from community_directory.tables import Permission, Platform
from community_directory.web.pages import Handle, PageContent, Pages, Role, Visit
from community_directory.web.workspace import person_forms as forms
from community_directory.web.workspace import person_merge, story
from community_directory.web.workspace.act_forms import LAST_END
from community_directory.web.workspace.activity_calendar import Kind, read_year
from community_directory.web.workspace.person_actions import find_actions
from community_directory.web.workspace.person_rows import (
    Person,
    find_similar,
    list_accounts,
    list_children,
    list_made_invitations,
    list_merged,
    list_received_invitations,
    list_relationships,
)
from community_directory.web.workspace.story import StoryLine

STORY_ENTRIES = 30
"""The entries of the log on one page of the story."""
SHOWN_ANCESTORS = 12
"""The nearest ancestors of the person."""
LINK_PREFIXES = ("https://", "http://")

_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class ProfileField:
    """A field of the profile on the page.

    Attributes:
        name: The column; of the fields that have no column, `profile_data`.
        key: The key in the profile, or "".
        text: The value as a text.
        before: The value as JSON, with which the form is filled.
        is_editable: Whether the page has a form for it: a JSON object has none.
    """

    name: str
    key: str
    text: str
    before: str
    is_editable: bool = True

    @property
    def link(self) -> str | None:
        """The value, if it is the address of a page."""
        is_link = self.text.startswith(LINK_PREFIXES) and not any(map(str.isspace, self.text))
        return self.text if is_link else None


@dataclass(frozen=True, slots=True)
class ScorePart:
    """A count of GitHub with its points."""

    name: str
    count: int
    each: int


@dataclass(frozen=True, slots=True)
class Story:
    """A page of the story of a person, with the cursors of the pages beside it."""

    lines: list[StoryLine]
    later: str | None
    earlier: str | None


def list_profile_fields(member: Member) -> list[ProfileField]:
    """Return the fields of a profile, those with a column first."""
    fields = [
        ProfileField(name, "", getattr(member, name) or "", json.dumps(getattr(member, name)))
        for name in forms.EDITABLE_FIELDS
    ]
    for key, value in (member.profile_data or {}).items():
        is_list = isinstance(value, list) and all(
            isinstance(part, str) and "," not in part for part in value
        )
        if isinstance(value, str):
            text = value
        else:
            text = ", ".join(value) if is_list else json.dumps(value, ensure_ascii=False)
        is_editable = (isinstance(value, str) and "\n" not in value) or is_list
        before = json.dumps(value)
        fields.append(ProfileField(forms.PROFILE_FIELD, key, text, before, is_editable))
    return fields


def list_links(member: Member) -> list[tuple[str, str]]:
    """Return the addresses of the person on other sites, with their texts."""
    links = []
    if member.telegram_username:
        username = member.telegram_username
        links.append((f"https://t.me/{username}", f"@{username}"))
    if member.github_username:
        username = member.github_username
        links.append((f"https://github.com/{username}", f"GitHub {username}"))
    pages = [field.link for field in list_profile_fields(member) if field.key and field.link]
    return [*links, *((page, page.partition("://")[2].strip("/")) for page in pages)]


def list_score_parts(score: Explanation) -> list[ScorePart]:
    """Return the counts of GitHub that earned points."""
    return [
        ScorePart(name, points // GITHUB_POINTS[name], GITHUB_POINTS[name])
        for name, points in score.github.items()
        if points
    ]


def list_missing_counts(visit: Visit, score: Explanation) -> str:
    """Return the names of the counts that the GitHub data does not have, as a list in words."""
    names = {
        "public_repos": visit.gettext("repositories"),
        "followers": visit.gettext("followers"),
        "stars": visit.gettext("stars"),
        "contributions": visit.gettext("contributions"),
    }
    return ", ".join(names[name] for name in score.github_not_found)


async def build_person(visit: Visit) -> PageContent | Response:
    """Build the page; a number that was merged leads to the page of the other one."""
    person = await forms.require_person(visit)
    if person.merged_into is not None:
        notice = visit.gettext(
            "{number} was merged into {into}.",
            number=person.member.member_id,
            into=person.merged_into,
        )
        return visit.redirect(forms.person_path(person.merged_into), notice=notice)
    variables = _show_person(visit, person) | await _read_details(visit, person)
    return PageContent("person.html", variables)


async def _read_details(visit: Visit, person: Person) -> dict[str, object]:
    """Read the sections of the page, all at the same time, each on its own connection."""
    try:
        async with asyncio.TaskGroup() as group:
            sections = _begin_reading(visit, person.member.member_id, group)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return {name: section.result() for name, section in sections.items()}


def _begin_reading(
    visit: Visit, number: str, group: asyncio.TaskGroup
) -> Mapping[str, asyncio.Task[object]]:
    """Begin to read the sections of the page, by the names of the template's variables."""
    query = visit.query
    sections: Mapping[str, Coroutine[Any, Any, object]] = {
        "year": read_year(
            number,
            kind=query.get("kind", ""),
            room=query.get("room", ""),
            first_weekday=visit.translation.locale.first_week_day,
        ),
        "score": _or_none(reputation.explain(number)),
        "made": list_made_invitations(number),
        "received": list_received_invitations(number),
        "record": invitations.statistics(number),
        "lineage": invitations.lineage(number),
        "children": list_children(number),
        "relationships": _or_none(list_relationships(number)),
        "accounts": list_accounts(number),
        "merged": list_merged(number),
        "similar": find_similar(number),
        "held": permissions.of(number),
        "notes": notes.list_for(number, after=query.get("notes")),
        "story": _tell_story(visit, number),
        "act": _find_act(query.get("act", "")),
        "last_edit": _find_last_edit(visit, number),
    }
    return {name: group.create_task(reading) for name, reading in sections.items()}


async def _tell_story(visit: Visit, number: str) -> Story:
    """Read a page of the log, and tell it in words."""
    page = await audit.history(number, after=visit.query.get("story"), limit=STORY_ENTRIES)
    lines = await story.tell(visit, page.items, about=number)
    return Story(lines, page.previous_cursor, page.next_cursor)


async def _or_none(read: Awaitable[_Found]) -> _Found | None:
    """Return what was read, or None of a member who was removed."""
    try:
        return await read
    except MemberNotFound:
        return None


async def _find_act(act_id: str) -> Act | None:
    """Return the act that was just done, which can be undone."""
    try:
        return await acts.get(act_id) if act_id else None
    except (ActNotFound, InvalidInput):
        return None


async def _find_last_edit(visit: Visit, number: str) -> Change | None:
    """Return the last change of the field of a form that was refused, if it is a recent one."""
    field = visit.typed("field")
    if not visit.problem or not field:
        return None
    recent = await audit.history(number, limit=STORY_ENTRIES)
    return next((change for change in recent.items if field in change.changes), None)


def _show_person(visit: Visit, person: Person) -> dict[str, object]:
    """Return what the page shows of the member alone, and of the form that was refused."""
    actions = find_actions(person) if visit.may(Role.MANAGER) else []
    refused = visit.request.path_params.get("action") if visit.problem else None
    return {
        "person": person,
        "member": person.member,
        "actions": actions,
        "refused": next((each for each in actions if each.name == refused), None),
        "may_edit": visit.may(Role.MANAGER) and person.is_present,
        "fields": list_profile_fields(person.member),
        "links": list_links(person.member) if person.state != "erased" else [],
        "editing": _find_edited_field(visit),
        "earliest_end": today() + timedelta(days=1),
        "latest_end": LAST_END,
        "kinds": list(Kind),
        "platforms": list(Platform),
        "permissions": list(Permission),
        "max_ancestors": SHOWN_ANCESTORS,
        "list_missing_counts": list_missing_counts,
        "list_score_parts": list_score_parts,
        "scores_of": scores_of,
    }


def _find_edited_field(visit: Visit) -> tuple[str, str]:
    """Return the column and the key of the field that the page has a form for."""
    if visit.problem:
        return visit.typed("field"), visit.typed("key")
    return visit.query.get("field", ""), visit.query.get("key", "")


async def build_erasure(visit: Visit) -> PageContent:
    """Build the page that asks to confirm an erasure."""
    person = await forms.require_person(visit)
    variables = {"person": person, "similar": await find_similar(person.member.member_id)}
    return PageContent("person_erase.html", variables)


class NumberConvertor(StringConvertor):
    """A member's number in an address: `/people/undo/` is the address of a form."""

    regex = "#?[1-9][0-9]{0,18}"


register_url_convertor("number", NumberConvertor())


def routes(pages: Pages) -> list[Route]:
    """Return the routes of the page and of its forms."""
    path = "/people/{number}"

    def act(name: str, handle: Handle, role: Role = Role.MANAGER) -> Route:
        endpoint = pages.act(handle, again=build_person, role=role)
        return Route(f"{path}/{name}/", endpoint, methods=["POST"])

    erasure = pages.page(build_erasure, role=Role.SUPERUSER)
    erase = pages.act(forms.erase, again=build_erasure, role=Role.SUPERUSER)
    return [
        Route("/people/{number:number}/", pages.page(build_person), methods=["GET"]),
        act("profile", forms.edit_profile),
        act("notes", forms.add_note),
        act("notes/remove", forms.remove_note),
        act("permissions", forms.change_permissions),
        act("accounts", forms.link_account),
        act("accounts/split", forms.split_account),
        act("undo", forms.undo),
        act("export", forms.export, Role.SUPERUSER),
        Route(f"{path}/erase/", erasure, methods=["GET"]),
        Route(f"{path}/erase/", erase, methods=["POST"]),
        *person_merge.routes(pages),
        act("act/{action}", forms.act),
    ]
