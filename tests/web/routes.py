"""The routes of our own pages, with an address for each: a new page is tested by being there."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from uuid import UUID

from starlette.convertors import Convertor, UUIDConvertor
from starlette.routing import BaseRoute, Match, Mount, Route

from community_directory.settings import Settings
from community_directory.web.security import ADMIN_PATH
from community_directory.web.workspace.app import create_workspace

EXAMPLES: dict[type[Convertor[Any]], str] = {UUIDConvertor: str(UUID(int=7))}
"""The values of parameters in paths; others are 1, the number of a member."""


ROUTES = create_workspace(Settings()).routes


class Address(NamedTuple):
    """An address of a route."""

    route: str
    """The path of the route, such as `/people/{number:int}/`."""
    path: str
    """An example, such as `/people/1/`."""


def addresses(method: str) -> list[Address]:
    """Return an address for each route of the pages that answers this method."""
    return list(_find(ROUTES, "", method))


def is_answered(method: str, path: str) -> bool:
    """Tell whether a route of the pages answers a path; Piccolo Admin answers its own."""
    if path.startswith(f"{ADMIN_PATH}/"):
        return True
    scope = {"type": "http", "method": method, "path": path, "root_path": "", "headers": []}
    return any(route.matches(scope)[0] is Match.FULL for route in ROUTES)


def _find(routes: Iterable[BaseRoute], prefix: str, method: str) -> Iterator[Address]:
    for route in routes:
        if isinstance(route, Mount):
            yield from _find(route.routes, prefix + route.path, method)
        elif isinstance(route, Route) and method in (route.methods or {method}):
            examples = {
                name: EXAMPLES.get(type(convertor), "1")
                for name, convertor in route.param_convertors.items()
            }
            yield Address(prefix + route.path, prefix + route.path_format.format(**examples))
