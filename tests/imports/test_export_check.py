"""A file is checked to be an export of the platform before it is read."""

import io
from typing import Any

import pytest

from community_directory.imports.export import NotAnExport
from community_directory.imports.export_check import check_export
from community_directory.tables import Platform
from tests.imports.exports import (
    account,
    chat,
    discord_channel,
    discord_message,
    encode_json,
    message,
    without,
)

TELEGRAM_EXPORTS: dict[str, Any] = {
    "a chat": chat(message()),
    "a chat without messages": chat(),
    "a chat without a name": without(chat(message()), "name"),
    "an account": account(chat(message())),
    "an account without chats": without(account(), "chats"),
    "chats alone": {"about": "", "chats": {"about": "", "list": []}},
    "chats that were left": {"left_chats": {"list": []}},
    "contacts alone": {"about": "", "contacts": {"list": []}},
    "sessions alone": {"sessions": {"list": []}},
    "pictures alone": {"about": "", "profile_pictures": []},
    "stories alone": {"about": "", "stories": []},
    "other data alone": {"about": "", "other_data": {}},
}
DISCORD_EXPORTS: dict[str, Any] = {
    "a channel": discord_channel(discord_message()),
    "a channel without messages": discord_channel(),
    "a channel without a server": without(discord_channel(discord_message()), "guild"),
}
OTHER_FILES: list[Any] = [
    {},
    [],
    [1, {"chats": []}],
    "text",
    None,
    {"messages": []},
    {"messages": [message()]},
    {"messages": {"type": "x"}},
    {"type": "x", "messages": {}},
    {"a": {"guild": 1, "channel": 2, "chats": 3}},
]


@pytest.mark.parametrize("export", TELEGRAM_EXPORTS.values(), ids=TELEGRAM_EXPORTS.keys())
def test_an_export_of_telegram_is_recognized(export: object) -> None:
    file = io.BytesIO(encode_json(export))
    check_export(file, Platform.TELEGRAM)
    assert file.tell() == 0
    with pytest.raises(
        NotAnExport,
        match=r"^This is an export of Telegram Desktop\. Import it with import-telegram\.$",
    ):
        check_export(file, Platform.DISCORD)


@pytest.mark.parametrize("export", DISCORD_EXPORTS.values(), ids=DISCORD_EXPORTS.keys())
def test_an_export_of_discord_is_recognized(export: object) -> None:
    file = io.BytesIO(encode_json(export))
    check_export(file, Platform.DISCORD)
    assert file.tell() == 0
    with pytest.raises(
        NotAnExport,
        match=r"^This is an export of DiscordChatExporter\. Import it with import-discord\.$",
    ):
        check_export(file, Platform.TELEGRAM)


@pytest.mark.parametrize("export", OTHER_FILES)
@pytest.mark.parametrize("platform", [Platform.TELEGRAM, Platform.DISCORD])
def test_other_json_is_refused(export: object, platform: Platform) -> None:
    with pytest.raises(NotAnExport, match=r"^There are no messages in this file\."):
        check_export(io.BytesIO(encode_json(export)), platform)


@pytest.mark.parametrize("content", [b"", b"<html>", b"hello", b"{", b'{"name": "x'])
def test_a_damaged_file_is_left_to_the_reader(content: bytes) -> None:
    file = io.BytesIO(content)
    check_export(file, Platform.TELEGRAM)
    assert file.tell() == 0


def test_only_the_part_before_the_messages_is_read() -> None:
    class Counting(io.BytesIO):
        count = 0

        def read(self, size: int | None = -1, /) -> bytes:
            content = super().read(size)
            self.count += len(content)
            return content

    file = Counting(encode_json(chat(*map(message, range(2000)))))
    check_export(file, Platform.TELEGRAM)
    assert file.count < 100_000
