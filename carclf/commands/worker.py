"""`carclf worker`: recognizes photos that web processes put in a queue."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from carclf.commands import options
from carclf.console import say


def worker(
    broker: Annotated[
        str | None,
        options.broker_option(
            "amqp://user:password@host:5672/ or amqps://...; others can see commands, but not the environment.",
        ),
    ] = None,
    model: options.Model = "bundled",
    detector: options.Detector = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    tta: options.Tta = 1,
    threshold: options.Threshold = None,
    max_megapixels: options.MaxMegapixels = 50,
    batch_size: options.BatchSize = 8,
    alive: Annotated[
        Path | None, typer.Option(help="File to touch every few seconds while connected, for health checks.")
    ] = None,
) -> None:
    """Take photos from a RabbitMQ queue and send back what is in them. See docs/queue.md.

    Start as many as you like, on any machine. Told to stop, a worker finishes what it has taken; what a killed one had
    goes to the others.
    """
    from carclf.service.queues import check_url
    from carclf.service.settings import ServiceSettings

    url = check_url(broker)
    settings = ServiceSettings.of(
        model=model,
        detector=detector,
        device=device,
        threads=threads,
        tta=tta,
        threshold=threshold,
        max_pixels=round(max_megapixels * 1e6),
        batch_size=batch_size,
        queue_length=max(64, 4 * batch_size),
    )
    from carclf.service.worker import run_worker

    answered = run_worker(url, settings, alive)
    say(f"{answered} photo{'s' * (answered != 1)} answered")
