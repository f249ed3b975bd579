import re
from pathlib import Path

import httpx
import piccolo_admin.endpoints
import pytest
from piccolo.apps.user.tables import BaseUser
from piccolo.conf.apps import Finder

from community_directory.settings import Settings
from community_directory.web.admin import panel
from community_directory.web.admin.security import IncompatiblePiccoloAdmin


async def test_nobody_opens_the_panel_without_signing_in(client: httpx.AsyncClient) -> None:
    client.cookies.delete("id")
    for path in (
        "tables/",
        "tables/community_members/",
        "tables/community_members/count/",
        "links/",
    ):
        assert (await client.get(f"/api/{path}")).status_code == 401, path


async def test_every_table_of_the_directory_is_in_the_panel(client: httpx.AsyncClient) -> None:
    listed = (await client.get("/api/tables/")).json()
    tables = Finder().get_app_config("community_directory").table_classes
    assert {table._meta.tablename for table in tables} <= set(listed)


async def test_the_menu_has_the_communitys_tables_first(client: httpx.AsyncClient) -> None:
    menu = (await client.get("/api/tables/grouped/")).json()
    assert menu["ungrouped"] == []
    assert list(menu["grouped"]) == ["Community", "Engagement", "Panel"]


async def test_no_list_has_more_than_seven_columns_or_shows_a_uuid(
    client: httpx.AsyncClient,
) -> None:
    for table in (await client.get("/api/tables/")).json():
        schema = (await client.get(f"/api/tables/{table}/schema/")).json()
        shown, properties = schema["extra"], schema["properties"]
        assert len(shown["visible_column_names"]) <= 7, table
        assert shown["link_column_name"] == shown["visible_column_names"][0], table
        for name in {*shown["visible_column_names"], *properties} - {"id"}:
            assert (
                properties[name].get("format") != "uuid"
                or "foreign_key" in properties[name]["extra"]
            ), name


async def test_column_labels_are_words_instead_of_names(client: httpx.AsyncClient) -> None:
    properties = (await client.get("/api/tables/community_members/schema/")).json()["properties"]
    assert [
        properties[name]["title"]
        for name in ("member_id", "github_username", "organization", "primary_role")
    ] == [
        "Number",
        "GitHub username",
        "Organization",
        "Role",
    ]


async def test_html_in_a_text_is_shown_as_text(client: httpx.AsyncClient) -> None:
    for table in (await client.get("/api/tables/")).json():
        assert (await client.get(f"/api/tables/{table}/schema/")).json()["extra"][
            "rich_text_columns"
        ] == []


async def test_the_side_bar_leads_back_to_the_workspace(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/links/")).json() == {"Workspace": "../"}


async def test_the_labels_of_the_front_end_are_in_sentence_case(client: httpx.AsyncClient) -> None:
    labels = (await client.get("/public/translations/en/")).json()["translations"]
    assert (labels["Add Row"], labels["MFA Code"], labels["Save"]) == (
        "Add row",
        "MFA code",
        "Save",
    )


async def test_the_page_has_the_communitys_time_zone() -> None:
    settings = Settings(time_zone="America/Mexico_City")
    page = panel.create_panel(settings).template
    assert '<meta name="time-zone" content="America/Mexico_City">' in page


async def test_only_a_superuser_sees_users_and_sessions(client: httpx.AsyncClient) -> None:
    await BaseUser.create_user(
        "second", "quite some other words", email="s@x.org", active=True, admin=True, superuser=True
    )
    await BaseUser.update({BaseUser.superuser: False}).where(BaseUser.username == "manager")
    menu = (await client.get("/api/tables/grouped/")).json()
    assert menu["grouped"]["Panel"] == ["directory_audit_log"]
    assert not {"piccolo_user", "sessions"} & set((await client.get("/api/tables/")).json())
    for table in ("piccolo_user", "sessions"):
        for path in ("", "count/", "ids/", "new/", "schema/", "references/", "1/"):
            response = await client.get(f"/api/tables/{table}/{path}")
            assert response.status_code == 403, path
            assert response.json()["detail"] == "Only a superuser may see who can enter the panel."
        for method in ("POST", "PATCH", "DELETE"):
            path = "" if method == "POST" else "1/"
            response = await client.request(
                method, f"/api/tables/{table}/{path}", json={"superuser": True}
            )
            assert response.status_code == 403
    for method, path in (("GET", "no/"), ("PATCH", "no/"), ("POST", "")):
        response = await client.request(method, f"/api/tables/piccolo_user/{path}", content=b"{")
        assert response.status_code == 403
    assert (await client.get("/api/tables/community_members/")).status_code == 200


async def test_a_superuser_adds_a_user_and_changes_a_password_and_no_list_shows_one(
    client: httpx.AsyncClient,
) -> None:
    form = (await client.get("/api/tables/piccolo_user/new/")).json()
    new = {
        "username": "eva",
        "email": "eva@example.org",
        "password": "a long password",
        "active": True,
    }
    (added,) = (await client.post("/api/tables/piccolo_user/", json={**form, **new})).json()
    assert await BaseUser.login("eva", "a long password") == added["id"]
    path = f"/api/tables/piccolo_user/{added['id']}/"
    assert (await client.patch(path, json={"first_name": "Eva", "password": ""})).status_code == 200
    assert await BaseUser.login("eva", "a long password")
    assert (await client.patch(path, json={"password": "another long one"})).status_code == 200
    assert await BaseUser.login("eva", "another long one")
    for where in (
        path,
        "/api/tables/piccolo_user/?__visible_fields=username",
        "/api/tables/sessions/",
    ):
        assert "pbkdf2" not in (await client.get(where)).text
    for table, name in (("piccolo_user", "password"), ("sessions", "token")):
        for query in (f"{name}=a", f"__visible_fields={name}", f"__order={name}"):
            assert (await client.get(f"/api/tables/{table}/?{query}")).status_code == 400


async def test_the_scripts_and_the_stylesheet_are_in_the_page(client: httpx.AsyncClient) -> None:
    found = re.findall(r"\./(directory-assets/[a-z_.]+)", (await client.get("/")).text)
    assert found == [
        f"directory-assets/{name}" for name in ("panel.css", "look.js", "address.js", "panel.js")
    ]
    for path in found:
        assert (await client.get(f"/{path}")).status_code == 200


def test_every_hook_of_the_scripts_and_the_stylesheet_is_checked() -> None:
    ours = "".join(path.read_text() for path in (Path(panel.__file__).parent / "static").iterdir())
    assert set(re.findall(r'data-uitest="(\w+)"', ours)) <= set(panel.FRONT_END_HOOKS)


def another_version(monkeypatch: pytest.MonkeyPatch, what: str, directory: Path) -> None:
    """Change Piccolo Admin as a new version could."""
    if what == "class":
        monkeypatch.setattr(panel, "DirectoryRouter", lambda *_, **__: None)
    elif what == "name":
        monkeypatch.delattr(piccolo_admin.endpoints, "FastAPIWrapper")
    else:
        pages = {"page": "<html></html>", "front end": "<head></head>"}
        (directory / "assets").mkdir()
        (directory / "assets" / "index.js").write_text(
            " ".join(panel.FRONT_END_HOOKS) if what == "page" else "save_button"
        )
        (directory / "index.html").write_text(pages[what])
        monkeypatch.setattr(piccolo_admin.endpoints, "ASSET_PATH", str(directory))


@pytest.mark.parametrize("what", ["class", "name", "page", "front end"])
def test_an_incompatible_piccolo_admin_stops_the_app(
    monkeypatch: pytest.MonkeyPatch, what: str, tmp_path: Path
) -> None:
    another_version(monkeypatch, what, tmp_path)
    with pytest.raises(
        IncompatiblePiccoloAdmin,
        match=r"^.*this version of Piccolo Admin.*\.$|^This version of .*\.$",
    ) as caught:
        panel.create_panel(Settings())
    assert "\n" not in str(caught.value)
