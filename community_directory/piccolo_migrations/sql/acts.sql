-- Acts: what a manager did to one member or to many at once, as one in the audit log.

-- find the entries of an act
CREATE INDEX IF NOT EXISTS audit_act_idx ON public.directory_audit_log (act_id, id) WHERE act_id IS NOT NULL;
-- find out whether an act was undone
CREATE INDEX IF NOT EXISTS audit_undone_act_idx ON public.directory_audit_log (undone_act_id)
    WHERE undone_act_id IS NOT NULL;

-- Write an entry for a changed row. The arguments of the trigger are the table, its primary key,
-- and the column with the number of the member that a row is about.
--
-- The actor and the reason of an entry are each the first of these that is set:
-- 1. the actor and reason of the statement: the query helpers set community_directory.call to a
--    JSON array of statement_timestamp(), the actor and the reason, in the statement that writes. A
--    value with another timestamp belongs to an earlier statement of the transaction;
-- 2. the actor and reason of the transaction: community_directory.actor and
--    community_directory.reason;
-- 3. for the actor only, db: and the database login.
--
-- The act of an entry is that of the transaction, community_directory.act, and the act that it undoes
-- is community_directory.undone_act. Anything but a UUID counts as none: no setting may keep a row
-- from being written.
--
-- SECURITY DEFINER lets a login that may write members do so without a privilege on the log.
CREATE OR REPLACE FUNCTION public.directory_audit_log_write() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    is_rolling_up CONSTANT boolean := coalesce(
        current_setting('community_directory.rolling_up', true) = 'on', false
    );
    uuid_pattern CONSTANT text := '^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$';
    unlogged record;
    before jsonb;
    after jsonb;
    either jsonb;
    changed jsonb;
    call_text text;
    call jsonb;
BEGIN
    -- Most updates of members change nothing that the log has. To compare the rows takes a third of
    -- the time that it takes to compare them field by field, as JSON.
    IF TG_OP = 'UPDATE' AND TG_ARGV[0] = 'community_members' THEN
        unlogged := OLD;
        unlogged.updated_at := NEW.updated_at;
        unlogged.last_active_at := NEW.last_active_at;
        unlogged.search_text := NEW.search_text;
        unlogged.reputation_shortfall := NEW.reputation_shortfall;
        IF is_rolling_up THEN
            unlogged.reputation_score := NEW.reputation_score;
        END IF;
        IF unlogged IS NOT DISTINCT FROM NEW THEN
            RETURN NULL;
        END IF;
    END IF;

    before := CASE WHEN TG_OP = 'INSERT' THEN '{}' ELSE to_jsonb(OLD) END;
    after := CASE WHEN TG_OP = 'DELETE' THEN '{}' ELSE to_jsonb(NEW) END;
    either := before || after;
    SELECT jsonb_object_agg(field, jsonb_build_array(before -> field, after -> field)) INTO changed
    FROM jsonb_object_keys(either) AS field
    WHERE coalesce(before -> field, 'null') <> coalesce(after -> field, 'null')
        AND field NOT IN ('updated_at', 'last_active_at', 'search_text', 'reputation_shortfall')
        -- The points of a roll-up stand in the highlights, day by day: an entry for each would bury
        -- what people did. A change of the tier is still told.
        AND NOT (field = 'reputation_score' AND is_rolling_up);
    IF changed IS NULL THEN
        RETURN NULL;
    END IF;

    call_text := current_setting('community_directory.call', true);
    IF starts_with(call_text, '[' || to_json(statement_timestamp())::text) THEN
        BEGIN
            call := call_text::jsonb;
        EXCEPTION WHEN OTHERS THEN
            call := NULL;  -- No setting may keep a row from being written.
        END;
    END IF;

    INSERT INTO public.directory_audit_log
        (actor, reason, action, table_name, row_id, member_id, changes, act_id, undone_act_id)
    VALUES (
        left(coalesce(
            nullif(call ->> 1, ''),
            nullif(current_setting('community_directory.actor', true), ''),
            'db:' || session_user
        ), 255),
        coalesce(
            nullif(call ->> 2, ''),
            nullif(current_setting('community_directory.reason', true), '')
        ),
        TG_OP, TG_ARGV[0], (either ->> TG_ARGV[1])::uuid, either ->> TG_ARGV[2], changed,
        substring(current_setting('community_directory.act', true) FROM uuid_pattern)::uuid,
        substring(current_setting('community_directory.undone_act', true) FROM uuid_pattern)::uuid
    );
    RETURN NULL;
END $$;

-- Refuse a change of status that is not allowed, except in a merge: one of the two statuses counts.
-- An approval can be undone: an active member waits again.
CREATE OR REPLACE FUNCTION public.community_members_check_status() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.status, NEW.status) NOT IN (
        ('not_member', 'pending'), ('pending', 'active'), ('pending', 'not_member'),
        ('active', 'pending'), ('active', 'suspended'), ('suspended', 'active'),
        ('banned', 'active')
    ) AND NEW.status <> 'banned'
        AND current_setting('community_directory.merging', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION 'There is no way from % to %.', OLD.status, NEW.status
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'community_members',
                COLUMN = 'status', CONSTRAINT = 'member_status_transition';
    END IF;
    RETURN NEW;
END $$;
