-- Delete what Insights has counted of a member who is marked as a bot, as the highlights are deleted.
-- The day of joining stays. If the mark is taken away, roll-ups count the rest again.
CREATE FUNCTION public.community_members_lose_counts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM public.member_monthly_highlights WHERE member_id = NEW.member_id;
    DELETE FROM public.member_daily_rooms WHERE member_id = NEW.member_id;
    DELETE FROM public.member_monthly_rooms WHERE member_id = NEW.member_id;
    DELETE FROM public.member_milestones
    WHERE member_id = NEW.member_id AND num_nonnulls(joined_at, approved_at) = 0;
    UPDATE public.member_milestones
    SET first_active_day = NULL, first_message_day = NULL, active_weeks = '{}'
    WHERE member_id = NEW.member_id;
    RETURN NULL;
END $$;

CREATE TRIGGER community_members_lose_counts
    AFTER UPDATE ON public.community_members
    FOR EACH ROW WHEN (NEW.is_bot AND NOT OLD.is_bot)
    EXECUTE FUNCTION public.community_members_lose_counts();
