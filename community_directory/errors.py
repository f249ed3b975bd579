"""What can go wrong, in sentences that a person can be shown."""


class DirectoryError(Exception):
    """The base of every error that this package raises on purpose; its text is one sentence for a person."""


class ConfigurationError(DirectoryError):
    """A setting is wrong or missing."""


class DatabaseUnavailable(DirectoryError):
    """PostgreSQL could not be reached, or refused the connection."""


class MigrationFailed(DirectoryError):
    """The schema could not be brought up to date; it is as it was before."""
