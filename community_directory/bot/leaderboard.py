"""The leaderboard of a week, a month and all time."""

from aiogram import Router

router = Router(name="leaderboard")
