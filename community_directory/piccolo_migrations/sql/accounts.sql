-- Accounts: the columns of community_members name some of them, and triggers keep these in
-- member_accounts, whoever writes.

-- Return the accounts that a member's columns name.
--
-- telegram_id is an account of Telegram, or one of another platform with the platform in front. The
-- telegram_id of an erased or merged member is none.
CREATE FUNCTION public.member_accounts_named(member public.community_members)
    RETURNS TABLE (source text, platform text, account_id text, username text, proof text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'telegram_id', 'telegram', member.telegram_id, member.telegram_username, 'platform'
    WHERE member.telegram_id ~ '^[1-9]'
    UNION ALL
    SELECT 'telegram_id', split_part(member.telegram_id, ':', 1),
        substr(member.telegram_id, strpos(member.telegram_id, ':') + 1), NULL, 'platform'
    WHERE member.telegram_id !~ '^([1-9]|(banned|erased|merged):)'
    UNION ALL
    SELECT 'github_username', 'github',
        coalesce(
            substring(member.github_profile_data ->> 'id' FROM '^[1-9][0-9]{0,19}$'),
            substring(member.github_profile_data ->> 'databaseId' FROM '^[1-9][0-9]{0,19}$'),
            lower(member.github_username)
        ),
        member.github_username, 'platform'
    WHERE member.github_verified
    UNION ALL
    SELECT 'profile_data', 'discord', member.profile_data ->> 'discord_id', NULL, 'stated'
    WHERE member.profile_data ->> 'discord_id' IS NOT NULL
        AND member.telegram_id !~ '^(banned|erased|merged):'
        AND member.telegram_id <> 'discord:' || (member.profile_data ->> 'discord_id')
$$;

-- Keep the accounts that a member's columns name.
--
-- A new account on the same platform replaces the one that the column named before; an account of
-- another platform stays. An erased member keeps none, and a merged member leaves them to the other
-- one. An account that is only stated passes to whoever proves it.
--
-- SECURITY DEFINER lets a login do so that may write members only.
CREATE FUNCTION public.community_members_name_accounts() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before public.community_members := CASE WHEN TG_OP = 'UPDATE' THEN OLD END;
    named record;
BEGIN
    IF NEW.merged_into IS NOT NULL THEN
        RETURN NULL;
    END IF;
    IF NEW.telegram_id ~ '^(banned|erased):' THEN
        DELETE FROM public.member_accounts WHERE member_id = NEW.member_id;
        RETURN NULL;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        DELETE FROM public.member_accounts AS account
        USING public.member_accounts_named(OLD) AS gone
        WHERE account.platform = gone.platform AND account.account_id = gone.account_id
            AND account.member_id = NEW.member_id
            AND (gone.source <> 'profile_data' OR account.proof = 'stated')
            AND (gone.source <> 'telegram_id' OR EXISTS (
                SELECT FROM public.member_accounts_named(NEW) AS present
                WHERE present.source = 'telegram_id' AND present.platform = gone.platform
            ))
            AND NOT EXISTS (
                SELECT FROM public.member_accounts_named(NEW) AS present
                WHERE present.platform = gone.platform AND present.account_id = gone.account_id
            );
    END IF;
    FOR named IN
        SELECT *, EXISTS (
            SELECT FROM public.member_accounts_named(before) AS earlier
            WHERE earlier.platform = present.platform AND earlier.account_id = present.account_id
        ) AS is_known
        FROM public.member_accounts_named(NEW) AS present
    LOOP
        INSERT INTO public.member_accounts AS account
            (id, platform, account_id, username, member_id, proof, proved_at)
        SELECT gen_random_uuid(), named.platform, named.account_id, named.username, NEW.member_id,
            named.proof, CASE WHEN named.proof <> 'stated' THEN now() END
        ON CONFLICT (platform, account_id) DO UPDATE SET
            member_id = EXCLUDED.member_id,
            username = coalesce(EXCLUDED.username, account.username),
            proof = CASE account.proof WHEN 'stated' THEN EXCLUDED.proof ELSE account.proof END,
            proved_at = coalesce(account.proved_at, EXCLUDED.proved_at)
        WHERE account.member_id = EXCLUDED.member_id
                AND (account.username, account.proof) IS DISTINCT FROM (
                    coalesce(EXCLUDED.username, account.username),
                    CASE account.proof WHEN 'stated' THEN EXCLUDED.proof ELSE account.proof END
                )
            OR account.proof = 'stated' AND EXCLUDED.proof <> 'stated';
        IF named.proof <> 'stated' AND NOT named.is_known AND NOT EXISTS (
            SELECT FROM public.member_accounts
            WHERE platform = named.platform AND account_id = named.account_id
                AND member_id = NEW.member_id
        ) THEN
            RAISE EXCEPTION 'The account belongs to another member.'
                USING ERRCODE = 'unique_violation', SCHEMA = 'public', TABLE = 'member_accounts',
                    COLUMN = 'account_id', CONSTRAINT = 'member_account_idx';
        END IF;
    END LOOP;
    RETURN NULL;
END $$;

REVOKE ALL ON FUNCTION public.community_members_name_accounts() FROM PUBLIC;

CREATE TRIGGER community_members_name_accounts
    AFTER INSERT ON public.community_members
    FOR EACH ROW EXECUTE FUNCTION public.community_members_name_accounts();

CREATE TRIGGER community_members_name_other_accounts
    AFTER UPDATE ON public.community_members
    FOR EACH ROW WHEN (
        (OLD.telegram_id, OLD.telegram_username, OLD.github_username, OLD.github_verified,
            OLD.github_profile_data, OLD.profile_data)
        IS DISTINCT FROM (NEW.telegram_id, NEW.telegram_username, NEW.github_username,
            NEW.github_verified, NEW.github_profile_data, NEW.profile_data)
    )
    EXECUTE FUNCTION public.community_members_name_accounts();

-- Refuse to take away an account that the member's columns name, and give an account of a merged
-- member to the other one.
CREATE FUNCTION public.member_accounts_before_write() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND EXISTS (
        SELECT FROM public.community_members AS member,
            public.member_accounts_named(member) AS named
        WHERE member.member_id = OLD.member_id AND member.merged_into IS NULL
            AND named.platform = OLD.platform AND named.account_id = OLD.account_id
            AND named.proof <> 'stated'
    ) AND (
        TG_OP = 'DELETE'
        OR (NEW.platform, NEW.account_id, NEW.member_id)
            IS DISTINCT FROM (OLD.platform, OLD.account_id, OLD.member_id)
    ) THEN
        RAISE EXCEPTION 'A column of the member names the account.'
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'member_accounts',
                COLUMN = 'account_id', CONSTRAINT = 'member_account_in_column';
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    NEW.member_id := coalesce(
        (SELECT merged_into FROM public.community_members WHERE member_id = NEW.member_id
            FOR KEY SHARE),  -- it waits for a merge that is about to commit
        NEW.member_id
    );
    RETURN NEW;
END $$;

REVOKE ALL ON FUNCTION public.member_accounts_before_write() FROM PUBLIC;

CREATE TRIGGER member_accounts_before_write
    BEFORE INSERT OR UPDATE OF platform, account_id, member_id OR DELETE ON public.member_accounts
    FOR EACH ROW EXECUTE FUNCTION public.member_accounts_before_write();

-- What the trigger above writes is in the log as the change of the member's columns.
CREATE TRIGGER member_accounts_audit
    AFTER INSERT OR UPDATE OR DELETE ON public.member_accounts
    FOR EACH ROW WHEN (pg_trigger_depth() = 0)
    EXECUTE FUNCTION public.directory_audit_log_write('member_accounts', 'id', 'member_id');

-- list the accounts of a member; find whoever has a username on a platform
CREATE INDEX member_account_member_idx ON public.member_accounts (member_id);
CREATE INDEX member_account_username_idx ON public.member_accounts (lower(username), platform)
    WHERE username IS NOT NULL;

-- find the members that were merged into one
CREATE INDEX member_merged_into_idx ON public.community_members (merged_into)
    WHERE merged_into IS NOT NULL;

-- Fill in the accounts of all members. An account that the columns of several members name belongs
-- to the first one who proved it.
INSERT INTO public.member_accounts
    (id, platform, account_id, username, member_id, proof, proved_at, linked_at)
SELECT DISTINCT ON (named.platform, named.account_id)
    gen_random_uuid(), named.platform, named.account_id, named.username, member.member_id,
    named.proof,
    CASE WHEN named.proof <> 'stated' THEN
        CASE named.platform WHEN 'github' THEN coalesce(github_verified_at, created_at)
        ELSE created_at END
    END,
    now()
FROM public.community_members AS member, public.member_accounts_named(member) AS named
ORDER BY named.platform, named.account_id, named.proof = 'stated',
    CASE named.platform WHEN 'github' THEN github_verified_at END, created_at, member_id;
