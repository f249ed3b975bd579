-- Indexes for every order and filter of the search, and room in the pages of the members.
--
-- An operator can create these indexes before, with CREATE INDEX CONCURRENTLY: see
-- docs/how-to/upgrade.md.

-- An update of last_active_at then finds room in the page of the row, and writes to no index. New
-- pages have the room; in the old ones, VACUUM makes some from the versions that updates left.
ALTER TABLE public.community_members SET (fillfactor = 90);

-- list members by name, page by page, where id breaks ties. Without the searched text, the longest
-- member fits into an index.
CREATE INDEX IF NOT EXISTS member_name_idx
    ON public.community_members (public.directory_search_text(name), id)
    INCLUDE (name, status, primary_role, country, reputation_score)
    WHERE deleted_at IS NULL AND NOT is_bot;

-- list members newest first, page by page, where id breaks ties; find the first matches of a text,
-- index-only
CREATE INDEX IF NOT EXISTS member_newest_idx
    ON public.community_members (created_at DESC, id DESC)
    INCLUDE (status, primary_role, country, reputation_score, search_text)
    WHERE deleted_at IS NULL AND NOT is_bot;
DROP INDEX public.member_created_at_idx;

-- list the members with a role, in a country or in all, best reputation first; find the members
-- with a rare role, index-only
CREATE INDEX IF NOT EXISTS member_role_idx
    ON public.community_members (primary_role, country, reputation_score DESC, id DESC)
    INCLUDE (status, is_bot) WHERE deleted_at IS NULL;
DROP INDEX public.member_directory_idx;

-- find the members in a rare country, index-only
CREATE INDEX IF NOT EXISTS member_country_idx
    ON public.community_members (country, reputation_score DESC, id DESC)
    INCLUDE (status, is_bot) WHERE deleted_at IS NULL;

-- list the members of another status than active, best reputation first; find the best matches of
-- a text, index-only
CREATE INDEX IF NOT EXISTS member_other_status_idx
    ON public.community_members (status, reputation_score DESC, id DESC)
    INCLUDE (primary_role, country, is_bot, search_text)
    WHERE status <> 'active' AND deleted_at IS NULL;

-- find a rare part of a name, a username or an organization
DO $$
BEGIN
    EXECUTE format('CREATE INDEX IF NOT EXISTS member_search_idx ON public.community_members
        USING gin (search_text %s.gin_trgm_ops)', (
        SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'pg_trgm'
    ));
END $$;
DROP INDEX public.member_search_1001_idx;
DROP INDEX public.member_search_101_idx;
DROP INDEX public.member_search_1_idx;
DROP INDEX public.member_search_0_idx;
