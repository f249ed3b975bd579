-- Reverse moved_rooms.sql.

DROP FUNCTION public.member_participation_take_back(text, text, text, text, text);
DROP INDEX public.member_telegram_username_idx;
DROP TABLE public.directory_moved_rooms;
