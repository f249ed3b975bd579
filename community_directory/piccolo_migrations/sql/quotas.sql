-- Quotas: how many open invitations a member has at most, and how many they create in seven days.

-- Return the time from which a member has an open invitation left, and the time from which they have
-- one of seven days left. NULL means now, and infinity never. A limit of NULL is none.
--
-- A member with a limit of 10 waits until 9 are left, which is for the tenth one from the last.
CREATE FUNCTION public.community_invitations_free_at(
    inviter text, max_open integer, max_weekly integer,
    OUT open_at timestamptz, OUT weekly_at timestamptz
) LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT
        CASE WHEN max_open = 0 THEN 'infinity' WHEN max_open > 0 THEN (
            SELECT expires_at FROM public.community_invitations
            WHERE created_by = inviter AND status = 'pending' AND expires_at > now()
            ORDER BY expires_at DESC OFFSET max_open - 1 LIMIT 1
        ) END,
        CASE WHEN max_weekly = 0 THEN 'infinity' WHEN max_weekly > 0 THEN (
            SELECT created_at + interval '168 hours' FROM public.community_invitations
            WHERE created_by = inviter AND created_at > now() - interval '168 hours'
            ORDER BY created_at DESC OFFSET max_weekly - 1 LIMIT 1
        ) END
$$;

-- Return the same for a member who is about to invite a username, or anybody if it is NULL.
--
-- Calls for the same member wait until the transaction has ended, and then count its invitation. A
-- username that has an open invitation costs nothing: the invitation will be extended. It is
-- locked, or else somebody could redeem it before.
CREATE FUNCTION public.community_invitations_claim(
    inviter text, username text, max_open integer, max_weekly integer,
    OUT open_at timestamptz, OUT weekly_at timestamptz
) LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF max_open IS NULL AND max_weekly IS NULL THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('community_invitations ' || inviter, 0));
    PERFORM FROM public.community_invitations AS invitation
    JOIN public.community_members AS creator ON creator.member_id = invitation.created_by
    WHERE lower(invitation.invited_telegram_username) = lower(username)
        AND invitation.status = 'pending' AND invitation.expires_at > now()
        AND creator.status = 'active' AND creator.deleted_at IS NULL AND NOT creator.is_bot
    FOR UPDATE OF invitation;
    IF NOT FOUND THEN
        SELECT * INTO open_at, weekly_at
        FROM public.community_invitations_free_at(inviter, max_open, max_weekly);
    END IF;
END $$;
