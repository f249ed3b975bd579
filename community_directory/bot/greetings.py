"""Greetings of new members in the groups."""

from aiogram import Router

router = Router(name="greetings")
