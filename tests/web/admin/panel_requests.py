"""Requests to the tables of the panel, as the front end sends them."""

from typing import Any

import asyncpg
import httpx
from hypothesis import strategies as st

from community_directory.tables import (
    CommunityMember,
)
from community_directory.web.admin.tables import configure_tables

CODE = "ABCDEFGH23456789"
"""The code of an invitation."""


async def invite(client: httpx.AsyncClient, **values: object) -> httpx.Response:
    """Send the form for a new invitation with its initial values and these."""
    form = (await client.get("/api/tables/community_invitations/new/")).json()
    return await client.post("/api/tables/community_invitations/", json={**form, **values})


async def add(client: httpx.AsyncClient, **values: object) -> httpx.Response:
    """Send the form for a new member with its initial values and these."""
    form = (await client.get("/api/tables/community_members/new/")).json()
    new = {"name": "Eva", "telegram_id": "5", "primary_role": "designer"}
    return await client.post("/api/tables/community_members/", json={**form, **new, **values})


async def rows(client: httpx.AsyncClient, table: str, **filters: Any) -> list[dict[str, Any]]:
    """Return the rows of a list, and check that its count agrees."""
    response = await client.get(f"/api/tables/{table}/", params={"__readable": "true", **filters})
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["rows"]
    kept = {
        name: value
        for name, value in filters.items()
        if name not in ("__order", "__visible_fields", "__page_size")
    }
    assert (await client.get(f"/api/tables/{table}/count/", params=kept)).json()["count"] == len(
        found
    )
    return found


async def numbers(client: httpx.AsyncClient, **filters: Any) -> list[str]:
    return [row["member_id"] for row in await rows(client, "community_members", **filters)]


async def get(client: httpx.AsyncClient, member: CommunityMember) -> dict[str, Any]:
    """Return a member as the form is filled with it."""
    row: dict[str, Any] = (await client.get(f"/api/tables/community_members/{member.id}/")).json()
    return row


async def patch(
    client: httpx.AsyncClient, member: CommunityMember, **values: object
) -> httpx.Response:
    return await client.patch(f"/api/tables/community_members/{member.id}/", json=values)


def problem(response: httpx.Response) -> tuple[str, str]:
    """Return the field and the message that the form shows."""
    assert response.status_code == 422, response.text
    (found,) = response.json()["detail"]
    return found["loc"][-1], found["msg"]


async def log(directory: asyncpg.Pool) -> list[tuple[Any, ...]]:
    return [
        tuple(row)
        for row in await directory.fetch(
            "SELECT actor, action FROM directory_audit_log ORDER BY id"
        )
    ]


async def search(client: httpx.AsyncClient, **asked: str | int) -> list[str]:
    response = await client.get("/api/tables/community_members/ids/", params=asked)
    assert response.status_code == 200, response.text
    return list(response.json().values())


TABLE_COLUMNS = [
    (config.table_class._meta.tablename, config.table_class._meta.columns)
    for config, _ in configure_tables()
]


HOSTILE_VALUES = st.one_of(
    st.text(max_size=30),
    st.integers().map(str),
    st.floats().map(str),
    st.datetimes().map(str),
    st.uuids().map(str),
    st.sampled_from(
        [
            "null",
            "all",
            "true",
            "#1",
            "",
            "\ud800",
            "\x00",
            "%",
            "{}",
            "'",
            "e",
            "is_null",
            "contains",
        ]
    ),
)
