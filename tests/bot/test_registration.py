"""A person joins with an invitation: questions, refusals, restarts, and what others press."""

import asyncpg
import pytest

from community_directory.bot.fields import forget_suggestions
from community_directory.queries import invitations, members
from community_directory.queries.members import Member
from community_directory.settings import load_settings
from tests.bot.conftest import running_bot
from tests.bot.stand_in import Person, Sent, Telegram
from tests.tables import rows

pytestmark = pytest.mark.usefixtures("no_background_tasks")

SPANISH = {"language_code": "es"}
EXPIRE = """
UPDATE community_invitations
SET created_at = now() - interval '9 days', expires_at = now() - interval '1 second'
"""
STRANGE_NAME = "👩‍👩‍👧‍👦" * 20 + "<b>&{name}%s\u202e"


@pytest.fixture(autouse=True)
def fresh_suggestions() -> None:
    forget_suggestions()


@pytest.fixture
async def inviter(directory: asyncpg.Pool) -> Member:
    """Return an active member, Luis, who invites people."""
    row = await rows.member(
        directory, status="active", name="Luis", telegram_id="900", primary_role="ornithologist"
    )
    return await members.get(row["member_id"])


async def invite(inviter: Member, username: str | None = None) -> str:
    """Return the code of a new invitation."""
    invitation = await invitations.create(created_by=inviter.member_id, telegram_username=username)
    return invitation.invitation_code


async def answers(
    person: Person, code: str, *, role: str = "Developer", organization: str = "Frutero Club"
) -> list[Sent]:
    """Begin with a code, and answer the questions up to the summary."""
    await person.says(f"/start {code}")
    await person.says("Ana García")
    await person.says(role)
    await person.says(organization)
    await person.says("méxico")
    return await person.says("https://github.com/ana-g")


async def test_a_person_joins_by_writing_the_answers(telegram: Telegram, inviter: Member) -> None:
    code = await invite(inviter)
    ana = telegram.person(1001, "Ana", username="ana")
    [question] = await ana.says(f"/start {code}")
    assert question.text.startswith("Luis invites you to Community Directory.")
    assert "What is your name" in question.text
    [summary] = await answers(ana, code)
    assert "Country: Mexico" in summary.text
    assert "GitHub: ana-g" in summary.text
    assert await members.find_by_telegram_id(1001) is None
    await ana.presses("Join")
    member = await members.get_by_telegram_id(1001)
    assert (member.name, member.primary_role, member.organization, member.country) == (
        *("Ana García", "Developer", "Frutero Club", "Mexico"),
    )
    assert (member.github_username, member.telegram_username) == ("ana-g", "ana")
    assert (member.status, member.invited_by) == ("pending", inviter.member_id)
    told = telegram.sent_to(ana)[-1]
    assert told.text.startswith(f"Welcome, Ana García! Your number is {member.member_id}.")
    assert "waits for the approval" in told.text
    assert not told.buttons


async def test_a_person_joins_by_buttons_alone(
    telegram: Telegram, inviter: Member, directory: asyncpg.Pool
) -> None:
    for number in range(3):
        await rows.member(
            directory, status="active", primary_role="beekeeper", name=f"Member {number}"
        )
    forget_suggestions()
    code = await invite(inviter, username="ana")
    ana = telegram.person(1001, "Ana", username="Ana", last_name="García")
    await ana.says(f"/start {code}")
    await ana.presses("Ana García")
    roles = telegram.sent_to(ana)[-1].buttons
    assert [*roles][:2] == ["beekeeper", "developer"]
    assert "ornithologist" not in roles, "only one member has it"
    await ana.presses("beekeeper")
    await ana.presses("Skip")
    await ana.presses("Argentina")
    await ana.presses("Skip")
    [summary] = telegram.sent_to(ana)
    assert "Organization: —" in summary.text
    await ana.presses("Join")
    member = await members.get_by_telegram_id(1001)
    assert (member.primary_role, member.organization, member.country) == (
        *("beekeeper", None, "Argentina"),
    )


async def test_the_conversation_is_in_the_language_of_the_person(
    telegram: Telegram, inviter: Member
) -> None:
    ana = telegram.person(1001, "Ana", **SPANISH)
    await ana.says(f"/start {await invite(inviter)}")
    for label in ("Ana", "programación", "Omitir", "México", "Omitir"):
        await ana.presses(label)
    [summary] = telegram.sent_to(ana)
    assert "¿Es correcto?" in summary.text
    assert "Rol: programación" in summary.text
    assert "País: México" in summary.text
    await ana.presses("Unirme")
    member = await members.get_by_telegram_id(1001)
    assert (member.primary_role, member.country) == ("developer", "Mexico")
    assert "¡Te damos la bienvenida, Ana!" in summary.text
    [status] = await ana.says("/start")
    assert status.text.startswith("Tu membresía espera la aprobación")


async def test_a_restart_in_the_middle_loses_no_answer(
    directory: asyncpg.Pool, stand_in: Telegram, inviter: Member
) -> None:
    ana = stand_in.person(1001, "Ana")
    code = await invite(inviter)
    async with running_bot(stand_in):
        await ana.says(f"/start {code}")
        await ana.says("Ana García")
    async with running_bot(stand_in):
        await ana.presses("designer")
    async with running_bot(stand_in):
        for label in ("Skip", "Skip", "Skip"):
            await ana.presses(label)
        [*_, summary] = stand_in.sent_to(ana)
        assert "Name: Ana García" in summary.text
        await ana.presses("Join")
    assert (await members.get_by_telegram_id(1001)).primary_role == "designer"
    assert await directory.fetchval("SELECT count(*) FROM directory_bot_states") == 0


async def test_back_and_cancel_lead_out_of_each_question(
    telegram: Telegram, inviter: Member
) -> None:
    code = await invite(inviter)
    ana = telegram.person(1001, "Ana")
    [summary] = await answers(ana, code)
    for _ in range(5):
        await ana.presses("Back", summary)
    assert "What is your name" in summary.text
    assert "Back" not in summary.buttons
    await ana.presses("Cancel", summary)
    assert summary.text.startswith("Cancelled.")
    assert not summary.buttons
    [again] = await ana.says("Ana")
    assert "open the link" in again.text
    [question] = await ana.says(f"/start {code}")
    assert "What is your name" in question.text
    assert await members.find_by_telegram_id(1001) is None


async def test_a_button_counts_once_and_only_under_the_open_question(
    telegram: Telegram, inviter: Member
) -> None:
    ana = telegram.person(1001, "Ana")
    [question] = await ana.says(f"/start {await invite(inviter)}")
    name = question.buttons["Ana"]
    await ana.presses("Ana")
    await ana.presses_data(name, question)
    assert "What do you mainly do" in question.text
    await ana.says("developer")
    await ana.presses_data(name, question)
    answered = telegram.calls_of("answerCallbackQuery")
    assert [each.get("text") for each in answered] == [None, *["This button is out of date."] * 2]
    assert "Which organization" in telegram.sent_to(ana)[-1].text


async def test_a_question_that_is_asked_again_takes_the_place_of_the_first_one(
    telegram: Telegram, inviter: Member
) -> None:
    ana = telegram.person(1001, "Ana")
    [first] = await ana.says(f"/start {await invite(inviter)}")
    name = first.buttons["Ana"]
    [second] = await ana.says("/start")
    assert not first.buttons
    await ana.presses_data(name, first)
    assert telegram.calls_of("answerCallbackQuery")[-1]["text"] == "This button is out of date."
    assert "What is your name" in second.text
    await ana.presses("Ana", second)
    assert "What do you mainly do" in second.text
    [third] = await ana.says(f"/start {await invite(inviter)}")
    assert not second.buttons
    assert "What do you mainly do" in third.text
    await ana.says("developer")
    assert not third.buttons


async def test_two_presses_at_the_same_time_are_one(telegram: Telegram, inviter: Member) -> None:
    ana = telegram.person(1001, "Ana")
    [question] = await ana.says(f"/start {await invite(inviter)}")
    update_ids = [
        telegram.send(
            callback_query={
                "id": str(number),
                "from": ana.user,
                "chat_instance": "1",
                "message": {
                    "message_id": question.message_id,
                    "from": telegram._get_me(),
                    "date": telegram.now(),
                    "chat": ana.chat,
                    "text": question.text,
                },
                "data": question.buttons["Ana"],
            }
        )
        for number in range(5)
    ]
    await telegram.confirmed(*update_ids)
    assert [each.text for each in telegram.sent_to(ana)] == [question.text]
    assert len(question.earlier) == 1
    assert len(telegram.calls_of("answerCallbackQuery")) == 5


REFUSALS = {
    "expired": ("This code has expired. Ask whoever", "Este código ha caducado. Pide uno nuevo"),
    "unknown": ("There is no invitation with this code.", "No hay ninguna invitación"),
    "cancelled": ("This code is no longer valid. Ask", "Este código ya no es válido. Pide"),
    "used": ("This code has already been used. Ask", "Este código ya se usó. Pide uno nuevo"),
    "other": ("This code is meant for somebody else.", "Este código es para otra persona. Pide"),
}


async def test_a_refused_code_is_told_at_once_in_both_languages(
    telegram: Telegram, inviter: Member, directory: asyncpg.Pool
) -> None:
    codes = {"expired": await invite(inviter), "unknown": "ABCDEFGHJKMNPQRS"}
    await directory.execute(EXPIRE)
    codes |= {"cancelled": await invite(inviter), "used": await invite(inviter)}
    codes["other"] = await invite(inviter, username="eva")
    await invitations.cancel(codes["cancelled"])
    await invitations.redeem(codes["used"], telegram_id=5, name="Eva", primary_role="developer")
    people = (telegram.person(1001, "Ana"), telegram.person(1002, "Bea", **SPANISH))
    for reason, code in codes.items():
        for person, sentence in zip(people, REFUSALS[reason], strict=True):
            [told] = await person.says(f"/start {code}")
            assert told.text.startswith(sentence)
            assert not told.buttons


async def test_a_command_for_members_is_no_code(telegram: Telegram, inviter: Member) -> None:
    ana = telegram.person(1001, "Ana")
    [told] = await ana.says("/directory")
    assert told.text.startswith("This is the directory")


async def test_a_code_that_expires_in_the_meantime_loses_no_answer(
    telegram: Telegram, inviter: Member, directory: asyncpg.Pool
) -> None:
    ana = telegram.person(1001, "Ana")
    [summary] = await answers(ana, await invite(inviter))
    await directory.execute(EXPIRE)
    await ana.presses("Join")
    assert summary.text.startswith("This code has expired.")
    [again] = await ana.says(f"/start {await invite(inviter)}")
    assert "Name: Ana García" in again.text
    await ana.presses("Join", again)
    assert (await members.get_by_telegram_id(1001)).name == "Ana García"


async def test_a_value_that_is_refused_is_asked_again(telegram: Telegram, inviter: Member) -> None:
    ana = telegram.person(1001, "Ana")
    await ana.says(f"/start {await invite(inviter)}")
    [told] = await ana.posts({"contact": {"phone_number": "1", "first_name": "Ana"}})
    assert told.text == "I can only read text. Please write it."
    [told] = await ana.says("\u200b\u2060")
    assert told.text == "The name can't be blank."
    [told] = await ana.says("x" * 256)
    assert "at most 255" in told.text
    await ana.says("Ana")
    [told] = await ana.says("r" * 51)
    assert "at most 50" in told.text
    await ana.says("developer")
    await ana.presses("Skip")
    await ana.presses("Skip")
    [told] = await ana.says("not a username!")
    assert "GitHub username" in told.text
    [summary] = await ana.says("@ana-g")
    assert "GitHub: ana-g" in summary.text


async def test_a_pasted_code_begins_the_conversation(telegram: Telegram, inviter: Member) -> None:
    code = await invite(inviter)
    ana = telegram.person(1001, "Ana")
    for text in (f"  {code.lower()}", f"https://t.me/frutero_bot?start={code}"):
        [question] = await ana.says(text)
        assert "What is your name" in question.text
        await ana.says("/cancel")
    [told] = await ana.says("hello there")
    assert "open the link that you got" in told.text


async def test_who_has_joined_is_told_so(
    telegram: Telegram, inviter: Member, directory: asyncpg.Pool
) -> None:
    code = await invite(inviter)
    luis, ana = telegram.person(900, "Luis"), telegram.person(1001, "Ana")
    [told] = await luis.says(f"/start {code}")
    assert told.text.startswith("You are a member.")
    await answers(ana, code)
    await ana.presses("Join")
    for text in (f"/start {code}", f"/start {await invite(inviter)}", "/start"):
        [told] = await ana.says(text)
        assert "waits for the approval" in told.text
    await members.set_status("#2", "banned", actor="Luis")
    [told] = await ana.says(f"/start {code}")
    assert "is banned" in told.text


async def test_a_press_after_joining_and_a_forged_press_change_nothing(
    telegram: Telegram, inviter: Member
) -> None:
    ana = telegram.person(1001, "Ana")
    [summary] = await answers(ana, await invite(inviter))
    join = summary.buttons["Join"]
    await ana.presses("Join")
    welcome = summary.text
    for data in (join, "join:choose:name:99", "join:x:y:0", "join", "nobody:knows", "\0"):
        before = len(telegram.calls_of("answerCallbackQuery"))
        assert await ana.presses_data(data, summary) == []
        assert len(telegram.calls_of("answerCallbackQuery")) == before + 1
    assert summary.text == welcome


async def test_a_question_that_was_deleted_is_sent_again(
    telegram: Telegram, inviter: Member
) -> None:
    ana = telegram.person(1001, "Ana")
    [question] = await ana.says(f"/start {await invite(inviter)}")
    question.is_deleted = True
    [role] = await ana.presses("Ana", question)
    assert "What do you mainly do" in role.text
    [role] = await ana.says("/start")
    assert "What do you mainly do" in role.text
    await ana.presses("developer", role)
    assert "Which organization" in role.text


async def test_texts_of_people_are_texts_everywhere(telegram: Telegram, inviter: Member) -> None:
    await members.update_profile(inviter.member_id, name="<i>{x}</i>" * 20)
    ana = telegram.person(1001, STRANGE_NAME)
    [question] = await ana.says(f"/start {await invite(inviter)}")
    assert "<i>{x}</i>" in question.text
    assert "parse_mode" not in question.parameters
    await ana.presses_data(next(iter(question.buttons.values())), question)
    await ana.says("😀" * 50)
    await ana.says("\u202e&amp;<script>" * 19)
    await ana.says("🇲🇽" * 50)
    await ana.presses("Skip")
    [*_, summary] = telegram.sent_to(ana)
    assert "&amp;<script>&amp;<script>" in summary.text
    await ana.presses("Join")
    assert (await members.get_by_telegram_id(1001)).primary_role == "😀" * 50


async def test_a_person_who_blocks_the_bot_stops_nobody(
    telegram: Telegram, inviter: Member
) -> None:
    ana, bea = telegram.person(1001, "Ana"), telegram.person(1002, "Bea")
    code = await invite(inviter)
    telegram.block(ana)
    assert await ana.says(f"/start {code}") == []
    [question] = await bea.says(f"/start {code}")
    assert "What is your name" in question.text


async def test_a_manager_has_their_own_site_name(
    telegram: Telegram, inviter: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIRECTORY_SITE_NAME", "Frutero {Club}")
    load_settings.cache_clear()
    [told] = await telegram.person(1001, "Ana").says("/start")
    assert told.text.startswith("This is the directory of Frutero {Club}.")
