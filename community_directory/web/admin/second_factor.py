"""The second factor: codes of an authenticator app, and codes for those who lost their phone."""

import asyncio
import hashlib
import secrets
from datetime import UTC, datetime
from typing import NamedTuple

import pyotp
from piccolo.apps.user.tables import BaseUser
from piccolo_api.encryption.providers import EncryptionProvider, XChaCha20Provider
from piccolo_api.mfa.authenticator.provider import AuthenticatorProvider
from piccolo_api.mfa.authenticator.tables import AuthenticatorSecret
from piccolo_api.mfa.authenticator.utils import get_b64encoded_qr_image
from piccolo_api.mfa.recovery_codes import generate_recovery_code

from community_directory.database import Statement, engine, transaction
from community_directory.settings import Settings
from community_directory.web.admin.attempts import Attempt

MAX_APP_CODE_LENGTH = 10
"""A code of the app is shorter than this, a recovery code is longer."""

CODE_OFFSETS = (-1, 0, 1)
"""The steps of half a minute whose codes are right: a clock may be one of them off."""

# The lock lets simultaneous attempts, on any worker, know of each other.
LOCK_LAST_CODE = Statement(
    """
    SELECT secret, last_used_code FROM public.authenticator_secret
    WHERE user_id = :user_id AND revoked_at IS NULL ORDER BY created_at DESC LIMIT 1 FOR UPDATE
    """
)
FIND_RECOVERY_CODE = Statement(
    """
    SELECT recovery_codes[1] AS first_code FROM public.authenticator_secret
    WHERE user_id = :user_id AND revoked_at IS NULL AND cardinality(recovery_codes) > 0
    ORDER BY created_at DESC LIMIT 1
    """
)
USE_RECOVERY_CODE = Statement(
    """
    UPDATE public.authenticator_secret SET
        recovery_codes = array_remove(recovery_codes, :hashed::text),
        recovery_codes_used_at = recovery_codes_used_at || now()
    WHERE user_id = :user_id AND revoked_at IS NULL AND :hashed::text = ANY (recovery_codes)
    RETURNING 1
    """
)


def mfa_providers(settings: Settings) -> "list[PanelAuthenticator]":
    """Return the second factors that users can set up: an authenticator app, or none.

    There is none without DIRECTORY_MFA_KEY.
    """
    if settings.mfa_key is None:
        return []
    key = hashlib.sha256(settings.mfa_key.get_secret_value().encode()).digest()
    return [
        PanelAuthenticator(
            XChaCha20Provider(key),
            secret_table=PanelSecret,
            issuer_name=settings.site_name,
            valid_window=max(CODE_OFFSETS),
        )
    ]


class Registration(NamedTuple):
    """A second factor that was just set up; this is shown once."""

    address: str
    """The address that an authenticator app on the same device opens."""
    picture: str
    """The address as a QR code: a PNG file as Base64."""
    recovery_codes: list[str]


class PanelAuthenticator(AuthenticatorProvider):
    """An authenticator app whose codes can be guessed a limited number of times."""

    async def register(self, user: BaseUser) -> Registration:
        """Set up the second factor of a user, who needs it from now on."""
        secret, codes = await self.secret_table.create_new(user.id, self.encryption_provider)
        address = secret.get_authentication_setup_uri(
            user.email, self.encryption_provider, self.issuer_name
        )
        picture = await asyncio.to_thread(get_b64encoded_qr_image, address)
        return Registration(address, picture, codes)

    async def authenticate_user(self, user: BaseUser, code: str) -> bool:
        """Return whether the code is right; the password was right before.

        Raises:
            HTTPException: Too many codes of this user were wrong (429).
        """
        attempt = await Attempt.begin_code(user.id)
        is_right = await super().authenticate_user(user, code)
        if is_right:
            await attempt.discard()
        return is_right


class PanelSecret(AuthenticatorSecret, tablename=AuthenticatorSecret._meta.tablename):
    """A user's secret, with recovery codes that are hashed in a thread.

    Piccolo hashes on the thread of the event loop, eight codes in a row when a user sets the
    second factor up.
    """

    @classmethod
    async def create_new(
        cls,
        user_id: int,
        encryption_provider: EncryptionProvider,
        recovery_code_count: int = 8,
    ) -> tuple[AuthenticatorSecret, list[str]]:
        """Store a secret, and return it with its recovery codes, which are stored as hashes."""
        codes = [generate_recovery_code() for _ in range(recovery_code_count)]
        hashed_codes = await asyncio.to_thread(_hash_all, codes)
        async with transaction():
            secret, _ = await super().create_new(user_id, encryption_provider, 0)
            secret.recovery_codes = hashed_codes
            await secret.save(columns=[cls.recovery_codes])
        return secret, codes

    @classmethod
    async def authenticate(
        cls,
        user_id: int,
        code: str,
        encryption_provider: EncryptionProvider,
        valid_window: int = 0,
    ) -> bool:
        """Return whether a code, of the app or for recovery, is right and was not used before."""
        if len(code) <= MAX_APP_CODE_LENGTH:
            async with transaction():
                found = await engine.fetch(LOCK_LAST_CODE, user_id=user_id)
                if not found or _is_used(code, encryption_provider, **found[0]):
                    return False
                return await super().authenticate(user_id, code, encryption_provider, valid_window)
        found = await engine.fetch(FIND_RECOVERY_CODE, user_id=user_id)
        if not found:
            return False
        _, iterations, salt, _ = BaseUser.split_stored_password(found[0]["first_code"])
        hashed = await asyncio.to_thread(BaseUser.hash_password, code, salt, int(iterations))
        return bool(await engine.fetch(USE_RECOVERY_CODE, user_id=user_id, hashed=hashed))


def _is_used(
    code: str, encryption_provider: EncryptionProvider, *, secret: str, last_used_code: str | None
) -> bool:
    """Return whether a code is not newer than the one that was used last.

    Piccolo compares it with that one alone, and would accept an earlier one again.
    """
    totp = pyotp.TOTP(encryption_provider.decrypt(encrypted_value=secret))
    now = datetime.now(UTC)
    codes = [totp.at(now, offset) for offset in CODE_OFFSETS]
    return last_used_code in codes and code in codes[: codes.index(last_used_code) + 1]


def _hash_all(codes: list[str]) -> list[str]:
    """Hash the codes with the same salt, so that a code is hashed once to be compared with all."""
    salt = secrets.token_hex(16)
    return [BaseUser.hash_password(code, salt) for code in codes]
