"""`carclf clean`: removes the backgrounds of a folder of photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carclf.commands.options import (
    ALL_VEHICLES,
    Address,
    ClusterWorkers,
    Detections,
    DetectorBatch,
    Device,
    Engine,
    EveryVehicle,
    Exclude,
    FolderWeights,
    Hide,
    HideLogo,
    HideMargin,
    HideOnlyMain,
    HideWay,
    Interval,
    KeepSuffix,
    Kinds,
    Merge,
    Quality,
    Restart,
    RetryFailed,
    Runtime,
    SaveDetections,
    ShardOf,
    Small,
    Watch,
    WorkerCores,
    Workers,
    cluster_of,
    hide_style_of,
)
from detection.common.console import say
from detection.common.errors import UsageError

if TYPE_CHECKING:
    from detection.detectors.contract import Detector


def clean(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="IN OUT",
            help="Folder of photos (or one photo), and folder for the cut-outs, which mirrors its tree.",
        ),
    ],
    detector: Annotated[
        str, typer.Option(help="compact, a Detectron2 model-zoo name, a config file, or a folder of train-detector.")
    ] = "compact",
    weights: FolderWeights = None,
    device: Device = "auto",
    devices: Annotated[
        str | None, typer.Option(help="Several devices, each with its own detector: cuda:0,cuda:1.")
    ] = None,
    runtime: Runtime = "auto",
    precision: Annotated[str, typer.Option(help="auto (half precision where it is faster) or float32.")] = "auto",
    score_threshold: Annotated[float | None, typer.Option(help="Lowest score that counts as a vehicle.")] = None,
    padding: Annotated[float, typer.Option(help="Margin around the car, as a fraction of its longer side.")] = 0.05,
    background: Annotated[str, typer.Option(help="white, black, gray, mean, blur, keep or transparent.")] = "white",
    feather: Annotated[float, typer.Option(help="Softness of the edge, in pixels.")] = 1.0,
    edge: Annotated[
        str,
        typer.Option(help="guided, as classifiers see cars, or trained: a network corrects it, which takes longer."),
    ] = "guided",
    no_car: Annotated[
        str, typer.Option(help="What to do with a photo without a car: keep, skip or quarantine.")
    ] = "keep",
    check: Annotated[
        bool | None,
        typer.Option(
            "--check/--no-check",
            help="Whether a second network must take what was found for a car. Default: with the compact detector.",
        ),
    ] = None,
    turned: Annotated[
        bool,
        typer.Option(
            "--turned/--no-turned",
            help="Whether a photo without a sure car is looked at turned by 90, 180 and 270 degrees, where --check is.",
        ),
    ] = True,
    kinds: Kinds = None,
    only: Annotated[str | None, typer.Option(hidden=True, help="The same as --kinds.")] = None,
    all_vehicles: Annotated[
        bool, typer.Option(ALL_VEHICLES, help="Cut out every vehicle: name-1.jpg (the main one), name-2.jpg, ...")
    ] = False,
    every_vehicle: EveryVehicle = False,
    small: Small = None,
    format: Annotated[
        str | None, typer.Option(help="jpg, png or webp. Default: png for a transparent background, otherwise jpg.")
    ] = None,
    quality: Quality = 95,
    max_size: Annotated[
        int | None, typer.Option(help="Longest side of a cut-out, in pixels. Larger ones are scaled down.")
    ] = None,
    hide: Hide = None,
    way: HideWay = None,
    logo: HideLogo = None,
    margin: HideMargin = None,
    hide_only_main: HideOnlyMain = False,
    batch_size: DetectorBatch = 8,
    workers: Workers = 2,
    restart: Restart = False,
    retry_failed: RetryFailed = False,
    shard: ShardOf = None,
    merge: Merge = False,
    save_detections: SaveDetections = False,
    detections: Detections = None,
    contact_sheet: Annotated[
        bool, typer.Option("--contact-sheet", help="At the end, write before/after pages to OUT/contact-sheet.")
    ] = False,
    watch: Watch = False,
    interval: Interval = 5.0,
    keep_suffix: KeepSuffix = False,
    exclude: Exclude = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and write nothing.")] = False,
    engine: Engine = "local",
    address: Address = None,
    worker_cores: WorkerCores = None,
    cluster_workers: ClusterWorkers = None,
) -> None:
    """Cut the cars out of a folder of photos and replace their backgrounds.

    Writes OUT/manifest.csv with one row per photo. The same command resumes a stopped run.
    Exit code 0: every photo was read; 3: some could not be read; 2: wrong usage.
    """
    source, target = in_and_out(folders, merge, "clean")
    from detection.common.config import check_config
    from detection.cutout.cut import CutoutStyle
    from detection.folder.options import CleanOptions

    style = check_config(
        CutoutStyle, {"padding": padding, "background": background, "feather": feather, "no_car": no_car}
    )
    options = CleanOptions.of(
        batch_size=batch_size,
        workers=workers,
        image_format=format,
        quality=quality,
        max_size=max_size,
        check=check,
        turned=turned,
        kinds=kinds or only or None,
        all_vehicles=all_vehicles or every_vehicle,
        small=small,
        shard=shard or "1/1",
        restart=restart,
        retry_failed=retry_failed,
        detections=detections,
        save_detections=save_detections,
        contact_sheet=contact_sheet,
        watch=interval if watch else None,
        keep_suffix=keep_suffix,
        exclude=exclude or (),
        hide=hide_style_of(hide, way, logo, margin, hide_only_main),
        edge=edge,
    )
    if dry_run:
        from detection.folder.dry_run import dry_run as describe

        typer.echo(str(describe(source, target, style, options)))
        raise typer.Exit()
    from functools import partial

    from detection.folder.run import clean_folder

    cluster = cluster_of(engine, address, worker_cores, cluster_workers, device)
    if cluster is not None and devices:
        raise UsageError("--engine ray gives each worker a device of its own: leave out --devices.")
    if cluster is not None:
        from detection.cluster.work import findable

        detector, weights = findable(detector), weights and findable(weights)
    settings = {"weights": weights, "score_threshold": score_threshold, "precision": precision, "runtime": runtime}
    places = [place.strip() for place in devices.split(",")] if devices else [device]
    loaders = [partial(folder_detector, detector, place, source.is_file(), settings) for place in places]
    end_folder_run(clean_folder(source, target, loaders, style, options=options, cluster=cluster))


def folder_detector(detector: str, device: str, single: bool, settings: dict[str, Any]) -> Detector:
    """The detector of a run, perhaps in a worker of a cluster. single: for one photo."""
    from detection.common.machine import threads_for_many
    from detection.detectors.load import load_detector

    return load_detector(detector, device=device, threads=None if single else threads_for_many(), **settings)


def in_and_out(folders: list[Path], merge: bool, verb: str) -> tuple[Path, Path]:
    """IN and OUT of a folder run. Ends the command where shards are to be merged. Raises `UsageError`."""
    if merge:
        from detection.folder.merge import merge_shards

        end_folder_run(merge_shards(folders))
    if len(folders) != 2:
        raise UsageError(f"Give two folders, IN and OUT, not {len(folders)}: carclf {verb} IN OUT.")
    return folders[0], folders[1]


def end_folder_run(summary) -> None:
    """Says how a folder run ended, and leaves with its exit code."""
    for note in summary.notes:
        say(note)
    typer.echo(f"{summary} {summary.manifest}")
    raise typer.Exit(summary.exit_code)
