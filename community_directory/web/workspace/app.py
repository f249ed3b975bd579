"""The ASGI app of the pages: the workspace, and Insights."""

from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from community_directory.settings import Settings
from community_directory.web import health, suggestions
from community_directory.web.admin.download import IncompleteFiles
from community_directory.web.insights import app as insights
from community_directory.web.pages import CSRFProtection, Pages
from community_directory.web.workspace import (
    colleagues,
    home,
    invitations,
    log,
    me,
    people,
    person,
    preferences,
    requests,
    review,
    sign_in,
    tree,
)

STATIC_PATH = Path(__file__).parent.parent / "static"


def create_workspace(settings: Settings) -> Starlette:
    """Return the ASGI app of the pages, which is mounted at "/"."""
    pages = Pages(settings)
    return Starlette(
        routes=[
            *preferences.ROUTES,
            *sign_in.routes(pages),
            *me.routes(pages),
            *colleagues.routes(pages),
            *home.routes(pages),
            *people.routes(pages),
            *person.routes(pages),
            *requests.routes(pages),
            *review.routes(pages),
            *tree.routes(pages),
            *insights.routes(pages),
            *health.routes(pages),
            *suggestions.routes(pages),
            *invitations.routes(pages),
            *log.routes(pages),
            Mount("/static", StaticFiles(directory=STATIC_PATH)),
        ],
        # The export of people is a file, which the middleware below would end too early.
        middleware=[Middleware(IncompleteFiles), Middleware(CSRFProtection, pages=pages)],
        exception_handlers={
            404: pages.answer_missing,
            405: pages.answer_wrong_method,
            500: pages.answer_failure,
        },
    )
