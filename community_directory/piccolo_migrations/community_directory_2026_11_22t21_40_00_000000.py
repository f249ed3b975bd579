from community_directory.sql_migration import sql_migration

ID = "2026-11-22T21:40:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "Indexes for the panel's lists"

FORWARDS = """
-- the panel's list of members, newest first, page by page; the key breaks ties
CREATE INDEX member_created_at_idx ON public.community_members (created_at DESC, id DESC) WHERE deleted_at IS NULL;
-- the panel's list of invitations, newest first, page by page; the key breaks ties
CREATE INDEX invitation_created_at_idx ON public.community_invitations (created_at DESC, invitation_id DESC);
-- the panel's list of relationships, newest first, page by page; the key breaks ties
CREATE INDEX relationship_created_at_idx ON public.member_relationships (created_at DESC, id DESC);
"""

BACKWARDS = """
DROP INDEX public.member_created_at_idx, public.invitation_created_at_idx, public.relationship_created_at_idx;
"""


async def forwards():
    return sql_migration(ID, DESCRIPTION, forwards=FORWARDS, backwards=BACKWARDS)
