"""The routes of Insights."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from community_directory.web.insights import (
    attention,
    contributions,
    funnel,
    growth,
    inviters,
    network,
    overview,
    retention,
    rooms,
)
from community_directory.web.insights.layout import INSIGHTS_PATH
from community_directory.web.pages import Pages

PAGES = (
    overview.PAGE,
    growth.PAGE,
    retention.PAGE,
    funnel.PAGE,
    attention.PAGE,
    inviters.PAGE,
    contributions.PAGE,
    rooms.PAGE,
    network.PAGE,
)
MOVED_PATHS = ("health/", "suggestions/", "tree/", "tree/{number}/")
"""The paths of pages that were below the path of Insights before."""


def routes(pages: Pages) -> list[Route]:
    """Return the routes of all pages."""
    return [
        *(route for page in PAGES for route in page.routes(pages)),
        *(Route(f"{INSIGHTS_PATH}{path}", redirect_to_moved_page) for path in MOVED_PATHS),
    ]


async def redirect_to_moved_page(request: Request) -> Response:
    """Redirect from the address that a page had before."""
    root = request.scope.get("root_path", "")
    path = "/" + request.url.path.removeprefix(root + INSIGHTS_PATH)
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(root + path + query, status_code=301)
