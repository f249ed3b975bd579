-- Bring the events and the highlights back to the coordinator of a Citus cluster. This reverses
-- distribute.sql: the schema is afterwards that of the migrations. Run it on the coordinator, in the
-- database of the directory, in one transaction and as a superuser:
--
--   psql --set ON_ERROR_STOP=1 --single-transaction --file undistribute.sql
--
-- The coordinator needs room for all events. Programs that write wait until the end.

SET LOCAL citus.multi_shard_modify_mode = 'sequential';
LOCK TABLE public.community_members IN ACCESS EXCLUSIVE MODE;

-- 1. The numbers, and what keeps them

DROP TRIGGER member_keys_add_new ON public.community_members;
DROP TRIGGER member_keys_add_returned ON public.community_members;
DROP TRIGGER member_keys_remove_merged ON public.community_members;
DROP TRIGGER member_keys_remove_deleted ON public.community_members;
DROP FUNCTION public.member_keys_add();
DROP FUNCTION public.member_keys_remove();
ALTER TABLE public.member_participation DROP CONSTRAINT member_participation_member_id_fkey;
ALTER TABLE public.member_daily_highlights DROP CONSTRAINT member_daily_highlights_member_id_fkey;
DROP TABLE public.member_keys;

-- 2. The functions that delete events, for programs that may not delete them in any other way

ALTER FUNCTION public.member_participation_take_back(text, text, text, text, text)
    SECURITY DEFINER;
ALTER FUNCTION public.member_participation_collapse(uuid) SECURITY DEFINER;
ALTER FUNCTION public.member_participation_move(uuid) SECURITY DEFINER;
ALTER FUNCTION public.member_participation_return(uuid) SECURITY DEFINER;

DO $$
DECLARE
    program text;
BEGIN
    FOR program IN
        SELECT grantee::regrole FROM pg_class, aclexplode(relacl)
        WHERE oid = 'public.member_participation'::regclass AND privilege_type = 'DELETE'
            AND grantee NOT IN (0, relowner)
    LOOP
        EXECUTE format('REVOKE DELETE ON public.member_participation FROM %s', program);
    END LOOP;
END $$;

-- 3. The tables

SELECT undistribute_table('public.member_participation');
SELECT undistribute_table('public.member_daily_highlights');

-- 4. The keys and the trigger of the migrations

ALTER TABLE public.member_participation
    DROP CONSTRAINT member_participation_pkey,
    ADD CONSTRAINT member_participation_pkey PRIMARY KEY (id),
    ADD CONSTRAINT member_participation_member_id_fkey FOREIGN KEY (member_id)
    REFERENCES public.community_members (member_id) ON DELETE RESTRICT ON UPDATE RESTRICT;
ALTER TABLE public.member_daily_highlights
    DROP CONSTRAINT member_daily_highlights_pkey,
    ADD CONSTRAINT member_daily_highlights_pkey PRIMARY KEY (id),
    ADD CONSTRAINT member_daily_highlights_member_id_fkey FOREIGN KEY (member_id)
    REFERENCES public.community_members (member_id) ON DELETE RESTRICT ON UPDATE RESTRICT;
CREATE TRIGGER member_participation_follow_merge
    AFTER INSERT ON public.member_participation REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION public.member_participation_follow_merge();
