-- Reverse audit_2026_11_29.sql: the function of audit_2026_11_28.sql.
CREATE OR REPLACE FUNCTION public.directory_audit_log_erase(
    erased_member text, erased_by text, erased_for text
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- A test compares these with the classes of the columns in queries/privacy.py.
    personal_fields CONSTANT text[] := ARRAY[
        'telegram_id', 'telegram_username', 'name', 'primary_role', 'organization', 'country',
        'github_username', 'github_verified', 'github_verified_at', 'github_profile_data',
        'registration_fee_tx_hash', 'profile_data', 'invited_telegram_username'
    ];
    erased_row uuid;
    usernames text[];
    actors text[];
    invitations uuid[];
BEGIN
    SELECT id INTO erased_row FROM public.community_members
    WHERE member_id = erased_member AND deleted_at IS NOT NULL
        AND (telegram_id LIKE 'erased:%' OR telegram_id LIKE 'banned:%')
        AND name = 'Erased member' AND primary_role = 'erased' AND NOT github_verified
        AND num_nonnulls(telegram_username, organization, country, github_username,
            github_verified_at, github_profile_data, registration_fee_tx_hash, profile_data) = 0;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'The audit log is append-only for members who are not erased.'
            USING ERRCODE = 'insufficient_privilege', SCHEMA = 'public',
                TABLE = 'directory_audit_log', CONSTRAINT = 'audit_log_append_only';
    END IF;

    -- The log has the last names of the member, too, because the erasure of the row is in it.
    usernames := ARRAY(
        SELECT DISTINCT lower(username) FROM public.directory_audit_log,
            jsonb_array_elements_text(changes -> 'telegram_username') AS username
        WHERE member_id = erased_member AND table_name = 'community_members'
            AND username IS NOT NULL
    );
    actors := usernames || ARRAY(SELECT '@' || username FROM unnest(usernames) AS username)
        || ARRAY(
            SELECT DISTINCT prefix || telegram_id FROM public.directory_audit_log,
                jsonb_array_elements_text(changes -> 'telegram_id') AS telegram_id,
                unnest(ARRAY['', 'telegram:']) AS prefix
            WHERE member_id = erased_member AND table_name = 'community_members'
                AND telegram_id IS NOT NULL
        );
    -- Users of the panel stay the actors of their changes: on Telegram, anybody can choose the name
    -- of one of them.
    IF to_regclass('public.piccolo_user') IS NOT NULL THEN
        actors := ARRAY(
            SELECT actor FROM unnest(actors) AS actor
            WHERE actor NOT IN (SELECT lower(username) FROM public.piccolo_user)
        );
    END IF;
    -- The invitations that the member accepted, and those that were for their usernames.
    invitations := ARRAY(
        SELECT invitation_id FROM public.community_invitations WHERE accepted_by = erased_member
        UNION
        SELECT row_id FROM public.directory_audit_log,
            jsonb_array_elements_text(changes -> 'invited_telegram_username') AS username
        WHERE table_name = 'community_invitations' AND lower(username) = ANY(usernames)
    );

    UPDATE public.directory_audit_log SET
        actor = CASE WHEN lower(actor) = ANY(actors) THEN 'erased' ELSE actor END,
        reason = CASE
            WHEN changes ? 'erased' THEN reason  -- of an earlier erasure
            WHEN member_id = erased_member OR row_id = ANY(invitations) THEN NULL
            ELSE reason
        END,
        changes = (
            SELECT jsonb_object_agg(field, CASE
                WHEN field = ANY(personal_fields)
                    AND (row_id = erased_row OR row_id = ANY(invitations)) THEN '[null, null]'
                ELSE change
            END)
            FROM jsonb_each(changes) AS changed(field, change)
        )
    WHERE member_id = erased_member OR row_id = ANY(invitations) OR lower(actor) = ANY(actors);

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
