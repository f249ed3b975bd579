-- The members of an organization. The index can be created before with CREATE INDEX CONCURRENTLY.

-- find the members of a rare organization
CREATE INDEX IF NOT EXISTS member_organization_idx ON public.community_members (organization)
    WHERE organization IS NOT NULL AND deleted_at IS NULL;
