"""`carclf hide`, `studio` and `stock`: folders of photos made fit to be published, and what they still lack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from carclf.commands.clean import end_folder_run, folder_detector, in_and_out
from carclf.commands.options import (
    Address,
    ClusterWorkers,
    Detections,
    DetectorBatch,
    Device,
    Engine,
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
    Watch,
    WorkerCores,
    Workers,
    cluster_of,
    hide_style_of,
)
from detection.common.console import quiet_stdout, tracked
from detection.common.tally import exit_code

# Those of `HideStyle` and `StudioStyle`, which would import OpenCV; tests compare them.
HIDE_THRESHOLD, FACE_THRESHOLD = 0.4, 0.5
MAX_UPSCALE = 2.0


def hide(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="IN OUT", help="Folder of photos (or one photo), and folder for the photos as they may go out."
        ),
    ],
    what: Annotated[str, typer.Option(help="What is hidden: plates, faces, or plates,faces.")] = "plates",
    way: HideWay = None,
    logo: HideLogo = None,
    margin: HideMargin = None,
    threshold: Annotated[
        float, typer.Option(help="How sure a plate on a vehicle must be. Lower hides more that is none.")
    ] = HIDE_THRESHOLD,
    face_threshold: Annotated[
        float, typer.Option(help="How sure a face must be. Lower hides more that is none.")
    ] = FACE_THRESHOLD,
    hide_only_main: HideOnlyMain = False,
    metadata: Annotated[
        str,
        typer.Option(
            help="What stays of what files say: strip (nothing), safe (camera and date), keep (all but previews)."
        ),
    ] = "safe",
    review: Annotated[
        bool, typer.Option("--review", help="At the end, list photos that a person should look at in OUT/review.csv.")
    ] = False,
    contact_sheet: Annotated[
        bool,
        typer.Option(
            "--contact-sheet", help="At the end, write pages of what was hidden, and nearly, to OUT/contact-sheet."
        ),
    ] = False,
    detector: Annotated[str, typer.Option(help="As of carclf clean.")] = "compact",
    weights: FolderWeights = None,
    device: Device = "auto",
    runtime: Runtime = "auto",
    batch_size: DetectorBatch = 8,
    workers: Workers = 2,
    restart: Restart = False,
    retry_failed: RetryFailed = False,
    shard: ShardOf = None,
    merge: Merge = False,
    detections: Detections = None,
    watch: Watch = False,
    interval: Interval = 5.0,
    exclude: Exclude = None,
    engine: Engine = "local",
    address: Address = None,
    worker_cores: WorkerCores = None,
    cluster_workers: ClusterWorkers = None,
) -> None:
    """Hide number plates and faces in a folder of photos; each photo keeps its name, format and size.

    OUT/manifest.csv says of each photo how many were hidden, where, and how sure. No plate is read, no face recognized.
    Exit code 0: every photo was written; 3: some could not be; 2: wrong usage.
    """
    source, target = in_and_out(folders, merge, "hide")
    from functools import partial

    from detection.cutout.cut import CutoutStyle
    from detection.folder.options import CleanOptions
    from detection.folder.run import clean_folder

    style = hide_style_of(
        what,
        way,
        logo,
        margin,
        hide_only_main,
        threshold=threshold,
        face_threshold=face_threshold,
        metadata=metadata,
    )
    options = CleanOptions.of(
        hide=style,
        whole_photos=True,
        kinds="all",
        batch_size=batch_size,
        workers=workers,
        restart=restart,
        retry_failed=retry_failed,
        shard=shard or "1/1",
        detections=detections,
        contact_sheet=contact_sheet,
        review=review,
        watch=interval if watch else None,
        exclude=exclude or (),
    )
    cluster = cluster_of(engine, address, worker_cores, cluster_workers, device)
    if cluster is not None:
        from detection.cluster.work import findable

        detector, weights = findable(detector), weights and findable(weights)
    load = partial(folder_detector, detector, device, source.is_file(), {"weights": weights, "runtime": runtime})
    end_folder_run(clean_folder(source, target, [load], CutoutStyle(), options=options, cluster=cluster))


def studio(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="IN OUT", help="Folder of photos (or one photo), and folder for the pictures."),
    ],
    backdrop: Annotated[
        str,
        typer.Option(
            metavar="NAME|COLOUR|TOP:BOTTOM|FILE",
            help="studio-white, studio-grey, showroom, dusk or concrete; a colour, such as #d8dade; two of them, from "
            "top to bottom; or a picture.",
        ),
    ] = "studio-white",
    horizon: Annotated[
        float | None,
        typer.Option(help="Where the floor begins in a backdrop picture, as a part of its height from the top."),
    ] = None,
    size: Annotated[str | None, typer.Option(help="Size of the pictures in pixels. Default: 1600x1200.")] = None,
    market: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Size by marketplace: mobile.de, autoscout24, ebay, facebook, ..."),
    ] = None,
    light: Annotated[str, typer.Option(help="Where the light comes from: left, right or top.")] = "top",
    reflection: Annotated[
        float, typer.Option(help="How strongly the floor mirrors the car, 0 to 1; 0.15 is faint.")
    ] = 0.0,
    even: Annotated[
        bool, typer.Option("--even/--no-even", help="Whether colour and brightness are evened, within limits.")
    ] = True,
    glass: Annotated[
        bool,
        typer.Option("--glass", help="Tone what is seen through windows towards the backdrop, where that is sure."),
    ] = False,
    max_upscale: Annotated[
        float, typer.Option(help="A car is enlarged at most so many times; beyond that the picture comes out smaller.")
    ] = MAX_UPSCALE,
    edge: Annotated[
        str, typer.Option(help="trained: a network corrects the car's edge. Or guided, which is quicker.")
    ] = "trained",
    no_car: Annotated[
        str, typer.Option(help="What to do with a photo without a car: keep, skip or quarantine.")
    ] = "skip",
    hide: Hide = None,
    way: HideWay = None,
    logo: HideLogo = None,
    margin: HideMargin = None,
    hide_only_main: HideOnlyMain = False,
    kinds: Kinds = None,
    format: Annotated[str | None, typer.Option(help="jpg, png or webp. Default: jpg.")] = None,
    quality: Quality = 95,
    detector: Annotated[str, typer.Option(help="As of carclf clean.")] = "compact",
    weights: FolderWeights = None,
    device: Device = "auto",
    runtime: Runtime = "auto",
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
    engine: Engine = "local",
    address: Address = None,
    worker_cores: WorkerCores = None,
    cluster_workers: ClusterWorkers = None,
) -> None:
    """Set every car of a folder of photos before the same backdrop, at the same scale, standing on a floor.

    OUT/manifest.csv has one row per photo; the same command resumes a stopped run.
    Exit code 0: every photo was read; 3: some could not be; 2: wrong usage.
    """
    source, target = in_and_out(folders, merge, "studio")
    from functools import partial

    from detection.common.config import check_config
    from detection.cutout.cut import CutoutStyle
    from detection.folder.options import CleanOptions
    from detection.folder.run import clean_folder
    from detection.publishing.studio.backdrop import is_picture
    from detection.publishing.studio.style import studio_style

    cluster = cluster_of(engine, address, worker_cores, cluster_workers, device)
    if cluster is not None:
        from detection.cluster.work import findable

        detector, weights = findable(detector), weights and findable(weights)
        backdrop = findable(backdrop) if is_picture(backdrop) else backdrop
    style = studio_style(
        size,
        market,
        backdrop=backdrop,
        horizon=horizon,
        light=light,
        reflection=reflection,
        even=even,
        glass=glass,
        max_upscale=max_upscale,
        edge=edge,
    )
    options = CleanOptions.of(
        studio=style,
        hide=hide_style_of(hide, way, logo, margin, hide_only_main),
        kinds=kinds,
        image_format=format,
        quality=quality,
        batch_size=batch_size,
        workers=workers,
        restart=restart,
        retry_failed=retry_failed,
        shard=shard or "1/1",
        save_detections=save_detections,
        detections=detections,
        contact_sheet=contact_sheet,
        watch=interval if watch else None,
        keep_suffix=keep_suffix,
        exclude=exclude or (),
    )
    load = partial(folder_detector, detector, device, source.is_file(), {"weights": weights, "runtime": runtime})
    cut = check_config(CutoutStyle, {"no_car": no_car})
    end_folder_run(clean_folder(source, target, [load], cut, options=options, cluster=cluster))


def stock(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="Folder of photos, raw or composed: a folder per car, or all in one.")
    ],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the tables and the pages.")],
    group: Annotated[
        str, typer.Option(help="What makes a car: its folder, its look, or auto (folders where IN has some).")
    ] = "auto",
    sides: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Sides that each car should be seen from: front, front-left, left, rear-left, rear, rear-right, "
            "right, front-right, with commas between them, or all. Default: the four corners, left and right.",
        ),
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Look at every photo anew.")] = False,
    device: Device = "auto",
    runtime: Runtime = "auto",
) -> None:
    """Tell of each car in a stock which sides no photo shows, and which photos are bad, alike or of another car.

    Writes OUT/stock.csv (a row per photo), OUT/cars.csv (a row per car), and pages, OUT/index.html first. The same
    command resumes. Exit code 0: every photo was looked at; 3: some could not be; 2: wrong usage.
    """
    from carclf.tools.stock.page import write_pages
    from carclf.tools.stock.stock import CARS, PHOTOS, look_at_stock, summary

    with quiet_stdout():
        found = look_at_stock(source, output, group, sides, restart, device, runtime, tracked("looking"))
        page = write_pages(found, output, tracked("drawing"))
    for line in summary(found):
        typer.echo(line)
    typer.echo(f"{page}, {output / PHOTOS}, {output / CARS}")
    raise typer.Exit(exit_code(found.failed))
