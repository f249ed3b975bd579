"""The fields of a profile that people fill in themselves: questions, suggestions and checks."""

import time
from dataclasses import dataclass

from aiogram.types import User

from community_directory.database import Statement, engine
from community_directory.error_texts import gettext_noop
from community_directory.errors import InvalidInput
from community_directory.language import DEFAULT_ROLES, Translation, find_country
from community_directory.queries.identifiers import (
    normalize_github_username,
    normalize_name,
    visible_name,
)
from community_directory.queries.values import check_texts
from community_directory.tables import CommunityMember

MAX_SUGGESTIONS = 8
SUGGESTIONS_SECONDS = 3600
"""The time after which the common roles and countries are counted again."""
DEFAULT_COUNTRIES = ("Mexico", "Argentina", "Colombia", "Spain", "United States", "Brazil")


@dataclass(frozen=True)
class Field:
    """A field of a profile, with the texts for people, which are translated.

    Attributes:
        label: The name of the field.
        question: The question for its value.
        is_required: Whether it can't be left out.
    """

    label: str
    question: str
    is_required: bool = False


FIELDS = {
    "name": Field(
        gettext_noop("Name"), gettext_noop("What is your name, as others should see it?"), True
    ),
    "primary_role": Field(
        gettext_noop("Role"),
        gettext_noop("What do you mainly do? Choose a role, or write your own."),
        True,
    ),
    "organization": Field(
        gettext_noop("Organization"),
        gettext_noop("Which organization do you work for or belong to?"),
    ),
    "country": Field(gettext_noop("Country"), gettext_noop("Which country do you live in?")),
    "github_username": Field(
        gettext_noop("GitHub"),
        gettext_noop(
            "What is your username on GitHub? You can prove later that the account is yours."
        ),
    ),
}
"""The fields by their columns, in the order of the questions."""

_COUNT_VALUES = """
SELECT {0} FROM community_members
WHERE status = 'active' AND deleted_at IS NULL AND NOT is_bot AND {0} IS NOT NULL
GROUP BY {0} HAVING count(*) > 1 ORDER BY count(*) DESC, {0} LIMIT 8
"""
LIST_COMMON_VALUES = {
    "primary_role": Statement(_COUNT_VALUES.format("primary_role")),
    "country": Statement(_COUNT_VALUES.format("country")),
}
"""The statement that lists what several members have in common, by column."""

_common_values: dict[str, tuple[float, list[str]]] = {}


def clean_value(field: str, text: str) -> str:
    """Return the value of a field as it is stored.

    Raises:
        InvalidInput: The text is too long, or can't be a value of the field.
    """
    # A character that controls the direction of the text would turn the rest of a list's line.
    line = " ".join((visible_name(text) or "").split())
    if field in ("name", "primary_role"):
        value: str | None = normalize_name(line, field)
    elif field == "github_username":
        value = normalize_github_username(line)
    elif field == "country":
        value = find_country(line) or line
    else:
        value = line
    if not value:
        raise InvalidInput("This can't be empty.", field=field, code="value_missing")
    check_texts(CommunityMember, **{field: value})
    return value


async def suggest_values(field: str, user: User, translation: Translation) -> list[str]:
    """Return values that a person may want to choose, the likeliest one first."""
    if field == "name":
        return [user.full_name] if user.full_name.strip() else []
    if field == "primary_role":
        return _merge(await _find_common_values(field), DEFAULT_ROLES)
    if field == "country":
        own = find_country(translation.locale.territory or "")
        common = await _find_common_values(field)
        return _merge([own] if own else [], common, DEFAULT_COUNTRIES)
    return []


def show_value(field: str, value: str | None, translation: Translation) -> str:
    """Return a value as people read it; a missing one is a dash."""
    if not value:
        return "—"
    if field == "primary_role":
        return translation.role(value)
    return translation.country(value) if field == "country" else value


def forget_suggestions() -> None:
    """Count the common roles and countries again at the next question."""
    _common_values.clear()


async def _find_common_values(column: str) -> list[str]:
    until, values = _common_values.get(column, (0.0, []))
    if time.monotonic() >= until:
        values = [record[0] for record in await engine.read(LIST_COMMON_VALUES[column])]
        _common_values[column] = (time.monotonic() + SUGGESTIONS_SECONDS, values)
    return values


def _merge(*lists: list[str] | tuple[str, ...]) -> list[str]:
    """Return the values of several lists without repetitions, at most `MAX_SUGGESTIONS`."""
    return list(dict.fromkeys(value for each in lists for value in each))[:MAX_SUGGESTIONS]
