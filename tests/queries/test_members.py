"""Members are added, found, edited, removed, and change their status."""

import asyncio
import inspect
import itertools
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from community_directory.database import engine, transaction
from community_directory.errors import (
    InvalidInput,
    MemberBanned,
    MemberExists,
    MemberMerged,
    MemberNotFound,
    ProfileChanged,
    StatusChangeRefused,
)
from community_directory.queries import audit, invitations, members
from community_directory.tables import MemberStatus
from tests.queries.cases import undone
from tests.roles import PROGRAM
from tests.tables import rows
from tests.waiting import start_during, until_waiting

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
STATUSES = list(MemberStatus)
ALLOWED = {
    ("not_member", "pending"),
    ("pending", "active"),
    ("pending", "not_member"),
    ("active", "pending"),
    ("active", "suspended"),
    ("suspended", "active"),
    ("banned", "active"),
    *((before, "banned") for before in ("not_member", "pending", "active", "suspended")),
}


async def add(telegram_id: str = "12345", **more: Any) -> members.Member:
    return await members.add(
        **{"telegram_id": telegram_id, "name": "Ana", "primary_role": "developer", **more}
    )


async def said(database: rows.Database) -> list[tuple[str, str | None]]:
    """Return the actor and the reason of each change in the log."""
    return [
        tuple(row)
        for row in await database.fetch("SELECT actor, reason FROM directory_audit_log ORDER BY id")
    ]


async def test_a_member_is_added_with_the_next_number(directory: asyncpg.Pool) -> None:
    inviter = await add("1", status="active")
    added = await add(
        status="pending",
        telegram_username="@ana",
        organization="Frutero",
        country="México",
        github_username="@ana-dev",
        invited_by="#1",
        profile_data={"bio": "hola"},
    )
    stored = await rows.fetch_row(
        directory, "SELECT * FROM community_members WHERE member_id = '#2'"
    )
    assert added == replace(
        inviter,
        id=stored["id"],
        member_id="#2",
        telegram_id="12345",
        status=MemberStatus.PENDING,
        telegram_username="ana",
        organization="Frutero",
        country="México",
        github_username="ana-dev",
        invited_by="#1",
        profile_data={"bio": "hola"},
        created_at=stored["created_at"],
        updated_at=stored["updated_at"],
    )
    assert isinstance(added.status, MemberStatus)
    assert added.created_at.utcoffset() is not None


async def test_a_person_added_without_a_status_is_a_contact(directory: asyncpg.Pool) -> None:
    added = await add()
    assert (added.status, added.reputation_tier, added.profile_data) == (
        MemberStatus.NOT_MEMBER,
        "Novice",
        None,
    )


async def test_a_username_of_only_an_at_sign_is_none(directory: asyncpg.Pool) -> None:
    assert (await add(telegram_username=" @ ")).telegram_username is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", " "),
        ("name", None),
        ("telegram_id", "1 2"),
        ("telegram_id", None),
        ("telegram_username", "ana maría"),
        ("status", "guest"),
        ("invited_by", "#99"),
        ("primary_role", ""),
    ],
)
async def test_an_invalid_value_is_refused_with_its_field(
    directory: asyncpg.Pool, field: str, value: Any
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await add(**{field: value})
    assert refused.value.field == field
    assert await directory.fetchval("SELECT count(*) FROM community_members") == 0


LIMITS = {
    "telegram_id": 255,
    "name": 255,
    "primary_role": 50,
    "telegram_username": 255,
    "organization": 255,
    "country": 100,
    "github_username": 255,
    "actor": 255,
}


@pytest.mark.parametrize(("field", "limit"), LIMITS.items())
async def test_a_text_that_is_too_long_is_refused_with_its_field_and_limit(
    directory: asyncpg.Pool, field: str, limit: int
) -> None:
    await add("1", status="active")
    code = (await invitations.create(created_by=1)).invitation_code
    calls: list[tuple[Callable[..., Awaitable[Any]], dict[str, Any]]] = [
        (add, {}),
        (invitations.redeem, {"code": code, "telegram_id": 2, "name": "Bo", "primary_role": "x"}),
        (members.update_profile, {"member_id": 1, "name": "Ana"}),
        (
            members.verify_github,
            {"member_id": 1, "github_username": "ana", "github_profile_data": {}},
        ),
        (members.set_status, {"member_id": 1, "status": "suspended", "actor": "bot"}),
        (members.remove, {"member_id": 1, "actor": "bot"}),
        (members.restore, {"member_id": 1, "actor": "bot"}),
        (invitations.create, {"created_by": 1}),
        (invitations.extend, {"code": code}),
        (invitations.cancel, {"code": code}),
        (invitations.expire_overdue, {}),
    ]
    tried = 0
    for call, arguments in calls:
        if call is add or field in inspect.signature(call).parameters:
            tried += 1
            with pytest.raises(InvalidInput) as refused:
                await call(**{**arguments, field: "x" * (limit + 1)})
            assert (refused.value.field, refused.value.limit, refused.value.code) == (
                field,
                limit,
                "text_too_long",
            )
    assert tried >= 2
    assert len(await said(directory)) == 2


async def test_a_value_that_is_not_a_text_is_refused_with_its_field(
    directory: asyncpg.Pool,
) -> None:
    for field in ("name", "telegram_id"):
        with pytest.raises(InvalidInput, match=r"must be a text") as refused:
            await add(**{field: 1.5})  # type: ignore[arg-type]  # a mistake of the caller
        assert refused.value.field == field


async def test_an_integer_is_accepted_for_every_id(directory: asyncpg.Pool) -> None:
    ana = await add(1001, status="active")  # type: ignore[arg-type]  # as Telegram's libraries have it
    bo = await members.add(telegram_id=1002, name="Bo", primary_role="x", invited_by=1)
    assert (ana.telegram_id, bo.invited_by) == ("1001", "#1")
    assert await members.get(1) == await members.find(1) == ana
    assert await members.get_by_telegram_id(1001) == await members.find_by_telegram_id(1001) == ana
    invitation = await invitations.create(created_by=1)
    assert (await invitations.list_page(created_by=1)).items == [invitation]
    eva = (
        await invitations.redeem(
            invitation.invitation_code, telegram_id=1003, name="Eva", primary_role="x"
        )
    ).member
    assert (eva.telegram_id, eva.invited_by) == ("1003", "#1")
    assert [branch.member_id for branch in await invitations.lineage(2)] == ["#2", "#1"]
    assert len((await invitations.tree(1)).items) == 3
    assert (await members.update_profile(2, name="Bob")).name == "Bob"
    assert (
        await members.verify_github(2, github_username="bo", github_profile_data={})
    ).github_verified
    assert (await members.set_status(2, "pending", actor="bot")).status == "pending"
    assert (await members.remove(2, actor="bot")).deleted_at
    assert (await members.restore(2, actor="bot")).deleted_at is None
    assert {entry.member_id for entry in (await audit.history(2)).items} == {"#2"}
    for missing in (members.get, members.get_by_telegram_id):
        with pytest.raises(MemberNotFound):
            await missing(9)
    with pytest.raises(InvalidInput) as refused:
        await members.get(True)
    assert refused.value.field == "member_id"


@pytest.mark.parametrize("actor", ["", " ", "\n"])
async def test_a_change_without_an_actor_is_refused(directory: asyncpg.Pool, actor: str) -> None:
    await add(status="active")
    for call in (
        members.remove(1, actor=actor),
        members.restore(1, actor=actor),
        members.set_status(1, "suspended", actor=actor),
        members.update_profile(1, name="x", actor=actor),
    ):
        with pytest.raises(InvalidInput) as refused:
            await call
        assert refused.value.field == "actor"
    assert len(await said(directory)) == 1


async def test_json_can_be_nested_a_hundred_levels_deep_and_no_deeper(
    directory: asyncpg.Pool,
) -> None:
    profile: dict[str, Any] = {}
    for _ in range(99):
        profile = {"a": profile}
    assert (await add(profile_data=profile)).profile_data == profile
    with pytest.raises(InvalidInput) as refused:
        await members.update_profile(1, profile_data={"a": profile})
    assert (refused.value.field, refused.value.limit) == ("profile_data", 100)


async def test_a_known_account_is_not_added_again_and_uses_no_number(
    directory: asyncpg.Pool,
) -> None:
    await add()
    for _ in range(3):
        with pytest.raises(MemberExists) as refused:
            await add(name="Somebody else")
        assert refused.value.member_id == "#1"
    assert (await members.get("#1")).name == "Ana"
    assert (await add("2")).member_id == "#2"


async def test_a_removed_person_is_known_too(directory: asyncpg.Pool) -> None:
    await add()
    await members.remove("#1", actor="bot")
    with pytest.raises(MemberExists) as refused:
        await add()
    assert refused.value.member_id == "#1"


@pytest.mark.parametrize("removed", [False, True])
async def test_a_banned_person_is_not_added_again(directory: asyncpg.Pool, removed: bool) -> None:
    await add(status="banned")
    if removed:
        await members.remove("#1", actor="bot")
    with pytest.raises(MemberBanned):
        await add()


async def test_twenty_concurrent_calls_for_one_person_add_one_member(
    directory: asyncpg.Pool,
) -> None:
    answers = await asyncio.gather(*(add() for _ in range(20)), return_exceptions=True)
    added = [answer for answer in answers if isinstance(answer, members.Member)]
    refused = [answer for answer in answers if isinstance(answer, MemberExists)]
    assert (len(added), len(refused)) == (1, 19)
    assert {error.member_id for error in refused} == {added[0].member_id}
    assert await directory.fetchval("SELECT count(*) FROM community_members") == 1


async def test_adding_waits_for_an_open_transaction_that_adds_the_same_person(
    directory: asyncpg.Pool,
) -> None:
    async with transaction():
        first = await add()
        with pytest.raises(MemberExists):
            await add()  # and the transaction goes on
        second = asyncio.create_task(_outside_of_transactions(add))
        await until_waiting(directory)
    with pytest.raises(MemberExists) as refused:
        await second
    assert refused.value.member_id == first.member_id


async def _outside_of_transactions(call: Callable[[], Awaitable[members.Member]]) -> members.Member:
    engine.current_transaction.set(None)
    return await call()


async def test_a_member_is_found_by_number_and_by_telegram_account(directory: asyncpg.Pool) -> None:
    ana, _ = await add("1"), await add("2")
    assert await members.get("#1") == await members.find("#1") == ana
    assert await members.get_by_telegram_id("1") == await members.find_by_telegram_id("1") == ana


async def test_an_unknown_or_removed_member_is_not_found(directory: asyncpg.Pool) -> None:
    await add("1")
    await members.remove("#1", actor="bot")
    assert [await members.find(number) for number in ("#1", "#9")] == [None, None]
    assert [await members.find_by_telegram_id(account) for account in ("1", "9")] == [None, None]
    calls: list[tuple[Callable[[str], Awaitable[members.Member]], str]] = [
        (members.get, "#1"),
        (members.get, "#9"),
        (members.get_by_telegram_id, "1"),
        (members.get_by_telegram_id, "9"),
    ]
    for call, key in calls:
        with pytest.raises(MemberNotFound) as missing:
            await call(key)
        assert missing.value.member_id == key


async def test_only_the_named_fields_of_a_profile_change(directory: asyncpg.Pool) -> None:
    before = await add(organization="Frutero", country="México", profile_data={"a": 1})
    after = await members.update_profile(
        "#1", name="Ana María", organization=None, replace_profile_data={"b": 2}
    )
    assert after == replace(
        before,
        name="Ana María",
        organization=None,
        profile_data={"b": 2},
        updated_at=after.updated_at,
    )
    after = await members.update_profile(
        "#1", telegram_username="@ana", primary_role="designer", country=None, profile_data=None
    )
    assert (after.telegram_username, after.primary_role) == ("ana", "designer")
    assert (after.country, after.profile_data) == (None, None)
    assert (await members.update_profile("#1", telegram_username=None)).telegram_username is None


async def test_the_keys_of_a_profile_change_one_by_one(directory: asyncpg.Pool) -> None:
    await add(profile_data={"bio": "hi", "languages": ["es"], "address": {"city": "Oaxaca"}})
    changed = await members.update_profile(
        "#1", profile_data={"bio": None, "languages": ["en"], "address": {"zip": None}, "new": 0}
    )
    # What is inside of a key is replaced whole, also a null.
    expected = {"languages": ["en"], "address": {"zip": None}, "new": 0}
    assert changed.profile_data == expected == (await members.get("#1")).profile_data
    assert (await members.update_profile("#1", profile_data={})).profile_data == expected
    assert (await members.update_profile("#1", profile_data={"absent": None})) == changed
    gone = dict.fromkeys(expected)
    assert (await members.update_profile("#1", profile_data=gone)).profile_data == {}
    assert (await members.update_profile("#1", profile_data=None)).profile_data is None
    assert (await members.update_profile("#1", profile_data={"a": None})).profile_data is None
    assert (await members.update_profile("#1", profile_data={"a": 1})).profile_data == {"a": 1}
    emptied = await members.update_profile("#1", replace_profile_data=None)
    assert emptied.profile_data is None


async def test_a_field_that_somebody_else_has_changed_stays(directory: asyncpg.Pool) -> None:
    seen = await add(country="Chile", profile_data={"bio": "hi", "skills": ["art"]})
    await members.update_profile("#1", country="Peru", actor="luis")
    with pytest.raises(ProfileChanged) as refusal:
        await members.update_profile("#1", country="Cuba", before={"country": seen.country})
    assert (refusal.value.member_id, refusal.value.field) == ("#1", "country")
    # Of several fields, all stay.
    with pytest.raises(ProfileChanged):
        await members.update_profile("#1", name="Eva", country="Cuba", before={"country": "Chile"})
    assert (await members.get("#1")).name == "Ana"
    # Another field may have changed.
    changed = await members.update_profile("#1", name="Eva", before={"name": "Ana"})
    assert (changed.name, changed.country) == ("Eva", "Peru")
    await members.update_profile("#1", country=None, before={"country": "Peru"})
    with pytest.raises(ProfileChanged):
        await members.update_profile("#1", country="Cuba", before={"country": "Peru"})
    changed = await members.update_profile("#1", country="Cuba", before={"country": None})
    assert changed.country == "Cuba"


async def test_a_key_of_a_profile_that_somebody_else_has_changed_stays(
    directory: asyncpg.Pool,
) -> None:
    await add(profile_data={"bio": "hi", "skills": ["art"]})
    await members.update_profile("#1", profile_data={"bio": "hello"})

    async def change(before: object, **keys: object) -> object:
        seen = {"profile_data": before}
        return (await members.update_profile("#1", profile_data=keys, before=seen)).profile_data

    for before in ({"bio": "hi"}, {"bio": None}, {"skills": ["art"], "bio": "hi"}, {"new": "x"}):
        with pytest.raises(ProfileChanged) as refusal:
            await change(before, bio="mine")
        assert refusal.value.field == "profile_data"
    assert await change({"skills": ["art"]}, skills=[]) == {"bio": "hello", "skills": []}
    assert await change({"new": None}, new=1) == {"bio": "hello", "skills": [], "new": 1}
    assert await change({}, new=2) == {"bio": "hello", "skills": [], "new": 2}
    await members.update_profile("#1", profile_data=None)
    assert await change({"bio": None}, bio="first") == {"bio": "first"}


async def test_of_two_changes_of_what_both_have_seen_one_is_stored(
    directory: asyncpg.Pool,
) -> None:
    await add(country="Chile")
    outcomes = await asyncio.gather(
        *(
            members.update_profile("#1", country=country, before={"country": "Chile"})
            for country in ("Peru", "Cuba", "Kenya")
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(outcome, members.Member) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, ProfileChanged) for outcome in outcomes) == 2


async def test_a_change_of_what_was_seen_explains_other_refusals(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await rows.merged_member(directory, merged_into="#1")
    await rows.member(directory, deleted_at=NOON)
    for number, error in ((2, MemberMerged), (3, MemberNotFound), (9, MemberNotFound)):
        with pytest.raises(error):
            await members.update_profile(number, name="Eva", before={"name": "Bo"})
    with pytest.raises(InvalidInput, match="no field status"):
        await members.update_profile(1, name="Eva", before={"status": "active"})
    for before in ({"name": float("nan")}, {"name": object()}):
        with pytest.raises(InvalidInput):
            await members.update_profile(1, name="Eva", before=before)


async def test_keys_and_a_whole_profile_at_once_are_refused(directory: asyncpg.Pool) -> None:
    added = await add(profile_data={"a": 1})
    for whole in ({"b": 2}, None):
        with pytest.raises(InvalidInput) as refused:
            await members.update_profile("#1", profile_data={"c": 3}, replace_profile_data=whole)
        assert refused.value.field == "profile_data"
    assert await members.get("#1") == added


async def test_many_programs_at_once_keep_the_keys_of_each_other(directory: asyncpg.Pool) -> None:
    await add(profile_data={"old": 1, **{f"gone {number}": number for number in range(10)}})
    await asyncio.gather(
        *(members.update_profile("#1", profile_data={f"key {n}": n}) for n in range(40)),
        *(members.update_profile("#1", profile_data={f"gone {n}": None}) for n in range(10)),
    )
    ana = await members.get("#1")
    assert ana.profile_data == {"old": 1, **{f"key {number}": number for number in range(40)}}


async def test_a_change_of_keys_waits_for_another_one_and_keeps_its_keys(
    directory: asyncpg.Pool,
) -> None:
    await add(profile_data={"a": 1})
    change = members.update_profile("#1", profile_data={"b": 3, "c": None})
    other = engine.fetch(
        """UPDATE community_members SET profile_data = '{"a": 2, "b": 2, "c": 2}'"""
    )
    waiting = await start_during(directory, other, change)
    assert (await waiting).profile_data == {"a": 2, "b": 3}


async def test_a_change_of_what_was_seen_waits_for_another_one_and_is_refused(
    directory: asyncpg.Pool,
) -> None:
    await add(country="Chile")
    change = members.update_profile("#1", country="Peru", before={"country": "Chile"})
    other = engine.fetch("UPDATE community_members SET country = 'Cuba'")
    waiting = await start_during(directory, other, change)
    with pytest.raises(ProfileChanged):
        await waiting
    assert (await members.get("#1")).country == "Cuba"


async def test_the_keys_of_a_profile_together_have_its_limits(directory: asyncpg.Pool) -> None:
    await add()
    added = await members.update_profile("#1", profile_data={"a": "x" * 600_000})
    with pytest.raises(InvalidInput) as refused:
        await members.update_profile("#1", name="Eva", profile_data={"b": "y" * 600_000})
    assert (refused.value.code, refused.value.limit) == ("text_too_long", 1_000_000)
    with pytest.raises(InvalidInput):
        await members.update_profile("#1", profile_data={"discord_id": "none"})
    assert await members.get("#1") == added
    await members.update_profile("#1", profile_data={"a": "", "b": "y" * 600_000})


async def test_the_keys_of_nobody_do_not_change(directory: asyncpg.Pool) -> None:
    await add()
    await rows.merged_member(directory, merged_into="#1")
    await members.remove("#1", actor="test")
    for number, error in (("#1", MemberNotFound), ("#2", MemberMerged), ("#99", MemberNotFound)):
        with pytest.raises(MemberNotFound) as missing:
            await members.update_profile(number, profile_data={"a": 1})
        assert type(missing.value) is error


async def test_a_key_that_names_an_account_is_taken_away_with_it(directory: asyncpg.Pool) -> None:
    await add(profile_data={"discord_id": "5", "bio": "hi"})
    await members.update_profile("#1", profile_data={"bio": "again"})
    assert await members.find_by_account("discord", "5") is not None
    await members.update_profile("#1", profile_data={"discord_id": None})
    assert await members.find_by_account("discord", "5") is None


async def test_an_update_without_changes_returns_the_profile(directory: asyncpg.Pool) -> None:
    added = await add()
    assert await members.update_profile("#1") == added
    assert len(await said(directory)) == 1


@pytest.mark.parametrize("field", ["name", "primary_role"])
async def test_a_required_field_cannot_be_emptied(directory: asyncpg.Pool, field: str) -> None:
    await add()
    for nothing in (None, " "):
        with pytest.raises(InvalidInput) as refused:
            await members.update_profile("#1", **{field: nothing})  # type: ignore[arg-type]  # a mistake of the caller
        assert refused.value.field == field


async def test_two_edits_of_different_fields_at_the_same_time_are_both_kept(
    directory: asyncpg.Pool,
) -> None:
    await add()
    await asyncio.gather(
        *(members.update_profile("#1", country="Chile") for _ in range(5)),
        *(members.update_profile("#1", organization="Frutero") for _ in range(5)),
        members.update_profile("#1", profile_data={"bio": "hola"}),
    )
    ana = await members.get("#1")
    assert (ana.country, ana.organization, ana.profile_data) == (
        "Chile",
        "Frutero",
        {"bio": "hola"},
    )


@pytest.mark.parametrize(("before", "after"), list(itertools.product(STATUSES, STATUSES)))
async def test_python_and_the_database_allow_the_same_status_transitions(
    directory: asyncpg.Pool, before: MemberStatus, after: MemberStatus
) -> None:
    await add(status=before)

    async with undone() as current:
        try:
            await current.connection.execute("UPDATE community_members SET status = $1", after)
            by_sql = True
        except asyncpg.CheckViolationError:
            by_sql = False
    # Writing the same status again changes nothing, so the database refuses nothing.
    assert by_sql is ((before, after) in ALLOWED or before is after)

    if (before, after) in ALLOWED:
        assert (await members.set_status("#1", after, actor="Luis")).status is after
    else:
        with pytest.raises(StatusChangeRefused) as refused:
            await members.set_status("#1", after, actor="Luis")
        assert (refused.value.member_id, refused.value.before, refused.value.after) == (
            "#1",
            before,
            after,
        )
    assert (await members.get("#1")).status is (after if (before, after) in ALLOWED else before)


async def test_a_status_that_does_not_exist_is_refused(directory: asyncpg.Pool) -> None:
    await add()
    with pytest.raises(InvalidInput) as refused:
        await members.set_status("#1", "guest", actor="Luis")
    assert refused.value.field == "status"


async def test_one_of_many_equal_concurrent_status_changes_succeeds(
    directory: asyncpg.Pool,
) -> None:
    await add(status="pending")
    answers = await asyncio.gather(
        *(members.set_status("#1", "active", actor=f"bot {number}") for number in range(10)),
        return_exceptions=True,
    )
    refused = [answer for answer in answers if isinstance(answer, StatusChangeRefused)]
    assert len(refused) == 9
    assert {(error.before, error.after) for error in refused} == {("active", "active")}
    assert len(await said(directory)) == 2


async def test_the_second_of_two_concurrent_changes_starts_from_the_result_of_the_first(
    directory: asyncpg.Pool,
) -> None:
    await add(status="active")
    async with transaction():
        await members.set_status("#1", "suspended", actor="Luis")
        second = asyncio.create_task(
            _outside_of_transactions(lambda: members.set_status("#1", "suspended", actor="Eva"))
        )
        await until_waiting(directory)
    with pytest.raises(StatusChangeRefused) as refused:
        await second
    assert refused.value.before == "suspended"


async def test_a_member_who_is_removed_while_a_change_waits_is_not_found(
    directory: asyncpg.Pool,
) -> None:
    await add(status="active")
    async with transaction():
        await members.remove("#1", actor="Luis")
        changes = [
            asyncio.create_task(
                _outside_of_transactions(lambda: members.set_status("#1", "suspended", actor="Eva"))
            ),
            asyncio.create_task(
                _outside_of_transactions(
                    lambda: members.verify_github(
                        "#1", github_username="ana", github_profile_data={}
                    )
                )
            ),
        ]
        await until_waiting(directory, len(changes))
    for change in changes:
        with pytest.raises(MemberNotFound):
            await change
    assert await directory.fetchval("SELECT status FROM community_members") == "active"


async def test_recording_an_event_does_not_wait_for_a_status_change(
    directory: asyncpg.Pool,
) -> None:
    await add(status="active")
    async with transaction():
        # The change to the same status takes the lock alone, without an update.
        with pytest.raises(StatusChangeRefused):
            await members.set_status("#1", "active", actor="Luis")
        async with directory.acquire() as connection:
            await connection.execute("SET lock_timeout = '2s'")
            await rows.event(connection, member_id="#1")


async def test_a_verified_account_adds_its_points_and_updates_the_tier(
    directory: asyncpg.Pool,
) -> None:
    await add()
    await rows.highlight(directory, member_id="#1", reputation_earned=40)
    await rows.highlight(
        directory, member_id="#1", reputation_earned=2, highlight_date=NOON.date().replace(day=1)
    )
    await rows.highlight(directory, reputation_earned=1000)
    await directory.execute(
        "UPDATE community_members SET reputation_score = 42 WHERE member_id = '#1'"
    )
    data = {"public_repos": 10, "followers": 20, "stars": 30, "contributions": 40, "login": "ana"}
    ana = await members.verify_github("#1", github_username="@Ana-Dev", github_profile_data=data)
    assert ana.reputation_score == 50 + 60 + 60 + 40 + 42
    assert ana.reputation_tier == "Contributor"
    assert (ana.github_username, ana.github_verified, ana.github_profile_data) == (
        "Ana-Dev",
        True,
        data,
    )
    assert ana.github_verified_at is not None
    assert await members.get("#1") == ana
    again = await members.verify_github("#1", github_username="ana-dev", github_profile_data={})
    assert again.reputation_score == 42


async def test_a_github_account_belongs_to_one_member(directory: asyncpg.Pool) -> None:
    await add("1")
    await add("2", github_username="ana-dev")  # said, not proved
    await members.verify_github(
        "#1", github_username="ana-dev", github_profile_data={"followers": 3}
    )
    async with transaction():
        with pytest.raises(MemberExists) as refused:
            await members.verify_github("#2", github_username="ANA-dev", github_profile_data={})
        assert refused.value.member_id == "#1"
        assert (await members.get("#2")).github_verified is False  # the transaction goes on
    with pytest.raises(MemberNotFound):
        await members.verify_github("#9", github_username="ana-dev", github_profile_data={})


@pytest.mark.parametrize("writer", ["helper", "SQL"])
async def test_one_of_two_concurrent_verifications_of_an_account_is_refused(
    directory: asyncpg.Pool, writer: str
) -> None:
    await add("1")
    await add("2")
    async with transaction():
        if writer == "helper":
            await members.verify_github("#1", github_username="ana-dev", github_profile_data={})
        else:
            await engine.fetch(
                "UPDATE community_members SET github_username = 'ana-dev', github_verified = true,"
                " github_verified_at = now() WHERE member_id = '#1'"
            )
        second = asyncio.create_task(
            _outside_of_transactions(
                lambda: members.verify_github(
                    "#2", github_username="Ana-dev", github_profile_data={}
                )
            )
        )
        await until_waiting(directory)
    with pytest.raises(MemberExists) as refused:
        await second
    assert refused.value.member_id == ("#1" if writer == "helper" else "Ana-dev")


@pytest.mark.parametrize("username", ["", "@", "ana maría"])
async def test_a_verified_account_has_a_username(directory: asyncpg.Pool, username: str) -> None:
    await add()
    with pytest.raises(InvalidInput):
        await members.verify_github("#1", github_username=username, github_profile_data={})


async def test_a_score_beyond_the_column_is_refused(directory: asyncpg.Pool) -> None:
    await add()
    for count in (2**31, 10**30):
        with pytest.raises(InvalidInput):
            await members.verify_github(
                "#1", github_username="ana", github_profile_data={"followers": count}
            )
    assert (await members.get("#1")).github_verified is False


async def test_a_removed_member_comes_back_unchanged(directory: asyncpg.Pool) -> None:
    before = await add(status="suspended", telegram_username="ana", profile_data={"a": 1})
    removed = await members.remove("#1", actor="Luis")
    assert removed.deleted_at is not None
    assert replace(removed, deleted_at=None, updated_at=before.updated_at) == before
    restored = await members.restore("#1", actor="Luis")
    assert replace(restored, updated_at=before.updated_at) == before
    assert await members.get("#1") == restored


async def test_nobody_is_removed_or_restored_twice(directory: asyncpg.Pool) -> None:
    await add()
    with pytest.raises(MemberNotFound):
        await members.restore("#1", actor="Luis")
    await members.remove("#1", actor="Luis")
    with pytest.raises(MemberNotFound) as refused:
        await members.remove("#1", actor="Luis")
    assert refused.value.member_id == "#1"


WRITERS: dict[str, Callable[..., Awaitable[members.Member]]] = {
    "update_profile": lambda number, **by: members.update_profile(number, name="Eva", **by),
    "set_status": lambda number, **by: members.set_status(number, "suspended", **by),
    "verify_github": lambda number, **by: members.verify_github(
        number, github_username="ana", github_profile_data={}, **by
    ),
    "remove": members.remove,
}


@pytest.mark.parametrize("writer", WRITERS)
async def test_a_removed_member_cannot_be_changed(directory: asyncpg.Pool, writer: str) -> None:
    await add(status="active")
    await members.remove("#1", actor="Luis")
    with pytest.raises(MemberNotFound):
        await WRITERS[writer]("#1", actor="Luis")
    assert len(await said(directory)) == 2


@pytest.mark.parametrize("writer", WRITERS)
async def test_a_change_is_logged_with_its_actor_and_its_reason_alone(
    directory: asyncpg.Pool, writer: str
) -> None:
    """Use one connection, on which the actor of a call could leak into the next entry."""
    await rows.member(directory, status="active")
    await rows.member(directory, status="active")
    await WRITERS[writer]("#1", actor="Luis", reason="a promise")
    await WRITERS[writer](
        "#2", actor="Eva"
    ) if writer != "verify_github" else await members.verify_github(
        "#2", github_username="eva", github_profile_data={}, actor="Eva"
    )
    assert engine.pool is not None
    assert engine.pool.get_size() == 1
    assert (await said(directory))[2:] == [("Luis", "a promise"), ("Eva", None)]


async def test_add_and_restore_are_logged_with_their_actor_and_their_reason(
    directory: asyncpg.Pool,
) -> None:
    await add("1", actor="Luis", reason="met in Lima")
    await add("2")
    await members.remove("#1", actor="Eva", reason="left")
    await members.restore("#1", actor="Luis", reason="came back")
    assert engine.pool is not None
    assert engine.pool.get_size() == 1
    assert await said(directory) == [
        ("Luis", "met in Lima"),
        (f"db:{PROGRAM}", None),
        ("Eva", "left"),
        ("Luis", "came back"),
    ]


async def test_each_writer_of_a_transaction_names_its_own_actor(directory: asyncpg.Pool) -> None:
    login = await directory.fetchval("SELECT session_user")
    async with transaction():
        await add("1", actor="Luis", reason="met in Lima")
        await add("2", actor="Eva")
        await add("3")
    await rows.member(directory)
    assert await said(directory) == [
        ("Luis", "met in Lima"),
        ("Eva", None),
        (f"db:{PROGRAM}", None),
        (f"db:{login}", None),
    ]


async def test_actor_and_reason_end_with_the_transaction_even_on_the_same_connection(
    directory: asyncpg.Pool,
) -> None:
    async with transaction() as current:
        await add("1", actor="Luis", reason="met in Lima")
        await current.commit()
        # The log is read before the next transaction.
        await rows.member(current.connection)
    assert await said(directory) == [("Luis", "met in Lima"), (f"db:{PROGRAM}", None)]


async def test_a_refused_change_is_not_logged(directory: asyncpg.Pool) -> None:
    await add(status="active")
    with pytest.raises(StatusChangeRefused):
        await members.set_status("#1", "not_member", actor="Luis")
    with pytest.raises(InvalidInput):
        await members.update_profile("#1", name=" ", actor="Luis")
    assert len(await said(directory)) == 1


async def test_changes_by_helpers_are_rolled_back_with_the_callers_transaction(
    directory: asyncpg.Pool,
) -> None:
    before = await add(status="active")
    async with undone():
        await add("2")
        await members.update_profile("#1", name="Eva")
        await members.verify_github(
            "#1", github_username="ana", github_profile_data={"followers": 3}
        )
        await members.set_status("#1", "suspended", actor="Luis")
        await members.remove("#1", actor="Luis")
        await members.restore("#1", actor="Luis")
        inside = await members.get("#1")
        assert (inside.name, inside.status, inside.reputation_score) == (
            "Eva",
            MemberStatus.SUSPENDED,
            9,
        )
        assert (
            await directory.fetchval("SELECT name FROM community_members WHERE member_id = '#1'")
            == "Ana"
        )
    assert await members.get("#1") == before
    assert await members.find_by_telegram_id("2") is None
    assert len(await said(directory)) == 1


async def test_a_refusal_inside_a_savepoint_leaves_the_transaction_usable(
    directory: asyncpg.Pool,
) -> None:
    async with transaction():
        await add("1")
        with pytest.raises(InvalidInput):
            async with transaction():
                await add("2", name="")
        await add("3")
    assert await members.find_by_telegram_id("1") is not None
    assert await members.find_by_telegram_id("3") is not None


async def test_the_leaderboard_lists_the_active_members_best_first(directory: asyncpg.Pool) -> None:
    for score, status in (
        (5, "active"),
        (50, "active"),
        (500, "pending"),
        (20, "active"),
        (900, "banned"),
    ):
        await rows.member(directory, reputation_score=score, status=status)
    removed = await rows.member(directory, reputation_score=1000, status="active")
    await members.remove(removed["member_id"], actor="Luis")
    page = await members.leaderboard(limit=2)
    assert [member.reputation_score for member in page.items] == [50, 20]
    page = await members.leaderboard(limit=2, after=page.next_cursor)
    assert [member.reputation_score for member in page.items] == [5]
    assert page.next_cursor is None


@pytest.mark.parametrize(
    ("status", "scores"), [("pending", [500, 7]), ("banned", [900]), (None, [900, 500, 50, 7])]
)
async def test_a_leaderboard_can_list_another_status_or_all(
    directory: asyncpg.Pool, status: str | None, scores: list[int]
) -> None:
    for score, of in ((7, "pending"), (50, "active"), (500, "pending"), (900, "banned")):
        await rows.member(directory, reputation_score=score, status=of)
    found, cursor = [], None
    while True:
        page = await members.leaderboard(status=status, after=cursor, limit=1)
        found += [member.reputation_score for member in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == scores


async def test_a_rank_is_the_position_on_the_leaderboard(directory: asyncpg.Pool) -> None:
    for score in (7, 50, 7, 0, 50):
        await rows.member(directory, reputation_score=score, status="active")
    left_out = [
        await rows.member(directory, reputation_score=90, status="pending"),
        await rows.member(directory, reputation_score=90, status="active", deleted_at=NOON),
        await rows.member(directory, status="active", is_bot=True),
    ]
    listed = (await members.leaderboard()).items
    assert len(listed) == 5
    for position, member in enumerate(listed, 1):
        assert await members.rank(member.member_id) == members.Rank(position, 5)
    for row in left_out:
        assert await members.rank(row["member_id"]) is None
    assert await members.rank(99) is None
    merged = await rows.merged_member(directory, merged_into=listed[2].member_id)
    assert await members.rank(merged["member_id"]) == members.Rank(3, 5)


async def test_a_removed_member_can_only_be_banned(directory: asyncpg.Pool) -> None:
    await rows.member(directory, status="active")
    await members.remove("#1", actor="eva")
    with pytest.raises(MemberNotFound):
        await members.set_status("#1", "suspended", actor="eva")
    banned = await members.set_status("#1", "banned", actor="eva")
    assert (banned.status, banned.deleted_at is None) == ("banned", False)


async def test_the_longest_texts_fit_into_every_index(directory: asyncpg.Pool) -> None:
    # Four bytes each, and all different, so that no index can compress them.
    letters = [chr(code) for code in random.Random(1).sample(range(0x20000, 0x2A6D0), 800)]
    longest: dict[str, Any] = {
        "name": "".join(letters[:255]),
        "organization": "".join(letters[255:510]),
        "country": "".join(letters[510:610]),
        "primary_role": "".join(letters[610:660]),
    }
    stored = await members.add(telegram_id=1, **longest)
    assert {column: getattr(stored, column) for column in longest} == longest
