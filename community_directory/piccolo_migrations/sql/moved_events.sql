-- The functions that delete and move events. Citus, too, can run them: it refuses a join of the
-- events of two members, parameters in functions of SQL, and an update of the column by which a
-- table is distributed. A moved event is deleted, and stored again with the same id.

CREATE OR REPLACE FUNCTION public.member_participation_take_back(
    its_platform text, its_room_id text, its_source_id text, its_event_type text, its_member_id text
) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM public.member_participation
    WHERE platform = its_platform AND room_id = its_room_id AND source_id = its_source_id
        AND event_type = its_event_type AND member_id = its_member_id;
    RETURN FOUND;
END $$;

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
    WITH kept AS MATERIALIZED (
        SELECT platform, room_id, source_id, event_type FROM public.member_participation
        WHERE member_id = other AND source_id IS NOT NULL
    ), deleted AS (
        DELETE FROM public.member_participation AS event USING kept
        WHERE event.member_id = duplicate
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

-- Give the events of a duplicate to the other member, and note their ids in directory_merged_rows;
-- return their number.
--
-- SECURITY DEFINER lets a login do so that may not delete events in any other way.
CREATE FUNCTION public.member_participation_move(its_merge uuid) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    duplicate varchar(20);
    other varchar(20);
    moved_count bigint;
BEGIN
    SELECT duplicate_id, into_id INTO duplicate, other FROM public.directory_merges
    WHERE id = its_merge AND undone_at IS NULL;
    WITH moved AS (
        DELETE FROM public.member_participation WHERE member_id = duplicate
        RETURNING id, event_type, platform, room_id, source_id, occurred_at, event_metadata
    ), stored AS (
        INSERT INTO public.member_participation (
            id, member_id, event_type, platform, room_id, source_id, occurred_at, event_metadata
        )
        SELECT id, other, event_type, platform, room_id, source_id, occurred_at, event_metadata
        FROM moved
    ), journal AS (
        INSERT INTO public.directory_merged_rows (merge_id, table_name, row_id)
        SELECT its_merge, 'member_participation', id FROM moved
    )
    SELECT count(*) INTO moved_count FROM moved;
    RETURN moved_count;
END $$;

-- Give back the events that a merge moved and that the other member still has; return their number.
--
-- SECURITY DEFINER lets a login do so that may not delete events in any other way.
CREATE FUNCTION public.member_participation_return(its_merge uuid) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    duplicate varchar(20);
    other varchar(20);
    moved_count bigint;
BEGIN
    SELECT duplicate_id, into_id INTO duplicate, other FROM public.directory_merges
    WHERE id = its_merge AND undone_at IS NULL;
    WITH journal AS MATERIALIZED (
        SELECT row_id FROM public.directory_merged_rows
        WHERE merge_id = its_merge AND table_name = 'member_participation' AND before IS NULL
    ), moved AS (
        DELETE FROM public.member_participation AS event USING journal
        WHERE event.id = row_id AND event.member_id = other
        RETURNING event.id, event_type, platform, room_id, source_id, occurred_at, event_metadata
    ), stored AS (
        INSERT INTO public.member_participation (
            id, member_id, event_type, platform, room_id, source_id, occurred_at, event_metadata
        )
        SELECT id, duplicate, event_type, platform, room_id, source_id, occurred_at, event_metadata
        FROM moved
    )
    SELECT count(*) INTO moved_count FROM moved;
    RETURN moved_count;
END $$;

REVOKE ALL ON FUNCTION public.member_participation_move(uuid),
    public.member_participation_return(uuid) FROM PUBLIC;

-- A program that could move events until now still can: its role has the older function.
DO $$
DECLARE
    grantee text;
BEGIN
    FOR grantee IN
        SELECT entry.grantee::regrole FROM pg_proc, aclexplode(proacl) AS entry
        WHERE oid = 'public.member_participation_collapse(uuid)'::regprocedure
            AND entry.grantee NOT IN (0, proowner)
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION public.member_participation_move(uuid), '
            'public.member_participation_return(uuid) TO %s', grantee);
    END LOOP;
END $$;
