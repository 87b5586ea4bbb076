"""`carclf clean`: removes the backgrounds of a folder of photos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from carclf.commands.options import ALL_VEHICLES, Device, EveryVehicle
from detection.common.console import say
from detection.common.errors import UsageError


def clean(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="IN OUT", help="Folder of photos, whose tree is mirrored; folder for the cut-outs."),
    ],
    detector: Annotated[
        str, typer.Option(help="compact, a Detectron2 model-zoo name, a config, or a training's folder.")
    ] = "compact",
    weights: Annotated[str | None, typer.Option(help="Weights file for the detector.")] = None,
    device: Device = "auto",
    devices: Annotated[str | None, typer.Option(help="Several, each with a detector: cuda:0,cuda:1.")] = None,
    precision: Annotated[str, typer.Option(help="auto: half precision where it is faster; or float32.")] = "auto",
    score_threshold: Annotated[float | None, typer.Option(help="Least score of a vehicle.")] = None,
    padding: Annotated[float, typer.Option(help="Margin round the car, as a part of its longer side.")] = 0.05,
    background: Annotated[str, typer.Option(help="white, black, gray, mean, blur, keep or transparent.")] = "white",
    feather: Annotated[float, typer.Option(help="Softness of the edge, in pixels.")] = 1.0,
    no_car: Annotated[str, typer.Option(help="A photo without a car: keep, skip or quarantine.")] = "keep",
    only: Annotated[str, typer.Option(help="Kinds of vehicle, as car,truck; others are passed over.")] = "",
    all_vehicles: Annotated[
        bool, typer.Option(ALL_VEHICLES, help="A cut-out of each: name-1.jpg (the main one), name-2.jpg, ...")
    ] = False,
    every_vehicle: EveryVehicle = False,
    format: Annotated[str | None, typer.Option(help="jpg, png or webp; by default what fits the background.")] = None,
    quality: Annotated[int, typer.Option(help="Quality of jpg and webp, 1-100.")] = 95,
    max_size: Annotated[int | None, typer.Option(help="Longest side of a cut-out, in pixels.")] = None,
    batch_size: Annotated[int, typer.Option(help="Photos a detector batch.")] = 8,
    workers: Annotated[int, typer.Option(help="Reader and cutter threads, each; 0 chooses.")] = 2,
    restart: Annotated[bool, typer.Option("--restart", help="Begin again instead of going on.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Do unreadable and error rows again.")] = False,
    shard: Annotated[
        str | None, typer.Option(help="i/n: this machine's part of the photos, 1/4 to 4/4 for four.")
    ] = None,
    merge: Annotated[
        bool,
        typer.Option("--merge", help="Merge shards: give OUT, or the OUTs of all shards and a folder to merge into."),
    ] = False,
    save_detections: Annotated[
        bool, typer.Option("--save-detections", help="Keep boxes and masks in OUT/detections.jsonl.")
    ] = False,
    detections: Annotated[
        Path | None, typer.Option(help="Take boxes and masks from this file, not from a detector.")
    ] = None,
    contact_sheet: Annotated[
        bool, typer.Option("--contact-sheet", help="Before/after pages in OUT/contact-sheet at the end.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on with what comes into IN, until Ctrl-C.")] = False,
    interval: Annotated[float, typer.Option(help="Seconds between two looks of --watch.")] = 5.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and write nothing.")] = False,
) -> None:
    """Remove the backgrounds of a folder of photos."""
    if merge:
        from detection.folder.merge import merge_shards

        _end(merge_shards(folders))
    if len(folders) != 2:
        raise UsageError(f"Give two folders, IN and OUT, not {len(folders)}: carclf clean IN OUT.")
    from detection.common.config import read_config
    from detection.cutout.cut import CutoutStyle
    from detection.folder.options import CleanOptions

    style = read_config(
        CutoutStyle,
        overrides=[f"padding={padding}", f"background={background}", f"feather={feather}", f"no_car={no_car}"],
    )
    options = CleanOptions.of(
        batch_size=batch_size,
        workers=workers,
        image_format=format,
        quality=quality,
        max_size=max_size,
        only=only or (),
        all_vehicles=all_vehicles or every_vehicle,
        shard=shard or "1/1",
        restart=restart,
        retry_failed=retry_failed,
        detections=detections,
        save_detections=save_detections,
        contact_sheet=contact_sheet,
        watch=interval if watch else None,
    )
    if dry_run:
        from detection.folder.dry_run import dry_run as describe

        typer.echo(str(describe(*folders, style, options)))
        raise typer.Exit()
    from functools import partial

    from detection.folder.run import clean_folder

    def load(place: str):
        from detection.detectors.load import load_detector

        return load_detector(
            detector, device=place, weights=weights, score_threshold=score_threshold, precision=precision
        )

    places = [place.strip() for place in devices.split(",")] if devices else [device]
    _end(clean_folder(*folders, [partial(load, place) for place in places], style, options=options))


def _end(summary) -> None:
    """Says how a folder run ended, and leaves with its exit code."""
    for note in summary.notes:
        say(note)
    typer.echo(f"{summary} {summary.manifest}")
    raise typer.Exit(summary.exit_code)
