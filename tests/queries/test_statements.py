"""How many statements a helper costs: a round trip each, and between two of them the world may change."""

import asyncio

import asyncpg
import pytest

from community_directory.errors import DirectoryError
from community_directory.queries.participation import NewEvent
from tests.queries.cases import CASES, HELPERS, arguments, community, undone


def test_every_helper_has_a_case() -> None:
    assert HELPERS.keys() == CASES.keys()


# Whoever takes more than one has a reason.
SEVERAL = {
    "highlights.roll_up": "waits for its turn, and writes members after highlights",
    "highlights.verify": "may roll up what differs, in the same transaction",
    "github.verify_github": "locks the member, and adds up what was earned until then",
    "participation.record_many": "has a savepoint, so that one bad event does not spoil the caller's transaction",
    "privacy.erase": "takes a person out of many tables",
}


async def statements(helper: str, *, refused: bool = False, **changed: object) -> list[str]:
    """What the helper sends."""
    sent: list[str] = []

    def record(query: asyncpg.connection.LoggedQuery) -> None:
        sent.append(query.query)

    async with undone() as current:
        async with undone():
            # asyncpg asks each connection once what its types are.
            await HELPERS[helper](**arguments(helper))
        current.connection.add_query_logger(record)
        try:
            if refused:
                with pytest.raises(DirectoryError):
                    await HELPERS[helper](**arguments(helper, CASES[helper].refused))
            else:
                await HELPERS[helper](**arguments(helper, changed))
            await asyncio.sleep(0)  # asyncpg calls the recorder in the next round of the loop
        finally:
            current.connection.remove_query_logger(record)
    return sent


@pytest.mark.parametrize("helper", CASES)
async def test_a_helper_is_one_statement_or_one_transaction(
    directory: asyncpg.Pool, helper: str
) -> None:
    await community(directory)
    sent = await statements(helper)
    if CASES[helper].statements != 1:
        assert sent[0].startswith("SAVEPOINT")
        assert sent[-1].startswith("RELEASE")
    assert CASES[helper].statements in (None, len(sent))


@pytest.mark.parametrize(
    "helper", [name for name, case in CASES.items() if case.refused is not None]
)
async def test_a_refusal_takes_as_many_statements_as_its_case_says(
    directory: asyncpg.Pool, helper: str
) -> None:
    await community(directory)
    assert len(await statements(helper, refused=True)) == CASES[helper].statements_when_refused


def test_few_helpers_take_more_than_one() -> None:
    assert {name for name, case in CASES.items() if case.statements != 1} == SEVERAL.keys()
    assert (
        max(case.statements_when_refused for name, case in CASES.items() if name not in SEVERAL)
        == 2
    )


@pytest.mark.parametrize(("number", "batches"), [(0, 0), (1, 1), (1000, 1), (1001, 2)])
async def test_a_thousand_events_are_one_statement(
    directory: asyncpg.Pool, number: int, batches: int
) -> None:
    await community(directory)
    events = [
        NewEvent(
            member_id="#1",
            event_type="MESSAGE",
            platform="telegram",
            room_id="-100",
            source_id=str(n),
        )
        for n in range(number)
    ]
    sent = await statements("participation.record_many", events=events)
    assert [statement.split(maxsplit=1)[0] for statement in sent] == [
        "SAVEPOINT",
        "WITH",
        "SELECT",
        "RELEASE",
    ] * batches


async def test_an_event_that_can_not_be_stored_is_found_by_halves(directory: asyncpg.Pool) -> None:
    await community(directory)
    events = [
        NewEvent(
            member_id="#1", event_type="MESSAGE", platform="telegram", room_id="-100" if n else ""
        )
        for n in range(1000)
    ]
    sent = await statements("participation.record_many", events=events)
    # 1000 and 500 and 250 and 125 and so on, and the other half of each.
    assert 19 <= len([statement for statement in sent if "WITH" in statement]) <= 21


async def test_the_recorder_sees_every_statement(directory: asyncpg.Pool) -> None:
    await community(directory)
    (sent,) = await statements("members.get")
    assert "FROM community_members WHERE member_id = $1" in sent
