"""Queries and commands: one module per table or subject.

Each helper is an async function. It uses the connection pool of `database.connect`, or runs inside
the caller's own `async with transaction():`. It returns dataclasses and raises a `DirectoryError`.

After PostgreSQL has refused a statement, the caller's transaction can only be rolled back. A
savepoint prevents that: put the call that may fail into its own `async with transaction():`.
"""
