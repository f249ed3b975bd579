from pathlib import Path

from community_directory.calendar import clock_shifts
from community_directory.database import Statement, engine, long_running
from community_directory.database.sql_migration import read_sql, sql_migration

ID = "2026-11-29T20:00:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "Insights: what is counted by hour, room and month, and how members began"

SQL = Path(__file__).parent / "sql"

# The day of joining is that of the community's time zone. The script has no parameters.
FILL_WEEKS = Statement("""
UPDATE member_milestones AS milestone SET active_weeks = weeks FROM (
    SELECT member_id,
        array_agg(DISTINCT ((highlight_date - joined) / 7 + 1)::smallint) AS weeks
    FROM (
        SELECT member_id, ((joined_at AT TIME ZONE 'UTC')
            + (:offsets::interval[])[width_bucket(joined_at, :shifts::timestamptz[])])::date AS joined
        FROM member_milestones
    ) AS joining
    JOIN member_daily_highlights USING (member_id)
    WHERE highlight_date BETWEEN joined AND joined + 83
        AND member_id NOT IN (SELECT member_id FROM community_members WHERE is_bot)
    GROUP BY member_id
) AS active WHERE milestone.member_id = active.member_id
""")


async def fill_weeks():
    # The nightly job counts those of members who have events. Archived days have none any more.
    with long_running():
        await engine.fetch(FILL_WEEKS, **clock_shifts(None)._asdict())


async def forwards():
    manager = sql_migration(
        ID,
        DESCRIPTION,
        forwards=read_sql(SQL, "insights", "insights_bots"),
        backwards=read_sql(SQL, "insights_backwards"),
    )
    manager.add_raw(fill_weeks)
    return manager
