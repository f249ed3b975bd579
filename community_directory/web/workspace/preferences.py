"""What somebody chooses for the pages in their browser: light or dark, and the language."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from community_directory.language import LANGUAGES
from community_directory.web.pages import LANGUAGE_COOKIE, THEME_COOKIE, THEMES
from community_directory.web.returning import find_present_path

ONE_YEAR = 365 * 24 * 60 * 60
CHOICES = {THEME_COOKIE: THEMES, LANGUAGE_COOKIE: LANGUAGES}


async def choose(request: Request) -> Response:
    """Store the choices of a form in cookies, and go back to the page with the form."""
    path = find_present_path(request, request.headers.get("referer", ""))
    response = RedirectResponse(request.scope.get("root_path", "") + path, status_code=303)
    for name, values in CHOICES.items():
        if (value := request.scope["form"].get(name)) in values:
            response.set_cookie(name, value, max_age=ONE_YEAR, samesite="lax")
    return response


ROUTES = [
    Route("/theme/", choose, methods=["POST"]),
    Route("/language/", choose, methods=["POST"]),
]
