"""The one exception that means "the user asked for something that can't be done", and errors in a few words."""

from __future__ import annotations

from importlib.util import find_spec


class UsageError(ValueError):
    """Wrong usage: its message is one sentence that says what is wrong and what to do.

    Command lines print the message alone, without a traceback, and exit with code 2.
    """


def need(module: str, what: str, extra: str = "train") -> None:
    """Raises `UsageError` where a module of an optional part of the installation is missing.

    what: needs it, as the start of a sentence. extra: the part of `pip install 'carclf[...]'` that brings it.
    """
    if not has_module(module):
        raise UsageError(f"{what} needs {module}, which is not installed: pip install 'carclf[{extra}]'.")


def has_module(module: str) -> bool:
    """Whether a top-level module can be found, without importing it."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def brief(error: Exception) -> str:
    """The first line of an error, short enough for a row."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__
