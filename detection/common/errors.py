"""The one exception that means "the user asked for something that can't be done", and errors in a few words."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec


class UsageError(ValueError):
    """Wrong usage: its message is one sentence that says what is wrong and what to do.

    Command lines print the message alone, without a traceback, and exit with code 2.
    """


# Not an extra: Detectron2 has no release on the index.
_OWN_INSTALLER = {"detectron2": "python scripts/install_detectron2.py"}


def need(modules: str | Sequence[str], what: str, extra: str = "train") -> None:
    """Raises `UsageError` that names the install which brings the first of these modules that is not there.

    what: needs them, as the start of a sentence. extra: the part of setup.py that brings it, empty for what every
    install has. The command is in double quotes, which bash, PowerShell and cmd all take, and never names carclf as a
    package of an index: that could be anybody's.
    """
    missing = [module for module in ([modules] if isinstance(modules, str) else modules) if not has_module(module)]
    if missing:
        commands = [f'pip install ".[{extra}]"' if extra else "pip install ."] if missing != ["detectron2"] else []
        commands += [_OWN_INSTALLER[module] for module in missing if module in _OWN_INSTALLER]
        raise UsageError(
            f"{what} needs {missing[0]}, which is not installed: run `{'`, then `'.join(commands)}` in the folder of "
            "carclf's repository."
        )


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
