from community_directory.piccolo_migrations.community_directory_2026_11_22t20_40_00_000000 import (
    AUDIT,
    BEFORE_WRITE,
    BUT_POINTS,
    NOR_POINTS,
)
from community_directory.sql_migration import sql_migration

ID = "2026-11-22T23:50:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "The searched text is stored and indexed; the directory by role and country"

# What is made of other columns is no edit of its own, and not known yet before a row is written.
NOT_YET_KNOWN = """\
        unedited.search_text := NEW.search_text;
"""
BUT_SEARCH_TEXT = """
        AND field <> 'search_text'"""

# Where pg_trgm's operators are is asked: some hosts keep extensions in a schema of their own.
SEARCH_INDEX = """
DO $$ BEGIN
    EXECUTE format(
        'CREATE INDEX {name} ON public.community_members USING gin ({text} %s.gin_trgm_ops) WHERE {condition}',
        (SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'pg_trgm')
    );
END $$;
"""
TEXT = """name || '' '' || coalesce(telegram_username, '''') || '' ''
    || coalesce(organization, '''') || '' '' || coalesce(github_username, '''')"""
RANGES = {
    "member_search_1001_idx": "reputation_score > 1000",
    "member_search_101_idx": "reputation_score BETWEEN 101 AND 1000",
    "member_search_1_idx": "reputation_score BETWEEN 1 AND 100",
    "member_search_0_idx": "reputation_score <= 0",
}

# Both tables at once, the one of the next migration first, as those lock them who record an event.
LOCK = """
LOCK TABLE public.member_participation, public.community_members IN ACCESS EXCLUSIVE MODE;
"""

FORWARDS = (
    LOCK
    + BEFORE_WRITE.format(nor_points=NOT_YET_KNOWN + NOR_POINTS)
    + AUDIT.format(but_points=BUT_SEARCH_TEXT + BUT_POINTS)
    + f"""
DROP INDEX public.member_search_idx, public.member_reputation_score_idx;
ALTER TABLE public.community_members ADD COLUMN search_text text GENERATED ALWAYS AS (
    -- The longest that surely fits into an index beside the other columns, four bytes to a letter.
    left(public.directory_search_text({TEXT.replace("''", "'")}), 350)
) STORED;
-- the leaderboard; id breaks ties, for keyset pages; the first who match a text are found without a visit to the table
CREATE INDEX member_reputation_score_idx ON public.community_members (reputation_score DESC, id DESC)
    INCLUDE (status, primary_role, country, deleted_at, search_text);
-- the directory's page of a role in a country, best reputation first
CREATE INDEX member_directory_idx ON public.community_members (primary_role, country, reputation_score DESC, id DESC)
    WHERE status = 'active' AND deleted_at IS NULL;
-- a part of a name, a username or an organization: in ranges of the score, so that a word which only those of a low one
-- share is not looked up among all of them
"""
    + "".join(
        SEARCH_INDEX.format(name=name, text="search_text", condition=condition) for name, condition in RANGES.items()
    )
)

BACKWARDS = (
    LOCK
    + BEFORE_WRITE.format(nor_points=NOR_POINTS)
    + AUDIT.format(but_points=BUT_POINTS)
    + f"""
DROP INDEX public.member_directory_idx, public.member_reputation_score_idx,
    {", ".join(f"public.{name}" for name in RANGES)};
ALTER TABLE public.community_members DROP COLUMN search_text;
CREATE INDEX member_reputation_score_idx ON public.community_members (reputation_score DESC, id DESC);
"""
    + SEARCH_INDEX.format(
        name="member_search_idx", text=f"public.directory_search_text({TEXT})", condition="deleted_at IS NULL"
    )
)


async def forwards():
    return sql_migration(ID, DESCRIPTION, forwards=FORWARDS, backwards=BACKWARDS)
