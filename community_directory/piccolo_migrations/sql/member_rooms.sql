-- The people of rooms, for Insights: when each of them was first and last there.

-- Find the days of one member. Whoever rolls up waits for the end of the migration.
DROP INDEX public.daily_room_member_id_idx;
CREATE INDEX daily_room_member_day_idx ON public.member_daily_rooms (member_id, day);

-- The first and the last day of a member in a room in `member_daily_rooms`, so that a person who was
-- there in a period is found in one row. There is no foreign key, as in the other tables of rooms.
CREATE TABLE public.member_rooms (
    member_id varchar(20) NOT NULL,
    platform varchar(50) NOT NULL,
    room_id varchar(255) NOT NULL,
    first_day date NOT NULL,
    last_day date NOT NULL
);

INSERT INTO public.member_rooms (member_id, platform, room_id, first_day, last_day)
SELECT member_id, platform, room_id, min(day), max(day)
FROM public.member_daily_rooms GROUP BY 1, 2, 3;

ALTER TABLE public.member_rooms
    ADD CONSTRAINT member_room_pkey PRIMARY KEY (member_id, platform, room_id);

-- Delete what Insights has counted of a member who is marked as a bot, as the highlights are deleted.
-- The day of joining stays. If the mark is taken away, roll-ups count the rest again.
CREATE OR REPLACE FUNCTION public.community_members_lose_counts() RETURNS trigger LANGUAGE plpgsql
AS $$
BEGIN
    DELETE FROM public.member_monthly_highlights WHERE member_id = NEW.member_id;
    DELETE FROM public.member_daily_rooms WHERE member_id = NEW.member_id;
    DELETE FROM public.member_monthly_rooms WHERE member_id = NEW.member_id;
    DELETE FROM public.member_rooms WHERE member_id = NEW.member_id;
    DELETE FROM public.member_milestones
    WHERE member_id = NEW.member_id AND num_nonnulls(joined_at, approved_at) = 0;
    UPDATE public.member_milestones
    SET first_active_day = NULL, first_message_day = NULL, active_weeks = '{}'
    WHERE member_id = NEW.member_id;
    RETURN NULL;
END $$;

-- leave those who are not present out of counts, index-only; it can be created before with CREATE
-- INDEX CONCURRENTLY
CREATE INDEX IF NOT EXISTS member_absent_idx ON public.community_members (member_id)
    WHERE is_bot OR deleted_at IS NOT NULL OR status = 'banned';
