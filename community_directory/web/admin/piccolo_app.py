"""The Piccolo app of the panel's own tables and triggers.

It is separate because it depends on Piccolo's users and sessions, which the database of a bot may
not have.
"""

from pathlib import Path

from piccolo.conf.apps import AppConfig

APP_CONFIG = AppConfig(
    app_name="directory_panel",
    migrations_folder_path=str(Path(__file__).parent / "piccolo_migrations"),
    migration_dependencies=[
        "piccolo.apps.user.piccolo_app",
        "piccolo_api.session_auth.piccolo_app",
    ],
)
