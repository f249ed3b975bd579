"""Registration: people join with an invitation's code."""

from aiogram import Router

router = Router(name="registration")
