"""The panel: what a manager sees and may do."""
