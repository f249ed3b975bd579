"""The page Merge suggestions: members who seem to be one person, and why."""

from community_directory.queries import members
from community_directory.web.pages import PageContent, Visit


async def build_suggestions_page(visit: Visit) -> PageContent:
    """Build the page with some suggestions; the parameter `after` continues the page before."""
    page = await members.merge_suggestions(after=visit.query.get("after"))
    variables = {"suggestions": page.items, "page": page}
    return PageContent("suggestions.html", variables)
