"""Benchmarks of the directory. People run them; the tests never do."""
