"""Every helper checks ids, actors and values of a wrong type."""

import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from community_directory.errors import InvalidInput
from community_directory.queries import highlights, members, participation, reputation
from community_directory.queries.events import MAX_METADATA_LENGTH
from community_directory.queries.participation import NewEvent
from community_directory.queries.values import MAX_JSON_LENGTH, as_json
from tests.queries.cases import CASES, DAY, EVENT, HELPERS, arguments, community, undone

ALL: dict[str, Callable[..., Awaitable[Any]]] = {
    **HELPERS,
    "reputation.explain": reputation.explain,
}
VALID: dict[str, Mapping[str, Any]] = {name: case.valid for name, case in CASES.items()}
VALID["reputation.explain"] = {"member_id": "#1"}
IDS = {
    *(
        "member_id",
        "telegram_id",
        "created_by",
        "invited_by",
        "entity_id",
        "entity_id_a",
        "entity_id_b",
    ),
    *("entity_ids", "room_id", "source_id"),
}
TEXTS = {"entity-a": "11", "entity-b": "12", "entity-c": "13", "general": "14"}
"""Numbers for the ids in the cases that are not numbers."""


def with_ids(helper: str, kind: type[str] | type[int]) -> dict[str, Any]:
    """Return the valid arguments of a helper, with all ids of one type."""

    def one(value: str) -> str | int:
        text = TEXTS.get(value, value)
        return int(text.removeprefix("#")) if kind is int else text

    def changed(field: str, value: Any) -> Any:
        if field == "events":
            return [NewEvent(**{name: changed(name, of) for name, of in EVENT.items()})]
        if field not in IDS:
            return value
        if value is None:
            return None
        return [one(each) for each in value] if isinstance(value, list) else one(value)

    return {field: changed(field, value) for field, value in VALID[helper].items()}


NEW = "|".join(
    [
        r"UUID\('.*?'\)",
        r"datetime\.datetime\(.*?utc\)",
        r"NewEvent\(.*?\)",
        r"invitation_code='\w+'",
        r"#([4-9]|\d\d)",
    ]
)


def same(answer: object) -> str:
    """Return a result without the values that differ in each call: new ids, times and codes."""
    return re.sub(NEW, "", repr(answer))


WITH_IDS = [helper for helper, valid in VALID.items() if IDS & valid.keys() or "events" in valid]


@pytest.mark.parametrize("helper", WITH_IDS)
async def test_an_id_may_be_an_integer(directory: asyncpg.Pool, helper: str) -> None:
    await community(directory)
    answers = []
    for kind in (str, int):
        async with undone():
            answers.append(same(await ALL[helper](**with_ids(helper, kind))))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("helper", WITH_IDS)
async def test_an_integer_of_thousands_of_digits_is_invalid_input(
    directory: asyncpg.Pool, helper: str
) -> None:
    await community(directory)
    for field in IDS & VALID[helper].keys():
        huge = [10**5000] if field == "entity_ids" else 10**5000
        with pytest.raises(InvalidInput, match="is too large a number") as refused:
            await ALL[helper](**{**VALID[helper], field: huge})
        assert refused.value.field == field


@pytest.mark.parametrize("helper", [helper for helper, valid in VALID.items() if "actor" in valid])
@pytest.mark.parametrize(
    "actor", ["", "  ", "x" * 256, 5], ids=["empty", "blank", "long", "number"]
)
async def test_an_actor_is_a_text_that_is_not_blank(
    directory: asyncpg.Pool, helper: str, actor: object
) -> None:
    await community(directory)
    with pytest.raises(InvalidInput) as refused:
        await ALL[helper](**{**VALID[helper], "actor": actor})
    assert refused.value.field == "actor"


async def test_an_actor_is_checked_even_for_an_update_without_changes(
    directory: asyncpg.Pool,
) -> None:
    await community(directory)
    with pytest.raises(InvalidInput, match="actor"):
        await members.update_profile("#1", actor="  ")


@pytest.mark.parametrize(
    "helper",
    [
        *("members.set_status", "members.remove", "members.restore", "members.erase"),
        *("highlights.roll_up", "invitations.expire_overdue", "members.end_suspensions"),
        *("notes.add", "notes.remove"),
    ],
)
async def test_a_change_by_a_manager_needs_an_actor(directory: asyncpg.Pool, helper: str) -> None:
    await community(directory)
    with pytest.raises(InvalidInput, match=r"^The actor can't be empty\.$") as refused:
        await ALL[helper](**arguments(helper, {"actor": None}))
    assert (refused.value.field, refused.value.code) == ("actor", "value_missing")


USERNAMES = [
    (helper, field)
    for helper, valid in VALID.items()
    for field in ("telegram_username", "github_username")
    if field in valid
]


@pytest.mark.parametrize(("helper", "field"), USERNAMES)
@pytest.mark.parametrize("username", [5, ["ana"], b"ana", 0], ids=repr)
async def test_a_username_is_a_text(
    directory: asyncpg.Pool, helper: str, field: str, username: object
) -> None:
    await community(directory)
    with pytest.raises(
        InvalidInput, match=rf"^The {field.replace('_', ' ')} must be a text\.$"
    ) as refused:
        await ALL[helper](**{**VALID[helper], field: username})
    assert refused.value.field == field


@pytest.mark.parametrize("helper", [helper for helper, valid in VALID.items() if "limit" in valid])
@pytest.mark.parametrize("limit", [None, "5", 5.5, 5.0, True], ids=repr)
async def test_a_limit_is_a_whole_number(
    directory: asyncpg.Pool, helper: str, limit: object
) -> None:
    page = r"A page (has 1 to 100 rows|of a tree has 1 to 20,000 members)\."
    with pytest.raises(InvalidInput, match=f"^{page}$") as refused:
        await ALL[helper](**{**VALID[helper], "limit": limit})
    assert refused.value.field == "limit"


@pytest.mark.parametrize("helper", [helper for helper, valid in VALID.items() if "code" in valid])
@pytest.mark.parametrize("code", [5, None, b"OPENCODE", ["OPENCODE"]], ids=repr)
async def test_a_code_is_a_text(directory: asyncpg.Pool, helper: str, code: object) -> None:
    with pytest.raises(InvalidInput, match=r"^The code must be a text\.$") as refused:
        await ALL[helper](**{**VALID[helper], "code": code})
    assert refused.value.field == "code"


@pytest.mark.parametrize("helper", ["invitations.create", "invitations.extend"])
@pytest.mark.parametrize("valid_for", [5, None, "1 day"], ids=repr)
async def test_a_duration_is_a_timedelta(
    directory: asyncpg.Pool, helper: str, valid_for: object
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await ALL[helper](**{**VALID[helper], "valid_for": valid_for})
    assert refused.value.field == "valid_for"


@pytest.mark.parametrize("sort", [[], None, {}, 5], ids=repr)
async def test_an_unknown_order_is_refused(directory: asyncpg.Pool, sort: Any) -> None:
    with pytest.raises(InvalidInput, match="There is no order") as refused:
        await members.search(sort=sort)
    assert refused.value.field == "sort"


@pytest.mark.parametrize("day", ["2026-01-01", None, 5, datetime(2026, 1, 1, tzinfo=UTC)], ids=repr)
async def test_a_day_is_a_date(directory: asyncpg.Pool, day: Any) -> None:
    calls: list[Awaitable[object]] = [
        highlights.roll_up(day),
        highlights.verify(day),
        highlights.between(day, DAY),
        highlights.between(DAY, day),
        participation.activity("#1", since=day, until=DAY),
        participation.most_active(since=DAY, until=day),
    ]
    for call in calls:
        with pytest.raises(InvalidInput, match=r"^A day is a date without a time\.$") as refused:
            await call
        assert refused.value.field in ("since", "until")


async def test_an_id_that_is_too_long_is_named_with_its_limit(directory: asyncpg.Pool) -> None:
    new: dict[str, Any] = {"telegram_id": "900", "name": "Eva", "primary_role": "developer"}
    with pytest.raises(InvalidInput) as refused:
        await members.add(**new, invited_by="x" * 10_000)
    assert (refused.value.field, refused.value.limit) == ("invited_by", 20)
    with pytest.raises(InvalidInput) as adding:
        await members.add(**{**new, "telegram_id": "x" * 10_000})
    with pytest.raises(InvalidInput) as checking:
        await members.check_addable("x" * 10_000)
    for error in (adding.value, checking.value):
        assert (error.field, error.limit) == ("telegram_id", 255)
    assert str(checking.value) == str(adding.value)


def json_of(length: int) -> dict[str, str]:
    """Return Cyrillic data that has this many characters as JSON."""
    return {"a": "ж" * (length - len('{"a": ""}'))}


async def test_a_letter_of_any_script_counts_as_one_character(directory: asyncpg.Pool) -> None:
    await community(directory)
    data = json_of(MAX_METADATA_LENGTH)
    event = await participation.record(**{**EVENT, "metadata": data})
    assert event is not None
    assert event.metadata == data
    with pytest.raises(InvalidInput) as refused:
        await participation.record(**{**EVENT, "metadata": json_of(MAX_METADATA_LENGTH + 1)})
    assert (refused.value.field, refused.value.limit) == ("metadata", MAX_METADATA_LENGTH)
    profile = json_of(MAX_JSON_LENGTH)
    assert (await members.update_profile("#1", profile_data=profile)).profile_data == profile
    with pytest.raises(InvalidInput) as refused:
        as_json(json_of(MAX_JSON_LENGTH + 1), field="profile_data")
    assert (refused.value.field, refused.value.limit) == ("profile_data", MAX_JSON_LENGTH)


@pytest.mark.parametrize("data", [{"a": "\ud800"}, {"\udfff": 1}, {"a": ["ж\ud800"]}], ids=ascii)
async def test_a_lone_surrogate_in_json_is_refused_with_its_field(
    directory: asyncpg.Pool, data: dict[str, Any]
) -> None:
    await community(directory)
    with pytest.raises(InvalidInput) as refused:
        await members.update_profile("#1", profile_data=data)
    assert refused.value.field == "profile_data"
    bad, good = NewEvent(**{**EVENT, "metadata": data}), NewEvent(**EVENT)
    recorded = await participation.record_many([bad, good])
    assert [(each.event, each.error.field) for each in recorded.refused] == [(bad, "metadata")]
    assert recorded.inserted == [good]


def test_a_surrogate_pair_is_one_character_and_a_lone_surrogate_is_refused() -> None:
    assert as_json({"a": "\ud83d\ude00"}) == '{"a": "😀"}'
    for half in ("\ud83d", "\ude00", "\ude00\ud83d"):
        with pytest.raises(InvalidInput):
            as_json({"a": half})
