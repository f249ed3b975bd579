"""An import into the database: contacts, events, and a report that matches them."""

import asyncio
import io
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks import telegram_export
from community_directory.database import transaction
from community_directory.errors import ConfigurationError, InvalidInput
from community_directory.imports import discord, telegram
from community_directory.imports.export import (
    Author,
    BotAccount,
    ExportedEvent,
    ExportedItem,
    SkippedItem,
    SkipReason,
    UnknownBot,
)
from community_directory.imports.history import (
    Report,
    _HistoryWriter,
    import_history,
    leave_out_bots,
)
from community_directory.queries import accounts, highlights, members, participation
from community_directory.queries.archive import archive_next_day
from community_directory.queries.participation import NewEvent
from community_directory.settings import load_settings
from community_directory.tables import EventType, Platform
from tests.imports.exports import (
    ANA,
    BO,
    NOON,
    account,
    chat,
    discord_channel,
    discord_message,
    discord_reaction,
    encode_json,
    message,
    reaction,
    service,
    user,
)
from tests.tables import rows
from tests.waiting import start_during, until_waiting
from tests.zones import use_zone

UTC = ZoneInfo("UTC")
ALL_ROWS = """
    SELECT 'member' AS of, community_members::text AS row, xmin::text FROM community_members
    UNION ALL SELECT 'event', member_participation::text, xmin::text FROM member_participation
    UNION ALL SELECT 'day', member_daily_highlights::text, xmin::text FROM member_daily_highlights
    UNION ALL
    SELECT 'invitation', community_invitations::text, xmin::text FROM community_invitations
    UNION ALL SELECT 'link', member_relationships::text, xmin::text FROM member_relationships
    UNION ALL SELECT 'log', directory_audit_log::text, xmin::text FROM directory_audit_log
    UNION ALL SELECT 'number', last_value || ' ' || is_called, '' FROM community_member_number
    ORDER BY 1, 2
"""


async def from_telegram(export: object, *, dry_run: bool = False) -> Report:
    file = io.BytesIO(export if isinstance(export, bytes) else encode_json(export))
    items = telegram.read(file, zone=UTC)
    return await import_history(items, Platform.TELEGRAM, dry_run=dry_run)


async def from_discord(export: object, *, dry_run: bool = False) -> Report:
    items = discord.read(io.BytesIO(encode_json(export)))
    return await import_history(items, Platform.DISCORD, dry_run=dry_run)


async def stored_events(database: rows.Database) -> list[tuple[Any, ...]]:
    """Return the events with the names of their members, in the order of their times."""
    found = await database.fetch(
        """
        SELECT name, event_type, platform, room_id, source_id, occurred_at, event_metadata
        FROM member_participation JOIN community_members USING (member_id)
        ORDER BY occurred_at, event_type, name
        """
    )
    return [tuple(row) for row in found]


async def stored_names(database: rows.Database) -> list[tuple[str, str]]:
    found = await database.fetch(
        "SELECT telegram_id, name FROM community_members ORDER BY created_at, telegram_id"
    )
    return [tuple(row) for row in found]


COUNT_EVENTS = "SELECT count(*) FROM member_participation"

TWO_PEOPLE = chat(
    message(1, reactions=[reaction(BO, emoji="🔥", count=3)]),
    service(2, "group_call", duration=90),
    message(3, **BO),
)


async def test_authors_become_contacts_and_their_messages_become_events(
    directory: asyncpg.Pool,
) -> None:
    report = await from_telegram(TWO_PEOPLE)
    room, minute = "-1001234567890", timedelta(minutes=1)
    voice_begin = NOON + minute - timedelta(seconds=90)
    assert await stored_events(directory) == [
        ("Ana García", "VOICE", "telegram", room, "2", voice_begin, '{"duration_seconds": 90}'),
        ("Ana García", "MESSAGE", "telegram", room, "1", NOON, None),
        ("Bo", "REACTION", "telegram", room, "1", NOON, '{"emoji": "🔥"}'),
        ("Bo", "MESSAGE", "telegram", room, "3", NOON + 2 * minute, None),
    ]
    ana, bo = [await members.get_by_telegram_id(account) for account in ("101", "102")]
    assert (ana.name, ana.status, ana.primary_role, ana.profile_data) == (
        "Ana García",
        "not_member",
        "contact",
        None,
    )
    assert (bo.last_active_at, ana.last_active_at) == (NOON + 2 * minute, NOON)
    log = await directory.fetch(
        "SELECT DISTINCT actor, action, member_id FROM directory_audit_log ORDER BY member_id"
    )
    assert [tuple(entry) for entry in log] == [
        ("import", "INSERT", "#1"),
        ("import", "INSERT", "#2"),
    ]
    last = report.last
    assert last is not None
    assert (last.source_id, last.room) == ("3", "Frutero Club")
    assert report == Report(
        inserted={"MESSAGE": 2, "REACTION": 1, "VOICE": 1},  # type: ignore[arg-type]  # equal to a Counter
        rooms={"Frutero Club": 4},  # type: ignore[arg-type]
        skipped={SkipReason.ANONYMOUS_REACTION: 2},  # type: ignore[arg-type]
        new_contacts=2,
        days={NOON.date()},
        last=last,
    )


async def test_a_second_import_changes_nothing(directory: asyncpg.Pool) -> None:
    await from_telegram(TWO_PEOPLE)
    await highlights.roll_up(NOON.date())
    before = await directory.fetch(ALL_ROWS)
    report = await from_telegram(TWO_PEOPLE)
    assert await highlights.roll_up(NOON.date()) == 0
    assert await directory.fetch(ALL_ROWS) == before
    assert not report.inserted
    assert report.duplicates == {"MESSAGE": 2, "REACTION": 1, "VOICE": 1}
    assert (report.new_contacts, report.known_people, report.days) == (0, 2, {NOON.date()})


async def test_a_dry_run_changes_nothing_and_counts_what_would_happen(
    directory: asyncpg.Pool,
) -> None:
    await from_telegram(chat(message(1)))
    before = await directory.fetch(ALL_ROWS)
    planned = await from_telegram(TWO_PEOPLE, dry_run=True)
    assert await directory.fetch(ALL_ROWS) == before
    assert (planned.inserted, planned.duplicates) == (
        {"MESSAGE": 1, "REACTION": 1, "VOICE": 1},
        {"MESSAGE": 1},
    )
    assert (planned.new_contacts, planned.known_people) == (1, 1)
    assert await from_telegram(TWO_PEOPLE) == planned


@settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 200),
    before=st.integers(0, 200),
    people=st.integers(2, 40),
)
async def test_a_dry_run_counts_what_the_real_import_stores(
    directory: asyncpg.Pool, seed: int, count: int, before: int, people: int
) -> None:
    export = [*telegram_export.messages(count, people, seed)]
    await directory.execute("TRUNCATE community_members CASCADE")
    if before:
        await from_telegram({**telegram_export.CHAT, "messages": export[:before]})
    stored = await directory.fetch(ALL_ROWS)
    planned = await from_telegram({**telegram_export.CHAT, "messages": export}, dry_run=True)
    assert await directory.fetch(ALL_ROWS) == stored
    assert await from_telegram({**telegram_export.CHAT, "messages": export}) == planned
    assert await directory.fetchval(COUNT_EVENTS) == sum(planned.inserted.values()) + sum(
        planned.duplicates.values()
    )


async def test_a_known_member_gets_the_events_and_is_not_changed(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(
        directory, telegram_id="101", name="Ana María", status="active", primary_role="designer"
    )
    report = await from_telegram(TWO_PEOPLE)
    ana = await members.get_by_telegram_id("101")
    assert (ana.member_id, ana.name, ana.status, ana.primary_role) == (
        "#1",
        "Ana María",
        "active",
        "designer",
    )
    assert (report.new_contacts, report.known_people) == (1, 1)
    assert await directory.fetchval(f"{COUNT_EVENTS} WHERE member_id = '#1'") == 2


async def test_somebody_who_writes_in_two_batches_is_counted_once(directory: asyncpg.Pool) -> None:
    await rows.member(directory, telegram_id="101")
    report = await from_telegram(
        chat(*(message(number, **(ANA if number % 2 else BO)) for number in range(1, 2502)))
    )
    assert (report.new_contacts, report.known_people) == (1, 1)
    assert report.inserted == {"MESSAGE": 2501}


async def test_each_batch_is_a_transaction(directory: asyncpg.Pool) -> None:
    def items() -> Iterable[ExportedEvent]:
        for number in range(2500):
            at = NOON + timedelta(seconds=number)
            yield ExportedEvent(
                Author("101", "Ana"), EventType.MESSAGE, "-1", "room", str(number), at
            )

    await import_history(items(), Platform.TELEGRAM)
    transactions = await directory.fetch(
        "SELECT count(*) FROM member_participation GROUP BY xmin::text ORDER BY 1"
    )
    assert [row[0] for row in transactions] == [500, 1000, 1000]


# Deleted, removed and banned accounts, and people on both platforms


async def test_an_unknown_deleted_account_is_skipped(directory: asyncpg.Pool) -> None:
    gone = {"from": None, "from_id": "user103"}
    report = await from_telegram(
        chat(message(1, **gone), message(2), message(3, **gone, reactions=[reaction(gone)]))
    )
    assert report.skipped == {SkipReason.DELETED_ACCOUNT: 3}
    assert await stored_names(directory) == [("101", "Ana García")]
    assert report.rooms == {"Frutero Club": 1}


async def test_a_known_deleted_account_keeps_its_events_during_a_merge(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, telegram_id="103")
    await rows.member(directory, telegram_id="104")
    export = chat(message(1, **{"from": None, "from_id": "user103"}))
    merge = members.merge("#1", into="#2", actor="eva")
    report = await (await start_during(directory, merge, from_telegram(export)))
    assert not report.skipped
    assert report.known_people == 1
    assert await directory.fetchval("SELECT member_id FROM member_participation") == "#2"


@pytest.mark.parametrize(("is_removed", "name"), [(False, "Eva Quetzal"), (True, "eva.dev")])
async def test_a_name_stays_if_the_contact_is_changed_at_the_same_time(
    directory: asyncpg.Pool, is_removed: bool, name: str
) -> None:
    await rows.member(directory, telegram_id="discord:7", name="eva.dev")
    author = Author("discord:7", "Eva on this server", "7", "eva.dev")
    event = ExportedEvent(author, EventType.MESSAGE, "1", "room", "1", NOON)
    change = (
        members.remove("#1", actor="luis")
        if is_removed
        else members.update_profile("#1", name=name, actor="luis")
    )
    importing = import_history([event], Platform.DISCORD)
    report = await (await start_during(directory, change, importing))
    assert report.inserted == {"MESSAGE": 1}
    assert await stored_names(directory) == [("discord:7", name)]


async def test_a_known_deleted_account_keeps_its_events(directory: asyncpg.Pool) -> None:
    await rows.member(directory, telegram_id="103", name="Eva")
    report = await from_telegram(chat(message(1, **{"from": None, "from_id": "user103"})))
    assert not report.skipped
    assert [(event[0], event[4]) for event in await stored_events(directory)] == [("Eva", "1")]


async def test_a_removed_member_gets_the_events_and_stays_removed(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, telegram_id="101", status="active", deleted_at=NOON)
    report = await from_telegram(chat(message(1)))
    assert (report.inserted, report.known_people) == ({"MESSAGE": 1}, 1)
    assert await members.find("#1") is None


async def test_a_banned_member_gets_the_events_and_stays_banned(directory: asyncpg.Pool) -> None:
    await rows.member(directory, telegram_id="101", status="banned")
    report = await from_telegram(chat(message(1)))
    assert report.inserted == {"MESSAGE": 1}
    assert (await members.get("#1")).status == "banned"


async def test_a_banned_and_erased_person_is_skipped(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIRECTORY_SECRET_KEY", "a key of at least thirty-two characters")
    load_settings.cache_clear()
    await rows.member(directory, telegram_id="101", status="banned")
    await members.erase("#1", actor="panel")
    planned = await from_telegram(TWO_PEOPLE, dry_run=True)
    assert await from_telegram(TWO_PEOPLE) == planned
    assert (planned.new_contacts, planned.skipped) == (
        1,
        {SkipReason.ANONYMOUS_REACTION: 2, SkipReason.BANNED_AUTHOR: 2},
    )
    assert (await from_telegram(TWO_PEOPLE)).skipped == {
        SkipReason.ANONYMOUS_REACTION: 2,
        SkipReason.BANNED_AUTHOR: 2,
    }
    assert {event[0] for event in await stored_events(directory)} == {"Bo"}
    assert await directory.fetchval("SELECT count(*) FROM community_members") == 2


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIRECTORY_SECRET_KEY", "a key of at least thirty-two characters")
    load_settings.cache_clear()


async def test_an_erased_person_does_not_come_back_with_an_old_export(
    directory: asyncpg.Pool, key: None
) -> None:
    discord_export = discord_channel(
        discord_message(1, reactions=[discord_reaction(user("802", "bo"))])
    )
    await from_telegram(TWO_PEOPLE)
    ana = (await members.get_by_telegram_id("101")).member_id
    await accounts.link(ana, "discord", "801", actor="eva")
    await from_discord(discord_export)
    await members.erase(ana, actor="eva")
    before = await directory.fetch(ALL_ROWS)
    for dry_run in (True, False):
        report = await from_telegram(TWO_PEOPLE, dry_run=dry_run)
        assert (report.skipped[SkipReason.ERASED_AUTHOR], report.new_contacts) == (2, 0)
        report = await from_discord(discord_export, dry_run=dry_run)
        assert (report.skipped, report.new_contacts) == ({SkipReason.ERASED_AUTHOR: 1}, 0)
    assert await directory.fetch(ALL_ROWS) == before


async def test_an_erased_person_who_came_back_is_imported_again(
    directory: asyncpg.Pool, key: None
) -> None:
    await members.erase((await rows.member(directory, telegram_id="101"))["member_id"], actor="eva")
    back = await members.add(telegram_id="101", name="Ana", primary_role="x")
    report = await from_telegram(TWO_PEOPLE)
    assert (report.known_people, report.new_contacts) == (1, 1)
    assert {event.member_id for event in (await participation.history(back.member_id)).items} == {
        back.member_id
    }


async def test_an_author_who_is_erased_between_two_batches_gets_nothing_more(
    directory: asyncpg.Pool, key: None
) -> None:
    writer = _HistoryWriter(Platform.TELEGRAM, dry_run=False)
    await writer.write_batch([event(1), event(2)])
    await members.erase("#1", actor="eva")
    await writer.write_batch([event(3), event(4)])
    assert writer.report.skipped == {SkipReason.ERASED_AUTHOR: 2}
    assert await directory.fetchval("SELECT count(*) FROM community_members") == 1
    assert await directory.fetchval(COUNT_EVENTS) == 2


async def test_the_erased_people_of_a_batch_are_found_with_one_statement(
    directory: asyncpg.Pool, key: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    async def count(accounts: list[str]) -> set[str]:
        asked.append(sorted(accounts))
        return await find_erased(accounts)

    find_erased = members.find_erased
    monkeypatch.setattr(members, "find_erased", count)
    for _ in range(2):
        await from_telegram(TWO_PEOPLE)
    assert asked == [["101", "102"]]


async def test_a_contact_has_an_account_with_the_username_of_the_export(
    directory: asyncpg.Pool,
) -> None:
    await from_telegram(TWO_PEOPLE)
    await from_discord(discord_channel(discord_message(1)))
    for number, expected in (("#1", ("telegram", "101", None)), ("#3", ("discord", "801", "ana"))):
        [found] = await accounts.of(number)
        assert (found.platform, found.account_id, found.username) == expected
        assert found.proof == "platform"


async def test_an_import_without_the_secret_key_is_refused_if_banned_people_were_erased(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIRECTORY_SECRET_KEY", "a key of at least thirty-two characters")
    load_settings.cache_clear()
    await rows.member(directory, telegram_id="101", status="banned")
    await members.erase("#1", actor="panel")
    monkeypatch.delenv("DIRECTORY_SECRET_KEY")
    load_settings.cache_clear()
    before = await directory.fetch(ALL_ROWS)
    for dry_run in (True, False):
        with pytest.raises(ConfigurationError, match="Set DIRECTORY_SECRET_KEY"):
            await from_telegram(TWO_PEOPLE, dry_run=dry_run)
    assert await directory.fetch(ALL_ROWS) == before


async def test_a_member_with_a_linked_discord_account_is_one_person_on_both_platforms(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, telegram_id="101", name="Ana", profile_data={"discord_id": "801"})
    export = discord_channel(discord_message(1, reactions=[discord_reaction(user("802", "bo"))]))
    for _ in range(2):
        report = await from_discord(export)
    assert (report.duplicates, report.known_people) == ({"MESSAGE": 1, "REACTION": 1}, 2)
    found = await stored_events(directory)
    assert [(event[0], event[1], event[2], event[3]) for event in found] == [
        ("Ana", "MESSAGE", "discord", "701"),
        ("Bo", "REACTION", "discord", "701"),
    ]
    bo = await members.get_by_telegram_id("discord:802")
    assert (bo.status, bo.profile_data) == ("not_member", {"discord_id": "802"})


async def test_a_discord_account_linked_after_an_import_keeps_one_history(
    directory: asyncpg.Pool,
) -> None:
    await from_discord(discord_channel(discord_message(1)))
    await rows.member(
        directory, telegram_id="101", name="Ana of Telegram", profile_data={"discord_id": "801"}
    )
    await from_discord(discord_channel(discord_message(1), discord_message(2)))
    assert [(event[4][-1], event[0]) for event in await stored_events(directory)] == [
        ("1", "Ana"),
        ("2", "Ana"),
    ]


async def test_the_same_id_is_another_person_on_the_other_platform(
    directory: asyncpg.Pool,
) -> None:
    await from_telegram(chat(message(1)))
    await from_discord(discord_channel(discord_message(1, author=user("101", "dana"))))
    assert await stored_names(directory) == [("101", "Ana García"), ("discord:101", "Dana")]


# Values that can't be stored


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("a\0b", "a b"),
        ("a\ud800b", "a b"),
        ("line\r\n\tline\x1b[31m\x7f", "line line [31m"),
        ("👩‍👩‍👧‍👦 <img src=x onerror=alert(1)>", "👩‍👩‍👧‍👦 <img src=x onerror=alert(1)>"),
        ("Null", "Null"),
        ("x" * 10_000, "x" * 255),
        ("🍓" * 300, "🍓" * 255),
        ("\u200b\u3000\u00a0", "101"),
        (" ", "101"),
        ("\0\x01", "101"),
    ],
    ids=[
        "nul",
        "surrogate",
        "control",
        "emoji",
        "Null",
        "long",
        "long emoji",
        "invisible",
        "space",
        "only control",
    ],
)
async def test_any_name_can_be_stored(directory: asyncpg.Pool, name: str, stored: str) -> None:
    event = ExportedEvent(Author("101", name), EventType.MESSAGE, "-1", "room", "1", NOON)
    report = await import_history([event], Platform.TELEGRAM)
    assert await stored_names(directory) == [("101", stored)]
    assert (report.new_contacts, report.inserted) == (1, {"MESSAGE": 1})


@pytest.mark.parametrize("source", ["", " ", "\0", "x" * 256, "x" * 10_000_000])
async def test_an_event_that_cannot_be_stored_is_counted_and_the_others_are_stored(
    directory: asyncpg.Pool, source: str
) -> None:
    ids = ["1", source, "3"]
    found = [
        ExportedEvent(Author("101", "Ana"), EventType.MESSAGE, "-1", "room", one, NOON)
        for one in ids
    ]
    report = await import_history(found, Platform.TELEGRAM)
    assert (report.inserted, report.skipped) == ({"MESSAGE": 2}, {SkipReason.NOT_STORABLE: 1})
    assert report.rooms == {"room": 2}
    assert [
        row[0]
        for row in await directory.fetch("SELECT source_id FROM member_participation ORDER BY 1")
    ] == [
        "1",
        "3",
    ]


@pytest.mark.parametrize(
    "emoji", ["\0", "\ud800", "x" * 2_000_000], ids=["nul", "surrogate", "too long"]
)
async def test_a_reaction_that_cannot_be_stored_does_not_affect_other_events(
    directory: asyncpg.Pool, emoji: str
) -> None:
    malformed = ExportedEvent(
        Author("101", "Ana"), EventType.REACTION, "-1", "room", "1", NOON, {"emoji": emoji}
    )
    plain = ExportedEvent(Author("102", "Bo"), EventType.MESSAGE, "-1", "room", "1", NOON)
    report = await import_history([malformed, plain], Platform.TELEGRAM)
    assert (report.inserted, report.skipped) == ({"MESSAGE": 1}, {SkipReason.NOT_STORABLE: 1})


async def test_an_event_that_cannot_be_stored_has_no_day(directory: asyncpg.Pool) -> None:
    times = [NOON, NOON.replace(year=1999)]
    found = [
        ExportedEvent(Author("101", "Ana"), EventType.MESSAGE, "-1", "room", f"{at.year}", at)
        for at in times
    ]
    report = await import_history(found, Platform.TELEGRAM)
    assert (report.inserted, report.skipped) == ({"MESSAGE": 1}, {SkipReason.NOT_STORABLE: 1})
    assert (report.days, report.rooms) == ({NOON.date()}, {"room": 1})


async def test_a_dry_run_counts_an_event_that_occurs_twice_once(
    directory: asyncpg.Pool,
) -> None:
    found = [
        ExportedEvent(Author(account, "Ana"), EventType.MESSAGE, room, "room", source, NOON)
        for account, room, source in [
            ("101", "-1", "1"),
            ("101", "-1", "1"),
            ("101", "-2", "1"),
            ("102", "-1", "1"),
        ]
    ]
    planned = await import_history(found, Platform.TELEGRAM, dry_run=True)
    assert (planned.inserted, planned.duplicates) == ({"MESSAGE": 3}, {"MESSAGE": 1})
    assert await import_history(found, Platform.TELEGRAM) == planned


# Truncated and empty files


async def test_the_events_before_the_end_of_a_truncated_file_are_stored(
    directory: asyncpg.Pool,
) -> None:
    whole = encode_json(chat(*(message(number) for number in range(1, 1502))))
    report = await from_telegram(whole[: whole.index(b'"id": 1501')])
    assert report.broken is not None
    assert report.inserted == {"MESSAGE": 1500}
    assert report.last is not None
    assert report.last.source_id == "1500"
    assert await directory.fetchval(COUNT_EVENTS) == 1500
    assert (await from_telegram(whole)).inserted == {"MESSAGE": 1}


@pytest.mark.parametrize("export", [account(), chat()], ids=["account", "chat"])
async def test_an_export_without_messages_is_nothing_to_do(
    directory: asyncpg.Pool, export: object
) -> None:
    for dry_run in (True, False):
        assert await from_telegram(export, dry_run=dry_run) == Report()


async def test_a_file_that_is_not_json_is_reported(directory: asyncpg.Pool) -> None:
    report = await from_telegram(b"<html>")
    assert report.broken is not None
    assert report == Report(broken=report.broken)


async def test_an_import_of_skipped_items_alone_succeeds(directory: asyncpg.Pool) -> None:
    items = [SkippedItem(SkipReason.MALFORMED), SkippedItem(SkipReason.MALFORMED, 3)]
    report = await import_history(items, Platform.TELEGRAM)
    assert report == Report(skipped={SkipReason.MALFORMED: 4})  # type: ignore[arg-type]


async def test_the_report_has_the_first_places_of_the_damage(directory: asyncpg.Pool) -> None:
    items = [
        SkippedItem(SkipReason.MALFORMED, place=f"near byte {number}") for number in range(1, 9)
    ]
    for dry_run in (True, False):
        report = await import_history(items, Platform.TELEGRAM, dry_run=dry_run)
        assert report == Report(
            skipped={SkipReason.MALFORMED: 8},  # type: ignore[arg-type]
            places=[f"near byte {number}" for number in range(1, 6)],
            more_places=3,
        )


# Dry runs


def event(number: int | str, account: str = "101", **fields: Any) -> ExportedEvent:
    """Return a message that an export contains."""
    given: dict[str, Any] = {
        "author": Author(account, f"Person {account}"),
        "event_type": EventType.MESSAGE,
        "room_id": "-1001234567890",
        "room": "Frutero",
        "source_id": str(number),
        "occurred_at": NOON,
        **fields,
    }
    return ExportedEvent(**given)


async def dry_and_real(directory: asyncpg.Pool, items: list[ExportedItem]) -> Report:
    """Check that the dry run changes nothing and says what the import does, and import."""
    before = await directory.fetch(ALL_ROWS)
    planned = await import_history(items, Platform.TELEGRAM, dry_run=True)
    assert await directory.fetch(ALL_ROWS) == before
    report = await import_history(items, Platform.TELEGRAM)
    assert planned == report
    return report


async def test_a_dry_run_finds_an_event_that_another_batch_contains_too(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, telegram_id="102")
    once = [event(number, str(101 + number % 2)) for number in range(1, 1501)]
    report = await dry_and_real(directory, [*once, *reversed(once), *once[:3]])
    assert (report.inserted, report.duplicates) == ({"MESSAGE": 1500}, {"MESSAGE": 1503})


async def test_the_events_of_archived_days_are_counted_and_left_out(
    directory: asyncpg.Pool,
) -> None:
    items: list[ExportedItem] = [
        event(number, occurred_at=NOON + timedelta(days=number // 2)) for number in range(6)
    ]
    await import_history(items, Platform.TELEGRAM)
    before = NOON.date() + timedelta(days=2)
    while await archive_next_day(before):
        pass
    report = await dry_and_real(directory, [*items, event(9, occurred_at=NOON)])
    assert report.skipped == {SkipReason.ARCHIVED: 5}
    assert (report.inserted, report.duplicates) == ({}, {"MESSAGE": 2})
    assert report.days == {before}


async def test_a_dry_run_counts_what_can_not_be_stored(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIRECTORY_SECRET_KEY", "a key of at least thirty-two characters")
    load_settings.cache_clear()
    await rows.member(directory, telegram_id="105", status="banned")
    await members.erase("#1", actor="panel")
    await rows.member(directory, telegram_id="102")
    items: list[ExportedItem] = [
        made
        for account in ("101", "102", "105")
        for made in (
            event(1, account),
            event("", account),
            event("\0", account),
            event("x" * 256, account),
            event(2, account, metadata={"a": "\0"}),
            event(3, account, metadata={"a": 10**400}),
            event(4, account, occurred_at=NOON.replace(year=2099)),
            event(5, account, occurred_at=NOON.replace(year=1999)),
            event(6, account, room_id=" "),
            event(1, account),
        )
    ]
    items.append(event(9, "9" * 300))
    report = await dry_and_real(directory, items)
    assert (report.inserted, report.duplicates) == ({"MESSAGE": 2}, {"MESSAGE": 2})
    assert report.skipped == {SkipReason.NOT_STORABLE: 17, SkipReason.BANNED_AUTHOR: 10}
    assert (report.new_contacts, report.known_people) == (1, 1)


HOSTILE_ITEMS = st.lists(
    st.builds(SkippedItem, st.sampled_from(SkipReason), st.integers(1, 3), st.none() | st.text())
    | st.builds(
        ExportedEvent,
        author=st.builds(
            Author,
            st.integers(1, 5).map(str) | st.just("9" * 300),
            st.none() | st.text(max_size=5),
        )
        | st.integers(1, 3).map(
            lambda number: Author(f"discord:{number}", "Ana", discord_id=str(number))
        ),
        event_type=st.sampled_from(EventType),
        room_id=st.sampled_from(["-1", "-2", "-1001234567890", " "]),
        room=st.just("room"),
        source_id=st.integers(1, 3).map(str)
        | st.integers(1, 3).map(lambda number: str(number - 1_000_000_000))
        | st.text(max_size=3),
        occurred_at=st.sampled_from([NOON, NOON.replace(year=1999), NOON.replace(year=2099)]),
        metadata=st.none() | st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
    ),
    max_size=40,
)


@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(before=HOSTILE_ITEMS, items=HOSTILE_ITEMS)
async def test_a_dry_run_tells_the_truth_about_any_items(
    directory: asyncpg.Pool, before: list[ExportedItem], items: list[ExportedItem]
) -> None:
    await directory.execute("TRUNCATE community_members, directory_moved_rooms CASCADE")
    await import_history(before, Platform.TELEGRAM)
    report = await dry_and_real(directory, items)
    again = await dry_and_real(directory, items)
    assert not again.inserted
    assert again.duplicates == report.inserted + report.duplicates


# Groups that became supergroups

OLD_GROUP, SUPERGROUP = "-4242", "-1001234567890"


def group(*numbers: int) -> list[ExportedItem]:
    """Return messages of the old group, each of which has a reaction of Bo."""
    return [
        made
        for number in numbers
        for made in (
            event(number, room_id=OLD_GROUP, occurred_at=NOON + timedelta(minutes=number)),
            event(
                number,
                "102",
                event_type=EventType.REACTION,
                room_id=OLD_GROUP,
                occurred_at=NOON + timedelta(minutes=number),
            ),
        )
    ]


def supergroup(*numbers: int) -> list[ExportedItem]:
    """Return the messages as the export of the supergroup has them, and one of its own."""
    moved = [
        replace(item, room_id=SUPERGROUP, source_id=str(int(item.source_id) - 1_000_000_000))
        for item in group(*numbers)
        if isinstance(item, ExportedEvent)
    ]
    return [*moved, event(1, occurred_at=NOON + timedelta(days=1))]


@pytest.mark.parametrize("is_one_file", [True, False])
@pytest.mark.parametrize(
    ("first", "second", "stored"),
    [
        (group(1, 2, 3), supergroup(2, 3, 4), 9),
        (supergroup(2, 3, 4), group(1, 2, 3), 9),
        (supergroup(2, 3, 4), group(4), 7),
        (group(1, 2, 3), [*group(1, 2, 3), *supergroup(1, 2, 3)], 7),
    ],
    ids=["group first", "supergroup first", "one in common", "both in one file"],
)
async def test_a_group_and_its_supergroup_are_one_room_in_any_order(
    directory: asyncpg.Pool,
    first: list[ExportedItem],
    second: list[ExportedItem],
    stored: int,
    is_one_file: bool,
) -> None:
    for items in [[*first, *second]] if is_one_file else [first, second]:
        await dry_and_real(directory, items)
    rooms = await directory.fetch("SELECT DISTINCT room_id FROM member_participation")
    assert [row["room_id"] for row in rooms] == [SUPERGROUP]
    assert await directory.fetchval(COUNT_EVENTS) == stored
    for items in (first, second):
        assert not (await dry_and_real(directory, items)).inserted


@pytest.mark.parametrize(
    "changed",
    [
        {"occurred_at": NOON},
        {"author": Author("103", "Somebody else")},
        {"room_id": "-1009999999999"},
        {"event_type": EventType.REACTION},
    ],
    ids=["time", "author", "another supergroup", "type"],
)
async def test_another_group_is_not_taken_for_the_old_one(
    directory: asyncpg.Pool, changed: dict[str, Any]
) -> None:
    other = [replace(item, **changed) for item in group(1, 2, 3) if isinstance(item, ExportedEvent)]
    await import_history(other, Platform.TELEGRAM)
    await dry_and_real(directory, supergroup(1, 2, 3))
    assert await directory.fetchval("SELECT count(*) FROM directory_moved_rooms") == 0


@pytest.mark.parametrize("is_one_file", [True, False])
@pytest.mark.parametrize(
    ("shift", "is_same"),
    [
        (timedelta(hours=-6), True),
        (timedelta(hours=5, minutes=45), True),
        (timedelta(hours=27), False),
        (timedelta(minutes=7), False),
    ],
    ids=str,
)
async def test_a_group_is_recognized_if_its_times_were_read_in_another_zone(
    directory: asyncpg.Pool, shift: timedelta, is_same: bool, is_one_file: bool
) -> None:
    old: list[ExportedItem] = [
        replace(item, occurred_at=item.occurred_at + shift)
        for item in group(1, 2, 3)
        if isinstance(item, ExportedEvent)
    ]
    for first, second in ((old, supergroup(1, 2, 3)), (supergroup(1, 2, 3), old)):
        await directory.execute("TRUNCATE community_members, directory_moved_rooms CASCADE")
        for items in [[*first, *second]] if is_one_file else [first, second]:
            await dry_and_real(directory, items)
        assert await directory.fetchval(COUNT_EVENTS) == (7 if is_same else 13)


async def test_few_messages_at_other_times_do_not_show_that_two_groups_are_one(
    directory: asyncpg.Pool,
) -> None:
    old: list[ExportedItem] = [
        replace(item, occurred_at=item.occurred_at + timedelta(hours=hours))
        for item, hours in zip(group(1, 2, 3), (1, 1, 1, 1, 2, 2), strict=True)
        if isinstance(item, ExportedEvent)
    ]
    await import_history(old, Platform.TELEGRAM)
    await dry_and_real(directory, supergroup(1, 2, 3))
    assert await directory.fetchval("SELECT count(*) FROM directory_moved_rooms") == 0


async def test_a_migrated_group_of_an_export_is_read_like_the_group_itself(
    directory: asyncpg.Pool,
) -> None:
    old = chat(message(41), message(42, **BO), type="private_group", id=4242)
    new = chat(
        {**message(41), "id": 41 - 1_000_000_000},
        {**message(42, **BO), "id": 42 - 1_000_000_000},
        {**message(50), "id": 1},
    )
    for exports in ((old, new), (new, old)):
        await directory.execute("TRUNCATE community_members, directory_moved_rooms CASCADE")
        for export in exports:
            await from_telegram(export)
        assert [(row[3], row[4]) for row in await stored_events(directory)] == [
            ("-1001234567890", "-999999959"),
            ("-1001234567890", "-999999958"),
            ("-1001234567890", "1"),
        ]


# Bots


async def test_a_bot_of_an_export_is_left_out_of_every_later_import(
    directory: asyncpg.Pool,
) -> None:
    bot = BotAccount("104", "Rose")
    report = await dry_and_real(directory, [bot, SkippedItem(SkipReason.BOT), event(1)])
    assert (report.bots, report.new_contacts) == (1, 1)
    report = await dry_and_real(directory, [event(2, "104"), event(3)])
    assert (report.skipped, report.inserted) == ({SkipReason.BOT: 1}, {"MESSAGE": 1})
    assert [account for account, _ in await stored_names(directory)] == ["101"]


async def test_a_bot_without_a_visible_name_is_remembered_too(directory: asyncpg.Pool) -> None:
    for name in ("\0", "\u200b", "x" * 300, "\ud800"):
        await directory.execute("TRUNCATE directory_bots")
        await import_history([BotAccount("104", name)], Platform.TELEGRAM)
        assert await members.known_bots(["104"]) == {"104"}


async def test_a_contact_that_an_export_shows_to_be_a_bot_is_marked_once(
    directory: asyncpg.Pool,
) -> None:
    await import_history([event(1, "104"), event(2, "105")], Platform.TELEGRAM)
    await members.set_status("#2", "pending", actor="panel")
    bots: list[ExportedItem] = [BotAccount("104", "Rose"), BotAccount("105", "A member")]
    await dry_and_real(directory, bots)
    marks = [(await members.get(number)).is_bot for number in ("#1", "#2")]
    assert marks == [True, False]
    report = await dry_and_real(directory, [event(3, "104")])
    assert report.skipped == {SkipReason.BOT: 1}
    await members.mark_bot("#1", False, actor="panel", reason="a person")
    await dry_and_real(directory, bots)
    assert not (await members.get("#1")).is_bot


async def test_the_bots_that_the_operator_names_are_left_out_and_remembered(
    directory: asyncpg.Pool,
) -> None:
    export = discord_channel(
        discord_message(1, author=user("801", "ana")),
        discord_message(2, author=user("802", "bernard bot")),
        discord_message(3, author=user("803", "rose"), reactions=[discord_reaction(user("804"))]),
    )
    items = [*discord.read(io.BytesIO(encode_json(export)))]
    found = [*leave_out_bots(items, ["Rose", "discord:804", "801", "Bernard"])]
    assert [item for item in found if isinstance(item, BotAccount)] == [
        BotAccount("discord:801", "Ana"),
        BotAccount("discord:803", "Rose"),
        BotAccount("discord:804", "Ana"),
    ]
    report = await import_history(found, Platform.DISCORD)
    assert (report.bots, report.skipped) == (3, {SkipReason.BOT: 3})
    assert report.unknown_bots == ["Bernard"]
    report = await from_discord(export)
    assert (report.skipped, report.duplicates) == ({SkipReason.BOT: 3}, {"MESSAGE": 1})
    assert [name for _, name in await stored_names(directory)] == ["Bernard Bot"]


async def test_an_operator_names_other_bots_by_name_or_id(directory: asyncpg.Pool) -> None:
    items = [event(1), event(2, "102"), event(3, "102", author=Author("103", None))]
    for name in ("Person 102", "102", "user102", " Person 102 ", "\u202ePerson 102"):
        found = [*leave_out_bots(items, [name, "\u200b"])]
        assert found == [
            items[0],
            BotAccount("102", "Person 102"),
            SkippedItem(SkipReason.BOT),
            items[2],
        ]
    for name in ("person 102", "10", "Person"):
        assert [*leave_out_bots(items, [name])] == [*items, UnknownBot(name)]
    for name in ("", "\u200b"):
        assert [*leave_out_bots(items, [name])] == items


async def test_a_bot_that_the_file_shows_itself_is_not_unknown() -> None:
    items = [BotAccount("102", "Rose"), BotAccount("discord:9", "MEE6")]
    assert [*leave_out_bots(items, ["Rose", "9"])] == items
    assert [*leave_out_bots(items, ["102", "discord:9", "8"])] == [*items, UnknownBot("8")]


async def test_an_operator_cannot_name_a_bot_by_its_username() -> None:
    with pytest.raises(InvalidInput, match="An export has no usernames such as @rose_bot") as error:
        [*leave_out_bots([], [" @rose_bot"])]
    assert error.value.field == "bots"


# Concurrent writers


async def test_concurrent_imports_of_one_file_store_everything_once(
    directory: asyncpg.Pool,
) -> None:
    export = {**telegram_export.CHAT, "messages": [*telegram_export.messages(3000, 60)]}
    imports = [from_telegram(export) for _ in range(3)]
    reports = await asyncio.wait_for(asyncio.gather(*imports), 60)
    stored = await directory.fetchval(COUNT_EVENTS)
    assert sum(sum(report.inserted.values()) for report in reports) == stored
    assert {sum((report.inserted + report.duplicates).values()) for report in reports} == {stored}
    people = await directory.fetchval("SELECT count(*) FROM community_members")
    assert sum(report.new_contacts for report in reports) == people
    assert (
        await directory.fetchval("SELECT count(DISTINCT telegram_id) FROM community_members")
        == people
    )


async def test_concurrent_imports_with_people_in_opposite_order_do_not_deadlock(
    directory: asyncpg.Pool,
) -> None:
    people = [
        {"from": f"Person {number}", "from_id": f"user{number}"} for number in range(200, 500)
    ]
    one = chat(*(message(number, **person) for number, person in enumerate(people, 1)))
    other = chat(
        *(message(number, **person) for number, person in enumerate(reversed(people), 1)), id=2
    )
    reports = await asyncio.wait_for(
        asyncio.gather(*(from_telegram(export) for export in (one, other))), 60
    )
    assert [report.inserted for report in reports] == [{"MESSAGE": 300}, {"MESSAGE": 300}]
    assert sum(report.new_contacts for report in reports) == 300


async def test_a_bot_can_record_events_of_the_same_people_during_an_import(
    directory: asyncpg.Pool,
) -> None:
    accounts = [str(number) for number in range(201, 241)]
    numbers = [
        (await rows.member(directory, telegram_id=account))["member_id"] for account in accounts
    ]
    export = chat(*(message(n, from_id=f"user{accounts[n % 40]}") for n in range(1, 3001)))

    async def live(batch: int) -> int:
        found = [
            NewEvent(
                member_id=numbers[(batch * 7 + number) % 40],
                event_type="MESSAGE",
                platform="telegram",
                room_id="-1001234567890",
                source_id=str((batch * 150 + number) * 2),
                occurred_at=NOON + timedelta(days=batch),
            )
            for number in reversed(range(150))
        ]
        recorded = await participation.record_many(found)
        assert len(recorded.inserted) + len(recorded.duplicates) == 150
        return len(recorded.inserted)

    importing = asyncio.create_task(from_telegram(export))
    inserted = await asyncio.wait_for(asyncio.gather(*map(live, range(10))), 60)
    report = await asyncio.wait_for(importing, 60)
    assert await directory.fetchval(COUNT_EVENTS) == report.inserted["MESSAGE"] + sum(inserted)
    assert report.inserted["MESSAGE"] + report.duplicates["MESSAGE"] == 3000


async def test_an_author_whom_another_program_adds_concurrently_is_found(
    directory: asyncpg.Pool,
) -> None:
    """The import waits for the other transaction, and then uses its member."""
    async with directory.acquire() as other:
        await other.execute("BEGIN")
        await rows.member(other, telegram_id="101", name="Ana of the bot")
        importing = asyncio.create_task(from_telegram(chat(message(1))))
        await until_waiting(directory)
        await other.execute("COMMIT")
        report = await importing
    assert (report.new_contacts, report.inserted) == (0, {"MESSAGE": 1})
    assert await stored_names(directory) == [("101", "Ana of the bot")]


# Highlights and scores after an import


async def test_highlights_scores_and_the_last_activity_are_right_after_an_import(
    directory: asyncpg.Pool,
) -> None:
    export = {**telegram_export.CHAT, "messages": [*telegram_export.messages(500, 20)]}
    report = await from_telegram(export)
    first, last = min(report.days), max(report.days)
    await highlights.roll_up(first, until=last)
    assert await highlights.verify(first, until=last) == []
    days = await directory.fetch("SELECT DISTINCT highlight_date FROM member_daily_highlights")
    assert {row[0] for row in days} <= report.days
    active = await participation.most_active(since=first, until=last, limit=100)
    assert sum(member.events for member in active) == sum(report.inserted.values())
    leaders = (await members.leaderboard(status=None, limit=100)).items
    assert {leader.member_id for leader in leaders} == {member.member_id for member in active}
    behind = await directory.fetch(
        """
        SELECT member_id FROM community_members JOIN (
            SELECT member_id, max(occurred_at) AS latest FROM member_participation
            GROUP BY member_id
        ) AS event USING (member_id)
        WHERE last_active_at IS NULL
            OR last_active_at NOT BETWEEN latest - interval '1 minute' AND latest
        """
    )
    assert behind == []


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("UTC", NOON.date()),
        ("Pacific/Kiritimati", date(2026, 2, 1)),
        ("America/Mexico_City", NOON.date()),
    ],
)
async def test_the_days_of_an_import_are_in_the_zone_of_the_community(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch, zone: str, day: date
) -> None:
    use_zone(monkeypatch, zone)
    report = await from_telegram(TWO_PEOPLE)
    assert report.days == {day}
    await highlights.roll_up(day)
    page = await highlights.between(day, day)
    assert [(row.message_count, row.reaction_count, row.voice_minutes) for row in page.items] == [
        (1, 1, 0),
        (1, 0, 1),
    ]


@pytest.mark.parametrize("dry_run", [False, True])
async def test_the_days_of_an_import_include_those_into_which_a_stay_reaches(
    directory: asyncpg.Pool, dry_run: bool
) -> None:
    stay = ExportedEvent(
        Author("101", "Ana"), EventType.VOICE, "-1", "room", "1", NOON, {"duration_seconds": 129600}
    )
    report = await import_history([stay], Platform.TELEGRAM, dry_run=dry_run)
    assert report.days == {NOON.date() + timedelta(days=number) for number in range(3)}


async def test_an_import_is_rolled_back_with_the_callers_transaction(
    directory: asyncpg.Pool,
) -> None:
    async def import_and_fail() -> None:
        async with transaction():
            await from_telegram(TWO_PEOPLE)
            raise LookupError

    with pytest.raises(LookupError):
        await import_and_fail()
    assert await stored_names(directory) == []


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    found=st.lists(
        st.builds(
            ExportedEvent,
            author=st.builds(Author, st.integers(1, 5).map(str), st.none() | st.text(max_size=300)),
            event_type=st.sampled_from(EventType),
            room_id=st.sampled_from(["-1", "-2"]),
            room=st.just("room"),
            source_id=st.integers(1, 3).map(str) | st.text(max_size=3),
            occurred_at=st.just(NOON),
            metadata=st.none()
            | st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
        ),
        max_size=30,
    )
)
async def test_every_event_is_counted_once_in_the_report(
    directory: asyncpg.Pool, found: list[ExportedEvent]
) -> None:
    await directory.execute("TRUNCATE community_members CASCADE")
    items: list[ExportedEvent | SkippedItem] = [SkippedItem(SkipReason.MALFORMED), *found]
    report = await import_history(items, Platform.TELEGRAM)
    counted = sum((report.inserted + report.duplicates + report.skipped).values())
    assert counted == len(items)
    assert await directory.fetchval(COUNT_EVENTS) == sum(report.inserted.values())
    again = await import_history(items, Platform.TELEGRAM)
    assert (again.new_contacts, sum(again.inserted.values())) == (0, 0)
    assert again.skipped == report.skipped


async def test_a_malformed_author_does_not_affect_other_events(directory: asyncpg.Pool) -> None:
    report = await from_telegram(
        chat(message(1), message(2, from_id="user" + "5" * 300), message(3))
    )
    assert report.inserted == {"MESSAGE": 2}


async def test_linking_accounts_between_two_imports_stores_nothing_twice(
    directory: asyncpg.Pool,
) -> None:
    export = discord_channel(discord_message(1))
    await from_discord(export)
    await rows.member(directory, telegram_id="101", profile_data={"discord_id": "801"})
    await from_discord(export)
    assert await directory.fetchval(COUNT_EVENTS) == 1
