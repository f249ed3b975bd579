"""How many statements a helper costs: a round trip each, and between two of them the world may change."""

import asyncio

import asyncpg
import pytest

from community_directory.errors import DirectoryError
from tests.queries.cases import CASES, HELPERS, arguments, community, undone


def test_every_helper_has_a_case() -> None:
    assert HELPERS.keys() == CASES.keys()


async def statements(helper: str, *, refused: bool) -> list[str]:
    """What the helper sends."""
    sent: list[str] = []

    def record(query: asyncpg.connection.LoggedQuery) -> None:
        sent.append(query.query)

    async with undone() as current:
        current.connection.add_query_logger(record)
        try:
            if refused:
                with pytest.raises(DirectoryError):
                    await HELPERS[helper](**arguments(helper, CASES[helper].refused))
            else:
                await HELPERS[helper](**arguments(helper))
            await asyncio.sleep(0)  # asyncpg calls the recorder in the next round of the loop
        finally:
            current.connection.remove_query_logger(record)
    return sent


@pytest.mark.parametrize("helper", CASES)
async def test_a_helper_is_one_statement(directory: asyncpg.Pool, helper: str) -> None:
    await community(directory)
    sent = await statements(helper, refused=False)
    if CASES[helper].statements is None:
        assert sent[0].startswith("SAVEPOINT")
        assert sent[-1].startswith("RELEASE")
    else:
        assert len(sent) == CASES[helper].statements


@pytest.mark.parametrize("helper", [name for name, case in CASES.items() if case.refused is not None])
async def test_a_refusal_takes_one_statement_more_at_the_most(directory: asyncpg.Pool, helper: str) -> None:
    await community(directory)
    assert len(await statements(helper, refused=True)) == CASES[helper].statements_when_refused


def test_only_erasing_takes_more_than_one() -> None:
    assert {name for name, case in CASES.items() if case.statements != 1} == {"privacy.erase"}
    assert max(case.statements_when_refused for name, case in CASES.items() if name != "privacy.erase") == 2


async def test_the_recorder_sees_every_statement(directory: asyncpg.Pool) -> None:
    await community(directory)
    (sent,) = await statements("members.get", refused=False)
    assert "FROM community_members WHERE member_id = $1" in sent
