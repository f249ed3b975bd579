"""A client of Piccolo Admin: its paths begin where Piccolo Admin is mounted."""

import httpx
import pytest

from tests.web.conftest import ADMIN_ADDRESS


@pytest.fixture
async def client(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """A client with a superuser's session, for paths such as `/api/tables/`."""
    client.base_url = httpx.URL(ADMIN_ADDRESS)
    return client
