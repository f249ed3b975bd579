from community_directory.sql_migration import sql_migration

ID = "2026-11-22T20:40:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "Indexes for roll-ups and leaderboards; the points of a day are no edit"

AUDIT = r"""
CREATE OR REPLACE FUNCTION public.directory_audit_log_write() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before jsonb := CASE WHEN TG_OP = 'INSERT' THEN '{{}}' ELSE to_jsonb(OLD) END;
    after jsonb := CASE WHEN TG_OP = 'DELETE' THEN '{{}}' ELSE to_jsonb(NEW) END;
    changed jsonb;
    -- the trigger's arguments: the table, its primary key, and the column of the member that a row is about
    either jsonb := before || after;
BEGIN
    SELECT jsonb_object_agg(field, jsonb_build_array(before -> field, after -> field)) INTO changed
    FROM jsonb_object_keys(either) AS field
    WHERE coalesce(before -> field, 'null') <> coalesce(after -> field, 'null')
        AND field NOT IN ('updated_at', 'last_active_at'){but_points};

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
"""

BEFORE_WRITE = r"""
CREATE OR REPLACE FUNCTION public.community_members_before_write() RETURNS trigger LANGUAGE plpgsql AS $$
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
{nor_points}        IF NEW IS DISTINCT FROM unedited THEN
            NEW.updated_at := now();
        END IF;
    END IF;
    RETURN NEW;
END $$;
"""

# The points of a roll-up stand in the highlights, day by day: an entry for each would bury what people did. A change
# of the tier is still told.
BUT_POINTS = """
        AND (field <> 'reputation_score'
            OR current_setting('community_directory.rolling_up', true) IS DISTINCT FROM 'on')"""

NOR_POINTS = """\
        IF current_setting('community_directory.rolling_up', true) = 'on' THEN  -- nor are a day's points
            unedited.reputation_score := NEW.reputation_score;
            unedited.reputation_tier := NEW.reputation_tier;
        END IF;
"""

FORWARDS = (
    BEFORE_WRITE.format(nor_points=NOR_POINTS)
    + AUDIT.format(but_points=BUT_POINTS)
    + """
DROP INDEX public.participation_occurred_at_idx;
-- the events of a day, and who were the most active, without a visit to the table
CREATE INDEX participation_occurred_at_idx ON public.member_participation (occurred_at) INCLUDE (member_id);
-- everybody's day: for its roll-up, and page by page
CREATE INDEX highlight_date_idx ON public.member_daily_highlights (highlight_date DESC, member_id DESC);
-- a member by Discord account, for who writes on both platforms
CREATE INDEX member_discord_id_idx ON public.community_members ((profile_data ->> 'discord_id'))
    WHERE profile_data ->> 'discord_id' IS NOT NULL;
"""
)

BACKWARDS = (
    BEFORE_WRITE.format(nor_points="")
    + AUDIT.format(but_points="")
    + """
DROP INDEX public.highlight_date_idx, public.member_discord_id_idx, public.participation_occurred_at_idx;
CREATE INDEX participation_occurred_at_idx ON public.member_participation (occurred_at);
"""
)


async def forwards():
    return sql_migration(ID, DESCRIPTION, forwards=FORWARDS, backwards=BACKWARDS)
