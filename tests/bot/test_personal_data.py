"""Members get their data as a file, and have it erased, by themselves or by a manager."""

import json
from collections.abc import Awaitable

import asyncpg
import pytest

from community_directory.queries import members, permissions, requests
from tests.bot.stand_in import Group, Person, Telegram
from tests.bot.test_managers import asks, person_of
from tests.bot.test_notices import until_told
from tests.tables import rows
from tests.waiting import start_during


@pytest.fixture
async def ana(telegram: Telegram, directory: asyncpg.Pool) -> Person:
    return await person_of(telegram, directory, 101, "Ana")


async def name_of(directory: asyncpg.Pool, number: str) -> str:
    name: str = await directory.fetchval(
        "SELECT name FROM community_members WHERE member_id = $1", number
    )
    return name


async def test_a_member_gets_all_their_data_as_a_file(ana: Person, directory: asyncpg.Pool) -> None:
    await rows.event(directory, member_id="#1", event_metadata={"text": "¡hola!"})
    [sent] = await ana.says("/export")
    assert (sent.method, sent.text) == (
        "sendDocument",
        "This is all that the directory has about you.",
    )
    assert sent.file is not None
    exported = json.loads(sent.file)
    assert exported["member"]["name"] == "Ana"
    assert "¡hola!" in sent.file.decode()
    assert exported.keys() == (await members.export("#1")).keys()


@pytest.mark.parametrize("command", ["/export", "/forget"])
async def test_a_group_and_a_stranger_get_no_data(
    ana: Person, telegram: Telegram, group: Group, command: str
) -> None:
    [sent] = await ana.says(command, group)
    assert sent.text == "Let us talk in private: https://t.me/frutero_bot"
    [sent] = await telegram.person(999, "Eve").says(command)
    assert sent.text.startswith("You are not in the directory.")


async def test_a_member_is_asked_twice_and_then_erased_and_forgotten(
    ana: Person, directory: asyncpg.Pool
) -> None:
    [question] = await ana.says("/forget")
    assert list(question.buttons) == ["Erase my data", "Keep my data"]
    await ana.presses("Erase my data")
    assert question.text == "Are you sure? This can't be undone, not even by a manager."
    assert await name_of(directory, "#1") == "Ana"
    await ana.presses("Yes, erase for good")
    assert question.text.startswith("Your data is erased, and I have forgotten you.")
    assert await name_of(directory, "#1") == "Erased member"
    for table in ("directory_bot_chats", "directory_bot_states", "member_accounts"):
        assert await directory.fetchval(f"SELECT count(*) FROM {table}") == 0

    [answer] = await ana.says("/forget")
    assert answer.text.startswith("You are not in the directory.")
    await ana.presses_data("f:now", question)
    assert question.text == "There is no data about you any more."
    assert await directory.fetchval("SELECT count(*) FROM directory_bot_chats") == 0


async def test_a_member_may_keep_their_data(ana: Person, directory: asyncpg.Pool) -> None:
    [question] = await ana.says("/forget")
    await ana.presses("Erase my data")
    await ana.presses("Keep my data")
    assert (question.text, question.buttons) == ("Your data stays as it is.", {})
    assert await name_of(directory, "#1") == "Ana"


@pytest.mark.parametrize("kind", ["manager", "suspended", "banned"])
async def test_whoever_may_not_erase_themselves_asks_the_managers(
    ana: Person, directory: asyncpg.Pool, kind: str
) -> None:
    if kind == "manager":
        await rows.permission(directory, member_id="#1", permission="invite")
    else:
        await members.set_status("#1", kind, actor="luis")
        await until_told("bot")
    [question] = await ana.says("/forget")
    assert list(question.buttons) == ["Ask them", "Keep my data"]
    await ana.presses_data("f:now", question)
    assert question.text == "A community manager has to erase your data. Send /forget again."
    [question] = await ana.says("/forget")
    await ana.presses("Ask them")
    assert question.text.startswith("The managers know since")
    [request] = (await requests.list_open()).items
    assert (request.member.member_id, request.kind) == ("#1", "erasure")
    assert await name_of(directory, "#1") == "Ana"


@pytest.mark.parametrize("kind", ["manager", "suspended"])
async def test_whoever_may_no_longer_erase_themselves_is_not_erased(
    ana: Person, directory: asyncpg.Pool, kind: str
) -> None:
    [question] = await ana.says("/forget")
    await ana.presses("Erase my data")
    change: Awaitable[object] = (
        permissions.grant("#1", "invite", actor="luis")
        if kind == "manager"
        else members.set_status("#1", kind, actor="luis")
    )
    await (await start_during(directory, change, ana.presses("Yes, erase for good")))
    assert question.text == "A community manager has to erase your data. Send /forget again."
    assert await name_of(directory, "#1") == "Ana"


async def test_of_two_presses_at_once_one_erases_and_the_other_finds_nobody(
    ana: Person, directory: asyncpg.Pool
) -> None:
    [question] = await ana.says("/forget")
    await ana.presses("Erase my data")
    erasure = members.erase("#1", actor="#1", by_themselves=True)
    await (await start_during(directory, erasure, ana.presses("Yes, erase for good")))
    assert question.text == "There is no data about you any more."


@pytest.fixture
async def luis(telegram: Telegram, directory: asyncpg.Pool, ana: Person) -> Person:
    """Return #2, who manages, beside #1, who is suspended and asks to be erased."""
    luis = await person_of(telegram, directory, 102, "Luis")
    await rows.permission(directory, member_id="#2", permission="manage")
    await ana.says("hello")
    await members.set_status("#1", "suspended", actor="eva")
    await requests.ask("#1", "erasure", actor="#1")
    return luis


async def test_a_manager_erases_whoever_has_asked_for_it(
    luis: Person, ana: Person, telegram: Telegram, directory: asyncpg.Pool
) -> None:
    listed = await asks(luis, "/requests")
    assert listed.text.startswith("• Ana (#1) asks for the erasure of their data. (")
    assert list(listed.buttons) == ["Erase #1", "Close #1"]
    await luis.presses("Erase #1")
    assert listed.text == "Erase all data of #1 for good? This can't be undone."
    assert await name_of(directory, "#1") == "Ana"
    await luis.presses("Yes, erase")
    assert listed.text == "There is no open request."
    assert await name_of(directory, "#1") == "Erased member"
    told = [sent.text for sent in telegram.sent_to(ana)]
    assert "Your data has been erased, as you asked. Goodbye!" in told
    await luis.presses_data("mr:erase_now:erasure:1", listed)
    answer = telegram.calls_of("answerCallbackQuery")[-1]
    assert answer["text"] == "Somebody has settled this request already."


async def test_a_manager_closes_a_request(luis: Person, ana: Person, telegram: Telegram) -> None:
    listed = await asks(luis, "/requests")
    await luis.presses("Close #1")
    assert listed.text == "There is no open request."
    told = [sent.text for sent in telegram.sent_to(ana)]
    assert "A community manager has closed your request." in told
    assert (await members.get("#1")).name == "Ana"


async def test_only_whoever_manages_settles_requests_and_never_their_own(
    luis: Person, ana: Person, telegram: Telegram, directory: asyncpg.Pool
) -> None:
    listed = await asks(luis, "/requests")
    await requests.ask("#2", "erasure", actor="#2")
    await luis.presses_data("mr:erase_now:erasure:2", listed)
    answer = telegram.calls_of("answerCallbackQuery")[-1]
    assert answer["text"] == "Ask a colleague: nobody settles their own request."
    await permissions.revoke("#2", "manage", actor="eva")
    await luis.presses("Close #1", listed)
    answer = telegram.calls_of("answerCallbackQuery")[-1]
    assert answer["text"] == "This needs the permission manage, which member #2 does not have."
    refused = await asks(luis, "/requests")
    assert refused.text == answer["text"]
    assert len((await requests.list_open()).items) == 2


async def test_a_link_request_can_not_become_an_erasure(
    luis: Person, ana: Person, telegram: Telegram, directory: asyncpg.Pool
) -> None:
    await requests.resolve("#1", "erasure", actor="eva")
    await requests.ask("#1", "link", actor="#1")
    listed = await asks(luis, "/requests")
    assert listed.text.startswith("• Ana (#1) asks for help to link an account.")
    assert list(listed.buttons) == ["Close #1"]
    for data in ("mr:erase_now:link:1", "mr:erase:link:1", "mr:erase_now:erasure:1"):
        await luis.presses_data(data, listed)
    assert await name_of(directory, "#1") == "Ana"
