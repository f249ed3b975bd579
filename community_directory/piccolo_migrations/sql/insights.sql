-- What Insights draws, counted when days are rolled up, as the highlights are.

-- The highlights of a member in one month.
CREATE TABLE public.member_monthly_highlights (
    member_id varchar(20) NOT NULL,
    -- the first day of the month
    month date NOT NULL,
    active_days smallint NOT NULL,
    message_count integer NOT NULL,
    reaction_count integer NOT NULL,
    voice_minutes integer NOT NULL,
    CONSTRAINT monthly_highlight_pkey PRIMARY KEY (member_id, month)
);

-- sum the months of a period, index-only
CREATE INDEX monthly_highlight_month_idx ON public.member_monthly_highlights (month, member_id)
    INCLUDE (active_days, message_count, reaction_count, voice_minutes);

-- The events of a member in one room on one day, of all types. Those of archived days are deleted.
CREATE TABLE public.member_daily_rooms (
    member_id varchar(20) NOT NULL,
    day date NOT NULL,
    platform varchar(50) NOT NULL,
    room_id varchar(255) NOT NULL,
    event_count integer NOT NULL,
    message_count integer NOT NULL,
    CONSTRAINT daily_room_pkey PRIMARY KEY (day, platform, room_id, member_id)
);

-- find the rooms of one member: exports, merges, erasures
CREATE INDEX daily_room_member_id_idx ON public.member_daily_rooms (member_id);

-- The sums of `member_daily_rooms` in one month.
CREATE TABLE public.member_monthly_rooms (
    member_id varchar(20) NOT NULL,
    -- the first day of the month
    month date NOT NULL,
    platform varchar(50) NOT NULL,
    room_id varchar(255) NOT NULL,
    event_count integer NOT NULL,
    message_count integer NOT NULL,
    CONSTRAINT monthly_room_pkey PRIMARY KEY (month, platform, room_id, member_id)
);

-- find the rooms of one member: exports, merges, erasures
CREATE INDEX monthly_room_member_id_idx ON public.member_monthly_rooms (member_id);

-- The events of everybody in one hour of one day, without those of bots. They name nobody, and stay
-- when the day is archived.
CREATE TABLE public.directory_hourly_counts (
    day date NOT NULL,
    -- 0 to 23, as the clocks of the community show it
    hour smallint NOT NULL,
    platform varchar(50) NOT NULL,
    event_type varchar(50) NOT NULL,
    event_count integer NOT NULL,
    CONSTRAINT hourly_count_pkey PRIMARY KEY (day, hour, platform, event_type)
);

-- When a person became a member, and how they began.
CREATE TABLE public.member_milestones (
    member_id varchar(20) NOT NULL,
    -- when they first were more than a contact
    joined_at timestamptz,
    -- when they first were active; NULL again if the approval is undone
    approved_at timestamptz,
    first_active_day date,
    first_message_day date,
    -- the weeks after joining in which they were active, 1 to 12: week 1 begins with the day of
    -- joining
    active_weeks smallint[] NOT NULL DEFAULT '{}',
    CONSTRAINT milestone_pkey PRIMARY KEY (member_id)
);

-- find those who became members in a period
CREATE INDEX milestone_joined_at_idx ON public.member_milestones (joined_at)
    WHERE joined_at IS NOT NULL;

-- Note when new members joined, in one statement for all rows of an insert.
--
-- SECURITY DEFINER lets a login do so that may write members only.
CREATE FUNCTION public.community_members_joined() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO public.member_milestones (member_id, joined_at, approved_at)
    SELECT member_id, created_at,
        CASE WHEN status IN ('active', 'suspended') THEN created_at END
    FROM added WHERE status <> 'not_member';
    RETURN NULL;
END $$;

REVOKE ALL ON FUNCTION public.community_members_joined() FROM PUBLIC;

CREATE TRIGGER community_members_joined
    AFTER INSERT ON public.community_members REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION public.community_members_joined();

-- Note when a contact becomes a member, and when a member is active for the first time. Only the
-- undoing of an approval makes an active member wait again. Whoever is banned as a contact has not
-- become a member.
--
-- SECURITY DEFINER lets a login do so that may write members only.
CREATE FUNCTION public.community_members_change_milestones() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO public.member_milestones AS milestone (member_id, joined_at, approved_at)
    VALUES (NEW.member_id, now(), CASE WHEN NEW.status = 'active' THEN now() END)
    ON CONFLICT (member_id) DO UPDATE SET
        joined_at = coalesce(milestone.joined_at, EXCLUDED.joined_at),
        approved_at = CASE
            WHEN OLD.status <> 'active' OR NEW.status <> 'pending'
            THEN coalesce(milestone.approved_at, EXCLUDED.approved_at)
        END;
    RETURN NULL;
END $$;

REVOKE ALL ON FUNCTION public.community_members_change_milestones() FROM PUBLIC;

CREATE TRIGGER community_members_change_milestones
    AFTER UPDATE ON public.community_members
    FOR EACH ROW WHEN (
        OLD.status <> NEW.status AND NEW.status IN ('pending', 'active')
        AND NEW.merged_into IS NULL
    )
    EXECUTE FUNCTION public.community_members_change_milestones();

-- The months of the highlights, also of archived days.
INSERT INTO public.member_monthly_highlights
    (member_id, month, active_days, message_count, reaction_count, voice_minutes)
SELECT member_id, date_trunc('month', highlight_date::timestamp)::date, count(*),
    least(sum(coalesce(message_count, 0)), 2147483647),
    least(sum(coalesce(reaction_count, 0)), 2147483647),
    least(sum(coalesce(voice_minutes, 0)), 2147483647)
FROM public.member_daily_highlights
WHERE member_id NOT IN (SELECT member_id FROM public.community_members WHERE is_bot)
GROUP BY 1, 2;

-- How members began, as far as it is known. The log has the first change of the status of each
-- contact who became a member, and the approvals. The others joined when they accepted an
-- invitation, or else were added, and were active from the beginning.
INSERT INTO public.member_milestones
    (member_id, joined_at, approved_at, first_active_day, first_message_day)
WITH
-- The first invitation that each person accepted.
accepted AS (
    SELECT accepted_by AS member_id, min(accepted_at) AS accepted_at
    FROM public.community_invitations WHERE accepted_by IS NOT NULL GROUP BY 1
),
-- The first approval, whether the first status was that of a contact, and when it was no longer.
logged AS (
    SELECT member_id,
        min(changed_at) FILTER (WHERE changes -> 'status' = '["pending", "active"]') AS approved_at,
        (array_agg(changes #>> '{status,0}' ORDER BY changed_at, id))[1] = 'not_member'
            AS was_contact,
        min(changed_at) FILTER (WHERE changes #>> '{status,1}' IN ('pending', 'active'))
            AS became_member_at
    FROM public.directory_audit_log
    WHERE table_name = 'community_members' AND action = 'UPDATE' AND changes ? 'status'
    GROUP BY 1
),
-- The members and those who were members.
joined AS (
    SELECT member_id, joined_at, CASE
        WHEN status <> 'pending' THEN
            coalesce(approved_at, CASE WHEN status IN ('active', 'suspended') THEN joined_at END)
    END AS approved_at
    FROM public.community_members
    LEFT JOIN accepted USING (member_id) LEFT JOIN logged USING (member_id),
    LATERAL (SELECT CASE
        WHEN was_contact THEN least(accepted_at, became_member_at)
        WHEN status <> 'not_member' OR NOT was_contact THEN coalesce(accepted_at, created_at)
        ELSE accepted_at
    END AS joined_at) AS joining
    WHERE joined_at IS NOT NULL
),
-- The first days of everybody, also of contacts.
began AS (
    SELECT member_id, min(highlight_date) AS first_active_day,
        min(highlight_date) FILTER (WHERE message_count > 0) AS first_message_day
    FROM public.member_daily_highlights
    WHERE member_id NOT IN (SELECT member_id FROM public.community_members WHERE is_bot)
    GROUP BY 1
)
SELECT member_id, joined_at, approved_at, first_active_day, first_message_day
FROM joined FULL JOIN began USING (member_id);

-- The next nightly job rolls up every day again that is not archived: that counts the rooms and the
-- hours.
DELETE FROM public.directory_rolled_up_days
WHERE day > coalesce((SELECT archived_until FROM public.directory_archive), '-infinity');

-- The foreign keys, for all rows at once. The rooms have none: it would take more than half of the
-- time in which a roll-up stores them. A member who has rooms has events, whose foreign key keeps
-- the member.
ALTER TABLE public.member_monthly_highlights ADD CONSTRAINT monthly_highlight_member_id_fkey
    FOREIGN KEY (member_id) REFERENCES public.community_members (member_id)
    ON DELETE RESTRICT ON UPDATE RESTRICT;
ALTER TABLE public.member_milestones ADD CONSTRAINT milestone_member_id_fkey
    FOREIGN KEY (member_id) REFERENCES public.community_members (member_id)
    ON DELETE CASCADE ON UPDATE RESTRICT;
