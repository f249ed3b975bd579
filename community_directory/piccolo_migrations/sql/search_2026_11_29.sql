-- Compute the searched text of each member again, which a new function makes, and its indexes.

-- The indexes that contain the column are dropped with it.
ALTER TABLE public.community_members DROP COLUMN search_text;
ALTER TABLE public.community_members ADD COLUMN search_text text GENERATED ALWAYS AS (
    -- 350 characters of up to four bytes fit into an index beside the other columns.
    left(public.directory_search_text(name || coalesce(' ' || telegram_username, '')
        || coalesce(' ' || organization, '') || coalesce(' ' || github_username, '')), 350)
) STORED;

-- list the leaderboard by keyset pages, where id breaks ties; find the best matches of a text,
-- index-only
CREATE INDEX member_reputation_score_idx
    ON public.community_members (reputation_score DESC, id DESC)
    INCLUDE (status, primary_role, country, deleted_at, search_text);

-- find a part of a name, a username or an organization. Each index covers a range of the score, so
-- that a search for the best members skips those with a low score.
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
