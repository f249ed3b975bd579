-- Notes of managers: each is in the audit log, until the person is erased.

CREATE TRIGGER member_notes_audit
    AFTER INSERT OR UPDATE OR DELETE ON public.member_notes
    FOR EACH ROW EXECUTE FUNCTION
    public.directory_audit_log_write('member_notes', 'id', 'member_id');

-- list the notes about a member, newest first
CREATE INDEX member_note_member_idx
    ON public.member_notes (member_id, written_at, id);

-- Erase the personal data of an erased member from the log, and of everybody merged into it, and add
-- an entry with the actor and the reason of the erasure.
CREATE OR REPLACE FUNCTION public.directory_audit_log_erase(
    erased_member text, erased_by text, erased_for text
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- A test compares these with the classes of the columns in queries/privacy.py.
    personal_fields CONSTANT text[] := ARRAY[
        'telegram_id', 'telegram_username', 'name', 'primary_role', 'organization', 'country',
        'github_username', 'github_verified', 'github_verified_at', 'github_profile_data',
        'registration_fee_tx_hash', 'profile_data', 'invited_telegram_username',
        'account_id', 'username', 'details', 'text'
    ];
    -- The numbers of the member and of those that were merged into it.
    numbers CONSTANT text[] := ARRAY(
        SELECT member_id FROM public.community_members
        WHERE member_id = erased_member OR merged_into = erased_member
    );
    erased_row uuid;
    usernames text[];
    accounts text[];
    account_ids text[];
    actors text[];
    personal_rows uuid[];
    personal_entries bigint[];
BEGIN
    SELECT id INTO erased_row FROM public.community_members
    WHERE member_id = erased_member AND telegram_id ~ '^(erased|banned):' AND NOT EXISTS (
        SELECT FROM public.community_members
        WHERE member_id = ANY(numbers) AND NOT (
            deleted_at IS NOT NULL AND telegram_id ~ '^(erased|banned|merged):'
            AND name = 'Erased member' AND primary_role = 'erased' AND NOT github_verified
            AND num_nonnulls(telegram_username, organization, country, github_username,
                github_verified_at, github_profile_data, registration_fee_tx_hash, profile_data) = 0
        )
    );
    IF NOT FOUND THEN
        RAISE EXCEPTION 'The audit log is append-only for members who are not erased.'
            USING ERRCODE = 'insufficient_privilege', SCHEMA = 'public',
                TABLE = 'directory_audit_log', CONSTRAINT = 'audit_log_append_only';
    END IF;

    -- The log has the last names of the member, too, because the erasure of the row is in it.
    WITH entry AS (
        -- Only the first or the last entry of an account has its platform.
        SELECT table_name, changes, max(
            coalesce(changes -> 'platform' ->> 1, changes -> 'platform' ->> 0)
        ) OVER (PARTITION BY row_id) AS platform
        FROM public.directory_audit_log
        WHERE member_id = ANY(numbers) AND table_name IN ('community_members', 'member_accounts')
    ), known(username, platform, account_id) AS (
        SELECT username, 'telegram', NULL
        FROM entry, jsonb_array_elements_text(changes -> 'telegram_username') AS username
        WHERE table_name = 'community_members'
        UNION
        SELECT username, 'github', NULL
        FROM entry, jsonb_array_elements_text(changes -> 'github_username') AS username
        WHERE table_name = 'community_members'
        UNION
        SELECT NULL, NULL, telegram_id
        FROM entry, jsonb_array_elements_text(changes -> 'telegram_id') AS telegram_id
        WHERE table_name = 'community_members'
        UNION
        SELECT NULL, 'discord', profile ->> 'discord_id'
        FROM entry, jsonb_array_elements(changes -> 'profile_data') AS profile
        WHERE table_name = 'community_members'
        UNION
        SELECT username, platform, NULL
        FROM entry, jsonb_array_elements_text(changes -> 'username') AS username
        WHERE table_name = 'member_accounts'
        UNION
        SELECT NULL, platform, account_id
        FROM entry, jsonb_array_elements_text(changes -> 'account_id') AS account_id
        WHERE table_name = 'member_accounts'
    )
    SELECT
        coalesce(array_agg(DISTINCT lower(username)) FILTER (
            WHERE username IS NOT NULL AND platform = 'telegram'
        ), '{}'),
        -- as bots name them, such as 1001, telegram:1001, discord:123 and discord:ana
        coalesce(array_agg(DISTINCT lower(spelling)) FILTER (WHERE spelling IS NOT NULL), '{}'),
        coalesce(
            array_agg(DISTINCT lower(account_id)) FILTER (WHERE account_id IS NOT NULL), '{}'
        )
    INTO usernames, accounts, account_ids
    FROM known, unnest(ARRAY[
        platform || ':' || coalesce(account_id, username),
        CASE WHEN coalesce(platform, 'telegram') = 'telegram' THEN account_id END,
        CASE WHEN coalesce(platform, 'telegram') = 'telegram' THEN 'telegram:' || account_id END,
        CASE WHEN platform <> 'telegram' THEN 'telegram:' || platform || ':' || account_id END
    ]) AS spelling;
    actors := usernames || ARRAY(SELECT '@' || username FROM unnest(usernames) AS username)
        || accounts;
    -- Users of the panel stay the actors of their changes: on Telegram, anybody can choose the name
    -- of one of them.
    IF to_regclass('public.piccolo_user') IS NOT NULL THEN
        actors := ARRAY(
            SELECT actor FROM unnest(actors) AS actor
            WHERE actor NOT IN (SELECT lower(username) FROM public.piccolo_user)
        );
    END IF;
    -- The rows of the person, their accounts, which may have been another member's, the suggestions
    -- to merge them with another one, the notes about them, the invitations that they accepted, and
    -- those that were for their usernames.
    personal_rows := ARRAY(
        SELECT id FROM public.community_members WHERE member_id = ANY(numbers)
        UNION
        SELECT row_id FROM public.directory_audit_log
        WHERE table_name IN (
            'member_accounts', 'directory_dismissed_merges', 'member_notes'
        ) AND member_id = ANY(numbers)
        UNION
        SELECT row_id FROM public.directory_audit_log,
            jsonb_array_elements_text(changes -> 'account_id') AS account_id
        WHERE table_name = 'member_accounts'
            -- An index finds the entries with such an id, of any platform.
            AND lower((changes -> 'account_id')::text)::jsonb ?| account_ids
            AND lower(concat_ws(':', coalesce(
            changes #>> '{platform,1}', changes #>> '{platform,0}'
        ), account_id)) = ANY(accounts)
        UNION
        SELECT invitation_id FROM public.community_invitations WHERE accepted_by = ANY(numbers)
        UNION
        SELECT row_id FROM public.directory_audit_log,
            jsonb_array_elements_text(changes -> 'invited_telegram_username') AS username
        WHERE table_name = 'community_invitations' AND changes ? 'invited_telegram_username'
            AND lower((changes -> 'invited_telegram_username')::text)::jsonb ?| usernames
            AND lower(username) = ANY(usernames)
    );

    -- A merge that was undone wrote values of the person into the row of the other member, and took
    -- them out again. The entries of one transaction have one time.
    personal_entries := ARRAY(
        SELECT other.id FROM public.directory_audit_log AS own,
            jsonb_array_elements_text(own.changes -> 'merged_into') AS into_id,
            public.directory_audit_log AS other
        WHERE own.member_id = ANY(numbers) AND own.table_name = 'community_members'
            AND other.member_id = into_id AND other.changed_at = own.changed_at
    );

    UPDATE public.directory_audit_log SET
        actor = CASE WHEN lower(actor) = ANY(actors) THEN 'erased' ELSE actor END,
        reason = CASE
            WHEN changes ? 'erased' THEN reason  -- of an earlier erasure
            WHEN member_id = ANY(numbers) OR row_id = ANY(personal_rows)
                OR id = ANY(personal_entries) THEN NULL
            ELSE reason
        END,
        changes = (
            SELECT jsonb_object_agg(field, CASE
                WHEN field = ANY(personal_fields)
                    AND (row_id = ANY(personal_rows) OR id = ANY(personal_entries))
                    THEN '[null, null]'
                ELSE change
            END)
            FROM jsonb_each(changes) AS changed(field, change)
        )
    WHERE member_id = ANY(numbers) OR row_id = ANY(personal_rows) OR id = ANY(personal_entries)
        OR lower(actor) = ANY(actors);

    -- A blank actor violates the constraint of the column.
    INSERT INTO public.directory_audit_log
        (actor, reason, action, table_name, row_id, member_id, changes)
    VALUES (
        CASE WHEN lower(erased_by) = ANY(actors) THEN 'erased'
            ELSE left(nullif(btrim(erased_by), ''), 255) END,
        nullif(btrim(erased_for), ''), 'UPDATE', 'community_members', erased_row, erased_member,
        '{"erased": [false, true]}'
    );
END $$;
