"""People: search, filters, an order by every column, segments, and adding somebody."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response
from starlette.routing import Route

from community_directory.queries import members, people, segments
from community_directory.queries.people import MAX_SELECTION, MAX_TOTAL
from community_directory.queries.people_filters import check_people_filters
from community_directory.tables import MemberStatus, ReputationTier
from community_directory.web.pages import PageContent, Pages, Role, Visit
from community_directory.web.workspace.people_address import (
    FILTER_NAMES,
    PATH,
    PeopleAddress,
    read_address,
    segment_name,
)
from community_directory.web.workspace.people_bulk import BulkPages, find_done
from community_directory.web.workspace.people_chips import (
    ACTIVITY_LABELS,
    BOT_LABELS,
    GITHUB_LABELS,
    PERMISSION_LABELS,
    REACHED_LABELS,
    STATE_LABELS,
    STATUS_LABELS,
    STUCK_LABELS,
    format_day,
    make_chips,
)

PAGE_ROWS = 50
MORE_FILTERS = FILTER_NAMES[5:]
"""The filters behind the button More: those after the first ones, which are in sight."""
JOINING_FILTERS = (
    "member_from",
    "member_to",
    "invited_from",
    "invited_to",
    "reached",
    "stuck",
    "active_week",
    "inactive_week",
    "active_month",
    "inactive_month",
)
PERIOD_FILTERS = ("activity", "since", "until", "room", "contributions_from", "contributions_to")
"""The filters of two parts of the form, which are open while one of them is in force."""


async def build_people(visit: Visit) -> PageContent:
    """Build the page."""
    shared = await segments.list_all()
    address = read_address(visit.form or visit.query, shared)
    page = await people.search(
        **address.filters,
        sort=address.sort,
        after=address.after,
        limit=PAGE_ROWS,
        with_total=True,
    )
    return PageContent(
        "people.html",
        {
            "address": address,
            "chips": await make_chips(visit, address),
            "done": await find_done(visit),
            "max_selection": MAX_SELECTION,
            "max_total": MAX_TOTAL,
            "page": page,
            "segment_name": lambda name: segment_name(visit, name),
            "segments": shared,
            "state_labels": STATE_LABELS,
            **await _form_content(visit, address),
        },
    )


async def _form_content(visit: Visit, address: PeopleAddress) -> dict[str, Any]:
    """Return what the form of the filters shows."""

    def count_in_force(names: Iterable[str]) -> int:
        return sum(name in address.filters for name in names)

    return {
        "activity_labels": ACTIVITY_LABELS,
        "bot_labels": BOT_LABELS,
        "choices": await people.choices(),
        "filters": dict.fromkeys(FILTER_NAMES, "") | address.filters,
        "format_day": lambda value: format_day(visit, value),
        "github_labels": GITHUB_LABELS,
        "joining_in_force": count_in_force(JOINING_FILTERS),
        "more_in_force": count_in_force(MORE_FILTERS),
        "period_in_force": count_in_force(PERIOD_FILTERS),
        "permission_labels": PERMISSION_LABELS,
        "reached_labels": REACHED_LABELS,
        "status_labels": STATUS_LABELS,
        "stuck_labels": STUCK_LABELS,
        "tiers": list(ReputationTier),
    }


async def build_segments(visit: Visit) -> PageContent:
    """Build the page on which segments are saved, renamed and removed."""
    shared = await segments.list_all()
    address = read_address(visit.form or visit.query, shared)
    check_people_filters(**address.filters)
    return PageContent(
        "people_segments.html",
        {
            "address": address,
            "chips": await make_chips(visit, address),
            "segment_name": lambda name: segment_name(visit, name),
            "segments": shared,
        },
    )


async def save_segment(visit: Visit) -> Response:
    """Save the filters in force under a name."""
    address = read_address(visit.form, [])
    saved = await segments.save(visit.typed("name"), address.saved, actor=visit.user.username)
    notice = visit.gettext("The segment {name} is saved.", name=saved.name)
    return visit.redirect(f"{PATH}?{urlencode({'segment': saved.id})}", notice=notice)


async def change_segment(visit: Visit) -> Response:
    """Rename or remove a segment."""
    segment_id, name = visit.typed("segment_id"), visit.typed("name")
    if visit.typed("do") == "remove":
        await segments.remove(segment_id)
        notice = visit.gettext("The segment is removed.")
    else:
        renamed = await segments.rename(segment_id, name)
        notice = visit.gettext("The segment is called {name} now.", name=name)
        if renamed is None:
            notice = visit.gettext("Somebody has removed this segment.")
    return visit.redirect(f"{PATH}segments/", notice=notice)


async def build_add(_: Visit) -> PageContent:
    """Build the page with the form for a new person."""
    return PageContent("people_add.html", {"choices": await people.choices()})


async def add_person(visit: Visit) -> Response:
    """Add a contact or an active member, and go on to their page."""
    is_active = visit.typed("status") == MemberStatus.ACTIVE
    added = await members.add(
        telegram_id=visit.typed("telegram_id"),
        name=visit.typed("name"),
        primary_role=visit.typed("primary_role"),
        status=MemberStatus.ACTIVE if is_active else MemberStatus.NOT_MEMBER,
        telegram_username=visit.typed("telegram_username") or None,
        organization=visit.typed("organization") or None,
        country=visit.typed("country") or None,
        github_username=visit.typed("github_username") or None,
        actor=visit.user.username,
        reason=visit.typed("reason") or None,
    )
    notice = visit.gettext("{name} is in the directory now, as a contact.", name=added.name)
    if is_active:
        notice = visit.gettext("{name} is an active member now.", name=added.name)
    return visit.redirect(f"{PATH}{added.member_id[1:]}/", notice=notice)


def routes(pages: Pages) -> list[Route]:
    """Return the routes of the page and of its forms."""
    bulk = BulkPages(pages, again=build_people)
    return [
        Route(PATH, pages.page(build_people), methods=["GET"]),
        Route(f"{PATH}add/", pages.page(build_add, role=Role.MANAGER), methods=["GET"]),
        Route(f"{PATH}add/", pages.act(add_person, again=build_add), methods=["POST"]),
        Route(f"{PATH}segments/", pages.page(build_segments, role=Role.MANAGER), methods=["GET"]),
        Route(f"{PATH}segments/", pages.act(save_segment, again=build_segments), methods=["POST"]),
        Route(
            f"{PATH}segments/change/",
            pages.act(change_segment, again=build_segments),
            methods=["POST"],
        ),
        *bulk.routes(),
    ]
