"""A stand-in for Telegram's servers: the Bot API over HTTP, on this machine.

People and groups act, and the bot gets updates as Telegram sends them, by long polling or to its
webhook. An act returns when the bot has confirmed its update:

    ana = telegram.person(1001, "Ana", username="ana")
    await ana.says("/start ABCDEFGHJKMNPQRS")
    assert "Welcome" in telegram.sent_to(ana)[-1].text
    await ana.presses("Approve")

It keeps what the bot sent, and knows the methods in `METHODS`. Any other one fails, as a method
that Telegram does not have.
"""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientError, ClientSession, web

from tests.log_guard import log_guard

Json = dict[str, Any]

TOKEN = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
log_guard.values.add(TOKEN)
BOT = {"id": 123456789, "is_bot": True, "first_name": "Frutero", "username": "frutero_bot"}
CONFIRM_TIMEOUT_SECONDS = 30
"""The longest time that an act waits until the bot has confirmed its update."""
RETRY_SECONDS = 0.05
"""The time after which a webhook that failed gets its update again."""


class Refused(Exception):
    """The answer to a request that Telegram refuses."""

    def __init__(self, status: int, description: str, **parameters: int) -> None:
        super().__init__(description)
        self.status, self.description, self.parameters = status, description, parameters


@dataclass
class Sent:
    """A message of the bot, as its chat shows it now.

    Attributes:
        method: The method that sent it, such as "sendMessage".
        chat_id: The chat.
        text: The text, or the caption of a file.
        buttons: What each button under it has: the data of a callback, or a URL, by its label.
        file: The content of the file, if it has one.
        earlier: The texts that it had before it was edited.
        parameters: What else the method was called with.
    """

    message_id: int
    method: str
    chat_id: int
    text: str
    buttons: dict[str, str] = field(default_factory=dict)
    file: bytes | None = None
    is_deleted: bool = False
    earlier: list[str] = field(default_factory=list)
    parameters: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """A request of the bot: the method, and its parameters."""

    method: str
    parameters: Json


class Person:
    """A person with an account of Telegram."""

    def __init__(self, telegram: "Telegram", user: Json) -> None:
        self._telegram = telegram
        self.user = user

    @property
    def id(self) -> int:
        return int(self.user["id"])

    @property
    def chat(self) -> Json:
        """The private chat of the person with the bot."""
        names = ("first_name", "username")
        shown: Json = {name: self.user[name] for name in names if name in self.user}
        return {"id": self.id, "type": "private", **shown}

    async def says(self, text: str, group: "Group | None" = None, **fields: Any) -> list[Sent]:
        """Write a message, to the bot or in a group; return what the bot has sent since."""
        return await self.posts({"text": text, **fields}, group)

    async def posts(self, content: Mapping[str, Any], group: "Group | None" = None) -> list[Sent]:
        """Send a message with any content, such as {"photo": […]}."""
        return await self._telegram.deliver(message=self.message(content, group))

    def message(self, content: Mapping[str, Any], group: "Group | None" = None) -> Json:
        """Return a message of the person, which is not sent."""
        message = self._telegram.make_message(self.user, group.chat if group else self.chat)
        message.update(content)
        if str(message.get("text", "")).startswith("/"):
            length = len(message["text"].split()[0])
            message["entities"] = [{"type": "bot_command", "offset": 0, "length": length}]
        self._telegram.written[message["message_id"]] = message
        return message

    async def edits(self, message: Json, text: str) -> list[Sent]:
        """Change the text of a message of theirs, which `message` has returned."""
        edited = {**message, "text": text, "edit_date": self._telegram.now()}
        return await self._telegram.deliver(edited_message=edited)

    async def reacts(
        self, group: "Group", message_id: int, *, before: str = "", after: str = ""
    ) -> list[Sent]:
        """Change their reactions to a message: each emoji before, and each one after."""
        return await self._telegram.deliver(
            message_reaction={
                "chat": group.chat,
                "message_id": message_id,
                "user": self.user,
                "date": self._telegram.now(),
                "old_reaction": [{"type": "emoji", "emoji": emoji} for emoji in before],
                "new_reaction": [{"type": "emoji", "emoji": emoji} for emoji in after],
            }
        )

    async def presses(self, label: str, message: Sent | None = None) -> list[Sent]:
        """Press a button under the newest message to them, or under another one."""
        message = message or self._telegram.find_button(self.id, label)
        return await self.presses_data(message.buttons[label], message)

    async def presses_data(self, data: str, message: Sent) -> list[Sent]:
        """Press a button with any data, as a changed client can."""
        shown = {
            "message_id": message.message_id,
            "from": BOT,
            "date": self._telegram.now(),
            "chat": self._telegram.chats[message.chat_id],
            "text": message.text,
        }
        replied = (message.parameters.get("reply_parameters") or {}).get("message_id")
        if replied in self._telegram.written:
            shown["reply_to_message"] = self._telegram.written[replied]
        return await self._telegram.deliver(
            callback_query={
                "id": str(next(self._telegram.numbers)),
                "from": self.user,
                "chat_instance": "1",
                "message": shown,
                "data": data,
            }
        )

    async def asks_to_join(self, group: "Group") -> list[Sent]:
        """Ask to join a group by a link whose requests have to be approved."""
        return await self._telegram.deliver(
            chat_join_request={
                "chat": group.chat,
                "from": self.user,
                "user_chat_id": self.id,
                "date": self._telegram.now(),
            }
        )

    async def changes_membership(
        self, group: "Group", before: str, after: str, *, user: Json | None = None
    ) -> list[Sent]:
        """Join or leave a group: a change of the status "member", "left", "kicked", …."""
        user = user or self.user
        kind = "my_chat_member" if user == BOT else "chat_member"
        update = {
            "chat": group.chat,
            "from": self.user,
            "date": self._telegram.now(),
            "old_chat_member": make_chat_member(user, before),
            "new_chat_member": make_chat_member(user, after),
        }
        return await self._telegram.deliver(**{kind: update})


@dataclass(frozen=True)
class Group:
    """A group; `chat` is as updates have it."""

    chat: Json

    @property
    def id(self) -> int:
        return int(self.chat["id"])


class Telegram:
    """The servers of Telegram."""

    def __init__(self, token: str = TOKEN) -> None:
        self.token = token
        self.url = ""
        self.sent: list[Sent] = []
        """The messages of the bot, the oldest one first."""
        self.calls: list[Call] = []
        """The requests of the bot but `getUpdates`."""
        self.chats: dict[int, Json] = {}
        self.written: dict[int, Json] = {}
        """The messages of people, by their ids."""
        self.present: set[tuple[int, int]] = set()
        """The groups and the people in them, as `getChatMember` knows them."""
        self.numbers = itertools.count(1001)
        """Ids that were not used before."""
        self.bot_task: asyncio.Task[None] | None = None
        """The task of the bot; an act fails if it has ended."""
        self._queue: dict[int, Json] = {}
        """The updates that are not confirmed, by their ids."""
        self._confirmed: dict[int, asyncio.Future[None]] = {}
        self._changed = asyncio.Condition()
        self._polls = 0
        self._is_open = True
        self._refusals: dict[str, list[Refused]] = {}
        self._blocked: set[int] = set()
        self._webhook: Json | None = None
        self._deliveries: set[asyncio.Task[None]] = set()
        self._client: ClientSession | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Telegram"]:
        """Listen on a free port."""
        application = web.Application()
        application.router.add_route("*", "/bot{token}/{method}", self._answer)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        try:
            async with ClientSession() as self._client:
                yield self
                for task in self._deliveries:
                    task.cancel()
                await asyncio.gather(*self._deliveries, return_exceptions=True)
        finally:
            self._is_open = False
            async with self._changed:
                self._changed.notify_all()
            await runner.cleanup()

    # People, groups and what the bot sent

    def person(self, number: int, name: str, username: str | None = None, **fields: Any) -> Person:
        """Return a person; `language_code` and `is_bot` can be given, too."""
        user = {"id": number, "is_bot": False, "first_name": name, "language_code": "en", **fields}
        if username is not None:
            user["username"] = username
        person = Person(self, user)
        self.chats[number] = person.chat
        return person

    def group(self, chat_id: int, title: str = "Frutero", *, is_forum: bool = False) -> Group:
        """Return a group, which is a supergroup if its id begins with -100."""
        kind = "supergroup" if chat_id < -1_000_000_000_000 else "group"
        chat = {"id": chat_id, "type": kind, "title": title}
        if is_forum:
            chat["is_forum"] = True
        self.chats[chat_id] = chat
        return Group(chat)

    def sent_to(self, whom: Person | Group) -> list[Sent]:
        """Return the messages of the bot in a chat, the oldest one first."""
        return [each for each in self.sent if each.chat_id == whom.id and not each.is_deleted]

    def calls_of(self, method: str) -> list[Json]:
        """Return the parameters of all requests of the bot with this method."""
        return [call.parameters for call in self.calls if call.method == method]

    def find_button(self, chat_id: int, label: str) -> Sent:
        """Return the newest message in a chat that has a button with this label."""
        for message in reversed(self.sent):
            if message.chat_id == chat_id and not message.is_deleted and label in message.buttons:
                return message
        raise AssertionError(f"There is no button {label!r}: {self.sent}")

    # Faults

    def refuse_next(self, method: str, status: int, description: str, **parameters: int) -> None:
        """Refuse the next request with this method; several calls refuse several requests."""
        refusal = Refused(status, description, **parameters)
        self._refusals.setdefault(method, []).append(refusal)

    def block(self, person: Person) -> None:
        """Let a person block the bot."""
        self._blocked.add(person.id)

    # Updates

    def now(self) -> int:
        """Return the time as updates have it."""
        return int(time.time())

    def make_message(self, user: Json, chat: Json) -> Json:
        """Return a message without content."""
        return {
            "message_id": next(self.numbers),
            "from": user,
            "chat": chat,
            "date": self.now(),
        }

    async def deliver(self, **update: Json) -> list[Sent]:
        """Send an update to the bot, wait until it is confirmed, and return what the bot sent."""
        before = len(self.sent)
        await self.confirmed(self.send(**update))
        return self.sent[before:]

    def send(self, **update: Json) -> int:
        """Send an update to the bot without a wait, and return its id."""
        update_id = next(self.numbers)
        self._queue[update_id] = {"update_id": update_id, **update}
        self._confirmed[update_id] = asyncio.get_running_loop().create_future()
        self._offer(update_id)
        return update_id

    def send_again(self, update: Json) -> None:
        """Send an update a second time under the same id, as Telegram does in doubt."""
        self._queue[update["update_id"]] = update
        self._confirmed[update["update_id"]] = asyncio.get_running_loop().create_future()
        self._offer(update["update_id"])

    def _offer(self, update_id: int) -> None:
        if self._webhook is not None:
            self._start(self._post_until_accepted(update_id))
        else:
            self._start(self._wake())

    @property
    def unconfirmed(self) -> list[Json]:
        """The updates that the bot has not confirmed."""
        return list(self._queue.values())

    def watch(self, update_id: int) -> asyncio.Future[None]:
        """Return a future that is done when the bot has confirmed an update."""
        return self._confirmed[update_id]

    async def confirmed(self, *update_ids: int) -> None:
        """Wait until the bot has confirmed these updates."""
        waiting = [self.watch(update_id) for update_id in update_ids]
        watched = {*waiting, *([self.bot_task] if self.bot_task else [])}
        async with asyncio.timeout(CONFIRM_TIMEOUT_SECONDS):
            while not all(each.done() for each in waiting):
                pending = {each for each in watched if not each.done()}
                await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                if self.bot_task and self.bot_task.done():
                    self.bot_task.result()
                    raise AssertionError("The bot has ended.")

    def _confirm(self, update_id: int) -> None:
        self._queue.pop(update_id, None)
        future = self._confirmed[update_id]
        if not future.done():
            future.set_result(None)

    async def _wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._deliveries.add(task)
        task.add_done_callback(self._deliveries.discard)

    async def _post_until_accepted(self, update_id: int) -> None:
        """Send an update to the webhook until the answer is 200."""
        while update_id in self._queue and self._webhook is not None:
            assert self._client is not None
            headers = {"X-Telegram-Bot-Api-Secret-Token": self._webhook.get("secret_token", "")}
            try:
                async with self._client.post(
                    self._webhook["url"], json=self._queue[update_id], headers=headers
                ) as answer:
                    if answer.status == 200:
                        self._confirm(update_id)
                        return
            except ClientError:
                pass  # the bot is being started again
            await asyncio.sleep(RETRY_SECONDS)

    # The methods of the Bot API

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            result = await self._call(request)
        except Refused as error:
            answer = {"ok": False, "error_code": error.status, "description": error.description}
            if error.parameters:
                answer["parameters"] = error.parameters
            return web.json_response(answer, status=error.status)
        return web.json_response({"ok": True, "result": result})

    async def _call(self, request: web.Request) -> Any:
        """Execute a method, and return its result."""
        if request.match_info["token"] != self.token:
            raise Refused(401, "Unauthorized")
        method, parameters = request.match_info["method"], await read_parameters(request)
        if method != "getUpdates":
            self.calls.append(Call(method, parameters))
        if self._refusals.get(method):
            raise self._refusals[method].pop(0)
        if parameters.get("chat_id") in self._blocked:
            raise Refused(403, "Forbidden: bot was blocked by the user")
        if method not in METHODS:
            raise Refused(404, "Not Found: method not found")
        result = METHODS[method](self, method, parameters)
        return await result if asyncio.iscoroutine(result) else result

    async def _get_updates(self, _: str, parameters: Json) -> list[Json]:
        if self._webhook is not None:
            raise Refused(409, "Conflict: can't use getUpdates method while webhook is active")
        for update_id in [each for each in self._queue if each < parameters.get("offset", 0)]:
            self._confirm(update_id)
        self._polls += 1
        number = self._polls
        await self._wake()
        async with self._changed:
            try:
                async with asyncio.timeout(parameters.get("timeout", 0)):
                    await self._changed.wait_for(
                        lambda: self._queue or number != self._polls or not self._is_open
                    )
            except TimeoutError:
                return []
        if number != self._polls:
            raise Refused(409, "Conflict: terminated by other getUpdates request")
        return list(self._queue.values())[: parameters.get("limit", 100)]

    def _get_me(self, *_: object) -> Json:
        return BOT

    def _accept(self, *_: object) -> bool:
        return True

    def _set_webhook(self, _: str, parameters: Json) -> bool:
        self._webhook = parameters
        for update_id in self._queue:
            self._offer(update_id)
        return True

    def _delete_webhook(self, *_: object) -> bool:
        self._webhook = None
        return True

    def _send_message(self, method: str, parameters: Json) -> Json:
        files = [value for value in parameters.values() if isinstance(value, bytes)]
        message = Sent(
            message_id=next(self.numbers),
            method=method,
            chat_id=parameters["chat_id"],
            text=str(parameters.get("text", parameters.get("caption", ""))),
            buttons=read_buttons(parameters),
            file=files[0] if files else None,
            parameters=parameters,
        )
        if method == "sendMessage" and not message.text:
            raise Refused(400, "Bad Request: message text is empty")
        if len(message.text) > 4096:
            raise Refused(400, "Bad Request: message is too long")
        if message.chat_id not in self.chats:
            raise Refused(400, "Bad Request: chat not found")
        self.sent.append(message)
        return self._show(message)

    def _edit_message(self, _: str, parameters: Json) -> Json:
        message = self._find(parameters)
        media = parameters.get("media")
        shown = media if isinstance(media, dict) else parameters
        text = str(shown.get("text", shown.get("caption", message.text)))
        buttons = read_buttons(parameters)
        if (text, buttons) == (message.text, message.buttons) and media is None:
            raise Refused(400, "Bad Request: message is not modified")
        message.earlier.append(message.text)
        message.text, message.buttons = text, buttons
        files = [value for value in parameters.values() if isinstance(value, bytes)]
        message.file = files[0] if files else message.file
        return self._show(message)

    def _delete_message(self, _: str, parameters: Json) -> bool:
        self._find(parameters).is_deleted = True
        return True

    def _find(self, parameters: Json) -> Sent:
        for message in self.sent:
            place = (message.chat_id, message.message_id)
            if place == (parameters["chat_id"], parameters["message_id"]):
                if message.is_deleted:
                    break
                return message
        raise Refused(400, "Bad Request: message to edit not found")

    def _show(self, message: Sent) -> Json:
        shown = self.make_message(BOT, self.chats[message.chat_id])
        return {**shown, "message_id": message.message_id, "text": message.text}

    def _get_chat_member(self, _: str, parameters: Json) -> Json:
        place = (parameters["chat_id"], parameters["user_id"])
        user = {"id": place[1], "is_bot": False, "first_name": "Somebody"}
        return make_chat_member(user, "member" if place in self.present else "left")

    def _get_chat(self, _: str, parameters: Json) -> Json:
        chat = self.chats.get(parameters["chat_id"])
        if chat is None:
            raise Refused(400, "Bad Request: chat not found")
        return {**chat, "accent_color_id": 0, "max_reaction_count": 11}


METHODS: Mapping[str, Callable[[Telegram, str, Json], Any]] = {
    "getMe": Telegram._get_me,
    "getUpdates": Telegram._get_updates,
    "setWebhook": Telegram._set_webhook,
    "deleteWebhook": Telegram._delete_webhook,
    "getChat": Telegram._get_chat,
    "getChatMember": Telegram._get_chat_member,
    "editMessageText": Telegram._edit_message,
    "editMessageCaption": Telegram._edit_message,
    "editMessageMedia": Telegram._edit_message,
    "editMessageReplyMarkup": Telegram._edit_message,
    "deleteMessage": Telegram._delete_message,
    **dict.fromkeys(("sendMessage", "sendPhoto", "sendDocument"), Telegram._send_message),
    **dict.fromkeys(
        (
            "answerCallbackQuery",
            "approveChatJoinRequest",
            "declineChatJoinRequest",
            "leaveChat",
            "sendChatAction",
            "setMyCommands",
        ),
        Telegram._accept,
    ),
}
"""What the stand-in answers to each method that it knows."""


def make_chat_member(user: Json, status: str) -> Json:
    """Return a person as a member of a group, or as one who was a member."""
    member: Json = {"user": user, "status": status}
    if status == "kicked":
        member["until_date"] = 0
    if status == "restricted":
        allowed = [
            *("can_send_messages", "can_send_audios", "can_send_documents", "can_send_photos"),
            *("can_send_videos", "can_send_video_notes", "can_send_voice_notes", "can_send_polls"),
            *("can_send_other_messages", "can_add_web_page_previews", "can_change_info"),
            *("can_invite_users", "can_pin_messages", "can_manage_topics", "can_react_to_messages"),
            "can_edit_tag",
        ]
        member |= dict.fromkeys(allowed, True) | {"is_member": True, "until_date": 0}
    return member


async def read_parameters(request: web.Request) -> Json:
    """Return the parameters of a request; files are bytes."""
    parameters: Json = {}
    for name, value in (await request.post()).items():
        if isinstance(value, web.FileField):
            parameters[name] = value.file.read()
        else:
            parameters[name] = parse(str(value))
    return parameters


def parse(value: str) -> Any:
    """Return the value of JSON, or the text; Telegram's clients send both."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def read_buttons(parameters: Json) -> dict[str, str]:
    """Return the buttons under a message: what is sent when they are pressed, or their URL."""
    markup = parameters.get("reply_markup") or {}
    rows = markup.get("inline_keyboard", [])
    return {
        button["text"]: button.get("callback_data") or button.get("url", "")
        for row in rows
        for button in row
    }
