-- Reverse bot_states.sql.

DROP TABLE public.directory_bot_states;
