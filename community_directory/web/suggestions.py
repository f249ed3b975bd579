"""The page Merge suggestions: members who seem to be one person, and why."""

from starlette.requests import Request

from community_directory.errors import InvalidCursor
from community_directory.queries import members
from community_directory.web.pages import PageContent, message_page


async def build_suggestions_page(request: Request) -> PageContent:
    """Build the page with some suggestions; the parameter `after` continues the page before."""
    try:
        page = await members.merge_suggestions(after=request.query_params.get("after"))
    except InvalidCursor as error:
        return message_page("There is no such page", str(error), 404)
    variables = {"suggestions": page.items, "page": page}
    return PageContent("suggestions.html", variables)
