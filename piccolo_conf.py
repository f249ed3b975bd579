"""Piccolo's configuration, where its command line looks for it in a clone."""

from community_directory.piccolo_conf import APP_REGISTRY as APP_REGISTRY  # noqa: PLC0414
from community_directory.piccolo_conf import DB as DB  # noqa: PLC0414
