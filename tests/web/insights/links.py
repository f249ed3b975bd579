"""What a page of Insights leads to: the people behind its numbers, and the files of its charts."""

import csv
import html
import io
import re
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import httpx

from community_directory.queries import people


class PeopleLink(NamedTuple):
    """A number on a page, and the filters of its link to People."""

    number: int
    filters: dict[str, Any]


def find_people_links(page: str) -> list[PeopleLink]:
    """Return the numbers of a page that lead to people."""
    found = re.findall(r'<a [^>]*href="/people/\?([^"]*)"[^>]*>(?:All )?([0-9,]+)</a>', page)
    return [
        PeopleLink(int(number.replace(",", "")), dict(parse_qsl(html.unescape(query))))
        for query, number in found
    ]


async def check_people_links(client: httpx.AsyncClient, path: str) -> list[PeopleLink]:
    """Check that each number of people on a page is that of its link; return them."""
    response = await client.get(path)
    assert response.status_code == 200, response.text
    links = find_people_links(response.text)
    for number, filters in links:
        assert await people.count(**filters) == number, filters
    return links


class InvitationsLink(NamedTuple):
    """A number on a page, and the filters of its link to Invitations."""

    number: int
    filters: dict[str, str]


async def check_invitation_links(client: httpx.AsyncClient, path: str) -> list[InvitationsLink]:
    """Check that each number of invitations on a page is that of the list that it leads to."""
    page = (await client.get(path)).text
    links = []
    for address, number in re.findall(r'href="(/invitations/\?[^"]*)"[^>]*>([0-9,]+)</a>', page):
        listed = await client.get(html.unescape(address))
        assert listed.status_code == 200, listed.text
        assert re.findall(r"<span>([0-9,]+) invitations?</span>", listed.text) == [number], address
        filters = dict(parse_qsl(html.unescape(address).partition("?")[2]))
        links.append(InvitationsLink(int(number.replace(",", "")), filters))
    return links


async def read_csv(client: httpx.AsyncClient, path: str) -> list[dict[str, str]]:
    """Return the rows of the file of a chart."""
    response = await client.get(path)
    assert response.status_code == 200, response.text
    return list(csv.DictReader(io.StringIO(response.text.removeprefix("\ufeff"))))
