"""The programs in `examples/` do what the documentation says; no network is needed."""

import asyncio
import subprocess
import sys
import warnings
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import asdict
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

import asyncpg
import httpx
import pytest
from aiogram import Bot, Dispatcher
from aiogram.client.session.base import BaseSession
from aiogram.methods import (
    AnswerCallbackQuery,
    ApproveChatJoinRequest,
    EditMessageText,
    GetMe,
    SendMessage,
    TelegramMethod,
)
from aiogram.types import (
    CallbackQuery,
    Chat,
    ChatJoinRequest,
    InlineKeyboardMarkup,
    Message,
    MessageReactionUpdated,
    ReactionTypeEmoji,
    TelegramObject,
    Update,
    User,
)

from community_directory.database import connect
from community_directory.errors import (
    InvitationNotFound,
    InvitationUsed,
    MemberNotActive,
    MemberNotFound,
    OperatorError,
)
from community_directory.queries import (
    accounts,
    audit,
    members,
    participation,
    permissions,
)
from community_directory.settings import load_settings
from examples import community_bot, telegram_bot, web_api
from tests.processes import PROJECT, environment
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


# The Telegram bot


class RecordingSession(BaseSession):
    """Answers the methods of Telegram's Bot API, and keeps what the bot has sent.

    Attributes:
        sent: The texts of the messages, also of those that were edited.
        buttons: The buttons of the last one that has any: their data by their text.
        approved: The accounts whose requests to join a chat were approved.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []
        self.buttons: dict[str, str] = {}
        self.approved: list[int] = []

    async def make_request(self, bot: Bot, method: TelegramMethod[Any], *_: Any, **__: Any) -> Any:
        match method:
            case GetMe():
                return User(id=bot.id, is_bot=True, first_name="Bot", username="frutero_bot")
            case ApproveChatJoinRequest():
                self.approved.append(method.user_id)
            case SendMessage() | EditMessageText():
                self.sent.append(str(method.text))
                if isinstance(method.reply_markup, InlineKeyboardMarkup):
                    rows = method.reply_markup.inline_keyboard
                    self.buttons = {
                        each.text: str(each.callback_data) for row in rows for each in row
                    }
                chat = Chat(id=1, type="private")
                return Message(message_id=1, date=datetime.now(UTC), chat=chat)
            case _:
                assert isinstance(method, AnswerCallbackQuery), method
        return True

    async def close(self) -> None:
        """Close nothing."""

    async def stream_content(self, *_: Any, **__: Any) -> AsyncGenerator[bytes, None]:
        raise AssertionError("The bot downloads nothing.")
        yield b""


class TelegramUser:
    """A person who writes to the bot, in a private chat unless another one is given."""

    def __init__(
        self,
        number: int,
        name: str,
        session: RecordingSession,
        dispatcher: Dispatcher = telegram_bot.dispatcher,
        **data: object,
    ) -> None:
        self.user = User(id=number, is_bot=False, first_name=name, username=name.lower())
        self.chat = Chat(id=number, type="private")
        self._bot, self._session = Bot(TOKEN, session=session), session
        self._dispatcher, self._data = dispatcher, data
        self._asked: Message | None = None

    async def update(self, **event: TelegramObject) -> None:
        update = Update.model_validate({"update_id": 1, **event})
        await self._dispatcher.feed_update(self._bot, update, **self._data)

    def message(self, text: str, number: int = 1, chat: Chat | None = None) -> Message:
        return Message(
            message_id=number,
            date=datetime.now(UTC),
            chat=chat or self.chat,
            from_user=self.user,
            text=text,
        )

    async def send(self, text: str) -> str:
        """Send a message, and return the bot's answer."""
        self._session.sent.clear()
        self._asked = self.message(text)
        await self.update(message=self._asked)
        [answer] = self._session.sent
        return answer

    async def press(self, text: str) -> str:
        """Press a button of the last answer that has any, and return the bot's next answer."""
        self._session.sent.clear()
        message = self.message("").model_copy(update={"reply_to_message": self._asked})
        query = CallbackQuery(
            id="1",
            from_user=self.user,
            chat_instance="1",
            message=message,
            data=self._session.buttons[text],
        )
        await self.update(callback_query=query)
        [answer] = self._session.sent
        return answer


@pytest.fixture
def ana_and_bea() -> tuple[TelegramUser, TelegramUser]:
    session = RecordingSession()
    return TelegramUser(1001, "Ana", session), TelegramUser(1002, "Bea", session)


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


# The bot of a whole community


GROUP = Chat(id=-100, type="supergroup")


@pytest.fixture
async def community(
    directory: asyncpg.Pool,
) -> AsyncIterator[tuple[TelegramUser, TelegramUser, RecordingSession]]:
    """Ana, who may do everything, Bea, and what the bot sends; its greetings have begun."""
    await members.add(telegram_id=1001, name="Ana", primary_role="founder", status="active")
    await permissions.grant(1, "manage", actor="test")
    session = RecordingSession()
    async with participation.recorder() as recorder:
        ana, bea = (
            TelegramUser(number, name, session, community_bot.dispatcher, recorder=recorder)
            for number, name in ((1001, "Ana"), (1002, "Bea"))
        )
        yield ana, bea, session


def test_the_bot_of_a_community_has_at_most_250_lines() -> None:
    assert len((EXAMPLES / "community_bot.py").read_text().splitlines()) <= 250


async def test_a_newcomer_joins_and_is_approved_and_greeted(
    community: tuple[TelegramUser, TelegramUser, RecordingSession],
) -> None:
    ana, bea, session = community
    refused = "You are not a member. Ask a member for an invitation."
    assert await bea.send("/invite") == refused
    assert await bea.send("/start NOSUCHCODE") == str(InvitationNotFound("NOSUCHCODE"))
    code = (await ana.send("/invite @bea")).partition("?start=")[2]
    assert await bea.send(f"/start {code}") == "Ana invites you. What do you do?"
    assert await bea.press("designer") == "What is your name?"
    assert (await bea.send("B" * 300)).startswith("The name has 300 characters")
    assert await bea.send("Bea O'Neill") == "Thank you! Your number is #2."
    assert await bea.send(f"/start {code}") == "You have joined already, as #2."
    assert await bea.send("Hello?") == "A manager will look at your profile soon."
    greeter = asyncio.create_task(community_bot.greet(ana._bot))
    try:
        async with asyncio.timeout(60):
            while not await audit.consumers():
                await asyncio.sleep(0.01)
            assert await ana.send("/approve 2") == "#2 Bea O'Neill: active"
            while "Welcome, Bea O'Neill!" not in session.sent:
                await asyncio.sleep(0.01)
    finally:
        greeter.cancel()
        await asyncio.wait({greeter})
    assert await bea.send("/ban 1") == "You need the permission moderate."
    assert await ana.send("/ban 2 Spam") == "#2 Bea O'Neill: banned"
    assert await bea.send("/me") == refused


async def test_members_use_the_bot_of_a_community(
    community: tuple[TelegramUser, TelegramUser, RecordingSession],
) -> None:
    ana, bea, session = community
    for number in range(10):
        await members.add(
            telegram_id=2000 + number, name=f"Eva {number}", primary_role="guest", status="active"
        )
    first = await ana.send("/directory eva")
    assert (len(first.splitlines()), list(session.buttons)) == (10, [])
    first = await ana.send("/directory")
    assert (len(first.splitlines()), list(session.buttons)) == (10, ["▶"])
    assert await ana.press("▶") == "Ana, founder"
    assert await ana.press("◀") == first
    assert "country: Mexico" in await ana.send("/profile country Mexico")
    assert "country: –" in await ana.send("/profile country")
    assert (await ana.send("/link")).startswith("Type this to our bot on Discord ")
    code = (await accounts.begin_link(2)).code
    assert await bea.send(f"/link {code}") == "This account is linked."
    assert "Eva 0" in await bea.send("/me")
    assert await ana.send("Hello") == "/invite /directory /profile /me /leaderboard /link"


async def test_the_bot_of_a_community_counts_what_happens_in_groups(
    community: tuple[TelegramUser, TelegramUser, RecordingSession],
) -> None:
    ana, bea, session = community
    thumb = ReactionTypeEmoji(emoji="👍")

    async def react(message_id: int, *reactions: ReactionTypeEmoji) -> None:
        await ana.update(
            message_reaction=MessageReactionUpdated(
                chat=GROUP,
                message_id=message_id,
                user=ana.user,
                date=datetime.now(UTC),
                old_reaction=[],
                new_reaction=list(reactions),
            )
        )

    for user in (ana, ana, bea):
        await user.update(message=user.message("Hello", number=7, chat=GROUP))
    await react(8, thumb)
    await react(9, thumb)
    await react(9)
    recorder = cast("participation.Recorder", ana._data["recorder"])
    await recorder.flush()
    events = (await participation.history(1)).items
    assert {(each.event_type, each.source_id) for each in events} == {
        ("MESSAGE", "7"),
        ("REACTION", "8"),
    }
    assert await ana.send("/leaderboard week") == "Ana: 2 events"
    assert await ana.send("/leaderboard") == "Ana: 0 points"
    line, picture, invited = (await ana.send("/me")).splitlines()
    assert line == "#1 Ana, Novice: 0 points, rank 1 of 1"
    assert (len(picture), picture[-1], invited[0]) == (30, "▅", "0")

    async def ask_to_join(user: TelegramUser) -> None:
        request = ChatJoinRequest(
            chat=GROUP, from_user=user.user, user_chat_id=user.user.id, date=datetime.now(UTC)
        )
        await user.update(chat_join_request=request)

    await ask_to_join(bea)
    assert session.approved == []
    await ana.send("/invite @bea")
    await ask_to_join(bea)
    await ask_to_join(ana)
    assert session.approved == [1002, 1001]


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
    await rows.member(connection, telegram_id="1001")
    await connection.close()
    ended = run_example("record_events.py", url=app_url(database))
    assert (ended.stdout, ended.stderr) == ("2 stored, 1 already there\n", "")


async def test_a_notebook_reads_and_counts_everything(database: str) -> None:
    ended = run_example("notebook.py", url=app_url(database))
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (0, "▁" * 24)
    async with connect(app_url(database), min_size=0):
        await add_two_members()
    ended = run_example("notebook.py", url=app_url(database))
    assert ended.stderr == ""
    countries, days, room, hours = ended.stdout.splitlines()
    assert countries == "Members by country: [('unknown', 1), ('Mexico', 1)]"
    assert days.startswith("3 events, most of them on ")
    assert room == "telegram 9: 3 by 2 members"
    assert len(hours) == 24
    assert "█" in hours


async def test_a_worker_calls_the_helpers_from_plain_functions(database: str) -> None:
    async with connect(app_url(database), min_size=0):
        await add_two_members()
    ended = run_example("worker.py", url=app_url(database))
    assert (ended.stdout, ended.stderr) == (
        "0 invitations have expired.\nThe busiest of this week: {'Bea': 2, 'Ana': 1}\n",
        "",
    )


async def add_two_members() -> None:
    for number, name, country in ((1, "Ana", "Mexico"), (2, "Bea", None)):
        await members.add(
            telegram_id=number, name=name, primary_role="x", status="active", country=country
        )
        for source_id in range(number):
            await participation.record(
                member_id=number,
                event_type="MESSAGE",
                platform="telegram",
                room_id=9,
                source_id=source_id,
            )


# The Discord bot


@pytest.fixture
async def discord_client(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[discord_bot.DirectoryBot]:
    """The bot, after discord.py has called its hook."""
    async with participation.recorder() as recorder:
        client = discord_bot.DirectoryBot(recorder)

        async def sync(**_: object) -> list[object]:
            return []

        monkeypatch.setattr(client.tree, "sync", sync)
        await client.setup_hook()
        yield client


async def use(client: discord_bot.DirectoryBot, number: int, command: str, **options: str) -> str:
    """Let an account use a slash command, and return the bot's answer, which nobody else sees."""
    sent: list[str] = []

    async def send_message(_: object, text: str, *, ephemeral: bool) -> None:
        assert ephemeral
        sent.append(text)

    user = {"id": str(number), "username": f"user{number}", "discriminator": "0", "avatar": None}
    types = {"user": 6}
    payload = {
        "id": "1",
        "application_id": "1",
        "type": 2,
        "version": 1,
        "token": "x",
        "attachment_size_limit": 0,
        "entitlements": [],
        "user": user,
        "data": {
            "id": "1",
            "type": 1,
            "name": command,
            "options": [
                {"name": name, "type": types.get(name, 3), "value": value}
                for name, value in options.items()
            ],
            "resolved": {"users": {str(number): user}},
        },
    }
    interaction = discord.Interaction(data=cast("Any", payload), state=client._connection)
    with patch.object(discord.InteractionResponse, "send_message", send_message):
        await client.tree._call(interaction)
    [answer] = sent
    return answer


async def test_people_use_the_commands_of_the_discord_bot(
    discord_client: discord_bot.DirectoryBot,
) -> None:
    await members.add(telegram_id="discord:76", name="Ana", primary_role="x", status="active")
    assert await use(discord_client, 77, "invite") == str(MemberNotFound("discord:77"))
    code = (await use(discord_client, 76, "invite")).removeprefix("Let them type: /join ")
    join = {"code": code, "role": "designer"}
    assert await use(discord_client, 77, "join", **join) == "Welcome! Your number is #2."
    assert await use(discord_client, 78, "join", **join) == str(InvitationUsed(code))
    assert "primary_role: x" in await use(discord_client, 76, "profile", user="76")
    assert await use(discord_client, 77, "leaderboard") == "Ana: 0"
    begun = await accounts.begin_link(1)
    assert await use(discord_client, 79, "link", code=begun.code) == "You are member #1."
    assert (await use(discord_client, 79, "link")).startswith("Type this to our other bot ")


async def test_the_discord_bot_counts_messages_reactions_and_voice_stays(
    discord_client: discord_bot.DirectoryBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    await members.add(telegram_id="discord:77", name="Bea", primary_role="x", status="active")
    message = SimpleNamespace(
        id=5,
        author=SimpleNamespace(id=77),
        channel=SimpleNamespace(id=9),
        created_at=datetime.now(UTC),
        is_system=lambda: False,
    )
    for _ in range(2):
        await discord_client.on_message(cast("discord.Message", message))

    left = [77, 78]  # the accounts whose reactions to the message are still there

    async def list_users(*, limit: int, after: discord.Object) -> AsyncIterator[SimpleNamespace]:
        assert (limit, after.id) == (1, 76)
        for number in left[:limit]:
            yield SimpleNamespace(id=number)

    async def fetch_message(number: int) -> SimpleNamespace:
        return SimpleNamespace(reactions=[SimpleNamespace(users=list_users)])

    channel = SimpleNamespace(fetch_message=fetch_message)
    monkeypatch.setattr(discord_client, "get_partial_messageable", lambda _: channel)
    for message_id in (6, 7):
        reaction = cast(
            "discord.RawReactionActionEvent",
            SimpleNamespace(user_id=77, channel_id=9, message_id=message_id),
        )
        await discord_client.on_raw_reaction_add(reaction)
        await discord_client.on_raw_reaction_remove(reaction)
        left = [78]

    outside, inside, muted = (
        cast("discord.VoiceState", SimpleNamespace(channel=channel))
        for channel in (None, *[SimpleNamespace(id=8)] * 2)
    )
    bea = cast("discord.Member", SimpleNamespace(id=77))
    await discord_client.on_voice_state_update(bea, inside, outside)  # came before the bot
    for before, after in ((outside, inside), (inside, muted), (muted, outside)):
        await discord_client.on_voice_state_update(bea, before, after)
    await discord_client.recorder.flush()
    events = (await participation.history(1)).items
    assert sorted((each.event_type, each.room_id, each.source_id) for each in events) == [
        ("MESSAGE", "9", "5"),
        ("REACTION", "9", "6"),
        ("VOICE", "8", None),
    ]


async def test_the_discord_bot_apologizes_when_the_database_is_away(
    capsys: pytest.CaptureFixture[str],
) -> None:
    client = discord_bot.DirectoryBot(participation.recorder())
    assert await use(client, 77, "leaderboard") == OperatorError.public_message
    assert "Not connected" in capsys.readouterr().out


# The web API


KEY = {"X-API-Key": "secret-of-the-test"}


@pytest.fixture
async def web_client(
    settings_of_the_database: None, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API, whose lifespan has begun."""
    monkeypatch.setenv("API_KEY", KEY["X-API-Key"])
    transport = httpx.ASGITransport(web_api.app)
    async with (
        web_api.app.router.lifespan_context(web_api.app),
        httpx.AsyncClient(transport=transport, base_url="http://directory", headers=KEY) as client,
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
    assert shown == asdict(members.public(await members.get(1)))
    first = (await web_client.get("/members", params={"text": "ana"})).json()
    second = (await web_client.get("/members", params={"after": first["next_cursor"]})).json()
    assert (len(first["items"]), len(second["items"])) == (20, 5)
    assert second["next_cursor"] is None
    before = await web_client.get("/members", params={"after": second["previous_cursor"]})
    assert before.json()["items"] == first["items"]


async def test_the_web_api_wants_its_key(web_client: httpx.AsyncClient) -> None:
    for key in (KEY["X-API-Key"].upper().encode(), "ñ".encode()):
        assert (await web_client.get("/members", headers={b"X-API-Key": key})).status_code == 401
    del web_client.headers["X-API-Key"]
    assert (await web_client.get("/members")).status_code == 401


async def test_the_web_api_answers_errors_with_their_code(web_client: httpx.AsyncClient) -> None:
    missing = await web_client.get("/members/1")
    assert (missing.status_code, missing.json()["code"]) == (404, "member_not_found")
    wrong = await web_client.get("/members", params={"after": "?"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "invalid_cursor")


async def test_the_web_api_apologizes_when_the_database_is_away(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_api.app.state, "api_key", KEY["X-API-Key"].encode(), raising=False)
    transport = httpx.ASGITransport(web_api.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://directory") as client:
        answer = await client.get("/members", headers=KEY)
    assert (answer.status_code, answer.json()["code"]) == (503, "not_connected")
    assert "Not connected" in capsys.readouterr().out
