"""`carclf serve`, `worker` and `dead-letters`: the web service and its queue."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from carclf.commands import options
from detection.common.console import say
from detection.common.errors import UsageError
from detection.common.tally import counted


def serve(
    model: options.Model = "bundled",
    detector: options.Detector = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on. 0.0.0.0 listens on every network of this machine.")
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option(help="Port to listen on. 0 takes a free one.")] = 8000,
    device: options.Device = "auto",
    runtime: options.Runtime = "auto",
    threads: options.Threads = None,
    tta: options.Tta = 1,
    threshold: options.Threshold = None,
    levels: options.Levels = None,
    sure: options.Sure = None,
    only: options.Only = None,
    colour: options.Colour = True,
    kinds: options.Kinds = None,
    hide: options.Hide = None,
    way: options.HideWay = None,
    logo: options.HideLogo = None,
    margin: options.HideMargin = None,
    hide_only_main: options.HideOnlyMain = False,
    api_key_file: Annotated[
        Path | None, typer.Option(help="File with the key that clients must send. Or set CARCLF_API_KEY.")
    ] = None,
    max_photo_mb: Annotated[float, typer.Option(help="Largest photo accepted, in megabytes.")] = 20,
    max_request_mb: Annotated[float, typer.Option(help="Largest request accepted, in megabytes.")] = 64,
    max_megapixels: options.MaxMegapixels = 50,
    max_files: Annotated[int, typer.Option(help="Largest number of photos per request.")] = 16,
    queue: Annotated[
        int, typer.Option(help="Largest number of waiting photos. Beyond it the service answers 503.")
    ] = 64,
    batch_size: options.BatchSize = 4,
    timeout: Annotated[
        float, typer.Option(help="Largest time for an answer, in seconds. After it the service answers 503.")
    ] = 60,
    broker: Annotated[
        str | None,
        options.broker_option(
            "Address of a RabbitMQ server, amqp://user:password@host:5672/. `carclf worker` processes then "
            "answer in place of this one. See docs/queue.md.",
        ),
    ] = None,
    keep_alive: Annotated[
        int, typer.Option(help="Seconds that an idle connection stays open. More than the proxy in front keeps it.")
    ] = 75,
    max_connections: Annotated[
        int, typer.Option(help="Largest number of open connections. Some more are kept for the health routes.")
    ] = 1000,
    max_per_address: Annotated[
        int, typer.Option(help="Largest number of open connections of one address, and of its requests at a time.")
    ] = 500,
    proxy: Annotated[
        list[str] | None,
        typer.Option(
            help="Address or network of a proxy in front, such as 10.0.0.0/8: its X-Forwarded-For names the clients, "
            "and --max-per-address counts those. Repeatable."
        ),
    ] = None,
    head_timeout: Annotated[
        float, typer.Option(help="Largest time for the head of a request to arrive, in seconds.")
    ] = 10,
    body_timeout: Annotated[
        float, typer.Option(help="Largest time for the photos of a request to arrive, in seconds.")
    ] = 30,
    root_path: Annotated[str, typer.Option(help="Path under which a proxy shows the service, such as /cars.")] = "",
    cors: Annotated[
        list[str] | None,
        typer.Option(help="Origin whose pages may call the API, such as https://shop.example. Repeatable."),
    ] = None,
    save_uploads: Annotated[
        Path | None, typer.Option(help="Folder to keep uploaded photos in. Without it no photo touches the disk.")
    ] = None,
    allow_urls: Annotated[
        bool,
        typer.Option(
            "--allow-urls", help='Also take {"url": "https://..."} in place of a photo, of public addresses only.'
        ),
    ] = False,
) -> None:
    """Serve a web page and an API that name the cars in photos. See docs/service.md."""
    from carclf.service.choose import wants_export, with_export
    from carclf.service.server import check_installed, run
    from carclf.service.settings import MEGABYTE, ServiceSettings, find_api_key
    from detection.common.console import say

    check_installed()
    settings = ServiceSettings.of(
        host=host,
        port=port,
        model=model,
        detector=detector,
        device=device,
        runtime=runtime,
        threads=threads,
        tta=tta,
        threshold=threshold,
        levels=levels,
        sure=sure,
        only=only,
        colour=colour,
        kinds=kinds,
        hide=options.hide_style_of(hide, way, logo, margin, hide_only_main),
        broker=broker or None,
        api_key=find_api_key(api_key_file),
        save_uploads=save_uploads,
        allow_urls=allow_urls,
        keep_alive=keep_alive,
        max_connections=max_connections,
        max_per_address=max_per_address,
        proxies=tuple(proxy or ()),
        head_timeout=head_timeout,
        body_timeout=body_timeout,
        root_path=root_path.rstrip("/"),
        cors=tuple(cors or ()),
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
        say(f"serving the export of '{settings.model}': {chosen.model}")
    elif wants_export(chosen):
        say("run `carclf export` once: then this starts in a second and takes a third of the memory")
    run(chosen)


def dead_letters(
    broker: Annotated[
        str | None,
        options.broker_option(
            "amqp://user:password@host:5672/ or amqps://...",
        ),
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Save the photos in this folder.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the photos from the queue, saved or not.")] = False,
) -> None:
    """List the photos on which workers died or failed. See docs/queue.md."""
    from carclf.service.queue.dead_letters import read_dead_letters

    if save is not None and save.exists() and not save.is_dir():
        raise UsageError(f"'{save}' is a file: name a folder.")
    letters = read_dead_letters(broker, save, remove)
    for letter in letters:
        when = "" if letter.time is None else letter.time.isoformat(timespec="seconds")
        where = f"\t{save / letter.file}" if save is not None else ""
        # a client chose the name: no control characters for this terminal
        name = "".join(one if one.isprintable() else "?" for one in letter.name)
        typer.echo(f"{when}\t{letter.size}\t{name}\t{letter.reason}{where}")
    done = ", removed" if remove and letters else ""
    say(f"{counted(len(letters), 'dead letter')}{done}")


def worker(
    broker: Annotated[
        str | None,
        options.broker_option(
            "Address of the RabbitMQ server: amqp://user:password@host:5672/ or amqps://... Other users can see "
            "commands but not the environment, so better set CARCLF_BROKER.",
        ),
    ] = None,
    model: options.Model = "bundled",
    detector: options.Detector = None,
    device: options.Device = "auto",
    runtime: options.Runtime = "auto",
    threads: options.Threads = None,
    tta: options.Tta = 1,
    threshold: options.Threshold = None,
    levels: options.Levels = None,
    sure: options.Sure = None,
    only: options.Only = None,
    colour: options.Colour = True,
    kinds: options.Kinds = None,
    hide: options.Hide = None,
    way: options.HideWay = None,
    logo: options.HideLogo = None,
    margin: options.HideMargin = None,
    hide_only_main: options.HideOnlyMain = False,
    max_megapixels: options.MaxMegapixels = 50,
    batch_size: options.BatchSize = 8,
    alive: Annotated[
        Path | None, typer.Option(help="File to touch every five seconds while connected, for health checks.")
    ] = None,
) -> None:
    """Take photos from a RabbitMQ queue and send back the answers. See docs/queue.md.

    Start any number of workers, on any machine. A worker that is told to stop finishes the photos it has taken. The
    photos of a killed worker go to the others.
    """
    from carclf.service.queue.queues import check_url
    from carclf.service.settings import ServiceSettings

    url = check_url(broker)
    settings = ServiceSettings.of(
        model=model,
        detector=detector,
        device=device,
        runtime=runtime,
        threads=threads,
        tta=tta,
        threshold=threshold,
        levels=levels,
        sure=sure,
        only=only,
        colour=colour,
        kinds=kinds,
        hide=options.hide_style_of(hide, way, logo, margin, hide_only_main),
        max_pixels=round(max_megapixels * 1e6),
        batch_size=batch_size,
        queue_length=max(64, 4 * batch_size),
    )
    from carclf.service.choose import make_backend
    from carclf.service.queue.worker import run_worker

    answered = run_worker(url, settings, make_backend, alive)
    say(f"{counted(answered, 'photo')} answered")
