-- Suspensions that end by the clock: a job makes the members active again.

-- Clear the end of a suspension that is over, so that every writer of the status may ignore it.
CREATE FUNCTION public.community_members_end_suspension() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.suspended_until := NULL;
    RETURN NEW;
END $$;

CREATE TRIGGER community_members_end_suspension
    BEFORE UPDATE ON public.community_members
    FOR EACH ROW WHEN (OLD.status = 'suspended' AND NEW.status <> 'suspended')
    EXECUTE FUNCTION public.community_members_end_suspension();

-- find the suspensions that end by now, without reading other members
CREATE INDEX IF NOT EXISTS member_suspended_until_idx ON public.community_members (suspended_until)
    WHERE suspended_until IS NOT NULL AND deleted_at IS NULL;
