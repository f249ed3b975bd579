"""The settings, read from the environment or from a file `.env` in the working directory."""

import re
import sys
from functools import cache
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    NoDecode,
    SettingsConfigDict,
)

from community_directory.errors import ConfigurationError
from community_directory.passwords import password_problem

VARIABLE_PREFIX = "DIRECTORY_"
MIN_KEY_LENGTH = 32
MAX_QUOTA = 9_999_999
MIN_RETENTION_DAYS = 90
"""The number of days whose events are always kept; a trigger has the same limit."""
POSTGRES_URL_FORM = (
    "must look like postgresql://user:password@host:5432/database "
    "(write an @ in the password as %40)"
)
"""The end of a message whose subject is the setting or the URL."""


QUOTA_NAMES = frozenset(
    {
        *("invite", "review", "moderate"),
        *("novice", "contributor", "active developer", "experienced", "expert"),
    }
)
"""The permissions and the tiers, in lower case, that can have a quota of invitations."""
QUOTAS_FORM = (
    "must look like invite=50/100,Expert=20/40: for each permission or tier, once, the open "
    "invitations and those in seven days; members who can manage have no quota"
)


CHATS_FORM = (
    "must look like -1001234567890=es,-1009876543210: the ids of groups, once, each with the "
    "language in which the bot writes there or without one"
)


def _find_project_directory() -> Path:
    """Return the clone of the repository that the package runs from, or the working directory."""
    clone = Path(__file__).resolve().parent.parent
    return clone if (clone / "pyproject.toml").exists() else Path.cwd()


def is_postgres_url(url: str) -> bool:
    """Return whether asyncpg can read this URL.

    The URL is checked before asyncpg sees it, because asyncpg's errors may quote a part of the
    password.
    """
    try:
        parts = urlsplit(url)
        hosts = parts.netloc.rpartition("@")[2].split(",")
        ports_are_numbers = all(urlsplit(f"//{host}").port != 0 for host in hosts)
        parse_qs(parts.query, strict_parsing=bool(parts.query))
    except ValueError:
        return False
    named = all(hosts) or hosts == [""]
    return (
        parts.scheme in ("postgresql", "postgres")
        and parts.netloc.count("@") <= 1
        and named
        and ports_are_numbers
    )


def _check_postgres_url(value: SecretStr) -> SecretStr:
    if not is_postgres_url(value.get_secret_value()):
        raise ValueError(POSTGRES_URL_FORM)
    return value


def _check_password(value: SecretStr, info: ValidationInfo) -> SecretStr:
    personal = [
        str(info.data[field])
        for field in ("site_name", "admin_username", "admin_email")
        if field in info.data
    ]
    if problem := password_problem(value.get_secret_value(), *personal):
        raise ValueError(problem)
    return value


def _check_key(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < MIN_KEY_LENGTH:
        raise ValueError(f"must have {MIN_KEY_LENGTH} characters or more")
    return value


def _check_time_zone(value: str) -> str:
    try:
        return ZoneInfo(value).key
    except (OSError, ValueError, LookupError):
        raise ValueError("must be the name of a time zone, such as America/Mexico_City") from None


def _check_bot_username(value: str) -> str:
    username = value.removeprefix("@")
    if not re.fullmatch("[A-Za-z][A-Za-z0-9_]{2,31}", username):
        raise ValueError("must be the username of a Telegram bot, such as frutero_bot")
    return username


def _check_bot_token(value: SecretStr) -> SecretStr:
    if not re.fullmatch("[0-9]{1,20}:[A-Za-z0-9_-]{1,100}", value.get_secret_value()):
        raise ValueError("must look like 123456789:AAH… as @BotFather gives it")
    return value


def _check_url(value: str) -> str:
    """Return a URL of HTTP without a slash at its end."""
    try:
        parts = urlsplit(value)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url or parts.query or parts.fragment or parts.username is not None:
        raise ValueError("must look like https://bot.example.org/telegram")
    return value.rstrip("/")


def _parse_chats(value: object) -> object:
    """Return the language of each group of a text such as "-1001234567890=es,-4242", or None."""
    if not isinstance(value, str):
        return value
    chats: dict[int, str | None] = {}
    for item in filter(None, (item.strip() for item in value.split(","))):
        found = re.fullmatch(r"(-[1-9][0-9]{0,18})(?:\s*=\s*([a-z]{2,3}))?", item, re.ASCII)
        if not found or int(found[1]) in chats:
            raise ValueError(CHATS_FORM)
        chats[int(found[1])] = found[2]
    return chats


def _parse_quotas(value: object) -> object:
    """Return the quotas of a text such as "invite=50/100,Expert=20/40", by name in lower case."""
    if not isinstance(value, str):
        return value
    quotas: dict[str, tuple[str, str]] = {}
    for item in filter(None, (item.strip() for item in value.split(","))):
        found = re.fullmatch(r"(.+?)\s*=\s*([0-9]{1,7})\s*/\s*([0-9]{1,7})", item, re.ASCII)
        if not found or found[1].lower() not in QUOTA_NAMES or found[1].lower() in quotas:
            raise ValueError(QUOTAS_FORM)
        quotas[found[1].lower()] = (found[2], found[3])
    return quotas


class Settings(BaseSettings):
    """The settings, typed and checked; `load_settings` reads them once."""

    model_config = SettingsConfigDict(
        env_prefix=VARIABLE_PREFIX,
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    postgres_url: Annotated[SecretStr, AfterValidator(_check_postgres_url)] | None = Field(
        default=None,
        validation_alias="POSTGRES_URL",
        description="The URL of the database, which may name several servers (host1,host2). "
        "The default is an embedded PostgreSQL.",
    )
    postgres_read_url: Annotated[SecretStr, AfterValidator(_check_postgres_url)] | None = Field(
        default=None,
        validation_alias="POSTGRES_READ_URL",
        description="The URL of the standbys of POSTGRES_URL, such as "
        "postgresql://user:password@host1,host2/database. They answer searches, lists and counts.",
    )
    read_lag_seconds: float = Field(
        default=5,
        ge=0.1,
        le=3600,
        description="The seconds that an answer of a standby may lack at most. "
        "The primary answers while no standby is as recent.",
    )
    elizaos_url: Annotated[SecretStr, AfterValidator(_check_postgres_url)] | None = Field(
        default=None,
        description="The URL of the database of an ElizaOS agent, with the agent's own login, for "
        "`community-directory elizaos`. Without it, that command works with files only.",
    )
    data_directory: Path = Field(
        default_factory=lambda: _find_project_directory() / ".postgres",
        description="The directory for the data of the embedded PostgreSQL.",
    )
    backup_directory: Path | None = Field(
        default=None,
        description="The directory for daily backups, which the panel writes. "
        "Without it there are none. Each database needs a directory of its own.",
    )
    backups_kept: int = Field(
        default=14,
        ge=1,
        le=10_000,
        description="The number of backups that are kept in the directory for backups.",
    )
    secret_key: Annotated[SecretStr, AfterValidator(_check_key)] | None = Field(
        default=None,
        description="The key that recognizes the accounts of people whose data was erased. "
        "It has 32 characters or more and must never change.",
    )
    pool_max_size: int = Field(
        default=10, ge=1, le=1000, description="The maximum number of connections of one process."
    )
    call_timeout: float = Field(
        default=5,
        gt=0,
        le=3600,
        description="The seconds that one call on the database may take, with the wait for a "
        "connection; in a transaction its start, each statement and its commit.",
    )
    acquire_timeout: float = Field(
        default=4,
        gt=0,
        le=3600,
        description="The seconds that a call waits for a free connection.",
    )
    statement_timeout: float = Field(
        default=4,
        ge=0,
        le=3600,
        description="The seconds after which the server ends a statement; 0 sets no limit.",
    )
    lock_timeout: float = Field(
        default=3,
        ge=0,
        le=3600,
        description="The seconds after which the server ends a wait for a lock; 0 sets no limit.",
    )
    long_statement_timeout: float = Field(
        default=3600,
        gt=0,
        le=86400,
        description="The seconds that a statement of an import, an export, a roll-up, an erasure, "
        "the demo or a migration may take. It replaces the limits of other calls there.",
    )
    statement_cache_size: int = Field(
        default=100,
        ge=0,
        le=10_000,
        description="The number of prepared statements that a connection keeps. "
        "Set it to 0 for a PgBouncer that does not support them.",
    )
    host: str = Field(
        default="127.0.0.1", min_length=1, description="The address that the panel listens on."
    )
    port: int = Field(
        default=8000,
        ge=0,
        le=65535,
        description="The port that the panel listens on; 0 chooses a free one.",
    )
    site_name: str = Field(
        default="Community Directory", min_length=1, description="The title of the panel."
    )
    bot_username: Annotated[str, AfterValidator(_check_bot_username)] | None = Field(
        default=None,
        description="The username of the Telegram bot that invitations link to. "
        "Without it the panel shows invitation codes without links.",
    )
    telegram_bot_token: Annotated[SecretStr, AfterValidator(_check_bot_token)] | None = Field(
        default=None,
        validation_alias="TELEGRAM_BOT_TOKEN",
        description="The token of the Telegram bot, which @BotFather gives. "
        "`community-directory bot` needs it.",
    )
    telegram_chats: Annotated[dict[int, str | None], NoDecode, BeforeValidator(_parse_chats)] = (
        Field(
            default={},
            validation_alias="TELEGRAM_CHATS",
            description="The groups in which the bot counts what members do, each with the "
            "language in which it writes there, such as -1001234567890=es,-1009876543210. "
            "In other groups it counts nothing.",
        )
    )
    telegram_api_url: Annotated[str, AfterValidator(_check_url)] = Field(
        default="https://api.telegram.org",
        validation_alias="TELEGRAM_API_URL",
        description="The URL of the server of Telegram's Bot API, such as that of a local one.",
    )
    telegram_webhook_url: Annotated[str, AfterValidator(_check_url)] | None = Field(
        default=None,
        validation_alias="TELEGRAM_WEBHOOK_URL",
        description="The URL at which Telegram delivers updates. "
        "Without it the bot asks Telegram for them, which needs no address of its own.",
    )
    telegram_webhook_host: str = Field(
        default="127.0.0.1",
        min_length=1,
        validation_alias="TELEGRAM_WEBHOOK_HOST",
        description="The address that the bot listens on for the requests to that URL.",
    )
    telegram_webhook_port: int = Field(
        default=8081,
        ge=0,
        le=65535,
        validation_alias="TELEGRAM_WEBHOOK_PORT",
        description="The port that the bot listens on for these requests; 0 chooses a free one.",
    )
    admin_username: str = Field(
        default="admin",
        min_length=1,
        max_length=100,
        description="The name of the first superuser.",
    )
    admin_email: str = Field(
        default="admin@localhost",
        max_length=255,
        description="The e-mail address of the first superuser.",
    )
    admin_password: Annotated[SecretStr, AfterValidator(_check_password)] | None = Field(
        default=None,
        description="The password of the first superuser, 12 characters or more. "
        "By default a random one is printed once.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info",
        description="The lowest level that is logged. "
        "The level info includes one line for each request.",
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="The format of the log: lines of text, or of JSON."
    )
    time_zone: Annotated[str, AfterValidator(_check_time_zone)] = Field(
        default="UTC",
        description="The time zone of the community's days, for example America/Mexico_City.",
    )
    event_retention_days: int | None = Field(
        default=None,
        ge=MIN_RETENTION_DAYS,
        le=36_500,
        description="The number of days before today whose events are kept. Each night, the events "
        "of older days become daily counts for good, and are deleted. By default all are kept.",
    )
    metrics_token: Annotated[SecretStr, AfterValidator(_check_key)] | None = Field(
        default=None,
        description="The token with which Prometheus reads /metrics, 32 characters or more. "
        "Without it the page does not exist.",
    )
    production: bool = Field(
        default=False,
        description="Whether the panel is served over HTTPS. If so, browsers send its cookies "
        "over HTTPS only, and the allowed hosts must be set, too.",
    )
    allowed_hosts: Annotated[list[str], NoDecode] = Field(
        default=[],
        description="The host names of the panel, separated by commas; used in production only.",
    )
    trusted_proxies: int = Field(
        default=0,
        ge=0,
        le=10,
        description="The number of proxies in front of the panel. With 0 the headers "
        "X-Forwarded-For and X-Forwarded-Proto are ignored.",
    )
    mfa_key: Annotated[SecretStr, AfterValidator(_check_key)] | None = Field(
        default=None,
        description="The key that encrypts the secrets of two-factor authentication, which is on "
        "if the key is set. It has 32 characters or more and must never change.",
    )

    max_open_invitations: int = Field(
        default=10,
        ge=0,
        le=MAX_QUOTA,
        description="The number of open invitations that a member can have.",
    )
    max_weekly_invitations: int = Field(
        default=20,
        ge=0,
        le=MAX_QUOTA,
        description="The number of invitations that a member can create in seven days.",
    )
    invitation_quotas: Annotated[
        dict[str, tuple[int, int]], NoDecode, BeforeValidator(_parse_quotas)
    ] = Field(
        default={},
        description="Both numbers for members with a permission or in a tier, instead of these, "
        "such as invite=50/100,Expert=20/40. The permission manage has no limits.",
    )

    @model_validator(mode="before")
    @classmethod
    def _split_hosts(cls, values: dict[str, object]) -> dict[str, object]:
        hosts = values.get("allowed_hosts")
        if isinstance(hosts, str):
            values["allowed_hosts"] = [
                host.strip().lower() for host in hosts.split(",") if host.strip()
            ]
        return values

    @model_validator(mode="after")
    def _check_timeouts(self) -> "Settings":
        for field in ("acquire_timeout", "statement_timeout", "lock_timeout"):
            if field in self.model_fields_set and getattr(self, field) > self.call_timeout:
                raise ValueError(
                    f"{variable(field)} must not be longer than {variable('call_timeout')}"
                )
        if self.long_statement_timeout < self.call_timeout:
            raise ValueError(
                f"{variable('long_statement_timeout')} must not be shorter than "
                f"{variable('call_timeout')}"
            )
        return self

    @model_validator(mode="after")
    def _check_read_url(self) -> "Settings":
        if self.postgres_read_url is not None and self.postgres_url is None:
            raise ValueError(
                f"{variable('postgres_read_url')} needs {variable('postgres_url')}, "
                "the URL of the primary"
            )
        return self

    @model_validator(mode="after")
    def _check_production(self) -> "Settings":
        if self.production != bool(self.allowed_hosts):
            raise ValueError(
                f"{VARIABLE_PREFIX}PRODUCTION and {VARIABLE_PREFIX}ALLOWED_HOSTS "
                "must be set together"
            )
        if not all(re.fullmatch(r"[a-z0-9.-]+", host) for host in self.allowed_hosts):
            raise ValueError(
                f"{VARIABLE_PREFIX}ALLOWED_HOSTS must be names such as directory.example.org, "
                "without a port or *"
            )
        return self


def variable(field: str) -> str:
    """Return the environment variable that a field of `Settings` is read from."""
    alias = Settings.model_fields[field].validation_alias
    return str(alias) if alias else VARIABLE_PREFIX + field.upper()


@cache
def load_settings() -> Settings:
    """Return the settings, which the first call reads from the environment.

    Raises:
        ConfigurationError: A variable is wrong or unknown. The message is one line that names every
            such variable, and never a value.
    """
    try:
        unknown = _find_unknown_variables()
        if not unknown:
            return Settings()
        problem = f"{', '.join(unknown)}: there is no such setting."
    except ValidationError as error:
        problem = "; ".join(_describe_problems(error)) + "."
    except (OSError, UnicodeError):
        problem = "The file .env can't be read, or is not UTF-8 text."
    # Outside the except blocks the error has no context: the caught exception contains the values.
    raise ConfigurationError(problem)


def load_settings_or_exit() -> Settings:
    """Return the settings, or end the program with a message and exit code 1 if they are wrong."""
    try:
        return load_settings()
    except ConfigurationError as error:
        sys.exit(str(error))


def _find_unknown_variables() -> list[str]:
    """Return the variables of the environment and `.env` with the prefix that are not settings."""
    known = {variable(field) for field in Settings.model_fields}
    found = {
        name.upper()
        for source in (EnvSettingsSource, DotEnvSettingsSource)
        for name in source(Settings).env_vars
    }
    return sorted(name for name in found - known if name.startswith(VARIABLE_PREFIX))


def _describe_problems(error: ValidationError) -> list[str]:
    problems = []
    for detail in error.errors():
        message = detail["msg"].removeprefix("Value error, ")
        location = str(detail["loc"][0]) if detail["loc"] else ""
        name = variable(location) if location in Settings.model_fields else location
        problems.append(f"{name}: {message[0].lower() + message[1:]}" if name else message)
    return problems
