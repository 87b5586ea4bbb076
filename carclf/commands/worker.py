"""`carclf worker`: recognizes photos that web processes put in a queue."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from carclf.console import say


def worker(
    broker: Annotated[
        str | None,
        typer.Option(
            envvar="CARCLF_BROKER",
            show_envvar=True,
            show_default=False,
            help="amqp://user:password@host:5672/ or amqps://...; others can see commands, but not the environment.",
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="bundled, a run folder, or a .safetensors file.")] = "bundled",
    detector: Annotated[str | None, typer.Option(help="By default the one that the model was trained with.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="Of the models; by default one a core.")] = None,
    tta: Annotated[int, typer.Option(help="Views of each cut-out that are averaged.")] = 1,
    threshold: Annotated[
        float | None, typer.Option(help="Least confidence of a label, 0 to 1; less is unknown. Default: the model's.")
    ] = None,
    max_megapixels: Annotated[float, typer.Option(help="Largest picture, in megapixels.")] = 50,
    batch_size: Annotated[int, typer.Option(help="Most photos that the models look at together.")] = 8,
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
