"""Bots: they earn nothing, are in no list, count or chart, and nothing of them is lost."""

import asyncio
import io
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from community_directory.database import connect
from community_directory.errors import BotRefused, InvalidInput, InvitationCancelled, MemberNotFound
from community_directory.imports import members_csv
from community_directory.jobs import roll_up_recent
from community_directory.queries import (
    audit,
    highlights,
    invitations,
    members,
    participation,
    reputation,
)
from community_directory.queries.archive import archive_next_day
from community_directory.queries.members import Member
from community_directory.queries.merge_locks import LOCK_OUT_MERGES
from community_directory.settings import load_settings
from tests.queries.recounts import find_wrong_counts
from tests.queries.test_participation import blocked
from tests.tables import rows
from tests.waiting import until_blocked_by

DAY = date(2026, 1, 31)
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
DEVELOPER: dict[str, Any] = {"name": "Eva", "primary_role": "developer"}


async def add_member(name: str, **columns: Any) -> Member:
    new = {"primary_role": "developer", "status": "active", **columns}
    return await members.add(**{"telegram_id": f"account:{name}", "name": name, **new})


async def record_messages(member_id: str, number: int = 7, at: datetime = NOON) -> None:
    await participation.record_many(
        participation.NewEvent(
            member_id=member_id,
            event_type="MESSAGE",
            platform="telegram",
            room_id="-100",
            occurred_at=at,
        )
        for _ in range(number)
    )


async def bot_with_points(directory: asyncpg.Pool) -> Member:
    """Add #1 with 9 points of GitHub, 5 of a day and 40 that somebody added, and mark them."""
    await add_member("Ana")
    await members.verify_github("#1", github_username="ana", github_profile_data={"followers": 3})
    await record_messages("#1")
    await highlights.roll_up(DAY)
    await directory.execute("UPDATE community_members SET reputation_score = reputation_score + 40")
    assert (await members.get("#1")).reputation_score == 54
    return await members.mark_bot("#1", actor="Luis", reason="it is Rose")


# The mark


async def test_a_bot_has_no_points_and_no_highlights_but_all_its_events(
    directory: asyncpg.Pool,
) -> None:
    bot = await bot_with_points(directory)
    assert (bot.is_bot, bot.reputation_score, bot.reputation_tier) == (True, 0, "Novice")
    assert (await highlights.between(DAY, DAY, member_id="#1")).items == []
    assert await directory.fetchval("SELECT count(*) FROM member_daily_highlights") == 0
    for table in (
        *("member_daily_rooms", "member_monthly_rooms", "member_rooms"),
        "member_monthly_highlights",
    ):
        assert await directory.fetchval(f"SELECT count(*) FROM {table}") == 0
    milestones = await rows.fetch_row(directory, "SELECT * FROM member_milestones")
    assert milestones["joined_at"] == bot.created_at
    assert tuple(milestones)[3:] == (None, None, [])
    assert len((await participation.history("#1")).items) == 7
    explained = await reputation.explain("#1")
    assert (sum(explained.github.values()), explained.earned, explained.other) == (0, 0, 0)


async def test_who_turns_out_to_be_a_person_has_all_points_back(directory: asyncpg.Pool) -> None:
    await bot_with_points(directory)
    person = await members.mark_bot("#1", False, actor="Luis", reason="a mistake")
    assert (person.is_bot, person.reputation_score) == (False, 49)
    await highlights.roll_up(DAY)
    explained = await reputation.explain("#1")
    assert (sum(explained.github.values()), explained.earned, explained.other) == (9, 5, 40)
    assert explained.score == 54


async def test_points_below_zero_are_given_back_as_they_were(directory: asyncpg.Pool) -> None:
    await rows.member(directory, reputation_shortfall=30)
    marked = await members.mark_bot("#1", actor="Luis")
    await members.verify_github("#1", github_username="ana", github_profile_data={"followers": 3})
    assert marked.reputation_score == (await members.get("#1")).reputation_score == 0
    await members.mark_bot("#1", False, actor="Luis")
    points = await rows.fetch_row(
        directory,
        "SELECT reputation_score, reputation_shortfall, reputation_withheld FROM community_members",
    )
    assert tuple(points) == (0, 21, 0)


async def test_points_that_a_bot_gets_count_when_it_turns_out_to_be_a_person(
    directory: asyncpg.Pool,
) -> None:
    await add_member("Ana")
    await members.mark_bot("#1", actor="Luis")
    verified = await members.verify_github(
        "#1", github_username="ana", github_profile_data={"followers": 100}
    )
    assert (verified.reputation_score, verified.reputation_tier) == (0, "Novice")
    person = await members.mark_bot("#1", False, actor="Luis")
    assert (person.reputation_score, person.reputation_tier) == (300, "Contributor")


async def test_any_writer_can_mark_a_bot_and_has_the_same_rules(directory: asyncpg.Pool) -> None:
    await bot_with_points(directory)
    await members.mark_bot("#1", False, actor="Luis")
    await highlights.roll_up(DAY)
    await directory.execute("UPDATE community_members SET is_bot = true, reputation_score = 99")
    await directory.execute("UPDATE community_members SET reputation_score = 1")
    stored = await rows.fetch_row(
        directory,
        """SELECT reputation_score, reputation_withheld,
            (SELECT count(*) FROM member_daily_highlights) FROM community_members""",
    )
    assert tuple(stored) == (0, 95, 0)
    inserted = await rows.member(directory, is_bot=True, reputation_score=7)
    assert (inserted["reputation_score"], inserted["reputation_withheld"]) == (0, 7)


async def test_the_mark_and_its_reason_are_in_the_audit_log_once(directory: asyncpg.Pool) -> None:
    await bot_with_points(directory)
    again = await members.mark_bot("#1", actor="Eva", reason="again")
    assert again.is_bot
    entry = (await audit.history("#1")).items[0]
    assert (entry.actor, entry.reason) == ("Luis", "it is Rose")
    assert entry.changes["is_bot"] == [False, True]
    assert entry.changes["reputation_score"] == [54, 0]


async def test_a_removed_member_can_be_marked(directory: asyncpg.Pool) -> None:
    await add_member("Ana")
    await members.remove("#1", actor="Luis")
    assert (await members.mark_bot(1, actor="Luis")).is_bot
    assert (await members.export("#1"))["member"]["is_bot"] is True


async def test_a_mark_needs_a_member_an_actor_and_a_bool(directory: asyncpg.Pool) -> None:
    with pytest.raises(MemberNotFound):
        await members.mark_bot("#9", actor="Luis")
    await add_member("Ana")
    with pytest.raises(InvalidInput):
        await members.mark_bot("#1", actor=" ")
    with pytest.raises(InvalidInput):
        await members.mark_bot("#1", "no", actor="Luis")  # type: ignore[arg-type]
    assert not (await members.get("#1")).is_bot


async def test_a_mark_waits_for_a_roll_up_before_it_locks_the_member(
    database: str, directory: asyncpg.Pool
) -> None:
    await add_member("Ana")
    await record_messages("#1")
    await highlights.roll_up(DAY)
    async with blocked(database, LOCK_OUT_MERGES) as roll_up:
        marking = asyncio.create_task(members.mark_bot("#1", actor="Luis"))
        await until_blocked_by(roll_up)
        # A roll-up locks the members at last.
        await roll_up.execute("SELECT FROM community_members FOR NO KEY UPDATE NOWAIT")
    assert (await marking).is_bot


async def test_a_mark_waits_for_a_roll_up_longer_than_for_other_locks(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIRECTORY_LOCK_TIMEOUT", "0.1")
    load_settings.cache_clear()
    async with connect(database, min_size=0):
        await add_member("Ana")
        async with blocked(database, LOCK_OUT_MERGES) as roll_up:
            marking = asyncio.create_task(members.mark_bot("#1", actor="Luis"))
            await until_blocked_by(roll_up)
            assert await asyncio.wait([marking], timeout=0.5) == (set(), {marking})
        assert (await marking).is_bot


# Counts and lists


async def test_a_roll_up_skips_bots_and_finds_the_days_on_which_one_was_marked(
    directory: asyncpg.Pool,
) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=100)
    await add_member("Ana")
    await add_member("Bo")
    for number in ("#1", "#2"):
        await record_messages(number, at=long_ago)
    assert await roll_up_recent() == 2
    await members.mark_bot("#1", actor="Luis")
    assert await roll_up_recent() == 0
    assert await highlights.verify(long_ago.date()) == []
    assert await find_wrong_counts(directory) == {}
    await members.mark_bot("#1", False, actor="Luis")
    assert await roll_up_recent() == 1
    assert await find_wrong_counts(directory) == {}
    assert (await members.get("#1")).reputation_score == 5


async def test_nothing_is_left_of_a_contact_who_is_a_bot(directory: asyncpg.Pool) -> None:
    await rows.member(directory, member_id="#1", status="not_member")
    await record_messages("#1")
    await highlights.roll_up(DAY)
    assert await directory.fetchval("SELECT count(*) FROM member_milestones") == 1
    await members.mark_bot("#1", actor="Luis")
    assert await directory.fetchval("SELECT count(*) FROM member_milestones") == 0


async def test_a_highlight_that_was_written_while_its_member_was_marked_is_never_listed(
    directory: asyncpg.Pool,
) -> None:
    await add_member("Ana")
    await members.mark_bot("#1", actor="Luis")
    await rows.highlight(directory, member_id="#1", highlight_date=DAY, reputation_earned=5)
    assert (await highlights.between(DAY, DAY)).items == []
    await highlights.roll_up(DAY)
    assert await directory.fetchval("SELECT count(*) FROM member_daily_highlights") == 0
    # The roll-up took back the points that the highlight had never earned.
    assert await directory.fetchval("SELECT reputation_withheld FROM community_members") == -5


@pytest.mark.parametrize("text", [None, "Ro", "Rose"])
@pytest.mark.parametrize("sort", ["reputation", "newest", "active", "name"])
async def test_a_bot_is_found_only_by_a_search_for_bots(
    directory: asyncpg.Pool, text: str | None, sort: members.Sort
) -> None:
    await add_member("Rose")
    await add_member("Rosendo")
    await members.mark_bot("#1", actor="Luis")

    async def found(**options: Any) -> list[str]:
        page = await members.search(text, sort=sort, status=None, **options)
        return [member.name for member in page.items]

    assert await found() == ["Rosendo"]
    assert await found(is_bot=True) == ["Rose"]
    assert await found(is_bot=False) == ["Rosendo"]


async def test_bots_are_in_no_list_of_members(directory: asyncpg.Pool) -> None:
    await add_member("Ana")
    await add_member("Rose", invited_by="#1")
    await add_member("Bo", invited_by="#2")
    for number in ("#1", "#2", "#3"):
        await record_messages(number)
    await members.mark_bot("#2", actor="Luis")
    leaders = (await members.leaderboard()).items
    assert {member.member_id for member in leaders} == {"#1", "#3"}
    most_active = await participation.most_active(since=DAY, until=DAY)
    assert [member.member_id for member in most_active] == ["#1", "#3"]
    # Those whom a bot invited are still in the tree.
    assert [node.member_id for node in (await invitations.tree("#1")).items] == ["#1", "#3"]
    assert [node.member_id for node in (await invitations.tree("#2")).items] == ["#2", "#3"]
    assert [node.member_id for node in await invitations.lineage("#3")] == ["#3", "#2", "#1"]
    assert (await members.get("#2")).is_bot


async def test_a_file_of_all_members_has_no_bots(directory: asyncpg.Pool) -> None:
    await add_member("Ana")
    await add_member("Rose")
    await members.mark_bot("#2", actor="Luis")
    file = io.StringIO()
    assert await members_csv.write_members(file) == 1
    assert "Rose" not in file.getvalue()


# Invitations


async def test_a_bot_can_neither_invite_nor_be_invited(directory: asyncpg.Pool) -> None:
    await add_member("Ana")
    await add_member("Rose", telegram_username="MissRose")
    await members.mark_bot("#2", actor="Luis")
    with pytest.raises(BotRefused):
        await invitations.create(created_by="#2")
    with pytest.raises(BotRefused):
        await invitations.create(created_by="#1", telegram_username="@missrose")
    assert (await invitations.list_page()).items == []
    await members.mark_bot("#2", False, actor="Luis")
    await invitations.create(created_by="#1", telegram_username="@missrose")


async def test_an_invitation_of_a_bot_can_not_be_redeemed(directory: asyncpg.Pool) -> None:
    await add_member("Rose")
    code = (await invitations.create(created_by="#1", telegram_username="eva")).invitation_code
    await members.mark_bot("#1", actor="Luis")
    with pytest.raises(InvitationCancelled):
        await invitations.redeem(code, telegram_id="9", telegram_username="eva", **DEVELOPER)
    # Somebody else can invite the same person.
    await add_member("Ana")
    other = await invitations.create(created_by="#2", telegram_username="eva")
    assert (other.created_by, other.invitation_code != code) == ("#2", True)


@pytest.mark.parametrize("status", ["not_member", "active", "removed"])
async def test_a_bot_can_not_redeem_an_invitation(directory: asyncpg.Pool, status: str) -> None:
    await add_member("Ana")
    code = (await invitations.create(created_by="#1")).invitation_code
    await rows.member(
        directory,
        telegram_id="9",
        status="active" if status == "removed" else status,
        deleted_at=NOON if status == "removed" else None,
    )
    before = await members.mark_bot("#2", actor="Luis")
    with pytest.raises(BotRefused):
        await invitations.redeem(code, telegram_id="9", **DEVELOPER)
    after = (await members.search(status=None, is_bot=True)).items
    assert after == ([] if status == "removed" else [before])
    assert (await invitations.get(code)).status == "pending"


async def test_a_bot_that_joined_before_can_not_repeat_its_redemption(
    directory: asyncpg.Pool,
) -> None:
    await add_member("Ana")
    code = (await invitations.create(created_by="#1")).invitation_code
    await invitations.redeem(code, telegram_id="9", **DEVELOPER)
    await members.mark_bot("#2", actor="Luis")
    with pytest.raises(BotRefused):
        await invitations.redeem(code, telegram_id="9", **DEVELOPER)


async def test_a_mark_during_a_redemption_wins(database: str, directory: asyncpg.Pool) -> None:
    await add_member("Ana")
    code = (await invitations.create(created_by="#1")).invitation_code
    await rows.member(directory, telegram_id="9", status="not_member")
    mark = "UPDATE community_members SET is_bot = true WHERE member_id = '#2'"
    async with blocked(database, mark) as marking:
        joining = asyncio.create_task(
            invitations.redeem(code, telegram_id="9", name="Eva", primary_role="developer")
        )
        await until_blocked_by(marking)
        await marking.execute("COMMIT")
        with pytest.raises(BotRefused):
            await joining
    assert (await invitations.get(code)).status == "pending"


# Accounts that are no members


async def test_accounts_of_bots_are_remembered_until_they_are_forgotten(
    directory: asyncpg.Pool,
) -> None:
    await members.remember_bots({"8": "Rose", "discord:9": None})
    await members.remember_bots({"8": "Miss Rose"})
    found = await directory.fetch("SELECT telegram_id, name FROM directory_bots ORDER BY name")
    assert [tuple(row) for row in found] == [("8", "Miss Rose"), ("discord:9", "discord:9")]
    assert await members.known_bots([8, "discord:9", "10"]) == {"8", "discord:9"}
    assert await members.forget_bot(8)
    assert not await members.forget_bot(8)
    assert await members.known_bots(["8", "discord:9"]) == {"discord:9"}


async def test_an_account_of_a_bot_has_one_spelling_and_a_visible_name(
    directory: asyncpg.Pool,
) -> None:
    await members.remember_bots({" １０\u200b": "\u202eRose\n", "11": "Eva"})
    found = await directory.fetch("SELECT telegram_id, name FROM directory_bots ORDER BY name")
    assert [tuple(row) for row in found] == [("11", "Eva"), ("10", "Rose")]
    for names in ({"010": "Rose"}, {"user10": "Rose"}, {"@rose": "Rose"}, {"12": "\u3164"}):
        with pytest.raises(InvalidInput):
            await members.remember_bots(names)
    assert await members.forget_bot("１０")


async def test_a_member_is_a_known_bot_by_each_of_their_accounts(directory: asyncpg.Pool) -> None:
    await add_member("Rose", telegram_id="8", profile_data={"discord_id": "9"})
    await add_member("Ana", telegram_id="10", profile_data={"discord_id": "11"})
    await members.mark_bot("#1", actor="Luis")
    await members.remove("#1", actor="Luis")
    accounts = ["8", "discord:9", "10", "discord:11"]
    assert await members.known_bots(accounts) == {"8", "discord:9"}


async def test_a_member_is_not_remembered_but_marked(directory: asyncpg.Pool) -> None:
    await add_member("Ana", telegram_id="8")
    await members.remember_bots({"8": "Ana"})
    assert await members.known_bots(["8"]) == set()
    assert not (await members.get("#1")).is_bot


async def test_a_known_bot_that_becomes_a_member_is_marked(directory: asyncpg.Pool) -> None:
    await members.remember_bots({"8": "Rose"})
    added = await add_member("Rose", telegram_id="8")
    assert added.is_bot
    assert await directory.fetchval("SELECT count(*) FROM directory_bots") == 0
    assert await members.known_bots(["8"]) == {"8"}
    assert not (await members.mark_bot("#1", False, actor="Luis")).is_bot
    assert await members.known_bots(["8"]) == set()


async def test_a_known_bot_can_not_redeem_an_invitation(directory: asyncpg.Pool) -> None:
    await add_member("Ana")
    code = (await invitations.create(created_by="#1")).invitation_code
    await members.remember_bots({"9": "Rose"})
    with pytest.raises(BotRefused):
        await invitations.redeem(code, telegram_id="9", **DEVELOPER)
    await members.forget_bot("9")
    assert (await invitations.redeem(code, telegram_id="9", **DEVELOPER)).member.member_id == "#2"


async def test_nothing_is_remembered_if_one_account_can_not_be(directory: asyncpg.Pool) -> None:
    for names in ({"8": "Rose", "9": " "}, {"8": "Rose", "9": "x" * 256}, {"8": "Rose", "": "x"}):
        with pytest.raises(InvalidInput):
            await members.remember_bots(names)
    assert await members.known_bots(["8"]) == set()


async def test_an_erasure_forgets_that_the_account_is_a_bot(directory: asyncpg.Pool) -> None:
    await add_member("Ana", telegram_id="8")
    await rows.bot(directory, telegram_id="8", name="Ana")
    await members.erase("#1", actor="Luis")
    assert await directory.fetchval("SELECT count(*) FROM directory_bots") == 0


async def test_the_months_of_archived_days_are_back_with_the_person(
    directory: asyncpg.Pool,
) -> None:
    await add_member("Ana")
    await record_messages("#1")
    await record_messages("#1", at=NOON + timedelta(days=1))
    await roll_up_recent()
    while await archive_next_day(DAY + timedelta(days=1)):
        pass
    counts = "SELECT * FROM member_monthly_highlights ORDER BY month"
    months = await directory.fetch(counts)
    assert len(months) == 2
    await members.mark_bot("#1", actor="Luis")
    await roll_up_recent()
    assert await directory.fetch(counts) == []
    assert await find_wrong_counts(directory) == {}
    await members.mark_bot("#1", False, actor="Luis")
    assert await directory.fetch(counts) == months[:1]
    await roll_up_recent()
    assert await directory.fetch(counts) == months
    assert await find_wrong_counts(directory) == {}
