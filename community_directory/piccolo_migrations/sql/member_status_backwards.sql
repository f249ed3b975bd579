-- Reverse member_status.sql.
DROP INDEX public.member_status_idx;
CREATE INDEX member_status_idx ON public.community_members (status, created_at DESC);
