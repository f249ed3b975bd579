-- Accounts: the columns of community_members name some of them, and triggers keep these in
-- member_accounts, whoever writes.

-- Return the accounts that a member's columns name. Those of an erased or merged member name none.
--
-- telegram_id is an account of Telegram, or one of another platform with the platform in front. An
-- account is named once, with the best proof. The function has no search_path of its own, because
-- PostgreSQL inlines only such functions, and the triggers below are twice as fast with it inlined.
CREATE FUNCTION public.member_accounts_named(member public.community_members)
    RETURNS TABLE (source text, platform text, account_id text, username text, proof text)
    LANGUAGE sql IMMUTABLE AS $$
    SELECT named.source, named.platform, named.account_id, named.username, named.proof
    FROM (VALUES
        (
            'telegram_id',
            CASE WHEN member.telegram_id ~ '^[1-9]' THEN 'telegram'
                ELSE split_part(member.telegram_id, ':', 1) END,
            CASE WHEN member.telegram_id ~ '^[1-9]' THEN member.telegram_id::text
                WHEN member.telegram_id ~ '^(github|elizaos):'
                    THEN lower(substring(member.telegram_id FROM ':(.*)'))
                ELSE substring(member.telegram_id FROM ':(.*)') END,
            CASE WHEN member.telegram_id ~ '^[1-9]' THEN member.telegram_username::text END,
            'platform'
        ),
        (
            'github_username',
            'github',
            CASE WHEN member.github_verified THEN coalesce(
                substring(member.github_profile_data ->> 'id' FROM '^[1-9][0-9]{0,19}$'),
                substring(member.github_profile_data ->> 'databaseId' FROM '^[1-9][0-9]{0,19}$'),
                lower(member.github_username)
            ) END,
            member.github_username::text,
            'platform'
        ),
        ('profile_data', 'discord', member.profile_data ->> 'discord_id', NULL, 'stated')
    ) AS named (source, platform, account_id, username, proof)
    WHERE member.telegram_id !~ '^(banned|erased|merged):'
        AND named.account_id IS NOT NULL
        AND (
            named.source = 'telegram_id'
            OR lower(member.telegram_id) <> named.platform || ':' || named.account_id
        )
$$;

-- Report each member whose telegram_id can't be an account of its platform.
DO $$
DECLARE
    numbers text;
BEGIN
    SELECT string_agg(member_id, ', ') INTO numbers FROM (
        SELECT member_id
        FROM public.community_members AS member, public.member_accounts_named(member) AS named
        WHERE named.source = 'telegram_id' AND (
            length(named.platform) > 50
            OR named.platform = 'github' AND named.account_id !~ '^[a-z0-9][a-z0-9_-]{0,38}$'
            OR named.platform = 'elizaos' AND named.account_id
                !~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'
        )
        LIMIT 10
    ) AS broken;
    IF numbers IS NOT NULL THEN
        RAISE EXCEPTION 'some rows break the new rules, and must be changed first; %',
            'community_members.telegram_id (member_account_id_check): ' || numbers
            USING ERRCODE = 'check_violation';
    END IF;
END $$;

-- Fill in the accounts of all members, before a trigger would log each of them. An account that the
-- columns of several members name belongs to the first one who proved it.
INSERT INTO public.member_accounts
    (id, platform, account_id, username, member_id, proof, proved_at, linked_at)
SELECT DISTINCT ON (named.platform, named.account_id)
    gen_random_uuid(), named.platform, named.account_id, named.username, member.member_id,
    named.proof,
    CASE WHEN named.proof <> 'stated' THEN
        CASE named.source WHEN 'github_username' THEN github_verified_at ELSE created_at END
    END,
    now()
FROM public.community_members AS member, public.member_accounts_named(member) AS named
ORDER BY named.platform, named.account_id, named.proof = 'stated',
    CASE named.source WHEN 'github_username' THEN github_verified_at ELSE created_at END, member_id;

-- Delete the accounts that a member's columns name no longer.
--
-- A new account in telegram_id replaces one of the same platform; an account of another platform
-- stays. An account that was only stated stays if it has been proved since. An erased member keeps
-- none, and a merged member leaves them to the other one.
--
-- It runs before the rows are written, and the next trigger after all rows of the statement are, so
-- that one statement can pass an account from one member to another. SECURITY DEFINER lets a login
-- do so that may write members only.
CREATE FUNCTION public.community_members_release_accounts() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.telegram_id ~ '^(banned|erased):' THEN
        DELETE FROM public.member_accounts WHERE member_id = OLD.member_id;
    ELSIF NEW.merged_into IS NULL THEN
        DELETE FROM public.member_accounts AS account
        USING public.member_accounts_named(OLD) AS earlier
        WHERE account.platform = earlier.platform AND account.account_id = earlier.account_id
            AND account.member_id = OLD.member_id
            AND (earlier.proof <> 'stated' OR account.proof = 'stated')
            AND (earlier.source <> 'telegram_id' OR EXISTS (
                SELECT FROM public.member_accounts_named(NEW) AS present
                WHERE present.source = 'telegram_id' AND present.platform = earlier.platform
            ))
            AND NOT EXISTS (
                SELECT FROM public.member_accounts_named(NEW) AS present
                WHERE present.platform = earlier.platform
                    AND present.account_id = earlier.account_id
                    AND (present.proof <> 'stated' OR earlier.source <> 'telegram_id')
            );
    END IF;
    RETURN NEW;
END $$;

-- Store the accounts that a member's columns name.
--
-- An account that is only stated passes to whoever proves it. An account of another member is
-- refused, unless the columns named it before: then the row can still be edited.
CREATE FUNCTION public.community_members_name_accounts() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO public.member_accounts AS account
        (id, platform, account_id, username, member_id, proof, proved_at)
    SELECT gen_random_uuid(), named.platform, named.account_id, named.username, NEW.member_id,
        named.proof, CASE WHEN named.proof <> 'stated' THEN now() END
    FROM public.member_accounts_named(NEW) AS named
    ON CONFLICT (platform, account_id) DO UPDATE SET
        member_id = EXCLUDED.member_id,
        -- No column has the usernames of Discord.
        username = CASE WHEN EXCLUDED.platform = 'telegram' THEN EXCLUDED.username
            ELSE coalesce(EXCLUDED.username, account.username) END,
        proof = CASE account.proof WHEN 'stated' THEN EXCLUDED.proof ELSE account.proof END,
        proved_at = coalesce(account.proved_at, EXCLUDED.proved_at)
    WHERE account.member_id = EXCLUDED.member_id
        OR account.proof = 'stated' AND EXCLUDED.proof <> 'stated';
    IF EXISTS (
        SELECT FROM public.member_accounts_named(NEW) AS named
        WHERE named.proof <> 'stated'
            AND NOT EXISTS (
                SELECT FROM public.member_accounts AS account
                WHERE account.platform = named.platform AND account.account_id = named.account_id
                    AND account.member_id = NEW.member_id
            )
            AND NOT EXISTS (
                SELECT FROM public.member_accounts_named(OLD) AS earlier
                WHERE earlier.platform = named.platform
                    AND earlier.account_id = named.account_id AND earlier.proof <> 'stated'
            )
    ) THEN
        RAISE EXCEPTION 'The account belongs to another member.'
            USING ERRCODE = 'unique_violation', SCHEMA = 'public', TABLE = 'member_accounts',
                COLUMN = 'account_id', CONSTRAINT = 'member_account_idx';
    END IF;
    RETURN NULL;
END $$;

REVOKE ALL ON FUNCTION public.community_members_release_accounts(),
    public.community_members_name_accounts() FROM PUBLIC;

CREATE TRIGGER community_members_release_accounts
    BEFORE UPDATE OF telegram_id, github_username, github_verified, github_profile_data,
        profile_data ON public.community_members
    FOR EACH ROW WHEN (
        (OLD.telegram_id, OLD.github_username, OLD.github_verified, OLD.github_profile_data,
            OLD.profile_data)
        IS DISTINCT FROM (NEW.telegram_id, NEW.github_username, NEW.github_verified,
            NEW.github_profile_data, NEW.profile_data)
    )
    EXECUTE FUNCTION public.community_members_release_accounts();

CREATE TRIGGER community_members_name_accounts
    AFTER INSERT ON public.community_members
    FOR EACH ROW EXECUTE FUNCTION public.community_members_name_accounts();

CREATE TRIGGER community_members_name_other_accounts
    AFTER UPDATE OF telegram_id, telegram_username, github_username, github_verified,
        github_profile_data, profile_data ON public.community_members
    FOR EACH ROW WHEN (
        (OLD.telegram_id, OLD.telegram_username, OLD.github_username, OLD.github_verified,
            OLD.github_profile_data, OLD.profile_data)
        IS DISTINCT FROM (NEW.telegram_id, NEW.telegram_username, NEW.github_username,
            NEW.github_verified, NEW.github_profile_data, NEW.profile_data)
    )
    EXECUTE FUNCTION public.community_members_name_accounts();

-- Refuse to take away an account that the member's columns name, and give an account of a merged
-- member to the other one.
--
-- An account that is only stated may pass to another member. The lock is that of the check of the
-- foreign key, but earlier: a merge at the same time waits, or this waits for it and sees the merge.
CREATE FUNCTION public.member_accounts_before_write() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    other varchar(20);
BEGIN
    IF TG_OP <> 'INSERT' AND EXISTS (
        SELECT FROM public.community_members AS member,
            public.member_accounts_named(member) AS named
        WHERE member.member_id = OLD.member_id
            AND named.platform = OLD.platform AND named.account_id = OLD.account_id
            AND (named.proof <> 'stated' OR TG_OP = 'DELETE')
    ) AND (
        TG_OP = 'DELETE'
        OR (NEW.platform, NEW.account_id, NEW.member_id)
            IS DISTINCT FROM (OLD.platform, OLD.account_id, OLD.member_id)
        OR NEW.proof = 'stated'
    ) THEN
        RAISE EXCEPTION 'A column of the member names the account.'
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'member_accounts',
                COLUMN = 'account_id', CONSTRAINT = 'member_account_in_column';
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    -- The other one may be merged, too, while this waits for the lock.
    FOR step IN 1..3 LOOP
        SELECT merged_into INTO other FROM public.community_members
        WHERE member_id = NEW.member_id FOR KEY SHARE;
        EXIT WHEN other IS NULL;
        NEW.member_id := other;
    END LOOP;
    RETURN NEW;
END $$;

REVOKE ALL ON FUNCTION public.member_accounts_before_write() FROM PUBLIC;

-- The triggers of community_members obey the rule themselves.
CREATE TRIGGER member_accounts_before_write
    BEFORE INSERT OR UPDATE OF platform, account_id, member_id, proof OR DELETE
    ON public.member_accounts
    FOR EACH ROW WHEN (pg_trigger_depth() = 0)
    EXECUTE FUNCTION public.member_accounts_before_write();

-- What those triggers write is in the log as the change of the member's columns.
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
