"""Notices to managers about people who wait."""

from aiogram import Router

router = Router(name="notices")
