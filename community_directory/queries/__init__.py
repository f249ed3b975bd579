"""What can be asked and done: one file per table, same names.

Every helper is an async function that works on the connection pool of `database.connect`, or inside the caller's own
`async with transaction():`. It answers with frozen dataclasses and fails with a `DirectoryError`. What the database
itself refuses spoils the caller's transaction, unless that one call has a transaction of its own inside: a savepoint.
"""
