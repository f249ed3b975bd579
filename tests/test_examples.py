"""The programs in `examples/` do what the documentation says; no network is needed."""

import asyncio
import subprocess
import sys
import warnings
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import asyncpg
import httpx
import pytest
from aiogram import Bot
from aiogram.client.session.base import BaseSession
from aiogram.methods import GetMe, SendMessage, TelegramMethod
from aiogram.types import Chat, Message, Update, User

from community_directory.errors import (
    InvitationNotFound,
    InvitationUsed,
    MemberNotActive,
    OperatorError,
)
from community_directory.queries import (
    audit,
    invitations,
    members,
    participation,
)
from community_directory.settings import load_settings
from examples import telegram_bot, web_api
from tests.processes import PROJECT, check_types, environment
from tests.roles import app_url
from tests.tables import rows

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # discord.py imports a module that Python 3.13 lacks
    import discord

    from examples import discord_bot

EXAMPLES = PROJECT / "examples"
TOKEN = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"


@pytest.fixture
def settings_of_the_database(directory_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings name the test's database, for a program that connects by itself."""
    monkeypatch.setenv("POSTGRES_URL", app_url(directory_url))
    load_settings.cache_clear()


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.name)
def test_an_example_is_typed(file: Path, tmp_path: Path) -> None:
    check_types(file, tmp_path)


# The Telegram bot


class RecordingSession(BaseSession):
    """Answers the methods of Telegram's Bot API, and keeps the texts of messages."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []

    async def make_request(self, bot: Bot, method: TelegramMethod[Any], *_: Any, **__: Any) -> Any:
        if isinstance(method, GetMe):
            return User(id=bot.id, is_bot=True, first_name="Bot", username="frutero_bot")
        assert isinstance(method, SendMessage), method
        self.sent.append(method.text)
        return Message(
            message_id=1, date=datetime.now(UTC), chat=Chat(id=1, type="private"), text=method.text
        )

    async def close(self) -> None:
        """Close nothing."""

    async def stream_content(self, *_: Any, **__: Any) -> AsyncGenerator[bytes, None]:
        raise AssertionError("The bot downloads nothing.")
        yield b""


class TelegramUser:
    """A person who writes to the bot."""

    def __init__(self, number: int, name: str, bot: Bot, session: RecordingSession) -> None:
        self.user = User(id=number, is_bot=False, first_name=name, username=name.lower())
        self._bot, self._session = bot, session

    async def send(self, text: str) -> str:
        """Send a message, and return the bot's answer."""
        self._session.sent.clear()
        message = Message(
            message_id=1,
            date=datetime.now(UTC),
            chat=Chat(id=self.user.id, type="private"),
            from_user=self.user,
            text=text,
        )
        await telegram_bot.dispatcher.feed_update(self._bot, Update(update_id=1, message=message))
        [answer] = self._session.sent
        return answer


@pytest.fixture
def ana_and_bea() -> tuple[TelegramUser, TelegramUser]:
    session = RecordingSession()
    bot = Bot(TOKEN, session=session)
    return TelegramUser(1001, "Ana", bot, session), TelegramUser(1002, "Bea", bot, session)


async def test_people_join_the_telegram_bot_and_see_themselves(
    directory: asyncpg.Pool, ana_and_bea: tuple[TelegramUser, TelegramUser]
) -> None:
    ana, bea = ana_and_bea
    await members.add(
        telegram_id=1001, name="Ana", primary_role="community_manager", status="active"
    )
    assert await bea.send("/start") == "Hello! Your Telegram id is 1002."
    assert await bea.send("/me") == "You are not a member. Ask a member for an invitation."
    link = await ana.send("/invite")
    assert link.startswith("https://t.me/frutero_bot?start=")
    code = link.partition("=")[2]
    assert await bea.send(f"/start {code}") == "Welcome, Bea! Your number is #2."
    assert await bea.send(f"/start {code}") == "Welcome, Bea! Your number is #2."
    assert await ana.send("/me") == "#1 Ana, active: Novice, 101 points to Contributor."
    assert await ana.send("/top") == "Ana: 0"
    await members.set_status(2, "active", actor="ana")
    await directory.execute(
        "UPDATE community_members SET reputation_score = 5 WHERE member_id = '#2'"
    )
    assert await ana.send("/top") == "Bea: 5\nAna: 0"


async def test_the_telegram_bot_answers_with_the_sentence_of_an_error(
    directory: asyncpg.Pool, ana_and_bea: tuple[TelegramUser, TelegramUser]
) -> None:
    ana, bea = ana_and_bea
    assert await ana.send("/top") == "Nobody is active."
    await members.add(telegram_id=1001, name="Ana", primary_role="x", status="pending")
    assert await ana.send("/invite") == str(MemberNotActive("#1", "pending"))
    assert await bea.send("/start NOSUCHCODE") == str(InvitationNotFound("NOSUCHCODE"))


async def test_the_telegram_bot_apologizes_when_the_database_is_away(
    ana_and_bea: tuple[TelegramUser, TelegramUser], capsys: pytest.CaptureFixture[str]
) -> None:
    ana, _ = ana_and_bea
    assert await ana.send("/top") == OperatorError.public_message
    assert "Not connected" in capsys.readouterr().out


def run_example(name: str, *arguments: str, url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        env=environment(POSTGRES_URL=url, PYTHONPATH=str(PROJECT)),
        capture_output=True,
        text=True,
        check=False,
    )


async def test_whoever_is_approved_is_greeted(directory_url: str, directory: asyncpg.Pool) -> None:
    await rows.member(directory, name="Ana García", status="pending")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, EXAMPLES / "follow_changes.py"),
        env=environment(POSTGRES_URL=app_url(directory_url), PYTHONPATH=str(PROJECT)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    try:
        async with asyncio.timeout(60):
            while not await audit.consumers():
                await asyncio.sleep(0.01)
            await members.set_status("#1", "active", actor="Luis")
            assert await process.stdout.readline() == "Welcome, Ana García!\n".encode()
    finally:
        process.kill()
        await process.communicate()


async def test_the_first_member_is_added_to_an_empty_database(empty_database: str) -> None:
    ended = run_example("first_member.py", "1001", "Ana García", url=empty_database)
    assert (ended.stdout, ended.stderr) == ("Ana García is member #1.\n", "")
    ended = run_example("first_member.py", "1001", "Ana García", url=empty_database)
    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
    ended = run_example("first_member.py", "1001", url=empty_database)
    assert (ended.returncode, ended.stderr.startswith("Add the first member")) == (1, True)
    ended = run_example("first_member.py", "Ana", "1001", url=empty_database)
    assert ended.returncode == 1
    assert ended.stderr == "A Telegram id is a number, such as 123456789.\n"


@pytest.mark.parametrize(
    ("name", "variable"), [("telegram_bot.py", "BOT_TOKEN"), ("discord_bot.py", "DISCORD_TOKEN")]
)
def test_a_bot_asks_for_its_token_first(
    name: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(variable, raising=False)
    ended = run_example(name, url="postgresql://127.0.0.1:1/x")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == f"Set {variable} to the token of your bot."


async def test_a_stream_of_events_is_recorded(database: str) -> None:
    connection = await asyncpg.connect(database)
    await rows.member(connection)
    await connection.close()
    ended = run_example("record_events.py", url=app_url(database))
    assert (ended.stdout, ended.stderr) == ("2 stored, 1 already there\n", "")


# The Discord bot


@pytest.fixture
async def discord_client(
    settings_of_the_database: None, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[discord_bot.DirectoryBot]:
    """The bot, after discord.py has called its hook."""
    client = discord_bot.DirectoryBot()

    async def sync(**_: object) -> list[object]:
        return []

    monkeypatch.setattr(client.tree, "sync", sync)
    await client.setup_hook()
    yield client
    await client.close()


def discord_user(number: int) -> discord.User:
    return cast("discord.User", SimpleNamespace(id=number, display_name="Bea"))


async def join_by_discord(code: str, number: int) -> str:
    """Use the slash command, and return its answer."""
    sent: list[str] = []

    async def send_message(text: str, *, ephemeral: bool) -> None:
        assert ephemeral
        sent.append(text)

    interaction = SimpleNamespace(
        user=discord_user(number), response=SimpleNamespace(send_message=send_message)
    )
    await cast("Any", discord_bot.join.callback)(interaction, code)
    [answer] = sent
    return answer


async def test_people_join_the_discord_bot_and_their_messages_are_counted(
    discord_client: discord_bot.DirectoryBot,
) -> None:
    await members.add(telegram_id=1001, name="Ana", primary_role="x", status="active")
    invitation = await invitations.create(created_by=1)
    code = invitation.invitation_code
    assert await join_by_discord(code, 77) == "Welcome! Your number is #2."
    assert await join_by_discord(code, 78) == str(InvitationUsed(code))
    member = await members.get(2)
    assert (member.telegram_id, member.profile_data) == ("discord:77", {"discord_id": "77"})

    for author in (77, 77, 78):
        message = SimpleNamespace(
            id=5,
            author=discord_user(author),
            channel=SimpleNamespace(id=9),
            created_at=datetime.now(UTC),
        )
        await discord_client.on_message(cast("discord.Message", message))
    [event] = (await participation.history(2)).items
    assert (event.platform, event.room_id, event.source_id) == ("discord", "9", "5")


async def test_the_discord_bot_apologizes_when_the_database_is_away(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert await join_by_discord("SOMECODE", 77) == OperatorError.public_message
    assert "Not connected" in capsys.readouterr().out


# The web API


@pytest.fixture
async def web_client(settings_of_the_database: None) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API, whose lifespan has begun."""
    transport = httpx.ASGITransport(web_api.app)
    async with (
        web_api.app.router.lifespan_context(web_api.app),
        httpx.AsyncClient(transport=transport, base_url="http://directory") as client,
    ):
        yield client


async def test_the_web_api_shows_nothing_personal(
    web_client: httpx.AsyncClient,
) -> None:
    for number in range(25):
        await members.add(
            telegram_id=1000 + number, name=f"Ana {number}", primary_role="x", status="active"
        )
    shown = (await web_client.get("/members/1")).json()
    assert shown.keys() == web_api.PublicMember.model_fields.keys()
    assert (shown["member_id"], shown["name"]) == ("#1", "Ana 0")
    first = (await web_client.get("/members", params={"text": "ana"})).json()
    second = (await web_client.get("/members", params={"after": first["next_cursor"]})).json()
    assert (len(first["items"]), len(second["items"])) == (20, 5)
    assert second["next_cursor"] is None


async def test_the_web_api_answers_errors_with_their_code(web_client: httpx.AsyncClient) -> None:
    missing = await web_client.get("/members/1")
    assert (missing.status_code, missing.json()["code"]) == (404, "member_not_found")
    wrong = await web_client.get("/members", params={"after": "?"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "invalid_cursor")


async def test_the_web_api_apologizes_when_the_database_is_away(
    capsys: pytest.CaptureFixture[str],
) -> None:
    transport = httpx.ASGITransport(web_api.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://directory") as client:
        answer = await client.get("/members")
    assert (answer.status_code, answer.json()["code"]) == (503, "not_connected")
    assert "Not connected" in capsys.readouterr().out
