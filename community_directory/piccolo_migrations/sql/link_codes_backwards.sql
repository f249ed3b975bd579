-- Reverse link_codes.sql.

DROP TABLE public.directory_link_codes;
DROP TABLE public.directory_link_tries;
DROP TABLE public.directory_proved_pairs;
