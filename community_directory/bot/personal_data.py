"""A member's own data: its export and its erasure."""

from aiogram import Router

router = Router(name="personal_data")
