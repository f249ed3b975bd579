-- The change feed: consumers that follow the audit log, and a notification that wakes them.

-- The last entry of the log that each consumer has dealt with.
CREATE TABLE public.directory_audit_consumers (
    name varchar(63) PRIMARY KEY,
    last_id bigint NOT NULL,
    CONSTRAINT audit_consumer_name_check CHECK (name ~ '^[a-z][a-z0-9_.-]*$'),
    CONSTRAINT audit_consumer_last_id_check CHECK (last_id >= 0)
);

-- Wake the followers when the transaction commits.
--
-- A commit with a notification takes a lock of the whole server, in which commits wait for each
-- other's flush of the WAL. One transaction at a time takes the advisory lock ("feed" in ASCII), and
-- notifies; the others do not wait. Followers also look for themselves, so what is committed
-- without a notification is noticed within a second.
CREATE FUNCTION public.directory_audit_log_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_catalog.pg_try_advisory_xact_lock(1717921124) THEN
        NOTIFY directory_audit_log;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER directory_audit_log_notify
    AFTER INSERT ON public.directory_audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION public.directory_audit_log_notify();
