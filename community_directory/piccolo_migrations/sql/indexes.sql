-- Every index that is not a constraint's and not for a text search, and what it serves.

-- a member by GitHub account
CREATE INDEX member_github_username_idx ON public.community_members (github_username);
-- an account proves one person; GitHub's usernames have no case
CREATE UNIQUE INDEX member_github_verified_idx
    ON public.community_members (lower(github_username)) WHERE github_verified;
-- a member by Discord account, for a person who writes on both platforms
CREATE INDEX member_discord_id_idx ON public.community_members ((profile_data ->> 'discord_id'))
    WHERE profile_data ->> 'discord_id' IS NOT NULL;
-- newcomers to review, newest first
CREATE INDEX member_status_idx ON public.community_members (status, created_at DESC);
-- the directory's page of a role in a country, best reputation first
CREATE INDEX member_directory_idx
    ON public.community_members (primary_role, country, reputation_score DESC, id DESC)
    WHERE status = 'active' AND deleted_at IS NULL;
-- the panel's list of members, newest first, page by page; the key breaks ties
CREATE INDEX member_created_at_idx ON public.community_members (created_at DESC, id DESC)
    WHERE deleted_at IS NULL;
-- whom a member invited: one step of the invitation tree, without a visit to the table
CREATE INDEX member_invited_by_idx ON public.community_members (invited_by) INCLUDE (member_id);
-- whether anybody was banned and erased, when there is no key to tell whom
CREATE INDEX member_banned_and_erased_idx ON public.community_members (telegram_id)
    WHERE telegram_id LIKE 'banned:%';

-- open invitations, newest first; what became of those of some weeks, without a visit to the table
CREATE INDEX invitation_status_idx ON public.community_invitations (status, created_at DESC)
    INCLUDE (expires_at, accepted_at);
-- the panel's list of invitations, newest first, page by page; the key breaks ties
CREATE INDEX invitation_created_at_idx
    ON public.community_invitations (created_at DESC, invitation_id DESC);
-- the invitations of a member, newest first
CREATE INDEX invitation_created_by_idx
    ON public.community_invitations (created_by, created_at DESC);
-- the invitation that brought a member
CREATE INDEX invitation_accepted_by_idx ON public.community_invitations (accepted_by)
    WHERE accepted_by IS NOT NULL;
-- what is overdue, whatever the number of settled ones
CREATE INDEX invitation_pending_expires_at_idx ON public.community_invitations (expires_at)
    WHERE status = 'pending';
-- one open invitation per person; Telegram's usernames have no case
CREATE UNIQUE INDEX invitation_open_username_idx
    ON public.community_invitations (lower(invited_telegram_username))
    WHERE status = 'pending' AND invited_telegram_username IS NOT NULL;

-- the links that lead to an entity
CREATE INDEX relationship_entity_b_idx ON public.member_relationships (entity_id_b);
-- all links of a type
CREATE INDEX relationship_type_idx ON public.member_relationships (relationship_type);
-- the panel's list of relationships, newest first, page by page; the key breaks ties
CREATE INDEX relationship_created_at_idx
    ON public.member_relationships (created_at DESC, id DESC);

-- a member's last days, by type, without a visit to the table
CREATE INDEX participation_member_id_idx
    ON public.member_participation (member_id, occurred_at DESC) INCLUDE (event_type);
-- all events of a rare type
CREATE INDEX participation_event_type_idx ON public.member_participation (event_type);
-- the events of a day, and who were the most active, without a visit to the table
CREATE INDEX participation_occurred_at_idx
    ON public.member_participation (occurred_at) INCLUDE (member_id);

-- everybody's day: for its roll-up, page by page, and who was the most active without a visit to
-- the table
CREATE INDEX highlight_date_idx
    ON public.member_daily_highlights (highlight_date DESC, member_id DESC)
    INCLUDE (message_count, reaction_count, voice_minutes);

-- the history of a member, newest first
CREATE INDEX audit_member_id_idx ON public.directory_audit_log (member_id, id DESC);
-- what happened to statuses since a day, to draw the way back from now
CREATE INDEX audit_member_status_idx ON public.directory_audit_log (changed_at)
    WHERE table_name = 'community_members' AND action = 'UPDATE' AND changes ? 'status';
