-- Reverse bot.sql.

DROP TABLE public.directory_bot_notices;
DROP TABLE public.directory_bot_chats;
DROP TRIGGER member_requests_audit ON public.member_requests;
