"""Files that people take for a JSON export are recognized by their first bytes."""

import bz2
import gzip
import io
import lzma
import zipfile
from zoneinfo import ZoneInfo

import pytest

from community_directory.imports import discord, telegram
from community_directory.imports.export import NotJson
from community_directory.imports.file_types import describe_wrong_type
from tests.imports.exports import chat, discord_channel, encode_json, message

TEXT = encode_json(chat(message()))


def make_zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("result.json", TEXT)
    return file.getvalue()


AGAIN = "export the chat again, in the format JSON"
UNPACK = "unpack it, and import the JSON file in it"
ENCODE = "save it as UTF-8, or export the chat again"
WRONG_TYPES = {
    "empty": (b"", "is empty"),
    "UTF-16": (TEXT.decode().encode("utf-16"), f"is not JSON in UTF-8, but in UTF-16: {ENCODE}"),
    "UTF-16-BE": (
        b"\xfe\xff" + TEXT.decode().encode("utf-16-be"),
        f"is not JSON in UTF-8, but in UTF-16: {ENCODE}",
    ),
    "UTF-16 without a mark": (
        TEXT.decode().encode("utf-16-le"),
        f"is not JSON in UTF-8, but in UTF-16: {ENCODE}",
    ),
    "UTF-16-BE without a mark": (
        TEXT.decode().encode("utf-16-be"),
        f"is not JSON in UTF-8, but in UTF-16: {ENCODE}",
    ),
    "UTF-32": (TEXT.decode().encode("utf-32"), f"is not JSON in UTF-8, but in UTF-32: {ENCODE}"),
    "ZIP": (make_zip(), f"is not JSON, but a ZIP archive: {UNPACK}"),
    "empty ZIP": (b"PK\x05\x06" + bytes(18), f"is not JSON, but an empty ZIP archive: {AGAIN}"),
    "gzip": (gzip.compress(TEXT), f"is not JSON, but compressed with gzip: {UNPACK}"),
    "bzip2": (bz2.compress(TEXT), f"is not JSON, but a compressed file: {UNPACK}"),
    "xz": (lzma.compress(TEXT), f"is not JSON, but a compressed file: {UNPACK}"),
    "7-Zip": (b"7z\xbc\xaf\x27\x1c\0\4", f"is not JSON, but a compressed file: {UNPACK}"),
    "RAR": (b"Rar!\x1a\x07\x01\0", f"is not JSON, but a compressed file: {UNPACK}"),
    "Zstandard": (b"\x28\xb5\x2f\xfd\x04", f"is not JSON, but a compressed file: {UNPACK}"),
    "PDF": (b"%PDF-1.7\n", f"is not JSON, but a PDF document: {AGAIN}"),
    "RTF": (b"{\\rtf1\\ansi", f"is not JSON, but a text document: {AGAIN}"),
    "HTML": (b"<!DOCTYPE html>\n<html>", f"is not JSON, but an HTML page: {AGAIN}"),
    "HTML with a mark": (
        b"\xef\xbb\xbf\n<!DOCTYPE html>",
        f"is not JSON, but an HTML page: {AGAIN}",
    ),
    "CSV": (
        b"AuthorID,Author,Date,Content,Attachments,Reactions\n",
        f"is not JSON, but CSV: {AGAIN}",
    ),
    "text": (b"=" * 62 + b"\nGuild: Frutero\n", f"is not JSON, but plain text: {AGAIN}"),
    "other text": (b"hello", "is not JSON: export the chat as JSON"),
    "other CSV": (b"member_id,name\n#1,Ana\n", "is not JSON: export the chat as JSON"),
}


@pytest.mark.parametrize(
    ("head", "problem"),
    list(WRONG_TYPES.values()),
    ids=list(WRONG_TYPES),
)
@pytest.mark.parametrize("platform", ["telegram", "discord"])
def test_a_file_of_another_type_gets_a_sentence_that_says_what_to_do(
    head: bytes, problem: str, platform: str
) -> None:
    file = io.BytesIO(head)
    items = (
        discord.read(file) if platform == "discord" else telegram.read(file, zone=ZoneInfo("UTC"))
    )
    with pytest.raises(NotJson) as error:
        list(items)
    assert (error.value.problem, str(error.value)) == (problem, f"This file {problem}.")
    assert error.value.position == 0


@pytest.mark.parametrize(
    "text", [TEXT, b" \n" + TEXT, b"\xef\xbb\xbf" + TEXT, encode_json(discord_channel())]
)
def test_json_is_not_taken_for_another_type(text: bytes) -> None:
    assert describe_wrong_type(text) is None
