-- Reverse bots.sql.

DROP TRIGGER community_members_before_insert ON public.community_members;
DROP FUNCTION public.community_members_before_insert();
DROP INDEX public.member_bot_idx;
DROP INDEX public.member_created_at_idx;
CREATE INDEX member_created_at_idx ON public.community_members (created_at DESC, id DESC)
    WHERE deleted_at IS NULL;
DROP INDEX public.member_reputation_score_idx;
CREATE INDEX member_reputation_score_idx
    ON public.community_members (reputation_score DESC, id DESC)
    INCLUDE (status, primary_role, country, deleted_at, search_text);

-- Assign the number, and set the tier, the shortfall and updated_at.
CREATE OR REPLACE FUNCTION public.community_members_before_write() RETURNS trigger LANGUAGE plpgsql AS $$
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

