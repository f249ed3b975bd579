"""Bans that outlive an erasure: a keyed hash recognizes a banned account whose data was erased."""

import hmac
from hashlib import sha256

from community_directory.errors import ConfigurationError
from community_directory.settings import load_settings

BAN_CHECK_IMPOSSIBLE = """(
    :ban_fingerprint::text IS NULL
    AND EXISTS (SELECT 1 FROM community_members WHERE telegram_id LIKE 'banned:%')
)"""
"""A condition in SQL: banned members were erased, and DIRECTORY_SECRET_KEY is not set."""


def ban_fingerprint(telegram_id: str) -> str | None:
    """Return the Telegram id under which a banned member is stored after an erasure.

    The result is a keyed hash (HMAC-SHA256) of the Telegram id: the same account always has the
    same fingerprint, and nobody can read the id from it. The result is None if DIRECTORY_SECRET_KEY
    is not set. In that case statements check `BAN_CHECK_IMPOSSIBLE`.
    """
    key = load_settings().secret_key
    if key is None:
        return None
    digest = hmac.digest(
        key.get_secret_value().encode(), telegram_id.encode(errors="surrogatepass"), sha256
    )
    return f"banned:{digest.hex()}"


def secret_key_required() -> ConfigurationError:
    """Return the error for a ban that can't be stored or checked without DIRECTORY_SECRET_KEY."""
    return ConfigurationError(
        "Set DIRECTORY_SECRET_KEY: without it, a banned person who was erased could come back."
    )
