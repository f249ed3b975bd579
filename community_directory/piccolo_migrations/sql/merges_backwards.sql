-- Reverse merges.sql. Merged members stay merged: the accounts and events are those of the others.

DROP TRIGGER member_participation_follow_merge ON public.member_participation;
DROP TRIGGER community_invitations_follow_merge ON public.community_invitations;
DROP TRIGGER community_members_before_invited ON public.community_members;
DROP TRIGGER community_members_before_other_inviter ON public.community_members;
DROP TRIGGER community_members_check_merge ON public.community_members;
DROP TRIGGER community_members_check_new_merge ON public.community_members;
DROP FUNCTION public.member_participation_follow_merge();
DROP FUNCTION public.community_invitations_follow_merge();
DROP FUNCTION public.community_members_before_invited();
DROP FUNCTION public.community_members_check_merge();
DROP FUNCTION public.community_members_follow_merge(text);
DROP FUNCTION public.member_participation_collapse(uuid);
DROP TABLE public.directory_merged_rows;
DROP INDEX public.merge_standing_idx;
DROP INDEX public.merge_into_idx;

CREATE OR REPLACE FUNCTION public.community_members_check_status() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.status, NEW.status) NOT IN (
        ('not_member', 'pending'), ('pending', 'active'), ('pending', 'not_member'),
        ('active', 'suspended'), ('suspended', 'active'), ('banned', 'active')
    ) AND NEW.status <> 'banned' THEN
        RAISE EXCEPTION 'There is no way from % to %.', OLD.status, NEW.status
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'community_members',
                COLUMN = 'status', CONSTRAINT = 'member_status_transition';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION public.community_invitations_check_status() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The invitation is % and stays so.', OLD.status
        USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'community_invitations',
            COLUMN = 'status', CONSTRAINT = 'invitation_status_transition';
END $$;
