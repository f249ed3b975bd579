-- Reverse archive.sql. The daily counts of archived days stay; a roll-up of such a day would delete
-- them.

-- Give new events of merged members to the other ones. An event that the other one has, too, is not
-- stored again.
--
-- The foreign keys of a statement's rows are checked before this trigger runs: they have waited for
-- a merge that was about to commit, and the trigger sees it. A moved event is checked again.
CREATE OR REPLACE FUNCTION public.member_participation_follow_merge() RETURNS trigger LANGUAGE plpgsql
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

DROP FUNCTION public.member_participation_archive(timestamptz);
DROP TABLE public.directory_archive;
DROP FUNCTION public.directory_archive_before_write();
