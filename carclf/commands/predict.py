"""`carclf predict`: names for raw photos, as a stream, a file or a conversation."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from carclf.commands.options import (
    ALL_VEHICLES,
    MODEL,
    Address,
    ClusterWorkers,
    Colour,
    Engine,
    EveryVehicle,
    Hide,
    HideLogo,
    HideMargin,
    HideOnlyMain,
    HideWay,
    Kinds,
    Levels,
    Only,
    Runtime,
    Small,
    Sure,
    WorkerCores,
    cluster_of,
    hide_style_of,
)
from detection.common.console import photo_bar, quiet_stdout, say, stdout_is_closed
from detection.common.errors import UsageError
from detection.common.tally import exit_code

if TYPE_CHECKING:
    from io import BufferedIOBase

    from carclf.recognition.far import FarRecognizer
    from detection.cluster.connect import Cluster
    from detection.folder.out.detections import Detections


def predict(
    photos: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PHOTOS", help="Photos, folders, patterns (also with '**'), .csv lists; - reads paths from stdin."
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(help=MODEL),
    ] = "bundled",
    top: Annotated[int, typer.Option(min=1, help="Number of best labels to list.")] = 5,
    threshold: Annotated[
        float | None,
        typer.Option(help="Lowest confidence for a label, 0 to 1; below it: unknown. Default: the model's."),
    ] = None,
    levels: Levels = None,
    sure: Sure = None,
    only: Only = None,
    colour: Colour = True,
    tta: Annotated[
        str, typer.Option(help="Views per cut-out, whose answers are averaged: a number, mirror (2) or ten (10).")
    ] = "1",
    every_vehicle: Annotated[
        bool, typer.Option(ALL_VEHICLES, help="Write one row per vehicle, the main one of the photo first.")
    ] = False,
    every_vehicle_alias: EveryVehicle = False,
    small: Small = None,
    kinds: Kinds = None,
    format: Annotated[
        str | None, typer.Option(help="table, csv, json, jsonl or parquet. Default: chosen by the ending of --output.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="File for the rows. The same command resumes a stopped run.")
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Start over instead of resuming.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Process photos with the status unreadable or error again.")
    ] = False,
    save_cutouts: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Save what the classifier saw, in the same tree as the photos.")
    ] = None,
    overlay: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Save the photos with mask, box and names, in the same tree.")
    ] = None,
    hide: Hide = None,
    way: HideWay = None,
    logo: HideLogo = None,
    margin: HideMargin = None,
    hide_only_main: HideOnlyMain = False,
    detections: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Use boxes and masks of `carclf clean --save-detections`; run no detector."),
    ] = None,
    interactive: Annotated[
        bool, typer.Option("--interactive", help="Ask for one photo after another. Default without PHOTOS.")
    ] = False,
    detector: Annotated[
        str | None, typer.Option(help="Detector to use. Default: the one that the model was trained with.")
    ] = None,
    device: Annotated[str, typer.Option(help="Device that runs the models: auto, cpu, cuda or cuda:N.")] = "auto",
    runtime: Runtime = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Cut-outs per classifier batch.")] = 32,
    engine: Engine = "local",
    address: Address = None,
    worker_cores: WorkerCores = None,
    cluster_workers: ClusterWorkers = None,
) -> None:
    """Name the make and model of the main car in every photo: one row per photo.

    Exit code 0: every photo was read; 3: some could not be read; 2: wrong usage.
    """
    photos = photos or []
    every_vehicle = every_vehicle or every_vehicle_alias
    ask = interactive or (not photos and sys.stdin.isatty() and sys.stdout.isatty())
    if not ask and not photos:
        raise UsageError("Name photos, folders, patterns or lists, - for paths from standard input, or --interactive.")
    if output is None and not ask and stdout_is_closed():
        raise UsageError("Standard output is closed: name a file for the rows with --output.")
    if (restart or retry_failed) and output is None:
        raise UsageError(
            "Only a run with --output can resume or start over: without it, every photo is processed anyway."
        )
    if detections is not None and detector is not None:
        raise UsageError("Give a detector or a file of detections, not both.")
    cluster = cluster_of(engine, address, worker_cores, cluster_workers, device)
    if cluster is not None and (ask or save_cutouts or overlay):
        what = "--interactive" if ask else "--save-cutouts" if save_cutouts else "--overlay"
        raise UsageError(f"--engine ray gives rows alone: leave out {what}, or --engine.")
    style = hide_style_of(hide, way, logo, margin, hide_only_main)
    if style is not None and not (save_cutouts or overlay):
        raise UsageError("--hide hides in the pictures of --save-cutouts and --overlay: pass one of them, too.")
    settings = {"device": device, "top": top, "batch_size": batch_size, "threshold": threshold, "detector": detector}
    settings |= {"every_vehicle": every_vehicle, "kinds": kinds, "small": small, "runtime": runtime}
    settings |= {"levels": levels, "sure": sure, "only": only, "colour": colour, "hide": style}
    if ask:
        others = {"PHOTOS": photos, "--output": output, "--format": format, "--save-cutouts": save_cutouts}
        others |= {"--overlay": overlay, "--detections": detections}
        unfit = [name for name, value in others.items() if value]
        if unfit:
            raise UsageError(f"--interactive asks for photos and shows answers: leave out {', '.join(unfit)}.")
        from carclf.recognition.output.interactive import converse

        converse(lambda: _load(model, tta, settings))
        return
    from carclf.recognition.inputs import find_sources
    from carclf.recognition.output.formats import check_target, choose_format
    from detection.common.files import user_path

    output = None if output is None else user_path(output)
    kind = choose_format(format, output)
    check_target(output, photos)
    # Typed as any binary file, it is one that gives what has come so far.
    sources = find_sources(photos, cast("BufferedIOBase", sys.stdin.buffer))
    for note in sources.notes:
        say(note)
    pictures = None
    if save_cutouts or overlay:
        from carclf.recognition.pictures.folders import Pictures

        sources = sources.keep()
        cutouts, overlays = (folder and user_path(folder) for folder in (save_cutouts, overlay))
        pictures = Pictures(sources, cutouts, overlays, every_vehicle)
    from carclf.recognition.naming import Naming
    from detection.common.machine import threads_for_many
    from detection.folder.out.detections import read_detections

    with ExitStack() as stack:
        if pictures is not None:
            stack.callback(pictures.close)
        known = stack.enter_context(read_detections(detections)) if detections else None
        stdout = sys.stdout
        with quiet_stdout():
            if cluster is None:
                threads = None if sources.total == 1 else threads_for_many()
                recognizer = _load(model, tta, settings | {"detections": known, "threads": threads})
            else:
                recognizer = stack.enter_context(_far(cluster, model, tta, settings, known, detections))
            _note_detector(known, recognizer)
            start = time.perf_counter()
            # Rows on a terminal are progress enough, and a bar between them would tear them.
            with photo_bar("recognizing", sources.total, shown=output is not None or not stdout.isatty()) as advance:
                naming = Naming(recognizer, sources, pictures, advance)
                try:
                    if output is None:
                        _print(naming, kind, stdout)
                    else:
                        naming.write(output, kind, restart, retry_failed)
                except KeyboardInterrupt as error:
                    _stopped(naming, sources.total, output)
                    raise typer.Exit(130) from error
    tally = naming.tally
    speed = (tally.photos - tally.before) / max(time.perf_counter() - start, 1e-9)
    say(f"{tally}; {speed:.1f} photos/s{f', written to {output}' if output else ''}")
    if output is not None and tally.exit_code:
        say("The same command with --retry-failed processes the failed photos again.")
    raise typer.Exit(tally.exit_code or exit_code(sources.missed))


def _load(model: str, tta: str, settings: dict):
    """A recognizer. Raises `UsageError`, before anything large is loaded where it can."""
    from carclf.classifier.catalogue import find_model
    from carclf.classifier.tta.views import TtaConfig
    from carclf.recognition.recognizer import CarRecognizer

    find_model(model)
    return CarRecognizer(model, tta=TtaConfig.of(tta), **settings)


@contextmanager
def _far(
    cluster: Cluster, model: str, tta: str, settings: dict, known: Detections | None, detections: Path | None
) -> Iterator[FarRecognizer]:
    """The recognizer of a cluster's workers."""
    from carclf.classifier.catalogue import find_model
    from carclf.recognition.far import FarRecognizer, NamingWork
    from detection.cluster.connect import connected
    from detection.cluster.crew import Crew
    from detection.cluster.work import findable

    find_model(model)
    detector = settings["detector"] and findable(settings["detector"])
    file = None if known is None or detections is None else Path(findable(str(detections)))
    work = NamingWork(findable(model), tta, settings | {"detector": detector}, file)
    with connected(cluster.address) as ray, Crew(ray, work, cluster) as crew:
        yield FarRecognizer(crew, known)


def _print(naming, kind: str, stdout) -> None:
    """Rows go out as they come."""
    import os
    import shutil

    from carclf.recognition.output.formats import encoded

    terminal = stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else None
    colours = terminal and "NO_COLOR" not in os.environ
    stdout.flush()
    for chunk in encoded(naming.rows(), kind, naming.columns, colours, width):
        stdout.buffer.write(chunk)
        stdout.buffer.flush()


def _note_detector(known, recognizer) -> None:
    trained = recognizer.trained_on
    if known is not None and trained and known.detector != trained:
        say(f"Note: the detections are of '{known.detector}', and the model was trained on cut-outs of '{trained}'.")


def _stopped(naming, total: int | None, output: Path | None) -> None:
    done = naming.tally.photos if total is None else f"{naming.tally.photos} of {total}"
    more = ": the same command resumes from there." if output else "; with --output, a run can be resumed."
    say(f"Stopped after {done} photos{more}")
