-- Merges: the rows that each merge moved, and triggers that give what is written for a merged
-- member to the other one.
--
-- A merge sets community_directory.merging to on for its transaction: the rules of statuses and of
-- invitations are about what people do, not about two rows of one person.

-- one standing merge of each duplicate
CREATE UNIQUE INDEX merge_standing_idx ON public.directory_merges (duplicate_id)
    WHERE undone_at IS NULL;
-- find the merges into a member
CREATE INDEX merge_into_idx ON public.directory_merges (into_id);

-- The rows of the duplicate that a merge moved to the other member, so that they can move back.
CREATE TABLE public.directory_merged_rows (
    merge_id uuid NOT NULL REFERENCES public.directory_merges (id) ON DELETE CASCADE,
    table_name varchar(63) NOT NULL,
    row_id uuid NOT NULL,
    -- The deleted row, or the values of the changed columns; NULL if only the member changed.
    before jsonb,
    PRIMARY KEY (merge_id, table_name, row_id)
);

-- Delete the events of a duplicate that the other member has, too, and keep them in
-- directory_merged_rows; return their number.
--
-- SECURITY DEFINER lets a login do so that may not delete events in any other way. Without statistics,
-- such as right after an import, PostgreSQL would compare each event with each: nested loops are off.
CREATE FUNCTION public.member_participation_collapse(its_merge uuid) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET enable_nestloop = off AS $$
DECLARE
    duplicate varchar(20);
    other varchar(20);
    collapsed bigint;
BEGIN
    SELECT duplicate_id, into_id INTO duplicate, other FROM public.directory_merges
    WHERE id = its_merge AND undone_at IS NULL;
    WITH deleted AS (
        DELETE FROM public.member_participation AS event
        USING public.member_participation AS kept
        WHERE event.member_id = duplicate AND kept.member_id = other
            AND kept.platform = event.platform AND kept.room_id = event.room_id
            AND kept.source_id = event.source_id AND kept.event_type = event.event_type
        RETURNING event.*
    ), journal AS (
        INSERT INTO public.directory_merged_rows (merge_id, table_name, row_id, before)
        SELECT its_merge, 'member_participation', deleted.id, to_jsonb(deleted) FROM deleted
    )
    SELECT count(*) INTO collapsed FROM deleted;
    RETURN collapsed;
END $$;

REVOKE ALL ON FUNCTION public.member_participation_collapse(uuid) FROM PUBLIC;

-- Return the member who has everything of this one: the number itself, unless it was merged.
--
-- The lock waits for a merge that is about to commit: the foreign key alone would wait for it, too,
-- and then accept the number. SECURITY DEFINER lets a login do so that may only insert.
CREATE FUNCTION public.community_members_follow_merge(number text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    followed text;
BEGIN
    SELECT merged_into INTO followed FROM public.community_members WHERE member_id = number
    FOR KEY SHARE;
    RETURN coalesce(followed, number);
END $$;

REVOKE ALL ON FUNCTION public.community_members_follow_merge(text) FROM PUBLIC;

-- Give new events of merged members to the other ones. An event that the other one has, too, is not
-- stored again.
--
-- The foreign keys of a statement's rows are checked before this trigger runs: they have waited for
-- a merge that was about to commit, and the trigger sees it. A moved event is checked again.
CREATE FUNCTION public.member_participation_follow_merge() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    stray record;
BEGIN
    IF NOT EXISTS (SELECT FROM public.community_members WHERE merged_into IS NOT NULL) THEN
        RETURN NULL;
    END IF;
    FOR stray IN
        -- OFFSET 0 looks up each member: a join could read all merged members for each event.
        SELECT added.id FROM added, LATERAL (
            SELECT FROM public.community_members AS member
            WHERE member.member_id = added.member_id AND merged_into IS NOT NULL OFFSET 0
        ) AS merged
    LOOP
        LOOP
            DELETE FROM public.member_participation AS event
            USING public.community_members AS member, public.member_participation AS kept
            WHERE event.id = stray.id AND member.member_id = event.member_id
                AND kept.member_id = member.merged_into AND kept.platform = event.platform
                AND kept.room_id = event.room_id AND kept.source_id = event.source_id
                AND kept.event_type = event.event_type;
            UPDATE public.member_participation AS event SET member_id = member.merged_into
            FROM public.community_members AS member
            WHERE event.id = stray.id AND member.member_id = event.member_id
                AND merged_into IS NOT NULL;
            EXIT WHEN NOT FOUND;
        END LOOP;
    END LOOP;
    RETURN NULL;
END $$;

REVOKE ALL ON FUNCTION public.member_participation_follow_merge() FROM PUBLIC;

CREATE TRIGGER member_participation_follow_merge
    AFTER INSERT ON public.member_participation REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION public.member_participation_follow_merge();

-- Give a new invitation of a merged member, or one that a merged member accepts, to the other one.
CREATE FUNCTION public.community_invitations_follow_merge() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.created_by := public.community_members_follow_merge(NEW.created_by);
    IF NEW.accepted_by IS NOT NULL THEN
        NEW.accepted_by := public.community_members_follow_merge(NEW.accepted_by);
    END IF;
    RETURN NEW;
END $$;

REVOKE ALL ON FUNCTION public.community_invitations_follow_merge() FROM PUBLIC;

CREATE TRIGGER community_invitations_follow_merge
    BEFORE INSERT OR UPDATE OF created_by, accepted_by ON public.community_invitations
    FOR EACH ROW EXECUTE FUNCTION public.community_invitations_follow_merge();

-- Give a new child of a merged member to the other one. The name comes before that of the trigger
-- that looks for circles, in whose order PostgreSQL runs them.
CREATE FUNCTION public.community_members_before_invited() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.invited_by := public.community_members_follow_merge(NEW.invited_by);
    RETURN NEW;
END $$;

REVOKE ALL ON FUNCTION public.community_members_before_invited() FROM PUBLIC;

CREATE TRIGGER community_members_before_invited
    BEFORE INSERT ON public.community_members
    FOR EACH ROW WHEN (NEW.invited_by IS NOT NULL)
    EXECUTE FUNCTION public.community_members_before_invited();

CREATE TRIGGER community_members_before_other_inviter
    BEFORE UPDATE ON public.community_members
    FOR EACH ROW WHEN (NEW.invited_by IS NOT NULL AND NEW.invited_by IS DISTINCT FROM OLD.invited_by)
    EXECUTE FUNCTION public.community_members_before_invited();

-- Refuse a merge into a member who was merged into another one, and of one into whom others were:
-- one step leads from each freed number to the member who has everything.
CREATE FUNCTION public.community_members_check_merge() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF public.community_members_follow_merge(NEW.merged_into) <> NEW.merged_into
        OR EXISTS (SELECT FROM public.community_members WHERE merged_into = NEW.member_id) THEN
        RAISE EXCEPTION 'A merged number would lead to another merged number.'
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'community_members',
                COLUMN = 'merged_into', CONSTRAINT = 'member_merged_flat';
    END IF;
    RETURN NEW;
END $$;

REVOKE ALL ON FUNCTION public.community_members_check_merge() FROM PUBLIC;

CREATE TRIGGER community_members_check_merge
    BEFORE UPDATE ON public.community_members
    FOR EACH ROW WHEN (
        NEW.merged_into IS NOT NULL AND NEW.merged_into IS DISTINCT FROM OLD.merged_into
    )
    EXECUTE FUNCTION public.community_members_check_merge();

CREATE TRIGGER community_members_check_new_merge
    BEFORE INSERT ON public.community_members
    FOR EACH ROW WHEN (NEW.merged_into IS NOT NULL)
    EXECUTE FUNCTION public.community_members_check_merge();

-- Refuse a change of status that is not allowed, except in a merge: one of the two statuses counts.
CREATE OR REPLACE FUNCTION public.community_members_check_status() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.status, NEW.status) NOT IN (
        ('not_member', 'pending'), ('pending', 'active'), ('pending', 'not_member'),
        ('active', 'suspended'), ('suspended', 'active'), ('banned', 'active')
    ) AND NEW.status <> 'banned'
        AND current_setting('community_directory.merging', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION 'There is no way from % to %.', OLD.status, NEW.status
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'community_members',
                COLUMN = 'status', CONSTRAINT = 'member_status_transition';
    END IF;
    RETURN NEW;
END $$;

-- Refuse to change an invitation that was accepted or cancelled, except in a merge: nobody invites
-- themselves, and the other member has accepted what the duplicate accepted.
CREATE OR REPLACE FUNCTION public.community_invitations_check_status() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('community_directory.merging', true) = 'on' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'The invitation is % and stays so.', OLD.status
        USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'community_invitations',
            COLUMN = 'status', CONSTRAINT = 'invitation_status_transition';
END $$;
