"""The clients that are compared, each a class that `benchmarks.worker` runs in a process of its own."""

from typing import Final

CLIENTS: Final = {
    "helpers": ("directory_helpers", "Client"),
    "asyncpg": ("asyncpg_pool", "Client"),
    "asyncpg-no-reset": ("asyncpg_pool", "WithoutReset"),
    "asyncpg-original": ("asyncpg_pool", "OnOriginalTables"),
    "piccolo": ("piccolo_docs", "Client"),
    "sqlalchemy": ("sqlalchemy_orm", "Client"),
    "tortoise": ("tortoise_orm", "Client"),
    "django": ("django_orm", "Client"),
}
"""Those in Python, by name: the module here, and the class in it. Drizzle is a program of its own."""
