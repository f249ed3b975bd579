from community_directory.sql_migration import sql_migration

ID = "2026-11-28T14:45:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "Which events each day was rolled up from"

FORWARDS = """
-- Which events each day was rolled up from: where they changed, the day is rolled up again.
CREATE TABLE public.directory_rolled_up_days (
    day date PRIMARY KEY,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    event_count bigint NOT NULL,
    -- the sum of a hash of each event's member and time
    checksum numeric NOT NULL
);
"""

BACKWARDS = """
DROP TABLE public.directory_rolled_up_days;
"""


async def forwards():
    return sql_migration(ID, DESCRIPTION, forwards=FORWARDS, backwards=BACKWARDS)
