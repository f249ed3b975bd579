"""The rows of a merge: the statements that move what a member has to another one, and back.

Each statement that moves rows writes into `directory_merged_rows` what it moved.
"""

from community_directory.database import Statement
from community_directory.queries.events import CURRENT_SOURCE_ID, EVENT_COLUMNS
from community_directory.queries.highlights import STAY
from community_directory.queries.merge_plan import MERGED_COLUMNS
from community_directory.queries.reputation import (
    DAILY_POINTS,
    MAX_DAILY_POINTS,
    add_points_sql,
)
from community_directory.queries.values import ACTOR_CTE

# The triggers of statuses and invitations read it.
BEGIN_MERGING = "SELECT set_config('community_directory.merging', 'on', true)"
END_MERGING = "SELECT set_config('community_directory.merging', '', true)"

# Locks are taken in the order of all writers: invitations, days, members by their numbers. NO KEY
# allows other transactions to record events of the members.
LOCK_INVITATIONS = Statement("""
SELECT FROM community_invitations
WHERE created_by = ANY(:numbers) OR accepted_by = ANY(:numbers) OR invitation_id = ANY(ARRAY(
    SELECT row_id FROM directory_merged_rows
    WHERE merge_id = ANY(:merge_ids::uuid[]) AND table_name = 'community_invitations'
))
ORDER BY invitation_id FOR UPDATE
""")
LOCK_DAYS = Statement("""
SELECT FROM directory_rolled_up_days WHERE day BETWEEN :first AND :last ORDER BY day FOR UPDATE
""")
LOCK_MEMBERS = Statement("""
SELECT FROM community_members
WHERE member_id = ANY(:numbers) OR invited_by = ANY(:numbers) OR merged_into = ANY(:numbers)
    OR id = ANY(ARRAY(
        SELECT row_id FROM directory_merged_rows
        WHERE merge_id = ANY(:merge_ids::uuid[]) AND table_name = 'community_members'
    ))
ORDER BY member_id FOR NO KEY UPDATE
""")

# The times of a member's first and last event, stays in voice chats to their end, and the days of
# the first and the last highlight; the time of the first event of all members.
FIND_SPAN = Statement(f"""
SELECT
    (SELECT min(occurred_at) FROM member_participation WHERE member_id = :number) AS starts_at,
    (SELECT max(occurred_at) FROM member_participation WHERE member_id = :number) AS ends_at,
    (
        SELECT max(upper({STAY})) AT TIME ZONE 'UTC' FROM member_participation
        WHERE member_id = :number AND event_type = 'VOICE'
    ) AS stayed_until,
    (
        SELECT min(highlight_date) FROM member_daily_highlights WHERE member_id = :number
    ) AS first_day,
    (
        SELECT max(highlight_date) FROM member_daily_highlights WHERE member_id = :number
    ) AS last_day,
    (SELECT min(occurred_at) FROM member_participation) AS first_event_at
""")

# The time is that after the wait for other merges: merges are undone in the reverse order. A merge
# that is done again keeps its time.
ADD_MERGE = Statement("""
INSERT INTO directory_merges (id, duplicate_id, into_id, merged_at)
VALUES (:merge_id::uuid, :duplicate, :into, clock_timestamp())
ON CONFLICT (id) DO UPDATE SET undone_at = NULL
""")
STORE_BEFORE = Statement("""
UPDATE directory_merges SET before = :before::jsonb WHERE id = :merge_id::uuid
""")

# Events that both have are one event: that of the other member stays.
COLLAPSE_EVENTS = Statement("SELECT public.member_participation_collapse(:merge_id::uuid)")
MOVE_EVENTS = Statement("SELECT public.member_participation_move(:merge_id::uuid)")

MOVE_HIGHLIGHTS = Statement("""
WITH moved AS (
    DELETE FROM member_daily_highlights WHERE member_id = :duplicate RETURNING *
),
journal AS (
    INSERT INTO directory_merged_rows (merge_id, table_name, row_id, before)
    SELECT :merge_id::uuid, 'member_daily_highlights', moved.id, to_jsonb(moved) FROM moved
)
SELECT count(*) FROM moved
""")

_COUNTS = ("message_count", "reaction_count", "voice_minutes")


def day_points_sql(counts: dict[str, str]) -> str:
    """Return the SQL of the points of a day with these counts, each an expression in SQL."""
    parts = (
        f"least({points.most}, ({counts[column]}) / {points.for_each})"
        for column, points in DAILY_POINTS.items()
    )
    return f"least({MAX_DAILY_POINTS}, {' + '.join(parts)})"


_SUMS = {
    column: f"coalesce(highlight.{column}, 0) + coalesce(EXCLUDED.{column}, 0)"
    for column in _COUNTS
}
_REMAINDERS = {
    column: f"greatest(coalesce(highlight.{column}, 0) - coalesce(moved.{column}, 0), 0)"
    for column in _COUNTS
}

_JOURNALED_HIGHLIGHTS = """
    SELECT moved.* FROM directory_merged_rows AS journal,
        jsonb_populate_record(NULL::member_daily_highlights, before) AS moved
    WHERE merge_id = :merge_id::uuid AND table_name = 'member_daily_highlights'
"""

# Days that were not counted again, such as those whose events were deleted: their counts are added.
ADD_OTHER_HIGHLIGHTS = Statement(f"""
INSERT INTO member_daily_highlights AS highlight
    (id, member_id, highlight_date, {", ".join(_COUNTS)}, reputation_earned, created_at)
SELECT gen_random_uuid(), :into, highlight_date, {", ".join(_COUNTS)}, reputation_earned, created_at
FROM ({_JOURNALED_HIGHLIGHTS}) AS moved
WHERE highlight_date <> ALL(:counted_days::date[])
ON CONFLICT (member_id, highlight_date) DO UPDATE
SET {", ".join(f"{column} = {sum_}" for column, sum_ in _SUMS.items())},
    reputation_earned = {day_points_sql(_SUMS)}
""")
SUBTRACT_OTHER_HIGHLIGHTS = Statement(f"""
WITH changed AS (
    UPDATE member_daily_highlights AS highlight
    SET {", ".join(f"{column} = {rest}" for column, rest in _REMAINDERS.items())},
        reputation_earned = {day_points_sql(_REMAINDERS)}
    FROM ({_JOURNALED_HIGHLIGHTS}) AS moved
    WHERE highlight.member_id = :into AND highlight.highlight_date = moved.highlight_date
        AND moved.highlight_date <> ALL(:counted_days::date[])
        AND ({", ".join(f"coalesce(highlight.{column}, 0)" for column in _COUNTS)})
            <> ({", ".join(f"coalesce(moved.{column}, 0)" for column in _COUNTS)})
)
DELETE FROM member_daily_highlights AS highlight USING ({_JOURNALED_HIGHLIGHTS}) AS moved
WHERE highlight.member_id = :into AND highlight.highlight_date = moved.highlight_date
    AND moved.highlight_date <> ALL(:counted_days::date[])
    AND ({", ".join(f"coalesce(highlight.{column}, 0)" for column in _COUNTS)})
        = ({", ".join(f"coalesce(moved.{column}, 0)" for column in _COUNTS)})
""")
RETURN_HIGHLIGHTS = Statement(f"""
WITH returned AS (
    INSERT INTO member_daily_highlights {_JOURNALED_HIGHLIGHTS} ON CONFLICT DO NOTHING RETURNING 1
)
SELECT count(*) FROM returned
""")

SUM_HIGHLIGHTS = Statement("""
SELECT member_id, sum(reputation_earned) FROM member_daily_highlights
WHERE member_id = ANY(:numbers) GROUP BY member_id
""")

# The rooms of days that were not counted again, such as those whose events somebody has deleted:
# their counts are added, and stay there if the merge is undone.
ADD_OTHER_ROOMS = Statement("""
WITH moved AS (
    DELETE FROM member_daily_rooms WHERE member_id = :duplicate
    RETURNING day, platform, room_id, event_count, message_count
)
INSERT INTO member_daily_rooms AS room
    (member_id, day, platform, room_id, event_count, message_count)
SELECT :into, moved.* FROM moved
ON CONFLICT (day, platform, room_id, member_id) DO UPDATE
SET event_count = room.event_count + EXCLUDED.event_count,
    message_count = room.message_count + EXCLUDED.message_count
""")

GET_MILESTONES = Statement("""
SELECT joined_at, approved_at FROM member_milestones WHERE member_id = :number
""")
# The earlier times are those of the person. The duplicate keeps its own.
JOIN_MILESTONES = Statement("""
INSERT INTO member_milestones AS milestone (member_id, joined_at, approved_at)
SELECT :into, joined_at, approved_at FROM member_milestones WHERE member_id = :duplicate
ON CONFLICT (member_id) DO UPDATE
SET joined_at = least(milestone.joined_at, EXCLUDED.joined_at),
    approved_at = least(milestone.approved_at, EXCLUDED.approved_at)
""")
SET_MILESTONES = Statement("""
UPDATE member_milestones
SET joined_at = :joined_at::timestamptz, approved_at = :approved_at::timestamptz
WHERE member_id = :number
""")

# An invitation between the two is cancelled: nobody invites themselves. Somebody may redeem a new
# one, which is not locked yet, at the same time.
MOVE_INVITATIONS = Statement(f"""
WITH {ACTOR_CTE},
-- The invitations, locked, with their creator and their member after the merge.
found AS MATERIALIZED (
    SELECT invitation_id, created_by, accepted_by, accepted_at, status,
        CASE created_by WHEN :duplicate THEN :into ELSE created_by END AS creator,
        CASE accepted_by WHEN :duplicate THEN :into ELSE accepted_by END AS acceptor
    FROM community_invitations WHERE created_by = :duplicate OR accepted_by = :duplicate
    ORDER BY invitation_id FOR UPDATE
),
moved AS (
    UPDATE community_invitations AS invitation SET created_by = creator,
        accepted_by = nullif(acceptor, creator),
        accepted_at = CASE WHEN acceptor <> creator THEN found.accepted_at END,
        status = CASE WHEN acceptor = creator THEN 'cancelled' ELSE found.status END
    FROM found, actor WHERE invitation.invitation_id = found.invitation_id
),
journal AS (
    INSERT INTO directory_merged_rows (merge_id, table_name, row_id, before)
    SELECT :merge_id::uuid, 'community_invitations', invitation_id, jsonb_build_object(
        'created_by', created_by, 'accepted_by', accepted_by, 'accepted_at', accepted_at,
        'status', status
    ) FROM found
)
SELECT count(*) FROM found
""")

_JOURNAL_MEMBERS = """
    INSERT INTO directory_merged_rows AS journal (merge_id, table_name, row_id, before)
    SELECT :merge_id::uuid, 'community_members', id, '{{"{column}": true}}' FROM moved
    ON CONFLICT (merge_id, table_name, row_id)
    DO UPDATE SET before = journal.before || EXCLUDED.before
"""
MOVE_CHILDREN = Statement(f"""
WITH {ACTOR_CTE}, moved AS (
    UPDATE community_members SET invited_by = :into FROM actor
    WHERE invited_by = :duplicate AND member_id <> :into
    RETURNING id
),
journal AS ({_JOURNAL_MEMBERS.format(column="invited_by")})
SELECT count(*) FROM moved
""")
MOVE_MERGED_NUMBERS = Statement(f"""
WITH {ACTOR_CTE}, found AS MATERIALIZED (
    SELECT id FROM community_members WHERE merged_into = :duplicate ORDER BY member_id FOR UPDATE
), moved AS (
    UPDATE community_members AS member SET merged_into = :into FROM found, actor
    WHERE member.id = found.id
    RETURNING member.id
),
journal AS ({_JOURNAL_MEMBERS.format(column="merged_into")})
SELECT count(*) FROM moved
""")

MARK_MERGED = Statement(f"""
WITH {ACTOR_CTE}
UPDATE community_members SET merged_into = :into, telegram_id = 'merged:' || gen_random_uuid(),
    github_verified = false, deleted_at = coalesce(deleted_at, now())
FROM actor WHERE member_id = :duplicate
""")

MOVE_ACCOUNTS = Statement(f"""
WITH {ACTOR_CTE},
-- The accounts before the merge, locked: an update returns the rows after it, and one that is only
-- stated may pass to somebody else at the same time.
found AS MATERIALIZED (
    SELECT account.* FROM member_accounts AS account WHERE member_id = :duplicate
    ORDER BY account.id FOR UPDATE
),
moved AS (
    UPDATE member_accounts AS account SET member_id = :into
    FROM found, actor WHERE account.id = found.id
),
journal AS (
    INSERT INTO directory_merged_rows (merge_id, table_name, row_id, before)
    SELECT :merge_id::uuid, 'member_accounts', found.id, to_jsonb(found) FROM found
)
SELECT count(*) FROM found
""")

LIST_ACCOUNTS = Statement("""
SELECT platform, account_id FROM member_accounts WHERE member_id = :into
""")
# Those of the duplicate that the other member did not have before the merge was done again.
DELETE_OTHER_ACCOUNTS = Statement(f"""
WITH {ACTOR_CTE}
DELETE FROM member_accounts AS account USING directory_merged_rows AS journal, actor
WHERE merge_id = :merge_id::uuid AND table_name = 'member_accounts' AND account.id = row_id
    AND (platform, account_id) NOT IN (
        SELECT * FROM unnest(:platforms::text[], :account_ids::text[])
    )
""")

# A member who is not active holds no permission: those of both are kept in the journal.
TAKE_PERMISSIONS = Statement(f"""
WITH {ACTOR_CTE}, taken AS (
    DELETE FROM member_permissions AS held USING actor WHERE member_id = ANY(:numbers)
    RETURNING held.*
),
journal AS (
    INSERT INTO directory_merged_rows (merge_id, table_name, row_id, before)
    SELECT :merge_id::uuid, 'member_permissions', taken.id, to_jsonb(taken) FROM taken
)
SELECT count(*) FROM taken WHERE member_id = :duplicate
""")
_JOURNALED_PERMISSIONS = """
    SELECT held.* FROM directory_merged_rows AS journal,
        jsonb_populate_record(NULL::member_permissions, before) AS held
    WHERE merge_id = :merge_id::uuid AND table_name = 'member_permissions'
"""
GIVE_PERMISSIONS = Statement(f"""
WITH {ACTOR_CTE}
INSERT INTO member_permissions (id, member_id, permission, granted_at)
SELECT gen_random_uuid(), :into, permission, granted_at
FROM ({_JOURNALED_PERMISSIONS}) AS held, actor
WHERE member_id = :duplicate
    AND (:allowed::text[] IS NULL OR permission = ANY(:allowed::text[]))
ON CONFLICT DO NOTHING
RETURNING permission
""")
# The permissions of the duplicate, and of the other member if the merge took them. One that the
# other member got and that was revoked since stays revoked.
RETURN_PERMISSIONS = Statement(f"""
WITH {ACTOR_CTE}
INSERT INTO member_permissions
SELECT held.* FROM ({_JOURNALED_PERMISSIONS}) AS held
JOIN community_members AS holder USING (member_id), actor
WHERE holder.status = 'active' AND holder.deleted_at IS NULL AND NOT holder.is_bot
    AND (:were_taken::boolean OR held.permission = ANY(:present::text[]))
ON CONFLICT DO NOTHING
RETURNING member_id, permission
""")
LIST_PERMISSIONS = Statement("""
SELECT permission FROM member_permissions WHERE member_id = :into
""")
REVOKE_PERMISSIONS = Statement(f"""
WITH {ACTOR_CTE}
DELETE FROM member_permissions USING actor
WHERE member_id = :into AND permission = ANY(:permissions::text[])
""")
COUNT_JOURNALED_PERMISSIONS = Statement(f"""
SELECT count(*) FROM ({_JOURNALED_PERMISSIONS}) AS held WHERE member_id = :duplicate
""")

_CASTS = {
    "github_profile_data": "::jsonb",
    "registration_fee_paid": "::boolean",
    "github_verified": "::boolean",
    "github_verified_at": "::timestamptz",
    "last_active_at": "::timestamptz",
    "suspended_until": "::timestamptz",
}
_SET_PLANNED = ", ".join(
    f"{column} = :{column}{_CASTS.get(column, '::text')}"
    for column in MERGED_COLUMNS
    if column != "profile_data"
)
_MERGED_VALUES = ", ".join(MERGED_COLUMNS)

FILL_MEMBER = Statement(f"""
WITH {ACTOR_CTE}
UPDATE community_members AS member SET {_SET_PLANNED},
    -- The keys of this member's own profile stay.
    profile_data = coalesce(
        :duplicate_profile::jsonb || profile_data, profile_data, :duplicate_profile::jsonb
    ),
    {add_points_sql(":points::numeric")}
FROM actor WHERE member_id = :member_id
RETURNING {_MERGED_VALUES}
""")

# The merge of a number or with an id, after those that must be undone before it, the newest first.
FIND_MERGES = Statement("""
WITH RECURSIVE undone AS (
    SELECT id, duplicate_id, into_id, merged_at, before FROM directory_merges
    WHERE undone_at IS NULL AND (duplicate_id = :number OR id = :merge_id::uuid)
    UNION
    -- the merge of its other member into a further one, and later ones: into the same member, of an
    -- inviter whom it gave or replaced, into somebody whose inviter the other member became or was,
    -- or by which the duplicate got another inviter. These can have changed what it would give
    -- back, or passed on what it had given.
    SELECT other.id, other.duplicate_id, other.into_id, other.merged_at, other.before
    FROM undone JOIN directory_merges AS other ON other.duplicate_id = undone.into_id
        OR other.merged_at >= undone.merged_at AND (
            other.into_id = undone.into_id
            OR other.duplicate_id IN (
                undone.before #>> '{into,invited_by,0}', undone.before #>> '{into,invited_by,1}'
            ) AND other.before IS NOT NULL
            OR undone.into_id IN (
                other.before #>> '{into,invited_by,0}', other.before #>> '{into,invited_by,1}'
            )
            OR EXISTS (
                SELECT FROM community_members AS member JOIN directory_merged_rows AS journal
                    ON journal.merge_id = other.id AND journal.table_name = 'community_members'
                    AND journal.row_id = member.id AND journal.before ? 'invited_by'
                WHERE member.member_id = undone.duplicate_id
            )
        )
    WHERE other.undone_at IS NULL
)
SELECT merge.id, merge.duplicate_id, merge.into_id, merge.before,
    member.telegram_id ~ '^(erased|banned):' AS is_erased
FROM undone JOIN directory_merges AS merge USING (id)
JOIN community_members AS member ON member.member_id = merge.into_id
ORDER BY merge.merged_at DESC
""")

# The number leads nowhere from here on. The accounts can then move back; the columns of the member
# name them again at the end.
UNMARK_MERGED = Statement(f"""
WITH {ACTOR_CTE}
UPDATE community_members SET merged_into = NULL FROM actor WHERE member_id = :duplicate
""")


def _events_of(member: str) -> str:
    return EVENT_COLUMNS.replace("member_id", f":{member}")


# An event that the other member does not have any more was taken back: it stays deleted.
RETURN_COLLAPSED_EVENTS = Statement(f"""
WITH
-- The collapsed events where they are stored now: their rooms may have moved.
event AS (
    SELECT event.id, event_type, platform, coalesce(moved_to, room_id) AS room_id,
        {CURRENT_SOURCE_ID} AS source_id, occurred_at, event_metadata
    FROM directory_merged_rows AS journal,
        jsonb_populate_record(NULL::member_participation, before) AS event
        LEFT JOIN directory_moved_rooms USING (platform, room_id)
    WHERE merge_id = :merge_id::uuid AND journal.table_name = 'member_participation'
        AND before IS NOT NULL
),
-- The events that the other member has.
kept AS (
    SELECT platform, room_id, source_id, event_type FROM member_participation
    WHERE member_id = :into AND source_id = ANY(ARRAY(SELECT source_id FROM event))
),
returned AS (
    INSERT INTO member_participation ({EVENT_COLUMNS})
    SELECT {_events_of("duplicate")} FROM event JOIN kept
        USING (platform, room_id, source_id, event_type)
    ON CONFLICT DO NOTHING
    RETURNING 1
)
SELECT count(*) FROM returned
""")
RETURN_EVENTS = Statement("SELECT public.member_participation_return(:merge_id::uuid)")
RETURN_INVITATIONS = Statement(f"""
WITH {ACTOR_CTE},
-- The invitations with their creator after the return, and what they were before the merge.
found AS MATERIALIZED (
    SELECT invitation_id,
        CASE WHEN earlier.created_by = :duplicate AND invitation.created_by = :into
            THEN :duplicate ELSE invitation.created_by END AS creator,
        invitation.status = 'cancelled' AND earlier.status = 'accepted' AS was_cancelled,
        invitation.accepted_by = :into AND earlier.accepted_by = :duplicate AS was_accepted,
        earlier.accepted_by, earlier.accepted_at
    FROM directory_merged_rows AS journal
    JOIN community_invitations AS invitation ON invitation_id = journal.row_id,
    jsonb_to_record(journal.before) AS earlier(
        created_by text, accepted_by text, accepted_at timestamptz, status text
    )
    WHERE journal.merge_id = :merge_id::uuid AND journal.table_name = 'community_invitations'
)
UPDATE community_invitations AS invitation SET created_by = creator,
    status = CASE WHEN was_cancelled THEN 'accepted' ELSE status END,
    accepted_by = CASE WHEN was_cancelled OR was_accepted THEN found.accepted_by
        ELSE invitation.accepted_by END,
    accepted_at = CASE WHEN was_cancelled OR was_accepted THEN found.accepted_at
        ELSE invitation.accepted_at END
FROM found, actor
WHERE invitation.invitation_id = found.invitation_id
    AND (NOT was_cancelled OR found.accepted_by <> creator)
RETURNING invitation.invitation_id
""")

RETURN_MERGED_NUMBERS = Statement(f"""
WITH {ACTOR_CTE}, found AS MATERIALIZED (
    SELECT member.id FROM directory_merged_rows AS journal
    JOIN community_members AS member ON member.id = journal.row_id
    WHERE journal.merge_id = :merge_id::uuid AND journal.table_name = 'community_members'
        AND journal.before ? 'merged_into' AND member.merged_into = :into
    ORDER BY member.member_id FOR UPDATE OF member
)
UPDATE community_members AS member SET merged_into = :duplicate
FROM found, actor WHERE member.id = found.id
RETURNING member.member_id
""")
# A child that is now an ancestor of the duplicate stays where it is: otherwise the invitations
# would run in a circle.
RETURN_CHILDREN = Statement(f"""
WITH RECURSIVE {ACTOR_CTE},
lineage AS (
    SELECT invited_by AS member_id FROM community_members WHERE member_id = :duplicate
    UNION
    SELECT member.invited_by
    FROM lineage JOIN community_members AS member USING (member_id)
)
UPDATE community_members AS child SET invited_by = :duplicate
FROM directory_merged_rows AS journal, actor
WHERE journal.merge_id = :merge_id::uuid AND journal.table_name = 'community_members'
    AND journal.before ? 'invited_by' AND child.id = journal.row_id AND child.invited_by = :into
    AND child.member_id NOT IN (SELECT member_id FROM lineage WHERE member_id IS NOT NULL)
RETURNING child.member_id
""")
FIND_LINEAGE = Statement("""
WITH RECURSIVE lineage AS (
    SELECT :number::text AS member_id
    UNION
    SELECT member.invited_by FROM lineage JOIN community_members AS member USING (member_id)
)
SELECT member_id FROM lineage
""")

UNFILL_MEMBER = Statement(f"""
WITH {ACTOR_CTE}
UPDATE community_members AS member SET {_SET_PLANNED},
    -- The profile without the keys that came from the duplicate, unless somebody changed them.
    profile_data = CASE WHEN :new_profile::jsonb IS NOT NULL AND :old_profile::jsonb IS NULL
        THEN nullif(remaining, '{{}}') ELSE remaining END,
    {add_points_sql(":points::numeric")}
FROM actor, LATERAL (
    SELECT (SELECT profile_data FROM community_members WHERE member_id = :member_id) - ARRAY(
        SELECT filled.key FROM jsonb_each(:new_profile::jsonb) AS filled, community_members AS own
        WHERE own.member_id = :member_id AND own.profile_data -> filled.key = filled.value
            AND NOT coalesce(:old_profile::jsonb, '{{}}') ? filled.key
    ) AS remaining
) AS profile
WHERE member_id = :member_id
""")

RETURN_ACCOUNTS = Statement(f"""
WITH {ACTOR_CTE},
-- The accounts that the other member's own columns do not name.
found AS MATERIALIZED (
    SELECT journal.row_id FROM directory_merged_rows AS journal
    JOIN member_accounts AS account ON account.id = journal.row_id
    WHERE journal.merge_id = :merge_id::uuid AND journal.table_name = 'member_accounts'
        AND account.member_id = :into AND NOT EXISTS (
            SELECT FROM community_members AS member, member_accounts_named(member) AS named
            WHERE member.member_id = :into AND named.proof <> 'stated'
                AND named.platform = account.platform AND named.account_id = account.account_id
        )
)
-- An account that is only stated may pass to somebody else at the same time.
UPDATE member_accounts AS account SET member_id = :duplicate
FROM found, actor WHERE account.id = found.row_id AND account.member_id = :into
RETURNING account.id
""")
# The accounts that the columns of the duplicate will name, and that somebody else has by now.
FIND_TAKEN_ACCOUNTS = Statement("""
SELECT named.source, account.platform, account.account_id, account.member_id
FROM community_members AS member, LATERAL jsonb_populate_record(member, jsonb_build_object(
    'telegram_id', :telegram_id::text, 'github_verified', :github_verified::boolean
)) AS returned, member_accounts_named(returned) AS named
JOIN member_accounts AS account USING (platform, account_id)
WHERE member.member_id = :duplicate AND account.member_id <> :duplicate
    AND named.proof <> 'stated' AND account.proof <> 'stated'
""")
RETURN_MEMBER = Statement(f"""
WITH {ACTOR_CTE}
UPDATE community_members AS member SET telegram_id = :telegram_id,
    github_verified = :github_verified, deleted_at = :deleted_at::timestamptz,
    {add_points_sql(":points::numeric")}
FROM actor WHERE member_id = :member_id
""")
# An account that the columns name was made again, if the other member's columns named it.
RETURN_PROOFS = Statement("""
UPDATE member_accounts AS account
SET proof = earlier.proof, proved_at = earlier.proved_at, linked_at = earlier.linked_at,
    username = earlier.username, details = earlier.details
FROM directory_merged_rows AS journal,
    jsonb_populate_record(NULL::member_accounts, journal.before) AS earlier
WHERE journal.merge_id = :merge_id::uuid AND journal.table_name = 'member_accounts'
    AND account.member_id = :duplicate AND account.platform = earlier.platform
    AND account.account_id = earlier.account_id AND account.id <> earlier.id
""")

FINISH_UNMERGE = Statement("""
WITH deleted AS (DELETE FROM directory_merged_rows WHERE merge_id = :merge_id::uuid)
UPDATE directory_merges SET undone_at = now(), before = NULL WHERE id = :merge_id::uuid
""")
