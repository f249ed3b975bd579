"""Bring the catalogs of translations up to date with the texts of the code: `make messages`.

A new text is added without a translation, and a text that the code no longer has is removed.
"""

from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.pofile import read_po, write_po

from community_directory.constraints import CONSTRAINT_MESSAGES
from community_directory.language import DEFAULT_LOCALES, DOMAIN, LOCALE_PATH

PROJECT = Path(__file__).parent.parent
PACKAGE = "community_directory"
METHODS = [
    ("**/piccolo_migrations/**", "ignore"),
    ("**.py", "python"),
    ("web/templates/*.html", "jinja2"),
]
KEYWORDS = DEFAULT_KEYWORDS | {
    "gettext_noop": None,
    "ngettext_noop": (1, 2),
    "rich": None,
    "nrich": (1, 2),
}
CREATED = datetime(2026, 11, 29, tzinfo=UTC)
"""The time in the header of every catalog: a real one would differ at each run."""
HEADER = """\
# Translations of Community Directory.
#
# Write each translation into the msgstr below its English text, and keep the names in braces.
# `make messages` adds the new texts and removes the old ones."""


def extract_messages() -> Catalog:
    """Return a catalog of all texts of the code, without translations."""
    catalog = _make_catalog(None)
    found = extract_from_dir(PROJECT / PACKAGE, METHODS, keywords=KEYWORDS)
    for name, _line, message, _comments, context in sorted(found, key=lambda entry: entry[:2]):
        catalog.add(message, locations=[(f"{PACKAGE}/{name}", 0)], context=context)
    for constraint in CONSTRAINT_MESSAGES.values():
        catalog.add(constraint.message, locations=[(f"{PACKAGE}/constraints.py", 0)])
    return catalog


def read_catalog(path: Path, language: str) -> Catalog:
    """Return the catalog of a file, or an empty one if there is no file."""
    if not path.exists():
        return _make_catalog(language)
    with path.open("rb") as file:
        return read_po(file, locale=language, domain=DOMAIN)


def update_catalog(language: str) -> tuple[Path, bytes]:
    """Return the file of a language, and its content with the present texts."""
    path = LOCALE_PATH / language / "LC_MESSAGES" / f"{DOMAIN}.po"
    present, template = read_catalog(path, language), extract_messages()
    updated = _make_catalog(language)
    for message in template:
        if message.id:
            known = present.get(message.id, message.context)
            updated.add(
                message.id,
                known.string if known else None,
                locations=message.locations,
                flags=message.flags | ({"fuzzy"} if known and known.fuzzy else set()),
                context=message.context,
            )
    written = BytesIO()
    write_po(written, updated, width=96, include_lineno=False)
    return path, written.getvalue()


def _make_catalog(language: str | None) -> Catalog:
    return Catalog(
        locale=language,
        domain=DOMAIN,
        header_comment=HEADER,
        project="Community Directory",
        version="1",
        msgid_bugs_address="https://github.com/community-directory/community-directory/issues",
        last_translator="The Community Directory maintainers",
        language_team="The Community Directory maintainers",
        creation_date=CREATED,
        revision_date=CREATED,
        fuzzy=False,
    )


def main() -> None:
    """Write the catalog of every language but English."""
    for language in DEFAULT_LOCALES:
        if language != "en":
            path, content = update_catalog(language)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


if __name__ == "__main__":
    main()
