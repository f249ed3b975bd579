-- A checksum of the events from which each day was rolled up. A day whose events have changed is
-- rolled up again.
CREATE TABLE public.directory_rolled_up_days (
    day date PRIMARY KEY,
    -- the sum of the hashes of each event's member and time
    checksum numeric NOT NULL
);
