"""Fill a database with a made-up community: `python -m benchmarks.community URL --members 100000`.

Except for its dates it is always the same. `Community` has the arguments for the measured calls.
"""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import asyncpg
from tqdm import tqdm

from benchmarks.say import say
from community_directory.database import connect
from community_directory.database.migrations import migrate

DAYS: Final = 180
DAY_EVENTS: Final = 10_000
"""The events of the last day: the number and the authors are the same in any size."""
DAY_MEMBERS: Final = 10_000
"""The members who write them."""
WORDS: Final = {
    "a rare word": "Quetzalcoatl",
    "a common word": "garcia",
    "a word of many of low rank": "newcomers",
    "a word that nobody has": "xylophone",
    "two letters": "ar",
}
"""The words of the searches.

They find five members, one in 20, half of all but none with a high score, none, and one in two.
"""


@dataclass(frozen=True)
class Size:
    """The number of rows of a community."""

    members: int

    @property
    def invitations(self) -> int:
        """Return three for each member."""
        return 3 * self.members

    @property
    def events(self) -> int:
        """Return thirty for each member, and at most ten million."""
        return min(30 * self.members, 10_000_000)

    def __str__(self) -> str:
        return f"{self.members:,} members, {self.invitations:,} invitations, {self.events:,} events"


@dataclass(frozen=True)
class Community:
    """The rows of a filled database that the operations use."""

    size: Size
    telegram_ids: list[str]
    """The Telegram ids of active members, in random order."""
    member_ids: list[str]
    """The numbers of active members, in random order."""
    busiest: str
    """The member with the most events."""
    trees: list[str]
    """Members who invited a few people, directly or not."""
    popular_pages: list[list[Any]]
    """Role, country, lowest score and cursor of a first and of a later page of the directory."""
    small_pages: list[list[Any]]
    """The same for a country with few members."""
    rare_pages: list[list[Any]]
    """The same for a role and a country that few members have."""
    codes: list[str]
    """The codes of open invitations, whose inviters are active members."""
    day: date
    """The last day, which has `DAY_EVENTS` events."""


# chance(n, purpose) is a pseudo-random number from 0 to 1 that depends on its arguments only.
# one_of() is an element of a list: the higher the skew, the more often one of the first.
CHANCES = """
CREATE OR REPLACE FUNCTION pg_temp.chance(n bigint, purpose bigint) RETURNS float8
    LANGUAGE sql IMMUTABLE
    RETURN (hashint8extended(n, purpose) & 2147483647) / 2147483648.0::float8;
CREATE OR REPLACE FUNCTION pg_temp.one_of(list text[], chance float8, skew float8)
    RETURNS text LANGUAGE sql IMMUTABLE
    RETURN list[1 + floor(cardinality(list) * chance ^ skew)];
"""

GIVEN = (
    "Ana Bo Carlos Diego Elena Farid Gina Hiro Ines Joao Kwame Lucia Marta Nils Olga Pablo Quinn"
    " Rosa Sven Tara"
)
FAMILY = (
    "Garcia Okafor Tanaka Nilsen Silva Haddad Novak Murphy Kowalski Dubois Rossi Weber Sato Mensah"
    " Ivanov Castro Lopez Chen Kaya Adeyemi"
)
COUNTRIES = (
    "Mexico Argentina Colombia Brazil Peru Chile Spain Ecuador Nigeria India Germany France"
    " Portugal Kenya Ghana Japan Poland Italy Canada Bolivia Uruguay Paraguay Panama Guatemala"
    " Honduras Cuba Norway Sweden Austria Iceland"
)
ROLES = "developer designer founder writer researcher lawyer"

# #1 is active and has the most events. Five members have the rare family name, in any size.
MEMBERS = f"""
INSERT INTO community_members (id, member_id, telegram_id, telegram_username, name, primary_role,
    organization, country, github_username, status, reputation_score, reputation_tier, invited_by,
    profile_data, created_at, updated_at, last_active_at, deleted_at)
SELECT md5('member ' || n)::uuid, '#' || n, (10000000 + n)::text,
    CASE WHEN pg_temp.chance(n, 1) < 0.9 THEN 'user' || to_hex(n * 7919) END,
    pg_temp.one_of('{{{GIVEN.replace(" ", ",")}}}', pg_temp.chance(n, 2), 1) || ' '
        || CASE WHEN chosen AND n > 1 THEN 'Quetzalcoatl'
            ELSE pg_temp.one_of('{{{FAMILY.replace(" ", ",")}}}', pg_temp.chance(n, 3), 1) END,
    pg_temp.one_of('{{{ROLES.replace(" ", ",")}}}', pg_temp.chance(n, 4), 2),
    CASE WHEN score <= 100 AND pg_temp.chance(n, 5) < 0.6 THEN 'Newcomers'
        WHEN pg_temp.chance(n, 6) < 0.7
            THEN 'Studio ' || 1 + floor(200 * pg_temp.chance(n, 7) ^ 3) END,
    pg_temp.one_of('{{{COUNTRIES.replace(" ", ",")}}}', pg_temp.chance(n, 8), 2),
    CASE WHEN pg_temp.chance(n, 9) < 0.33 THEN 'dev-' || to_hex(n * 104729) END,
    CASE WHEN chosen OR luck < 0.9 THEN 'active' WHEN luck < 0.92 THEN 'pending'
        WHEN luck < 0.95 THEN 'not_member' WHEN luck < 0.98 THEN 'suspended' ELSE 'banned' END,
    score,
    CASE WHEN score <= 100 THEN 'Novice' WHEN score <= 500 THEN 'Contributor'
        WHEN score <= 1000 THEN 'Active Developer' WHEN score <= 2500 THEN 'Experienced'
        ELSE 'Expert' END,
    CASE WHEN n > 1 THEN '#' || 1 + floor((n - 1) * pg_temp.chance(n, 10) ^ 1.5) END,
    CASE WHEN pg_temp.chance(n, 11) < 0.25
        THEN jsonb_build_object('bio', 'I am ' || n, 'spoken', '["es"]'::jsonb) END,
    created, created,
    CASE WHEN pg_temp.chance(n, 12) < 0.8
        THEN now() - 100 * pg_temp.chance(n, 13) * interval '1 day' END,
    CASE WHEN NOT chosen AND pg_temp.chance(n, 14) < 0.01 THEN now() - interval '10 days' END
FROM generate_series(1, $1::bigint) AS n, LATERAL (SELECT
    n = 1 OR n % ($1::bigint / 5) = 7 AS chosen, pg_temp.chance(n, 15) AS luck,
    -- A third have the score 0, most are below 100, and one in 50 is above 2,500.
    CASE WHEN rank < 0 THEN 0 WHEN rank < 0.8 THEN 1 + 99 * (rank / 0.8) ^ 2
        ELSE 100 + 3900 * (5 * rank - 4) ^ 4 END::integer AS score,
    now() - ($1::bigint - n) * (interval '1095 days' / $1::bigint) AS created
    FROM (SELECT 1.5 * pg_temp.chance(n, 16) - 0.5 AS rank) AS ranked
) AS made
"""

ACCOUNTS = """
INSERT INTO member_accounts (id, platform, account_id, username, member_id, proof, proved_at)
SELECT gen_random_uuid(), named.platform, named.account_id, named.username, member_id, named.proof,
    CASE WHEN named.proof <> 'stated' THEN created_at END
FROM community_members AS member, member_accounts_named(member) AS named
"""

# One in 20 is open, and none is overdue.
INVITATIONS = """
INSERT INTO community_invitations (invitation_id, invitation_code, created_by,
    invited_telegram_username, status, expires_at, accepted_by, accepted_at, created_at, updated_at)
SELECT md5('invitation ' || n)::uuid,
    upper(substr(md5('code ' || n), 1, 8) || lpad(to_hex(n), 6, '0')),
    '#' || inviter, CASE WHEN n % 7 = 0 THEN 'guest' || n END, status,
    CASE WHEN status = 'pending' THEN now() + interval '30 days'
        ELSE created + interval '3 days' END,
    CASE WHEN status = 'accepted' THEN '#' || 1 + (inviter + n % ($1::bigint - 1)) % $1::bigint END,
    CASE WHEN status = 'accepted' THEN created + interval '1 day' END, created, created
FROM generate_series(1, $2::bigint) AS n, LATERAL (SELECT
    1 + floor($1::bigint * pg_temp.chance(n, 20) ^ 2)::bigint AS inviter,
    CASE WHEN n % 20 = 0 THEN 'pending' WHEN n % 20 <= 14 THEN 'accepted'
        WHEN n % 20 <= 17 THEN 'expired' ELSE 'cancelled' END AS status,
    now() - interval '4 days' - ($2::bigint - n) * (interval '1090 days' / $2::bigint) AS created
) AS made
"""
# The n-th member has 1/n of the events of the first one. The ids are in the order of time, like
# those of the helpers. The last day has the same number of events in any size.
EVENTS = f"""
INSERT INTO member_participation
    (id, member_id, event_type, platform, room_id, source_id, occurred_at, event_metadata)
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(hash, 1, 3)
        || '8' || substr(hash, 4, 15))::uuid,
    '#' || floor(least($1::bigint, crowd) ^ pg_temp.chance(n, 30))::bigint,
    type, 'telegram', '-1001', n::text, at,
    CASE WHEN type = 'VOICE' THEN jsonb_build_object('duration_seconds', 60 + n % 3000) END
FROM generate_series(1, $2::bigint) AS n, LATERAL (SELECT
    CASE WHEN n > $2::bigint - {DAY_EVENTS}
        THEN $3::timestamptz - ($2::bigint - n + 1) * (interval '1 day' / {DAY_EVENTS})
        -- at random, up to one hour earlier
        ELSE $3::timestamptz - interval '1 day' - pg_temp.chance(n, 31) * interval '1 hour'
            - ($2::bigint - {DAY_EVENTS} - n) * (interval '{DAYS - 1} days' / $2::bigint)
    END AS at,
    CASE WHEN n > $2::bigint - {DAY_EVENTS} THEN {DAY_MEMBERS} ELSE $1::bigint END AS crowd,
    CASE WHEN n % 10 = 0 THEN 'VOICE' WHEN n % 10 <= 6 THEN 'MESSAGE' ELSE 'REACTION' END AS type,
    md5(n::text) AS hash
) AS made
"""
HIGHLIGHTS = """
INSERT INTO member_daily_highlights
    (member_id, highlight_date, message_count, reaction_count, voice_minutes, reputation_earned)
SELECT member_id, (occurred_at AT TIME ZONE 'UTC')::date,
    count(*) FILTER (WHERE event_type = 'MESSAGE'), count(*) FILTER (WHERE event_type = 'REACTION'),
    coalesce(sum((event_metadata ->> 'duration_seconds')::integer)
        FILTER (WHERE event_type = 'VOICE'), 0) / 60, 0
FROM member_participation GROUP BY 1, 2
"""

# The same rows with only the indexes of the original design, which has two on each unique column.
ORIGINAL = """
CREATE SCHEMA original;
CREATE TABLE original.community_members (LIKE public.community_members INCLUDING DEFAULTS);
CREATE TABLE original.community_invitations
    (LIKE public.community_invitations INCLUDING DEFAULTS);
CREATE TABLE original.member_daily_highlights
    (LIKE public.member_daily_highlights INCLUDING DEFAULTS);
CREATE TABLE original.member_participation (
    id uuid NOT NULL DEFAULT gen_random_uuid(), member_id varchar(20) NOT NULL,
    event_type varchar(50) NOT NULL, platform varchar(50) NOT NULL,
    room_id varchar(255) NOT NULL, event_metadata jsonb,
    occurred_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO original.community_members SELECT * FROM public.community_members;
INSERT INTO original.community_invitations SELECT * FROM public.community_invitations;
INSERT INTO original.member_daily_highlights SELECT * FROM public.member_daily_highlights;
INSERT INTO original.member_participation
        (member_id, event_type, platform, room_id, event_metadata, occurred_at)
    SELECT member_id, event_type, platform, room_id, event_metadata, occurred_at
    FROM public.member_participation;
ALTER TABLE original.community_members
    ADD PRIMARY KEY (id), ADD UNIQUE (member_id), ADD UNIQUE (telegram_id);
CREATE INDEX member_telegram_id_idx ON original.community_members (telegram_id);
CREATE INDEX member_github_username_idx ON original.community_members (github_username);
CREATE INDEX member_status_idx ON original.community_members (status);
CREATE INDEX member_reputation_score_idx ON original.community_members (reputation_score);
ALTER TABLE original.community_invitations
    ADD PRIMARY KEY (invitation_id), ADD UNIQUE (invitation_code);
CREATE INDEX invitation_code_idx ON original.community_invitations (invitation_code);
CREATE INDEX invitation_status_idx ON original.community_invitations (status);
CREATE INDEX invitation_created_by_idx ON original.community_invitations (created_by);
ALTER TABLE original.member_participation ADD PRIMARY KEY (id);
CREATE INDEX participation_member_id_idx ON original.member_participation (member_id);
CREATE INDEX participation_event_type_idx ON original.member_participation (event_type);
CREATE INDEX participation_occurred_at_idx ON original.member_participation (occurred_at);
ALTER TABLE original.member_daily_highlights ADD PRIMARY KEY (id);
CREATE INDEX highlight_member_date_idx
    ON original.member_daily_highlights (member_id, highlight_date);
"""

TABLES = "{community_members,community_invitations,member_participation,member_daily_highlights}"
# The statements that drop and create each index and unique constraint that no foreign key needs.
SECONDARY = f"""
SELECT 'DROP INDEX ' || i.indexrelid::regclass, pg_get_indexdef(i.indexrelid)
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE i.indrelid = ANY('{TABLES}'::regclass[])
    AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = c.oid)
UNION ALL
SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', o.conrelid::regclass, o.conname),
    format('ALTER TABLE %s ADD CONSTRAINT %I %s',
        o.conrelid::regclass, o.conname, pg_get_constraintdef(o.oid))
FROM pg_constraint AS o
WHERE o.conrelid = ANY('{TABLES}'::regclass[]) AND o.contype IN ('p', 'u')
    AND NOT EXISTS (
        SELECT FROM pg_constraint AS f WHERE f.contype = 'f' AND f.conindid = o.conindid
    )
"""


async def fill(connection: asyncpg.Connection, size: Size, *, original: bool = True) -> Community:
    """Fill the empty, migrated tables, and with `original` those of the original design."""
    midnight = datetime.combine(datetime.now(UTC).date(), datetime.min.time(), UTC)
    with tqdm(total=7 if original else 6, desc=str(size), unit="step", disable=None) as bar:
        # Without triggers and foreign keys, and with memory for the indexes; durability stays on.
        await connection.execute(
            "SET session_replication_role = replica; SET maintenance_work_mem = '512MB'"
        )
        await connection.execute(CHANCES)
        async with without_secondary_indexes(connection):
            for statement, *arguments in (
                (MEMBERS, size.members),
                (ACCOUNTS,),
                (INVITATIONS, size.members, size.invitations),
                (EVENTS, size.members, size.events, midnight),
                (HIGHLIGHTS,),
            ):
                await connection.execute(statement, *arguments, timeout=3600)
                bar.update()
        await connection.execute("SELECT setval('community_member_number', $1)", size.members)
        bar.update()
        if original:
            await connection.execute(ORIGINAL, timeout=3600)
            bar.update()
        await connection.execute("RESET session_replication_role; RESET maintenance_work_mem")
        await connection.execute("VACUUM ANALYZE", timeout=3600)
        await connection.execute("CHECKPOINT", timeout=3600)
    return await survey(connection, size)


@asynccontextmanager
async def without_secondary_indexes(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """Drop the indexes that no foreign key needs, and create them again at the end."""
    indexes = await connection.fetch(SECONDARY)
    for drop, _ in indexes:
        await connection.execute(drop)
    yield
    for _, create in indexes:
        await connection.execute(create, timeout=3600)


async def survey(connection: asyncpg.Connection, size: Size) -> Community:
    """Look up the rows that the operations use."""

    async def column(sql: str, *arguments: object) -> list[str]:
        return [value for (value,) in await connection.fetch(sql, *arguments)]

    someone = """
        FROM community_members WHERE deleted_at IS NULL AND status = 'active'
        ORDER BY md5(member_id) LIMIT 5000
    """
    return Community(
        size=size,
        telegram_ids=await column(f"SELECT telegram_id {someone}"),
        member_ids=await column(f"SELECT member_id {someone}"),
        busiest="#1",
        trees=await column(TREES, [f"#{size.members // 10 + number}" for number in range(500)]),
        popular_pages=await _pages(connection, "developer", "Mexico", 10),
        small_pages=await _pages(connection, "developer", "Iceland", 0),
        rare_pages=await _pages(connection, "lawyer", "Iceland", 0),
        codes=await column(CODES),
        day=datetime.now(UTC).date() - timedelta(days=1),
    )


TREES = """
WITH RECURSIVE tree AS (
    SELECT member_id AS root, member_id FROM community_members WHERE member_id = ANY($1)
    UNION ALL
    SELECT root, member.member_id
    FROM tree JOIN community_members AS member ON invited_by = tree.member_id
)
SELECT root FROM tree GROUP BY root HAVING count(*) BETWEEN 5 AND 15 ORDER BY root LIMIT 50
"""
CODES = """
SELECT invitation_code FROM community_invitations JOIN community_members ON member_id = created_by
WHERE community_invitations.status = 'pending' AND invited_telegram_username IS NULL
    AND community_members.status = 'active' AND deleted_at IS NULL
ORDER BY invitation_code LIMIT 20000
"""
PLACE = """
SELECT reputation_score, id::text FROM community_members
WHERE primary_role = $1 AND country = $2 AND status = 'active' AND deleted_at IS NULL
    AND reputation_score >= $3
ORDER BY reputation_score DESC, id DESC OFFSET 39 LIMIT 1
"""


async def _pages(
    connection: asyncpg.Connection, role: str, country: str, floor: int
) -> list[list[Any]]:
    """Return the first page, and the third if there is one."""
    place = await connection.fetchrow(PLACE, role, country, floor)
    return [[role, country, floor, None], [role, country, floor, place and [*place]]]


async def main() -> None:
    """Fill the database that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="URL of an empty database")
    parser.add_argument("--members", type=int, default=100_000)
    options = parser.parse_args()
    async with connect(options.url):
        await migrate()
    connection = await asyncpg.connect(options.url)
    began = time.perf_counter()
    community = await fill(connection, Size(options.members))
    await connection.close()
    say(
        f"Loaded {community.size} in {time.perf_counter() - began:.0f} s;"
        f" for example the invitation {community.codes[0]}."
    )


if __name__ == "__main__":
    asyncio.run(main())
