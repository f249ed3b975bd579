-- Distribute the events and the highlights over the nodes of a Citus cluster, by the number of the
-- member. Run this on the coordinator, in the database of the directory, in one transaction and as
-- a superuser:
--
--   psql --set ON_ERROR_STOP=1 --single-transaction --file distribute.sql
--
-- Everything else stays on the coordinator. Programs that write wait until the end. The script
-- undistribute.sql leads back.

-- Workers create the foreign keys of both tables in connections that see each other.
SET LOCAL citus.multi_shard_modify_mode = 'sequential';
LOCK TABLE public.community_members, public.member_participation, public.member_daily_highlights
    IN ACCESS EXCLUSIVE MODE;

-- 1. What a distributed table can't have: a trigger, a key without its column, and a foreign key to
-- a table of the coordinator

DROP TRIGGER member_participation_follow_merge ON public.member_participation;
ALTER TABLE public.member_participation
    DROP CONSTRAINT member_participation_member_id_fkey,
    DROP CONSTRAINT member_participation_pkey,
    ADD CONSTRAINT member_participation_pkey PRIMARY KEY (id, member_id);
ALTER TABLE public.member_daily_highlights
    DROP CONSTRAINT member_daily_highlights_member_id_fkey,
    DROP CONSTRAINT member_daily_highlights_pkey,
    ADD CONSTRAINT member_daily_highlights_pkey PRIMARY KEY (id, member_id);

-- 2. The numbers that events and highlights may have, on every node. A merged member has none: the
-- foreign key refuses their events, and the query helpers give them to the other member.

CREATE TABLE public.member_keys (
    member_id varchar(20) NOT NULL,
    CONSTRAINT member_keys_pkey PRIMARY KEY (member_id)
);
INSERT INTO public.member_keys SELECT member_id FROM public.community_members
WHERE merged_into IS NULL;
SELECT create_reference_table('public.member_keys');

-- 3. The distributed tables

SELECT create_distributed_table('public.member_participation', 'member_id');
SELECT create_distributed_table(
    'public.member_daily_highlights', 'member_id', colocate_with => 'public.member_participation'
);
ALTER TABLE public.member_participation
    ADD CONSTRAINT member_participation_member_id_fkey FOREIGN KEY (member_id)
    REFERENCES public.member_keys (member_id) ON DELETE RESTRICT ON UPDATE RESTRICT;
ALTER TABLE public.member_daily_highlights
    ADD CONSTRAINT member_daily_highlights_member_id_fkey FOREIGN KEY (member_id)
    REFERENCES public.member_keys (member_id) ON DELETE RESTRICT ON UPDATE RESTRICT;

-- 4. The triggers that keep the numbers

CREATE FUNCTION public.member_keys_add() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO public.member_keys (member_id) VALUES (NEW.member_id) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;

CREATE FUNCTION public.member_keys_remove() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    is_present boolean;
BEGIN
    SELECT EXISTS (
        SELECT FROM public.community_members
        WHERE member_id = OLD.member_id AND merged_into IS NULL
    ) INTO is_present;
    IF NOT is_present THEN
        DELETE FROM public.member_keys WHERE member_id = OLD.member_id;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER member_keys_add_new
    AFTER INSERT ON public.community_members
    FOR EACH ROW WHEN (NEW.merged_into IS NULL) EXECUTE FUNCTION public.member_keys_add();
CREATE TRIGGER member_keys_add_returned
    AFTER UPDATE ON public.community_members
    FOR EACH ROW WHEN (OLD.merged_into IS NOT NULL AND NEW.merged_into IS NULL)
    EXECUTE FUNCTION public.member_keys_add();
-- A merge moves the last events after it has marked the member.
CREATE CONSTRAINT TRIGGER member_keys_remove_merged
    AFTER UPDATE ON public.community_members DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (OLD.merged_into IS NULL AND NEW.merged_into IS NOT NULL)
    EXECUTE FUNCTION public.member_keys_remove();
CREATE CONSTRAINT TRIGGER member_keys_remove_deleted
    AFTER DELETE ON public.community_members DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION public.member_keys_remove();

-- 5. One role for each transaction: Citus connects to the workers as the present role, and refuses
-- a second one in the same transaction. So no function that writes the distributed tables runs with
-- the rights of its owner. Whoever may store events may delete them, too.

ALTER FUNCTION public.member_participation_take_back(text, text, text, text, text)
    SECURITY INVOKER;
ALTER FUNCTION public.member_participation_collapse(uuid) SECURITY INVOKER;
ALTER FUNCTION public.member_participation_move(uuid) SECURITY INVOKER;
ALTER FUNCTION public.member_participation_return(uuid) SECURITY INVOKER;

DO $$
DECLARE
    owner text;
    program text;
BEGIN
    SELECT relowner::regrole INTO owner FROM pg_class
    WHERE oid = 'public.community_members'::regclass;
    EXECUTE format('ALTER TABLE public.member_keys OWNER TO %s', owner);
    EXECUTE format('ALTER FUNCTION public.member_keys_add() OWNER TO %s', owner);
    EXECUTE format('ALTER FUNCTION public.member_keys_remove() OWNER TO %s', owner);
    FOR program IN
        SELECT grantee::regrole FROM pg_class, aclexplode(relacl)
        WHERE oid = 'public.community_members'::regclass AND privilege_type = 'INSERT'
            AND grantee NOT IN (0, relowner)
    LOOP
        EXECUTE format('GRANT DELETE ON public.member_participation TO %s', program);
        EXECUTE format('GRANT SELECT, INSERT, DELETE ON public.member_keys TO %s', program);
    END LOOP;
END $$;
