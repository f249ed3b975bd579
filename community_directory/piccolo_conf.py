"""Piccolo's configuration: the engine, the apps, and migrations that are all or nothing."""

from piccolo.apps.migrations.commands import backwards, forwards
from piccolo.conf.apps import AppRegistry

from community_directory.database import engine as DB  # noqa: N812  the name that Piccolo asks for
from community_directory.database.migrations import in_one_transaction
from community_directory.settings import load_settings_or_exit
from community_directory.web.admin import users  # noqa: F401  `piccolo user` takes good passwords only

load_settings_or_exit()
DB.connect_on_demand()  # Piccolo's own commands know no pool

# `piccolo migrations` calls these two, and has no other place to say how they run.
forwards.run_forwards = in_one_transaction(forwards.run_forwards)
backwards.run_backwards = in_one_transaction(backwards.run_backwards)

APP_REGISTRY = AppRegistry(
    apps=[
        "community_directory.piccolo_app",
        "piccolo.apps.user.piccolo_app",
        "piccolo_api.session_auth.piccolo_app",
        "piccolo_api.mfa.authenticator.piccolo_app",
        "community_directory.web.admin.piccolo_app",
    ]
)

__all__ = ["APP_REGISTRY", "DB"]
