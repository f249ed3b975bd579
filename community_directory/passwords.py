"""The rules for the passwords of the panel."""

MIN_PASSWORD_LENGTH = 12
MAX_PASSWORD_LENGTH = 128
MIN_ZXCVBN_SCORE = 3
"""The lowest accepted score: such a password withstands a hundred million guesses."""
MAX_SCORED_LENGTH = 72
"""The maximum number of characters that zxcvbn scores: its time grows with their square."""


def password_problem(password: str, *personal: str) -> str | None:
    """Return the reason why a password is refused, or None if it is accepted.

    The reason completes a sentence that begins with "The password".

    Args:
        password: The password.
        personal: Texts that others know: the person's name, their e-mail address, the site's name.
    """
    if not MIN_PASSWORD_LENGTH <= len(password) <= MAX_PASSWORD_LENGTH:
        return f"must have {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} characters"
    # zxcvbn loads word lists, which takes longer than the import of any other module.
    from zxcvbn import zxcvbn  # noqa: PLC0415

    scored = zxcvbn(password[:MAX_SCORED_LENGTH], user_inputs=list(personal))
    if scored["score"] < MIN_ZXCVBN_SCORE:
        return (
            "is too easy to guess: "
            "take some uncommon words, no names, no repetitions and no sequences"
        )
    return None
