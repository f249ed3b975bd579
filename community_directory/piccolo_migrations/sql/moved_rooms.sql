-- The rooms whose events are stored in another room, such as a group that became a supergroup.
-- Events that arrive for such a room later are stored in the other room, too.
CREATE TABLE public.directory_moved_rooms (
    platform varchar(50) NOT NULL,
    room_id varchar(255) NOT NULL,
    moved_to varchar(255) NOT NULL,
    -- A numeric source id is stored as the id minus this offset; NULL: it gets the prefix.
    id_offset bigint,
    -- Any other source id is stored after this prefix.
    id_prefix text NOT NULL,
    PRIMARY KEY (platform, room_id),
    CONSTRAINT moved_room_platform_check CHECK (platform ~ '^[a-z][a-z0-9_]*$'),
    CONSTRAINT moved_room_id_check CHECK (room_id ~ '[^[:space:]\u0085\u00a0\u1680\u2000-\u200f\u2028\u2029\u202f\u205f\u3000\ufeff]'),
    CONSTRAINT moved_room_target_check CHECK (moved_to ~ '[^[:space:]\u0085\u00a0\u1680\u2000-\u200f\u2028\u2029\u202f\u205f\u3000\ufeff]'),
    CONSTRAINT moved_room_not_itself_check CHECK (room_id <> moved_to)
);

-- find whoever has a username; Telegram ignores the case of usernames
CREATE INDEX member_telegram_username_idx
    ON public.community_members (lower(telegram_username)) WHERE telegram_username IS NOT NULL;

-- Delete an event that was taken back, and return whether there was one.
--
-- SECURITY DEFINER lets a login do so that may not delete events in any other way.
CREATE FUNCTION public.member_participation_take_back(
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

REVOKE ALL ON FUNCTION public.member_participation_take_back(text, text, text, text, text)
    FROM PUBLIC;
