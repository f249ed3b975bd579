"""What people read, in their language: texts, errors, numbers, dates and names of countries.

English is the language of the code. A catalog `locale/…/community_directory.po` translates it into
another language; `make messages` brings the catalogs up to date.
"""

import re
import unicodedata
from datetime import date, datetime, timedelta
from functools import cache, lru_cache
from io import BytesIO
from pathlib import Path

from babel import Locale, UnknownLocaleError
from babel.core import get_global
from babel.dates import (
    format_date,
    format_datetime,
    format_interval,
    format_skeleton,
    format_timedelta,
)
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_compact_decimal, format_decimal, format_percent
from babel.support import NullTranslations, Translations
from babel.units import format_unit

from community_directory.calendar import load_zone
from community_directory.error_texts import WORDS, find_error_text, gettext_noop
from community_directory.errors import DirectoryError, sanitize_for_message

DOMAIN = "community_directory"
LOCALE_PATH = Path(__file__).parent / "locale"
ERROR_WORDS = frozenset({"after", "before", "field", "permission", "status"})
"""The attributes of errors whose values are names in the code, which `Translation.word` reads."""
DEFAULT_LOCALES = {"en": "en", "es": "es_419"}
"""The languages, and the locale of each for numbers and dates if no country is known."""
LANGUAGES = tuple(DEFAULT_LOCALES)
"""The languages; people who speak none of them read the first one."""
DEFAULT_ROLES = (
    gettext_noop("developer"),
    gettext_noop("designer"),
    gettext_noop("community manager"),
    gettext_noop("founder"),
    gettext_noop("writer"),
    gettext_noop("student"),
)
"""The roles that are suggested until the community has enough of its own; stored in English."""
MIN_PERCENT = 0.01
LANGUAGE_CODE_PATTERN = re.compile(r"([A-Za-z]{2,3})(?:[-_][A-Za-z0-9]{2,8}){0,3}")


class Translation:
    """The texts of one language, with the numbers and dates of one country.

    Attributes:
        language: The code of the language: "en" or "es".
        locale: The locale of numbers, dates and names of countries.
    """

    def __init__(self, language: str, locale: Locale, catalog: NullTranslations) -> None:
        self.language, self.locale, self._catalog = language, locale, catalog

    def gettext(self, text: str, /, **values: object) -> str:
        """Return the translation of an English text.

        Args:
            text: The English text: a literal, so that it gets into the catalogs.
            values: What replaces the names in braces: texts, numbers, days and times.
        """
        return self._fill(self._catalog.gettext(text), values)

    def ngettext(self, one: str, many: str, number: int, /, **values: object) -> str:
        """Return the translation of an English text for a number of things.

        Args:
            one: The English text for one thing: a literal.
            many: The English text for another number of things: a literal.
            number: The number of things.
            values: What replaces the names in braces, such as the number.
        """
        return self._fill(self._catalog.ngettext(one, many, number), values)

    def error(self, error: DirectoryError) -> str:
        """Return the sentence of an error for a person, chosen by the code of the error.

        An error for the operator has the same sentence whatever happened.
        """
        if self.language == "en":
            return error.public_message
        values = {name: self._show_error_value(name, value) for name, value in vars(error).items()}
        return self.gettext(find_error_text(error), **values)

    def word(self, name: str) -> str:
        """Return the word for a status, permission, tier or field: "primary_role" is "role"."""
        return self._catalog.gettext(WORDS[name]) if name in WORDS else name.replace("_", " ")

    def format_number(self, number: float) -> str:
        """Return a number with the separators of the locale."""
        return str(format_decimal(number, locale=self.locale))

    def format_brief_number(self, number: int) -> str:
        """Return a number for a narrow column, such as "9,999" or "12.3K"."""
        if abs(number) < 10_000:
            return self.format_number(number)
        return str(format_compact_decimal(number, fraction_digits=1, locale=self.locale))

    def format_percent(self, share: float) -> str:
        """Return a share from 0 to 1 as whole percent; little more than nothing is "<1%"."""
        if 0 < share < MIN_PERCENT / 2:
            return f"<{self._format_whole_percent(MIN_PERCENT)}"
        return self._format_whole_percent(share)

    def format_signed_percent(self, change: float) -> str:
        """Return a change such as 0.25 with its sign, as "+25%"."""
        return f"{'+' if change > 0 else ''}{self._format_whole_percent(change)}"

    def _format_whole_percent(self, share: float) -> str:
        return str(format_percent(share, locale=self.locale))

    def format_date(self, day: date) -> str:
        """Return a day, such as "November 29, 2026"."""
        return format_date(day, format="long", locale=self.locale)

    def format_datetime(self, moment: datetime, zone: str | None = None) -> str:
        """Return a time to the minute, with the name of its time zone.

        Args:
            moment: An aware time.
            zone: The name of the time zone; None means the community's time zone.
        """
        time_zone = load_zone(zone)
        day = format_date(moment.astimezone(time_zone).date(), format="long", locale=self.locale)
        time = format_datetime(moment, "HH:mm z", tzinfo=time_zone, locale=self.locale)
        return f"{day}, {time}"

    def format_short_date(self, day: date) -> str:
        """Return a day for a narrow column, such as "Nov 29, 2026"; of a time, the day it is in."""
        if isinstance(day, datetime):
            day = day.astimezone(load_zone(None)).date()
        return format_date(day, format="medium", locale=self.locale)

    def format_days(self, first: date, last: date) -> str:
        """Return the days from the first to the last one, such as "Nov 2 – 29, 2026"."""
        return format_interval(first, last, "yMMMd", locale=self.locale)

    def format_month(self, day: date, *, with_year: bool = False) -> str:
        """Return the month of a day: "Nov" for a narrow column, or "November 2026"."""
        skeleton = "yMMMM" if with_year else "MMM"
        return format_skeleton(skeleton, day, locale=self.locale)

    def format_axis_day(self, day: date, *, by_month: bool = False) -> str:
        """Return a day below a chart: "Nov 29", or its month, "Nov 2026"."""
        return format_skeleton("yMMM" if by_month else "MMMd", day, locale=self.locale)

    def format_short_datetime(self, moment: datetime) -> str:
        """Return a time to the minute in the community's time zone, such as "Nov 29, 09:12".

        It has the year unless it is the present one.
        """
        zone = load_zone(None)
        local = moment.astimezone(zone)
        skeleton = "MMMd" if local.year == datetime.now(zone).year else "yMMMd"
        day = format_skeleton(skeleton, local, locale=self.locale)
        return f"{day}, {local:%H:%M}"

    def format_clock(self, moment: datetime) -> str:
        """Return the time in the community's time zone, such as "09:12".

        It has the day unless that is today.
        """
        zone = load_zone(None)
        local = moment.astimezone(zone)
        is_today = local.date() == datetime.now(zone).date()
        return f"{local:%H:%M}" if is_today else self.format_short_datetime(moment)

    def format_duration(self, duration: timedelta) -> str:
        """Return a time span by its two largest units, such as "3 days 4 hours"."""
        minutes = max(0, int(duration.total_seconds())) // 60
        days, hours = minutes // 1440, minutes // 60 % 24
        if days >= 60:
            parts = [(days, "day")]
        elif days:
            parts = [(days, "day"), (hours, "hour")]
        else:
            parts = [(hours, "hour"), (minutes % 60, "minute")]
        shown = [part for part in parts if part[0]] or [(0, "minute")]
        return " ".join(
            format_unit(number, f"duration-{unit}", locale=self.locale) for number, unit in shown
        )

    def format_distance(self, distance: timedelta) -> str:
        """Return how far a time is from now, such as "2 days ago" or "in 40 minutes"."""
        return format_timedelta(distance, add_direction=True, locale=self.locale)

    def country(self, country: str) -> str:
        """Return the name of a country in this language; an unknown one stays as it is."""
        code = _territory_codes().get(_fold(country))
        return country if code is None else str(self.locale.territories[code])

    def role(self, role: str) -> str:
        """Return a role in this language; one of the community's own stays as it is.

        "community_manager" and "community manager" are the same role.
        """
        name = role.replace("_", " ")
        return self.gettext(name) if name in DEFAULT_ROLES else name

    def _fill(self, text: str, values: dict[str, object]) -> str:
        """Return a text with the values in the places of their names in braces."""
        if not values:
            return text
        return text.format(**{name: self.show(value) for name, value in values.items()})

    def show(self, value: object) -> str:
        """Return a value as it stands in a sentence: a number, a day or a time as it is written."""
        if isinstance(value, int):
            return self.format_number(value)
        if isinstance(value, datetime):
            return self.format_datetime(value)
        return self.format_date(value) if isinstance(value, date) else str(value)

    def _show_error_value(self, name: str, value: object) -> object:
        if name in ERROR_WORDS:
            return self.word(str(value))
        if isinstance(value, timedelta):
            return value.days
        if isinstance(value, list):
            return ", ".join(map(sanitize_for_message, value))
        return sanitize_for_message(value) if isinstance(value, str) else value


def find_translation(language_code: str | None) -> Translation:
    """Return the translation for a language code as Telegram or a browser states it.

    "es-MX" is Spanish with Mexican numbers. Any code that is unknown means English.
    """
    found = LANGUAGE_CODE_PATTERN.fullmatch(language_code or "")
    return _make_translation(found[0].replace("-", "_") if found else "en")


@lru_cache(maxsize=64)
def _make_translation(code: str) -> Translation:
    language = code.partition("_")[0].lower()
    if language not in DEFAULT_LOCALES:
        language = code = "en"
    try:
        locale = Locale.parse(code if "_" in code else DEFAULT_LOCALES[language])
    except (UnknownLocaleError, ValueError):
        locale = Locale.parse(DEFAULT_LOCALES[language])
    return Translation(language, locale, _load_catalog(language))


@cache
def _load_catalog(language: str) -> NullTranslations:
    """Return the catalog of a language, read from its .po file; English needs none."""
    if language == "en":
        return NullTranslations()
    compiled = BytesIO()
    with (LOCALE_PATH / language / "LC_MESSAGES" / f"{DOMAIN}.po").open("rb") as file:
        write_mo(compiled, read_po(file, locale=language, domain=DOMAIN))
    compiled.seek(0)
    return Translations(compiled, domain=DOMAIN)


def find_country(text: str) -> str | None:
    """Return the English name of a country, with which it is stored; None if there is no such one.

    Args:
        text: The code or the name in any of the languages, such as "mx", "Mexico" or "méxico".
    """
    code = _territory_codes().get(_fold(text))
    return None if code is None else str(Locale.parse("en").territories[code])


@cache
def _territory_codes() -> dict[str, str]:
    """Return the codes of all countries by their folded names in all languages, and by code."""
    countries = {
        code for code in get_global("territory_languages") if re.fullmatch("[A-Z]{2}", code)
    }
    codes = {code.casefold(): code for code in countries}
    for locale in map(Locale.parse, DEFAULT_LOCALES.values()):
        codes |= {
            _fold(name): code for code, name in locale.territories.items() if code in countries
        }
    return codes


def _fold(name: str) -> str:
    """Return a name without case, accents and surrounding space."""
    decomposed = unicodedata.normalize("NFKD", name.strip().casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))
