"""People read what has happened to them, and groups read who is new, whoever has decided."""

import asyncpg
import pytest

from community_directory.queries import invitations, members
from tests.bot.conftest import CHAT_ID, SMALL_CHAT_ID, running_bot
from tests.bot.stand_in import Group, Person, Telegram
from tests.bot.test_managers import person_of
from tests.bot.test_notices import until_told
from tests.tables import rows


async def until_greeted() -> None:
    await until_told("bot")


@pytest.fixture
async def telegram(directory: asyncpg.Pool, stand_in: Telegram) -> Telegram:
    """Return the stand-in, with which a test runs the bot."""
    return stand_in


@pytest.fixture
async def ana(telegram: Telegram, directory: asyncpg.Pool) -> Person:
    """Return #1, who waits for approval and has started the bot."""
    ana = await person_of(telegram, directory, 101, "Ana & Co", status="pending")
    await rows.bot_chat(directory, member_id="#1")
    return ana


async def test_a_new_member_is_greeted_in_private_and_in_each_group_in_its_language(
    telegram: Telegram, ana: Person, group: Group
) -> None:
    small = telegram.group(SMALL_CHAT_ID)
    telegram.present |= {(CHAT_ID, ana.id), (SMALL_CHAT_ID, ana.id)}
    async with running_bot(telegram):
        await until_greeted()
        await members.set_status("#1", "active", actor="panel-luis")
        await until_greeted()
    assert [sent.text for sent in telegram.sent_to(ana)] == [
        "Welcome! You are a member of the community now. Send /directory to see who is here, or "
        "/invite to bring somebody."
    ]
    mention = '<a href="tg://user?id=101">Ana &amp; Co</a>'
    assert [sent.text for sent in telegram.sent_to(group)] == [
        f"¡Te damos la bienvenida a la comunidad, {mention}!"
    ]
    assert [sent.text for sent in telegram.sent_to(small)] == [
        f"Welcome {mention}, our new member!"
    ]
    assert telegram.sent_to(small)[0].parameters["parse_mode"] == "HTML"


async def test_a_group_without_the_person_reads_nothing(
    telegram: Telegram, ana: Person, group: Group
) -> None:
    async with running_bot(telegram):
        await until_greeted()
        await members.set_status("#1", "active", actor="luis")
        await until_greeted()
    assert telegram.sent_to(group) == []


async def test_a_group_is_not_flooded(
    telegram: Telegram, directory: asyncpg.Pool, group: Group
) -> None:
    async with running_bot(telegram):
        await until_greeted()
        for number in range(1, 9):
            await rows.member(directory, telegram_id=str(number), status="pending")
            telegram.present.add((CHAT_ID, number))
            await members.set_status(f"#{number}", "active", actor="luis")
        await until_greeted()
    assert len(telegram.sent_to(group)) == 5


async def test_people_are_told_what_has_happened_to_them(telegram: Telegram, ana: Person) -> None:
    async with running_bot(telegram):
        await until_greeted()
        for status in ("not_member", "pending", "active", "suspended", "active", "banned"):
            await members.set_status("#1", status, actor="luis", reason="a secret")
        await members.set_status("#1", "active", actor="luis")
        await until_greeted()
    texts = [sent.text for sent in telegram.sent_to(ana)]
    assert [text.split(maxsplit=4)[:4] for text in texts] == [
        ["We", "are", "sorry:", "your"],
        ["Welcome!", "You", "are", "a"],
        ["Your", "membership", "is", "suspended"],
        ["Good", "news:", "you", "are"],
        ["Your", "membership", "has", "ended,"],
        ["Good", "news:", "you", "are"],
    ]
    assert not any("secret" in text for text in texts)


async def test_a_tier_and_an_accepted_invitation_are_told(
    telegram: Telegram, ana: Person, directory: asyncpg.Pool
) -> None:
    await members.set_status("#1", "active", actor="luis")
    invitation = await invitations.create(created_by="#1")
    async with running_bot(telegram):
        await until_greeted()
        await invitations.redeem(
            invitation.invitation_code, telegram_id="900", name="Bo", primary_role="designer"
        )
        await directory.execute(
            "UPDATE community_members SET reputation_score = 300 WHERE member_id = '#1'"
        )
        await directory.execute(
            "UPDATE community_members SET reputation_score = 0 WHERE member_id = '#1'"
        )
        await until_greeted()
    assert [sent.text for sent in telegram.sent_to(ana)] == [
        "Bo (#2) has joined with your invitation. Thank you!",
        "Congratulations: you have reached the tier Contributor!",
    ]


async def test_a_restart_repeats_no_greeting(
    telegram: Telegram, ana: Person, directory: asyncpg.Pool
) -> None:
    async with running_bot(telegram):
        await until_greeted()
    await members.set_status("#1", "active", actor="luis")
    for _ in range(2):
        async with running_bot(telegram):
            await until_greeted()
    assert len(telegram.sent_to(ana)) == 1


async def test_somebody_who_never_started_the_bot_and_an_import_cost_no_request(
    telegram: Telegram, directory: asyncpg.Pool
) -> None:
    async with running_bot(telegram):
        await until_greeted()
        calls = len(telegram.calls)
        for actor in ("import", "luis"):
            member = await rows.member(
                directory, telegram_id=f"discord:{len(actor)}", status="pending"
            )
            await members.set_status(member["member_id"], "active", actor=actor)
        await until_greeted()
        assert len(telegram.calls) == calls


async def test_a_group_that_the_bot_may_not_write_in_stops_nothing(
    telegram: Telegram, ana: Person, group: Group
) -> None:
    small = telegram.group(SMALL_CHAT_ID)
    telegram.present |= {(CHAT_ID, ana.id), (SMALL_CHAT_ID, ana.id)}
    async with running_bot(telegram):
        await until_greeted()
        telegram.refuse_next("getChatMember", 400, "Bad Request: user not found")
        await members.set_status("#1", "active", actor="luis")
        await until_greeted()
    assert telegram.sent_to(group) == []
    assert len(telegram.sent_to(small)) == 1
