"""`carclf worker`: recognizes photos that web processes put in a queue."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from carclf.console import quiet_stdout, say


def worker(
    broker: Annotated[
        str | None,
        typer.Option(
            envvar="CARCLF_BROKER",
            show_envvar=True,
            show_default=False,
            help="amqp://user:password@host:5672/ or amqps://..., best given by the environment: others can see commands.",
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="bundled, a run folder, or a .safetensors file.")] = "bundled",
    detector: Annotated[str | None, typer.Option(help="By default the one that the model was trained with.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    top: Annotated[int, typer.Option(min=1, help="How many of the best labels.")] = 5,
    tta: Annotated[int, typer.Option(min=1, max=100, help="Views of each cut-out that are averaged.")] = 1,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads of the models; 0: as many as there are cores.")] = 0,
    batch_size: Annotated[int, typer.Option(min=1, max=1000, help="Photos that are taken at once.")] = 8,
    alive: Annotated[
        Path | None, typer.Option(help="A file to touch every few seconds while connected, for health checks.")
    ] = None,
) -> None:
    """Take photos from a RabbitMQ queue and send back what is in them; see docs/queue.md. Ctrl-C ends it.

    Start as many as you like, on any machine. Each finishes what it has taken when it is told to stop; what a killed
    one had goes to the others.
    """
    import asyncio
    import logging

    from carclf.models import find_model
    from carclf.service.queues import check_url, redact

    url = check_url(broker)
    find_model(model)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("carclf").setLevel(logging.INFO)
    logging.getLogger("aio_pika").setLevel(logging.ERROR)  # carclf.queue says it, in one line
    with quiet_stdout():
        import torch

        from carclf.pipeline import CarRecognizer
        from carclf.service.worker import Worker

        if threads:
            torch.set_num_threads(threads)
        recognizer = CarRecognizer(model, detector=detector, device=device, top=top, batch_size=batch_size, tta=tta)
        say(f"{len(recognizer.classes)} classes; connecting to {redact(url)}")
        process = Worker(url, recognizer, batch_size, alive)

        asyncio.run(process.run())
    say(f"{process.answered} photo{'s' * (process.answered != 1)} answered")
