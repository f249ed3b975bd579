"""The data platform under an invite-only community that lives in Telegram and Discord."""
