import asyncio

import asyncpg
import pytest
from piccolo.apps.user.tables import BaseUser
from pydantic import SecretStr

from community_directory.admin.users import create_first_superuser
from community_directory.errors import ConfigurationError
from community_directory.settings import Settings


async def test_the_first_superuser_gets_a_password_that_is_told_once(directory: asyncpg.Pool) -> None:
    password = await create_first_superuser(Settings())
    assert password
    assert len(password) >= 12
    assert await BaseUser.login("admin", password)
    assert await create_first_superuser(Settings()) is None


async def test_a_password_from_the_settings_is_used_and_not_told(directory: asyncpg.Pool) -> None:
    settings = Settings(
        admin_username="eva", admin_email="eva@example.org", admin_password=SecretStr("a long password")
    )
    assert await create_first_superuser(settings) is None
    user = await BaseUser.objects().first()
    assert user
    assert (user.username, user.email, user.active, user.admin, user.superuser) == (
        "eva",
        "eva@example.org",
        True,
        True,
        True,
    )
    assert await BaseUser.login("eva", "a long password")


async def test_several_starts_at_once_create_one_superuser(directory: asyncpg.Pool) -> None:
    passwords = await asyncio.gather(*(create_first_superuser(Settings()) for _ in range(4)))
    assert len([password for password in passwords if password]) == 1
    assert await BaseUser.count() == 1


async def test_a_name_that_belongs_to_somebody_without_the_right_is_refused(directory: asyncpg.Pool) -> None:
    await BaseUser.create_user(username="admin", password="another password", active=True, admin=True)
    with pytest.raises(ConfigurationError, match="DIRECTORY_ADMIN_USERNAME"):
        await create_first_superuser(Settings())
