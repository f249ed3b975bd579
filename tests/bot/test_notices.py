"""Managers read who waits, and what a colleague has decided, through the change feed."""

import asyncpg
import pytest

from community_directory.queries import acts, audit, invitations, members, permissions, requests
from tests.bot.conftest import running_bot
from tests.bot.stand_in import Person, Sent, Telegram
from tests.bot.test_managers import person_of
from tests.tables import rows
from tests.waiting import until


async def until_told(consumer: str = "bot-notices") -> None:
    """Wait until the bot has dealt with all changes of the audit log so far."""

    async def is_told() -> bool:
        known = {each.name: each for each in await audit.consumers()}
        return consumer in known and known[consumer].waiting_since is None

    await until(is_told)


@pytest.fixture
async def managers(directory: asyncpg.Pool, stand_in: Telegram) -> list[Person]:
    """Return #1 and #2, who review and have started the bot, beside #3, who has not.

    #2 reads Spanish.
    """
    people = []
    for number, name, language in ((1, "Luis", "en"), (2, "Eva", "es")):
        person = await person_of(stand_in, directory, 100 + number, name)
        await rows.permission(directory, member_id=f"#{number}", permission="review")
        await rows.bot_chat(directory, member_id=f"#{number}", language_code="en")
        await members.update_profile(number, profile_data={"language": language})
        person.user["language_code"] = language
        people.append(person)
    await person_of(stand_in, directory, 103, "Kim")
    return people


@pytest.fixture
async def telegram(managers: list[Person], stand_in: Telegram) -> Telegram:
    """Return the stand-in, with people whom `running_bot` finds."""
    return stand_in


async def join(**columns: object) -> str:
    """Let somebody redeem an invitation of #3, and return their number."""
    invitation = await invitations.create(created_by="#3")
    redemption = await invitations.redeem(
        invitation.invitation_code,
        **{  # type: ignore[arg-type]
            "telegram_id": "900",
            "name": "Ana <García>",
            "primary_role": "developer",
            "telegram_username": "ana",
            "organization": "Frutero",
            "country": "Mexico",
            "github_username": "ana-dev",
            **columns,
        },
    )
    return redemption.member.member_id


async def notices_of(directory: asyncpg.Pool) -> list[str]:
    return [row[0] for row in await directory.fetch("SELECT manager_id FROM directory_bot_notices")]


def last(telegram: Telegram, person: Person) -> Sent:
    return telegram.sent_to(person)[-1]


async def test_each_reviewer_who_has_started_the_bot_reads_who_waits(
    telegram: Telegram, managers: list[Person], directory: asyncpg.Pool
) -> None:
    stranger = await person_of(telegram, directory, 104, "Bo")
    await rows.permission(directory, member_id="#4", permission="review")
    member = await person_of(telegram, directory, 105, "Lea")
    await rows.bot_chat(directory, member_id="#5")
    async with running_bot(telegram):
        await until_told()
        await join()
        await until(lambda: all(map(telegram.sent_to, managers)))
        await until_told()
    assert [sent.text for sent in telegram.sent_to(managers[0])] == [
        "Ana <García> (#6) waits for approval.\n"
        "Role: developer\n"
        "Frutero · Mexico\n"
        "@ana · https://github.com/ana-dev\n"
        "Invited by Kim (#3). Their record: 1 joined, 0 active, 0 banned."
    ]
    assert list(last(telegram, managers[0]).buttons) == ["✅ Approve", "❌ Decline"]
    assert last(telegram, managers[1]).text.startswith("Ana <García> (#6) espera aprobación.")
    assert telegram.sent_to(stranger) == telegram.sent_to(member) == []


async def test_a_decision_is_written_into_the_messages_of_all(
    telegram: Telegram, managers: list[Person], directory: asyncpg.Pool
) -> None:
    async with running_bot(telegram):
        await until_told()
        await join()
        await until(lambda: all(map(telegram.sent_to, managers)))
        await managers[0].presses("✅ Approve")
        await until(lambda: not last(telegram, managers[1]).buttons)
        await until_told()
    assert last(telegram, managers[0]).text == "Ana <García> (#4)\nApproved by Luis (#1)."
    assert last(telegram, managers[1]).text == "Ana <García> (#4)\nLuis (#1) aprobó la solicitud."
    assert await notices_of(directory) == []


@pytest.mark.parametrize("how", ["helper", "sql", "erasure", "removal"])
async def test_it_does_not_matter_how_somebody_has_decided(
    telegram: Telegram, managers: list[Person], directory: asyncpg.Pool, how: str
) -> None:
    async with running_bot(telegram):
        await until_told()
        number = await join()
        await until(lambda: all(map(telegram.sent_to, managers)))
        match how:
            case "helper":
                await members.set_status(number, "not_member", actor="panel-luis", reason="unknown")
                text = "Ana <García> (#4)\nDeclined by panel-luis.\nReason: unknown"
            case "sql":
                await directory.execute(
                    "UPDATE community_members SET status = 'banned' WHERE member_id = $1", number
                )
                text = "Ana <García> (#4)\nBanned by db:"
            case "erasure":
                await members.erase(number, actor="eva")
                text = "Erased member (#4)\n"
            case _:
                await members.remove(number, actor="eva")
                text = "Ana <García> (#4)\nRemoved by eva."
        await until(lambda: not last(telegram, managers[1]).buttons)
        await until_told()
    assert last(telegram, managers[0]).text.startswith(text)
    assert await notices_of(directory) == []


@pytest.mark.parametrize("kind", ["approve", "decline"])
async def test_reviewers_read_again_of_somebody_whose_decision_was_undone(
    telegram: Telegram, managers: list[Person], kind: str
) -> None:
    async with running_bot(telegram):
        await until_told()
        number = await join()
        await until(lambda: all(map(telegram.sent_to, managers)))
        act = await acts.apply(kind, [number], actor="eva")
        await until(lambda: not last(telegram, managers[0]).buttons)
        await acts.undo(act.id, actor="eva")
        await until(lambda: bool(last(telegram, managers[0]).buttons))
        await until_told()
    assert last(telegram, managers[0]).text.startswith("Ana <García> (#4) waits for approval.")


async def test_a_restart_repeats_no_notice_and_loses_none(
    telegram: Telegram, managers: list[Person], directory: asyncpg.Pool
) -> None:
    async with running_bot(telegram):
        await until_told()
        number = await join()
        await until(lambda: all(map(telegram.sent_to, managers)))
        await until_told()
    # The feed tells the last changes again, as it does after a sudden end.
    await directory.execute("UPDATE directory_audit_consumers SET last_id = 0")
    await join(telegram_id="901", name="Bo", telegram_username=None, github_username=None)
    async with running_bot(telegram):
        await until_told()
        assert [sent.text.split()[0] for sent in telegram.sent_to(managers[0])] == ["Ana", "Bo"]
    await members.set_status(number, "active", actor="#2")
    async with running_bot(telegram):
        await until_told()
    assert telegram.sent_to(managers[0])[0].text == "Ana <García> (#4)\nApproved by Eva (#2)."
    assert len(telegram.sent_to(managers[0])) == 2


async def test_a_manager_who_has_blocked_the_bot_is_left_out(
    telegram: Telegram, managers: list[Person], directory: asyncpg.Pool
) -> None:
    telegram.block(managers[0])
    async with running_bot(telegram):
        await until_told()
        await join()
        await until_told()
    assert len(telegram.sent_to(managers[1])) == 1
    assert await notices_of(directory) == ["#2"]
    assert await directory.fetchval("SELECT array_agg(account_id) FROM directory_bot_chats") == [
        "102"
    ]


async def test_telegram_may_ask_the_bot_to_wait(telegram: Telegram, managers: list[Person]) -> None:
    async with running_bot(telegram):
        await until_told()
        telegram.refuse_next("sendMessage", 429, "Too Many Requests", retry_after=0)
        await join()
        await until(lambda: all(map(telegram.sent_to, managers)))


async def test_an_import_and_old_changes_are_told_to_nobody(
    telegram: Telegram, managers: list[Person], directory: asyncpg.Pool
) -> None:
    async with running_bot(telegram):
        await until_told()
    for number, actor in ((4, "import"), (5, "eva")):
        await members.add(
            telegram_id=200 + number, name="Bo", primary_role="x", status="pending", actor=actor
        )
    async with directory.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(
            "UPDATE directory_audit_log SET changed_at = now() - interval '25 hours'"
            " WHERE member_id = '#5'"
        )
    async with running_bot(telegram):
        await until_told()
    assert telegram.sent_to(managers[0]) == []


async def test_whoever_manages_reads_that_somebody_asks_for_something(
    telegram: Telegram, managers: list[Person], directory: asyncpg.Pool
) -> None:
    await permissions.grant("#2", "manage", actor="eva")
    async with running_bot(telegram):
        await until_told()
        await requests.ask("#1", "erasure", actor="#1")
        await until(lambda: bool(telegram.sent_to(managers[1])))
        await until_told()
    assert telegram.sent_to(managers[0]) == []
    assert last(telegram, managers[1]).text == (
        "Luis (#1) pide que se borren sus datos.\nEnvía /requests para atenderlo."
    )


async def test_the_bot_remembers_the_language_of_members_who_write_to_it(
    telegram: Telegram, managers: list[Person], directory: asyncpg.Pool
) -> None:
    async with running_bot(telegram):
        ana = await person_of(telegram, directory, 104, "Ana")
        ana.user["language_code"] = "pt-BR"
        await ana.says("hello")
        await telegram.person(999, "Nobody").says("hello")
        ana.user["language_code"] = "es"
        await ana.says("hello")
        managers[0].user["language_code"] = "no language"
        await managers[0].says("hello")
    found = await directory.fetch(
        "SELECT account_id, language_code FROM directory_bot_chats ORDER BY account_id"
    )
    assert [tuple(row) for row in found] == [("101", "en"), ("102", "en"), ("104", "es")]
