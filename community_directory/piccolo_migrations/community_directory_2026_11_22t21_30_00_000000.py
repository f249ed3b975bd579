from community_directory.sql_migration import sql_migration

ID = "2026-11-22T21:30:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "Indexes for the Insights page"

FORWARDS = """
-- what happened to statuses since a day, to draw the way back from now
CREATE INDEX audit_member_status_idx ON public.directory_audit_log (changed_at)
    WHERE table_name = 'community_members' AND action = 'UPDATE' AND changes ? 'status';
DROP INDEX public.invitation_status_idx;
-- open invitations, newest first; what became of those of some weeks, without a visit to the table
CREATE INDEX invitation_status_idx ON public.community_invitations (status, created_at DESC)
    INCLUDE (expires_at, accepted_at);
DROP INDEX public.highlight_date_idx;
-- everybody's day: for its roll-up, page by page, and who was the most active without a visit to the table
CREATE INDEX highlight_date_idx ON public.member_daily_highlights (highlight_date DESC, member_id DESC)
    INCLUDE (message_count, reaction_count, voice_minutes);
"""

BACKWARDS = """
DROP INDEX public.audit_member_status_idx, public.invitation_status_idx, public.highlight_date_idx;
CREATE INDEX invitation_status_idx ON public.community_invitations (status, created_at DESC);
CREATE INDEX highlight_date_idx ON public.member_daily_highlights (highlight_date DESC, member_id DESC);
"""


async def forwards():
    return sql_migration(ID, DESCRIPTION, forwards=FORWARDS, backwards=BACKWARDS)
