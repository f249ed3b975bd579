"""The demo: its rows are varied and consistent, and it never changes a community of real people."""

import asyncio
import itertools
import json
import os
import re
import sys
import unicodedata
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from random import Random

import asyncpg
import pytest

from community_directory import doctor
from community_directory.database import connect
from community_directory.demo import CAMPAIGN_GUESTS, find_campaign_month, load_demo, make_people
from community_directory.errors import DirectoryError
from community_directory.queries import highlights, invitations
from community_directory.tables import (
    EventType,
    InvitationStatus,
    MemberStatus,
    Platform,
    ReputationTier,
)
from tests.conftest import Server, database_name, new_database, raw_pool
from tests.processes import PROJECT
from tests.queries.test_highlights import minutes_of_stays
from tests.tables import rows
from tests.test_main import run as run_program

LOAD = """
import asyncio, sys
from community_directory.database import connect
from community_directory.demo import load_demo

async def load():
    async with connect(sys.argv[1]):
        print(await load_demo())

asyncio.run(load())
"""

JOIN = """
INSERT INTO community_members (telegram_id, name, primary_role)
VALUES ('1234567', 'Zoë Real', 'developer')
"""


@pytest.fixture(scope="module")
async def loaded(server: Server, template: str) -> AsyncIterator[str]:
    """The URL of a database with the demo, which no test writes to."""
    async with new_database(server, template) as url:
        async with connect(url, min_size=0):
            assert await load_demo()
        yield url


@pytest.fixture
async def community(loaded: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to read the demo."""
    connection = await asyncpg.connect(
        loaded, server_settings={"default_transaction_read_only": "on", "timezone": "UTC"}
    )
    yield connection
    await connection.close()


@pytest.fixture
async def loaded_directory(server: Server, loaded: str) -> AsyncIterator[asyncpg.Pool]:
    """A pool for the test's own copy of the demo, to which the tables are connected."""
    name = database_name(loaded)
    async with new_database(server, name) as url, connect(url, min_size=0), raw_pool(url) as pool:
        yield pool


async def contents(database: asyncpg.Pool | asyncpg.Connection) -> asyncpg.Record:
    """Return the number of rows of each table, and the time of its last change."""
    return await rows.fetch_row(
        database,
        """
        SELECT (SELECT count(*) FROM community_members) AS members,
            (SELECT max(updated_at) FROM community_members),
            (SELECT count(*) FROM community_invitations) AS invitations,
            (SELECT max(updated_at) FROM community_invitations),
            (SELECT count(*) FROM member_participation) AS events,
            (SELECT max(occurred_at) FROM member_participation),
            (SELECT count(*) FROM member_daily_highlights) AS highlights,
            (SELECT max(created_at) FROM member_daily_highlights),
            (SELECT count(*) FROM member_relationships) AS relationships,
            (SELECT max(created_at) FROM member_relationships),
            (SELECT count(*) FROM member_accounts
                WHERE platform = 'elizaos' OR platform = 'discord' AND proof = 'code') AS accounts,
            (SELECT count(*) FROM directory_audit_log) AS audit_entries
        """,
    )


async def find_nothing(database: asyncpg.Pool | asyncpg.Connection, query: str) -> None:
    """Check that the query, which looks for wrong rows, finds none."""
    found = await database.fetch(query)
    assert found == [], f"{len(found)} rows, the first: {found[0]}"


# Its people


def test_on_any_day_two_members_brought_most_of_those_who_came_two_months_ago() -> None:
    for hours in range(0, 400 * 24, 151):
        now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hours)
        first, end = find_campaign_month(now)
        brought = Counter(
            person.row.invited_by.telegram_id
            for person in make_people(Random(hours), now)
            if person.row.invited_by is not None and first <= person.row.created_at < end
        )
        (_, most), (_, second), (_, third) = brought.most_common(3)
        assert most == second == CAMPAIGN_GUESTS > third, now


async def test_members_come_from_many_countries_and_roles(community: asyncpg.Connection) -> None:
    members = await community.fetch("SELECT * FROM community_members")
    assert 280 <= len(members) <= 320
    assert len({member["country"] for member in members}) >= 12
    assert len({member["primary_role"] for member in members}) >= 6
    assert {"developer", "designer", "community_manager", "researcher", "founder", "writer"} <= {
        member["primary_role"] for member in members
    }
    assert len({member["organization"] for member in members}) >= 6
    assert {bool(member["profile_data"]) for member in members} == {True, False}
    assert all(
        bool(member["registration_fee_tx_hash"]) is member["registration_fee_paid"]
        for member in members
    )


async def test_names_come_from_the_whole_world_and_no_two_are_the_same(
    community: asyncpg.Connection,
) -> None:
    names = [
        record["name"] for record in await community.fetch("SELECT name FROM community_members")
    ]
    assert len(set(names)) == len(names)
    characters = set("".join(names))
    scripts = {
        unicodedata.name(character).split()[0] for character in characters if character.isalpha()
    }
    assert {"LATIN", "CYRILLIC", "CJK", "ARABIC", "HANGUL", "HIRAGANA"} <= scripts
    assert {"é", "ñ", "'"} <= characters
    assert [
        name for name in names if any(unicodedata.category(character) == "So" for character in name)
    ] == ["Luna 🌙"]


async def test_usernames_and_telegram_ids_are_reserved_for_the_demo(
    community: asyncpg.Connection,
) -> None:
    *members, double, merged = await community.fetch(
        "SELECT * FROM community_members ORDER BY created_at, length(member_id), member_id"
    )
    assert [member["telegram_id"] for member in members] == [
        str(9_999_000_001 + n) for n in range(len(members))
    ]
    assert double["telegram_id"] == f"discord:{999_000_000_000_100_001 + len(members)}"
    assert merged["telegram_id"].startswith("merged:")
    discord = await community.fetch("SELECT * FROM member_accounts WHERE platform = 'discord'")
    assert len(discord) > 100
    assert all(account["account_id"].startswith("999000000000100") for account in discord)
    assert all(re.fullmatch(r"[a-z0-9._]+[._]demo", account["username"]) for account in discord)
    usernames = [member["telegram_username"] for member in members if member["telegram_username"]]
    assert len(members) * 0.8 < len(set(usernames)) == len(usernames) < len(members)
    assert all(re.fullmatch(r"[a-z]+(_[a-z0-9]+)*_demo", username) for username in usernames)
    assert all(9 < len(username) <= 32 for username in usernames)
    assert usernames[1] == "siobhan_oconnor_demo"
    accounts = [member["github_username"] for member in members if member["github_username"]]
    assert 80 < len(set(accounts)) == len(accounts)
    assert all(re.fullmatch(r"[a-z]+(-[a-z0-9]+)*-demo", account) for account in accounts)


async def test_members_are_numbered_in_the_order_in_which_they_joined(
    community: asyncpg.Connection,
) -> None:
    # The doubles of two founders are added at the same time.
    records = await community.fetch(
        "SELECT member_id FROM community_members ORDER BY created_at, length(member_id), member_id"
    )
    assert [record["member_id"] for record in records] == [
        f"#{number}" for number in range(1, len(records) + 1)
    ]


async def test_members_joined_over_the_past_one_or_two_years(community: asyncpg.Connection) -> None:
    first, last, halfway, now = await rows.fetch_row(
        community,
        """
        SELECT min(created_at), max(created_at),
            percentile_disc(0.5) WITHIN GROUP (ORDER BY created_at), now()
        FROM community_members
        """,
    )
    assert 365 < (now - first).days < 730
    assert 0 <= (now - last).days < 7
    assert 100 < (now - halfway).days < 300  # more came lately than long ago
    await find_nothing(
        community,
        """
        SELECT * FROM community_members
        WHERE updated_at NOT BETWEEN created_at AND now() OR updated_at < deleted_at
            OR updated_at > greatest(created_at, github_verified_at)
                AND status IN ('active', 'pending', 'not_member') AND deleted_at IS NULL
        """,
    )


async def test_every_status_occurs_and_most_members_are_active(
    community: asyncpg.Connection,
) -> None:
    counts = Counter(
        "removed" if record["deleted_at"] else record["status"]
        for record in await community.fetch("SELECT status, deleted_at FROM community_members")
    )
    assert set(counts) == {*MemberStatus, "removed"}
    assert counts["active"] > counts.total() * 0.7
    assert min(counts["pending"], counts["not_member"]) >= 10
    assert min(counts["suspended"], counts["banned"], counts["removed"]) >= 3


async def test_contacts_have_no_profile(community: asyncpg.Connection) -> None:
    await find_nothing(
        community,
        """
        SELECT * FROM community_members WHERE status = 'not_member' AND (invited_by IS NOT NULL
            OR profile_data IS NOT NULL OR github_username IS NOT NULL OR registration_fee_paid
            OR reputation_score > 0)
        """,
    )


async def test_every_reputation_tier_occurs(community: asyncpg.Connection) -> None:
    tiers = await community.fetch("SELECT DISTINCT reputation_tier FROM community_members")
    assert {record["reputation_tier"] for record in tiers} == set(ReputationTier)


async def test_each_score_is_the_sum_of_github_and_the_highlights(
    community: asyncpg.Connection,
) -> None:
    await find_nothing(
        community,
        """
        SELECT member_id, reputation_score FROM community_members AS member
        WHERE reputation_score <>
            coalesce(
                (github_profile_data ->> 'public_repos')::int * 5
                + (github_profile_data ->> 'followers')::int * 3
                + (github_profile_data ->> 'stars')::int * 2
                + (github_profile_data ->> 'contributions')::int, 0
            )
            + coalesce((SELECT sum(reputation_earned) FROM member_daily_highlights AS highlight
                WHERE highlight.member_id = member.member_id), 0)
        """,
    )


async def test_some_github_accounts_were_verified_after_their_owner_joined(
    community: asyncpg.Connection,
) -> None:
    accounts = await community.fetch(
        "SELECT * FROM community_members WHERE github_username IS NOT NULL"
    )
    verified = [account for account in accounts if account["github_verified"]]
    assert 50 < len(verified) < len(accounts)
    assert (
        Counter(account["primary_role"] for account in accounts).most_common(1)[0][0] == "developer"
    )
    assert len({account["github_verified_at"].date() for account in verified}) > 30
    assert all(
        account["created_at"] <= account["github_verified_at"] <= account["updated_at"]
        for account in verified
    )
    await find_nothing(
        community,
        """
        SELECT * FROM community_members
        WHERE github_verified <> (github_profile_data IS NOT NULL)
        """,
    )


# Who invited whom


async def test_five_founders_are_the_roots_of_a_deep_tree(
    community: asyncpg.Connection,
) -> None:
    roots = await community.fetch("SELECT status FROM community_members WHERE invited_by IS NULL")
    assert Counter(record["status"] for record in roots if record["status"] != "not_member") == {
        "active": 5
    }
    depth = await community.fetchval(
        """
        WITH RECURSIVE tree AS (
            SELECT member_id, 0 AS depth FROM community_members WHERE invited_by IS NULL
            UNION ALL
            SELECT member.member_id, depth + 1
            FROM community_members AS member JOIN tree ON invited_by = tree.member_id
        )
        SELECT max(depth) FROM tree
        """
    )
    assert depth >= 4


async def test_each_founder_writes_and_invites(community: asyncpg.Connection) -> None:
    founders = await community.fetch(
        """
        SELECT
            (SELECT count(*) FROM community_members AS guest
                WHERE guest.invited_by = founder.member_id) AS guests,
            (SELECT count(*) FROM member_participation AS event
                WHERE event.member_id = founder.member_id) AS events
        FROM community_members AS founder ORDER BY created_at LIMIT 5
        """
    )
    assert min(founder["guests"] for founder in founders) >= 3
    assert min(founder["events"] for founder in founders) >= 100


async def test_each_accepted_invitation_agrees_with_its_member(
    community: asyncpg.Connection,
) -> None:
    await find_nothing(
        community,
        """
        SELECT member.member_id, invitation_code
        FROM (SELECT * FROM community_members WHERE invited_by IS NOT NULL) AS member
        FULL JOIN (SELECT * FROM community_invitations WHERE status = 'accepted') AS invitation
            ON accepted_by = member.member_id AND created_by = invited_by
                AND accepted_at = member.created_at
                AND accepted_at BETWEEN invitation.created_at AND expires_at
                AND invitation.updated_at = accepted_at
                AND invited_telegram_username IS NOT DISTINCT FROM
                    CASE WHEN invited_telegram_username IS NOT NULL THEN telegram_username END
        WHERE member.member_id IS NULL OR invitation_code IS NULL
        """,
    )
    records = await community.fetch(
        "SELECT accepted_by FROM community_invitations WHERE status = 'accepted'"
    )
    assert len({record["accepted_by"] for record in records}) == len(records)


async def test_every_inviter_was_an_active_member_at_the_time(
    community: asyncpg.Connection,
) -> None:
    await find_nothing(
        community,
        """
        SELECT invitation_code, inviter.* FROM community_invitations AS invitation
        JOIN community_members AS inviter ON created_by = member_id
        WHERE invitation.created_at < inviter.created_at
            OR inviter.status IN ('pending', 'not_member')
            OR (inviter.status IN ('suspended', 'banned') OR deleted_at IS NOT NULL)
                AND inviter.updated_at < coalesce(accepted_at, invitation.created_at)
        """,
    )


async def test_invitations_are_in_every_state(community: asyncpg.Connection) -> None:
    records = await community.fetch(
        """
        SELECT CASE WHEN status <> 'pending' THEN status WHEN expires_at < now() THEN 'overdue'
            WHEN expires_at < now() + interval '1 day' THEN 'closing' ELSE 'open' END AS state,
            count(*)
        FROM community_invitations GROUP BY state
        """
    )
    counts = dict(map(tuple, records))
    assert set(counts) == {"open", "closing", "overdue", *InvitationStatus} - {"pending"}
    assert min(counts.values()) >= 4
    await find_nothing(
        community,
        """
        SELECT * FROM community_invitations
        WHERE created_at > now() OR expires_at <> created_at + interval '3 days'
            OR NOT updated_at BETWEEN created_at AND now()
            OR status = 'expired' AND updated_at < expires_at
            OR status = 'cancelled' AND updated_at > expires_at
        """,
    )


async def test_open_invitations_are_for_contacts_and_no_two_for_the_same(
    community: asyncpg.Connection,
) -> None:
    names = await community.fetch(
        "SELECT invited_telegram_username AS name FROM community_invitations"
        " WHERE status = 'pending' AND invited_telegram_username IS NOT NULL"
    )
    contacts = await community.fetch(
        "SELECT telegram_username FROM community_members WHERE status = 'not_member'"
    )
    assert 3 < len({record["name"] for record in names}) == len(names)
    assert {record["name"] for record in names} <= {
        record["telegram_username"] for record in contacts
    }


# What they did


async def test_each_platform_has_events_of_each_type_and_no_two_share_an_id(
    community: asyncpg.Connection,
) -> None:
    events = await community.fetch("SELECT * FROM member_participation ORDER BY source_id::bigint")
    assert 20_000 <= len(events) <= 40_000
    assert {(event["platform"], event["event_type"]) for event in events} == {
        (p, e) for p in (Platform.TELEGRAM, Platform.DISCORD) for e in EventType
    }
    assert len({(event["platform"], event["room_id"]) for event in events}) >= 3
    types = Counter(event["event_type"] for event in events)
    assert types["MESSAGE"] > 1.5 * types["REACTION"] > 5 * types["VOICE"] > 1000
    assert len({event["source_id"] for event in events}) == len(events)
    assert all(
        one["occurred_at"] <= other["occurred_at"] for one, other in itertools.pairwise(events)
    )
    await find_nothing(
        community,
        """
        SELECT * FROM member_participation
        WHERE (event_type = 'VOICE') <> (event_metadata IS NOT NULL)
            OR event_type = 'VOICE'
                AND NOT (event_metadata ->> 'duration_seconds')::int BETWEEN 1 AND 7200
        """,
    )


async def test_events_happen_from_the_beginning_while_their_author_is_a_member(
    community: asyncpg.Connection,
) -> None:
    await find_nothing(
        community,
        """
        SELECT * FROM member_participation AS event
        JOIN community_members AS member USING (member_id)
        WHERE occurred_at < member.created_at
            OR occurred_at > now()
            OR member.status IN ('pending', 'not_member')
            OR (member.status <> 'active' OR deleted_at IS NOT NULL) AND occurred_at > updated_at
        """,
    )
    first, last, now = await rows.fetch_row(
        community, "SELECT min(occurred_at), max(occurred_at), now() FROM member_participation"
    )
    assert (now - first).days > 600
    assert (now - last).days == 0


async def test_nobody_writes_before_they_are_approved_some_hours_after_joining(
    community: asyncpg.Connection,
) -> None:
    await find_nothing(
        community,
        """
        SELECT * FROM member_milestones JOIN community_members USING (member_id)
        WHERE joined_at <> created_at OR approved_at < joined_at
            OR first_active_day < approved_at::date
            OR (approved_at IS NULL) <> (status = 'pending')
        """,
    )
    median = await community.fetchval(
        """
        SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY approved_at - joined_at)
        FROM member_milestones
        """
    )
    assert timedelta(hours=2) < median < timedelta(days=2)


async def test_the_people_of_two_inviters_leave_after_three_weeks_and_others_stay(
    community: asyncpg.Connection,
) -> None:
    """Those who joined in the month before the last one; four weeks have passed for all of them."""
    records = await community.fetch(
        """
        SELECT invited_by, ARRAY(SELECT week FROM generate_series(1, 12) AS week
            WHERE EXISTS (SELECT FROM member_participation AS event
                WHERE event.member_id = member.member_id
                    AND occurred_at::date - created_at::date BETWEEN 7 * week - 7 AND 7 * week - 1
            )) AS weeks
        FROM community_members AS member
        WHERE status = 'active' AND deleted_at IS NULL
            AND date_trunc('month', created_at) = date_trunc('month', now()) - interval '2 months'
        """
    )
    sizes = Counter(record["invited_by"] for record in records)
    (first, most), (second, as_many), (_, few) = sizes.most_common(3)
    assert (most, as_many) >= (12, 12) > (4, 4) > (few, few)
    led = [record["weeks"] for record in records if record["invited_by"] in (first, second)]
    others = [record["weeks"] for record in records if record["invited_by"] not in (first, second)]
    assert sum(3 in weeks for weeks in led) > 0.8 * len(led)
    assert sum(4 in weeks for weeks in led) < 0.1 * len(led)
    assert sum(4 in weeks for weeks in others) > 0.3 * len(others)


async def test_members_stop_and_come_back_as_they_do_in_real_life(
    community: asyncpg.Connection,
) -> None:
    at_risk, came_back = await rows.fetch_row(
        community,
        """
        WITH counted AS (
            SELECT count(*) FILTER (WHERE highlight_date > current_date - 28) AS active,
                count(*) FILTER (WHERE highlight_date BETWEEN current_date - 55
                    AND current_date - 28) AS before,
                count(*) FILTER (WHERE highlight_date < current_date - 55) AS earlier
            FROM member_daily_highlights GROUP BY member_id
        )
        SELECT count(*) FILTER (WHERE before >= 4 AND 2 * active < before),
            count(*) FILTER (WHERE active > 0 AND before = 0 AND earlier > 0)
        FROM counted
        """,
    )
    assert at_risk >= 5
    assert came_back >= 1


async def test_some_weekdays_and_hours_are_busier_than_others(
    community: asyncpg.Connection,
) -> None:
    moments = [
        event["occurred_at"]
        for event in await community.fetch("SELECT occurred_at FROM member_participation")
    ]
    weekdays = Counter(moment.weekday() for moment in moments)
    hours = Counter(moment.hour for moment in moments)
    assert max(weekdays[5], weekdays[6]) < 0.8 * min(weekdays[day] for day in range(4))
    assert max(hours.values()) > 3 * min(hours.values())


async def test_a_few_members_write_most_events_and_some_write_none(
    community: asyncpg.Connection,
) -> None:
    records = await community.fetch(
        "SELECT count(*) FROM member_participation GROUP BY member_id ORDER BY 1 DESC"
    )
    counts = [record["count"] for record in records]
    assert sum(counts[: len(counts) // 10]) > 0.4 * sum(counts)
    assert counts[0] < 0.1 * sum(counts)
    silent = (
        "SELECT count(*) FROM community_members WHERE status = 'active' AND last_active_at IS NULL"
    )
    assert await community.fetchval(silent) > 10


async def test_members_were_last_active_at_their_newest_event(
    community: asyncpg.Connection,
) -> None:
    await find_nothing(
        community,
        """
        SELECT member_id, last_active_at FROM community_members AS member
        WHERE last_active_at IS DISTINCT FROM (
            SELECT max(occurred_at) FROM member_participation AS event
            WHERE event.member_id = member.member_id
        )
        """,
    )


async def test_highlights_agree_with_a_recount_of_the_events(
    community: asyncpg.Connection,
) -> None:
    await find_nothing(
        community,
        """
        WITH recount AS (
            SELECT member_id, (occurred_at AT TIME ZONE 'UTC')::date AS highlight_date,
                count(*) FILTER (WHERE event_type = 'MESSAGE') AS message_count,
                count(*) FILTER (WHERE event_type = 'REACTION') AS reaction_count
            FROM member_participation GROUP BY 1, 2
        )
        SELECT * FROM member_daily_highlights AS highlight
        FULL JOIN recount USING (member_id, highlight_date, message_count, reaction_count)
        WHERE recount.* IS NULL AND (message_count, reaction_count) <> (0, 0) OR id IS NULL
        """,
    )
    stays: dict[str, list[tuple[datetime, float]]] = {}
    for member_id, start, seconds in await community.fetch(
        "SELECT member_id, occurred_at, (event_metadata ->> 'duration_seconds')::int"
        " FROM member_participation WHERE event_type = 'VOICE'"
    ):
        stays.setdefault(member_id, []).append((start, seconds))
    highlighted = await community.fetch(
        "SELECT member_id, highlight_date, voice_minutes FROM member_daily_highlights"
        " WHERE voice_minutes > 0"
    )
    assert {(member_id, day): minutes for member_id, day, minutes in highlighted} == {
        (member_id, day): minutes
        for member_id, of_member in stays.items()
        for day, minutes in minutes_of_stays(of_member).items()
        if minutes
    }
    assert await community.fetchval("SELECT count(*) FROM member_daily_highlights") > 1000


async def test_a_day_earns_little_reputation_and_never_more_than_ten(
    community: asyncpg.Connection,
) -> None:
    records = await community.fetch(
        "SELECT DISTINCT reputation_earned FROM member_daily_highlights"
    )
    earned = {record["reputation_earned"] for record in records}
    assert (min(earned), max(earned)) == (0, 10)


async def test_verify_finds_no_difference_in_the_highlights(loaded_directory: asyncpg.Pool) -> None:
    first, last = await rows.fetch_row(
        loaded_directory,
        "SELECT min(highlight_date), max(highlight_date) FROM member_daily_highlights",
    )
    assert await highlights.verify(first - timedelta(days=1), until=last + timedelta(days=1)) == []


async def test_relationships_link_members_of_the_same_time(
    community: asyncpg.Connection,
) -> None:
    members = {
        str(uuid.uuid5(uuid.NAMESPACE_URL, f"tg://user?id={member['telegram_id']}")): member
        for member in await community.fetch("SELECT * FROM community_members")
    }
    links = await community.fetch("SELECT * FROM member_relationships")
    counts = Counter(link["relationship_type"] for link in links)
    assert set(counts) == {"INVITED", "MENTORED", "COLLABORATED"}
    assert min(counts.values()) >= 24
    assert counts["INVITED"] < sum(member["invited_by"] is not None for member in members.values())
    for link in links:
        one, other = members[link["entity_id_a"]], members[link["entity_id_b"]]
        keys = {"INVITED": {"platform"}, "MENTORED": {"topic"}, "COLLABORATED": {"project"}}[
            link["relationship_type"]
        ]
        assert json.loads(link["content"]).keys() == keys
        if link["relationship_type"] == "INVITED":
            assert (other["invited_by"], other["created_at"]) == (
                one["member_id"],
                link["created_at"],
            )
        else:
            assert one["status"] == other["status"] == "active"
            assert one["deleted_at"] is other["deleted_at"] is None
            assert one["created_at"] < other["created_at"] < link["created_at"]
    assert (
        len({link["created_at"].date() for link in links if link["relationship_type"] != "INVITED"})
        > 30
    )
    assert await community.fetchval(
        "SELECT bool_and(created_at <= now()) FROM member_relationships"
    )


# How it is loaded


async def test_every_audit_entry_except_new_tiers_names_the_demo_as_its_actor(
    community: asyncpg.Connection,
) -> None:
    records = await community.fetch(
        """
        SELECT actor, action, table_name, count(*) FROM directory_audit_log
        WHERE NOT (actor = 'roll-up' AND changes - 'reputation_tier' = '{}') GROUP BY 1, 2, 3
        """
    )
    loaded = await contents(community)
    assert {tuple(record) for record in records} == {
        ("demo", "INSERT", "community_members", loaded["members"]),
        ("demo", "INSERT", "community_invitations", loaded["invitations"]),
        ("demo", "INSERT", "member_accounts", loaded["accounts"]),
        ("demo", "INSERT", "member_permissions", 4),
        # The usernames of the two doubles, and the merge of one of them.
        ("demo", "UPDATE", "member_accounts", 3),
        ("demo", "UPDATE", "community_members", 1),
    }


async def test_loading_twice_changes_nothing(loaded_directory: asyncpg.Pool) -> None:
    before = await contents(loaded_directory)
    assert await load_demo() is False
    assert await contents(loaded_directory) == before


async def test_the_demo_stays_loaded_after_real_members_have_joined(
    loaded_directory: asyncpg.Pool,
) -> None:
    await loaded_directory.execute(JOIN)
    before = await contents(loaded_directory)
    assert await load_demo() is False
    assert await contents(loaded_directory) == before


async def test_a_directory_with_members_of_its_own_is_not_changed(directory: asyncpg.Pool) -> None:
    await directory.execute(JOIN)
    before = await contents(directory)
    with pytest.raises(
        DirectoryError, match="already has members: the demo data is only for an empty one"
    ):
        await load_demo()
    assert await contents(directory) == before


async def test_a_failure_half_way_leaves_nothing(database: str, directory: asyncpg.Pool) -> None:
    before = await contents(directory)
    # The relationships are written last.
    await directory.execute(
        "ALTER TABLE member_relationships"
        " ADD CONSTRAINT half_way CHECK (relationship_type = 'NONE')"
    )
    with pytest.raises(asyncpg.CheckViolationError, match="half_way"):
        await load_demo()
    assert await contents(directory) == before
    assert before["members"] == before["events"] == before["audit_entries"] == 0


async def test_processes_that_load_the_demo_at_once_load_it_once(
    database: str, loaded: str
) -> None:
    command = [sys.executable, "-c", LOAD, database]
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, cwd=PROJECT)
        for _ in range(3)
    ]
    outputs = await asyncio.gather(*(process.communicate() for process in processes))
    # No terminal, no progress bar.
    assert sorted(outputs) == [(b"False\n", b""), (b"False\n", b""), (b"True\n", b"")]
    members, codes = await people_and_codes(database)
    other_members, other_codes = await people_and_codes(loaded)
    assert members == other_members
    assert not codes & other_codes


async def test_a_terminal_shows_the_progress(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    termios = pytest.importorskip("termios", reason="only Unix has pseudo-terminals")
    received: list[bytes] = []
    reader, writer = os.openpty()
    termios.tcsetwinsize(writer, (24, 100))
    loop = asyncio.get_running_loop()
    loop.add_reader(reader, lambda: received.append(os.read(reader, 65536)))
    with os.fdopen(writer, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        assert await load_demo() is True
        await asyncio.sleep(0.05)
    loop.remove_reader(reader)
    os.close(reader)
    shown = b"".join(received).decode()
    assert "Loading the demo:   0%" in shown
    assert "Loading the demo: 100%" in shown
    assert len(set(re.findall(r"\d+%", shown))) > 5


async def people_and_codes(url: str) -> tuple[list[tuple[object, ...]], set[str]]:
    """Return the members, who are the same in every demo, and the codes, which never are."""
    connection = await asyncpg.connect(url)
    try:
        members = await connection.fetch(
            """
            SELECT member_id, name, regexp_replace(telegram_id, '^merged:.*', 'merged'), status,
                invited_by, github_profile_data, profile_data
            FROM community_members ORDER BY created_at, length(member_id), member_id
            """
        )
        codes = await connection.fetch("SELECT invitation_code FROM community_invitations")
    finally:
        await connection.close()
    return [tuple(member) for member in members], {record["invitation_code"] for record in codes}


async def test_doctor_finds_a_directory_with_the_demo_in_order(
    server: Server, loaded: str, durable_server: None
) -> None:
    async with new_database(server, database_name(loaded)) as url:
        async with connect(url, min_size=0):
            await invitations.expire_overdue()
            found = [result async for result in doctor.run_checks()]
        assert [result for result in found if result.verdict is not doctor.Verdict.OK] == []
        ended = run_program("doctor", "--full", "--fix", url=url)
    assert (ended.returncode, ended.stderr) == (0, "")
    *lines, summary = ended.stdout.splitlines()
    assert [line for line in lines if not line.startswith("  ✓ ok")] == list(doctor.CHECKS)
    assert summary.startswith(f"{doctor.CHECK_COUNT} checks in ")
    assert summary.endswith(f" s: {doctor.CHECK_COUNT} ok.")
