-- Drop everything that panel.sql creates.
DROP TABLE public.panel_attempts;
DROP TRIGGER IF EXISTS panel_user_changed ON public.piccolo_user;
DROP FUNCTION public.panel_user_changed();
