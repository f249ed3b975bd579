"""Which passwords are good enough for the panel."""

SHORTEST, LONGEST = 12, 128
GUESSES = 3
"""zxcvbn's score from which on a password withstands a hundred million guesses."""
JUDGED = 72
"""How many characters zxcvbn looks at; its time grows with their square."""


def password_problem(password: str, *personal: str) -> str | None:
    """What is wrong with a password, as the end of a sentence that begins with "The password"; None if it is good.

    `personal` is what others know: the person's name, their e-mail address, the site's name.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        return f"must have {SHORTEST} to {LONGEST} characters"
    from zxcvbn import zxcvbn  # noqa: PLC0415  its word lists take longer to load than anything else here

    if zxcvbn(password[:JUDGED], user_inputs=list(personal))["score"] < GUESSES:
        return "is too easy to guess: take some uncommon words, no names, no repetitions and no sequences"
    return None
