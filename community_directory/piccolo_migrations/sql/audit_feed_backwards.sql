-- Reverse audit_feed.sql.

DROP TRIGGER directory_audit_log_notify ON public.directory_audit_log;
DROP FUNCTION public.directory_audit_log_notify();
DROP TABLE public.directory_audit_consumers;
