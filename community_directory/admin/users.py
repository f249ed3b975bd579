"""The people who may enter the panel."""

import secrets

from piccolo.apps.user.tables import BaseUser

from community_directory.database import transaction
from community_directory.errors import ConfigurationError
from community_directory.settings import Settings

FIRST_USER_LOCK = 0x66697273745F7573
"""The advisory lock's key: "first_us" in ASCII."""


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
