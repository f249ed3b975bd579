-- The triggers of community_members. All names are qualified, so that a trigger works with any
-- search_path of the writer (pg_restore sets an empty one).

-- Assign the number, and set the tier, the shortfall and updated_at.
CREATE FUNCTION public.community_members_before_write() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    unedited public.community_members;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.member_id IS NULL OR NEW.member_id = '' THEN
            LOOP  -- past numbers that somebody wrote by hand
                NEW.member_id := '#' || nextval('public.community_member_number');
                EXIT WHEN NOT EXISTS (
                    SELECT 1 FROM public.community_members WHERE member_id = NEW.member_id
                );
            END LOOP;
        END IF;
    ELSIF NEW.member_id = '' THEN
        NEW.member_id := OLD.member_id;  -- from an object that was saved before it learnt its number
    ELSIF NEW.member_id <> OLD.member_id THEN
        RAISE EXCEPTION 'The number of a member never changes.'
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'community_members',
                COLUMN = 'member_id', CONSTRAINT = 'member_number_never_changes';
    END IF;

    IF NEW.reputation_score > 0 THEN
        NEW.reputation_shortfall := 0;
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
        unedited.search_text := NEW.search_text;  -- computed after this trigger, from other columns
        unedited.reputation_shortfall := NEW.reputation_shortfall;
        IF current_setting('community_directory.rolling_up', true) = 'on' THEN
            -- nor are a day's points
            unedited.reputation_score := NEW.reputation_score;
            unedited.reputation_tier := NEW.reputation_tier;
        END IF;
        IF NEW IS DISTINCT FROM unedited THEN
            NEW.updated_at := now();
        END IF;
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER community_members_before_write
    BEFORE INSERT OR UPDATE ON public.community_members
    FOR EACH ROW EXECUTE FUNCTION public.community_members_before_write();

-- Refuse a change of status that is not allowed.
CREATE FUNCTION public.community_members_check_status() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.status, NEW.status) NOT IN (
        ('not_member', 'pending'), ('pending', 'active'), ('pending', 'not_member'),
        ('active', 'suspended'), ('suspended', 'active'), ('banned', 'active')
    ) AND NEW.status <> 'banned' THEN
        RAISE EXCEPTION 'There is no way from % to %.', OLD.status, NEW.status
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'community_members',
                COLUMN = 'status', CONSTRAINT = 'member_status_transition';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER community_members_check_status
    BEFORE UPDATE ON public.community_members
    FOR EACH ROW WHEN (OLD.status <> NEW.status)
    EXECUTE FUNCTION public.community_members_check_status();

-- Refuse an inviter whom the member invited, directly or through others.
CREATE FUNCTION public.community_members_check_inviter() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        -- One such change at a time, or two of them could close a circle that neither sees.
        PERFORM pg_advisory_xact_lock(7166761);
    ELSIF NOT EXISTS (SELECT FROM public.community_members WHERE invited_by = NEW.member_id) THEN
        RETURN NEW;  -- only a row of the same statement can refer to a new number
    END IF;
    IF EXISTS (
        -- UNION, not UNION ALL: it ends in a circle that was there before this rule too
        WITH RECURSIVE lineage AS (
            SELECT NEW.invited_by AS member_id
            UNION
            SELECT member.invited_by
            FROM lineage JOIN public.community_members AS member USING (member_id)
        )
        SELECT FROM lineage WHERE member_id = NEW.member_id
    ) THEN
        RAISE EXCEPTION 'The invitations would run in a circle.'
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'community_members',
                COLUMN = 'invited_by', CONSTRAINT = 'member_invited_by_acyclic';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER community_members_check_inviter
    BEFORE UPDATE ON public.community_members
    FOR EACH ROW WHEN (NEW.invited_by IS DISTINCT FROM OLD.invited_by AND NEW.invited_by IS NOT NULL)
    EXECUTE FUNCTION public.community_members_check_inviter();

CREATE TRIGGER community_members_check_new_inviter
    BEFORE INSERT ON public.community_members
    FOR EACH ROW WHEN (NEW.invited_by IS NOT NULL)
    EXECUTE FUNCTION public.community_members_check_inviter();
