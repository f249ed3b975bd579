"""Managers decide with the bot, each by their permissions and in their own name."""

import asyncio

import asyncpg
import pytest

from community_directory.bot.pending import Decide, ShowPage
from community_directory.errors import StatusChangeRefused
from community_directory.queries import audit, members, permissions
from community_directory.tables import MemberStatus
from tests.bot.conftest import CHAT_ID
from tests.bot.stand_in import Group, Person, Sent, Telegram
from tests.tables import rows
from tests.waiting import until_waiting


async def person_of(
    telegram: Telegram, directory: asyncpg.Pool, number: int, name: str, **columns: object
) -> Person:
    """Add a member, and return them as a person on Telegram."""
    username = name.split(maxsplit=1)[0].lower()
    await rows.member(
        directory,
        telegram_id=str(number),
        name=name,
        telegram_username=username,
        **{"status": "active", **columns},
    )
    return telegram.person(number, name, username=username)


async def asks(person: Person, text: str, group: Group | None = None, **fields: object) -> Sent:
    """Write a message, and return the bot's reply to it."""
    message = person.message({"text": text, **fields}, group)
    telegram = person._telegram
    await telegram.deliver(message=message)
    [answer] = [
        sent
        for sent in telegram.sent
        if (sent.parameters.get("reply_parameters") or {}).get("message_id")
        == message["message_id"]
    ]
    return answer


@pytest.fixture
async def luis(telegram: Telegram, directory: asyncpg.Pool) -> Person:
    """Return #1, who may review and moderate."""
    luis = await person_of(telegram, directory, 101, "Luis")
    for permission in ("review", "moderate"):
        await rows.permission(directory, member_id="#1", permission=permission)
    return luis


@pytest.fixture
async def ana(telegram: Telegram, directory: asyncpg.Pool, luis: Person) -> Person:
    """Return #2, who waits for approval."""
    return await person_of(telegram, directory, 102, "Ana", status="pending", invited_by="#1")


async def decisions(number: str) -> list[tuple[str, str | None, list[str]]]:
    """Return the authors, the reasons and the statuses of a member's changes, newest first."""
    return [
        (change.actor, change.reason, change.changes["status"])
        for change in (await audit.history(number)).items
        if "status" in change.changes and change.table_name == "community_members"
    ][:-1]


async def status_of(number: str) -> MemberStatus:
    return (await members.get(number)).status


async def test_a_manager_approves_somebody_and_the_log_says_who(luis: Person, ana: Person) -> None:
    answer = await asks(luis, "/approve #2 met in Oaxaca")
    assert answer.text == "You have approved Ana (#2).\nReason: met in Oaxaca"
    assert await decisions("#2") == [("#1", "met in Oaxaca", ["pending", "active"])]


@pytest.mark.parametrize("named", ["2", "#2", "@ana", "@ANA"])
async def test_a_person_is_named_by_number_or_username(
    luis: Person, ana: Person, named: str
) -> None:
    answer = await asks(luis, f"/approve {named}")
    assert answer.text == "You have approved Ana (#2)."
    assert await decisions("#2") == [("#1", None, ["pending", "active"])]


async def test_a_person_is_named_by_a_reply_in_a_group(
    luis: Person, ana: Person, group: Group, telegram: Telegram
) -> None:
    await members.set_status("#2", "active", actor="eva")
    written = ana.message({"text": "buy this"}, group)
    answer = await asks(luis, "/suspend 3 times spam", group, reply_to_message=written)
    assert answer.text == "You have suspended Ana (#2).\nReason: 3 times spam"
    assert answer.chat_id == CHAT_ID
    assert (await decisions("#2"))[0] == ("#1", "3 times spam", ["active", "suspended"])


async def test_a_topic_is_no_reply(
    luis: Person, ana: Person, telegram: Telegram, group: Group
) -> None:
    opened = ana.message({"forum_topic_created": {"name": "x", "icon_color": 1}}, group)
    answer = await asks(luis, "/ban spam", group, reply_to_message=opened)
    assert answer.text.startswith("Whom do you mean?")
    assert await status_of("#2") == "pending"


async def test_a_reason_is_chosen_from_buttons(luis: Person, ana: Person) -> None:
    question = await asks(luis, "/decline @ana")
    assert question.text == "Decline Ana (#2)?\nChoose a reason, or write one."
    assert list(question.buttons) == [
        "Spam",
        "Rude to others",
        "Fake account",
        "Unknown to the inviter",
        "Asked for it themselves",
        "Cancel",
    ]
    await luis.presses("Unknown to the inviter")
    assert question.text == "You have declined Ana (#2).\nReason: Unknown to the inviter"
    assert await decisions("#2") == [("#1", "Unknown to the inviter", ["pending", "not_member"])]
    texts = [sent.text for sent in await luis.says("hello")]
    assert any(text.startswith("You are a member.") for text in texts)  # the bot waits no more


async def test_a_reason_is_written_and_confirmed(luis: Person, ana: Person) -> None:
    await asks(luis, "/decline @ana")
    question = await asks(luis, "nobody\nknows them")
    assert question.text == "Decline Ana (#2)?\nReason: nobody knows them"
    assert await status_of("#2") == "pending"
    await luis.presses("Yes, do it")
    assert await decisions("#2") == [("#1", "nobody knows them", ["pending", "not_member"])]


async def test_a_ban_is_always_confirmed(luis: Person, ana: Person) -> None:
    question = await asks(luis, "/ban #2 sells followers")
    assert question.text == (
        "Ban Ana (#2)? Nobody can bring them back with an invitation.\nReason: sells followers"
    )
    await luis.presses("Cancel")
    assert question.text == "Nothing was changed."
    assert await status_of("#2") == "pending"

    await luis.says("/ban #2 sells followers")
    await luis.presses("Yes, do it")
    assert await decisions("#2") == [("#1", "sells followers", ["pending", "banned"])]
    answer = await asks(luis, "/reinstate #2")
    assert answer.text == "You have reinstated Ana (#2)."


async def test_a_ban_in_a_group_is_chosen_and_confirmed_by_buttons(
    luis: Person, ana: Person, group: Group, telegram: Telegram
) -> None:
    question = await asks(luis, "/ban @ana", group)
    assert "send /ban #2 and the reason" in question.text
    await luis.presses("Spam", question)
    await luis.presses("Yes, do it", question)
    assert await decisions("#2") == [("#1", "Spam", ["pending", "banned"])]
    assert telegram.sent_to(luis) == []


@pytest.mark.parametrize("permission", ["invite", "moderate"])
async def test_a_permission_is_needed(
    luis: Person, ana: Person, directory: asyncpg.Pool, permission: str
) -> None:
    await permissions.revoke("#1", "review", actor="eva")
    answer = await asks(luis, "/approve #2")
    assert answer.text == "This needs the permission review, which member #1 does not have."
    answer = await asks(luis, "/pending")
    assert answer.text == "This needs the permission review, which member #1 does not have."
    assert await status_of("#2") == "pending"


async def test_a_button_needs_the_permission_too(
    luis: Person, ana: Person, telegram: Telegram
) -> None:
    listed = await asks(luis, "/pending")
    await ana.presses_data(listed.buttons["✅ Approve #2 Ana"], listed)
    answer = telegram.calls_of("answerCallbackQuery")[-1]
    assert answer["text"] == "This needs the permission review, which member #2 does not have."
    await telegram.person(999, "Eve").presses_data(listed.buttons["✅ Approve #2 Ana"], listed)
    answer = telegram.calls_of("answerCallbackQuery")[-1]
    assert answer["text"] == "Only managers of the community can do this."
    assert await status_of("#2") == "pending"


async def test_manage_allows_everything(
    luis: Person, ana: Person, telegram: Telegram, directory: asyncpg.Pool
) -> None:
    eva = await person_of(telegram, directory, 103, "Eva")
    await rows.permission(directory, member_id="#3", permission="manage")
    answer = await asks(eva, "/approve #2")
    assert answer.text == "You have approved Ana (#2)."
    answer = await asks(eva, "/suspend #1 on leave")
    assert answer.text == "You have suspended Luis (#1).\nReason: on leave"


async def test_nobody_decides_about_themselves_or_a_colleague(
    luis: Person, telegram: Telegram, directory: asyncpg.Pool
) -> None:
    await person_of(telegram, directory, 102, "Bo")
    await rows.permission(directory, member_id="#2", permission="invite")
    answer = await asks(luis, "/suspend #1 tired")
    assert answer.text == "You can't decide about yourself. Ask a colleague."
    answer = await asks(luis, "/ban #2 rude")
    assert answer.text == (
        "Bo (#2) holds a permission. Only colleagues with the permission “manage” can do this."
    )


async def test_of_two_managers_who_press_at_once_one_acts_and_the_other_is_told(
    luis: Person, ana: Person, telegram: Telegram, directory: asyncpg.Pool
) -> None:
    eva = await person_of(telegram, directory, 103, "Eva")
    await rows.permission(directory, member_id="#3", permission="review")
    lists = [await asks(each, "/pending") for each in (luis, eva)]
    await asyncio.gather(
        *(
            each.presses("✅ Approve #2 Ana", listed)
            for each, listed in zip((luis, eva), lists, strict=True)
        )
    )
    [(actor, _, statuses)] = await decisions("#2")
    assert statuses == ["pending", "active"]
    name = {"#1": "Luis (#1)", "#3": "Eva (#3)"}[actor]
    texts = [answer.get("text") for answer in telegram.calls_of("answerCallbackQuery")]
    assert sorted(texts, key=str) == [
        f"The status of Ana (#2) is “active”. It was set by {name}.",
        "You have approved Ana (#2).",
    ]


async def test_an_old_button_does_not_undo_a_later_decision(
    luis: Person, ana: Person, telegram: Telegram
) -> None:
    listed = await asks(luis, "/pending")
    await members.set_status("#2", "active", actor="db:eva")
    await members.set_status("#2", "suspended", actor="db:eva")
    await luis.presses("✅ Approve #2 Ana", listed)
    answer = telegram.calls_of("answerCallbackQuery")[-1]
    assert answer["text"] == "The status of Ana (#2) is “suspended”. It was set by db:eva."
    assert await status_of("#2") == "suspended"


async def test_a_decision_of_a_colleague_that_is_being_stored_counts(
    luis: Person, ana: Person, telegram: Telegram, directory: asyncpg.Pool
) -> None:
    listed = await asks(luis, "/pending")
    async with directory.acquire() as connection:
        async with connection.transaction():
            for status in ("active", "suspended"):
                await connection.execute(
                    "UPDATE community_members SET status = $1 WHERE member_id = '#2'", status
                )
            press = asyncio.create_task(luis.presses("✅ Approve #2 Ana", listed))
            await until_waiting(connection)
        await press
    assert await status_of("#2") == "suspended"


async def test_a_status_is_only_set_from_those_that_were_seen(directory: asyncpg.Pool) -> None:
    await rows.member(directory, status="suspended")
    with pytest.raises(StatusChangeRefused):
        await members.set_status("#1", "active", actor="eva", before=[MemberStatus.PENDING])
    await members.set_status("#1", "active", actor="eva", before=[MemberStatus.SUSPENDED])


async def test_those_who_wait_come_in_pages_the_oldest_first(
    luis: Person, directory: asyncpg.Pool
) -> None:
    for number in range(2, 9):
        await rows.member(
            directory,
            name=f"Guest <{number}>",
            status="pending",
            created_at=await directory.fetchval("SELECT now() - $1 * interval '1 day'", number),
        )
    listed = await asks(luis, "/pending")
    assert listed.text.splitlines()[0] == "7 people wait for approval."
    assert [line.split()[3] for line in listed.text.splitlines()[1:]] == [
        "(#8),",
        "(#7),",
        "(#6),",
        "(#5),",
        "(#4),",
    ]
    await luis.presses("Next page »")
    assert [line.split()[3] for line in listed.text.splitlines()[1:]] == ["(#3),", "(#2),"]
    await luis.presses("✅ Approve #3 Guest <3>")
    assert listed.text.splitlines()[0] == "6 people wait for approval."
    assert [line.split()[3] for line in listed.text.splitlines()[1:]] == ["(#2),"]
    await luis.presses("✅ Approve #2 Guest <2>")
    assert len(listed.text.splitlines()) == 6  # the first page again
    await luis.presses("❌ Decline #8 Guest <8>")
    await luis.presses("Spam")
    assert len(listed.text.splitlines()) == 6
    assert await status_of("#8") == "not_member"


async def test_nobody_waits(luis: Person) -> None:
    listed = await asks(luis, "/pending")
    assert (listed.text, listed.buttons) == ("Nobody waits for approval.", {})


async def test_only_managers_close_a_question_in_a_group(
    luis: Person, ana: Person, group: Group
) -> None:
    question = await asks(luis, "/ban @ana spam", group)
    text = question.text
    await ana.presses("Cancel", question)
    assert question.text == text
    await luis.presses("Cancel", question)
    assert question.text == "Nothing was changed."


async def test_in_a_group_a_command_without_any_permission_gets_no_answer(
    luis: Person, ana: Person, group: Group
) -> None:
    assert await ana.says("/ban @luis", group) == []
    anonymous = await asks(ana, "/ban @luis", group, sender_chat=group.chat)
    assert anonymous.text == "I can't see who you are. Write in your own name, or to me in private."


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("/ban", "Whom do you mean? Add a number or a username, such as #247 or @ana"),
        ("/ban #99 spam", "There is no member #99."),
        ("/suspend #2", "The status of Ana (#2) is “pending”."),
        ("/suspend #2 spam", "The status of Ana (#2) is “pending”."),
        (f"/decline #2 {'x' * 501}", "A reason has at most 500 characters. Write a shorter one."),
    ],
)
async def test_a_refusal_says_what_is_wrong(
    luis: Person, ana: Person, text: str, answer: str
) -> None:
    sent = await asks(luis, text)
    assert sent.text.startswith(answer)
    assert await status_of("#2") == "pending"


async def test_names_with_markup_are_text(
    luis: Person, telegram: Telegram, directory: asyncpg.Pool
) -> None:
    await rows.member(directory, name="<b>&amp;</b>" * 15, status="pending")
    answer = await asks(luis, "/approve #2")
    assert answer.text.startswith("You have approved <b>&amp;</b><b>")
    assert "parse_mode" not in answer.parameters


def test_a_button_has_at_most_64_bytes() -> None:
    longest = Decide(
        action="reinstate", number="9" * 19, reason="10", is_sure=True, page=f"p{'9' * 19}"
    )
    assert len(longest.pack()) <= 64
    assert len(ShowPage(after="9" * 19).pack()) <= 64


async def test_a_manager_reads_spanish(telegram: Telegram, luis: Person, ana: Person) -> None:
    luis.user["language_code"] = "es-MX"
    question = await asks(luis, "/decline @ana")
    assert question.text == "¿Rechazar a Ana (#2)?\nElige un motivo o escribe uno."
    await luis.presses("Cuenta falsa")
    assert question.text == "Rechazaste a Ana (#2).\nMotivo: Cuenta falsa"
    assert await decisions("#2") == [("#1", "Fake account", ["pending", "not_member"])]
