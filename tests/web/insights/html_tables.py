"""What the tables of a page show."""

import re

import httpx


async def read_table(client: httpx.AsyncClient, caption: str, path: str) -> list[list[str]]:
    """Return the rows of the one table whose caption begins so, as text."""
    response = await client.get(path)
    assert response.status_code == 200, response.text
    (table,) = (
        part
        for part in re.findall(r"<table.*?</table>", response.text, re.DOTALL)
        if f">{caption}" in part
    )
    body = table[table.index("<tbody>") :]
    return [
        [
            re.sub(r"<[^>]+>", "", cell).strip()
            for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
        ]
        for row in re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
    ]


async def read_tiles(client: httpx.AsyncClient, path: str) -> dict[str, list[str]]:
    """Return the number and the change of each figure, by its label."""
    page = (await client.get(path)).text
    found = re.findall(
        r"<dt>(.*?)</dt>\s*<dd>(.*?)</dd>\s*<dd class=\"quiet\">(.*?)</dd>", page, re.DOTALL
    )
    return {
        label: [re.sub(r"<[^>]+>", "", text).strip() for text in texts] for label, *texts in found
    }
