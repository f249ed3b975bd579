-- Bots: they earn nothing, and the lists of people leave them out.

-- Mark a new member whose account is a known bot. From then on the mark says that it is one.
--
-- SECURITY DEFINER lets a login do so that may write members only. The name comes before that of
-- the next trigger, in whose order PostgreSQL runs them.
CREATE FUNCTION public.community_members_before_insert() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM public.directory_bots WHERE telegram_id = NEW.telegram_id;
    NEW.is_bot := NEW.is_bot OR FOUND;
    RETURN NEW;
END $$;

REVOKE ALL ON FUNCTION public.community_members_before_insert() FROM PUBLIC;

CREATE TRIGGER community_members_before_insert
    BEFORE INSERT ON public.community_members
    FOR EACH ROW EXECUTE FUNCTION public.community_members_before_insert();

-- Assign the number, and set the points of bots, the tier, the shortfall and updated_at.
CREATE OR REPLACE FUNCTION public.community_members_before_write() RETURNS trigger
    LANGUAGE plpgsql AS $$
DECLARE
    unedited public.community_members;
    points bigint;
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

    -- The score of a bot is zero. The points that it would have without its highlights are withheld,
    -- and are given back if it turns out to be a person; then roll-ups count the highlights again.
    IF NEW.is_bot OR TG_OP = 'UPDATE' AND OLD.is_bot THEN
        points := NEW.reputation_withheld::bigint + NEW.reputation_score - NEW.reputation_shortfall;
        IF NEW.is_bot AND TG_OP = 'UPDATE' AND NOT OLD.is_bot THEN
            WITH deleted AS (
                DELETE FROM public.member_daily_highlights WHERE member_id = NEW.member_id
                RETURNING reputation_earned
            )
            SELECT points - coalesce(sum(reputation_earned), 0) INTO points FROM deleted;
        END IF;
        points := least(greatest(points, -2147483647), 2147483647);
        NEW.reputation_withheld := CASE WHEN NEW.is_bot THEN points ELSE 0 END;
        NEW.reputation_score := CASE WHEN NEW.is_bot THEN 0 ELSE greatest(points, 0) END;
        NEW.reputation_shortfall := CASE WHEN NEW.is_bot THEN 0 ELSE greatest(-points, 0) END;
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
        unedited.reputation_withheld := NEW.reputation_withheld;
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

-- list the bots; leave them out of counts of events and days, index-only
CREATE INDEX member_bot_idx ON public.community_members (member_id) WHERE is_bot;

-- list members in the panel, newest first, page by page; the key breaks ties
DROP INDEX public.member_created_at_idx;
CREATE INDEX member_created_at_idx ON public.community_members (created_at DESC, id DESC)
    WHERE deleted_at IS NULL AND NOT is_bot;

-- list the leaderboard by keyset pages, where id breaks ties; find the best matches of a text,
-- index-only
DROP INDEX public.member_reputation_score_idx;
CREATE INDEX member_reputation_score_idx
    ON public.community_members (reputation_score DESC, id DESC)
    INCLUDE (status, primary_role, country, deleted_at, search_text, is_bot);
