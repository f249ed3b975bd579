"""Texts in the languages of the people: the catalogs are complete, and values are shown right."""

import re
import string
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest

from community_directory import errors
from community_directory.calendar import load_zone
from community_directory.constraints import CONSTRAINT_MESSAGES
from community_directory.error_texts import (
    INVALID_FIELD,
    INVALID_VALUE,
    UNKNOWN_ERROR,
    find_error_text,
)
from community_directory.errors import (
    DirectoryError,
    InvalidInput,
    InvitationQuotaExceeded,
    OperatorError,
    UserError,
)
from community_directory.language import (
    DEFAULT_LOCALES,
    DEFAULT_ROLES,
    DOMAIN,
    LOCALE_PATH,
    Translation,
    find_country,
    find_translation,
)
from tools.update_catalogs import extract_messages, read_catalog

LANGUAGES = sorted(DEFAULT_LOCALES.keys() - {"en"})
MOMENT = datetime(2026, 11, 29, 18, 30, tzinfo=UTC)
ACT_ID = "0190f1a0-0000-7000-8000-000000000001"
ERRORS: list[UserError] = [
    InvalidInput("This must be a JSON object.", field="profile_data"),
    InvalidInput("The database does not accept this value."),
    InvalidInput("The name can't be empty.", field="name", code="value_missing"),
    errors.text_too_long("primary_role", 60, 50),
    errors.InvalidCursor(),
    errors.EventArchived(MOMENT),
    errors.MemberNotFound("#12"),
    errors.MemberMerged("#12", "#7"),
    errors.MemberExists("This account already belongs to member #12.", "#12"),
    errors.AmbiguousMember(["#7", "#12"]),
    errors.AccountTaken("#12"),
    errors.LinkCodeInvalid(),
    errors.TooManyTries(MOMENT),
    errors.AlreadyMember("#12"),
    errors.MemberBanned(),
    errors.BotRefused(),
    errors.MemberNotActive("#12", "suspended"),
    errors.PermissionRequired("#12", "review"),
    errors.ProfileChanged("#12", "country"),
    errors.StatusChangeRefused("#12", "banned", "pending"),
    errors.StatusChangeRefused("#12", "active", "active"),
    errors.MergeRefused("#12 was removed. Restore that member first.", "#12"),
    errors.NotMerged("#12"),
    errors.NoteNotFound(),
    errors.ActNotFound(ACT_ID),
    errors.ActNotUndoable(ACT_ID),
    errors.ActUndone(ACT_ID),
    errors.UndoExpired(ACT_ID, MOMENT),
    errors.InvitationNotFound("ABCD2345"),
    errors.InvitationExpired("ABCD2345", MOMENT),
    errors.InvitationCancelled("ABCD2345"),
    errors.InvitationUsed("ABCD2345"),
    errors.InvitationForSomeoneElse("ABCD2345"),
    InvitationQuotaExceeded("#12", 0, None, None),
    InvitationQuotaExceeded("#12", 1234, None, MOMENT),
    InvitationQuotaExceeded("#12", 1234, timedelta(days=7), MOMENT),
]
"""An error of each class and sentence that a person can read."""
MESSAGES_WITH_OTHER_DATA = ("invalid_input", "text_too_long", "merge_refused", "member_exists")
"""The codes whose message has parts that the error does not keep."""


def subclasses(kind: type[DirectoryError]) -> Iterator[type[DirectoryError]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from subclasses(subclass)


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated_and_up_to_date(language: str) -> None:
    catalog = read_catalog(LOCALE_PATH / language / "LC_MESSAGES" / f"{DOMAIN}.po", language)
    texts = {(message.id, message.context) for message in extract_messages()}
    assert {(message.id, message.context) for message in catalog} == texts, "run `make messages`"
    assert not catalog.obsolete
    for message in catalog:
        ids = [message.id] if isinstance(message.id, str) else [*message.id]
        singular, plural = ids[0], ids[-1]
        string = message.string
        translated = list(string) if isinstance(string, tuple) else [str(string or "")]
        if singular:
            assert all(translated), f"{singular!r} is not translated"
            assert not message.fuzzy, f"the translation of {singular!r} is unfinished"
            assert translated != [singular] or " " not in singular, singular
        sources = [singular, *[plural] * (len(translated) - 1)]
        for text, source in zip(translated, sources, strict=True) if singular else ():
            assert placeholders(text) == placeholders(source), source
            assert (text[-1] in "?!.…:") == (source[-1] in "?!.…:"), source


def test_every_error_for_people_has_a_text_of_its_own() -> None:
    for kind in subclasses(UserError):
        if kind.__module__ == errors.__name__ and kind.__doc__:
            is_base = kind.__doc__.startswith("The base class")
            samples = [error for error in ERRORS if type(error) is kind]
            assert is_base or samples, f"{kind.__name__} is missing from ERRORS"
            general = (UNKNOWN_ERROR, INVALID_FIELD, INVALID_VALUE)
            texts = [find_error_text(error) for error in samples if type(error) is not InvalidInput]
            assert not set(texts) & set(general), kind.__name__


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
def test_the_text_of_an_error_is_its_message(error: UserError) -> None:
    if error.code not in MESSAGES_WITH_OTHER_DATA:
        pattern = re.sub(r"\\{\w+\\}", ".+", re.escape(find_error_text(error)))
        assert re.fullmatch(pattern, str(error)), find_error_text(error)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
def test_an_error_is_told_in_each_language_with_its_data(error: UserError, language: str) -> None:
    sentence = find_translation(language).error(error)
    assert find_translation("en").error(error) == str(error)
    assert sentence != str(error)
    assert "{" not in sentence
    assert sentence.endswith(".")
    if isinstance(error, InvitationQuotaExceeded) and error.limit:
        assert "1,234" in sentence


def test_data_of_an_error_is_shown_as_people_write_it() -> None:
    spanish = find_translation("es")
    refused = errors.StatusChangeRefused("#12", "banned", "not_member")
    assert "de «expulsado» a «contacto»" in spanish.error(refused)
    assert "«rol»" in spanish.error(errors.text_too_long("primary_role", 60, 50))
    assert "29 de noviembre de 2026, 18:30 UTC" in spanish.error(errors.EventArchived(MOMENT))
    hostile = spanish.error(errors.MemberNotFound("<b>*{name}\u202e" * 40))
    assert not set("<*{\u202e") & set(hostile)
    assert len(hostile) < 200


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_rule_of_the_database_is_told_in_each_language(language: str) -> None:
    translation = find_translation(language)
    for name, rule in CONSTRAINT_MESSAGES.items():
        error = InvalidInput(rule.message, field=rule.field, code=name)
        assert translation.error(error) != rule.message


def test_an_error_for_the_operator_tells_people_to_try_later() -> None:
    error = errors.DatabaseUnavailable("10.0.0.5 does not answer.")
    assert find_translation("en").error(error) == OperatorError.public_message
    assert find_translation("es").error(error).startswith("El directorio no está disponible")
    assert find_translation("es").error(UserError("Unknown.")) == "No se puede hacer eso."


@pytest.mark.parametrize(
    ("code", "language", "territory"),
    [
        ("es", "es", "419"),
        ("es-MX", "es", "MX"),
        ("es_AR", "es", "AR"),
        ("ES", "es", "419"),
        ("es-xx", "es", "419"),
        ("en-GB", "en", "GB"),
        ("pt-BR", "en", None),
        ("", "en", None),
        (None, "en", None),
        ("../../etc/passwd", "en", None),
        ("es" * 10_000, "en", None),
    ],
)
def test_a_language_code_chooses_language_and_country(
    code: str | None, language: str, territory: str | None
) -> None:
    translation = find_translation(code)
    assert (translation.language, translation.locale.territory) == (language, territory)


def test_texts_numbers_and_days_are_those_of_the_language() -> None:
    mexican, spanish = find_translation("es-MX"), find_translation("es-ES")
    assert mexican.format_number(1_234_567) == "1,234,567"
    assert spanish.format_number(1_234_567) == "1.234.567"
    assert find_translation("en").format_date(date(2026, 11, 29)) == "November 29, 2026"
    assert mexican.format_date(date(2026, 11, 29)) == "29 de noviembre de 2026"
    zone = "America/Mexico_City"
    assert find_translation("en").format_datetime(MOMENT, zone) == "November 29, 2026, 12:30 CST"
    assert mexican.gettext("no such {text}", text="{x}") == "no such {x}"
    assert mexican.gettext("no such {text}") == "no such {text}"


@pytest.mark.parametrize(
    ("number", "english", "spanish"),
    [
        (0, "0", "0"),
        (9_999, "9,999", "9,999"),
        (10_000, "10K", "10\xa0k"),
        (12_345, "12.3K", "12.3\xa0k"),
        (100_000, "100K", "100\xa0k"),
        (1_500_000, "1.5M", "1.5\xa0M"),
    ],
)
def test_a_number_for_a_narrow_column_is_abbreviated(
    number: int, english: str, spanish: str
) -> None:
    assert find_translation("en").format_brief_number(number) == english
    assert find_translation("es-MX").format_brief_number(number) == spanish


def test_a_day_below_a_chart_is_short() -> None:
    day = date(2026, 11, 29)
    assert find_translation("en").format_axis_day(day) == "Nov 29"
    assert find_translation("es-MX").format_axis_day(day) == "29 nov"
    assert find_translation("en").format_axis_day(day, by_month=True) == "Nov 2026"


def test_a_time_has_its_day_unless_that_is_today() -> None:
    translation, now = find_translation("es"), datetime.now(UTC)
    today = now.astimezone(load_zone(None)).replace(hour=9, minute=8)
    assert translation.format_clock(today.astimezone(UTC)) == "09:08"
    assert translation.format_clock(today - timedelta(days=400)).endswith(", 09:08")


def test_a_number_chooses_singular_or_plural() -> None:
    def count(translation: Translation, number: int) -> str:
        return translation.ngettext("{number} point", "{number} points", number, number=number)

    assert count(find_translation("en"), 1) == "1 point"
    assert count(find_translation("es"), 1) == "1 punto"
    assert count(find_translation("es"), 1_000_000) == "1,000,000 puntos"


@pytest.mark.parametrize(
    ("typed", "stored", "shown"),
    [
        ("mexico", "Mexico", "México"),
        (" MÉXICO ", "Mexico", "México"),
        ("mx", "Mexico", "México"),
        ("Estados Unidos", "United States", "Estados Unidos"),
        ("Perú", "Peru", "Perú"),
        ("Atlantis", None, "Atlantis"),
        ("419", None, "419"),
        ("", None, ""),
    ],
)
def test_a_country_is_known_by_its_names(typed: str, stored: str | None, shown: str) -> None:
    assert find_country(typed) == stored
    assert find_translation("es").country(stored or typed) == shown


def test_a_share_that_is_not_nothing_is_not_0_percent() -> None:
    english = find_translation("en")
    shares = (0, 0.0001, 0.0049, 0.006, 0.5, 1)
    shown = [english.format_percent(share) for share in shares]
    assert shown == ["0%", "<1%", "<1%", "1%", "50%", "100%"]
    assert english.format_signed_percent(0.001) == "+0%"


def test_the_roles_that_the_bot_suggests_are_translated() -> None:
    spanish = find_translation("es")
    for role in DEFAULT_ROLES:
        assert spanish.role(role) != role
        assert spanish.role(role.replace(" ", "_")) == spanish.role(role)
    assert spanish.role("bee_keeper") == "bee keeper"
