DROP INDEX IF EXISTS public.audit_invited_username_idx;
DROP INDEX IF EXISTS public.audit_account_id_idx;
DROP INDEX IF EXISTS public.audit_row_idx;
