"""Recognizes files that people take for a JSON export, by their first bytes."""

from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE, BOM_UTF32_LE

NOT_JSON = "is not JSON: export the chat as JSON"
_EXPORT_AGAIN = "export the chat again, in the format JSON"
_UNPACK = "unpack it, and import the JSON file in it"
_ENCODE_AGAIN = "save it as UTF-8, or export the chat again"

_UTF16 = f"is not JSON in UTF-8, but in UTF-16: {_ENCODE_AGAIN}"
_HTML = f"is not JSON, but an HTML page: {_EXPORT_AGAIN}"
_CSV = f"is not JSON, but CSV: {_EXPORT_AGAIN}"
_ARCHIVE = f"is not JSON, but a compressed file: {_UNPACK}"
# UTF-32 comes first, because its mark begins with that of UTF-16.
_SIGNATURES = (
    (BOM_UTF32_LE, f"is not JSON in UTF-8, but in UTF-32: {_ENCODE_AGAIN}"),
    (BOM_UTF32_BE, f"is not JSON in UTF-8, but in UTF-32: {_ENCODE_AGAIN}"),
    (BOM_UTF16_LE, _UTF16),
    (BOM_UTF16_BE, _UTF16),
    (b"{\0", _UTF16),
    (b"[\0", _UTF16),
    (b"\0{", _UTF16),
    (b"\0[", _UTF16),
    (b"PK\x03\x04", f"is not JSON, but a ZIP archive: {_UNPACK}"),
    (b"PK\x05\x06", f"is not JSON, but an empty ZIP archive: {_EXPORT_AGAIN}"),
    (b"\x1f\x8b", f"is not JSON, but compressed with gzip: {_UNPACK}"),
    (b"BZh", _ARCHIVE),
    (b"\xfd7zXZ\0", _ARCHIVE),
    (b"7z\xbc\xaf\x27\x1c", _ARCHIVE),
    (b"Rar!\x1a\x07", _ARCHIVE),
    (b"\x28\xb5\x2f\xfd", _ARCHIVE),
    (b"%PDF-", f"is not JSON, but a PDF document: {_EXPORT_AGAIN}"),
    (b"{\\rtf", f"is not JSON, but a text document: {_EXPORT_AGAIN}"),
)
# The first lines of DiscordChatExporter's other formats.
_TEXT_SIGNATURES = (
    (b"<", _HTML),
    (b"AuthorID,Author,Date,", _CSV),
    (b'"AuthorID","Author","Date",', _CSV),
    (b"=====", f"is not JSON, but plain text: {_EXPORT_AGAIN}"),
)


def describe_wrong_type(head: bytes) -> str | None:
    """Return what is wrong with a file that begins with these bytes, or None if it may be JSON.

    The text follows the name of the file in a message, and says what to do.
    """
    if not head:
        return "is empty"
    text = head.removeprefix(BOM_UTF8).lstrip()
    for content, signatures in ((head, _SIGNATURES), (text, _TEXT_SIGNATURES)):
        for signature, problem in signatures:
            if content.startswith(signature):
                return problem
    return None
