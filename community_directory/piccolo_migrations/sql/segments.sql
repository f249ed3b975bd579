-- Named sets of filters of people, which all managers share.
CREATE TABLE public.directory_segments (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name varchar(60) NOT NULL,
    -- The filters and the order, as texts, as in the address of the page People.
    filters jsonb NOT NULL,
    -- The actor who saved it.
    created_by varchar(255) NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT segment_name_idx UNIQUE (name),
    CONSTRAINT segment_name_visible_check CHECK (name ~ '[^[:space:]\u0085\u00a0\u1680\u2000-\u200f\u2028\u2029\u202f\u205f\u3000\ufeff\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff\u2800\ufff9-\ufffc\U00013430-\U0001343f\U00013441\U00013442\U00016fe4\U0001d159]'),
    CONSTRAINT segment_name_one_line_check CHECK (name !~ '[\u0001-\u001f\u007f-\u009f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]'),
    CONSTRAINT segment_filters_check CHECK (
        jsonb_typeof(filters) = 'object'
        AND NOT jsonb_path_exists(filters, 'strict $.* ? (@.type() != "string")')
    ),
    CONSTRAINT segment_created_at_range_check CHECK (
        created_at >= '2000-01-01 00:00Z' AND created_at < '2200-01-01 00:00Z'
    )
);

-- The first three, whose days move with the calendar: active members for a month and more, who were
-- not active in the last 30 days; everybody who was added since the first day of this month; and
-- active members, those first who invited most people.
INSERT INTO public.directory_segments (name, filters, created_by, created_at) VALUES
    (
        'At risk',
        '{"status": "active", "joined_to": "30d", "quiet_days": "30", "never_active": "1"}',
        'community-directory', '2026-11-29 15:30:00Z'
    ),
    (
        'Newcomers of this month',
        '{"joined_from": "month", "sort": "-joined"}',
        'community-directory', '2026-11-29 15:30:01Z'
    ),
    (
        'Best connected',
        '{"status": "active", "sort": "-invited"}',
        'community-directory', '2026-11-29 15:30:02Z'
    );
