-- Drop everything that temporary_passwords.sql creates.
DROP TRIGGER IF EXISTS panel_session_started ON public.sessions;
DROP TRIGGER IF EXISTS panel_password_changed ON public.piccolo_user;
DROP TRIGGER IF EXISTS panel_password_added ON public.piccolo_user;
DROP FUNCTION public.panel_session_started();
DROP FUNCTION public.panel_password_set();
DROP TABLE public.panel_temporary_passwords;
COMMENT ON TABLE public.panel_attempts IS
    'Failed sign-ins of the panel by the digest of an account or address; a known address has none.';
