"""Broken JSON is repaired only where it is certain what it stands for."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from community_directory.imports.json_repair import (
    Boundary,
    MessageEnd,
    contains_message,
    find_message_end,
    is_stray_bracket,
    repair_object,
    repair_value,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(value=JSON, indent=st.sampled_from([None, 0, 1, 2, "\t"]), ascii_only=st.booleans())
def test_json_stays_as_it_is(value: object, indent: int | str | None, ascii_only: bool) -> None:
    assert repair_value(json.dumps(value, indent=indent, ensure_ascii=ascii_only)) == value


@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n\r")))
def test_a_string_on_a_line_of_its_own_may_contain_anything_but_a_key(text: str) -> None:
    """Backslashes aside, which may begin an escape."""
    text = text.replace("\\", "").replace(":", "")
    assert repair_value(f'{{\n "text": "{text}"\n}}') == {"text": text}


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (r'"a": "x\x0By"', "x\x0by"),
        (r'"a": "x\\x0By"', r"x\x0By"),
        (r'"a": "C:\new\dir\"', "C:\new\\dir\\"),
        (r'"a": "\u00e9\u12"', "é\\u12"),
        ('"a": "he said "hi""', 'he said "hi"'),
        ('"a": """', '"'),
        ('"a": "x\ty"', "x\ty"),
        ('"a": "x\ny"', "x\ny"),
        ('"a": dir/x (2).webm', "dir/x (2).webm"),
        ('"a": dir/x, y.webm', "dir/x, y.webm"),
        ('"a" :user1', "user1"),
        ('"a": 1e99999', float("inf")),
        (f'"a": {"9" * 5000}', float("inf")),
    ],
)
@pytest.mark.parametrize("end", ["", ",", " ,\r"])
def test_a_line_is_repaired(line: str, value: object, end: str) -> None:
    after = '\n "b": true\n}' if end else "\n}"
    expected = {"a": value} | ({"b": True} if end else {})
    assert repair_value(f"{{\n {line}{end}{after}") == expected


@pytest.mark.parametrize(
    "text",
    [
        # Two fields that became one could be anything.
        '{\n "from": "An   "text": "hi"\n}',
        '{\n "from": "An   "count": 5"\n}',
        '{\n "a": "b\n}',
        '{\n "a": b"\n}',
        '{\n "a": [b\n}',
        '{\n "a": {"b": c}\n}',
        '{\n "a": 1\n "b": 2\n}',
        '{\n "a": \n}',
        "{\n a\n}",
        '{ "a": b, "c": d }',
        '{\n "a": "b"',
        '{\n "a": "\0\0\0\0"\n}',
        "[" * 10_000,
        "",
    ],
)
def test_what_is_not_certain_is_not_repaired(text: str) -> None:
    assert repair_value(text) is None


def test_only_an_object_is_a_message() -> None:
    assert repair_object("[1]", Boundary.MESSAGE) is None
    assert repair_object('{"a": 1},\n ', Boundary.MESSAGE) == {"a": 1}
    assert repair_object('{"a": [{}]}\n ]\n },\n ', Boundary.CHAT) == {"a": [{}]}
    assert repair_object('{"a": [{}]}]}', Boundary.MESSAGE) is None


BROKEN = '{"id": 1, "type": "message", "text": "" x"'
NEXT = '{"id": -2, "type": "service"'
CHAT = '{"name": null, "type": "private_group", "id": 5, "messages": [' + NEXT


@pytest.mark.parametrize(
    ("after", "boundary"),
    [
        ("}, " + NEXT, Boundary.MESSAGE),
        (", " + NEXT, Boundary.MESSAGE),
        (NEXT.replace("-2", '"1300000000000000002"'), Boundary.MESSAGE),
        ("}]}, " + CHAT, Boundary.CHAT),
        ("}]}, " + CHAT.replace("null", '"Club"'), Boundary.CHAT),
        ("}]}, " + CHAT.replace('"name": null, ', ""), Boundary.CHAT),
        ('}], "messageCount": 2}', Boundary.MESSAGE),
    ],
)
def test_a_broken_message_ends_where_the_next_one_or_the_next_chat_begins(
    after: str, boundary: Boundary
) -> None:
    text = BROKEN + after
    begin = len(BROKEN) + max(after.find("{"), 0)
    if "messageCount" in after:
        begin = text.rindex("]")
    assert find_message_end(text, 0, is_complete=False) == MessageEnd(begin, boundary)


@pytest.mark.parametrize("end", ["}]}", "}\n ]\n}\n", "}]}]}}"])
def test_the_last_message_ends_before_the_end_of_the_file(end: str) -> None:
    text = BROKEN + end
    found = MessageEnd(text.index("]"), Boundary.MESSAGE)
    assert find_message_end(text, 0, is_complete=True) == found
    assert find_message_end(text, 0, is_complete=False) is None


def test_an_indented_message_ends_at_its_closing_brace() -> None:
    text = ' [\n  {\n   "a": {\n    "b": "" x"\n   }\n  },\n  {"id": 2, "type": "message"}'
    end = text.index("\n  },") + 4
    start = text.index("{")
    assert find_message_end(text, start, is_complete=False) == MessageEnd(end, Boundary.MESSAGE)
    # The brace may belong to something else until it is known what follows.
    assert find_message_end(text[:end], start, is_complete=False) is None
    assert find_message_end(text[:end], start, is_complete=True) == MessageEnd(
        end, Boundary.MESSAGE
    )


def test_a_message_inside_another_one_shows_that_the_first_is_not_closed() -> None:
    text = f'{{"id": 1, "type": "message", "reactions": [{NEXT}}}]}}'
    assert contains_message(text, 0, len(text))
    assert not contains_message(text, text.index("[") + 1, len(text))
    quoted: dict[str, Any] = {"id": 1, "type": "message", "text": NEXT}
    assert not contains_message(json.dumps(quoted), 0, 1000)


@pytest.mark.parametrize(
    ("text", "is_stray"),
    [
        (f"]}}, {NEXT}", True),
        (f'], "reactions": []}}, {NEXT}', True),
        ("]}", False),
        ('], "messageCount": 2}', False),
        (f"]}}, {CHAT}", False),
        # A damaged header: the message belongs to the chat that it begins.
        (f']}}, {{"name": "x", "type": "personal_chat", "id": 5, "mess\x00ages": [{NEXT}', False),
        (f']}}, {{"nam\x00e": "x", "ty\x00pe": "x", "id": 5, "messages": [{NEXT}', False),
    ],
)
def test_a_bracket_before_the_next_message_does_not_end_the_list(text: str, is_stray: bool) -> None:
    assert is_stray_bracket(text, 0) is is_stray
