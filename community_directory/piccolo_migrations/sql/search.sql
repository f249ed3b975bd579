-- What a text search compares, in a column of its own with its indexes.

-- Some hosts keep extensions in a schema of their own, and have this one there already. Nothing
-- here ever drops it: it may have other users.
CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public;

ALTER TABLE public.community_members ADD COLUMN search_text text GENERATED ALWAYS AS (
    -- The longest that surely fits into an index beside the other columns, four bytes to a letter.
    left(public.directory_search_text(name || ' ' || coalesce(telegram_username, '') || ' '
        || coalesce(organization, '') || ' ' || coalesce(github_username, '')), 350)
) STORED;

-- the leaderboard; id breaks ties, for keyset pages; the first who match a text are found without a
-- visit to the table
CREATE INDEX member_reputation_score_idx
    ON public.community_members (reputation_score DESC, id DESC)
    INCLUDE (status, primary_role, country, deleted_at, search_text);

-- a part of a name, a username or an organization: in ranges of the score, so that a word which
-- only those of a low one share is not looked up among all of them
DO $$
DECLARE
    trigrams text := (
        SELECT extnamespace::regnamespace || '.gin_trgm_ops' FROM pg_extension
        WHERE extname = 'pg_trgm'
    );
BEGIN
    EXECUTE format('CREATE INDEX member_search_1001_idx ON public.community_members
        USING gin (search_text %s) WHERE reputation_score > 1000', trigrams);
    EXECUTE format('CREATE INDEX member_search_101_idx ON public.community_members
        USING gin (search_text %s) WHERE reputation_score BETWEEN 101 AND 1000', trigrams);
    EXECUTE format('CREATE INDEX member_search_1_idx ON public.community_members
        USING gin (search_text %s) WHERE reputation_score BETWEEN 1 AND 100', trigrams);
    EXECUTE format('CREATE INDEX member_search_0_idx ON public.community_members
        USING gin (search_text %s) WHERE reputation_score <= 0', trigrams);
END $$;
