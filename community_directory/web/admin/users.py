"""The people who may enter the panel."""

import secrets

from piccolo.apps.user.tables import BaseUser

from community_directory.database import transaction
from community_directory.errors import ConfigurationError
from community_directory.passwords import (
    MAX_PASSWORD_LENGTH,
    MIN_PASSWORD_LENGTH,
    password_problem,
)
from community_directory.settings import Settings, load_settings

FIRST_USER_LOCK = 0x66697273745F7573
"""The advisory lock's key: "first_us" in ASCII."""


def _validate_password(_: type[BaseUser], password: str) -> None:
    if problem := password_problem(password, load_settings().site_name):
        raise ValueError(f"The password {problem}.")


# For everything that sets one, the command `piccolo user` too: Piccolo's own rule is six characters.
BaseUser._min_password_length, BaseUser._max_password_length = (
    MIN_PASSWORD_LENGTH,
    MAX_PASSWORD_LENGTH,
)
BaseUser._validate_password = classmethod(_validate_password)  # type: ignore[assignment]  # a method of its class


async def create_first_superuser(settings: Settings) -> str | None:
    """Create the superuser that the settings name when there is none, whoever else starts at the same time.

    Returns the password when it was made up here: it is stored nowhere else. Raises `ConfigurationError` when the
    name belongs to a user who is no superuser.
    """
    async with transaction() as current:
        await current.connection.execute(f"SELECT pg_advisory_xact_lock({FIRST_USER_LOCK})")
        if await BaseUser.exists().where(BaseUser.superuser.eq(True)):
            return None
        if await BaseUser.exists().where(BaseUser.username == settings.admin_username):
            raise ConfigurationError(
                f"There is no superuser, and {settings.admin_username} is a user without that right: "
                "set DIRECTORY_ADMIN_USERNAME to another name."
            )
        given = settings.admin_password
        password = given.get_secret_value() if given else secrets.token_urlsafe(12)
        await BaseUser.create_user(
            username=settings.admin_username,
            password=password,
            email=settings.admin_email,
            active=True,
            admin=True,
            superuser=True,
        )
        return None if given else password
