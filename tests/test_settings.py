"""Settings come from the environment and are all checked; no error shows a secret."""

import os
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from community_directory.errors import ConfigurationError
from community_directory.settings import Settings, is_postgres_url, load_settings, variable
from tests.processes import PROJECT, environment

VARIABLES = sorted(variable(field) for field in Settings.model_fields)
SECRET = "correct-horse-battery"
LOAD = "from community_directory.settings import load_settings_or_exit as load; print(repr(load()))"


def run(*arguments: str, directory: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python in this directory with these settings and no others."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        env=environment(PYTHONPATH=str(PROJECT), **variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_no_setting_is_required() -> None:
    settings = load_settings()
    assert settings.postgres_url is None
    assert settings.admin_password is None
    assert settings.data_directory == PROJECT / ".postgres"
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert (settings.production, settings.allowed_hosts) == (False, [])
    assert settings.time_zone == "UTC"


def test_every_setting_is_described_and_has_a_default() -> None:
    for field in Settings.model_fields.values():
        assert field.description
        assert not field.is_required()


def test_the_groups_of_the_bot_have_languages_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELEGRAM_CHATS", "-1001234567890=es, -4242,")
    assert load_settings().telegram_chats == {-1001234567890: "es", -4242: None}


def test_the_settings_are_read_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_settings()
    monkeypatch.setenv("DIRECTORY_PORT", "9000")
    assert load_settings() is first


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("POSTGRES_URL", "mysql://bot:hunter2@host/db", "must look like postgresql://"),
        ("POSTGRES_URL", "hunter2", "must look like postgresql://"),
        ("POSTGRES_URL", "  ", "must look like postgresql://"),
        ("POSTGRES_URL", "postgresql://bot:hunter2@host:many/db", "must look like postgresql://"),
        ("POSTGRES_URL", "postgresql://bot:hunter2@host:99999/db", "must look like postgresql://"),
        ("POSTGRES_URL", "postgresql://bot:hunter2@host:0/db", "must look like postgresql://"),
        ("POSTGRES_URL", "postgresql://bot:hunt/er2@host/db", "must look like postgresql://"),
        ("POSTGRES_URL", "postgresql://bot:hunt#er2@host/db", "must look like postgresql://"),
        ("POSTGRES_URL", "postgresql://bot:hunt@er2@host/db", "must look like postgresql://"),
        ("POSTGRES_URL", "postgresql://bot:5432?hunter2@host/db", "must look like postgresql://"),
        ("POSTGRES_URL", "postgresql://bot:hunter2@one,,two/db", "must look like postgresql://"),
        ("POSTGRES_URL", "postgresql://bot:hunter2@[::1/db", "must look like postgresql://"),
        ("DIRECTORY_PORT", "eighty", "valid integer"),
        ("DIRECTORY_PORT", "65536", "less than or equal to 65535"),
        ("DIRECTORY_PORT", "-1", "greater than or equal to 0"),
        ("DIRECTORY_POOL_MAX_SIZE", "0", "greater than or equal to 1"),
        ("DIRECTORY_POOL_MAX_SIZE", "1001", "less than or equal to 1000"),
        ("DIRECTORY_POOL_MAX_SIZE", "9" * 5000, "exceeded maximum size"),
        ("DIRECTORY_ADMIN_PASSWORD", "hunter2hunt", "must have 12 to 128 characters"),
        ("DIRECTORY_ADMIN_PASSWORD", "hunter2" * 20, "must have 12 to 128 characters"),
        ("DIRECTORY_ADMIN_PASSWORD", "hunter2hunter2", "is too easy to guess"),
        ("DIRECTORY_MFA_KEY", "hunter2", "must have 32 characters or more"),
        ("DIRECTORY_ADMIN_USERNAME", "x" * 101, "at most 100 characters"),
        ("DIRECTORY_ADMIN_EMAIL", "x" * 256, "at most 255 characters"),
        ("DIRECTORY_BOT_USERNAME", "t.me/hunter_bot", "must be the username of a Telegram bot"),
        ("DIRECTORY_BOT_USERNAME", "@@hunter_bot", "must be the username of a Telegram bot"),
        ("DIRECTORY_PRODUCTION", "perhaps", "valid boolean"),
        ("POSTGRES_READ_URL", "postgresql://secret@host", "POSTGRES_READ_URL needs POSTGRES_URL"),
        ("POSTGRES_READ_URL", "mysql://secret@host", "POSTGRES_READ_URL"),
        ("DIRECTORY_READ_LAG_SECONDS", "0", "DIRECTORY_READ_LAG_SECONDS"),
        ("DIRECTORY_PRODUCTION", "true", "DIRECTORY_ALLOWED_HOSTS must be set together"),
        ("DIRECTORY_ALLOWED_HOSTS", "example.org", "DIRECTORY_PRODUCTION"),
        (
            "DIRECTORY_TIME_ZONE",
            "Mexico/Huntville",
            "must be the name of a time zone, such as America/Mexico_City",
        ),
        ("DIRECTORY_TIME_ZONE", "Europe", "must be the name of a time zone"),
        ("DIRECTORY_TIME_ZONE", "../../../etc/passwd", "must be the name of a time zone"),
        ("DIRECTORY_TIME_ZONE", "x" * 5000, "must be the name of a time zone"),
        ("TELEGRAM_BOT_TOKEN", "hunter2", "must look like 123456789:AAH"),
        ("TELEGRAM_BOT_TOKEN", "123:hunt er2", "must look like 123456789:AAH"),
        ("TELEGRAM_API_URL", "ftp://hunter", "must look like https://"),
        ("TELEGRAM_WEBHOOK_URL", "https://user@hunter/", "must look like https://"),
        ("TELEGRAM_WEBHOOK_URL", "https://hunter:0/", "must look like https://"),
        ("TELEGRAM_WEBHOOK_URL", "https://hunter/?a=b", "must look like https://"),
        ("TELEGRAM_WEBHOOK_URL", "https://[hunter/", "must look like https://"),
        ("TELEGRAM_CHATS", "@hunters", "must look like -1001234567890=es"),
        ("TELEGRAM_CHATS", "-1001234567890,-1001234567890=es", "must look like -100"),
        ("TELEGRAM_CHATS", "2001234567890", "must look like -1001234567890=es"),
        ("DIRECTORY_TYPO", "hunter2", "there is no such setting"),
        ("directory_typo", "hunter2", "there is no such setting"),
    ],
)
def test_the_error_for_a_wrong_value_is_one_line_that_names_the_variable_but_not_the_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, complaint: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as raised:
        load_settings()
    line = str(raised.value)
    assert name.upper() in line
    assert complaint in line
    assert len(line.splitlines()) == 1
    shown = "".join(traceback.format_exception(raised.value))
    assert "hunt" not in shown
    assert len(value) < 4 or value not in shown
    assert raised.value.__context__ is None


def test_one_error_names_all_wrong_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIRECTORY_PORT", "eighty")
    monkeypatch.setenv("POSTGRES_URL", "nonsense")
    with pytest.raises(ConfigurationError, match=r"^POSTGRES_URL: .*; DIRECTORY_PORT: .*\.$"):
        load_settings()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://bot:secret@host:5432/db",
        "postgres://host",
        "postgresql:///db?host=/var/run/postgresql",
        "postgresql://bot:p%40ss@[::1]:5433/db?sslmode=require",
        "postgresql://bot@one:5432,two:5433/db?target_session_attrs=read-write",
        "postgresql://bot@/db?host=/tmp/directory&port=5433",
    ],
)
def test_every_form_of_url_that_asyncpg_reads_is_accepted(url: str) -> None:
    assert is_postgres_url(url)


def test_the_settings_show_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_URL", f"postgresql://bot:{SECRET}@host/db")
    monkeypatch.setenv("DIRECTORY_ADMIN_PASSWORD", SECRET)
    settings = load_settings()
    assert settings.admin_password is not None
    assert settings.admin_password.get_secret_value() == SECRET
    for shown in (
        repr(settings),
        str(settings),
        settings.model_dump_json(),
        repr(settings.model_dump()),
    ):
        assert SECRET not in shown


def test_the_error_for_another_setting_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_URL", f"postgresql://bot:{SECRET}@host/db")
    monkeypatch.setenv("DIRECTORY_ADMIN_PASSWORD", SECRET)
    monkeypatch.setenv("DIRECTORY_PRODUCTION", "1")
    with pytest.raises(ConfigurationError) as raised:
        load_settings()
    assert SECRET not in "".join(traceback.format_exception(raised.value)) + repr(raised.value)


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = load_settings()
    load_settings.cache_clear()
    for name in [*VARIABLES, "DIRECTORY_TYPO"]:
        monkeypatch.setenv(name, "")
    assert load_settings() == defaults


@pytest.mark.parametrize("written", ["a.org,b.org", " a.org , b.org ", "a.org,,b.org,"])
def test_hosts_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv("DIRECTORY_PRODUCTION", "yes")
    monkeypatch.setenv("DIRECTORY_ALLOWED_HOSTS", written)
    assert load_settings().allowed_hosts == ["a.org", "b.org"]


def test_the_time_zone_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIRECTORY_TIME_ZONE", "America/Mexico_City")
    assert load_settings().time_zone == "America/Mexico_City"


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().port = 1


def test_a_file_in_the_working_directory_is_read_and_the_environment_wins(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "DIRECTORY_PORT=9001\nDIRECTORY_SITE_NAME=Our place\nSOMETHING_ELSE=1\n"
    )
    result = run("-c", LOAD, directory=tmp_path, DIRECTORY_PORT="9002")
    assert result.returncode == 0, result.stderr
    assert "port=9002" in result.stdout
    assert "site_name='Our place'" in result.stdout


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"DIRECTORY_PORT=eighty\n", "DIRECTORY_PORT: input should be a valid integer"),
        (b"DIRECTORY_TYPO=1\n", "DIRECTORY_TYPO: there is no such setting."),
        (b"POSTGRES_URL=hunter2\n", "POSTGRES_URL: must look like"),
        (
            b"DIRECTORY_SITE_NAME=hunter2\xff\n",
            "The file .env can't be read, or is not UTF-8 text.",
        ),
    ],
)
def test_a_wrong_file_ends_a_program_with_one_line_and_exit_code_1(
    tmp_path: Path, content: bytes, complaint: str
) -> None:
    (tmp_path / ".env").write_bytes(content)
    result = run("-c", LOAD, directory=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
    assert complaint in result.stderr
    assert "hunter2" not in result.stderr


def test_a_wrong_variable_ends_a_program_with_one_line_and_exit_code_1(tmp_path: Path) -> None:
    result = run("-c", LOAD, directory=tmp_path, DIRECTORY_ADMIN_PASSWORD="hunter2")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "DIRECTORY_ADMIN_PASSWORD: must have 12 to 128 characters.\n"


def test_a_wrong_variable_ends_the_piccolo_command_with_one_line_and_exit_code_1() -> None:
    result = run(
        *("-m", "piccolo.main", "migrations", "check"),
        directory=PROJECT,
        POSTGRES_URL="mysql://bot:hunter2@host/db",
    )
    assert result.returncode == 1
    assert result.stderr.startswith("POSTGRES_URL: must look like postgresql://")
    assert len(result.stderr.splitlines()) == 1
    assert "hunter2" not in result.stdout + result.stderr


@hypothesis_settings(deadline=None, derandomize=True)
@given(
    st.sampled_from(VARIABLES),
    st.text() | st.binary().map(os.fsdecode) | st.from_regex(r"postgres(ql)?://.*"),
)
def test_any_text_in_any_variable_gives_settings_or_an_error_of_one_line(
    name: str, text: str
) -> None:
    try:
        value = os.fsdecode(os.fsencode(text)).replace("\0", "")
    except UnicodeEncodeError:
        return  # an environment variable can't hold this text
    load_settings.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(name, value)
        try:
            load_settings()
            return
        except ConfigurationError as error:
            line = str(error)
    assert name in line
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("ACQUIRE_TIMEOUT", "6", "ACQUIRE_TIMEOUT must not be longer than DIRECTORY_CALL_TIMEOUT"),
        ("STATEMENT_TIMEOUT", "6", "STATEMENT_TIMEOUT must not be longer than DIRECTORY_CALL"),
        ("LOCK_TIMEOUT", "5.1", "LOCK_TIMEOUT must not be longer than DIRECTORY_CALL_TIMEOUT"),
        ("LONG_STATEMENT_TIMEOUT", "4", "TIMEOUT must not be shorter than DIRECTORY_CALL_TIMEOUT"),
    ],
)
def test_a_limit_that_contradicts_the_one_of_a_call_is_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, problem: str
) -> None:
    monkeypatch.setenv(f"DIRECTORY_{variable}", value)
    with pytest.raises(ConfigurationError, match=problem):
        load_settings()
    load_settings.cache_clear()
    monkeypatch.setenv("DIRECTORY_CALL_TIMEOUT", "3" if value == "4" else "6")
    load_settings()


def test_a_call_may_be_shorter_than_the_default_of_its_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DIRECTORY_CALL_TIMEOUT", "1")
    assert load_settings().call_timeout == 1


@pytest.mark.parametrize(
    "host", ["*", "*.example.org", "directory.example.org:8443", "https://directory.example.org"]
)
def test_a_text_that_is_no_host_name_is_refused(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("DIRECTORY_PRODUCTION", "true")
    monkeypatch.setenv("DIRECTORY_ALLOWED_HOSTS", host)
    with pytest.raises(ConfigurationError, match="DIRECTORY_ALLOWED_HOSTS must be names"):
        load_settings()


def test_host_names_are_in_lower_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIRECTORY_PRODUCTION", "true")
    monkeypatch.setenv("DIRECTORY_ALLOWED_HOSTS", "Directory.Example.org")
    assert load_settings().allowed_hosts == ["directory.example.org"]
