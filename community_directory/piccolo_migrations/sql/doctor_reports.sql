-- The last reports of `community-directory doctor`: one of a sample of the rows, and one of all.
CREATE TABLE public.directory_doctor_reports (
    is_full boolean PRIMARY KEY,
    checked_at timestamptz NOT NULL,
    -- without personal data
    report jsonb NOT NULL
);
