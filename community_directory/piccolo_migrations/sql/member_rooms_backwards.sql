DROP INDEX public.member_absent_idx;

-- As it was.
CREATE OR REPLACE FUNCTION public.community_members_lose_counts() RETURNS trigger LANGUAGE plpgsql
AS $$
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

DROP TABLE public.member_rooms;
DROP INDEX public.daily_room_member_day_idx;
CREATE INDEX daily_room_member_id_idx ON public.member_daily_rooms (member_id);
