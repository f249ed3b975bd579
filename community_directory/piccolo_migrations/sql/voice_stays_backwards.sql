LOCK TABLE public.member_participation IN SHARE ROW EXCLUSIVE MODE;
DROP INDEX public.participation_voice_idx;
UPDATE public.member_participation
SET occurred_at = occurred_at + make_interval(secs => round(coalesce(
    event_metadata ->> 'duration_seconds', event_metadata ->> 'voice_duration_seconds'
)::numeric, 6)::double precision)
WHERE event_type = 'VOICE' AND platform = 'telegram'
    AND event_metadata ?| ARRAY['duration_seconds', 'voice_duration_seconds'];
DELETE FROM public.directory_rolled_up_days;
