"""Invitations that members create."""

from aiogram import Router

router = Router(name="invite")
