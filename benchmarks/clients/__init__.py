"""The clients that are compared. `benchmarks.worker` runs each of them in its own process."""

from typing import Final

CLIENTS: Final = {
    "helpers": ("directory_helpers", "Client"),
    "asyncpg": ("asyncpg_pool", "Client"),
    "asyncpg-no-reset": ("asyncpg_pool", "WithoutReset"),
    "asyncpg-original": ("asyncpg_pool", "OnOriginalTables"),
    "piccolo": ("piccolo_docs", "Client"),
    "sqlalchemy": ("sqlalchemy_orm", "Client"),
    "sqlalchemy-core": ("sqlalchemy_core", "Client"),
    "tortoise": ("tortoise_orm", "Client"),
    "django": ("django_orm", "Client"),
}
"""The module and the class of each client in Python. Drizzle is a program of its own."""
LABELS: Final = {
    "helpers": "query helpers",
    "asyncpg": "bare asyncpg",
    "asyncpg-no-reset": "asyncpg without reset",
    "drizzle": "Drizzle",
    "tortoise": "Tortoise",
    "piccolo": "Piccolo ORM",
    "sqlalchemy-core": "SQLAlchemy Core",
    "sqlalchemy": "SQLAlchemy ORM",
    "django": "Django",
}
"""The names of the clients in the documentation, in its order."""
