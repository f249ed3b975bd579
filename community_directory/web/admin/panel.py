"""The panel: Piccolo Admin with our class behind its tables, and a script and a stylesheet of ours in its page."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import piccolo_admin.endpoints
from fastapi import FastAPI
from piccolo.apps.user.tables import BaseUser
from piccolo_admin.endpoints import AdminRouter, TableConfig, create_admin
from piccolo_api.session_auth.tables import SessionsBase
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.staticfiles import StaticFiles

from community_directory.settings import Settings
from community_directory.web.admin.crud import DirectoryCRUD, Rules
from community_directory.web.admin.forms import FORMS
from community_directory.web.admin.router import DirectoryRouter
from community_directory.web.admin.security import EXTENDED, PanelMisfit, mfa_providers, secure
from community_directory.web.admin.tables import SIDEBAR_LINKS, tables

ASSET_TAGS = (
    '<link rel="stylesheet" href="./ours/panel.css"><script src="./ours/panel.js"></script>'
    '<script src="./ours/sign_in.js"></script><script src="./ours/return.js"></script></head>'
)
HOOKS = (
    "save_button",
    "create_button",
    "drop_down_button",
    "delete_row_button",
    "title_bar",
    "custom_form_error",
)
"""What our script and stylesheet look for in Piccolo Admin's front end."""


def create_panel(settings: Settings) -> AdminRouter:
    """The ASGI app of the panel. Raises `PanelMisfit` when this version of Piccolo Admin doesn't fit."""
    configured, providers = tables(settings), mfa_providers(settings)
    router = patch.object(piccolo_admin.endpoints, "AdminRouter", DirectoryRouter)
    with router, _directory_crud(configured) as private:
        panel: AdminRouter = create_admin(
            [config for config, _ in configured],
            forms=FORMS,
            auto_include_related=False,
            site_name=settings.site_name,
            production=settings.production,
            allowed_hosts=settings.allowed_hosts,
            sidebar_links=SIDEBAR_LINKS,
            increase_expiry=EXTENDED,
            mfa_providers=providers,
        )
    secure(panel, settings, providers)
    _add_ours(panel)
    _hide_users(panel, private[0])
    return panel


@contextmanager
def _directory_crud(configured: Sequence[tuple[TableConfig, Rules]]) -> Iterator[list[FastAPI]]:
    """Let `create_admin`, which has no parameter for it, serve its tables with our class.

    Without FastAPI in between, which would answer to a bad request before it gets there, in words of its own. Gives
    the app that the tables are part of.
    """
    rules = {config.table_class: rules for config, rules in configured}
    private: list[FastAPI] = []

    def build(table: Any, **options: Any) -> DirectoryCRUD:
        return DirectoryCRUD(table, rules[table], **options)

    def mount(root_url: str, fastapi_app: FastAPI, piccolo_crud: object, **_: object) -> None:
        if isinstance(piccolo_crud, DirectoryCRUD):
            private.append(fastapi_app)
            fastapi_app.mount(root_url.rstrip("/"), piccolo_crud)

    try:
        with patch.multiple(piccolo_admin.endpoints, PiccoloCRUD=build, FastAPIWrapper=mount):
            yield private
    except AttributeError as error:
        raise PanelMisfit(f"This version of Piccolo Admin has changed: {error}.") from error
    if len(private) != len(configured):
        raise PanelMisfit(
            "This version of Piccolo Admin doesn't build its tables with PiccoloCRUD any more."
        )


def _add_ours(panel: AdminRouter) -> None:
    """Bring our script and stylesheet into the page, and see that what they adjust is there."""
    scripts = Path(piccolo_admin.endpoints.ASSET_PATH).glob("assets/*.js")
    front_end = "".join(script.read_text(encoding="utf-8") for script in scripts)
    if missing := [hook for hook in HOOKS if hook not in front_end]:
        raise PanelMisfit(
            f"The front end of this version of Piccolo Admin has no {', '.join(missing)} any more."
        )
    if panel.template.count("</head>") != 1:
        raise PanelMisfit(
            "The page of this version of Piccolo Admin has no place for our script any more."
        )
    panel.template = panel.template.replace("</head>", ASSET_TAGS)
    panel.mount("/ours", StaticFiles(directory=Path(__file__).parent / "static"))


def _hide_users(panel: AdminRouter, private: FastAPI) -> None:
    """Leave the tables of users and sessions out of the menu of who may not see them."""
    theirs = {BaseUser._meta.tablename, SessionsBase._meta.tablename}

    async def menu(request: Request) -> JSONResponse:
        found = panel.get_table_list_grouped()
        if not request.user.user.superuser:
            found.grouped = {
                group: [name for name in names if name not in theirs]
                for group, names in found.grouped.items()
            }
        return JSONResponse(found.model_dump())

    private.router.routes.insert(0, Route("/tables/grouped/", menu))
