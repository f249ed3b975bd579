-- Permissions: only a present, active member who is no bot holds any, whoever writes.

-- Refuse to grant a permission to anybody else.
--
-- The update changes nothing. It locks the member until the end of the transaction, so that a ban
-- at the same time waits, and then deletes the permission; and in a transaction that can't see
-- the permission (REPEATABLE READ) the ban fails, which a mere lock would not bring about.
--
-- SECURITY DEFINER lets a login grant permissions that may not write members.
CREATE FUNCTION public.member_permissions_check_holder() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE public.community_members SET status = status
    WHERE member_id = NEW.member_id AND status = 'active' AND deleted_at IS NULL AND NOT is_bot;
    IF NOT FOUND AND EXISTS (
        SELECT FROM public.community_members WHERE member_id = NEW.member_id
    ) THEN
        RAISE EXCEPTION 'Only an active member can hold a permission.'
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'member_permissions',
                COLUMN = 'member_id', CONSTRAINT = 'member_permission_holder';
    END IF;
    RETURN NEW;
END $$;

REVOKE ALL ON FUNCTION public.member_permissions_check_holder() FROM PUBLIC;

CREATE TRIGGER member_permissions_check_holder
    BEFORE INSERT OR UPDATE ON public.member_permissions
    FOR EACH ROW EXECUTE FUNCTION public.member_permissions_check_holder();

-- Take the permissions of a member who is suspended, banned, removed or marked as a bot. Who
-- returns later does not get them back.
--
-- SECURITY DEFINER lets a login do so that may write members only.
CREATE FUNCTION public.community_members_lose_permissions() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM public.member_permissions WHERE member_id = NEW.member_id;
    RETURN NULL;
END $$;

REVOKE ALL ON FUNCTION public.community_members_lose_permissions() FROM PUBLIC;

CREATE TRIGGER community_members_lose_permissions
    AFTER UPDATE ON public.community_members
    FOR EACH ROW WHEN (
        OLD.status = 'active' AND OLD.deleted_at IS NULL AND NOT OLD.is_bot
        AND (NEW.status <> 'active' OR NEW.deleted_at IS NOT NULL OR NEW.is_bot)
    )
    EXECUTE FUNCTION public.community_members_lose_permissions();

CREATE TRIGGER member_permissions_audit
    AFTER INSERT OR UPDATE OR DELETE ON public.member_permissions
    FOR EACH ROW EXECUTE FUNCTION
    public.directory_audit_log_write('member_permissions', 'id', 'member_id');

-- list whoever holds a permission
CREATE INDEX member_permission_permission_idx ON public.member_permissions (permission, member_id);
