"""`carclf dead-letters`: the photos that workers gave up."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from carclf.commands import options
from carclf.console import say
from detection.errors import UsageError


def dead_letters(
    broker: Annotated[
        str | None,
        options.broker_option(
            "amqp://user:password@host:5672/ or amqps://...",
        ),
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Folder to save the photos in.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take them out of the queue, saved or not.")] = False,
) -> None:
    """List the photos at which workers died or failed. See docs/queue.md."""
    from carclf.service.dead_letters import read_dead_letters

    if save is not None and save.exists() and not save.is_dir():
        raise UsageError(f"'{save}' is a file: name a folder.")
    letters = read_dead_letters(broker, save, remove)
    for letter in letters:
        when = "" if letter.time is None else letter.time.isoformat(timespec="seconds")
        where = f"\t{save / letter.file}" if save is not None else ""
        # a client chose the name: no control characters for this terminal
        name = "".join(one if one.isprintable() else "?" for one in letter.name)
        typer.echo(f"{when}\t{len(letter.data)}\t{name}\t{letter.reason}{where}")
    done = ", removed" if remove and letters else ""
    say(f"{len(letters)} dead letter{'s' * (len(letters) != 1)}{done}")
