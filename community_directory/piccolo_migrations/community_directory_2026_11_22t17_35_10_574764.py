from community_directory.sql_migration import sql_migration

ID = "2026-11-22T17:35:10:574764"
VERSION = "1.38.0"
DESCRIPTION = "Numbers, tiers, updated_at, audit log and indexes"

# What Piccolo's table classes can't say. Names are qualified, so that the triggers work whatever the writer's
# search_path is (pg_restore empties it).
FORWARDS = r"""
CREATE SEQUENCE public.community_member_number AS bigint;

CREATE FUNCTION public.community_members_before_write() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    unedited public.community_members;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.member_id IS NULL OR NEW.member_id = '' THEN
            LOOP  -- past numbers that somebody wrote by hand
                NEW.member_id := '#' || nextval('public.community_member_number');
                EXIT WHEN NOT EXISTS (SELECT 1 FROM public.community_members WHERE member_id = NEW.member_id);
            END LOOP;
        END IF;
    ELSIF NEW.member_id = '' THEN
        NEW.member_id := OLD.member_id;  -- from an object that was saved before it learnt its number
    ELSIF NEW.member_id <> OLD.member_id THEN
        RAISE EXCEPTION 'The number of a member never changes.'
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'community_members', COLUMN = 'member_id',
                CONSTRAINT = 'member_number_never_changes';
    END IF;

    NEW.reputation_tier := CASE
        WHEN NEW.reputation_score <= 100 THEN 'Novice'
        WHEN NEW.reputation_score <= 500 THEN 'Contributor'
        WHEN NEW.reputation_score <= 1000 THEN 'Active Developer'
        WHEN NEW.reputation_score <= 2500 THEN 'Experienced'
        ELSE 'Expert'
    END;

    IF TG_OP = 'UPDATE' THEN
        unedited := OLD;
        unedited.last_active_at := NEW.last_active_at;  -- being active is no edit
        IF NEW IS DISTINCT FROM unedited THEN
            NEW.updated_at := now();
        END IF;
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER community_members_before_write BEFORE INSERT OR UPDATE ON public.community_members
    FOR EACH ROW EXECUTE FUNCTION public.community_members_before_write();

CREATE FUNCTION public.community_invitations_before_write() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END $$;

CREATE TRIGGER community_invitations_before_write BEFORE UPDATE ON public.community_invitations
    FOR EACH ROW WHEN (OLD IS DISTINCT FROM NEW)
    EXECUTE FUNCTION public.community_invitations_before_write();

-- SECURITY DEFINER: who may write members needs no right to the log.
CREATE FUNCTION public.directory_audit_log_write() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before jsonb := CASE WHEN TG_OP = 'INSERT' THEN '{}' ELSE to_jsonb(OLD) END;
    after jsonb := CASE WHEN TG_OP = 'DELETE' THEN '{}' ELSE to_jsonb(NEW) END;
    changed jsonb;
    -- the trigger's arguments: the table, its primary key, and the column of the member that a row is about
    either jsonb := before || after;
BEGIN
    SELECT jsonb_object_agg(field, jsonb_build_array(before -> field, after -> field)) INTO changed
    FROM jsonb_object_keys(either) AS field
    WHERE coalesce(before -> field, 'null') <> coalesce(after -> field, 'null')
        AND field NOT IN ('updated_at', 'last_active_at');

    IF changed IS NOT NULL THEN
        INSERT INTO public.directory_audit_log (actor, reason, action, table_name, row_id, member_id, changes)
        VALUES (
            left(coalesce(nullif(current_setting('community_directory.actor', true), ''), 'db:' || session_user), 255),
            nullif(current_setting('community_directory.reason', true), ''),
            TG_OP, TG_ARGV[0], (either ->> TG_ARGV[1])::uuid, either ->> TG_ARGV[2], changed
        );
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER community_members_audit AFTER INSERT OR UPDATE OR DELETE ON public.community_members
    FOR EACH ROW EXECUTE FUNCTION public.directory_audit_log_write('community_members', 'id', 'member_id');

CREATE TRIGGER community_invitations_audit AFTER INSERT OR UPDATE OR DELETE ON public.community_invitations
    FOR EACH ROW EXECUTE FUNCTION
    public.directory_audit_log_write('community_invitations', 'invitation_id', 'created_by');

CREATE FUNCTION public.directory_audit_log_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE') THEN
        RAISE EXCEPTION 'The audit log is append-only.'
            USING ERRCODE = 'insufficient_privilege', SCHEMA = 'public', TABLE = 'directory_audit_log',
                CONSTRAINT = 'audit_log_append_only';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER directory_audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON public.directory_audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION public.directory_audit_log_append_only();

-- a member by GitHub account
CREATE INDEX member_github_username_idx ON public.community_members (github_username);
-- newcomers to review, newest first
CREATE INDEX member_status_idx ON public.community_members (status, created_at DESC);
-- the leaderboard; id breaks ties, for keyset pages
CREATE INDEX member_reputation_score_idx ON public.community_members (reputation_score DESC, id DESC);
-- whom a member invited: one step of the invitation tree, without a visit to the table
CREATE INDEX member_invited_by_idx ON public.community_members (invited_by) INCLUDE (member_id);
-- open invitations, newest first
CREATE INDEX invitation_status_idx ON public.community_invitations (status, created_at DESC);
-- the invitations of a member, newest first
CREATE INDEX invitation_created_by_idx ON public.community_invitations (created_by, created_at DESC);
-- the invitation that brought a member
CREATE INDEX invitation_accepted_by_idx ON public.community_invitations (accepted_by) WHERE accepted_by IS NOT NULL;
-- what is overdue, whatever the number of settled ones
CREATE INDEX invitation_pending_expires_at_idx ON public.community_invitations (expires_at) WHERE status = 'pending';
-- the links that lead to an entity
CREATE INDEX relationship_entity_b_idx ON public.member_relationships (entity_id_b);
-- all links of a type
CREATE INDEX relationship_type_idx ON public.member_relationships (relationship_type);
-- a member's last days, by type, without a visit to the table
CREATE INDEX participation_member_id_idx ON public.member_participation (member_id, occurred_at DESC)
    INCLUDE (event_type);
-- all events of a rare type
CREATE INDEX participation_event_type_idx ON public.member_participation (event_type);
-- the events of a day, and the newest ones
CREATE INDEX participation_occurred_at_idx ON public.member_participation (occurred_at);
-- the history of a member, newest first
CREATE INDEX audit_member_id_idx ON public.directory_audit_log (member_id, id DESC);
"""

BACKWARDS = """
DROP INDEX public.member_github_username_idx, public.member_status_idx, public.member_reputation_score_idx,
    public.member_invited_by_idx, public.invitation_status_idx, public.invitation_created_by_idx,
    public.invitation_accepted_by_idx, public.invitation_pending_expires_at_idx, public.relationship_entity_b_idx,
    public.relationship_type_idx, public.participation_member_id_idx, public.participation_event_type_idx,
    public.participation_occurred_at_idx, public.audit_member_id_idx;
DROP TRIGGER directory_audit_log_append_only ON public.directory_audit_log;
DROP TRIGGER community_invitations_audit ON public.community_invitations;
DROP TRIGGER community_members_audit ON public.community_members;
DROP TRIGGER community_invitations_before_write ON public.community_invitations;
DROP TRIGGER community_members_before_write ON public.community_members;
DROP FUNCTION public.directory_audit_log_append_only(), public.directory_audit_log_write(),
    public.community_invitations_before_write(), public.community_members_before_write();
DROP SEQUENCE public.community_member_number;
"""


async def forwards():
    return sql_migration(ID, DESCRIPTION, forwards=FORWARDS, backwards=BACKWARDS)
