-- "At risk" means the same in the segments and in Insights: members who were active on 4 days or
-- more of the 28 days before the last 28, and on less than half as many of the last 28. A segment
-- that a manager has renamed, removed or saved stays as it is.
UPDATE public.directory_segments
SET filters = '{"status": "member", "activity": "at_risk"}'
WHERE name = 'At risk' AND created_by = 'community-directory' AND filters =
    '{"status": "active", "joined_to": "30d", "quiet_days": "30", "never_active": "1"}';
