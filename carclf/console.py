"""What the commands say while they work. All of it goes to stderr: stdout belongs to the results."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TypeVar

Thing = TypeVar("Thing")


def say(text: str = "") -> None:
    """One line for the person who watches."""
    print(text, file=sys.stderr, flush=True)


def track(things: Iterable[Thing], total: int, what: str) -> Iterator[Thing]:
    """Passes a stream on with a progress bar, its speed in photos/s; draws nothing where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:.1f} photos/s")

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Speed(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(what, total=total)
        for thing in things:
            progress.advance(task)
            yield thing


@contextmanager
def quiet_stdout():
    """Libraries that print while they work print to stderr, so that stdout stays parseable."""
    with redirect_stdout(sys.stderr):
        yield
