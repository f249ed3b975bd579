-- The indexes, except those of constraints and of the text search. The comment of each names the
-- query that it serves. "Index-only" means that the query does not visit the table.

-- find a member by GitHub username
CREATE INDEX member_github_username_idx ON public.community_members (github_username);
-- keep a verified account unique; GitHub ignores the case of usernames
CREATE UNIQUE INDEX member_github_verified_idx
    ON public.community_members (lower(github_username)) WHERE github_verified;
-- find a member by Discord account: some people write on both platforms
CREATE INDEX member_discord_id_idx ON public.community_members ((profile_data ->> 'discord_id'))
    WHERE profile_data ->> 'discord_id' IS NOT NULL;
-- list the newcomers to review, newest first
CREATE INDEX member_status_idx ON public.community_members (status, created_at DESC);
-- list the members with a role in a country, best reputation first
CREATE INDEX member_directory_idx
    ON public.community_members (primary_role, country, reputation_score DESC, id DESC)
    WHERE status = 'active' AND deleted_at IS NULL;
-- list members in the panel, newest first, page by page; the key breaks ties
CREATE INDEX member_created_at_idx ON public.community_members (created_at DESC, id DESC)
    WHERE deleted_at IS NULL;
-- list the members that a member invited: one step of the invitation tree, index-only
CREATE INDEX member_invited_by_idx ON public.community_members (invited_by) INCLUDE (member_id);
-- check whether any banned member was erased, when there is no key to recognise them
CREATE INDEX member_banned_and_erased_idx ON public.community_members (telegram_id)
    WHERE telegram_id LIKE 'banned:%';

-- list open invitations, newest first; count the outcomes of some weeks, index-only
CREATE INDEX invitation_status_idx ON public.community_invitations (status, created_at DESC)
    INCLUDE (expires_at, accepted_at);
-- list invitations in the panel, newest first, page by page; the key breaks ties
CREATE INDEX invitation_created_at_idx
    ON public.community_invitations (created_at DESC, invitation_id DESC);
-- list the invitations of a member, newest first
CREATE INDEX invitation_created_by_idx
    ON public.community_invitations (created_by, created_at DESC);
-- find the invitation with which a member joined
CREATE INDEX invitation_accepted_by_idx ON public.community_invitations (accepted_by)
    WHERE accepted_by IS NOT NULL;
-- find overdue invitations among any number of others
CREATE INDEX invitation_pending_expires_at_idx ON public.community_invitations (expires_at)
    WHERE status = 'pending';
-- keep one open invitation per person; Telegram ignores the case of usernames
CREATE UNIQUE INDEX invitation_open_username_idx
    ON public.community_invitations (lower(invited_telegram_username))
    WHERE status = 'pending' AND invited_telegram_username IS NOT NULL;

-- list the links that lead to an entity
CREATE INDEX relationship_entity_b_idx ON public.member_relationships (entity_id_b);
-- list the links of a type
CREATE INDEX relationship_type_idx ON public.member_relationships (relationship_type);
-- list relationships in the panel, newest first, page by page; the key breaks ties
CREATE INDEX relationship_created_at_idx
    ON public.member_relationships (created_at DESC, id DESC);

-- count the last days of a member by type, index-only
CREATE INDEX participation_member_id_idx
    ON public.member_participation (member_id, occurred_at DESC) INCLUDE (event_type);
-- list the events of a rare type
CREATE INDEX participation_event_type_idx ON public.member_participation (event_type);
-- find the events of a day; find the most active members, index-only
CREATE INDEX participation_occurred_at_idx
    ON public.member_participation (occurred_at) INCLUDE (member_id);

-- list the highlights of a day, for its roll-up or page by page; find the most active members,
-- index-only
CREATE INDEX highlight_date_idx
    ON public.member_daily_highlights (highlight_date DESC, member_id DESC)
    INCLUDE (message_count, reaction_count, voice_minutes);

-- list the history of a member, newest first
CREATE INDEX audit_member_id_idx ON public.directory_audit_log (member_id, id DESC);
-- list the changes of statuses since a day, to compute earlier counts from the present ones
CREATE INDEX audit_member_status_idx ON public.directory_audit_log (changed_at)
    WHERE table_name = 'community_members' AND action = 'UPDATE' AND changes ? 'status';
