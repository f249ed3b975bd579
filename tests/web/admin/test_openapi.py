"""The OpenAPI document of the panel's API, and who gets it. Schemathesis tests what it says."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from piccolo.apps.user.tables import BaseUser
from starlette.routing import Mount

from community_directory.settings import Settings
from community_directory.web.admin.panel import create_panel
from tests.web.admin.panel_requests import TABLE_COLUMNS

UNDOCUMENTED = {"/openapi.json"}
"""The document itself."""


@pytest.fixture
async def document(client: httpx.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get("/api/openapi.json")).json()
    return found


async def test_the_document_requires_a_session_with_the_right_to_use_the_panel(
    client: httpx.AsyncClient,
) -> None:
    response = await client.get("/openapi.json", follow_redirects=True)
    assert (response.status_code, response.url.path) == (200, "/admin/api/openapi.json")
    await BaseUser.update({BaseUser.admin: False}).where(BaseUser.username == "manager")
    assert (await client.get("/openapi.json", follow_redirects=True)).status_code == 401
    client.cookies.delete("id")
    assert (await client.get("/api/openapi.json")).status_code == 401


@pytest.mark.parametrize("path", ["/public/docs/", "/public/openapi.json", "/api/docs/"])
async def test_there_is_no_page_that_loads_scripts_from_elsewhere(
    client: httpx.AsyncClient, path: str
) -> None:
    assert (await client.get(path)).status_code == 404
    client.cookies.delete("id")
    assert (await client.get(path)).status_code in (401, 404)


@pytest.mark.parametrize("path", ["/api/media/", "/api/media/generate-file-url/"])
async def test_there_is_no_upload_that_no_table_uses(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.post(path, json={})).status_code == 404


async def test_every_route_of_the_api_is_in_the_document(document: dict[str, Any]) -> None:
    panel = create_panel(Settings())
    (api,) = [route for route in panel.routes if getattr(route, "path", "") == "/api"]
    private: FastAPI = api.app.app  # type: ignore[attr-defined]
    for route in private.routes:
        path: str = route.path  # type: ignore[attr-defined]
        if isinstance(route, Mount):
            found = [f"{path}{inner.path}" for inner in route.routes]  # type: ignore[attr-defined]
        else:
            found = [path.replace("{form_slug:str}", form.slug) for form in panel.forms]
        for name in (inner.replace(":str}", "}") for inner in found):
            assert name in document["paths"] or name in UNDOCUMENTED, name


def columns_of(document: dict[str, Any], name: str) -> set[str]:
    return set(document["components"]["schemas"][name]["properties"])


async def test_what_is_refused_is_not_in_the_document(document: dict[str, Any]) -> None:
    paths = document["paths"]
    methods = {
        table: paths[f"/tables/{table}/"].keys() | paths[f"/tables/{table}/{{row_id}}/"].keys()
        for table, _ in TABLE_COLUMNS
    }
    writes = {table: sorted(found - {"get", "parameters"}) for table, found in methods.items()}
    assert writes == {
        "community_members": ["delete", "patch", "post"],
        "community_invitations": ["patch", "post"],
        "member_permissions": [],
        "member_relationships": ["delete", "patch", "post"],
        "member_requests": ["delete"],
        "member_notes": [],
        "member_participation": [],
        "member_daily_highlights": [],
        "directory_audit_log": [],
        "directory_bots": ["delete"],
        "member_accounts": [],
        "directory_merges": [],
        "piccolo_user": ["delete", "patch", "post"],
        "sessions": ["delete"],
    }
    assert columns_of(document, "community_members.new").isdisjoint(
        {"id", "member_id", "reputation_score", "deleted_at"}
    )
    assert columns_of(document, "community_members.changes").isdisjoint({"status", "telegram_id"})


async def test_no_answer_in_the_document_has_a_hidden_or_secret_column(
    document: dict[str, Any],
) -> None:
    hidden = {
        "sessions": "token",
        "piccolo_user": "password",
        "directory_audit_log": "row_id",
        "directory_merges": "before",
    }
    for table, column in hidden.items():
        for schema in (table, f"{table}.listed", f"{table}.form"):
            assert column not in columns_of(document, schema)
    assert "password" in columns_of(document, "piccolo_user.new")
