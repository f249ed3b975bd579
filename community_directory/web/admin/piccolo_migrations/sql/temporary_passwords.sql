-- The passwords that somebody else has set. Their users must choose new ones, and have no session until then.

CREATE TABLE public.panel_temporary_passwords (
    user_id integer CONSTRAINT panel_temporary_passwords_pkey PRIMARY KEY
        CONSTRAINT panel_temporary_passwords_user_fkey REFERENCES public.piccolo_user ON DELETE CASCADE
);
COMMENT ON TABLE public.panel_temporary_passwords IS
    'The users of the panel who must choose a new password, because somebody else has set theirs.';

-- A password is temporary if another user of the panel sets it. Without an actor, the user sets it, or an operator.
CREATE FUNCTION public.panel_password_set() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF coalesce(current_setting('community_directory.actor', true), '') NOT IN ('', NEW.username) THEN
        INSERT INTO public.panel_temporary_passwords (user_id) VALUES (NEW.id) ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER panel_password_added AFTER INSERT ON public.piccolo_user
    FOR EACH ROW EXECUTE FUNCTION public.panel_password_set();
CREATE TRIGGER panel_password_changed AFTER UPDATE OF password ON public.piccolo_user
    FOR EACH ROW WHEN (OLD.password <> NEW.password) EXECUTE FUNCTION public.panel_password_set();

-- Refuse a session of a user with a temporary password.
CREATE FUNCTION public.panel_session_started() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Wait for somebody who is setting the password: that ends the sessions that exist by then.
    PERFORM 1 FROM public.piccolo_user WHERE id = NEW.user_id FOR SHARE;
    IF EXISTS (SELECT 1 FROM public.panel_temporary_passwords WHERE user_id = NEW.user_id) THEN
        RAISE EXCEPTION 'The password is temporary.'
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'sessions', COLUMN = 'user_id',
                CONSTRAINT = 'panel_session_own_password';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER panel_session_started BEFORE INSERT ON public.sessions
    FOR EACH ROW EXECUTE FUNCTION public.panel_session_started();

COMMENT ON TABLE public.panel_attempts IS
    'Failed sign-ins of the panel by the digest of an account, address or browser; a known browser has none.';
