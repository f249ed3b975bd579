-- Change the tables of the migrations before version 0.1.0 into those of the present migrations.
-- The script runs in one transaction with the migrations: completely, or not at all.

-- A program that records an event locks the tables in the same order.
LOCK TABLE public.member_participation, public.community_members, public.community_invitations,
    public.member_daily_highlights, public.member_relationships, public.directory_audit_log
    IN ACCESS EXCLUSIVE MODE;

SELECT set_config('community_directory.actor', 'migration', true),
    set_config('community_directory.reason', 'A date outside the years 2000 to 2199', true);

-- Repair the times that some readers can't represent, without changing their meaning. A time before
-- the years 2000 to 2199 becomes the first time of these years, and a time after them becomes the
-- present time. An invitation that never expires stays open as long as possible.
ALTER TABLE public.community_invitations DISABLE TRIGGER community_invitations_check_status;
DO $$
DECLARE
    repaired record;
BEGIN
    FOR repaired IN
        SELECT * FROM (VALUES
            ('community_members', 'github_verified_at', 'now'),
            ('community_members', 'created_at', 'now'),
            ('community_members', 'updated_at', 'now'),
            ('community_members', 'last_active_at', 'now'),
            ('community_members', 'deleted_at', 'now'),
            ('community_invitations', 'expires_at', '2199-12-31 00:00Z'),
            ('community_invitations', 'accepted_at', 'now'),
            ('community_invitations', 'created_at', 'now'),
            ('community_invitations', 'updated_at', 'now'),
            ('member_relationships', 'created_at', 'now'),
            ('member_daily_highlights', 'created_at', 'now'),
            ('directory_audit_log', 'changed_at', 'now')
        ) AS columns(in_table, name, latest)
    LOOP
        EXECUTE format(
            $update$
            UPDATE public.%1$I SET %2$I = CASE
                WHEN %2$I < '2000-01-01 00:00Z' THEN timestamptz '2000-01-01 00:00Z' ELSE %3$L
            END
            WHERE %2$I < '2000-01-01 00:00Z' OR %2$I >= '2200-01-01 00:00Z'
            $update$,
            repaired.in_table, repaired.name, repaired.latest
        );
    END LOOP;
END $$;

-- Delete from the log the values that some readers can't parse; the names of the changed fields
-- stay. A value lies in a pair, so the limit of 100 objects and arrays is 101 levels here.
CREATE FUNCTION pg_temp.is_unreadable(value jsonb) RETURNS boolean LANGUAGE sql AS $$
    SELECT jsonb_path_exists(value,
            'strict $.**{101} ? (@.type() == "object" || @.type() == "array")')
        OR jsonb_path_exists(value,
            'strict $.** ? (@ > 1.7976931348623158e308 || @ < -1.7976931348623158e308)')
$$;
UPDATE public.directory_audit_log SET changes = (
    SELECT jsonb_object_agg(
        field, CASE WHEN pg_temp.is_unreadable(change) THEN '[null, null]' ELSE change END
    )
    FROM jsonb_each(changes) AS changed(field, change)
)
WHERE pg_temp.is_unreadable(changes);
DROP FUNCTION pg_temp.is_unreadable(jsonb);

-- Add the new constraints. A row that still violates one is reported with table, column and key.
DO $$
DECLARE
    added record;
    keys text;
    problems text := '';
BEGIN
    FOR added IN
        SELECT in_table, key, name,
            concat_ws('_', prefix, name, replace(kind, 'day range', 'range'), 'check') AS rule,
            replace(condition, 'VALUE', name) AS condition
        FROM (VALUES
            ('community_members', 'id', 'member', 'range',
                '{github_verified_at, created_at, updated_at, last_active_at, deleted_at}'::text[]),
            ('community_members', 'id', 'member', 'readable', '{github_profile_data, profile_data}'),
            ('community_invitations', 'invitation_id', 'invitation', 'range',
                '{expires_at, accepted_at, created_at, updated_at}'),
            ('member_relationships', 'id', 'relationship', 'readable', '{content}'),
            ('member_relationships', 'id', 'relationship', 'range', '{created_at}'),
            ('member_participation', 'id', 'participation', 'readable', '{event_metadata}'),
            ('member_participation', 'id', 'participation', 'range', '{occurred_at}'),
            ('member_daily_highlights', 'id', NULL, 'day range', '{highlight_date}'),
            ('member_daily_highlights', 'id', 'highlight', 'range', '{created_at}'),
            ('directory_audit_log', 'id', 'audit', 'range', '{changed_at}')
        ) AS rules(in_table, key, prefix, kind, names)
        CROSS JOIN unnest(names) AS name
        JOIN (VALUES
            ('day range', $c$VALUE >= '1999-12-31' AND VALUE <= '2200-01-01'$c$),
            ('range', $c$VALUE >= '2000-01-01 00:00Z' AND VALUE < '2200-01-01 00:00Z'$c$),
            ('readable', $c$octet_length(VALUE::text) < 200 OR NOT (
                jsonb_path_exists(VALUE,
                    'strict $.**{100} ? (@.type() == "object" || @.type() == "array")')
                OR jsonb_path_exists(VALUE,
                    'strict $.** ? (@ > 1.7976931348623158e308 || @ < -1.7976931348623158e308)')
            )$c$)
        ) AS kinds(kind, condition) USING (kind)
    LOOP
        EXECUTE format(
            $select$
            SELECT string_agg(key, ', ') FROM (
                SELECT %I::text AS key FROM public.%I WHERE NOT (%s) LIMIT 10
            ) AS broken
            $select$,
            added.key, added.in_table, added.condition
        ) INTO keys;
        IF keys IS NOT NULL THEN
            problems := problems
                || format('; %s.%s (%s): %s', added.in_table, added.name, added.rule, keys);
        ELSE
            EXECUTE format(
                'ALTER TABLE public.%I ADD CONSTRAINT %I CHECK (%s)',
                added.in_table, added.rule, added.condition
            );
        END IF;
    END LOOP;
    IF problems <> '' THEN
        RAISE EXCEPTION 'some rows break the new rules, and must be changed first%', problems
            USING ERRCODE = 'check_violation';
    END IF;
END $$;

-- Create these constraints again: PostgreSQL words them differently after a dump and restore.
ALTER TABLE public.community_members
    DROP CONSTRAINT member_status_check,
    DROP CONSTRAINT member_reputation_tier_check,
    ADD CONSTRAINT member_status_check
        CHECK (status IN ('not_member', 'pending', 'active', 'suspended', 'banned')),
    ADD CONSTRAINT member_reputation_tier_check CHECK (reputation_tier IN
        ('Novice', 'Contributor', 'Active Developer', 'Experienced', 'Expert'));
ALTER TABLE public.community_invitations
    DROP CONSTRAINT invitation_status_check,
    ADD CONSTRAINT invitation_status_check
        CHECK (status IN ('pending', 'accepted', 'expired', 'cancelled'));
ALTER TABLE public.directory_audit_log
    DROP CONSTRAINT audit_action_check,
    ADD CONSTRAINT audit_action_check CHECK (action IN ('INSERT', 'UPDATE', 'DELETE'));
