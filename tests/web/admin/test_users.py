import asyncio
import subprocess
import sys

import asyncpg
import pytest
from piccolo.apps.user.tables import BaseUser
from piccolo_api.session_auth.tables import SessionsBase
from pydantic import SecretStr

from community_directory.errors import ConfigurationError
from community_directory.settings import Settings
from community_directory.web.admin.users import create_first_superuser
from tests.processes import PROJECT, environment
from tests.roles import app_url


async def test_the_first_superuser_gets_a_password_that_is_shown_once(
    directory: asyncpg.Pool,
) -> None:
    password = await create_first_superuser(Settings())
    assert password
    assert len(password) >= 12
    assert await BaseUser.login("admin", password)
    assert await create_first_superuser(Settings()) is None


async def test_a_password_from_the_settings_is_used_and_not_shown(directory: asyncpg.Pool) -> None:
    settings = Settings(
        admin_username="eva",
        admin_email="eva@example.org",
        admin_password=SecretStr("a long password"),
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


async def test_the_name_of_an_ordinary_user_is_refused_for_the_first_superuser(
    directory: asyncpg.Pool,
) -> None:
    await BaseUser.create_user(
        username="admin", password="another password", active=True, admin=True
    )
    with pytest.raises(ConfigurationError, match="DIRECTORY_ADMIN_USERNAME"):
        await create_first_superuser(Settings())


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("short", "The password must have 12 to 128 characters."),
        ("x" * 129, "The password must have 12 to 128 characters."),
        ("password1234", "The password is too easy to guess"),
        ("iloveyouiloveyou", "The password is too easy to guess"),
        ("aaaaaaaaaaaa", "The password is too easy to guess"),
        ("123456789012", "The password is too easy to guess"),
        ("qwertyuiopas", "The password is too easy to guess"),
        ("Community Directory", "The password is too easy to guess"),
    ],
)
async def test_a_bad_password_is_refused_wherever_it_is_set(
    directory: asyncpg.Pool, fast_hashes: None, password: str, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        await BaseUser.create_user(username="eva", password=password, email="e@x.org")
    user = await BaseUser.create_user(
        username="eva", password="quite some other words", email="e@x.org"
    )
    with pytest.raises(ValueError, match=said):
        await BaseUser.update_password(user.id, password)
    assert await BaseUser.login("eva", "quite some other words")


async def test_the_command_refuses_bad_passwords_and_ends_the_users_sessions(
    directory: asyncpg.Pool, database: str
) -> None:
    user = await BaseUser.create_user(
        username="eva", password="quite some other words", active=True, admin=True
    )
    await SessionsBase.create_session(user_id=user.id)

    def change_password(password: str) -> subprocess.CompletedProcess[str]:
        # The command asks at the terminal, which a test doesn't have.
        answer = (
            f"import getpass; getpass.getpass = lambda _: {password!r}; "
            "from piccolo.main import main; main()"
        )
        return subprocess.run(
            [sys.executable, "-c", answer, "user", "change_password"],
            cwd=PROJECT,
            env=environment(POSTGRES_URL=app_url(database)),
            input="eva\n",
            capture_output=True,
            text=True,
            check=False,
        )

    refused = await asyncio.to_thread(change_password, "password1234")
    assert refused.returncode == 1
    assert "The password is too easy to guess" in refused.stdout + refused.stderr
    assert await SessionsBase.count() == 1
    changed = await asyncio.to_thread(change_password, "correct horse battery")
    assert changed.returncode == 0, changed.stdout + changed.stderr
    assert await SessionsBase.count() == 0
    assert await BaseUser.login("eva", "correct horse battery")
