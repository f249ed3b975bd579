"""Requests: what members have asked for, such as the erasure of their data, until it is settled."""

from starlette.responses import Response
from starlette.routing import Route

from community_directory.queries import requests
from community_directory.web.pages import FormRefused, PageContent, Pages, Visit
from community_directory.web.workspace.person_forms import required_reason

REQUESTS_PATH = "/requests/"


async def build_requests(visit: Visit) -> PageContent:
    """Build the page, the oldest request first; the parameter `after` continues the page before."""
    page = await requests.list_open(after=visit.query.get("after"))
    return PageContent("requests.html", {"requests": page.items, "page": page})


async def settle(visit: Visit) -> Response:
    """End a request: it was done, or it is dismissed."""
    was_open = await requests.resolve(
        visit.typed("number"),
        visit.typed("kind"),
        actor=visit.user.username,
        reason=required_reason(visit),
    )
    if not was_open:
        raise FormRefused(visit.gettext("Somebody else has settled this request already."))
    return visit.redirect(REQUESTS_PATH, notice=visit.gettext("The request is settled."))


def routes(pages: Pages) -> list[Route]:
    """Return the routes of the page."""
    return [
        Route(REQUESTS_PATH, pages.page(build_requests), methods=["GET"]),
        Route(f"{REQUESTS_PATH}settle/", pages.act(settle, again=build_requests), methods=["POST"]),
    ]
