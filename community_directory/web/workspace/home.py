"""Home: what waits for a manager."""

from starlette.routing import Route

from community_directory.web.pages import PageContent, Pages, Visit


async def build_home(_: Visit) -> PageContent:
    """Build the page."""
    return PageContent("home.html", {})


def routes(pages: Pages) -> list[Route]:
    """Return the routes of the page."""
    return [Route("/", pages.page(build_home))]
