"""Most helpers send one statement: each costs a round trip, and rows can change between two."""

import asyncio

import asyncpg
import pytest

from community_directory.errors import DirectoryError
from community_directory.queries.participation import NewEvent
from tests.queries.cases import CASES, HELPERS, arguments, community, undone


def test_every_helper_has_a_case() -> None:
    assert HELPERS.keys() == CASES.keys()


# The reasons of the helpers that send more than one
SEVERAL = {
    "acts.apply": "locks many rows before it changes them",
    "acts.undo": "locks many rows before it changes them",
    "branches.apply": "locks many rows before it changes them",
    "branches.preview": "sets a longer time limit for itself",
    "accounts.complete_link": "counts the tries of an account one after the other",
    "accounts.link": "tries again after another call that takes the account",
    "archive.archive_next_day": "counts a day again before it deletes its events",
    "archive.preview": "sets a longer time limit for itself",
    "highlights.roll_up": "waits for its turn, and writes members after highlights",
    "highlights.verify": "may roll up what differs, in the same transaction",
    "members.mark_bot": "waits for roll-ups before it locks the member",
    "members.verify_github": "locks the member before it computes the points",
    "members.set_username": "waits for its turn, so that a username has one holder",
    "participation.move_room": "keeps new events out of the old room",
    "participation.record_many": "keeps the transaction usable by a savepoint",
    "permissions.grant": "locks the members before it asks who may grant",
    "permissions.revoke": "locks the members before it asks who may revoke",
    "members.erase": "changes many tables",
    "members.merge": "changes many tables",
    "members.merge_preview": "counts the rows of many tables",
    "members.unmerge": "changes many tables",
    "segments.save": "waits for its turn, so that there are not too many",
    "relationships.of_member": "computes the ids of entities before it looks for them",
    "members.export": "sets a longer time limit for itself",
    "members.merge_suggestions": "sets a longer time limit for itself",
}


async def statements(helper: str, *, refused: bool = False, **changed: object) -> list[str]:
    """Return the statements that the helper sends."""
    sent: list[str] = []

    def record(query: asyncpg.connection.LoggedQuery) -> None:
        sent.append(query.query)

    async with undone() as current:
        async with undone():
            # asyncpg reads the types of each new connection once.
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
    if sent[0].startswith("SET LOCAL"):  # one statement, with a time limit of its own
        assert len(sent) == 2
    elif CASES[helper].statements != 1:
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


def test_few_helpers_need_more_than_one_statement() -> None:
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


async def test_an_event_that_cannot_be_stored_is_found_by_halving(directory: asyncpg.Pool) -> None:
    await community(directory)
    events = [
        NewEvent(
            member_id="#1", event_type="MESSAGE", platform="telegram", room_id="-100" if n else ""
        )
        for n in range(1000)
    ]
    sent = await statements("participation.record_many", events=events)
    # 1000, 500, 250, 125 and so on, and the other half of each.
    assert 19 <= len([statement for statement in sent if "WITH" in statement]) <= 21


async def test_the_query_logger_sees_every_statement(directory: asyncpg.Pool) -> None:
    await community(directory)
    (sent,) = await statements("members.get")
    assert "FROM community_members WHERE member_id = $1" in sent
