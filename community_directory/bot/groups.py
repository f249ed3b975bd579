"""Groups: record what members do there, and let people in."""

from aiogram import Router

router = Router(name="groups")
