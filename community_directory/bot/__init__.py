"""The Telegram bot of a community: `community-directory bot`, with the extra `bot`."""
