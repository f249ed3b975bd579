-- The archive: days whose events have become daily counts for good.

-- The only row says which days are archived. There is none before the first one.
CREATE TABLE public.directory_archive (
    id boolean PRIMARY KEY DEFAULT true,
    -- Events before this time are refused: their days are archived, or are about to be.
    closed_before timestamptz NOT NULL,
    -- The last archived day: its highlights and those of all earlier days are final.
    archived_until date,
    -- The end of that day, in the community's time zone of then: the events before it are deleted.
    archived_before timestamptz,
    CONSTRAINT archive_one_row_check CHECK (id),
    CONSTRAINT archive_days_check CHECK (
        (archived_until IS NULL) = (archived_before IS NULL) AND archived_before <= closed_before
    )
);

-- Refuse to open archived days again, or to close one of the last 90 days. A day of 25 hours begins
-- an hour earlier, which is why 89 days are compared.
CREATE FUNCTION public.directory_archive_before_write() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (
        NEW.closed_before < OLD.closed_before OR OLD.archived_until IS NOT NULL AND (
            NEW.archived_until IS NULL OR NEW.archived_until < OLD.archived_until
            OR NEW.archived_before < OLD.archived_before
        )
    ) THEN
        RAISE EXCEPTION 'An archived day stays archived.'
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'directory_archive',
                COLUMN = 'archived_until', CONSTRAINT = 'archive_only_forwards';
    END IF;
    IF NEW.closed_before > now() - interval '89 days' THEN
        RAISE EXCEPTION 'The events of the last 90 days stay.'
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'directory_archive',
                COLUMN = 'closed_before', CONSTRAINT = 'archive_only_old_days';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER directory_archive_before_write
    BEFORE INSERT OR UPDATE ON public.directory_archive
    FOR EACH ROW EXECUTE FUNCTION public.directory_archive_before_write();

-- Delete the events of the last archived day, which began at this time, and return their number. A
-- stay in a voice chat that reaches into the next day is deleted with the day on which it ends.
--
-- SECURITY DEFINER lets a login do so that may not delete events in any other way.
CREATE FUNCTION public.member_participation_archive(starts_at timestamptz) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ends_at timestamptz;
    deleted bigint;
    ended bigint;
BEGIN
    SELECT archived_before INTO ends_at FROM public.directory_archive;
    -- A stay without a duration has no end.
    DELETE FROM public.member_participation
    WHERE occurred_at >= starts_at AND occurred_at < ends_at
        AND (event_type <> 'VOICE' OR (upper(tsrange(
            occurred_at AT TIME ZONE 'UTC',
            (occurred_at AT TIME ZONE 'UTC') + make_interval(secs => round(coalesce(
                event_metadata ->> 'duration_seconds', event_metadata ->> 'voice_duration_seconds',
                '0'
            )::numeric, 6)::double precision)
        )) <= ends_at AT TIME ZONE 'UTC') IS NOT FALSE);
    GET DIAGNOSTICS deleted = ROW_COUNT;
    DELETE FROM public.member_participation
    WHERE event_type = 'VOICE' AND occurred_at < starts_at
        AND tsrange(
            occurred_at AT TIME ZONE 'UTC',
            (occurred_at AT TIME ZONE 'UTC') + make_interval(secs => round(coalesce(
                event_metadata ->> 'duration_seconds', event_metadata ->> 'voice_duration_seconds',
                '0'
            )::numeric, 6)::double precision)
        ) @> (starts_at AT TIME ZONE 'UTC')
        AND upper(tsrange(
            occurred_at AT TIME ZONE 'UTC',
            (occurred_at AT TIME ZONE 'UTC') + make_interval(secs => round(coalesce(
                event_metadata ->> 'duration_seconds', event_metadata ->> 'voice_duration_seconds',
                '0'
            )::numeric, 6)::double precision)
        )) <= ends_at AT TIME ZONE 'UTC';
    GET DIAGNOSTICS ended = ROW_COUNT;
    RETURN deleted + ended;
END $$;

REVOKE ALL ON FUNCTION public.member_participation_archive(timestamptz) FROM PUBLIC;

-- Refuse events of archived days, except those that the undoing of a merge gives back.
--
-- Give new events of merged members to the other ones. An event that the other one has, too, is not
-- stored again.
--
-- The foreign keys of a statement's rows are checked before this trigger runs: they have waited for
-- a merge that was about to commit, and the trigger sees it. A moved event is checked again.
CREATE OR REPLACE FUNCTION public.member_participation_follow_merge() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    closed timestamptz;
    stray record;
BEGIN
    SELECT closed_before INTO closed FROM public.directory_archive;
    IF EXISTS (SELECT FROM added WHERE occurred_at < closed)
        AND current_setting('community_directory.merging', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION 'The day of this event is archived.'
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'member_participation',
                COLUMN = 'occurred_at', CONSTRAINT = 'participation_day_archived';
    END IF;
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
    -- They can't count those of archived days, which stay, and whose points are withheld, too.
    IF NEW.is_bot OR TG_OP = 'UPDATE' AND OLD.is_bot THEN
        points := NEW.reputation_withheld::bigint + NEW.reputation_score - NEW.reputation_shortfall;
        IF NEW.is_bot AND TG_OP = 'UPDATE' AND NOT OLD.is_bot THEN
            WITH deleted AS (
                DELETE FROM public.member_daily_highlights
                WHERE member_id = NEW.member_id AND highlight_date > coalesce(
                    (SELECT archived_until FROM public.directory_archive), '-infinity'
                )
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
