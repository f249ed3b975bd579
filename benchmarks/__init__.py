"""What the directory costs, measured: run by hand, never by the tests."""
