"""The state of conversations, which outlives the process."""

from aiogram.fsm.storage.base import BaseStorage
from aiogram.fsm.storage.memory import MemoryStorage


def make_storage() -> BaseStorage:
    """Return the storage of the conversations."""
    return MemoryStorage()
