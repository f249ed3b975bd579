"""Fill a database with a year of a large community: `python -m benchmarks.year URL`.

The people joined in the last two years, and wrote in the last year, up to yesterday. What roll-ups
count is counted here with one statement for each table. Except for its dates the community is
always the same. The days are those of UTC.
"""

import argparse
import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Final

import asyncpg
from tqdm import tqdm

from benchmarks.community import ACCOUNTS, CHANCES, MEMBERS, without_secondary_indexes
from benchmarks.say import say
from community_directory.calendar import days_between
from community_directory.database import connect, engine, long_running
from community_directory.database.migrations import migrate
from community_directory.queries.highlights import STORE_DAY_CHECKSUMS
from community_directory.queries.reputation import DAILY_POINTS, MAX_DAILY_POINTS

DAYS: Final = 365
EVENTS: Final = 10_000_000

# One in twelve may invite, and three in five were invited. One in twenty is banned or removed, one
# in twelve is a contact, one in 500 a bot, and one in 331 was merged into the one before.
PEOPLE = """
UPDATE community_members AS member SET created_at = joined,
    status = CASE WHEN n = 1 THEN 'active' WHEN luck < 0.08 THEN 'not_member'
        WHEN joined > now() - interval '6 days' THEN 'pending'
        WHEN luck < 0.09 THEN 'suspended' WHEN luck < 0.115 THEN 'banned' ELSE 'active' END,
    deleted_at = CASE WHEN is_merged OR (luck > 0.97 AND n > 1)
        THEN joined + (now() - joined) * pg_temp.chance(n, 40) END,
    invited_by = CASE WHEN n > 1 AND pg_temp.chance(n, 41) < 0.6
        THEN '#' || 1 + 12 * floor((n - 2) / 12.0 * pg_temp.chance(n, 42) ^ 1.5)::bigint END,
    is_bot = is_machine,
    reputation_score = CASE WHEN is_machine THEN 0 ELSE reputation_score END,
    reputation_tier = CASE WHEN is_machine THEN 'Novice' ELSE reputation_tier END,
    merged_into = CASE WHEN is_merged THEN '#' || n - 1 END,
    telegram_id = CASE WHEN is_merged THEN 'merged:' || n ELSE telegram_id END,
    last_active_at = NULL
FROM generate_series(1, $1::bigint) AS n, LATERAL (SELECT
    now() - ($1::bigint - n) * (interval '730 days' / $1::bigint) AS joined,
    pg_temp.chance(n, 43) AS luck, n % 331 = 5 AND n % 12 <> 1 AS is_merged,
    n % 500 = 3 AND n % 12 <> 1 AS is_machine
) AS made
WHERE member.member_id = '#' || n
"""

# Two in three of the invited accepted an invitation. As many again as half of these expired, were
# cancelled, or are open.
INVITATIONS = """
INSERT INTO community_invitations (invitation_id, invitation_code, created_by, status, expires_at,
    accepted_by, accepted_at, created_at, updated_at)
SELECT md5('invitation ' || number)::uuid, upper(substr(md5('code ' || number), 1, 16)),
    created_by, status, created + interval '3 days', accepted_by, accepted_at, created, created
FROM (
    SELECT substr(member_id, 2)::bigint AS number, invited_by AS created_by,
        'accepted' AS status, member_id AS accepted_by, created_at AS accepted_at,
        created_at - pg_temp.chance(substr(member_id, 2)::bigint, 50) * interval '3 days' AS created
    FROM community_members
    WHERE invited_by IS NOT NULL AND merged_into IS NULL
        AND pg_temp.chance(substr(member_id, 2)::bigint, 51) < 0.67
    UNION ALL
    SELECT 10000000 + n, '#' || 1 + 12 * floor($1::bigint / 12 * pg_temp.chance(n, 52) ^ 2)::bigint,
        CASE WHEN created > now() - interval '3 days' THEN 'pending'
            WHEN n % 5 = 0 THEN 'cancelled' ELSE 'expired' END,
        NULL, NULL, created
    FROM generate_series(1, $1::bigint / 5) AS n,
        LATERAL (SELECT now() - pg_temp.chance(n, 53) * interval '730 days' AS created) AS made
) AS invitation
"""

MILESTONES = """
INSERT INTO member_milestones (member_id, joined_at, approved_at)
SELECT member_id, created_at, CASE WHEN status IN ('active', 'suspended')
    OR (status = 'banned' AND pg_temp.chance(number, 60) < 0.5)
    THEN least(created_at + pg_temp.chance(number, 61) * interval '4 days', now()) END
FROM community_members, LATERAL (SELECT substr(member_id, 2)::bigint AS number) AS made
WHERE status <> 'not_member' AND NOT is_bot
ON CONFLICT (member_id) DO UPDATE
    SET joined_at = EXCLUDED.joined_at, approved_at = EXCLUDED.approved_at
"""
CHANGES = """
INSERT INTO directory_audit_log (changed_at, actor, action, table_name, row_id, member_id, changes)
SELECT changed_at, 'manager', action, 'community_members', id, member_id, changes::jsonb
FROM community_members JOIN member_milestones USING (member_id), LATERAL (VALUES
    (joined_at, 'INSERT', '{"name": [null, "Somebody"], "status": [null, "pending"]}'),
    (approved_at, 'UPDATE', '{"status": ["pending", "active"]}')
) AS entry(changed_at, action, changes)
WHERE changed_at IS NOT NULL ORDER BY changed_at
"""

# Who does something on which day. Nine in ten are regulars: one in five of all, of whom each day
# three in a thousand give their places to others, and the newest come most often. The others joined
# in the last 90 days, and come less often from day to day. On a weekend there are fewer.
ACTIVE_DAYS = """
CREATE TEMPORARY TABLE active_days AS
WITH
-- Everybody who writes, in random order, with the first and the last day.
crowd AS MATERIALIZED (
    SELECT number, created_at::date AS since,
        CASE WHEN status = 'banned' THEN created_at::date + (number % 150)::integer
            ELSE coalesce(deleted_at, 'infinity')::date END AS until,
        row_number() OVER (ORDER BY pg_temp.chance(number, 70)) - 1 AS place
    FROM community_members, LATERAL (SELECT substr(member_id, 2)::bigint AS number) AS made
    WHERE merged_into IS NULL AND pg_temp.chance(number, 71) < 0.8
),
days AS (
    SELECT $2::date - 1 - n AS day, n, CASE WHEN extract(isodow FROM $2::date - 1 - n) > 5
        THEN 0.7 ELSE 1 END AS share
    FROM generate_series(0, $3::integer - 1) AS n
),
regulars AS (
    SELECT DISTINCT day, floor(0.0006 * $1 * ($3 - n) + $1::bigint / 5 * (
        1 - pg_temp.chance(10000 * n + slot, 72) ^ 1.8
    ))::bigint % (SELECT count(*) FROM crowd) AS place
    FROM days, generate_series(1, $1::bigint * 85 / 1000) AS slot
    WHERE pg_temp.chance(10000 * n + slot, 73) < share
)
SELECT number, day FROM regulars JOIN crowd USING (place) WHERE day >= since AND day < until
UNION
SELECT number, day FROM days JOIN crowd ON since BETWEEN day - 90 AND day AND day < until
WHERE pg_temp.chance(1000 * number + n, 74) < share * 0.4 * exp((since - day) / 25.0)
"""

# A person has three rooms of 50, of which the first ones are the most popular. The ids are in the
# order of time, like those of the helpers. No stay in a voice chat reaches into the next day.
WRITTEN = """
INSERT INTO member_participation
    (id, member_id, event_type, platform, room_id, source_id, occurred_at, event_metadata)
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(hash, 1, 3)
        || '8' || substr(hash, 4, 15))::uuid,
    '#' || number, type, CASE WHEN room < 35 THEN 'telegram' ELSE 'discord' END,
    CASE WHEN room < 35 THEN '-100' || 1001 + room ELSE (9000 + room)::text END,
    row_number() OVER (ORDER BY at)::text, at,
    CASE WHEN type = 'VOICE'
        THEN jsonb_build_object('duration_seconds', 60 + floor(3000 * luck)::integer) END
FROM active_days, LATERAL (
    SELECT pg_temp.chance(1000 * number + (day - date '2020-01-01'), 80) AS busy
) AS made, LATERAL (
    SELECT 1000000 * number + 1000 * (day - date '2020-01-01') + e AS seed
    FROM generate_series(1, 1 + floor(-ln(1 - busy) * (
        $1::float8 / (SELECT count(*) FROM active_days) - 0.5
    ))::integer) AS e
) AS event, LATERAL (
    SELECT md5(seed::text) AS hash, pg_temp.chance(seed, 81) AS luck,
        floor(50 * pg_temp.chance(
            3 * number + floor(3 * pg_temp.chance(seed, 82) ^ 2)::integer, 83
        ) ^ 2)::integer AS room
) AS choices, LATERAL (
    SELECT CASE WHEN luck < 0.8 THEN 'MESSAGE' WHEN luck < 0.97 THEN 'REACTION' ELSE 'VOICE' END
            AS type,
        7 + 12 * (pg_temp.chance(seed, 84) + pg_temp.chance(seed, 85)) AS hours
) AS kind, LATERAL (
    SELECT day::timestamp AT TIME ZONE 'UTC' + interval '1 hour' * CASE
        WHEN type = 'VOICE' AND hours >= 23 AND hours < 24 THEN hours - 8
        WHEN hours >= 24 THEN hours - 24 ELSE hours END AS at
) AS moment
ORDER BY at
"""

POINTS = " + ".join(
    f"least({points.most}, {column} / {points.for_each})" for column, points in DAILY_POINTS.items()
)
HIGHLIGHTS = f"""
INSERT INTO member_daily_highlights
    (member_id, highlight_date, message_count, reaction_count, voice_minutes, reputation_earned)
SELECT *, least({MAX_DAILY_POINTS}, {POINTS})
FROM (
    SELECT member_id, (occurred_at AT TIME ZONE 'UTC')::date AS day,
        count(*) FILTER (WHERE event_type = 'MESSAGE') AS message_count,
        count(*) FILTER (WHERE event_type = 'REACTION') AS reaction_count,
        -- Stays at the same time are one.
        coalesce((
            SELECT extract(epoch FROM sum(upper(part) - lower(part)))::integer / 60
            FROM unnest(range_agg(tsrange(
                occurred_at AT TIME ZONE 'UTC', (occurred_at AT TIME ZONE 'UTC') + make_interval(
                    secs => (event_metadata ->> 'duration_seconds')::integer
                )
            )) FILTER (WHERE event_type = 'VOICE')) AS part
        ), 0) AS voice_minutes
    FROM member_participation GROUP BY 1, 2
) AS counted
WHERE member_id NOT IN (SELECT member_id FROM community_members WHERE is_bot)
ORDER BY day, member_id
"""
MONTHS = """
INSERT INTO member_monthly_highlights
SELECT member_id, date_trunc('month', highlight_date)::date, count(*), sum(message_count),
    sum(reaction_count), sum(voice_minutes)
FROM member_daily_highlights GROUP BY 1, 2 ORDER BY 2, 1
"""
DAILY_ROOMS = """
INSERT INTO member_daily_rooms
SELECT member_id, (occurred_at AT TIME ZONE 'UTC')::date AS day, platform, room_id, count(*),
    count(*) FILTER (WHERE event_type = 'MESSAGE')
FROM member_participation
WHERE member_id NOT IN (SELECT member_id FROM community_members WHERE is_bot)
GROUP BY 1, 2, 3, 4 ORDER BY 2, 3, 4, 1
"""
MONTHLY_ROOMS = """
INSERT INTO member_monthly_rooms
SELECT member_id, date_trunc('month', day)::date, platform, room_id, sum(event_count),
    sum(message_count)
FROM member_daily_rooms GROUP BY 1, 2, 3, 4 ORDER BY 2, 3, 4, 1
"""
ROOM_SPANS = """
INSERT INTO member_rooms
SELECT member_id, platform, room_id, min(day), max(day)
FROM member_daily_rooms GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
HOURS = """
INSERT INTO directory_hourly_counts
SELECT at::date, extract(hour FROM at), platform, event_type, count(*)
FROM (SELECT *, occurred_at AT TIME ZONE 'UTC' AS at FROM member_participation) AS event
WHERE member_id NOT IN (SELECT member_id FROM community_members WHERE is_bot)
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""
BEGINNINGS = """
INSERT INTO member_milestones AS milestone
    (member_id, first_active_day, first_message_day, active_weeks)
SELECT member_id, min(highlight_date), min(highlight_date) FILTER (WHERE message_count > 0),
    coalesce(array_agg(DISTINCT week ORDER BY week) FILTER (WHERE week BETWEEN 1 AND 12), '{}')
FROM member_daily_highlights LEFT JOIN member_milestones USING (member_id), LATERAL (
    SELECT (1 + floor(
        (highlight_date - (joined_at AT TIME ZONE 'UTC')::date) / 7.0
    ))::smallint AS week
) AS counted
GROUP BY 1
ON CONFLICT (member_id) DO UPDATE SET first_active_day = EXCLUDED.first_active_day,
    first_message_day = EXCLUDED.first_message_day, active_weeks = EXCLUDED.active_weeks
"""
LAST_ACTIVE = """
UPDATE community_members AS member SET last_active_at = latest
FROM (SELECT member_id, max(occurred_at) AS latest FROM member_participation GROUP BY 1) AS event
WHERE event.member_id = member.member_id
"""

# Entities know those of their own circle of 100 best.
ENTITIES = """
INSERT INTO member_accounts (id, platform, account_id, member_id, proof, proved_at)
SELECT gen_random_uuid(), 'elizaos', md5('entity ' || member_id)::uuid, member_id, 'platform', now()
FROM community_members WHERE merged_into IS NULL AND NOT is_bot
"""
RELATIONSHIPS = """
INSERT INTO member_relationships
    (id, entity_id_a, entity_id_b, relationship_type, content, created_at)
SELECT gen_random_uuid(), a.account_id, b.account_id,
    pg_temp.one_of('{MENTORED,KNOWS,COLLABORATED,INVITED}', pg_temp.chance(n, 90), 1), '{}',
    now() - pg_temp.chance(n, 91) * interval '700 days'
FROM generate_series(1, 4 * $1::bigint) AS n CROSS JOIN LATERAL (
    SELECT 1 + floor($1 * pg_temp.chance(n, 92) ^ 2)::bigint AS one
) AS chosen CROSS JOIN LATERAL (
    SELECT CASE WHEN pg_temp.chance(n, 93) < 0.8
        THEN one - one % 100 + 1 + floor(99 * pg_temp.chance(n, 94) ^ 2)::bigint
        ELSE 1 + floor($1 * pg_temp.chance(n, 95))::bigint END AS other
) AS chosen_too
JOIN member_accounts AS a ON a.platform = 'elizaos' AND a.member_id = '#' || one
JOIN member_accounts AS b ON b.platform = 'elizaos' AND b.member_id = '#' || other
WHERE one <> other
ON CONFLICT DO NOTHING
"""


async def fill(connection: asyncpg.Connection, *, members: int, events: int) -> None:
    """Insert the people, their year, and what roll-ups count, into empty, migrated tables."""
    tomorrow = datetime.now(UTC).date()
    # Without triggers and foreign keys, and with memory for sorts and indexes.
    await connection.execute(
        "SET session_replication_role = replica; SET maintenance_work_mem = '1GB';"
        "SET work_mem = '1GB'; SET jit = off"
    )
    await connection.execute(CHANCES)
    steps = (
        (MEMBERS, members),
        (PEOPLE, members),
        (ACCOUNTS,),
        (INVITATIONS, members),
        (MILESTONES,),
        (CHANGES,),
        (ACTIVE_DAYS, members, tomorrow, DAYS),
        (WRITTEN, events),
        (HIGHLIGHTS,),
        (MONTHS,),
        (DAILY_ROOMS,),
        (MONTHLY_ROOMS,),
        (ROOM_SPANS,),
        (HOURS,),
        (BEGINNINGS,),
        (LAST_ACTIVE,),
        (ENTITIES,),
        (RELATIONSHIPS, members),
    )
    with tqdm(total=len(steps) + 1, unit="step", disable=None) as bar:
        async with without_secondary_indexes(connection):
            for statement, *arguments in steps:
                await connection.execute(statement, *arguments, timeout=3600)
                bar.update()
        await connection.execute("SELECT setval('community_member_number', $1)", members)
        await connection.execute("RESET session_replication_role")
        await connection.execute("VACUUM FULL ANALYZE community_members", timeout=3600)
        await connection.execute("VACUUM ANALYZE", timeout=3600)
        bar.update()


async def main() -> None:
    """Fill the database that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="URL of an empty database")
    parser.add_argument("--members", type=int, default=100_000)
    parser.add_argument("--events", type=int, default=EVENTS)
    options = parser.parse_args()
    async with connect(options.url):
        await migrate()
    connection = await asyncpg.connect(options.url)
    began = time.perf_counter()
    await fill(connection, members=options.members, events=options.events)
    events = await connection.fetchval("SELECT count(*) FROM member_participation", timeout=600)
    await connection.close()
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    days = days_between(yesterday - timedelta(days=DAYS - 1), yesterday, "UTC")
    async with connect(options.url):
        with long_running():
            await engine.fetch(STORE_DAY_CHECKSUMS, **days._asdict())
    say(
        f"Loaded {options.members:,} members and {events:,} events"
        f" in {time.perf_counter() - began:.0f} s."
    )


if __name__ == "__main__":
    asyncio.run(main())
