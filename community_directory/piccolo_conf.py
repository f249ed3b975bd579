"""Piccolo's configuration: the engine, the apps, and migrations that run in one transaction."""

from piccolo.apps.migrations.commands import backwards, forwards
from piccolo.conf.apps import AppRegistry

from community_directory.database import engine as DB  # noqa: N812  the name that Piccolo asks for
from community_directory.database.migrations import PICCOLO_APPS, in_one_transaction
from community_directory.settings import load_settings_or_exit
from community_directory.web.admin import users  # noqa: F401  makes `piccolo user` check passwords

load_settings_or_exit()
DB.connect_on_demand()  # Piccolo's own commands open no pool

# `piccolo migrations` calls these two functions, and has no other hook for how they run.
forwards.run_forwards = in_one_transaction(forwards.run_forwards)
backwards.run_backwards = in_one_transaction(backwards.run_backwards)

APP_REGISTRY = AppRegistry(apps=list(PICCOLO_APPS))

__all__ = ["APP_REGISTRY", "DB"]
