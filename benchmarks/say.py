"""The output of the benchmarks."""


def say(sentence: str) -> None:
    """Print a sentence at once, also into a pipe."""
    print(sentence, flush=True)  # noqa: T201  a program talks to its user
