-- Reverse erased_accounts.sql.

DROP TRIGGER member_accounts_check_erased ON public.member_accounts;
DROP FUNCTION public.member_accounts_check_erased();

DROP TRIGGER community_members_remember_ban ON public.community_members;
DROP FUNCTION public.community_members_remember_ban();

-- Somebody who was banned after their erasure stays banned under one of their accounts.
UPDATE public.community_members AS member SET telegram_id = 'banned:' || erased.fingerprint
FROM (
    SELECT member_id, min(fingerprint) AS fingerprint
    FROM public.directory_erased_accounts GROUP BY member_id
) AS erased
WHERE erased.member_id = member.member_id AND status = 'banned' AND telegram_id LIKE 'erased:%';

DROP TABLE public.directory_erased_accounts;

-- check whether any banned member was erased, when there is no key to recognise them
CREATE INDEX member_banned_and_erased_idx ON public.community_members (telegram_id)
    WHERE telegram_id LIKE 'banned:%';
