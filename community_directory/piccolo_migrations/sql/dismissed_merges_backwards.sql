-- Reverse dismissed_merges.sql.

DROP INDEX public.member_inviter_name_idx;
DROP TABLE public.directory_dismissed_merges;
