"""What a benchmark says to the person who runs it."""


def say(sentence: str) -> None:
    """Print it at once, also into a pipe."""
    print(sentence, flush=True)  # noqa: T201  a program talks to its user
