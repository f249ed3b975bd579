from community_directory.sql_migration import sql_migration

ID = "2026-11-22T20:40:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "Indexes for roll-ups and leaderboards, and an audit log without the daily points"

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

# The points of a roll-up stand in the highlights, day by day: an entry for each would bury what people did. A change
# of the tier is still told.
BUT_POINTS = """
        AND NOT (field = 'reputation_score' AND current_setting('community_directory.rolling_up', true) = 'on')"""

FORWARDS = (
    AUDIT.format(but_points=BUT_POINTS)
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
    AUDIT.format(but_points="")
    + """
DROP INDEX public.highlight_date_idx, public.member_discord_id_idx, public.participation_occurred_at_idx;
CREATE INDEX participation_occurred_at_idx ON public.member_participation (occurred_at);
"""
)


async def forwards():
    return sql_migration(ID, DESCRIPTION, forwards=FORWARDS, backwards=BACKWARDS)
