-- Reverse audit_2026_11_28.sql.
ALTER FUNCTION public.directory_audit_log_append_only() RESET search_path;
GRANT EXECUTE ON FUNCTION public.directory_audit_log_write() TO PUBLIC;
DROP FUNCTION public.directory_audit_log_erase(text, text, text);
