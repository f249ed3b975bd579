DROP INDEX IF EXISTS public.member_organization_idx;
