"""What the commands say while they work. All of it goes to stderr: stdout belongs to the results."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TypeVar

from detection.progress import photo_bar

Thing = TypeVar("Thing")


def say(text: str = "") -> None:
    """One line for the person who watches."""
    print(text, file=sys.stderr, flush=True)


def track(things: Iterable[Thing], total: int, what: str) -> Iterator[Thing]:
    """Passes a stream on with a progress bar, its speed in photos/s; draws nothing where stderr is no terminal."""
    with photo_bar(what, total) as advance:
        for thing in things:
            advance()
            yield thing


@contextmanager
def quiet_stdout():
    """Libraries that print while they work print to stderr, so that stdout stays parseable."""
    with redirect_stdout(sys.stderr):
        yield
