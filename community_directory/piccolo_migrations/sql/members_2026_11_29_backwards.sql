ALTER TABLE public.community_members RESET (fillfactor);

DROP INDEX public.member_name_idx;
DROP INDEX public.member_newest_idx;
DROP INDEX public.member_role_idx;
DROP INDEX public.member_country_idx;
DROP INDEX public.member_other_status_idx;
DROP INDEX public.member_search_idx;

CREATE INDEX member_created_at_idx ON public.community_members (created_at DESC, id DESC)
    WHERE deleted_at IS NULL AND NOT is_bot;
CREATE INDEX member_directory_idx
    ON public.community_members (primary_role, country, reputation_score DESC, id DESC)
    WHERE status = 'active' AND deleted_at IS NULL;
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
