"""The link between a member's Telegram and Discord accounts."""

from aiogram import Router

router = Router(name="link")
