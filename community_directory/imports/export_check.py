"""Recognizes the platform whose export a file is."""

from contextlib import suppress
from typing import BinaryIO

from community_directory.imports.export import NotAnExport, TruncatedExport
from community_directory.imports.json_stream import stream_json
from community_directory.tables import Platform

_OTHER_PLATFORM = {
    Platform.TELEGRAM: "This is an export of Telegram Desktop. Import it with import-telegram.",
    Platform.DISCORD: "This is an export of DiscordChatExporter. Import it with import-discord.",
}
_DISCORD_KEYS = {"guild", "channel"}
_ACCOUNT_KEYS = {
    "chats",
    "left_chats",
    "personal_information",
    "profile_pictures",
    "stories",
    "contacts",
    "frequent_contacts",
    "sessions",
    "web_sessions",
    "other_data",
}
"""The parts of the export of a Telegram account, of which the user chooses some."""


def check_export(file: BinaryIO, platform: Platform) -> None:
    """Check that a file is an export of the platform, and move to its beginning.

    Only the part before the messages is read. The export may have no messages. Nothing is raised
    for a damaged file, because reading it meets the same damage.

    Raises:
        NotAnExport: The file is an export of the other platform, or of none.
    """
    with suppress(TruncatedExport):
        found = _recognize_platform(file)
        if found is None:
            raise NotAnExport
        if found is not platform:
            raise NotAnExport(_OTHER_PLATFORM[found])
    file.seek(0)


def _recognize_platform(file: BinaryIO) -> Platform | None:
    has_type = False
    for prefix, event, _ in stream_json(file, ()):
        key, _, rest = prefix.partition(".")
        if not prefix and event != "start_map":
            return None
        if key in _DISCORD_KEYS:
            return Platform.DISCORD
        if key in _ACCOUNT_KEYS:
            return Platform.TELEGRAM
        if key == "messages" and not rest:
            return Platform.TELEGRAM if has_type and event == "start_array" else None
        # The export of a Telegram chat begins with its name, type and id.
        has_type = has_type or (prefix == "type" and event == "string")
    return None
