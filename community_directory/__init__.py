"""The data platform of an invite-only community on Telegram and Discord."""
