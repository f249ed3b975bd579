"""The users who may sign in to the panel."""

import asyncio
import secrets
from datetime import datetime
from typing import NamedTuple

from piccolo.apps.user.tables import BaseUser
from piccolo.columns import Column

from community_directory.database import Statement, engine, transaction
from community_directory.errors import ConfigurationError
from community_directory.passwords import MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH, password_problem
from community_directory.settings import Settings, load_settings

FIRST_SUPERUSER_LOCK = 0x66697273745F7573
"""The key of an advisory lock: "first_us" in ASCII."""

RESERVED_USERNAMES = {
    "bot",
    "clock",
    "demo",
    "discord",
    "doctor",
    "elizaos",
    "erased",
    "expiry",
    "import",
    "roll-up",
    "sweep",
    "telegram",
}
"""The names of programs in the audit log; "sweep" is an older name of "expiry"."""

FIND_SIMILAR_USERNAME = Statement(
    "SELECT 1 FROM piccolo_user WHERE lower(username) = lower(:username)"
)

TAKE_ADVISORY_LOCK = Statement("SELECT pg_advisory_xact_lock(:key)")

# A trigger stores the password of a user whom another user adds or changes as temporary.
STORE_TEMPORARY_PASSWORD = Statement(
    "INSERT INTO public.panel_temporary_passwords (user_id) VALUES (:user_id)"
)
DELETE_TEMPORARY_PASSWORD = Statement(
    "DELETE FROM public.panel_temporary_passwords WHERE user_id = :user_id"
)
FIND_TEMPORARY_PASSWORD = Statement(
    """
    SELECT 1 FROM public.panel_temporary_passwords
    JOIN public.piccolo_user ON id = user_id WHERE username = :username
    """
)


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


class Verified(NamedTuple):
    """A user whose password was right."""

    user_id: int
    stored: str
    """The hash of the password."""


class PanelUser(BaseUser, tablename=BaseUser._meta.tablename):
    """A user of the panel, whose password is hashed in a thread.

    Piccolo hashes on the thread of the event loop. Its endpoints accept another class of users.
    """

    @classmethod
    async def login(cls, username: str, password: str) -> int | None:
        """Return the id of the user if the password is right."""
        verified = await cls.verify(username, password)
        return None if verified is None else verified.user_id

    @classmethod
    async def verify(cls, username: str, password: str, *, again: bool = True) -> Verified | None:
        """Return the user if the password is right.

        Another sign-in may store a new hash of the same password: the second attempt finds it.
        A wrong username takes as long as a wrong password. A password that is changed in the
        meantime is wrong.
        """
        user = await cls.select(cls.id, cls.password).where(cls.username == username).first()
        salt, iterations = "", cls._pbkdf2_iteration_count
        if user:
            _, stored_iterations, salt, _ = cls.split_stored_password(user["password"])
            iterations = int(stored_iterations)
        hashed = await asyncio.to_thread(cls.hash_password, password, salt, iterations)
        if user is None or not secrets.compare_digest(hashed, user["password"]):
            return None
        # The column has no time zone.
        changes: dict[Column | str, object] = {cls.last_login: datetime.now()}  # noqa: DTZ005
        if iterations != cls._pbkdf2_iteration_count:
            hashed = await asyncio.to_thread(_check_and_hash, password)
            changes[cls.password] = hashed
        noted = (
            await cls.update(changes)
            .where(cls.id == user["id"], cls.password == user["password"])
            .returning(cls.id)
        )
        if noted:
            return Verified(user["id"], hashed)
        return await cls.verify(username, password, again=False) if again else None

    @classmethod
    async def replace_password(cls, verified: Verified, password: str) -> Verified | None:
        """Store a new password, and return it, unless somebody has changed the verified one since.

        Raises:
            ValueError: The password is too weak.
        """
        hashed = await asyncio.to_thread(_check_and_hash, password)
        replaced = (
            await cls.update({cls.password: hashed})
            .where(cls.id == verified.user_id, cls.password == verified.stored)
            .returning(cls.id)
        )
        return Verified(verified.user_id, hashed) if replaced else None

    @classmethod
    async def update_password(cls, user: str | int, password: str) -> None:
        """Store a new password.

        Raises:
            ValueError: The password is too weak.
        """
        hashed = await asyncio.to_thread(_check_and_hash, password)
        who = cls.username == user if isinstance(user, str) else cls.id == user
        await cls.update({cls.password: hashed}).where(who)


def _check_and_hash(password: str) -> str:
    BaseUser._validate_password(password)
    hashed: str = BaseUser.hash_password(password)
    return hashed


async def has_temporary_password(username: str) -> bool:
    """Tell whether somebody else chose the password of a user, who must choose a new one."""
    return bool(await engine.fetch(FIND_TEMPORARY_PASSWORD, username=username))


async def replace_temporary_password(verified: Verified, password: str) -> Verified | None:
    """Store the password that a user chose instead of a temporary one, and return it.

    Return None if somebody has set another one since.

    Raises:
        ValueError: The password is too weak.
    """
    async with transaction():
        replaced = await PanelUser.replace_password(verified, password)
        if replaced:
            await engine.fetch(DELETE_TEMPORARY_PASSWORD, user_id=verified.user_id)
    return replaced


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


async def add_superuser(
    username: str, email: str, password: str, *, temporary: bool = False
) -> None:
    """Store a user of the panel who may do everything.

    A temporary password must be changed at the first sign-in.
    """
    user = await BaseUser.create_user(
        username=username,
        password=password,
        email=email,
        active=True,
        admin=True,
        superuser=True,
    )
    if temporary:
        await engine.fetch(STORE_TEMPORARY_PASSWORD, user_id=user.id)


async def is_ambiguous_username(username: str) -> bool:
    """Tell whether a name in the audit log could mean a program, a member, or another user."""
    is_reserved = username.lower() in RESERVED_USERNAMES
    if is_reserved or ":" in username or username.startswith("#"):
        return True
    return bool(await engine.fetch(FIND_SIMILAR_USERNAME, username=username))
