"""The one exception that means "the user asked for something that can't be done", and errors in a few words."""


class UsageError(ValueError):
    """Wrong usage: its message is one sentence that says what is wrong and what to do.

    Command lines print the message alone, without a traceback, and exit with code 2.
    """


def brief(error: Exception) -> str:
    """The first line of an error, short enough for a row."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__
