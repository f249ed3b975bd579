"""The panel: Piccolo Admin with `DirectoryCRUD` behind its tables, and with our scripts."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any
from unittest.mock import patch

import piccolo_admin.endpoints
from fastapi import FastAPI
from piccolo.table import Table
from piccolo_admin.endpoints import AdminRouter
from piccolo_admin.translations.data import ENGLISH, TRANSLATIONS
from piccolo_admin.translations.models import Translation
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from community_directory.settings import Settings
from community_directory.web.admin.download import IncompleteFiles
from community_directory.web.admin.forms import FORMS
from community_directory.web.admin.openapi import build_document
from community_directory.web.admin.router import DirectoryRouter, answer_refused_method
from community_directory.web.admin.rows import superusers_only
from community_directory.web.admin.second_factor import mfa_providers
from community_directory.web.admin.security import IncompatiblePiccoloAdmin, secure
from community_directory.web.admin.tables import SIDEBAR_LINKS, PanelTable, configure_tables
from community_directory.web.admin.users import PanelUser
from community_directory.web.admin.writing import DirectoryCRUD
from community_directory.web.security import SESSION_EXTENSION

ASSETS_PATH = "/directory-assets"
ASSET_TAGS = (
    '<link rel="icon" href="data:,"><link rel="stylesheet" href="../static/tokens.css">'
    f'<link rel="stylesheet" href=".{ASSETS_PATH}/panel.css">'
    f'<script src=".{ASSETS_PATH}/look.js"></script>'
    f'<script src=".{ASSETS_PATH}/address.js"></script>'
    f'<script src=".{ASSETS_PATH}/panel.js"></script></head>'
)
SENTENCE_CASE = {
    "Add Row": "Add row",
    "Dark Mode": "Dark mode",
    "Hide Filters": "Hide filters",
    "Light Mode": "Light mode",
    "Log Out": "Log out",
    "MFA Code": "MFA code",
    "Select a Column": "Select a column",
    "Set Timezone": "Set time zone",
    "Show Filters": "Show filters",
}
"""The English labels of the front end that are not in sentence case, and ours for them."""
ENGLISH_LABELS = Translation(
    language_name=ENGLISH.language_name,
    language_code=ENGLISH.language_code,
    translations={**ENGLISH.translations, **SENTENCE_CASE},
)
FRONT_END_HOOKS = (
    "save_button",
    "create_button",
    "csv_modal",
    "drop_down_button",
    "delete_row_button",
    "title_bar",
    "custom_form_error",
    "message_popup",
    "result_count",
    "Problem fetching",
    "Invalid column name or value",
    "__vue_app__",
    "filter_wrapper",
    "rowListing",
    "updateFilterParams",
    "updateOrderBy",
    "updateCurrentPageNumber",
    "updateSchema",
    "updateDarkMode",
    "darkMode",
    "defaultTimezone",
    "piccoloAdminDefaultLanguage",
)
"""The names in Piccolo Admin's front end on which our scripts and stylesheet depend."""


def create_panel(settings: Settings) -> AdminRouter:
    """Return the ASGI app of the panel.

    Raises:
        IncompatiblePiccoloAdmin: The installed version of Piccolo Admin doesn't fit.
    """
    configured = configure_tables()
    with _use_directory_crud(configured) as served:
        panel = DirectoryRouter(
            *(config for config, _ in configured),
            forms=FORMS,
            auth_table=PanelUser,
            site_name=settings.site_name,
            production=settings.production,
            allowed_hosts=settings.allowed_hosts,
            sidebar_links=SIDEBAR_LINKS,
            increase_expiry=SESSION_EXTENSION,
            translations=[ENGLISH_LABELS, *(each for each in TRANSLATIONS if each is not ENGLISH)],
        )
    secure(panel, settings, mfa_providers(settings))
    panel.add_middleware(IncompleteFiles)
    _add_assets(panel, settings)
    private = served[0][0]
    private.add_exception_handler(405, answer_refused_method)
    _hide_forbidden_tables(panel, private)
    _remove_unused_routes(panel, private)
    document = build_document(settings.site_name, [table for _, table in served], panel.forms)
    private.openapi = lambda: document  # type: ignore[method-assign]
    return panel


@contextmanager
def _use_directory_crud(
    configured: Sequence[PanelTable],
) -> Iterator[list[tuple[FastAPI, DirectoryCRUD]]]:
    """Let `AdminRouter` serve its tables with `DirectoryCRUD`, for which it has no parameter.

    `DirectoryCRUD` is mounted without FastAPI's wrapper, which would answer bad requests with
    messages of its own. Yields the endpoints of each table with the app that serves them.
    """
    policies = {config.table_class: policy for config, policy in configured}
    served: list[tuple[FastAPI, DirectoryCRUD]] = []

    def build(table: type[Table], **options: Any) -> DirectoryCRUD:
        return DirectoryCRUD(table, policies[table], **options)

    def mount(root_url: str, fastapi_app: FastAPI, piccolo_crud: object, **_: object) -> None:
        if isinstance(piccolo_crud, DirectoryCRUD):
            served.append((fastapi_app, piccolo_crud))
            fastapi_app.mount(root_url.rstrip("/"), piccolo_crud)

    try:
        with patch.multiple(
            piccolo_admin.endpoints,
            PiccoloCRUD=build,
            FastAPIWrapper=mount,
            # Piccolo Admin's own validator lets managers read, and runs before those of a table.
            superuser_validators=superusers_only,
        ):
            yield served
    except AttributeError as error:
        raise IncompatiblePiccoloAdmin(str(error)) from error
    if len(served) != len(configured):
        raise IncompatiblePiccoloAdmin("its tables don't use PiccoloCRUD")


def _add_assets(panel: AdminRouter, settings: Settings) -> None:
    """Add our scripts and stylesheet to the page, and check that what they adjust exists."""
    scripts = Path(piccolo_admin.endpoints.ASSET_PATH).glob("assets/*.js")
    front_end = "".join(script.read_text(encoding="utf-8") for script in scripts)
    if missing := [hook for hook in FRONT_END_HOOKS if hook not in front_end]:
        raise IncompatiblePiccoloAdmin(f"its front end has no {', '.join(missing)}")
    if panel.template.count("</head>") != 1:
        raise IncompatiblePiccoloAdmin("its page does not have exactly one </head>")
    zone = f'<meta name="time-zone" content="{escape(settings.time_zone)}">'
    panel.template = panel.template.replace("</head>", zone + ASSET_TAGS)
    panel.mount(ASSETS_PATH, StaticFiles(directory=Path(__file__).parent / "static"))


def _hide_forbidden_tables(panel: AdminRouter, private: FastAPI) -> None:
    """Leave the tables that only superusers may read out of the menu of other managers."""
    forbidden = {
        config.table_class._meta.tablename for config in panel.table_configs if config.validators
    }

    def select(request: Request, names: Sequence[str]) -> list[str]:
        is_superuser = request.user.user.superuser
        return [name for name in names if is_superuser or name not in forbidden]

    async def list_tables(request: Request) -> JSONResponse:
        return JSONResponse(select(request, panel.get_table_list()))

    async def list_menu(request: Request) -> JSONResponse:
        menu = panel.get_table_list_grouped()
        menu.grouped = {group: select(request, names) for group, names in menu.grouped.items()}
        return JSONResponse(menu.model_dump())

    private.router.routes.insert(0, Route("/tables/", list_tables))
    private.router.routes.insert(0, Route("/tables/grouped/", list_menu))


def _remove_unused_routes(panel: AdminRouter, private: FastAPI) -> None:
    """Remove what no table or form uses, and all documents but the one of the signed-in API.

    The pages at `/docs/` load scripts from another host, which the Content-Security-Policy refuses.
    A password is changed in the workspace.
    """
    _remove_routes(
        private.routes, "/docs", "/media/", "/media/generate-file-url/", "/change-password/"
    )
    for route in panel.routes:
        if isinstance(route, Mount) and route.path == "/public":
            _remove_routes(route.routes, "/docs", "/openapi.json")
    _remove_routes(panel.routes, "/openapi.json")
    panel.add_route("/openapi.json", _redirect_to_document, include_in_schema=False)


def _remove_routes(routes: list[BaseRoute], *paths: str) -> None:
    kept = [route for route in routes if getattr(route, "path", None) not in paths]
    if len(routes) - len(kept) != len(paths):
        raise IncompatiblePiccoloAdmin(f"there is nothing at one of {', '.join(paths)}")
    routes[:] = kept


async def _redirect_to_document(_: Request) -> RedirectResponse:
    return RedirectResponse("./api/openapi.json")
