-- Which events each day was rolled up from: where they changed, the day is rolled up again.
CREATE TABLE public.directory_rolled_up_days (
    day date PRIMARY KEY,
    -- the sum of a hash of each event's member and time
    checksum numeric NOT NULL
);
