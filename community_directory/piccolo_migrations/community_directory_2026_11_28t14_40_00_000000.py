from community_directory.piccolo_migrations.community_directory_2026_11_22t20_40_00_000000 import (
    AUDIT,
    BEFORE_WRITE,
    BUT_POINTS,
    NOR_POINTS,
)
from community_directory.piccolo_migrations.community_directory_2026_11_22t23_50_00_000000 import (
    BUT_SEARCH_TEXT,
    NOT_YET_KNOWN,
)
from community_directory.sql_migration import sql_migration

ID = "2026-11-28T14:40:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "A score above zero has no shortfall"

NO_SHORTFALL = """
    IF NEW.reputation_score > 0 THEN
        NEW.reputation_shortfall := 0;
    END IF;
"""
NOR_SHORTFALL = """\
        unedited.reputation_shortfall := NEW.reputation_shortfall;
"""
BUT_SHORTFALL = """
        AND field <> 'reputation_shortfall'"""

TIER = "\n    NEW.reputation_tier := CASE"

FORWARDS = BEFORE_WRITE.replace(TIER, NO_SHORTFALL + TIER).format(
    nor_points=NOT_YET_KNOWN + NOR_SHORTFALL + NOR_POINTS
) + AUDIT.format(but_points=BUT_SEARCH_TEXT + BUT_SHORTFALL + BUT_POINTS)

BACKWARDS = BEFORE_WRITE.format(nor_points=NOT_YET_KNOWN + NOR_POINTS) + AUDIT.format(
    but_points=BUT_SEARCH_TEXT + BUT_POINTS
)


async def forwards():
    return sql_migration(ID, DESCRIPTION, forwards=FORWARDS, backwards=BACKWARDS)
