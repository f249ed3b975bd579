"""A member's own activity and reputation."""

from aiogram import Router

router = Router(name="me")
