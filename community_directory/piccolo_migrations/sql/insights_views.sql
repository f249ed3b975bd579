-- The figures of Insights as views for reports: docs/reference/insights.md defines them. They have no
-- personal data. A view reads with the rights of its owner, so whoever reads it needs no right on
-- the tables.
--
-- A time becomes a day in the time zone of the connection, which has to be that of the community.

CREATE VIEW public.insights_members AS
SELECT member_id, CASE WHEN deleted_at IS NULL THEN status ELSE 'removed' END AS status,
    deleted_at IS NULL AND status <> 'banned' AS is_present,
    deleted_at IS NULL AND status IN ('pending', 'active', 'suspended') AS is_member,
    joined_at IS NOT NULL AND (deleted_at IS NOT NULL OR status IN ('not_member', 'banned'))
        AS is_gone,
    reputation_tier AS tier, invited_by AS inviter, joined_at, approved_at,
    joined_at::date AS joined_day, date_trunc('month', joined_at)::date AS joined_month,
    first_active_day, first_message_day, coalesce(active_weeks, '{}') AS active_weeks
FROM public.community_members LEFT JOIN public.member_milestones USING (member_id)
WHERE NOT is_bot AND merged_into IS NULL;

COMMENT ON VIEW public.insights_members IS
    'One row for each person, without bots and without those who were merged into another person. Days are those of the time zone of the connection: set it to that of the community.';
COMMENT ON COLUMN public.insights_members.member_id IS 'The number of the person, such as #247.';
COMMENT ON COLUMN public.insights_members.status IS
    'not_member (a contact), pending, active, suspended, banned, or removed.';
COMMENT ON COLUMN public.insights_members.is_present IS
    'Whether the person is a member or a contact: neither banned nor removed.';
COMMENT ON COLUMN public.insights_members.is_member IS
    'Whether the person is present, and more than a contact: pending, active or suspended.';
COMMENT ON COLUMN public.insights_members.is_gone IS
    'Whether the person became a member once, and is none now: removed, banned, or a contact again.';
COMMENT ON COLUMN public.insights_members.tier IS
    'The tier of the reputation score now: Novice, Contributor, Active Developer, Experienced or Expert.';
COMMENT ON COLUMN public.insights_members.inviter IS
    'The number of the member who invited the person; empty if nobody did.';
COMMENT ON COLUMN public.insights_members.joined_at IS
    'The time at which the person first was more than a contact; empty if they never were.';
COMMENT ON COLUMN public.insights_members.approved_at IS
    'The time at which the person first was active as a member; empty if they were not approved.';
COMMENT ON COLUMN public.insights_members.joined_day IS
    'The day of joined_at in the time zone of the connection.';
COMMENT ON COLUMN public.insights_members.joined_month IS
    'The first day of the month of joined_at in the time zone of the connection.';
COMMENT ON COLUMN public.insights_members.first_active_day IS
    'The first day with a message, a reaction or a stay in a voice chat.';
COMMENT ON COLUMN public.insights_members.first_message_day IS 'The first day with a message.';
COMMENT ON COLUMN public.insights_members.active_weeks IS
    'The weeks after joining in which the person was active, 1 to 12. Week 1 begins with the day of joining.';

CREATE VIEW public.insights_daily_activity AS
SELECT highlight_date AS day,
    count(*) FILTER (WHERE deleted_at IS NULL AND status <> 'banned') AS active_people,
    coalesce(sum(message_count), 0) AS message_count,
    coalesce(sum(reaction_count), 0) AS reaction_count,
    coalesce(sum(voice_minutes), 0) AS voice_minutes
FROM public.member_daily_highlights JOIN public.community_members USING (member_id)
WHERE NOT is_bot GROUP BY highlight_date;

COMMENT ON VIEW public.insights_daily_activity IS
    'What happened on each day of the community''s time zone, without bots. A day without activity has no row, and a day is counted in the night after it.';
COMMENT ON COLUMN public.insights_daily_activity.day IS 'The day in the time zone of the community.';
COMMENT ON COLUMN public.insights_daily_activity.active_people IS
    'The number of people with a message, a reaction or a stay in a voice chat on this day, without those who are banned or removed now.';
COMMENT ON COLUMN public.insights_daily_activity.message_count IS
    'The number of messages, with those of people who are banned or removed now.';
COMMENT ON COLUMN public.insights_daily_activity.reaction_count IS
    'The number of reactions, with those of people who are banned or removed now.';
COMMENT ON COLUMN public.insights_daily_activity.voice_minutes IS
    'The minutes in voice chats, all people together, with those who are banned or removed now. Two stays of a person at the same time are one.';

CREATE VIEW public.insights_hourly_activity AS
SELECT day, hour, platform, event_type, event_count FROM public.directory_hourly_counts;

COMMENT ON VIEW public.insights_hourly_activity IS
    'The number of events in each hour. Those of bots are left out; those of people who were banned or removed later are not. An hour without events has no row.';
COMMENT ON COLUMN public.insights_hourly_activity.day IS 'The day in the time zone of the community.';
COMMENT ON COLUMN public.insights_hourly_activity.hour IS
    'The hour, 0 to 23, as the clocks of the community show it. When they are set back, the hour that comes twice has the events of both.';
COMMENT ON COLUMN public.insights_hourly_activity.platform IS 'telegram, discord or another platform.';
COMMENT ON COLUMN public.insights_hourly_activity.event_type IS
    'MESSAGE, REACTION, VOICE or another type. A stay in a voice chat counts in the hour in which it began.';
COMMENT ON COLUMN public.insights_hourly_activity.event_count IS 'The number of events.';

CREATE VIEW public.insights_rooms AS
SELECT month, platform, room_id, sum(event_count) AS event_count,
    sum(message_count) AS message_count, count(*) AS people
FROM public.member_monthly_rooms JOIN public.insights_members USING (member_id)
WHERE is_present GROUP BY month, platform, room_id
-- The id of a chat between a person and a bot is that of the person's account.
HAVING count(*) > 1;

COMMENT ON VIEW public.insights_rooms IS
    'What the people who are present did in each room in each month. A room is left out in a month in which one person alone was active there: the id of a private chat is that of a person''s account.';
COMMENT ON COLUMN public.insights_rooms.month IS
    'The first day of the month in the time zone of the community.';
COMMENT ON COLUMN public.insights_rooms.platform IS 'telegram, discord or another platform.';
COMMENT ON COLUMN public.insights_rooms.room_id IS 'The platform''s id of the group or channel.';
COMMENT ON COLUMN public.insights_rooms.event_count IS
    'The number of events of all types: messages, reactions, stays in voice chats and others.';
COMMENT ON COLUMN public.insights_rooms.message_count IS 'The number of messages.';
COMMENT ON COLUMN public.insights_rooms.people IS 'The number of people with an event in the room.';

CREATE VIEW public.insights_contributions AS
SELECT month, member_id, active_days, message_count, reaction_count, voice_minutes
FROM public.member_monthly_highlights JOIN public.insights_members USING (member_id)
WHERE is_present;

COMMENT ON VIEW public.insights_contributions IS
    'What each person who is present did in each month. A month without activity has no row.';
COMMENT ON COLUMN public.insights_contributions.month IS
    'The first day of the month in the time zone of the community.';
COMMENT ON COLUMN public.insights_contributions.member_id IS 'The number of the person, such as #247.';
COMMENT ON COLUMN public.insights_contributions.active_days IS
    'The number of days with a message, a reaction or a stay in a voice chat.';
COMMENT ON COLUMN public.insights_contributions.message_count IS 'The number of messages.';
COMMENT ON COLUMN public.insights_contributions.reaction_count IS 'The number of reactions.';
COMMENT ON COLUMN public.insights_contributions.voice_minutes IS 'The minutes spent in voice chats.';

CREATE VIEW public.insights_retention AS
WITH
-- Everybody who joined, in the month in which they did.
cohorts AS (
    SELECT joined_month, count(*) AS cohort_size FROM public.insights_members
    WHERE joined_month IS NOT NULL GROUP BY joined_month
),
-- Those who are members, in the months in which they were active.
active AS (
    SELECT joined_month, month, count(*) AS active_members
    FROM public.insights_members JOIN public.member_monthly_highlights USING (member_id)
    WHERE is_member AND month >= joined_month GROUP BY joined_month, month
),
-- The month of joining and all after it, up to yesterday.
months AS (
    SELECT joined_month, cohort_size, started::date AS month, (number - 1)::integer AS months_after,
        (started + interval '1 month')::date <= current_date AS is_over
    FROM cohorts, generate_series(
        joined_month::timestamp, (current_date - 1)::timestamp, interval '1 month'
    ) WITH ORDINALITY AS listed(started, number)
)
SELECT joined_month, months_after, month, cohort_size,
    coalesce(active_members, 0) AS active_members, is_over
FROM months LEFT JOIN active USING (joined_month, month);

COMMENT ON VIEW public.insights_retention IS
    'Of those who joined in a month, how many are members and were active in each month since then. Days are those of the time zone of the connection: set it to that of the community.';
COMMENT ON COLUMN public.insights_retention.joined_month IS
    'The first day of the month in which these people joined.';
COMMENT ON COLUMN public.insights_retention.months_after IS
    'The number of calendar months after the month of joining, which is 0.';
COMMENT ON COLUMN public.insights_retention.month IS 'The first day of the month of activity.';
COMMENT ON COLUMN public.insights_retention.cohort_size IS
    'The number of people who joined in the month, with those who are gone. Shares are of this number.';
COMMENT ON COLUMN public.insights_retention.active_members IS
    'The number of them who are members now, and were active in the month of activity.';
COMMENT ON COLUMN public.insights_retention.is_over IS
    'Whether the month of activity is over. Until then the number grows.';

CREATE VIEW public.insights_weekly_retention AS
SELECT joined_month, week, count(*) AS cohort_size, count(*) FILTER (WHERE is_over) AS people_over,
    count(*) FILTER (WHERE is_over AND is_member AND week = ANY(active_weeks)) AS active_members
FROM public.insights_members CROSS JOIN generate_series(1, 12) AS week,
    LATERAL (SELECT joined_day + 7 * week <= current_date AS is_over) AS passed
WHERE joined_month IS NOT NULL GROUP BY joined_month, week;

COMMENT ON VIEW public.insights_weekly_retention IS
    'Of those who joined in a month, how many are members and were active in each of the 12 weeks after their own day of joining. Days are those of the time zone of the connection: set it to that of the community.';
COMMENT ON COLUMN public.insights_weekly_retention.joined_month IS
    'The first day of the month in which these people joined.';
COMMENT ON COLUMN public.insights_weekly_retention.week IS
    'The week, 1 to 12: week 1 has the day of joining and the six after it.';
COMMENT ON COLUMN public.insights_weekly_retention.cohort_size IS
    'The number of people who joined in the month, with those who are gone.';
COMMENT ON COLUMN public.insights_weekly_retention.people_over IS
    'The number of them whose week is over. Shares are of this number.';
COMMENT ON COLUMN public.insights_weekly_retention.active_members IS
    'The number of those whose week is over, who are members now, and were active in it.';

CREATE VIEW public.insights_funnel AS
WITH
-- The invitations of each month and of the member who created them.
sent AS (
    SELECT date_trunc('month', created_at)::date AS invited_month, created_by AS inviter,
        count(*) AS invited
    FROM public.community_invitations GROUP BY 1, 2
),
-- Everybody who accepted one and is present, once in each month.
accepted AS (
    SELECT DISTINCT ON (invited_month, member_id)
        date_trunc('month', invitation.created_at)::date AS invited_month, inviter, member_id,
        invitation.created_at AS invited_at, accepted_at, approved_at, first_message_day,
        joined_day, active_weeks
    FROM public.community_invitations AS invitation
    JOIN public.insights_members ON member_id = accepted_by AND is_present
    ORDER BY invited_month, member_id, invitation.created_at
),
-- The steps that each of them has reached, each with all steps before it.
reached AS (
    SELECT *, approved_at IS NOT NULL AS approved,
        approved_at IS NOT NULL AND first_message_day IS NOT NULL AS wrote,
        coalesce(4 = ANY(active_weeks), false) AS was_active, joined_day + 28 <= current_date AS is_over
    FROM accepted
),
-- The number of those who reached each step.
counted AS (
    SELECT invited_month, inviter, count(*) AS joined, count(*) FILTER (WHERE approved) AS approved,
        count(*) FILTER (WHERE wrote) AS wrote,
        count(*) FILTER (WHERE wrote AND was_active) AS active_in_week_4,
        count(*) FILTER (WHERE wrote AND NOT was_active AND NOT is_over) AS week_4_not_over,
        percentile_cont(0.5) WITHIN GROUP (
            ORDER BY extract(epoch FROM accepted_at - invited_at) / 86400
        ) AS median_days_to_join,
        percentile_cont(0.5) WITHIN GROUP (
            ORDER BY extract(epoch FROM approved_at - accepted_at) / 86400
        ) FILTER (WHERE approved_at >= accepted_at) AS median_days_to_approval,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY first_message_day - approved_at::date)
            FILTER (WHERE first_message_day >= approved_at::date) AS median_days_to_first_message
    FROM reached GROUP BY invited_month, inviter
)
SELECT invited_month, inviter, coalesce(invited, 0) AS invited, coalesce(joined, 0) AS joined,
    coalesce(approved, 0) AS approved, coalesce(wrote, 0) AS wrote,
    coalesce(active_in_week_4, 0) AS active_in_week_4,
    coalesce(week_4_not_over, 0) AS week_4_not_over,
    median_days_to_join, median_days_to_approval, median_days_to_first_message
FROM sent FULL JOIN counted USING (invited_month, inviter);

COMMENT ON VIEW public.insights_funnel IS
    'What became of the invitations of each month, by inviter. Each step counts the people who reached it and all steps before it. Days are those of the time zone of the connection: set it to that of the community.';
COMMENT ON COLUMN public.insights_funnel.invited_month IS
    'The first day of the month in which the invitations were created.';
COMMENT ON COLUMN public.insights_funnel.inviter IS
    'The number of the member: invitations are counted with their creator, and people with their inviter, who can be another one since.';
COMMENT ON COLUMN public.insights_funnel.invited IS 'The number of invitations.';
COMMENT ON COLUMN public.insights_funnel.joined IS
    'The number of people who accepted one, and are members or contacts now.';
COMMENT ON COLUMN public.insights_funnel.approved IS 'The number of these who were approved.';
COMMENT ON COLUMN public.insights_funnel.wrote IS 'The number of these who wrote a message.';
COMMENT ON COLUMN public.insights_funnel.active_in_week_4 IS
    'The number of these who were active in the fourth week after joining.';
COMMENT ON COLUMN public.insights_funnel.week_4_not_over IS
    'The number of those who wrote, were not active in the fourth week, and whose fourth week is not over.';
COMMENT ON COLUMN public.insights_funnel.median_days_to_join IS
    'The median time from the invitation to its acceptance, in days.';
COMMENT ON COLUMN public.insights_funnel.median_days_to_approval IS
    'The median time from the acceptance to the approval, in days, without people who were approved before.';
COMMENT ON COLUMN public.insights_funnel.median_days_to_first_message IS
    'The median number of days from the day of the approval to that of the first message, without people who wrote before.';

CREATE VIEW public.insights_inviters AS
WITH recent AS (
    SELECT DISTINCT member_id FROM public.member_daily_highlights
    WHERE highlight_date BETWEEN current_date - 28 AND current_date - 1
)
SELECT joined_month, inviter, count(*) AS joined, count(*) FILTER (WHERE is_member) AS members,
    count(*) FILTER (WHERE is_gone) AS gone,
    count(*) FILTER (WHERE is_member AND recent.member_id IS NOT NULL) AS stayed
FROM public.insights_members LEFT JOIN recent USING (member_id)
WHERE joined_month IS NOT NULL AND inviter IS NOT NULL GROUP BY joined_month, inviter;

COMMENT ON VIEW public.insights_inviters IS
    'What became of the people whom each member brought. Days are those of the time zone of the connection: set it to that of the community.';
COMMENT ON COLUMN public.insights_inviters.joined_month IS
    'The first day of the month in which these people joined.';
COMMENT ON COLUMN public.insights_inviters.inviter IS
    'The number of the member who invited them.';
COMMENT ON COLUMN public.insights_inviters.joined IS
    'The number of people who joined, with those who are gone.';
COMMENT ON COLUMN public.insights_inviters.members IS 'The number of them who are members now.';
COMMENT ON COLUMN public.insights_inviters.gone IS 'The number of them who are gone.';
COMMENT ON COLUMN public.insights_inviters.stayed IS
    'The number of them who are members now, and were active in the last 28 days up to yesterday.';

CREATE VIEW public.insights_at_risk AS
SELECT member_id, active_days, active_days_before
FROM (
    SELECT member_id,
        count(*) FILTER (WHERE highlight_date >= current_date - 28) AS active_days,
        count(*) FILTER (WHERE highlight_date < current_date - 28) AS active_days_before
    FROM public.member_daily_highlights JOIN public.insights_members USING (member_id)
    WHERE highlight_date BETWEEN current_date - 56 AND current_date - 1 AND is_member
    GROUP BY member_id
) AS counted
WHERE active_days_before >= 4 AND active_days * 2 < active_days_before;

COMMENT ON VIEW public.insights_at_risk IS
    'Members who have become much less active: on at least 4 days in the 28 days before the last 28 ones, and on less than half as many since then. The last 28 days end yesterday, in the time zone of the connection: set it to that of the community.';
COMMENT ON COLUMN public.insights_at_risk.member_id IS 'The number of the member, such as #247.';
COMMENT ON COLUMN public.insights_at_risk.active_days IS
    'The number of days on which the member was active in the last 28 days up to yesterday.';
COMMENT ON COLUMN public.insights_at_risk.active_days_before IS
    'The number of days on which the member was active in the 28 days before these.';
