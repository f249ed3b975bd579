-- The triggers of community_invitations.

-- Set updated_at.
CREATE FUNCTION public.community_invitations_before_write() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END $$;

CREATE TRIGGER community_invitations_before_write
    BEFORE UPDATE ON public.community_invitations
    FOR EACH ROW WHEN (OLD IS DISTINCT FROM NEW)
    EXECUTE FUNCTION public.community_invitations_before_write();

-- Refuse to change an invitation that was accepted or cancelled.
CREATE FUNCTION public.community_invitations_check_status() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The invitation is % and stays so.', OLD.status
        USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'community_invitations',
            COLUMN = 'status', CONSTRAINT = 'invitation_status_transition';
END $$;

CREATE TRIGGER community_invitations_check_status
    BEFORE UPDATE ON public.community_invitations
    FOR EACH ROW WHEN (
        OLD.status IN ('accepted', 'cancelled')
        AND (OLD.status, OLD.accepted_by, OLD.accepted_at)
            IS DISTINCT FROM (NEW.status, NEW.accepted_by, NEW.accepted_at)
    )
    EXECUTE FUNCTION public.community_invitations_check_status();
