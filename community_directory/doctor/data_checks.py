"""Checks of the data: what constraints and triggers keep, and what jobs bring up to date.

A constraint can't be broken while it is in force. A restored backup, a disabled trigger or a
failing disk can break what it promised.
"""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta

from tqdm import tqdm

from community_directory.calendar import days_between, today
from community_directory.database import Statement, engine, transaction
from community_directory.doctor.model import Check, Finding, Scope, Verdict
from community_directory.queries import highlights, invitations, members, merge_rows
from community_directory.queries.archived_days import (
    ARCHIVED_BEFORE_SQL,
    find_first_open_day,
    first_kept_day,
    open_days,
)
from community_directory.queries.highlights import STAY, Difference
from community_directory.queries.reputation import (
    MAX_SCORE,
    MAX_TIER_SCORES,
    add_points_sql,
    github_score,
)
from community_directory.queries.values import ACTOR_CTE
from community_directory.tables import ReputationTier

ACTOR = "doctor"
"""The author of repairs in the audit log."""
SAMPLED_DAYS = 7
"""The days before today whose highlights are counted again."""
BATCH_DAYS = 31
"""The days that are counted at once. Each batch counts the months of its days."""

MAX_MISSED_NIGHTS = 7
"""The number of days by which the archive may be late."""
GITHUB_BATCH_SIZE = 1000
"""The number of members whose GitHub data is read at once."""

# An overdue invitation counts as expired, so it is only a sign that the hourly job does not run.
FIND_OVERDUE_INVITATIONS = Statement("""
SELECT 'invitation ' || invitation_id AS finding FROM community_invitations
WHERE status = 'pending' AND expires_at < now() - interval '2 hours' ORDER BY expires_at
""")

FIND_OVERDUE_SUSPENSIONS = Statement("""
SELECT 'member ' || member_id AS finding FROM community_members
WHERE suspended_until < now() - interval '10 minutes' AND deleted_at IS NULL
ORDER BY suspended_until
""")

FIND_UNACCEPTED_INVITATIONS = Statement("""
SELECT 'invitation ' || invitation_id AS finding FROM community_invitations
WHERE (status = 'accepted') <> (accepted_by IS NOT NULL)
    OR (accepted_by IS NULL) <> (accepted_at IS NULL)
""")

FIND_BROKEN_REFERENCES = Statement("""
WITH named AS (
    -- the numbers that rows refer to; inviters are read from their index alone
    SELECT DISTINCT 'an inviter' AS holder, invited_by AS number FROM community_members
    UNION ALL
    SELECT reference.* FROM (
        SELECT * FROM community_invitations ORDER BY created_at DESC LIMIT :sample::bigint
    ) AS newest, LATERAL (
        VALUES ('the creator of invitation ' || invitation_id, created_by),
            ('the acceptor of invitation ' || invitation_id, accepted_by)
    ) AS reference(holder, number)
    UNION ALL
    SELECT 'the member of an account', member_id FROM member_accounts
    UNION ALL
    SELECT 'the member into whom others were merged', merged_into FROM community_members
    UNION ALL (
        SELECT 'the member of event ' || id, member_id FROM member_participation
        ORDER BY occurred_at DESC LIMIT :sample::bigint
    ) UNION ALL (
        SELECT 'the member of a highlight of ' || highlight_date, member_id
        FROM member_daily_highlights ORDER BY highlight_date DESC LIMIT :sample::bigint
    )
)
SELECT format('%s, %s, does not exist', number, holder) AS finding
FROM named WHERE number IS NOT NULL
    AND NOT EXISTS (SELECT FROM community_members WHERE member_id = number)
""")

# Numbers are given out in order, so a member's number is higher than that of their inviter. In a
# circle at least one is not, and the search begins at each such member. A member who lies on no
# circle can lead to one: only those who come back to themselves are on it.
FIND_CIRCLES = Statement("""
WITH RECURSIVE starts AS (
    -- the members whose inviter has their number or a higher one
    SELECT member_id, invited_by FROM community_members
    WHERE (length(invited_by), invited_by) >= (length(member_id), member_id)
    LIMIT :sample::bigint
), lineage AS (
    -- each start with its inviter, the inviter of that one, and so on
    SELECT member_id AS start, invited_by AS ancestor FROM starts
    UNION
    SELECT lineage.start, member.invited_by
    FROM lineage JOIN community_members AS member ON member.member_id = lineage.ancestor
    WHERE member.invited_by IS NOT NULL
)
SELECT start || ' is among those who led to their own invitation' AS finding
FROM lineage WHERE ancestor = start ORDER BY length(start), start
""")

FIND_CONSUMERS_BEHIND = Statement("""
SELECT format('%s, since %s', name, date_trunc('second', changed_at)) AS finding
FROM directory_audit_consumers, LATERAL (
    SELECT changed_at FROM directory_audit_log WHERE id > last_id ORDER BY id LIMIT 1
) AS oldest
WHERE changed_at < now() - interval '1 day' ORDER BY name
""")

# A stay in a voice chat that reaches into an open day stays until that one is archived.
FIND_STRAY_EVENTS = Statement(f"""
SELECT 'event ' || id AS finding FROM member_participation
WHERE occurred_at < {ARCHIVED_BEFORE_SQL} AND (
    event_type <> 'VOICE'
    OR (upper({STAY}) <= {ARCHIVED_BEFORE_SQL} AT TIME ZONE 'UTC') IS NOT FALSE
)
ORDER BY occurred_at
""")

_TIER_OF_SCORE = (
    "CASE "
    + " ".join(
        f"WHEN reputation_score <= {score} THEN '{tier}'" for tier, score in MAX_TIER_SCORES.items()
    )
    + f" ELSE '{ReputationTier.EXPERT}' END"
)
_WRONG_TIER = f"""(reputation_tier IS DISTINCT FROM {_TIER_OF_SCORE}
    OR (reputation_score > 0 AND reputation_shortfall > 0))"""
FIND_WRONG_TIERS = Statement(f"""
SELECT format('%s: %s points, %s', member_id, reputation_score, coalesce(reputation_tier, 'none'))
    AS finding
FROM community_members WHERE {_WRONG_TIER}
""")
# The trigger sets both columns in every update.
FIX_TIERS = Statement(f"""
WITH {ACTOR_CTE}
UPDATE community_members SET reputation_score = reputation_score FROM actor WHERE {_WRONG_TIER}
""")

# The members whose points are computed.
LIST_SAMPLED_MEMBERS = Statement("""
SELECT member_id FROM (
    SELECT member_id FROM member_daily_highlights
    ORDER BY highlight_date DESC LIMIT :sample::bigint / 10
) AS newest
UNION (
    SELECT member_id FROM community_members WHERE github_verified_at IS NOT NULL
    LIMIT :sample::bigint / 10
)
""")
LIST_GITHUB_DATA = Statement("""
SELECT member_id, github_profile_data FROM community_members
WHERE member_id = ANY(:member_ids) AND github_verified_at IS NOT NULL
    AND github_profile_data IS NOT NULL
""")
_SCORES_BEHIND = f"""
sampled AS (
    -- the members, and the points of their GitHub accounts
    SELECT * FROM unnest(:member_ids::text[], :github_points::numeric[])
        AS sampled(member_id, github_points)
), earned AS (
    -- these points and those of their highlights
    SELECT member_id, github_points + coalesce(sum(reputation_earned), 0) AS points
    FROM sampled LEFT JOIN member_daily_highlights USING (member_id)
    GROUP BY member_id, github_points
), behind AS (
    -- Those who have less than their parts. Points can be added by hand, so more is no fault, and
    -- whoever took points away is in the audit log.
    SELECT member_id, expected - present AS missing
    FROM community_members AS member JOIN earned USING (member_id),
    LATERAL (
        SELECT reputation_score - reputation_shortfall AS present,
            least({MAX_SCORE}, points) AS expected
    ) AS sums
    WHERE expected > present AND NOT is_bot AND merged_into IS NULL AND NOT EXISTS (
        SELECT FROM directory_audit_log AS entry
        WHERE entry.member_id = member.member_id AND table_name = 'community_members'
            AND (changes -> 'reputation_score' ->> 1)::bigint
                < (changes -> 'reputation_score' ->> 0)::bigint
    )
)"""
FIND_SCORES_BEHIND = Statement(f"""
WITH {_SCORES_BEHIND}
SELECT format('%s lacks %s points', member_id, missing) AS finding FROM behind
""")
LIST_BEHIND = Statement(f"WITH {_SCORES_BEHIND} SELECT member_id FROM behind")
FIX_SCORES = Statement(f"""
WITH {ACTOR_CTE}, {_SCORES_BEHIND}
UPDATE community_members AS member SET {add_points_sql("missing")}
FROM behind, actor WHERE member.member_id = behind.member_id
""")

# The constraints accept a number of any length, which may be no id of Discord.
FIND_MALFORMED_ACCOUNTS = Statement("""
SELECT member_id || ': the Discord id has an unknown form' AS finding
FROM community_members
WHERE merged_into IS NULL AND profile_data ->> 'discord_id' IS NOT NULL
    AND profile_data ->> 'discord_id' !~ '^[1-9][0-9]{14,19}$'
""")
# Columns of several members could name an account before accounts had rows of their own.
FIND_SHARED_ACCOUNTS = Statement("""
SELECT array_to_string((array_agg(member_id ORDER BY length(member_id), member_id))[:5], ', ')
    || ' have the same account on ' || platform AS finding
FROM (
    SELECT platform, account_id, member_id
    FROM community_members AS member, member_accounts_named(member)
    UNION
    SELECT platform, account_id, member_id FROM member_accounts
) AS accounts
GROUP BY platform, account_id HAVING count(*) > 1
""")

# Whoever states an account that another member has stated, too, has no row once that one is gone.
_MISSING_ACCOUNTS = """
community_members AS member, member_accounts_named(member) AS named
WHERE NOT EXISTS (
    SELECT FROM member_accounts AS account
    WHERE account.platform = named.platform AND account.account_id = named.account_id
)"""
FIND_MISSING_ACCOUNTS = Statement(f"""
SELECT format('%s: the account on %s', member_id, platform) AS finding,
    CASE proof WHEN 'stated' THEN 'warning' END AS verdict
FROM {_MISSING_ACCOUNTS}
""")
# An account that several members name goes to the first one who proved it.
_PROVED_AT = "CASE source WHEN 'github_username' THEN github_verified_at ELSE created_at END"
ADD_MISSING_ACCOUNTS = Statement(f"""
WITH {ACTOR_CTE}, missing AS (
    -- the accounts that are named and have no row
    SELECT DISTINCT ON (platform, account_id) named.*, member_id,
        CASE WHEN proof <> 'stated' THEN coalesce({_PROVED_AT}, now()) END AS proved_at
    FROM {_MISSING_ACCOUNTS}
    ORDER BY platform, account_id, proof = 'stated', {_PROVED_AT}, member_id
)
INSERT INTO member_accounts (id, platform, account_id, username, member_id, proof, proved_at)
SELECT gen_random_uuid(), platform, account_id, username, member_id, proof, proved_at
FROM missing, actor
ON CONFLICT (platform, account_id) DO NOTHING
""")

FIND_ROWS_OF_MERGED_MEMBERS = Statement("""
SELECT format('%s was merged into %s, and still has %s', member_id, merged_into, kind) AS finding
FROM community_members AS merged, LATERAL (
    SELECT 'accounts' AS kind FROM member_accounts AS account
    WHERE account.member_id = merged.member_id
    UNION
    SELECT 'invitations' FROM community_invitations
    WHERE created_by = merged.member_id OR accepted_by = merged.member_id
    UNION
    SELECT 'members whom they invited' FROM community_members AS child
    WHERE child.invited_by = merged.member_id
    UNION (
        SELECT 'events' FROM member_participation AS event
        WHERE event.member_id = merged.member_id LIMIT 1
    ) UNION (
        SELECT 'highlights' FROM member_daily_highlights AS highlight
        WHERE highlight.member_id = merged.member_id LIMIT 1
    )
) AS kinds
WHERE merged_into IS NOT NULL ORDER BY length(member_id), member_id, kind
""")
# Triggers follow the number of a merged member, and refuse circles.
MOVE_ROWS_OF_MERGED_MEMBERS = tuple(
    Statement(f"""
    WITH {ACTOR_CTE}
    UPDATE {table} AS changed SET {column} = merged.merged_into
    FROM community_members AS merged, actor
    WHERE merged.merged_into IS NOT NULL AND changed.{column} = merged.member_id {condition}
    """)
    for table, column, condition in (
        (
            "community_invitations",
            "created_by",
            "AND accepted_by IS DISTINCT FROM merged.merged_into",
        ),
        ("community_invitations", "accepted_by", "AND created_by <> merged.merged_into"),
        ("community_members", "invited_by", "AND changed.member_id <> merged.merged_into"),
        ("member_accounts", "member_id", ""),
    )
)

FIND_MERGE_CHAINS = Statement("""
SELECT format('%s leads to %s, and that one to %s', member.member_id, other.member_id,
    other.merged_into) AS finding
FROM community_members AS member JOIN community_members AS other
    ON other.member_id = member.merged_into
WHERE other.merged_into IS NOT NULL ORDER BY length(member.member_id), member.member_id
""")
# The trigger refuses a number to which a merged one leads: the first number of each chain goes
# first. A circle has none.
SHORTEN_MERGE_CHAINS = Statement(f"""
WITH RECURSIVE {ACTOR_CTE}, step AS (
    -- the first number of each chain with each number to which it leads
    SELECT member_id AS start, merged_into AS next FROM community_members AS first
    WHERE merged_into IS NOT NULL
        AND NOT EXISTS (
            SELECT FROM community_members AS other WHERE other.merged_into = first.member_id
        )
    UNION
    SELECT start, merged_into
    FROM step JOIN community_members AS other ON other.member_id = next
    WHERE merged_into IS NOT NULL
)
UPDATE community_members AS member SET merged_into = last.member_id
FROM step JOIN community_members AS last ON last.member_id = next, actor
WHERE member.member_id = start AND last.merged_into IS NULL
    AND member.merged_into <> last.member_id
RETURNING member.member_id
""")
# An entity is an id of ElizaOS, which is not stored here, or a member's number.
FIND_UNKNOWN_ENTITIES = Statement("""
SELECT format('relationship %s: %s does not exist', id, entity_id) AS finding
FROM (
    SELECT id, entity_id_a, entity_id_b FROM member_relationships
    ORDER BY created_at DESC LIMIT :sample::bigint
) AS newest, LATERAL (VALUES (entity_id_a), (entity_id_b)) AS entities(entity_id)
WHERE entity_id ~ '^#[0-9]+$'
    AND NOT EXISTS (SELECT FROM community_members WHERE member_id = entity_id)
""")

NUMBER_SEQUENCE = "public.community_member_number"
# The trigger goes past taken numbers, so a number that somebody wrote by hand does no harm, and a
# long run of them only makes the next member slow.
FIND_TAKEN_NUMBER = Statement(f"""
SELECT 'this needs USAGE on the sequence community_member_number' AS finding,
    'not_checked' AS verdict
WHERE NOT has_sequence_privilege('{NUMBER_SEQUENCE}', 'USAGE, SELECT')
UNION ALL
SELECT format('the next number is %s, which is taken', next_number), NULL
FROM (
    SELECT '#' || coalesce(pg_sequence_last_value('{NUMBER_SEQUENCE}'), 0) + 1 AS next_number
    WHERE has_sequence_privilege('{NUMBER_SEQUENCE}', 'USAGE, SELECT')
) AS sequence
WHERE EXISTS (SELECT FROM community_members WHERE member_id = next_number)
""")
# The sequence goes to the end of the run of taken numbers. Every login that adds members may use
# nextval; setval would need one more privilege.
FIX_NEXT_NUMBER = Statement(f"""
WITH numbers AS (SELECT substr(member_id, 2)::numeric AS number FROM community_members),
present AS (SELECT coalesce(pg_sequence_last_value('{NUMBER_SEQUENCE}'), 0) AS last),
run AS (
    -- the last one of the taken numbers that follow the present number without a gap
    SELECT last, number::bigint FROM numbers, present
    WHERE number > last
        AND NOT EXISTS (SELECT FROM community_members WHERE member_id = '#' || number + 1)
    ORDER BY number LIMIT 1
)
SELECT count(nextval('{NUMBER_SEQUENCE}')) FROM run, generate_series(last + 1, number)
""")

FIND_INVITATIONS_WITHOUT_INVITER = Statement("""
SELECT format('invitation %s by %s', invitation_id, created_by) AS finding
FROM community_invitations AS invitation
JOIN community_members AS inviter ON inviter.member_id = created_by
WHERE invitation.status = 'pending' AND expires_at > now()
    AND (inviter.status = 'banned' OR inviter.deleted_at IS NOT NULL)
    AND inviter.merged_into IS NULL
""")

FIND_WRONG_HOLDERS = Statement("""
SELECT format('%s has the permission %s', member_id, permission) AS finding
FROM member_permissions JOIN community_members AS member USING (member_id)
WHERE status <> 'active' OR deleted_at IS NOT NULL OR is_bot
""")
DELETE_WRONG_PERMISSIONS = Statement(f"""
WITH {ACTOR_CTE}
DELETE FROM member_permissions AS held USING community_members AS member, actor
WHERE member.member_id = held.member_id
    AND (status <> 'active' OR deleted_at IS NOT NULL OR is_bot)
""")


async def find_wrong_highlights(scope: Scope) -> Sequence[Finding]:
    """Find the days whose highlights, rooms or hours differ from a recount of the events.

    So are the months that are not the sums of their days, and wrong milestones. A day that got
    events after its roll-up is left to the next nightly job.
    """
    findings = []
    batches = await _batches(scope)
    # Only a long count shows its progress.
    hidden = None if scope.is_full else True
    for first, last in tqdm(batches, desc="Counting highlights", leave=False, disable=hidden):
        differences = await highlights.verify(first, until=last)
        if not differences:
            continue
        stale = await _find_stale_days(first, last)
        for (day, table), count in _count_rows(differences).items():
            text = (
                f"{count:,} rows of {table}" if day is None else f"{day}: {count:,} rows of {table}"
            )
            if day not in stale:
                findings.append(Finding(text))
            elif day < today() - timedelta(days=1):
                text += ", because events came after the roll-up"
                findings.append(Finding(text, Verdict.WARNING))
    # Two batches of one month find its faults twice.
    return list(dict.fromkeys(findings))


async def fix_highlights(scope: Scope) -> None:
    """Roll up again each batch of days in which a row differs from a recount."""
    for first, last in await _batches(scope):
        await highlights.verify(first, until=last, repair=True)


async def _batches(scope: Scope) -> Sequence[tuple[date, date]]:
    """Return the days to count again, up to yesterday, as pairs of a first and a last day.

    Archived days, and days before the first stored event, have no events to count.
    """
    oldest = await find_first_open_day()
    if oldest is None:
        return []
    last = today() - timedelta(days=1)
    if not scope.is_full:
        oldest = max(oldest, last - timedelta(days=SAMPLED_DAYS - 1))
    starts = [
        oldest + timedelta(days=days) for days in range(0, (last - oldest).days + 1, BATCH_DAYS)
    ]
    return [(start, min(last, start + timedelta(days=BATCH_DAYS - 1))) for start in starts]


async def find_overdue_days(_: Scope) -> Sequence[Finding]:
    """Find the first day that should have been archived some nights ago."""
    kept, oldest = first_kept_day(), await find_first_open_day()
    if kept is None or oldest is None:
        return []
    days = (kept - oldest).days
    if days <= MAX_MISSED_NIGHTS:
        return []
    return [Finding(f"{days:,} days from {oldest} on")]


async def _find_stale_days(first: date, last: date) -> set[date]:
    """Return the days whose events have changed since their roll-up."""
    records = await engine.fetch(
        highlights.FIND_CHANGED_DAYS,
        **(await open_days(days_between(first, last, None)))._asdict(),
        recent=date.max,
    )
    return {record["day"] for record in records}


def _count_rows(differences: Sequence[Difference]) -> Counter[tuple[date | None, str]]:
    """Count the rows by day and table; a sum of several days has no day."""
    return Counter((each.row.day, each.row.table) for each in differences)


async def fix_overdue_invitations(_: Scope) -> None:
    """Store the status expired for overdue invitations."""
    await invitations.expire_overdue(actor=ACTOR)


async def fix_overdue_suspensions(_: Scope) -> None:
    """Make the members active again whose suspension has ended."""
    await members.end_suspensions(actor=ACTOR)


async def fix_tiers(_: Scope) -> None:
    """Let the trigger compute the tier and the shortfall of each wrong row again."""
    await engine.fetch(FIX_TIERS, actor=ACTOR, reason=None)


async def find_scores_behind(scope: Scope) -> Sequence[Finding]:
    """Find the members whose score lacks points of GitHub or of the highlights."""
    records = await engine.fetch(FIND_SCORES_BEHIND, **await _sample_points(scope))
    return [Finding(record["finding"]) for record in records]


async def fix_scores(scope: Scope) -> None:
    """Add the points that members lack."""
    async with transaction():
        sampled = await _sample_points(scope)
        behind = await engine.fetch(LIST_BEHIND, **sampled)
        # All writers of many members lock them in the same order.
        await engine.fetch(
            highlights.LOCK_EARNING_MEMBERS, member_ids=[record["member_id"] for record in behind]
        )
        await engine.fetch(FIX_SCORES, actor=ACTOR, reason=None, **sampled)


async def _sample_points(scope: Scope) -> dict[str, list[object]]:
    """Return the sampled members and the points of their GitHub accounts, as parameters."""
    records = await engine.fetch(LIST_SAMPLED_MEMBERS, sample=scope.sample)
    points = {record["member_id"]: 0 for record in records}
    member_ids = list(points)
    for start in range(0, len(member_ids), GITHUB_BATCH_SIZE):
        batch = member_ids[start : start + GITHUB_BATCH_SIZE]
        for member_id, data in await engine.fetch(LIST_GITHUB_DATA, member_ids=batch):
            points[member_id] = github_score(json.loads(data))
    return {"member_ids": [*points], "github_points": [*points.values()]}


async def fix_next_number(_: Scope) -> None:
    """Move the sequence past the numbers that are taken."""
    await engine.fetch(FIX_NEXT_NUMBER)


async def fix_missing_accounts(_: Scope) -> None:
    """Add the rows of the accounts that members' columns name, unless somebody has them."""
    await engine.fetch(ADD_MISSING_ACCOUNTS, actor=ACTOR, reason=None)


async def fix_rows_of_merged_members(_: Scope) -> None:
    """Give accounts, invitations and children of merged members to the other ones."""
    async with transaction():
        await engine.fetch(merge_rows.BEGIN_MERGING)
        for statement in MOVE_ROWS_OF_MERGED_MEMBERS:
            await engine.fetch(statement, actor=ACTOR, reason=None)
        await engine.fetch(merge_rows.END_MERGING)


async def fix_merge_chains(_: Scope) -> None:
    """Let each merged number lead to the last member of its chain."""
    async with transaction():
        while await engine.fetch(SHORTEN_MERGE_CHAINS, actor=ACTOR, reason=None):
            pass


async def fix_permissions(_: Scope) -> None:
    """Delete the permissions of people who are not active members."""
    await engine.fetch(DELETE_WRONG_PERMISSIONS, actor=ACTOR, reason=None)


DATA_CHECKS = (
    Check(
        id="overdue_invitations",
        title="Overdue invitations are marked as expired",
        problem="Invitations that have been overdue for two hours or more",
        next_step="The hourly job of the panel does not run: start the panel, or run "
        "`community-directory expire-invitations` from cron. --fix marks them now.",
        find=FIND_OVERDUE_INVITATIONS,
        verdict=Verdict.WARNING,
        fix=fix_overdue_invitations,
    ),
    Check(
        id="overdue_suspensions",
        title="Suspensions end on the date that was set",
        problem="Suspensions that should have ended ten minutes ago or more",
        next_step="The job of the panel that ends them each minute does not run: start the panel. "
        "--fix ends them now.",
        find=FIND_OVERDUE_SUSPENSIONS,
        verdict=Verdict.WARNING,
        fix=fix_overdue_suspensions,
    ),
    Check(
        id="acceptors",
        title="Every accepted invitation has a member who accepted it",
        problem="Invitations whose status contradicts who accepted them",
        next_step="Look at each in the panel, and restore it from a backup or correct it in SQL.",
        find=FIND_UNACCEPTED_INVITATIONS,
    ),
    Check(
        id="references",
        title="Every reference leads to a member",
        problem="References to members who do not exist",
        next_step="Restore the missing members from a backup, or delete the rows that refer to "
        "them.",
        find=FIND_BROKEN_REFERENCES,
    ),
    Check(
        id="circles",
        title="Nobody was invited by somebody whom they invited",
        problem="Circles among inviters",
        next_step="Clear or correct invited_by of one member of each circle in SQL.",
        find=FIND_CIRCLES,
    ),
    Check(
        id="highlights",
        title="The highlights agree with the events",
        problem="Days whose highlights differ from a recount of the events",
        next_step="Run `community-directory doctor --fix`, which rolls up these days again.",
        find=find_wrong_highlights,
        fix=fix_highlights,
    ),
    Check(
        id="archived_days",
        title="No event lies on an archived day",
        problem="Events on archived days, which no count contains",
        next_step="A program that does not use the helpers has written them: look at them in the "
        "panel, and delete them in SQL.",
        find=FIND_STRAY_EVENTS,
        verdict=Verdict.WARNING,
    ),
    Check(
        id="old_events",
        title="Events are archived when DIRECTORY_EVENT_RETENTION_DAYS says so",
        problem="Days that should have been archived",
        next_step="The nightly job of the panel does not run, or fails: look at its log, or run "
        "`community-directory archive`.",
        find=find_overdue_days,
        verdict=Verdict.WARNING,
    ),
    Check(
        id="consumers",
        title="Every consumer of the change feed has dealt with the changes of yesterday",
        problem="Consumers for whom changes have waited for more than a day",
        next_step="Start the program that follows the changes for it. If there is none any more, "
        "forget the consumer with `audit.forget_consumer`.",
        find=FIND_CONSUMERS_BEHIND,
        verdict=Verdict.WARNING,
    ),
    Check(
        id="tiers",
        title="Every tier follows from the score",
        problem="Members whose tier or shortfall does not fit their score",
        next_step="Run `community-directory doctor --fix`, which computes them again.",
        find=FIND_WRONG_TIERS,
        fix=fix_tiers,
    ),
    Check(
        id="scores",
        title="No score lacks points of GitHub or of the highlights",
        problem="Members whose score lacks points, although nobody took any away",
        next_step="Run `community-directory doctor --fix`, which adds the missing points.",
        find=find_scores_behind,
        fix=fix_scores,
    ),
    Check(
        id="accounts",
        title="Every account has the form of its platform",
        problem="Accounts of an unknown form",
        next_step="Correct them in the panel: bots will not recognize these people.",
        find=FIND_MALFORMED_ACCOUNTS,
        verdict=Verdict.WARNING,
    ),
    Check(
        id="shared_accounts",
        title="Every account belongs to one member",
        problem="Accounts of several members",
        next_step="Merge the members if they are one person. If not, correct the fields of all but "
        "one of them: telegram_id, the GitHub account, or discord_id in the profile data.",
        find=FIND_SHARED_ACCOUNTS,
        verdict=Verdict.WARNING,
    ),
    Check(
        id="account_rows",
        title="Every account that a member's fields name has its row",
        problem="Accounts without a row in member_accounts",
        next_step="Run `community-directory doctor --fix`, which adds the rows.",
        find=FIND_MISSING_ACCOUNTS,
        fix=fix_missing_accounts,
    ),
    Check(
        id="merged_members",
        title="Nothing belongs to a merged member any more",
        problem="Rows of merged members",
        next_step="Run `community-directory doctor --fix`, which moves accounts, invitations and "
        "the members whom they invited. For events and highlights undo the merge, and merge again.",
        find=FIND_ROWS_OF_MERGED_MEMBERS,
        fix=fix_rows_of_merged_members,
    ),
    Check(
        id="merge_chains",
        title="Every merged number leads to a member who was not merged",
        problem="Merged numbers that lead to merged numbers",
        next_step="Run `community-directory doctor --fix`, which lets each lead to the last member "
        "of its chain. If numbers lead to each other, clear merged_into of one of them in SQL.",
        find=FIND_MERGE_CHAINS,
        fix=fix_merge_chains,
    ),
    Check(
        id="entities",
        title="Every relationship with a member's number leads to a member",
        problem="Relationships with numbers that nobody has",
        next_step="Remove them in the panel.",
        find=FIND_UNKNOWN_ENTITIES,
        verdict=Verdict.WARNING,
    ),
    Check(
        id="next_number",
        title="The next member's number is free",
        problem="The sequence of the numbers is behind",
        next_step="Run `community-directory doctor --fix`, which moves it past the taken numbers.",
        find=FIND_TAKEN_NUMBER,
        verdict=Verdict.WARNING,
        fix=fix_next_number,
    ),
    Check(
        id="inviters",
        title="Nobody who lost their access has open invitations",
        problem="Open invitations of people who are banned or removed",
        next_step="Cancel them in the panel. They can't be redeemed unless these people come back.",
        find=FIND_INVITATIONS_WITHOUT_INVITER,
        verdict=Verdict.WARNING,
    ),
    Check(
        id="permissions",
        title="Only active members hold permissions",
        problem="Permissions of people who are not active members",
        next_step="Run `community-directory doctor --fix`, which deletes them.",
        find=FIND_WRONG_HOLDERS,
        fix=fix_permissions,
    ),
)
