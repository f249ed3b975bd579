"""The ids of ElizaOS, as `stringToUuid` and `createUniqueUuid` of @elizaos/core compute them.

A program that knows an agent's id and a person's account thus knows the id of the agent's entity
for that person, without asking the agent.
"""

import hashlib
import re
from typing import NamedTuple
from urllib.parse import quote
from uuid import UUID

from community_directory.errors import InvalidInput

UUID_PATTERN = re.compile("[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
"""The shape of a UUID of any version. Upper-case digits make no other UUID."""
UNESCAPED_CHARACTERS = "!~*'()"
"""The punctuation that JavaScript's encodeURIComponent leaves as it is, beside `-`, `_` and `.`."""
DEFAULT_PLATFORM_ACCOUNT = "default"
"""The name of an agent's own account on a platform, in the seeds of later versions of ElizaOS."""


class EntityId(NamedTuple):
    """The id of an agent's entity, and the seed from which it is computed."""

    entity_id: str
    seed: str


def string_to_uuid(text: str | int) -> str:
    """Return the UUID that ElizaOS makes of a text; a text in the shape of a UUID stays as it is.

    An integer counts as its decimal digits.

    Raises:
        InvalidInput: The value is neither a text nor an integer, or it has half of a surrogate
            pair, which ElizaOS refuses, too.
    """
    text = _to_text(text)
    if UUID_PATTERN.fullmatch(text):
        return text
    digest = bytearray(hashlib.sha1(_encode(text), usedforsecurity=False).digest()[:16])
    digest[6] &= 0x0F  # the version is 0
    digest[8] = digest[8] & 0x3F | 0x80
    return str(UUID(bytes=bytes(digest)))


def entity_id(agent_id: str, seed: str | int) -> str:
    """Return the id of an agent's entity, as `createUniqueUuid(agent, seed)` computes it.

    Args:
        agent_id: The agent's id, spelled as its character has it: `string_to_uuid` of the
            character's name, unless the character has an id.
        seed: The text or integer from which ElizaOS makes the id. That is the id of a person's
            account on a platform, or of a room. For the agent's own id, that id is returned.

    Raises:
        InvalidInput: A value is no text, or it has half of a surrogate pair.
    """
    agent_id, seed = _to_text(agent_id), _to_text(seed)
    return seed if seed == agent_id else string_to_uuid(f"{seed}:{agent_id}")


def account_entity_ids(agent_id: str, account_id: str | int) -> list[EntityId]:
    """Return the ids that an agent's entity for a platform account can have.

    There is one for each seed in use: the account's id, and the account's id after `default:`.

    Raises:
        InvalidInput: A value is no text, or it has half of a surrogate pair.
    """
    account = _to_text(account_id)
    seeds = (account, f"{DEFAULT_PLATFORM_ACCOUNT}:{account}")
    return [EntityId(entity_id(agent_id, seed), seed) for seed in seeds]


def _to_text(value: str | int) -> str:
    if isinstance(value, str):
        return value
    if type(value) is int:
        try:
            return str(value)
        except ValueError:  # Python refuses to convert an integer of thousands of digits
            raise InvalidInput("The id is too large a number.") from None
    raise InvalidInput("An id must be a text or an integer.")


def _encode(text: str) -> bytes:
    """Return a text as `encodeURIComponent` encodes it."""
    try:
        # Two halves of a surrogate pair are one character in JavaScript.
        joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        raise InvalidInput("The text has half of a surrogate pair, which has no id.") from None
    return quote(joined, safe=UNESCAPED_CHARACTERS).encode("ascii")
