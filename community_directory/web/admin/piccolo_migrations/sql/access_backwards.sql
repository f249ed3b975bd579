-- Drop everything that access.sql creates. Viewers can't sign in any more; invited users stay switched off.
DROP TABLE public.panel_visits;
DROP TABLE public.panel_invitations;
DROP TABLE public.panel_viewers;
