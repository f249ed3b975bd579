-- The accounts of erased people: a keyed hash of each of them, which recognizes a banned person who
-- comes back, and keeps an import from adding the person again.
CREATE TABLE public.directory_erased_accounts (
    fingerprint varchar(64) PRIMARY KEY,
    member_id varchar(20) NOT NULL,
    erased_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT erased_account_fingerprint_check CHECK (fingerprint ~ '^[0-9a-f]{64}$'),
    CONSTRAINT erased_account_erased_at_range_check
        CHECK (erased_at >= '2000-01-01 00:00Z' AND erased_at < '2200-01-01 00:00Z'),
    CONSTRAINT erased_account_member_id_fkey FOREIGN KEY (member_id)
        REFERENCES public.community_members (member_id) ON DELETE RESTRICT ON UPDATE RESTRICT
);

-- list the accounts of an erased member
CREATE INDEX erased_account_member_idx ON public.directory_erased_accounts (member_id);

-- Remember the hash that the telegram_id of an erased and banned member contains, whoever writes it:
-- programs of an older version write nothing else.
--
-- SECURITY DEFINER lets a login do so that may write members only.
CREATE FUNCTION public.community_members_remember_ban() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO public.directory_erased_accounts (fingerprint, member_id)
    VALUES (substr(NEW.telegram_id, 8), NEW.member_id)
    ON CONFLICT (fingerprint) DO UPDATE SET member_id = EXCLUDED.member_id;
    RETURN NULL;
END $$;

REVOKE ALL ON FUNCTION public.community_members_remember_ban() FROM PUBLIC;

CREATE TRIGGER community_members_remember_ban
    AFTER INSERT OR UPDATE OF telegram_id ON public.community_members
    FOR EACH ROW WHEN (NEW.telegram_id ~ '^banned:[0-9a-f]{64}$')
    EXECUTE FUNCTION public.community_members_remember_ban();

-- the members who were erased before
INSERT INTO public.directory_erased_accounts (fingerprint, member_id, erased_at)
SELECT substr(telegram_id, 8), member_id, coalesce(deleted_at, now())
FROM public.community_members
WHERE telegram_id ~ '^banned:[0-9a-f]{64}$';

DROP INDEX public.member_banned_and_erased_idx;

-- Refuse to give an account to a member who was erased. The lock waits for an erasure that has not
-- ended, as the foreign key does, but reads the row afterwards.
--
-- SECURITY DEFINER lets a login do so that may write accounts only.
CREATE FUNCTION public.member_accounts_check_erased() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    stored_id text;
BEGIN
    SELECT telegram_id INTO stored_id FROM public.community_members
    WHERE member_id = NEW.member_id FOR KEY SHARE;
    IF stored_id ~ '^(erased|banned):' THEN
        RAISE EXCEPTION 'The member was erased.'
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'member_accounts',
                COLUMN = 'member_id', CONSTRAINT = 'member_account_of_erased';
    END IF;
    RETURN NEW;
END $$;

REVOKE ALL ON FUNCTION public.member_accounts_check_erased() FROM PUBLIC;

-- The columns of an erased member name no account, so that only other writers are checked.
CREATE TRIGGER member_accounts_check_erased
    BEFORE INSERT OR UPDATE OF member_id ON public.member_accounts
    FOR EACH ROW WHEN (pg_trigger_depth() = 0)
    EXECUTE FUNCTION public.member_accounts_check_erased();
