from pathlib import Path

from piccolo.constraints import Check

from community_directory.database.sql_migration import read_sql, sql_migration

ID = "2026-11-29T00:40:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "Voice stays have a start, and a number of seconds"

SQL = Path(__file__).parent / "sql"


async def forwards():
    manager = sql_migration(
        ID,
        DESCRIPTION,
        forwards=read_sql(SQL, "voice_stays"),
        backwards=read_sql(SQL, "voice_stays_backwards"),
    )
    # Piccolo runs the script first, in both directions.
    manager.add_constraint(
        table_class_name="MemberParticipation",
        tablename="member_participation",
        constraint_name="participation_voice_duration_check",
        constraint_class=Check,
        params={
            "condition": "event_type <> 'VOICE' OR ("
            "coalesce(event_metadata -> 'duration_seconds', '0') BETWEEN '0' AND '2678400' AND "
            "coalesce(event_metadata -> 'voice_duration_seconds', '0') BETWEEN '0' AND '2678400')"
        },
        schema=None,
    )
    return manager
