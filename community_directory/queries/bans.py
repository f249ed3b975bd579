"""Bans that outlive an erasure: a keyed hash recognizes a banned account whose data is gone."""

import hmac
from hashlib import sha256

from community_directory.errors import ConfigurationError
from community_directory.settings import load_settings

BAN_CHECK_IMPOSSIBLE = """(
    :ban_fingerprint::text IS NULL
    AND EXISTS (SELECT 1 FROM community_members WHERE telegram_id LIKE 'banned:%')
)"""
"""A condition in SQL: banned members were erased, and no key is set to recognize them by."""


def ban_fingerprint(telegram_id: str) -> str | None:
    """Return the Telegram id under which a banned member is stored after an erasure.

    It is a keyed hash (HMAC-SHA256) of the Telegram id, so that the same account always has the
    same fingerprint and nobody can read the id from it. It is None if DIRECTORY_SECRET_KEY is not
    set; `BAN_CHECK_IMPOSSIBLE` then finds out whether that matters.
    """
    key = load_settings().secret_key
    if key is None:
        return None
    digest = hmac.digest(
        key.get_secret_value().encode(), telegram_id.encode(errors="surrogatepass"), sha256
    )
    return f"banned:{digest.hex()}"


def secret_key_required() -> ConfigurationError:
    """Return the error for a ban that cannot be stored or checked without a key."""
    return ConfigurationError(
        "Set DIRECTORY_SECRET_KEY: without it, a banned person who was erased could come back."
    )
