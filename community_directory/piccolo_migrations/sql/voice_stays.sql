-- The time of a VOICE event is its start, and its duration is a number of seconds.

LOCK TABLE public.member_participation IN SHARE ROW EXCLUSIVE MODE;

-- A duration that is a number in a text becomes that number. Any other duration that is no number of
-- seconds up to 31 days counted as zero, or was no stay of one person: it is kept under the name
-- invalid_duration_seconds. PostgreSQL orders JSON values by their types first, so only a number
-- lies between two numbers.
UPDATE public.member_participation SET event_metadata = (
    SELECT jsonb_object_agg(
        CASE WHEN is_duration AND number NOT BETWEEN '0' AND '2678400'
            THEN 'invalid_' || key ELSE key END,
        CASE WHEN is_duration AND number BETWEEN '0' AND '2678400' THEN number ELSE value END
    )
    FROM jsonb_each(event_metadata), LATERAL (
        SELECT key IN ('duration_seconds', 'voice_duration_seconds') AS is_duration,
            CASE WHEN jsonb_typeof(value) = 'string'
                    AND value #>> '{}' ~ '^[0-9]{1,7}(\.[0-9]{1,6})?$'
                THEN to_jsonb((value #>> '{}')::numeric) ELSE value END AS number
    ) AS read
)
WHERE event_type = 'VOICE' AND (
    event_metadata -> 'duration_seconds' NOT BETWEEN '0' AND '2678400'
    OR event_metadata -> 'voice_duration_seconds' NOT BETWEEN '0' AND '2678400'
);

-- On Telegram, the message that reports a voice chat is sent at its end: that was the stored time.
UPDATE public.member_participation
SET occurred_at = greatest(
    occurred_at - make_interval(secs => round(coalesce(
        event_metadata ->> 'duration_seconds', event_metadata ->> 'voice_duration_seconds'
    )::numeric, 6)::double precision),
    '2000-01-01 00:00Z'
)
WHERE event_type = 'VOICE' AND platform = 'telegram'
    AND event_metadata ?| ARRAY['duration_seconds', 'voice_duration_seconds'];

-- find the stays that reach into a day
CREATE INDEX IF NOT EXISTS participation_voice_idx ON public.member_participation USING gist (tsrange(
    occurred_at AT TIME ZONE 'UTC',
    (occurred_at AT TIME ZONE 'UTC') + make_interval(secs => round(coalesce(
        event_metadata ->> 'duration_seconds', event_metadata ->> 'voice_duration_seconds', '0'
    )::numeric, 6)::double precision)
)) WHERE event_type = 'VOICE';

-- The next nightly job rolls up every day again.
DELETE FROM public.directory_rolled_up_days;
