-- Reverse segments.sql.

DROP TABLE public.directory_segments;
