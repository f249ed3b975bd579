DROP INDEX IF EXISTS public.audit_actor_idx;
DROP INDEX IF EXISTS public.audit_changed_at_idx;
DROP INDEX IF EXISTS public.member_account_linked_at_idx;
DROP INDEX IF EXISTS public.invitation_username_idx;
DROP INDEX IF EXISTS public.member_home_country_idx;
DROP INDEX IF EXISTS public.member_role_idx;
DROP INDEX IF EXISTS public.member_removed_idx;
