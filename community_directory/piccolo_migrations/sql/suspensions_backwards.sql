-- Reverse suspensions.sql.

DROP INDEX IF EXISTS public.member_suspended_until_idx;
DROP TRIGGER community_members_end_suspension ON public.community_members;
DROP FUNCTION public.community_members_end_suspension();
