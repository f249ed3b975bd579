-- Reverse accounts.sql.

DROP TRIGGER community_members_release_accounts ON public.community_members;
DROP TRIGGER community_members_name_accounts ON public.community_members;
DROP TRIGGER community_members_name_other_accounts ON public.community_members;
DROP TRIGGER member_accounts_before_write ON public.member_accounts;
DROP TRIGGER member_accounts_audit ON public.member_accounts;
DROP FUNCTION public.community_members_release_accounts();
DROP FUNCTION public.community_members_name_accounts();
DROP FUNCTION public.member_accounts_before_write();
DROP FUNCTION public.member_accounts_named(public.community_members);
DROP INDEX public.member_account_member_idx;
DROP INDEX public.member_account_username_idx;
DROP INDEX public.member_merged_into_idx;
