"""The one exception that means "the user asked for something that can't be done"."""


class UsageError(ValueError):
    """Wrong usage: its message is one sentence that says what is wrong and what to do.

    Command lines print the message alone, without a traceback, and exit with code 2.
    """
