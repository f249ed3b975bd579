-- Drop everything that the other scripts create, except the extension: it may have other users.

DROP INDEX public.audit_member_id_idx, public.audit_member_status_idx, public.highlight_date_idx,
    public.invitation_accepted_by_idx, public.invitation_created_at_idx,
    public.invitation_created_by_idx, public.invitation_open_username_idx,
    public.invitation_pending_expires_at_idx, public.invitation_status_idx,
    public.member_banned_and_erased_idx, public.member_created_at_idx, public.member_directory_idx,
    public.member_discord_id_idx, public.member_github_username_idx,
    public.member_github_verified_idx, public.member_invited_by_idx,
    public.member_reputation_score_idx, public.member_search_0_idx, public.member_search_1001_idx,
    public.member_search_101_idx, public.member_search_1_idx, public.member_status_idx,
    public.participation_event_type_idx, public.participation_member_id_idx,
    public.participation_occurred_at_idx, public.relationship_created_at_idx,
    public.relationship_entity_b_idx, public.relationship_type_idx;

ALTER TABLE public.community_members DROP COLUMN search_text;
DROP FUNCTION public.directory_search_text(text);

DROP TRIGGER directory_audit_log_append_only ON public.directory_audit_log;
DROP TRIGGER community_invitations_audit ON public.community_invitations;
DROP TRIGGER community_members_audit ON public.community_members;
DROP FUNCTION public.directory_audit_log_append_only(), public.directory_audit_log_write();

DROP TRIGGER community_invitations_before_write ON public.community_invitations;
DROP TRIGGER community_invitations_check_status ON public.community_invitations;
DROP FUNCTION public.community_invitations_before_write(),
    public.community_invitations_check_status();

DROP TRIGGER community_members_before_write ON public.community_members;
DROP TRIGGER community_members_check_status ON public.community_members;
DROP TRIGGER community_members_check_inviter ON public.community_members;
DROP TRIGGER community_members_check_new_inviter ON public.community_members;
DROP FUNCTION public.community_members_before_write(), public.community_members_check_inviter(),
    public.community_members_check_status();
