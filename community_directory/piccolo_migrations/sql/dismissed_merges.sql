-- Pairs of members who are two persons, although something suggests that they are one. The member
-- with the lower number comes first.
CREATE TABLE public.directory_dismissed_merges (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    member_a varchar(20) NOT NULL,
    member_b varchar(20) NOT NULL,
    dismissed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT dismissed_merge_idx UNIQUE (member_a, member_b),
    CONSTRAINT dismissed_merge_member_a_fkey FOREIGN KEY (member_a)
        REFERENCES public.community_members (member_id) ON DELETE RESTRICT ON UPDATE RESTRICT,
    CONSTRAINT dismissed_merge_member_b_fkey FOREIGN KEY (member_b)
        REFERENCES public.community_members (member_id) ON DELETE RESTRICT ON UPDATE RESTRICT,
    CONSTRAINT dismissed_merge_order_check CHECK (
        (length(member_a), member_a COLLATE "C") < (length(member_b), member_b COLLATE "C")
    ),
    CONSTRAINT dismissed_merge_dismissed_at_range_check CHECK (
        dismissed_at >= '2000-01-01 00:00Z' AND dismissed_at < '2200-01-01 00:00Z'
    )
);

-- Each of the two members has an entry in the log.
CREATE TRIGGER directory_dismissed_merges_audit_a
    AFTER INSERT OR UPDATE OR DELETE ON public.directory_dismissed_merges
    FOR EACH ROW EXECUTE FUNCTION
        public.directory_audit_log_write('directory_dismissed_merges', 'id', 'member_a');
CREATE TRIGGER directory_dismissed_merges_audit_b
    AFTER INSERT OR UPDATE OR DELETE ON public.directory_dismissed_merges
    FOR EACH ROW EXECUTE FUNCTION
        public.directory_audit_log_write('directory_dismissed_merges', 'id', 'member_b');

-- find the people with the same name and the same inviter, index-only
CREATE INDEX member_inviter_name_idx
    ON public.community_members (invited_by, public.directory_search_text(name))
    INCLUDE (member_id, name)
    WHERE invited_by IS NOT NULL AND deleted_at IS NULL AND NOT is_bot;
