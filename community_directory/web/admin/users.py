"""The users who may sign in to the panel."""

import secrets

from piccolo.apps.user.tables import BaseUser

from community_directory.database import Statement, engine, transaction
from community_directory.errors import ConfigurationError
from community_directory.passwords import MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH, password_problem
from community_directory.settings import Settings, load_settings

FIRST_SUPERUSER_LOCK = 0x66697273745F7573
"""The key of an advisory lock: "first_us" in ASCII."""

RESERVED_USERNAMES = {"expiry", "roll-up", "import", "demo", "bot", "erased", "sweep"}
"""The names of programs in the audit log; "sweep" is an older name of "expiry"."""

FIND_SIMILAR_USERNAME = Statement(
    "SELECT 1 FROM piccolo_user WHERE lower(username) = lower(:username)"
)

TAKE_ADVISORY_LOCK = Statement("SELECT pg_advisory_xact_lock(:key)")


def _validate_password(_: type[BaseUser], password: str) -> None:
    if problem := password_problem(password, load_settings().site_name):
        raise ValueError(f"The password {problem}.")


# This applies wherever a password is set, also to the command `piccolo user`. Piccolo itself asks
# for six characters only. The type checker reports that a method of a class is replaced.
BaseUser._min_password_length, BaseUser._max_password_length = (
    MIN_PASSWORD_LENGTH,
    MAX_PASSWORD_LENGTH,
)
BaseUser._validate_password = classmethod(_validate_password)  # type: ignore[assignment]


async def create_first_superuser(settings: Settings) -> str | None:
    """Create the superuser that the settings name, unless there is a superuser.

    Several processes may do this at the same time.

    Returns:
        The password if it was generated here; it is stored nowhere else.

    Raises:
        ConfigurationError: The name belongs to a user who is not a superuser.
    """
    async with transaction():
        await engine.fetch(TAKE_ADVISORY_LOCK, key=FIRST_SUPERUSER_LOCK)
        if await BaseUser.exists().where(BaseUser.superuser.eq(True)):
            return None
        if await BaseUser.exists().where(BaseUser.username == settings.admin_username):
            raise ConfigurationError(
                f"There is no superuser, and {settings.admin_username} is a user without that "
                "right. Set DIRECTORY_ADMIN_USERNAME to another name."
            )
        given = settings.admin_password
        password = given.get_secret_value() if given else secrets.token_urlsafe(12)
        await add_superuser(settings.admin_username, settings.admin_email, password)
        return None if given else password


async def add_superuser(username: str, email: str, password: str) -> None:
    """Store a user of the panel who may do everything."""
    await BaseUser.create_user(
        username=username,
        password=password,
        email=email,
        active=True,
        admin=True,
        superuser=True,
    )


async def is_ambiguous_username(username: str) -> bool:
    """Tell whether a name in the audit log could mean a program or another user."""
    if username in RESERVED_USERNAMES or ":" in username:
        return True
    return bool(await engine.fetch(FIND_SIMILAR_USERNAME, username=username))
