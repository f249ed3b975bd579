import asyncio
import json
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from piccolo.conf.apps import Finder

from community_directory.database import act_as, engine, transaction
from community_directory.errors import (
    ConfigurationError,
    InvalidInput,
    InvitationCancelled,
    MemberBanned,
    MemberExists,
    MemberNotFound,
)
from community_directory.queries import (
    audit,
    highlights,
    invitations,
    members,
    participation,
    privacy,
    relationships,
    requests,
)
from community_directory.queries.members import Member
from community_directory.queries.merge_locks import LOCK_OUT_MERGES
from community_directory.settings import load_settings
from tests.database.test_migrations import dump
from tests.queries.recounts import find_wrong_counts
from tests.queries.test_participation import blocked, message
from tests.tables import rows
from tests.waiting import until_blocked_by, until_waiting

KEY = "a key that nobody guesses, 32 characters or more"
ENTITY = "entity-of-xaviera"
# Values that nobody else has, so that a dump can be searched for them.
PERSONAL: dict[str, Any] = {
    "telegram_id": "7700112233",
    "telegram_username": "xaviera_zq",
    "name": "Xaviera Żółw",
    "primary_role": "beekeeper-zq",
    "organization": "Zq Hives",
    "country": "Zqland",
}

COUNTED_TABLES = (
    "member_monthly_highlights",
    "member_daily_rooms",
    "member_monthly_rooms",
    "member_rooms",
    "member_milestones",
    "directory_hourly_counts",
)
"""The tables that roll-ups write besides the highlights, and that are no Piccolo classes."""


@pytest.fixture
async def person(directory: asyncpg.Pool) -> Member:
    """Return a member who has rows in every table; each of their values was changed once."""
    inviter = await rows.member(directory, status="active")
    invitation = await invitations.create(
        created_by=inviter["member_id"],
        telegram_username=PERSONAL["telegram_username"],
        reason="friend of Zq",
    )
    redemption = await invitations.redeem(
        invitation.invitation_code,
        **{**PERSONAL, "name": "Xaviera before Zq"},
        profile_data={"bio": "secret-zq"},
    )
    number = redemption.member.member_id
    await members.update_profile(
        number, name=PERSONAL["name"], reason="married in Zq", actor="telegram:7700112233"
    )
    await members.update_profile(number, telegram_username="former_zq", actor="@former_zq")
    await members.update_profile(number, telegram_username="xaviera_zq", actor="XAVIERA_ZQ")
    await members.set_status(number, "active", actor="eva", reason="knows zq")
    await members.verify_github(
        number, github_username="xaviera-zq-hub", github_profile_data={"login": "zq-login"}
    )
    await directory.execute(
        "UPDATE community_members SET registration_fee_tx_hash = '0xzq' WHERE member_id = $1",
        number,
    )
    await invitations.create(created_by=number, reason="Zq asked")
    await invitations.create(created_by=inviter["member_id"], telegram_username="Former_Zq")
    await invitations.create(created_by=inviter["member_id"], telegram_username="XAVIERA_ZQ")
    await rows.event(
        directory, member_id=number, event_metadata={"text": "hello zq"}, source_id="zq-77"
    )
    await rows.event(directory, member_id=number, room_id=PERSONAL["telegram_id"])
    await rows.highlight(
        directory, member_id=number, highlight_date=date(2026, 1, 31), message_count=3
    )
    await rows.monthly_highlight(directory, member_id=number)
    for room_id in ("-100", PERSONAL["telegram_id"]):
        await rows.daily_room(directory, member_id=number, room_id=room_id)
        await rows.monthly_room(directory, member_id=number, room_id=room_id)
        await rows.room_span(directory, member_id=number, room_id=room_id)
    await requests.ask(number, "erasure", actor="@xaviera_zq", reason="left Zq")
    await directory.execute(
        "INSERT INTO directory_bot_chats (account_id, language_code) VALUES ($1, 'es')",
        PERSONAL["telegram_id"],
    )
    await rows.bot_state(
        directory, telegram_id=PERSONAL["telegram_id"], data='{"organization": "Zq Honey"}'
    )
    await rows.bot_state(directory, telegram_id="7", data='{"organization": "other honey"}')
    await relationships.link(ENTITY, "somebody", "MENTORED", {"topic": "zq-bees"})
    await relationships.link("others", "entirely", "MENTORED", {"topic": "other-bees"})
    return await members.get(number)


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIRECTORY_SECRET_KEY", KEY)
    load_settings.cache_clear()


async def data(database: str) -> str:
    """Return all rows as pg_dump writes them, without sequences, which a rollback leaves moved."""
    return "\n".join(
        line for line in (await dump(database, "--data-only")).splitlines() if "setval" not in line
    )


async def test_every_column_of_every_table_has_a_class(directory: asyncpg.Pool) -> None:
    tables = Finder().get_app_config("community_directory").table_classes
    stored = {
        table._meta.tablename: [column._meta.name for column in table._meta.columns]
        for table in tables
    }
    for table in COUNTED_TABLES:
        described = await directory.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0"
            " AND NOT attisdropped ORDER BY attnum",
            table,
        )
        stored[table] = [name for (name,) in described]
    assert {table: list(columns) for table, columns in privacy.COLUMN_CLASSES.items()} == stored


async def test_an_export_contains_everything_about_a_person(person: Member) -> None:
    exported = await members.export(person.member_id, entity_ids=[ENTITY])
    assert exported["member"]["name"] == PERSONAL["name"]
    assert set(exported["member"]) == set(privacy.COLUMN_CLASSES["community_members"])
    # The invitations: the one they accepted, those they created, and those for their usernames.
    assert len(exported["invitations"]) == 4
    assert {"text": "hello zq"} in [event["event_metadata"] for event in exported["participation"]]
    assert [highlight["message_count"] for highlight in exported["highlights"]] == [3]
    assert [month["message_count"] for month in exported["monthly_highlights"]] == [3]
    for part in ("daily_rooms", "monthly_rooms", "rooms"):
        assert [room["room_id"] for room in exported[part]] == ["-100", PERSONAL["telegram_id"]]
    assert [begun["member_id"] for begun in exported["milestones"]] == [person.member_id]
    assert [state["data"] for state in exported["bot_states"]] == [{"organization": "Zq Honey"}]
    assert [link["content"] for link in exported["relationships"]] == [{"topic": "zq-bees"}]
    assert [request["kind"] for request in exported["requests"]] == ["erasure"]
    assert [chat["language_code"] for chat in exported["bot_chats"]] == ["es"]
    history = await audit.history(person.member_id, limit=100)
    assert [entry["id"] for entry in exported["changes"]] == [
        entry.id for entry in reversed(history.items)
    ]
    json.dumps(exported)


async def test_an_export_of_a_member_without_further_data_has_empty_lists(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    exported = await members.export("#1")
    assert all(
        exported[part] == []
        for part in (
            "invitations",
            "participation",
            "highlights",
            "monthly_highlights",
            "daily_rooms",
            "monthly_rooms",
            "rooms",
            "milestones",
            "relationships",
            "requests",
            "bot_chats",
        )
    )


async def test_a_dump_after_an_erasure_contains_no_value_of_the_person(
    person: Member, directory: asyncpg.Pool, database: str
) -> None:
    values = [
        *PERSONAL.values(),
        "Xaviera",
        "secret-zq",
        "zq-login",
        "xaviera-zq-hub",
        "0xzq",
        "hello zq",
        "zq-77",
    ]
    values += ["Zq Honey", "zq-bees", "friend of Zq", "married in Zq", "knows zq", ENTITY]
    before = (await data(database)).lower()
    assert [value for value in values if value.lower() not in before] == []

    await members.erase(person.member_id, actor="eva", entity_ids=[ENTITY])
    after = (await data(database)).lower()
    assert [value for value in values if value.lower() in after] == []
    assert "zq" not in re.sub(r"\b[0-9a-z]{16}\b", "", after)  # but in a code, by chance
    assert "other-bees" in after
    assert "other honey" in after


async def test_an_erasure_keeps_the_counts_and_the_tree(
    person: Member, directory: asyncpg.Pool
) -> None:
    await members.erase(person.member_id, actor="eva")
    assert await members.find(person.member_id) is None
    row = await directory.fetchrow(
        "SELECT * FROM community_members WHERE member_id = $1", person.member_id
    )
    assert row is not None
    assert (row["name"], row["status"], row["reputation_score"]) == (
        "Erased member",
        "active",
        person.reputation_score,
    )
    assert await directory.fetchval("SELECT count(*) FROM member_participation") == 2
    assert await directory.fetchval("SELECT sum(message_count) FROM member_daily_highlights") == 3
    assert [branch.member_id for branch in await invitations.lineage(person.member_id)] == [
        person.member_id,
        "#1",
    ]
    history = await audit.history(person.member_id, limit=100)
    assert [entry.actor for entry in history.items[:2]] == ["eva", "eva"]
    assert history.items[0].changes == {"erased": [False, True]}
    assert history.items[1].changes["name"] == [None, None]
    assert any(entry.changes.get("status") == ["pending", "active"] for entry in history.items)


async def test_an_erasure_cancels_the_open_invitation_of_the_person(
    person: Member, directory: asyncpg.Pool
) -> None:
    await members.erase(person.member_id, actor="eva")
    left = await directory.fetch(
        "SELECT status, created_by FROM community_invitations"
        " WHERE accepted_by IS NULL ORDER BY created_at"
    )
    # Their own one stays, but it can't be redeemed: its inviter is gone.
    assert [tuple(row) for row in left] == [
        ("pending", person.member_id),
        ("cancelled", "#1"),
        ("cancelled", "#1"),
    ]


async def test_an_erasure_keeps_the_data_of_others(person: Member, directory: asyncpg.Pool) -> None:
    other = await rows.member(directory, name="Somebody Else", telegram_username="else")
    await rows.event(
        directory, member_id=other["member_id"], event_metadata={"text": "mine"}, source_id="1"
    )
    tables = (
        "SELECT * FROM community_members WHERE member_id <> $1 ORDER BY id",
        "SELECT * FROM member_participation WHERE member_id <> $1 ORDER BY id",
        "SELECT * FROM directory_audit_log"
        " WHERE member_id <> $1 AND table_name = 'community_members' ORDER BY id",
    )
    before = [await directory.fetch(query, person.member_id) for query in tables]
    await members.erase(person.member_id, actor="eva")
    assert [await directory.fetch(query, person.member_id) for query in tables] == before


@pytest.mark.usefixtures("key")
async def test_a_banned_person_who_was_erased_cannot_join(
    person: Member, directory: asyncpg.Pool
) -> None:
    open_to_all = await invitations.create(created_by="#1")
    await members.set_status(person.member_id, "banned", actor="eva")
    await members.erase(person.member_id, actor="eva")
    stored = await directory.fetchval(
        "SELECT telegram_id FROM community_members WHERE member_id = $1", person.member_id
    )
    assert PERSONAL["telegram_id"] not in stored
    with pytest.raises(MemberBanned):
        await invitations.redeem(open_to_all.invitation_code, **PERSONAL)
    with pytest.raises(MemberBanned):
        await members.add(**PERSONAL)
    await members.erase(person.member_id, actor="eva")  # once more
    with pytest.raises(MemberBanned):
        await members.add(**PERSONAL)
    assert (await members.add(**{**PERSONAL, "telegram_id": "7700112234"})).status == "not_member"


async def test_a_process_without_the_key_adds_nobody_while_erased_bans_exist(
    person: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_to_all = await invitations.create(created_by="#1")
    monkeypatch.setenv("DIRECTORY_SECRET_KEY", KEY)
    load_settings.cache_clear()
    await members.set_status(person.member_id, "banned", actor="eva")
    await members.erase(person.member_id, actor="eva")
    monkeypatch.delenv("DIRECTORY_SECRET_KEY")
    load_settings.cache_clear()
    with pytest.raises(ConfigurationError, match="DIRECTORY_SECRET_KEY"):
        await invitations.redeem(open_to_all.invitation_code, **PERSONAL)
    with pytest.raises(ConfigurationError, match="DIRECTORY_SECRET_KEY"):
        await members.add(**PERSONAL)
    assert (await invitations.get(open_to_all.invitation_code)).status == "pending"
    with pytest.raises(MemberExists):
        await members.add(
            telegram_id=(await members.get("#1")).telegram_id, name="Known", primary_role="x"
        )


@pytest.mark.usefixtures("key")
async def test_a_banned_person_who_was_erased_cannot_join_as_an_imported_contact(
    person: Member, directory: asyncpg.Pool
) -> None:
    open_to_all = await invitations.create(created_by="#1")
    await members.set_status(person.member_id, "banned", actor="eva")
    await members.erase(person.member_id, actor="eva")
    await rows.member(directory, telegram_id=PERSONAL["telegram_id"])  # from an import
    with pytest.raises(MemberBanned):
        await invitations.redeem(open_to_all.invitation_code, **PERSONAL)


async def test_an_erased_member_cannot_be_restored(person: Member) -> None:
    await members.erase(person.member_id, actor="eva")
    with pytest.raises(MemberNotFound):
        await members.restore(person.member_id, actor="eva")


async def test_a_concurrent_erasure_and_redemption_never_deadlock(
    directory: asyncpg.Pool,
) -> None:
    await rows.permission(directory, permission="manage")
    for number in range(25):
        contact = await rows.member(
            directory, telegram_id=f"55{number}", telegram_username=f"contact{number}"
        )
        code = (
            await invitations.create(created_by="#1", telegram_username=f"contact{number}")
        ).invitation_code
        redeemed, erased = await asyncio.gather(
            invitations.redeem(
                code,
                telegram_id=f"55{number}",
                name="Contact",
                primary_role="x",
                telegram_username=f"contact{number}",
            ),
            members.erase(contact["member_id"], actor="eva"),
            return_exceptions=True,
        )
        assert erased is True
        assert isinstance(redeemed, invitations.Redemption | InvitationCancelled)


async def test_recording_does_not_wait_for_an_erasure_and_the_event_is_erased_too(
    database: str, person: Member, directory: asyncpg.Pool
) -> None:
    """Another session locks one of the events, so that the erasure waits in the middle of them."""
    number = person.member_id
    async with blocked(
        database, "SELECT FROM member_participation WHERE source_id = 'zq-77' FOR UPDATE"
    ) as other:
        erasing = asyncio.create_task(members.erase(number, actor="eva"))
        await until_waiting(other)
        event = message("zq-78", member_id=number, metadata={"text": "late zq"})
        async with asyncio.timeout(10):
            await participation.record_many([event])
        assert not erasing.done()
    await erasing
    assert "zq" not in str(await directory.fetch("SELECT * FROM member_participation"))


async def test_an_event_of_an_open_transaction_is_erased_too(
    database: str, person: Member, directory: asyncpg.Pool
) -> None:
    insert = (
        "INSERT INTO member_participation (member_id, event_type, platform, room_id, source_id)"
        " VALUES ($1, 'MESSAGE', 'telegram', '-100', 'zq-79')"
    )
    async with blocked(database, insert, person.member_id) as other:
        erasing = asyncio.create_task(members.erase(person.member_id, actor="eva"))
        await until_waiting(other)
        await other.execute("COMMIT")
        await erasing
    assert await directory.fetchval("SELECT count(*) FROM member_participation") == 3
    assert "zq" not in str(await directory.fetch("SELECT * FROM member_participation"))


async def test_an_erasure_logs_its_actor_and_keeps_the_actor_of_the_transaction(
    person: Member,
) -> None:
    async with transaction():
        await act_as("the caller")
        await members.erase(person.member_id, actor="eva")
        await engine.fetch(
            "UPDATE community_members SET country = 'Peru' WHERE member_id = $1", person.member_id
        )
    history = await audit.history(person.member_id, limit=100)
    assert [entry.actor for entry in history.items[:2]] == ["the caller", "eva"]


@pytest.mark.parametrize(
    ("arguments", "field", "limit"),
    [
        ({"actor": "x" * 256}, "actor", 255),
        ({"entity_ids": ["x" * 256]}, "entity_ids", 255),
        ({"entity_ids": [None]}, "entity_ids", None),
        ({"actor": 7}, "actor", None),
        ({"member_id": None}, "member_id", None),
    ],
    ids=str,
)
async def test_an_invalid_id_or_actor_is_refused_with_its_field(
    directory: asyncpg.Pool, arguments: dict[str, Any], field: str, limit: int | None
) -> None:
    await rows.member(directory)
    with pytest.raises(InvalidInput) as refused:
        await members.erase(**{"member_id": "#1", "actor": "eva", **arguments})
    assert (refused.value.field, refused.value.limit) == (field, limit)
    assert (await members.get("#1")).telegram_id
    if field != "actor":
        with pytest.raises(InvalidInput) as refused:
            await members.export(**{"member_id": "#1", **arguments})
        assert (refused.value.field, refused.value.limit) == (field, limit)


async def test_ids_can_be_integers(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await relationships.link("7", "8", "MENTORED", {})
    exported = await members.export(1, entity_ids=[7])
    assert exported["member"]["member_id"] == "#1"
    assert len(exported["relationships"]) == 1
    await members.erase(1, actor="eva", entity_ids=[7])
    assert await members.find("#1") is None
    assert await relationships.list_for(8) == []


async def test_a_banned_person_is_not_erased_without_a_key(person: Member, database: str) -> None:
    await members.set_status(person.member_id, "banned", actor="eva")
    before = await data(database)
    with pytest.raises(ConfigurationError, match="DIRECTORY_SECRET_KEY"):
        await members.erase(person.member_id, actor="eva")
    assert await data(database) == before


@pytest.mark.usefixtures("key")
async def test_an_erased_person_who_was_not_banned_can_join_as_a_new_member(
    person: Member,
) -> None:
    await members.erase(person.member_id, actor="eva")
    back = await members.add(**PERSONAL)
    assert back.member_id != person.member_id


async def test_an_erasure_is_rolled_back_with_the_callers_transaction(
    person: Member, database: str
) -> None:
    before = await data(database)

    async def erase_and_fail() -> None:
        async with transaction():
            await members.erase(person.member_id, actor="eva")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await erase_and_fail()
    assert await data(database) == before


async def test_an_unknown_member_can_be_neither_exported_nor_erased(
    directory: asyncpg.Pool,
) -> None:
    with pytest.raises(MemberNotFound):
        await members.export("#999")
    with pytest.raises(MemberNotFound):
        await members.erase("#999", actor="eva")


async def test_an_erased_person_keeps_the_points_of_voice_events(directory: asyncpg.Pool) -> None:
    member = await rows.member(directory)
    day = datetime(2026, 1, 31, 12, tzinfo=UTC)
    metadata = {"duration_seconds": 3600, "title": "secret zq"}
    await rows.event(
        directory,
        member_id=member["member_id"],
        event_type="VOICE",
        occurred_at=day,
        event_metadata=metadata,
    )
    await highlights.roll_up(day.date())
    await members.erase(member["member_id"], actor="bot")
    assert await highlights.verify(day.date()) == []
    assert "zq" not in str(await directory.fetch("SELECT * FROM member_participation"))


async def test_private_chats_become_one_room_without_an_id(directory: asyncpg.Pool) -> None:
    for telegram_id in ("1001", "1002", "1003"):
        await rows.member(directory, telegram_id=telegram_id)
    await members.merge("#2", into="#1", actor="eva")
    day = datetime(2026, 1, 31, 12, tzinfo=UTC)
    for room_id, at in (("1001", day), ("1002", day), ("1002", day - timedelta(days=1))):
        for event_type in ("MESSAGE", "REACTION"):
            await rows.event(
                directory, member_id="#1", event_type=event_type, room_id=room_id, occurred_at=at
            )
    for number in ("#1", "#3"):
        await rows.event(directory, member_id=number, room_id="-100", occurred_at=day)
    await highlights.roll_up(date(2026, 1, 30), until=day.date())
    await members.erase("#1", actor="eva")
    for table, counts in (
        ("member_daily_rooms", [("-100", 1), ("erased", 2), ("erased", 4)]),
        ("member_monthly_rooms", [("-100", 1), ("erased", 6)]),
    ):
        found = await directory.fetch(
            f"SELECT room_id, event_count FROM {table} WHERE member_id = '#1' ORDER BY 1, 2"
        )
        assert [tuple(row) for row in found] == counts
    assert await find_wrong_counts(directory) == {}


async def test_an_erasure_waits_for_a_roll_up_that_could_count_private_chats(
    directory: asyncpg.Pool, database: str
) -> None:
    await rows.member(directory)
    async with blocked(database, LOCK_OUT_MERGES) as roll_up:
        erasing = asyncio.create_task(members.erase("#1", actor="eva"))
        await until_blocked_by(roll_up)
        # A roll-up locks the members at last.
        await roll_up.execute("SELECT FROM community_members FOR NO KEY UPDATE NOWAIT")
    await erasing
