"""Where somebody returns to after the sign-in, and what they had typed when their session ended."""

import json
import re
from dataclasses import asdict, dataclass
from typing import Self
from urllib.parse import urlsplit

from starlette.datastructures import FormData
from starlette.requests import Request

MAX_KEPT_LENGTH = 200_000
"""The maximum length of a form that is kept, as JSON."""
SECRET_FIELD = re.compile("password|secret|token|mfa_code")
"""The fields that are not kept; the browser has to send them again."""

# A browser takes "//host" and "/\\host" for the address of another host, and removes spaces and
# control characters from an address.
OWN_PATH = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f-\x9f\ud800-\udfff]{0,2000}")


def find_own_path(text: object) -> str:
    """Return a path and query of ours, or "/" for anything else."""
    return text if isinstance(text, str) and OWN_PATH.fullmatch(text) else "/"


def find_present_path(request: Request, address: str) -> str:
    """Return the path and query of a page of ours at which a browser says that it is, or "/".

    The path is without the root of the app.
    """
    try:
        parts = urlsplit(address)
    except ValueError:  # no browser sends it
        return "/"
    if parts.netloc != request.url.netloc:
        return "/"
    query = f"?{parts.query}" if parts.query else ""
    return find_own_path(parts.path.removeprefix(request.scope.get("root_path", "")) + query)


@dataclass(frozen=True, slots=True)
class KeptForm:
    """A form that was sent after the session had ended, and can be sent again.

    The browser has it while somebody signs in: it is as trustworthy as any other form.

    Attributes:
        path: The path and the query to which the form is sent.
        user_id: The user whose session had ended; None if that is unknown.
        fields: The fields in their order, of which several can have the same name.
    """

    path: str
    user_id: int | None
    fields: list[tuple[str, str]]

    @classmethod
    def make(cls, path: str, user_id: int | None, form: FormData) -> Self:
        """Return a form to keep, without its secret fields and its files."""
        fields = [
            (name, value)
            for name, value in form.multi_items()
            if isinstance(value, str) and name != "csrftoken" and not SECRET_FIELD.search(name)
        ]
        return cls(find_own_path(path), user_id, fields)

    def to_json(self) -> str | None:
        """Return the text that the browser keeps; None if it would be too long."""
        text = json.dumps(asdict(self), ensure_ascii=False)
        return text if len(text) <= MAX_KEPT_LENGTH else None

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the form of a text that a browser kept; None if the text is no such form."""
        if not 0 < len(text) <= MAX_KEPT_LENGTH:
            return None
        try:
            kept = json.loads(text)
            path, user_id = kept["path"], kept["user_id"]
            fields = [(name, value) for name, value in kept["fields"]]
        except (KeyError, RecursionError, TypeError, ValueError):
            return None
        texts = [part for field in fields for part in field]
        if find_own_path(path) != path or not all(isinstance(part, str) for part in texts):
            return None
        return cls(path, user_id if isinstance(user_id, int) else None, fields)

    def group(self) -> dict[str, list[str]]:
        """Return the values by the name of their field, without empty ones, to show them."""
        grouped: dict[str, list[str]] = {}
        for name, value in self.fields:
            if value.strip():
                grouped.setdefault(name, []).append(value)
        return grouped
