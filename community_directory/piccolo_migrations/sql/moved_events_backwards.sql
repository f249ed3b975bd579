-- Reverse moved_events.sql.

DROP FUNCTION public.member_participation_move(uuid);
DROP FUNCTION public.member_participation_return(uuid);

CREATE OR REPLACE FUNCTION public.member_participation_take_back(
    its_platform text, its_room_id text, its_source_id text, its_event_type text, its_member_id text
) RETURNS boolean LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH deleted AS (
        DELETE FROM public.member_participation
        WHERE platform = its_platform AND room_id = its_room_id AND source_id = its_source_id
            AND event_type = its_event_type AND member_id = its_member_id
        RETURNING 1
    )
    SELECT EXISTS (SELECT FROM deleted)
$$;

CREATE OR REPLACE FUNCTION public.member_participation_collapse(its_merge uuid) RETURNS bigint
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
