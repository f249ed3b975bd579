"""The lock of merges and roll-ups, and of every other change that both must not meet."""

MERGE_LOCK_KEY = 0x6D65726765
"""The key of the advisory lock: "merge" in ASCII."""

# A roll-up waits for a merge, and a merge for roll-ups: otherwise a roll-up that read the events
# before the merge could store highlights of the merged member after it.
LOCK_OUT_MERGES = f"SELECT pg_advisory_xact_lock_shared({MERGE_LOCK_KEY})"

# It excludes other merges, roll-ups and archives. A merge reads all events, and changes the numbers
# that they may have: in a cluster of Citus both need the connections of one transaction. PostgreSQL
# ignores the setting.
LOCK_MERGES = f"""
SELECT pg_advisory_xact_lock({MERGE_LOCK_KEY}),
    set_config('citus.multi_shard_modify_mode', 'sequential', true)
"""
