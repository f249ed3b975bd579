"""Piccolo's configuration: the engine and the apps."""

from piccolo.conf.apps import AppRegistry

from community_directory.admin import users  # noqa: F401  `piccolo user` takes good passwords only
from community_directory.database import engine as DB  # noqa: N812  the name that Piccolo asks for
from community_directory.settings import load_settings_or_exit

load_settings_or_exit()
DB.connect_on_demand()  # Piccolo's own commands know no pool

APP_REGISTRY = AppRegistry(
    apps=[
        "community_directory.piccolo_app",
        "piccolo.apps.user.piccolo_app",
        "piccolo_api.session_auth.piccolo_app",
        "piccolo_api.mfa.authenticator.piccolo_app",
        "community_directory.admin.piccolo_app",
    ]
)

__all__ = ["APP_REGISTRY", "DB"]
