"""The time zone of the community in a test."""

import pytest

from community_directory.settings import load_settings


def use_zone(monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    """Set the time zone of the community until the end of the test."""
    monkeypatch.setenv("DIRECTORY_TIME_ZONE", zone)
    load_settings.cache_clear()
