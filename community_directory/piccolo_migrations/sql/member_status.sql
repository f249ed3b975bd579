-- list the members with a status in the panel, newest first; count the members by status, tier and
-- week, index-only
DROP INDEX public.member_status_idx;
CREATE INDEX member_status_idx ON public.community_members (status, created_at DESC)
    INCLUDE (reputation_tier, deleted_at, is_bot, merged_into);
