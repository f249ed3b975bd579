"""The page Merge suggestions: members who seem to be one person, and why."""

from starlette.responses import Response
from starlette.routing import Route

from community_directory.errors import sanitize_for_message
from community_directory.queries import members
from community_directory.queries.merge_suggestions import REASON_MESSAGES, SuggestionReason
from community_directory.web.health import health_label
from community_directory.web.pages import PageContent, Pages, Visit


def routes(pages: Pages) -> list[Route]:
    """Return the routes of the page and of its act."""
    dismiss = pages.act(_dismiss, again=_build_page)
    return [
        Route("/suggestions/", pages.page(_build_page)),
        Route("/suggestions/dismiss/", dismiss, methods=["POST"]),
    ]


async def _build_page(visit: Visit) -> PageContent:
    """Build the page with some suggestions; the parameter `after` continues the page before."""
    page = await members.merge_suggestions(after=visit.query.get("after"))
    variables = {
        "suggestions": [
            (one, [_describe(visit, reason) for reason in one.reasons]) for one in page.items
        ],
        "page": page,
        "health": await health_label(visit),
    }
    return PageContent("suggestions.html", variables)


def _describe(visit: Visit, reason: SuggestionReason) -> str:
    return visit.gettext(
        REASON_MESSAGES[reason.kind], detail=sanitize_for_message(reason.detail or "")
    )


async def _dismiss(visit: Visit) -> Response:
    member, other = visit.typed("member"), visit.typed("other")
    await members.dismiss_suggestion(member, other, actor=visit.user.username)
    notice = visit.gettext(
        "{member} and {other} are two people: nobody will suggest to merge them.",
        member=member,
        other=other,
    )
    return visit.redirect("/suggestions/", notice=notice)
