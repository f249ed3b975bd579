"""What a manager sees in a browser."""
