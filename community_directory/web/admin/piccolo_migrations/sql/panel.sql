-- A trigger of Piccolo's table of users, and the table of failed sign-ins.

-- Refuse that users take away their own access, or that of the last superuser. End the sessions of
-- a user who has lost access or got a new password.
CREATE FUNCTION public.panel_user_changed() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    entered boolean := OLD.active AND OLD.admin;
    enters boolean := coalesce(NEW.active AND NEW.admin, false);
BEGIN
    IF entered AND NOT enters AND OLD.username = current_setting('community_directory.actor', true) THEN
        RAISE EXCEPTION 'Nobody locks themselves out.'
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'piccolo_user', COLUMN = 'active',
                CONSTRAINT = 'panel_user_own_access';
    END IF;
    IF entered AND OLD.superuser AND NOT coalesce(enters AND NEW.superuser, false) THEN
        -- Two who demote each other would each still see the other one.
        PERFORM pg_advisory_xact_lock(x'70616e656c757365'::bigint);
        IF NOT EXISTS (SELECT 1 FROM public.piccolo_user WHERE superuser AND active AND admin) THEN
            RAISE EXCEPTION 'The last superuser stays.'
                USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'piccolo_user', COLUMN = 'superuser',
                    CONSTRAINT = 'panel_user_last_superuser';
        END IF;
    END IF;
    IF NOT enters OR OLD.password <> NEW.password THEN
        DELETE FROM public.sessions WHERE user_id = OLD.id;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER panel_user_changed AFTER DELETE OR UPDATE OF password, active, admin, superuser
    ON public.piccolo_user FOR EACH ROW EXECUTE FUNCTION public.panel_user_changed();

-- The number of failed sign-ins of an account or an address.
CREATE TABLE public.panel_attempts (
    key bytea CONSTRAINT panel_attempts_pkey PRIMARY KEY,
    failures integer NOT NULL,
    ends timestamptz NOT NULL
);
COMMENT ON TABLE public.panel_attempts IS
    'Failed sign-ins of the panel by the digest of an account or address; a known address has none.';
