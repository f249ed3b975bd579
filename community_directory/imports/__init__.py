"""Imports from other programs: chat exports of Telegram and Discord, and members as a CSV file."""

IMPORT_ACTOR = "import"
"""The actor that the audit log names for every change made by an import."""
