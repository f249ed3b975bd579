UPDATE public.directory_segments
SET filters = '{"status": "active", "joined_to": "30d", "quiet_days": "30", "never_active": "1"}'
WHERE name = 'At risk' AND created_by = 'community-directory'
    AND filters = '{"status": "member", "activity": "at_risk"}';
