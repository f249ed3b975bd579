"""Telegram hears that an update was received when its handling has ended and it is stored."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import aiohttp
import asyncpg
import pytest
from aiogram.filters import Command
from aiogram.types import Message

from community_directory.bot import polling, session
from community_directory.bot.app import run
from community_directory.bot.dispatcher import make_dispatcher
from community_directory.bot.errors import MAX_TRIES
from community_directory.bot.session import MAX_REQUESTS
from community_directory.bot.updates import MAX_DEFECT_TRIES
from community_directory.bot.webhook import MAX_BODY_BYTES
from community_directory.errors import ConfigurationError, DatabaseUnavailable, OperatorError
from community_directory.queries import members, participation
from community_directory.queries.recorder import open_recorders
from community_directory.settings import load_settings
from tests.bot.conftest import running_bot
from tests.bot.stand_in import Group, Json, Person, Telegram
from tests.conftest import Server, closed_to_all
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("no_background_tasks")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "MIN_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(polling, "MAX_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(session, "ERROR_PAUSE_SECONDS", 0.01)


@pytest.fixture
async def ana(directory: asyncpg.Pool, stand_in: Telegram) -> Person:
    """An active member."""
    await members.add(telegram_id=1001, name="Ana", primary_role="artist", status="active")
    return stand_in.person(1001, "Ana")


async def count_events(directory: asyncpg.Pool) -> int:
    return int(await directory.fetchval("SELECT count(*) FROM member_participation"))


def changed_reaction(telegram: Telegram, group: Group, ana: Person, *, after: str = "") -> Json:
    """Return a change of the reactions of Ana to message 5; without any, they are taken back."""
    return {
        "chat": group.chat,
        "message_id": 5,
        "user": ana.user,
        "date": telegram.now(),
        "old_reaction": [{"type": "emoji", "emoji": "👍"}],
        "new_reaction": [{"type": "emoji", "emoji": each} for each in after],
    }


async def logged(caplog: pytest.LogCaptureFixture, text: str) -> None:
    """Wait until a line of the log contains a text."""
    await until(lambda: text in caplog.text)


# An outage of the database


@dataclass
class Outage:
    """Makes the database of the test unavailable, and counts its events."""

    server: Server
    url: str
    pool: asyncpg.Pool

    def running(self) -> AbstractAsyncContextManager[None]:
        return closed_to_all(self.server, self.url)

    async def count_events(self) -> int:
        return await count_events(self.pool)


@pytest.fixture
def outage(server: Server, database: str, directory: asyncpg.Pool) -> Outage:
    return Outage(server, database, directory)


@pytest.mark.parametrize("is_known", [False, True], ids=["at the lookup", "at the storing"])
async def test_updates_wait_at_telegram_while_the_database_is_away(  # noqa: PLR0917  pytest passes names
    outage: Outage,
    telegram: Telegram,
    group: Group,
    ana: Person,
    caplog: pytest.LogCaptureFixture,
    is_known: bool,
) -> None:
    if is_known:
        await ana.says("first", group)
    stored_before = await outage.count_events()
    async with outage.running():
        update_ids = [
            telegram.send(message=ana.message({"text": "hello"}, group)) for _ in range(3)
        ]
        await logged(caplog, "not stored yet" if is_known else "An update waits")
        assert len(telegram.unconfirmed) == 3
    await telegram.confirmed(*update_ids)
    assert await outage.count_events() == stored_before + 3
    assert telegram.unconfirmed == []


async def test_a_bot_that_stops_in_an_outage_leaves_updates_to_the_next_one(
    outage: Outage,
    stand_in: Telegram,
    group: Group,
    ana: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(polling, "FLUSH_TIMEOUT_SECONDS", 0.05)
    async with running_bot(stand_in) as stop:
        await ana.says("first", group)
        async with outage.running():
            update_id = stand_in.send(message=ana.message({"text": "hello"}, group))
            async with asyncio.timeout(30):
                while not any(each.pending for each in open_recorders):
                    await asyncio.sleep(0.005)
                stop.set()
                assert stand_in.bot_task is not None
                await stand_in.bot_task
    assert len(stand_in.unconfirmed) == 1
    async with running_bot(stand_in):
        await stand_in.confirmed(update_id)
    assert await outage.count_events() == 2


async def test_an_update_that_was_handled_is_not_handled_again_with_those_that_wait(
    directory: asyncpg.Pool,
    telegram: Telegram,
    group: Group,
    ana: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, failures = participation.take_back, 3

    async def fail_at_first(**values: object) -> bool:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise DatabaseUnavailable("The database is busy.")
        return await real(**values)  # type: ignore[arg-type]

    monkeypatch.setattr(participation, "take_back", fail_at_first)
    bea = telegram.person(1002, "Bea")
    await telegram.confirmed(
        telegram.send(message_reaction=changed_reaction(telegram, group, ana, after="👍")),
        telegram.send(
            chat_join_request={
                "chat": {**group.chat},
                "from": bea.user,
                "user_chat_id": bea.id,
                "date": telegram.now(),
            }
        ),
        telegram.send(message_reaction=changed_reaction(telegram, group, ana)),
        telegram.send(message=ana.message({"text": "hello"}, group)),
    )
    assert failures == -1
    assert len(telegram.sent_to(bea)) == 1
    assert await count_events(directory) == 1


async def test_a_message_in_a_group_waits_as_long_as_the_database_is_too_busy(
    directory: asyncpg.Pool,
    telegram: Telegram,
    group: Group,
    ana: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, failures = members.seen, 2 * MAX_TRIES

    async def fail_at_first(**values: str | None) -> members.Member | None:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise DatabaseUnavailable("The database is busy.")
        return await real(**values)  # type: ignore[arg-type]

    monkeypatch.setattr(members, "seen", fail_at_first)
    await ana.says("hello", group)
    assert await count_events(directory) == 1


async def test_updates_of_one_chat_are_handled_in_their_order(
    directory: asyncpg.Pool, telegram: Telegram, group: Group, ana: Person
) -> None:
    changes = ["👍", "", "👍", "", "👍", ""]
    update_ids = [
        telegram.send(message_reaction=changed_reaction(telegram, group, ana, after=after))
        for after in changes
    ]
    await telegram.confirmed(*update_ids)
    assert await count_events(directory) == 0


# Defects


@pytest.fixture
async def broken_telegram(
    directory: asyncpg.Pool, stand_in: Telegram, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Telegram]:
    """A running bot that can't take back a reaction, because of a defect, which a test meets."""

    async def fail(**_: object) -> bool:
        raise ValueError("Ana García has a secret")

    monkeypatch.setattr(participation, "take_back", fail)
    async with running_bot(stand_in, defects=1):
        yield stand_in


async def test_an_update_that_always_fails_is_left_out_and_the_next_ones_are_handled(
    directory: asyncpg.Pool,
    broken_telegram: Telegram,
    group: Group,
    ana: Person,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await broken_telegram.confirmed(
        broken_telegram.send(message_reaction=changed_reaction(broken_telegram, group, ana)),
        broken_telegram.send(message=ana.message({"text": "hello"}, group)),
    )
    assert await count_events(directory) == 1
    assert f"left out: handling it failed {MAX_DEFECT_TRIES} times" in caplog.text


async def test_an_update_that_nobody_can_read_is_left_out(
    directory: asyncpg.Pool, telegram: Telegram, group: Group, ana: Person
) -> None:
    await telegram.confirmed(
        telegram.send(message={**ana.message({"text": "hello"}, group), "date": "yesterday"}),
        telegram.send(a_new_kind={"chat": group.chat}),
        telegram.send(message=ana.message({"text": "hello"}, group)),
    )
    assert await count_events(directory) == 1


# Answers


@pytest.fixture
def failures() -> Iterator[list[Exception]]:
    """The errors that the command /fail of this test raises, one after the other."""
    errors: list[Exception] = []

    async def fail(message: Message) -> None:
        if errors:
            raise errors.pop(0)
        await message.answer("Done.")

    observer = make_dispatcher().message
    observer.register(fail, Command("fail"))
    yield errors
    observer.handlers.pop()


async def test_a_person_is_answered_once_when_the_database_is_back(
    telegram: Telegram, ana: Person, failures: list[Exception]
) -> None:
    failures += [DatabaseUnavailable("The database is busy.")] * (MAX_TRIES - 1)
    assert [sent.text for sent in await ana.says("/fail")] == ["Done."]


async def test_a_person_does_not_wait_for_ever_for_what_the_database_can_not_do(
    telegram: Telegram, ana: Person, failures: list[Exception]
) -> None:
    failures += [DatabaseUnavailable("The database is busy.")] * MAX_TRIES
    assert [sent.text for sent in await ana.says("/fail")] == [OperatorError.public_message]


async def test_a_person_who_blocked_the_bot_does_not_stop_it(
    telegram: Telegram, ana: Person, failures: list[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    telegram.block(ana)
    assert await ana.says("/fail") == []
    assert "SendMessage failed: TelegramForbiddenError" in caplog.text


async def test_a_message_is_sent_again_when_telegram_asks_to_wait(
    telegram: Telegram, ana: Person, failures: list[Exception]
) -> None:
    telegram.refuse_next("sendMessage", 429, "Too Many Requests: retry after 1", retry_after=1)
    assert [sent.text for sent in await ana.says("/fail")] == ["Done."]


async def test_nobody_waits_long_for_an_answer_to_somebody_who_writes_too_fast(
    telegram: Telegram, ana: Person, failures: list[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    telegram.refuse_next("sendMessage", 429, "Too Many Requests: retry after 6", retry_after=6)
    assert await ana.says("/fail") == []
    assert "SendMessage failed: TelegramRetryAfter" in caplog.text


# Telegram


@pytest.mark.parametrize("status", [200, 502])
async def test_the_page_of_a_proxy_does_not_end_the_bot(
    telegram: Telegram, ana: Person, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    await ana.says("hello")
    for _ in range(MAX_REQUESTS):
        telegram.refuse_next("getUpdates", status, "<html>Please wait.</html>")
    await ana.says("hello")
    assert "Telegram sends no updates" in caplog.text


async def test_a_second_program_with_the_token_does_not_end_the_bot(
    telegram: Telegram, ana: Person, caplog: pytest.LogCaptureFixture
) -> None:
    telegram.refuse_next("getUpdates", 409, "Conflict: terminated by other getUpdates request")
    await ana.says("hello")
    await ana.says("hello")
    assert "another program asks for the updates of this bot" in caplog.text


async def test_the_last_updates_are_confirmed_when_the_bot_stops(
    directory: asyncpg.Pool,
    stand_in: Telegram,
    group: Group,
    ana: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    async def wait(**_: object) -> bool:
        began.set()
        await go_on.wait()
        return True

    monkeypatch.setattr(participation, "take_back", wait)
    async with running_bot(stand_in) as stop:
        stand_in.send(message_reaction=changed_reaction(stand_in, group, ana))
        await began.wait()
        stop.set()
        go_on.set()
    assert stand_in.unconfirmed == []


async def test_a_refused_token_ends_the_bot_with_one_sentence(
    directory: asyncpg.Pool, stand_in: Telegram
) -> None:
    stand_in.token = "123456789:another"
    with pytest.raises(ConfigurationError, match="refuses the token in TELEGRAM_BOT_TOKEN"):
        await run(load_settings(), asyncio.Event())


# The webhook


@asynccontextmanager
async def running_webhook(
    telegram: Telegram, monkeypatch: pytest.MonkeyPatch, port: int
) -> AsyncIterator[str]:
    """Run the bot with a webhook, and yield its URL when Telegram has it."""
    url = f"http://127.0.0.1:{port}/telegram/updates"
    monkeypatch.setenv("TELEGRAM_WEBHOOK_URL", url)
    monkeypatch.setenv("TELEGRAM_WEBHOOK_PORT", str(port))
    async with running_bot(telegram):
        await until(lambda: bool(telegram.calls_of("setWebhook")))
        yield url


@pytest.fixture
async def webhook(
    directory: asyncpg.Pool,
    stand_in: Telegram,
    unused_tcp_port: int,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[str]:
    """Yield the URL of a running bot to which the stand-in delivers updates."""
    async with running_webhook(stand_in, monkeypatch, unused_tcp_port) as url:
        yield url


async def test_a_webhook_gets_updates_and_answers(  # noqa: PLR0917  pytest passes names
    directory: asyncpg.Pool,
    webhook: str,
    stand_in: Telegram,
    group: Group,
    ana: Person,
    failures: list[Exception],
) -> None:
    await ana.says("hello", group)
    assert await count_events(directory) == 1
    assert [sent.text for sent in await ana.says("/fail")] == ["Done."]
    [call] = stand_in.calls_of("setWebhook")
    assert {"message", "message_reaction", "chat_member"} <= set(call["allowed_updates"])
    assert stand_in.calls_of("deleteWebhook") == []


async def test_a_webhook_refuses_updates_until_the_database_is_back(  # noqa: PLR0917  pytest passes names
    outage: Outage,
    webhook: str,
    stand_in: Telegram,
    group: Group,
    ana: Person,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with outage.running():
        update_id = stand_in.send(message=ana.message({"text": "hello"}, group))
        await logged(caplog, "An update waits")
        assert len(stand_in.unconfirmed) == 1
    await stand_in.confirmed(update_id)
    assert await outage.count_events() == 1


async def test_an_update_that_is_delivered_twice_is_handled_once(
    webhook: str, stand_in: Telegram, ana: Person, failures: list[Exception]
) -> None:
    update_id = stand_in.send(message=ana.message({"text": "/fail"}))
    [update] = stand_in.unconfirmed
    await stand_in.confirmed(update_id)
    stand_in.send_again(update)
    await stand_in.confirmed(update_id)
    assert len(stand_in.sent_to(ana)) == 1


@pytest.mark.parametrize(
    ("secret", "body", "status"),
    [
        ("", b"{}", 401),
        ("wrong", b"{}", 401),
        ("r\u00e9", b"{}", 401),
        (None, b"{", 400),
        (None, b"\xff", 400),
        (None, b"[]", 400),
        (None, b'{"update_id": "1"}', 400),
        (None, b"[" * 100_000, 400),
        (None, b" " * (MAX_BODY_BYTES + 1), 413),
        (None, b'{"update_id": 1}', 200),
    ],
)
async def test_a_webhook_accepts_only_what_telegram_sends(
    webhook: str, stand_in: Telegram, secret: str | None, body: bytes, status: int
) -> None:
    [call] = stand_in.calls_of("setWebhook")
    headers = {
        "X-Telegram-Bot-Api-Secret-Token": call["secret_token"] if secret is None else secret
    }
    async with (
        aiohttp.ClientSession() as client,
        client.post(webhook, data=body, headers=headers) as answer,
    ):
        assert answer.status == status


async def test_a_url_that_telegram_refuses_ends_the_bot_with_one_sentence(
    directory: asyncpg.Pool,
    stand_in: Telegram,
    unused_tcp_port: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stand_in.refuse_next("setWebhook", 400, "Bad Request: bad webhook: An HTTPS URL is required")
    monkeypatch.setenv("TELEGRAM_WEBHOOK_URL", "http://127.0.0.1/")
    monkeypatch.setenv("TELEGRAM_WEBHOOK_PORT", str(unused_tcp_port))
    load_settings.cache_clear()
    with pytest.raises(ConfigurationError, match="refuses TELEGRAM_WEBHOOK_URL"):
        await run(load_settings(), asyncio.Event())
