"""Reads the ids of people and chats, as each version of Telegram Desktop writes them.

- Since version 2.7.2 an author is `user1001`, `channel1600000001` or `chat4242`, and the id of a
  chat is its number.
- Versions 2.4.0 to 2.7.1 write an author as a number, with the kind of peer in front of it:
  2³² + 1001 is a user, and 2 × 2³² + 1600000001 is a group or a channel.
- Versions 1.4.8 to 2.3.2 write an author as the number of the user. All versions from 1.4.8 to
  2.7.1 write the id of a chat with the kind of peer in front of it.
- Versions before 1.4.8 write no ids.
"""

import re

from community_directory.imports.export import parse_account_number

OLD_USER_IDS = range(1 << 32, 2 << 32)
"""The ids of users with the kind of peer in front."""
OLD_CHAT_IDS = range(2 << 32, 3 << 32)
"""The ids of groups and channels with the kind of peer in front."""

CHAT_PATTERN = re.compile(r"(channel|chat)-?[0-9]")


def strip_kind(number: int, old_ids: range) -> int:
    """Return an id without the kind of peer that old versions write in front of it.

    Only the reader of the whole file knows if a chat's id is an old one, because since 2021 new
    accounts have ids that are as large.
    """
    return number - old_ids.start if number in old_ids else number


def parse_author(account: object) -> str | None:
    """Return the id of the user who is an author, or None for a channel or a group.

    Raises:
        ValueError: The value is not an author of any version.
    """
    if type(account) is int:
        if account in OLD_CHAT_IDS:
            return None
        if account >= OLD_CHAT_IDS.stop:
            raise ValueError
        account = strip_kind(account, OLD_USER_IDS)
    text = str(account)
    if CHAT_PATTERN.match(text):
        return None
    return parse_account_number(text.removeprefix("user"))
