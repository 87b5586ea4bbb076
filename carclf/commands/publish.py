"""`carclf hide`: folders of photos in which what is private is hidden."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from carclf.commands.clean import end_folder_run, folder_detector
from carclf.commands.options import (
    Address,
    ClusterWorkers,
    Device,
    Engine,
    Runtime,
    WorkerCores,
    cluster_of,
)
from detection.common.errors import UsageError

# Those of `HideStyle`, which would import OpenCV; a test compares them.
MARGIN, THRESHOLD = 0.3, 0.35


def hide(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="IN OUT", help="Folder of photos (or one photo), and folder for the photos as they may go out."
        ),
    ],
    what: Annotated[str, typer.Option(help="What is hidden: plates.")] = "plates",
    way: Annotated[str, typer.Option(help="blur, mosaic, fill (the plate's own colour) or logo.")] = "blur",
    logo: Annotated[
        str | None, typer.Option(metavar="FILE", help="Picture with transparency to set on each plate in perspective.")
    ] = None,
    margin: Annotated[float, typer.Option(help="How far beyond a plate is covered, as a part of its height.")] = MARGIN,
    threshold: Annotated[
        float, typer.Option(help="How sure a plate on a vehicle must be. Lower hides more that is none.")
    ] = THRESHOLD,
    hide_only_main: Annotated[
        bool, typer.Option("--hide-only-main", help="Only plates of the car that the photo is about.")
    ] = False,
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
    weights: Annotated[str | None, typer.Option(help="Weights file of the detector.")] = None,
    device: Device = "auto",
    runtime: Runtime = "auto",
    batch_size: Annotated[int, typer.Option(help="Photos per detector batch.")] = 8,
    workers: Annotated[int, typer.Option(help="Number of reader threads, and of writer threads. 0 chooses.")] = 2,
    restart: Annotated[bool, typer.Option("--restart", help="Start over instead of resuming.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Process photos with the status unreadable or error again.")
    ] = False,
    shard: Annotated[str | None, typer.Option(help="i/n: process part i of n, one part per machine.")] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Merge finished shards, as carclf clean does.")] = False,
    detections: Annotated[
        Path | None, typer.Option(help="Take boxes and masks from this file of carclf clean and run no detector.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep running and process photos as they arrive in IN, until Ctrl-C.")
    ] = False,
    interval: Annotated[float, typer.Option(help="With --watch: seconds between two looks into IN.")] = 5.0,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Leave out what fits: a name, or a path below IN. May be repeated."),
    ] = None,
    engine: Engine = "local",
    address: Address = None,
    worker_cores: WorkerCores = None,
    cluster_workers: ClusterWorkers = None,
) -> None:
    """Hide number plates in a folder of photos; each photo keeps its name, format and size.

    OUT/manifest.csv says of each photo how many were hidden, where, and how sure. No plate is read.
    Exit code 0: every photo was written; 3: some could not be; 2: wrong usage.
    """
    if merge:
        from detection.folder.merge import merge_shards

        end_folder_run(merge_shards(folders))
    if len(folders) != 2:
        raise UsageError(f"Give two folders, IN and OUT, not {len(folders)}: carclf hide IN OUT.")
    from functools import partial

    from detection.cutout.cut import CutoutStyle
    from detection.folder.options import CleanOptions
    from detection.folder.run import clean_folder
    from detection.publishing.hiding.cover import hide_style

    style = hide_style(
        what, way=way, logo=logo, margin=margin, threshold=threshold, only_main=hide_only_main, metadata=metadata
    )
    options = CleanOptions.of(
        hide=style,
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
    source, target = folders
    cluster = cluster_of(engine, address, worker_cores, cluster_workers, device)
    if cluster is not None:
        from detection.cluster.work import findable

        detector, weights = findable(detector), weights and findable(weights)
    load = partial(folder_detector, detector, device, source.is_file(), {"weights": weights, "runtime": runtime})
    end_folder_run(clean_folder(source, target, [load], CutoutStyle(), options=options, cluster=cluster))
