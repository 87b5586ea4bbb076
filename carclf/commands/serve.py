"""`carclf serve`: the web service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from carclf.commands import options


def serve(
    model: options.Model = "bundled",
    detector: options.Detector = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is every network of this machine.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 8000,
    device: options.Device = "auto",
    threads: options.Threads = None,
    tta: options.Tta = 1,
    threshold: options.Threshold = None,
    api_key_file: Annotated[
        Path | None, typer.Option(help="File with the key that clients must send; or set CARCLF_API_KEY.")
    ] = None,
    max_photo_mb: Annotated[float, typer.Option(help="Largest photo, in megabytes.")] = 20,
    max_request_mb: Annotated[float, typer.Option(help="Largest request, in megabytes.")] = 64,
    max_megapixels: options.MaxMegapixels = 50,
    max_files: Annotated[int, typer.Option(help="Most photos a request.")] = 16,
    queue: Annotated[int, typer.Option(help="Most photos that wait; beyond it the answer is 503.")] = 64,
    batch_size: options.BatchSize = 4,
    timeout: Annotated[float, typer.Option(help="Seconds for an answer; beyond it the answer is 503.")] = 60,
    broker: Annotated[
        str | None,
        options.broker_option(
            "amqp://user:password@host:5672/ of a RabbitMQ, where `carclf worker` processes answer in place of "
            "this one. See docs/queue.md.",
        ),
    ] = None,
    save_uploads: Annotated[
        Path | None, typer.Option(help="Keep uploaded photos in this folder; otherwise none touches the disk.")
    ] = None,
) -> None:
    """Serve a page and an API that name the cars in photos. See docs/service.md."""
    from carclf.console import say
    from carclf.service.backends import with_export
    from carclf.service.server import check_installed, run
    from carclf.service.settings import MEGABYTE, ServiceSettings, find_api_key
    from detection.exported import is_export

    check_installed()
    settings = ServiceSettings.of(
        host=host,
        port=port,
        model=model,
        detector=detector,
        device=device,
        threads=threads,
        tta=tta,
        threshold=threshold,
        broker=broker or None,
        api_key=find_api_key(api_key_file),
        save_uploads=save_uploads,
        max_files=max_files,
        max_photo_bytes=round(max_photo_mb * MEGABYTE),
        max_request_bytes=round(max_request_mb * MEGABYTE),
        max_waiting_bytes=2 * round(max_request_mb * MEGABYTE),
        max_pixels=round(max_megapixels * 1e6),
        batch_size=batch_size,
        queue_length=queue,
        answer_timeout=timeout,
    )
    chosen = with_export(settings)
    if chosen.model != settings.model:
        say(f"serves the export of '{settings.model}': {chosen.model}")
    elif settings.broker is None and not is_export(settings.model):
        say("`carclf export` once, and this starts in a second and takes a third of the memory")
    run(chosen)
