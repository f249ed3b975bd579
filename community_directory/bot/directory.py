"""The list of members, with a search."""

from aiogram import Router

router = Router(name="directory")
