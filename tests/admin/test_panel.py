import re
from typing import Any

import httpx
import pytest
from piccolo.conf.apps import Finder
from piccolo_admin.endpoints import TableConfig

from community_directory.admin import panel
from community_directory.settings import Settings


async def test_nobody_enters_without_signing_in(client: httpx.AsyncClient) -> None:
    client.cookies.delete("id")
    for path in ("tables/", "tables/community_members/", "tables/community_members/count/", "links/"):
        assert (await client.get(f"/api/{path}")).status_code == 401, path


async def test_every_table_of_the_directory_is_in_the_panel(client: httpx.AsyncClient) -> None:
    listed = (await client.get("/api/tables/")).json()
    tables = Finder().get_app_config("community_directory").table_classes
    assert {table._meta.tablename for table in tables} <= set(listed)


async def test_the_menu_has_the_communitys_tables_first(client: httpx.AsyncClient) -> None:
    menu = (await client.get("/api/tables/grouped/")).json()
    assert menu["ungrouped"] == []
    assert list(menu["grouped"]) == ["Community", "Engagement", "Panel"]


async def test_no_list_has_more_than_seven_columns_or_greets_with_a_uuid(client: httpx.AsyncClient) -> None:
    for table in (await client.get("/api/tables/")).json():
        shown = (await client.get(f"/api/tables/{table}/schema/")).json()["extra"]
        assert len(shown["visible_column_names"]) <= 7, table
        if table not in ("piccolo_user", "sessions"):
            assert not {"id", "invitation_id"} & set(shown["visible_column_names"]), table
            assert shown["link_column_name"] in shown["visible_column_names"], table


async def test_every_link_of_the_side_bar_opens_a_list_that_answers(client: httpx.AsyncClient) -> None:
    links = (await client.get("/api/links/")).json()
    assert links.pop("Insights") == "./insights/"
    assert links
    for link in links.values():
        found = re.fullmatch(r"#/(\w+)\?(.+)", link)
        assert found
        response = await client.get(f"/api/tables/{found[1]}/?{found[2]}")
        assert response.status_code == 200, response.text


def test_a_piccolo_admin_that_builds_its_tables_otherwise_stops_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    def create_admin(tables: list[TableConfig], **options: Any) -> None:
        """A version that has no use for the CRUD class."""

    monkeypatch.setattr(panel, "create_admin", create_admin)
    with pytest.raises(RuntimeError, match="Piccolo Admin"):
        panel.create_panel(Settings())
