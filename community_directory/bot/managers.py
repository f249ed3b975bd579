"""What managers do: approve, decline, suspend and ban."""

from aiogram import Router

router = Router(name="managers")
