-- The lists of the panel, and the invitations for a person, at a million members. Each index can be
-- created before with CREATE INDEX CONCURRENTLY.

-- list the removed members in the panel, newest first; the key breaks ties
CREATE INDEX IF NOT EXISTS member_removed_idx
    ON public.community_members (created_at DESC, id DESC) WHERE deleted_at IS NOT NULL;
-- find the different roles and countries, and the members of a rare one
CREATE INDEX IF NOT EXISTS member_role_idx ON public.community_members (primary_role);
CREATE INDEX IF NOT EXISTS member_home_country_idx ON public.community_members (country);

-- find the invitations for a username, open or not: those of a person, for an export or an erasure
CREATE INDEX IF NOT EXISTS invitation_username_idx
    ON public.community_invitations (lower(invited_telegram_username))
    WHERE invited_telegram_username IS NOT NULL;

-- list accounts in the panel, newest first, page by page; the key breaks ties
CREATE INDEX IF NOT EXISTS member_account_linked_at_idx
    ON public.member_accounts (linked_at DESC, id DESC);

-- list the changes of a time in the panel, newest first, page by page; the key breaks ties
CREATE INDEX IF NOT EXISTS audit_changed_at_idx
    ON public.directory_audit_log (changed_at DESC, id DESC);
-- list the changes that somebody made, newest first
CREATE INDEX IF NOT EXISTS audit_actor_idx
    ON public.directory_audit_log (lower(actor), changed_at DESC, id DESC);
