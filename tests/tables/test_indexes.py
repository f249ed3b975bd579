"""Every required index exists, PostgreSQL uses each one for its query, and none is redundant."""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from community_directory.database import Statement, engine
from community_directory.queries import members
from community_directory.queries.highlights import (
    COUNTED_CTES,
    FIND_CHANGED_DAYS,
    HIGHLIGHTS_OF_ALL,
    HIGHLIGHTS_OF_MEMBER,
    STAY,
)
from community_directory.queries.invitation_statistics import COUNT_INVITATIONS
from community_directory.queries.invitations import FIND_OPEN_INVITATION
from community_directory.queries.leaderboard import GET_RANK
from community_directory.queries.participation_counts import (
    COUNT_DAYS_OF_MEMBER,
    COUNT_ROOMS_OF_MEMBER,
)
from community_directory.queries.seen import LOOK_UP_ACCOUNT
from community_directory.queries.standing import ABSENT
from community_directory.web.insights.growth import COUNT_MEMBERS
from tests.conftest import Server, new_database

pytestmark = pytest.mark.schema

NOW = datetime(2026, 1, 31, tzinfo=UTC)

# The indexes of the original design; an index may have further columns after these.
REQUIRED_INDEXES = {
    "member_telegram_id_idx": ("community_members", ["telegram_id"]),
    "member_github_username_idx": ("community_members", ["github_username"]),
    "member_status_idx": ("community_members", ["status"]),
    "member_reputation_score_idx": ("community_members", ["reputation_score"]),
    "invitation_code_idx": ("community_invitations", ["invitation_code"]),
    "invitation_status_idx": ("community_invitations", ["status"]),
    "invitation_created_by_idx": ("community_invitations", ["created_by"]),
    "relationship_entity_a_idx": ("member_relationships", ["entity_id_a"]),
    "relationship_entity_b_idx": ("member_relationships", ["entity_id_b"]),
    "relationship_type_idx": ("member_relationships", ["relationship_type"]),
    "participation_member_id_idx": ("member_participation", ["member_id"]),
    "participation_event_type_idx": ("member_participation", ["event_type"]),
    "participation_occurred_at_idx": ("member_participation", ["occurred_at"]),
    "highlight_member_date_idx": ("member_daily_highlights", ["member_id", "highlight_date"]),
}

# 20,000 members with as many invitations, relationships, highlights and log entries, and 60,000
# events of 60 days, written without triggers. One row in a hundred is rare: pending, cancelled, or
# of a rare type.
INSERT_ROWS = """
SET session_replication_role = replica;
INSERT INTO community_members
    (member_id, telegram_id, name, primary_role, country, github_username, github_verified,
        github_verified_at, status, reputation_score, invited_by, profile_data, created_at, is_bot,
        telegram_username, organization)
SELECT '#' || n, n::text, 'Member ' || n,
    CASE n % 100 WHEN 1 THEN 'designer' ELSE 'developer' END, 'Country ' || n % 10, 'github' || n,
    true,
    now(),
    CASE n % 100 WHEN 0 THEN 'pending' ELSE 'active' END,
    CASE n % 4 WHEN 0 THEN 0 WHEN 1 THEN n * 7919 % 100 + 1 ELSE n * 7919 % 3000 END,
    CASE WHEN n >= 10 THEN '#' || n / 10 END,
    CASE WHEN n % 2 = 0 THEN jsonb_build_object('discord_id', n::text) END,
    timestamptz '2026-01-31 00:00Z' - n * interval '1 minute',
    n % 4000 = 0, 'guest' || n, CASE n % 100 WHEN 2 THEN 'Frutero' ELSE 'Banana Labs' END
FROM generate_series(1, 20000) AS n;
INSERT INTO member_accounts (id, platform, account_id, username, member_id, proof, proved_at)
SELECT gen_random_uuid(), named.platform, named.account_id, named.username, member_id, named.proof,
    CASE WHEN named.proof <> 'stated' THEN now() END
FROM community_members AS member, member_accounts_named(member) AS named;
INSERT INTO community_members
    (member_id, telegram_id, name, primary_role, deleted_at, merged_into)
SELECT '#' || n, 'merged:' || n, 'Member ' || n, 'developer', now(), '#' || n - 25000
FROM generate_series(25001, 26000) AS n;
INSERT INTO directory_dismissed_merges (member_a, member_b)
SELECT '#' || n, '#' || n + 1 FROM generate_series(1, 20000) AS n;
INSERT INTO directory_merges (id, duplicate_id, into_id, merged_at, undone_at)
SELECT gen_random_uuid(), '#' || n, '#' || n - 25000, now(), CASE WHEN n % 2 = 0 THEN now() END
FROM generate_series(25001, 26000) AS n;
INSERT INTO member_permissions (id, member_id, permission)
SELECT gen_random_uuid(), '#' || n, CASE n % 100 WHEN 0 THEN 'manage' ELSE 'invite' END
FROM generate_series(1, 20000) AS n;
INSERT INTO member_requests (member_id, kind)
SELECT '#' || n, 'erasure' FROM generate_series(1, 20000) AS n;
UPDATE community_members
SET status = 'suspended', suspended_until = timestamptz '2026-01-31 00:00Z'
WHERE member_id IN ('#7001', '#7003');
INSERT INTO member_notes (id, member_id, text, written_at)
SELECT gen_random_uuid(), '#' || n % 5000 + 1, 'x', now() - n * interval '1 minute'
FROM generate_series(1, 20000) AS n;
INSERT INTO directory_segments (name, filters, created_by)
SELECT 'Segment ' || n, '{}', 'eva' FROM generate_series(1, 20000) AS n;
INSERT INTO directory_link_codes (member_id, code_hash, expires_at)
SELECT '#' || n, sha256(n::text::bytea), now() FROM generate_series(1, 20000) AS n;
INSERT INTO directory_bot_states (telegram_id, conversation, updated_at)
SELECT n::text, 'private', timestamptz '2026-01-31 00:00Z' - n * interval '1 minute'
FROM generate_series(1, 20000) AS n;
INSERT INTO directory_proved_pairs (member_a, member_b, proved_at)
SELECT '#0', '#' || n, now() FROM generate_series(1, 20000) AS n;
INSERT INTO directory_erased_accounts (fingerprint, member_id)
SELECT encode(sha256(n::text::bytea), 'hex'), '#' || n FROM generate_series(1, 20000) AS n;
INSERT INTO directory_bots (telegram_id, name)
SELECT n::text, 'Bot ' || n FROM generate_series(20001, 25000) AS n;
INSERT INTO community_invitations
    (invitation_code, created_by, invited_telegram_username, status, accepted_by, accepted_at,
        expires_at, created_at)
SELECT 'CODE' || n + 1000000, '#' || n / 10, 'guest' || n,
    CASE n % 100 WHEN 0 THEN 'pending' WHEN 1 THEN 'cancelled' ELSE 'accepted' END,
    CASE WHEN n % 100 > 1 THEN '#' || n END, CASE WHEN n % 100 > 1 THEN now() END,
    timestamptz '2026-01-31 00:00Z' + n * interval '1 minute',
    timestamptz '2026-01-31 00:00Z' - n * interval '1 minute'
FROM generate_series(10, 20000) AS n;
INSERT INTO member_relationships (entity_id_a, entity_id_b, relationship_type)
SELECT 'entity-' || n / 4, 'other-' || n / 4 || '-' || n % 4,
    CASE n % 100 WHEN 0 THEN 'MENTORED' ELSE 'INVITED' END
FROM generate_series(1, 20000) AS n;
INSERT INTO member_participation
    (member_id, event_type, platform, room_id, source_id, occurred_at, event_metadata)
SELECT '#' || n % 500 + 1, CASE n % 100 WHEN 0 THEN 'VOICE' ELSE 'MESSAGE' END,
    'telegram', '-' || n % 7, n::text,
    timestamptz '2026-01-31 00:00Z' - n * interval '86 seconds',
    CASE n % 100 WHEN 0 THEN '{"duration_seconds": 1800}'::jsonb END
FROM generate_series(1, 60000) AS n;
INSERT INTO member_daily_highlights (member_id, highlight_date, message_count)
SELECT '#' || n % 500 + 1, date '2026-01-31' - n / 500, n % 50
FROM generate_series(0, 19999) AS n;
INSERT INTO member_monthly_highlights
    (member_id, month, active_days, message_count, reaction_count, voice_minutes)
SELECT '#' || n % 500 + 1, date '2026-01-01' - n / 500 * interval '1 month', 1, 1, 0, 0
FROM generate_series(0, 19999) AS n;
INSERT INTO member_daily_rooms
    (member_id, day, platform, room_id, event_count, message_count)
SELECT '#' || n % 500 + 1, date '2026-01-31' - n / 500, 'telegram', '-1', 1, 1
FROM generate_series(0, 19999) AS n;
INSERT INTO member_monthly_rooms
    (member_id, month, platform, room_id, event_count, message_count)
SELECT '#' || n % 500 + 1, date '2026-01-01' - n / 500 * interval '1 month', 'telegram', '-1', 1, 1
FROM generate_series(0, 19999) AS n;
INSERT INTO member_milestones (member_id, joined_at)
SELECT '#' || n, timestamptz '2026-01-31 00:00Z' - n * interval '1 minute'
FROM generate_series(1, 20000) AS n;
INSERT INTO directory_audit_log (actor, action, table_name, row_id, member_id, changes)
SELECT CASE n % 500 WHEN 0 THEN 'luis' ELSE 'bot' END, 'UPDATE', 'community_members',
    lpad(to_hex(n), 32, '0')::uuid, '#' || n % 2000 + 1,
    CASE n % 100 WHEN 0 THEN '{"status": ["pending", "active"]}' ELSE '{}' END::jsonb
FROM generate_series(1, 20000) AS n;
UPDATE directory_audit_log SET act_id = row_id, undone_act_id = row_id WHERE id % 10 = 7;
INSERT INTO directory_audit_log (actor, action, table_name, row_id, member_id, changes)
SELECT 'bot', 'INSERT', table_name, gen_random_uuid(), '#' || n % 2000 + 1,
    jsonb_build_object(field, jsonb_build_array(NULL, prefix || n))
FROM generate_series(1, 5000) AS n, (VALUES
    ('member_accounts', 'account_id', 'Account'),
    ('community_invitations', 'invited_telegram_username', 'Guest')
) AS logged(table_name, field, prefix);
RESET session_replication_role;
"""


@dataclass(frozen=True)
class IndexedQuery:
    """A query that an index serves."""

    index: str
    query: str
    arguments: tuple[object, ...] = ()
    node: str | None = None
    """The type of scan in the plan, where it matters."""

    def __str__(self) -> str:
        return f"{self.index}: {self.query}"


INDEXED_QUERIES = [
    IndexedQuery(
        "community_members_member_id_key",
        "SELECT * FROM community_members WHERE member_id = $1",
        ("#247",),
    ),
    IndexedQuery(
        "member_telegram_id_idx", "SELECT * FROM community_members WHERE telegram_id = $1", ("247",)
    ),
    IndexedQuery(
        "member_github_username_idx",
        "SELECT * FROM community_members WHERE github_username = $1",
        ("github247",),
    ),
    IndexedQuery(
        "member_status_idx", "SELECT * FROM community_members WHERE status = $1", ("pending",)
    ),
    IndexedQuery(
        "member_status_idx",
        "SELECT * FROM community_members WHERE status = $1 ORDER BY created_at DESC LIMIT 20",
        ("active",),
        "Index Scan",
    ),
    IndexedQuery(
        "member_reputation_score_idx",
        "SELECT * FROM community_members ORDER BY reputation_score DESC, id DESC LIMIT 20",
        (),
        "Index Scan",
    ),
    IndexedQuery(
        "member_reputation_score_idx",
        "SELECT * FROM community_members WHERE (reputation_score, id) < ($1, $2)"
        " ORDER BY reputation_score DESC, id DESC LIMIT 20",
        (1500, "b5ebbec2-e9c5-4af9-8ab4-2cbfd2d172ad"),
        "Index Scan",
    ),
    IndexedQuery(
        "member_reputation_score_idx",
        "SELECT id FROM (SELECT id, search_text, status, primary_role, country, deleted_at, is_bot"
        " FROM community_members ORDER BY reputation_score DESC, id DESC LIMIT 1000) AS best"
        " WHERE search_text LIKE '%ember 1%' AND status = 'active' AND country = 'Country 7'"
        " AND primary_role = 'developer' AND deleted_at IS NULL AND NOT is_bot",
        (),
        "Index Only Scan",
    ),
    IndexedQuery(
        "member_role_idx",
        "SELECT * FROM community_members"
        " WHERE primary_role = $1 AND country = $2 AND status = 'active'"
        " AND deleted_at IS NULL AND reputation_score >= 10 AND (reputation_score, id) < ($3, $4)"
        " ORDER BY reputation_score DESC, id DESC LIMIT 20",
        ("developer", "Country 7", 1500, "b5ebbec2-e9c5-4af9-8ab4-2cbfd2d172ad"),
        "Index Scan",
    ),
    IndexedQuery(
        "member_role_idx",
        "SELECT id FROM community_members WHERE primary_role = (SELECT $1::text)"
        " AND primary_role BETWEEN (SELECT $1::text) AND (SELECT $1::text)"
        " AND status = 'active' AND deleted_at IS NULL AND NOT is_bot",
        ("developer",),
        "Index Only Scan",
    ),
    IndexedQuery(
        "member_country_idx",
        "SELECT id FROM community_members WHERE country = (SELECT $1::text)"
        " AND country BETWEEN (SELECT $1::text) AND (SELECT $1::text)"
        " AND status = 'active' AND deleted_at IS NULL AND NOT is_bot AND reputation_score > 10",
        ("Country 7",),
        "Index Only Scan",
    ),
    IndexedQuery(
        "member_organization_idx",
        "SELECT id FROM community_members WHERE organization = (SELECT $1::text)"
        " AND organization BETWEEN (SELECT $1::text) AND (SELECT $1::text)"
        " AND status = 'active' AND deleted_at IS NULL AND NOT is_bot",
        ("Frutero",),
    ),
    IndexedQuery(
        "member_other_status_idx",
        "SELECT id FROM community_members"
        " WHERE status = (SELECT $1::text) AND NOT status = 'active' AND deleted_at IS NULL"
        " AND primary_role = 'developer' AND NOT is_bot AND search_text LIKE '%ember%'"
        " ORDER BY reputation_score DESC, id DESC LIMIT 20",
        ("pending",),
        "Index Only Scan",
    ),
    IndexedQuery(
        "member_name_idx",
        "SELECT id FROM community_members WHERE deleted_at IS NULL AND NOT is_bot"
        " AND (directory_search_text(name), id) > (directory_search_text($1), $2)"
        " AND CASE WHEN status = 'active' AND country <> 'Peru'"
        " AND primary_role = 'developer' AND reputation_score > 10 THEN true END"
        " ORDER BY directory_search_text(name), id LIMIT 20",
        ("Member 247", "b5ebbec2-e9c5-4af9-8ab4-2cbfd2d172ad"),
        "Index Only Scan",
    ),
    IndexedQuery(
        "member_newest_idx",
        "SELECT id FROM community_members WHERE deleted_at IS NULL AND NOT is_bot"
        " AND CASE WHEN search_text LIKE '%ember%' AND status = 'active' AND country <> 'Peru'"
        " AND primary_role = 'developer' AND reputation_score > 10 THEN true END"
        " ORDER BY created_at DESC, id DESC LIMIT 20",
        (),
        "Index Only Scan",
    ),
    IndexedQuery(
        "member_search_idx",
        "SELECT * FROM community_members"
        " WHERE search_text LIKE '%' || directory_search_text($1) || '%'",
        ("ember 1247",),
        "Bitmap Index Scan",
    ),
    IndexedQuery(
        "member_github_verified_idx",
        "SELECT * FROM community_members"
        " WHERE lower(github_username) = lower($1) AND github_verified",
        ("GitHub247",),
    ),
    IndexedQuery(
        "member_invited_by_idx",
        "SELECT member_id FROM community_members WHERE invited_by = $1",
        ("#247",),
        "Index Only Scan",
    ),
    IndexedQuery(
        "member_telegram_username_idx",
        "SELECT * FROM community_members WHERE lower(telegram_username) = lower($1)",
        ("Guest247",),
    ),
    IndexedQuery(
        "member_discord_id_idx",
        "SELECT * FROM community_members WHERE profile_data ->> 'discord_id' = $1",
        ("248",),
    ),
    IndexedQuery(
        "member_newest_idx",
        "SELECT id FROM community_members WHERE deleted_at IS NULL AND NOT is_bot"
        " ORDER BY created_at DESC, id DESC LIMIT 15 OFFSET 9000",
        (),
        "Index Only Scan",
    ),
    IndexedQuery(
        "member_removed_idx",
        "SELECT id FROM community_members WHERE deleted_at IS NOT NULL AND NOT is_bot"
        " ORDER BY created_at DESC, id DESC LIMIT 15",
        (),
        "Index Scan",
    ),
    IndexedQuery(
        "member_any_role_idx",
        "SELECT id FROM community_members WHERE primary_role = $1",
        ("designer",),
    ),
    IndexedQuery(
        "member_any_country_idx",
        "SELECT country FROM community_members WHERE country > $1 ORDER BY country LIMIT 1",
        ("Country 7",),
        "Index Only Scan",
    ),
    IndexedQuery(
        "member_account_linked_at_idx",
        "SELECT id FROM member_accounts ORDER BY linked_at DESC, id DESC LIMIT 15 OFFSET 9000",
        (),
        "Index Only Scan",
    ),
    IndexedQuery(
        "bot_telegram_id_idx", "SELECT * FROM directory_bots WHERE telegram_id = $1", ("20247",)
    ),
    IndexedQuery(
        "member_account_idx",
        "SELECT * FROM member_accounts WHERE platform = 'telegram' AND account_id = $1",
        ("12345",),
        "Index Scan",
    ),
    IndexedQuery(
        "member_account_member_idx",
        "SELECT * FROM member_accounts WHERE member_id = $1",
        ("#247",),
    ),
    IndexedQuery(
        "member_account_username_idx",
        "SELECT * FROM member_accounts WHERE lower(username) = lower($1) AND platform = $2",
        ("Guest1247", "telegram"),
    ),
    IndexedQuery(
        "member_permission_idx",
        "SELECT permission FROM member_permissions WHERE member_id = $1",
        ("#247",),
    ),
    IndexedQuery(
        "member_permission_permission_idx",
        "SELECT member_id FROM member_permissions WHERE permission = $1",
        ("manage",),
    ),
    IndexedQuery(
        "member_request_idx",
        "SELECT kind FROM member_requests WHERE member_id = $1",
        ("#247",),
    ),
    IndexedQuery(
        "member_note_member_idx",
        "SELECT text FROM member_notes WHERE member_id = $1",
        ("#247",),
    ),
    IndexedQuery(
        "member_suspended_until_idx",
        "SELECT id FROM community_members WHERE suspended_until <= now() AND deleted_at IS NULL",
    ),
    IndexedQuery(
        "segment_name_idx",
        "SELECT id FROM directory_segments WHERE name = $1",
        ("Segment 247",),
    ),
    IndexedQuery(
        "merge_standing_idx",
        "SELECT * FROM directory_merges WHERE duplicate_id = $1 AND undone_at IS NULL",
        ("#25001",),
        "Index Scan",
    ),
    IndexedQuery("merge_into_idx", "SELECT * FROM directory_merges WHERE into_id = $1", ("#247",)),
    IndexedQuery(
        "link_code_hash_idx",
        "SELECT * FROM directory_link_codes WHERE code_hash = sha256($1::text::bytea)",
        ("247",),
        "Index Scan",
    ),
    IndexedQuery(
        "bot_state_updated_at_idx",
        "SELECT telegram_id FROM directory_bot_states WHERE updated_at <= $1::timestamptz"
        " - interval '7 days' ORDER BY updated_at LIMIT 100",
        (NOW,),
        "Index Scan",
    ),
    IndexedQuery(
        "proved_pair_member_b_idx",
        "SELECT * FROM directory_proved_pairs WHERE member_b = $1",
        ("#247",),
    ),
    IndexedQuery(
        "erased_account_member_idx",
        "SELECT * FROM directory_erased_accounts WHERE member_id = $1",
        ("#247",),
    ),
    IndexedQuery(
        "member_merged_into_idx",
        "SELECT * FROM community_members WHERE merged_into = $1",
        ("#247",),
    ),
    IndexedQuery(
        "dismissed_merge_idx",
        "SELECT FROM directory_dismissed_merges WHERE member_a = $1 AND member_b = $2",
        ("#247", "#248"),
    ),
    IndexedQuery(
        "member_inviter_name_idx",
        "SELECT member_id FROM community_members WHERE invited_by = $1"
        " AND directory_search_text(name) = $2 AND deleted_at IS NULL AND NOT is_bot",
        ("#7", "member 70"),
        "Index Only Scan",
    ),
    IndexedQuery("member_absent_idx", ABSENT, (), "Index Only Scan"),
    IndexedQuery(
        "member_bot_idx",
        "SELECT member_id FROM community_members WHERE is_bot",
        (),
        "Index Only Scan",
    ),
    IndexedQuery(
        "invitation_created_at_idx",
        "SELECT invitation_id FROM community_invitations"
        " ORDER BY created_at DESC, invitation_id DESC LIMIT 15 OFFSET 9000",
        (),
        "Index Only Scan",
    ),
    IndexedQuery(
        "relationship_created_at_idx",
        "SELECT id FROM member_relationships"
        " ORDER BY created_at DESC, id DESC LIMIT 15 OFFSET 9000",
        (),
        "Index Only Scan",
    ),
    IndexedQuery(
        "invitation_code_idx",
        "SELECT * FROM community_invitations WHERE invitation_code = $1",
        ("CODE1000247",),
    ),
    IndexedQuery(
        "invitation_status_idx",
        "SELECT * FROM community_invitations WHERE status = $1",
        ("cancelled",),
    ),
    IndexedQuery(
        "invitation_status_idx",
        "SELECT * FROM community_invitations WHERE status = $1 ORDER BY created_at DESC LIMIT 20",
        ("cancelled",),
        "Index Scan",
    ),
    IndexedQuery(
        "invitation_created_by_idx",
        "SELECT * FROM community_invitations WHERE created_by = $1"
        " ORDER BY created_at DESC LIMIT 5",
        ("#247",),
        "Index Scan",
    ),
    IndexedQuery(
        "invitation_accepted_by_idx",
        "SELECT * FROM community_invitations WHERE accepted_by = $1",
        ("#247",),
    ),
    IndexedQuery(
        "invitation_open_username_idx",
        "SELECT * FROM community_invitations"
        " WHERE lower(invited_telegram_username) = lower($1) AND status = 'pending'",
        ("Guest19900",),
    ),
    IndexedQuery(
        "invitation_username_idx",
        "SELECT * FROM community_invitations WHERE lower(invited_telegram_username) = ANY($1)",
        (["guest247", "guest248"],),
    ),
    IndexedQuery(
        "invitation_pending_expires_at_idx",
        "SELECT * FROM community_invitations WHERE status = 'pending' AND expires_at <= $1",
        (NOW + timedelta(days=1),),
    ),
    IndexedQuery(
        "relationship_entity_a_idx",
        "SELECT * FROM member_relationships WHERE entity_id_a = $1",
        ("entity-247",),
    ),
    IndexedQuery(
        "relationship_entity_b_idx",
        "SELECT * FROM member_relationships WHERE entity_id_b = $1",
        ("other-247-1",),
    ),
    IndexedQuery(
        "relationship_type_idx",
        "SELECT * FROM member_relationships WHERE relationship_type = $1",
        ("MENTORED",),
    ),
    IndexedQuery(
        "participation_member_id_idx",
        "SELECT event_type, count(*) FROM member_participation"
        " WHERE member_id = $1 AND occurred_at >= $2 GROUP BY event_type",
        ("#247", NOW - timedelta(days=30)),
        "Index Only Scan",
    ),
    IndexedQuery(
        "participation_member_id_idx",
        "SELECT * FROM member_participation WHERE member_id = $1"
        " ORDER BY occurred_at DESC LIMIT 20",
        ("#247",),
        "Index Scan",
    ),
    IndexedQuery(
        "participation_event_type_idx",
        "SELECT * FROM member_participation WHERE event_type = $1",
        ("VOICE",),
    ),
    IndexedQuery(
        "participation_occurred_at_idx",
        "SELECT * FROM member_participation WHERE occurred_at >= $1 AND occurred_at < $2",
        (NOW - timedelta(days=9), NOW - timedelta(days=8)),
    ),
    IndexedQuery(
        "participation_occurred_at_idx",
        "SELECT * FROM member_participation ORDER BY occurred_at DESC LIMIT 20",
        (),
        "Index Scan",
    ),
    IndexedQuery(
        "participation_occurred_at_idx",
        "SELECT member_id, count(*) FROM member_participation"
        " WHERE occurred_at >= $1 AND occurred_at < $2 GROUP BY member_id",
        (NOW - timedelta(days=9), NOW - timedelta(days=2)),
        "Index Only Scan",
    ),
    IndexedQuery(
        "participation_occurred_at_idx",
        "SELECT member_id, event_type FROM member_participation"
        " WHERE occurred_at >= $1 AND occurred_at < $2 AND event_type = 'MESSAGE'",
        (NOW - timedelta(days=9), NOW - timedelta(days=8)),
        "Index Scan",
    ),
    IndexedQuery(
        "participation_voice_idx",
        f"SELECT member_id FROM member_participation"
        f" WHERE event_type = 'VOICE' AND {STAY} && tsrange($1, $2)",
        (datetime(2026, 1, 20), datetime(2026, 1, 21)),  # noqa: DTZ001  a time in UTC
    ),
    IndexedQuery(
        "participation_source_id_key",
        "SELECT * FROM member_participation"
        " WHERE platform = $1 AND room_id = $2 AND event_type = $3 AND member_id = $4"
        " AND source_id = $5",
        ("telegram", "-0", "MESSAGE", "#248", "30247"),
    ),
    IndexedQuery(
        "highlight_member_date_idx",
        "SELECT * FROM member_daily_highlights"
        " WHERE member_id = $1 AND highlight_date BETWEEN $2 AND $3",
        ("#247", (NOW - timedelta(days=30)).date(), NOW.date()),
    ),
    IndexedQuery(
        "highlight_member_date_idx",
        HIGHLIGHTS_OF_MEMBER.first.sql,
        ((NOW - timedelta(days=30)).date(), NOW.date(), "#247", 21),
        "Index Scan",
    ),
    IndexedQuery(
        "highlight_date_idx",
        "SELECT * FROM member_daily_highlights WHERE highlight_date BETWEEN $1 AND $2",
        ((NOW - timedelta(days=2)).date(), (NOW - timedelta(days=1)).date()),
    ),
    IndexedQuery(
        "highlight_date_idx",
        HIGHLIGHTS_OF_ALL.after.sql,
        (
            (NOW - timedelta(days=30)).date(),
            NOW.date(),
            (NOW - timedelta(days=1)).date(),
            "#247",
            21,
        ),
        "Index Scan",
    ),
    IndexedQuery(
        "highlight_date_idx",
        "SELECT member_id, sum(message_count + reaction_count), sum(voice_minutes)"
        " FROM member_daily_highlights WHERE highlight_date > $1 GROUP BY member_id",
        ((NOW - timedelta(days=7)).date(),),
        "Index Only Scan",
    ),
    IndexedQuery(
        "audit_member_status_idx",
        "SELECT changed_at FROM directory_audit_log"
        " WHERE table_name = 'community_members' AND action = 'UPDATE'"
        " AND changes ? 'status' AND changed_at >= $1",
        (NOW,),
    ),
    IndexedQuery(
        "invitation_status_idx",
        "SELECT status, accepted_at - created_at, expires_at FROM community_invitations"
        " WHERE status = ANY($1::text[]) AND created_at >= $2",
        (["pending", "accepted", "expired", "cancelled"], NOW - timedelta(days=7)),
        "Index Only Scan",
    ),
    IndexedQuery(
        "audit_changed_at_idx",
        "SELECT id FROM directory_audit_log ORDER BY changed_at DESC, id DESC LIMIT 15 OFFSET 9000",
        (),
        "Index Only Scan",
    ),
    IndexedQuery(
        "audit_actor_idx",
        "SELECT id FROM directory_audit_log WHERE lower(actor) = lower($1)"
        " ORDER BY changed_at DESC, id DESC LIMIT 15",
        ("Luis",),
        "Index Scan",
    ),
    IndexedQuery(
        "audit_row_idx",
        "SELECT * FROM directory_audit_log WHERE row_id = ANY($1)",
        ([UUID(int=247)],),
    ),
    IndexedQuery(
        "audit_account_id_idx",
        "SELECT * FROM directory_audit_log WHERE table_name = 'member_accounts'"
        " AND lower((changes -> 'account_id')::text)::jsonb ?| $1",
        (["account247"],),
    ),
    IndexedQuery(
        "audit_invited_username_idx",
        "SELECT * FROM directory_audit_log WHERE table_name = 'community_invitations'"
        " AND changes ? 'invited_telegram_username'"
        " AND lower((changes -> 'invited_telegram_username')::text)::jsonb ?| $1",
        (["guest247"],),
    ),
    IndexedQuery(
        "audit_act_idx",
        "SELECT * FROM directory_audit_log WHERE act_id = $1 ORDER BY id",
        (UUID(int=247),),
    ),
    IndexedQuery(
        "audit_undone_act_idx",
        "SELECT FROM directory_audit_log WHERE undone_act_id = $1",
        (UUID(int=247),),
    ),
    IndexedQuery(
        "audit_member_id_idx",
        "SELECT * FROM directory_audit_log WHERE member_id = $1 ORDER BY id DESC LIMIT 5",
        ("#247",),
        "Index Scan",
    ),
    IndexedQuery(
        "monthly_highlight_month_idx",
        """
        SELECT member_id, active_days, message_count, reaction_count, voice_minutes
        FROM member_monthly_highlights WHERE month BETWEEN $1 AND $2
        """,
        (date(2025, 11, 1), date(2026, 1, 1)),
        "Index Only Scan",
    ),
    IndexedQuery(
        "daily_room_member_day_idx",
        "SELECT * FROM member_daily_rooms WHERE member_id = $1 AND day BETWEEN $2 AND $3",
        ("#247", date(2026, 1, 1), date(2026, 1, 31)),
    ),
    IndexedQuery(
        "monthly_room_member_id_idx",
        "SELECT * FROM member_monthly_rooms WHERE member_id = $1",
        ("#247",),
    ),
    IndexedQuery(
        "milestone_joined_at_idx",
        "SELECT * FROM member_milestones WHERE joined_at BETWEEN $1 AND $2",
        (datetime(2026, 1, 29, tzinfo=UTC), datetime(2026, 1, 30, tzinfo=UTC)),
    ),
]


@pytest.fixture(scope="module")
async def community(server: Server, template: str) -> AsyncIterator[asyncpg.Connection]:
    """Yield a connection to a directory with so many rows that PostgreSQL uses the indexes."""
    async with new_database(server, template) as url:
        connection = await asyncpg.connect(url)
        await connection.execute(INSERT_ROWS)
        # The planner needs the statistics, and an index-only scan needs the visibility map.
        await connection.execute("VACUUM ANALYZE")
        yield connection
        await connection.close()


async def scans(connection: asyncpg.Connection, use: IndexedQuery) -> dict[str, str]:
    """Return the indexes of the plan of a query, each with its type of scan.

    A table that is read completely is under its name, and a sort under "sorted".
    """
    plan = json.loads(
        await connection.fetchval(f"EXPLAIN (FORMAT JSON) {use.query}", *use.arguments)
    )
    return {
        node.get("Index Name") or node.get("Relation Name") or "sorted": node["Node Type"]
        for node in _nodes(plan[0]["Plan"])
        if "Index Name" in node or node["Node Type"] in ("Seq Scan", "Sort", "Incremental Sort")
    }


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


@pytest.mark.parametrize("use", INDEXED_QUERIES, ids=str)
async def test_an_index_serves_the_query_it_is_for(
    community: asyncpg.Connection, use: IndexedQuery
) -> None:
    found = await scans(community, use)
    # Queries of events and highlights leave bots out, whom they find by an index of their own, and
    # follow the number of a merged member.
    aside = {"member_bot_idx", "community_members_member_id_key"}
    assert found.keys() - aside == {use.index} - aside
    if use.node is not None:
        assert found[use.index] == use.node
    assert await community.fetch(use.query, *use.arguments)


SPAN = {"start": NOW - timedelta(days=30), "end": NOW}
DAYS = {
    "days": [(NOW - timedelta(days=days)).date() for days in range(30, 0, -1)],
    "starts": [NOW - timedelta(days=days) for days in range(30, 0, -1)],
    "end": NOW,
}
SOMEBODY: dict[str, object] = {
    "platform": "telegram",
    "account_id": "247",
    "telegram_id": "247",
    "username": "user247",
    "name": "Ana",
}
ONE_MEMBER: dict[str, tuple[Statement, dict[str, object]]] = {
    "COUNT_DAYS": (COUNT_DAYS_OF_MEMBER, DAYS | {"member_id": "#247"}),
    "COUNT_ROOMS": (COUNT_ROOMS_OF_MEMBER, SPAN | {"member_id": "#247", "limit": 20}),
    "COUNT_INVITATIONS": (COUNT_INVITATIONS, {"member_id": "#247"}),
    "FIND_OPEN_INVITATION": (FIND_OPEN_INVITATION, {"telegram_username": "Guest19900"}),
    "LOOK_UP_ACCOUNT": (LOOK_UP_ACCOUNT, SOMEBODY),
}
"""Statements about one member or one username, with their parameters."""


@pytest.mark.parametrize("name", ONE_MEMBER)
async def test_what_is_about_one_member_reads_no_whole_table(
    community: asyncpg.Connection, name: str
) -> None:
    statement, values = ONE_MEMBER[name]
    found = await scans(
        community, IndexedQuery("", statement.sql, tuple(statement.arguments(values)))
    )
    read_whole = {node for node, scan in found.items() if scan == "Seq Scan"}
    assert read_whole <= {"directory_archive"}  # which has one row


DAY = ([(NOW - timedelta(days=9)).date()], [NOW - timedelta(days=9)], NOW - timedelta(days=8))


@pytest.mark.parametrize(
    ("query", "arguments", "events"),
    [
        (Statement(f"WITH {COUNTED_CTES} SELECT * FROM counted").sql, DAY, "Index Scan"),
        (FIND_CHANGED_DAYS.sql, (*DAY, NOW.date()), "Index Only Scan"),
    ],
    ids=["count", "checksum"],
)
async def test_a_day_is_counted_from_its_own_events_and_the_stays_that_reach_into_it(
    community: asyncpg.Connection, query: str, arguments: tuple[object, ...], events: str
) -> None:
    found = await scans(community, IndexedQuery("", query, arguments))
    assert found["participation_occurred_at_idx"] == events
    assert found["participation_voice_idx"] in {"Index Scan", "Bitmap Index Scan"}
    assert "member_participation" not in found


async def test_members_are_counted_from_an_index_alone(community: asyncpg.Connection) -> None:
    async with community.transaction():
        # The members of this test are so small that to read the table takes as long.
        await community.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        found = await scans(
            community, IndexedQuery("", COUNT_MEMBERS.sql, ([NOW - timedelta(days=1)],))
        )
    assert found["member_status_idx"] == "Index Only Scan"
    assert "community_members" not in found


async def test_a_rank_is_counted_from_indexes_alone(community: asyncpg.Connection) -> None:
    found = await scans(community, IndexedQuery("", GET_RANK.sql, ("#247",)))
    assert found == {
        "community_members_member_id_key": "Index Scan",
        "member_reputation_score_idx": "Index Only Scan",
        "member_status_idx": "Index Only Scan",
    }


SEARCHES: list[dict[str, Any]] = [
    {"text": text, "role": role, "country": country, "status": status, **scores, "sort": sort}
    for text, role, country, status, scores, sort in product(
        (None, "member", "me"),
        (None, "developer"),
        (None, "Country 7"),
        ("active", "pending", None),
        ({}, {"min_reputation": 10}, {"min_reputation": 10, "max_reputation": 20}),
        ("reputation", "newest", "name"),
    )
] + [
    {"text": text, name: value, "sort": sort}
    for text, (name, value), sort in product(
        (None, "member", "me"),
        (("organization", "Frutero"), ("invited_by", 1), ("joined_since", NOW)),
        ("reputation", "newest", "name"),
    )
]


async def test_no_search_in_the_order_of_an_index_reads_the_whole_table(
    community: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: set[tuple[Any, ...]] = set()

    async def fetch(*statement: Any) -> list[asyncpg.Record]:
        statements.add(statement)
        return []

    monkeypatch.setattr(engine, "read", fetch)
    for asked in SEARCHES:
        await members.search(**asked)
    assert len(statements) > len(SEARCHES)
    for sql, *arguments in statements:
        found = await scans(community, IndexedQuery("", sql, tuple(arguments)))
        assert "Seq Scan" not in found.values(), (sql, arguments)


async def test_an_update_of_the_last_activity_writes_to_no_index(
    community: asyncpg.Connection,
) -> None:
    """Its page has room for the new version of the row, and no index depends on the column."""
    assert await community.fetchval(
        "SELECT reloptions FROM pg_class WHERE oid = 'community_members'::regclass"
    ) == ["fillfactor=90"]
    dependent = await community.fetch(
        """
        SELECT objid::regclass::text AS index_name
        FROM pg_depend JOIN pg_index ON indexrelid = objid
        JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
        WHERE classid = 'pg_class'::regclass AND refobjid = 'community_members'::regclass
            AND attname = $1
        """,
        "last_active_at",
    )
    assert dependent == []


async def test_a_query_without_an_index_reads_and_sorts_the_whole_table(
    community: asyncpg.Connection,
) -> None:
    use = IndexedQuery(
        "none",
        "SELECT * FROM community_members WHERE registration_fee_paid ORDER BY country",
    )
    assert await scans(community, use) == {"sorted": "Sort", "community_members": "Seq Scan"}


async def indexes(connection: asyncpg.Connection) -> dict[str, asyncpg.Record]:
    """Return the indexes of the directory's tables by name, without the primary keys."""
    found = await connection.fetch(
        """
        SELECT indexrelid::regclass::text AS name, indrelid::regclass::text AS table_name,
            indisunique, indisvalid,
            ARRAY(
                SELECT pg_get_indexdef(indexrelid, position, true)
                FROM generate_series(1, indnkeyatts) AS position
            ) AS columns,
            coalesce(pg_get_expr(indpred, indrelid), '') AS condition
        FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
        WHERE relnamespace = 'public'::regnamespace AND NOT indisprimary
            AND relname NOT IN ('migration', 'piccolo_user', 'sessions')
        """
    )
    return {row["name"]: row for row in found}


async def test_every_index_of_the_original_design_exists_and_leads_with_its_columns(
    community: asyncpg.Connection,
) -> None:
    found = await indexes(community)
    assert {
        name: (
            found[name]["table_name"],
            found[name]["columns"][: len(columns)],
            found[name]["condition"],
        )
        for name, (_, columns) in REQUIRED_INDEXES.items()
        if name in found
    } == {name: (table, columns, "") for name, (table, columns) in REQUIRED_INDEXES.items()}
    assert all(index["indisvalid"] for index in found.values())


async def test_every_index_has_a_query(community: asyncpg.Connection) -> None:
    assert (await indexes(community)).keys() == {use.index for use in INDEXED_QUERIES}


def redundant(found: dict[str, asyncpg.Record]) -> set[str]:
    """Return the indexes whose queries another index serves, too, except unique ones."""
    return {
        name
        for name, index in found.items()
        for other_name, other in found.items()
        if name != other_name
        and not index["indisunique"]
        and (index["table_name"], index["condition"]) == (other["table_name"], other["condition"])
        and other["columns"][: len(index["columns"])] == index["columns"]
    }


async def test_no_index_is_redundant(community: asyncpg.Connection) -> None:
    assert redundant(await indexes(community)) == set()


@pytest.mark.parametrize(
    "definition",
    [
        "community_members (telegram_id)",
        "community_members (status)",
        "member_participation (member_id)",
        "member_relationships (entity_id_a, entity_id_b)",
        "community_invitations (expires_at) WHERE status = 'pending'",
    ],
)
async def test_a_redundant_index_is_found(community: asyncpg.Connection, definition: str) -> None:
    transaction = community.transaction()
    await transaction.start()
    await community.execute(f"CREATE INDEX redundant_index ON {definition}")
    found = redundant(await indexes(community))
    await transaction.rollback()
    assert "redundant_index" in found
