-- Reverse permissions.sql.

DROP INDEX public.member_permission_permission_idx;
DROP TRIGGER member_permissions_audit ON public.member_permissions;
DROP TRIGGER community_members_lose_permissions ON public.community_members;
DROP TRIGGER member_permissions_check_holder ON public.member_permissions;
DROP FUNCTION public.community_members_lose_permissions();
DROP FUNCTION public.member_permissions_check_holder();
