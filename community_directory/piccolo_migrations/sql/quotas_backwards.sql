-- Reverse quotas.sql.

DROP FUNCTION public.community_invitations_claim(text, text, integer, integer);
DROP FUNCTION public.community_invitations_free_at(text, integer, integer);
