"""The profile of a member, and its fields to edit."""

from aiogram import Router

router = Router(name="profile")
