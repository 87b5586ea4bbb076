"""`carclf learn`, `embed`, `similar` and `cluster`: cars by their vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from carclf.commands.options import ALL_VEHICLES, Corrections, Device, Model, Runtime, Threads
from detection.common.console import quiet_stdout, say, tracked
from detection.common.files import escape_name
from detection.common.tally import counted, exit_code

PHOTOS = "Photos, folders, patterns (also with '**'), .csv lists; - reads paths from stdin."
Crops = Annotated[bool, typer.Option("--crops", help="The photos are cut out already: use no detector.")]


def learn(
    output: Annotated[Path, typer.Option(help="The garage: a small file, written anew or added to.")],
    photos: Annotated[
        str | None,
        typer.Argument(metavar="[PHOTOS]", help="Folder with a folder of photos per model, or a csv of file,class."),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            help="Model that the garage stands on: a bundled one, a run folder, a .safetensors file or an export. "
            "Default: the garage's own, else the bundled one."
        ),
    ] = None,
    forget: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Forget this class; may be given several times.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of the photos that a csv lists. Default: its own.")
    ] = None,
    crops: Crops = False,
    device: Device = "auto",
    runtime: Runtime = "auto",
    threads: Threads = None,
    corrections: Corrections = None,
) -> None:
    """Learn new models from a few photos each (1 to 50), in seconds and without torch.

    OUTPUT stands wherever a model does: carclf predict --model OUTPUT. It answers with the base's classes and the new
    ones. Beside it, OUTPUT.csv says of each photo whether it was learnt. Exit code 3: some photos could not be read.
    """
    from carclf.datasets.corrections.apply import read_corrections
    from carclf.tools.garage import learn as learning

    decided = None if corrections is None else read_corrections(corrections)
    with quiet_stdout():
        done = learning.learn(
            photos, output, base, forget or (), images, crops, device, runtime, threads, tracked("learning"), decided
        )
    for note in done.notes:
        say(note)
    for name, number in done.classes.items():
        typer.echo(f"{name}: {counted(number, 'photo')}")
    typer.echo(str(output))
    raise typer.Exit(exit_code(done.failed))


def embed(
    photos: Annotated[list[str], typer.Argument(metavar="PHOTOS...", help=PHOTOS)],
    output: Annotated[
        Path, typer.Option(help="File for the vectors: .parquet, or .npy, which gets its rows in a .csv beside it.")
    ],
    model: Model = "bundled",
    every_vehicle: Annotated[bool, typer.Option(ALL_VEHICLES, help="Embed every vehicle, one row each.")] = False,
    crops: Crops = False,
    device: Device = "auto",
    runtime: Runtime = "auto",
    threads: Threads = None,
) -> None:
    """Write a vector of every car: cars that look alike have vectors that are near each other.

    A photo without a car has a row, too. Exit code 3: some photos could not be read.
    """
    from carclf.tools.garage.vectors import check_vectors_file, embed_photos, write_vectors

    check_vectors_file(output)
    files = _files(photos)
    with quiet_stdout():
        recognizer = _recognizer(model, crops, device, runtime, threads, every_vehicle)
        table = embed_photos(recognizer, files, len(files), tracked("embedding"))
        write_vectors(output, table)
    typer.echo(f"{output}: {counted(int(table.there.sum()), 'vector')} of {counted(len(files), 'photo')}")
    raise typer.Exit(exit_code(table.failed))


def similar(
    photo: Annotated[str, typer.Argument(metavar="PHOTO", help="The photo of a car.")],
    source: Annotated[Path, typer.Option("--in", metavar="VECTORS", help="Vectors that `carclf embed` has written.")],
    output: Annotated[Path | None, typer.Option(help="File for the rows, .csv. Default: the terminal.")] = None,
    page: Annotated[Path | None, typer.Option(metavar="HTML", help="A page with the pictures.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Number of cars to find.")] = 12,
    model: Model = "bundled",
    crops: Crops = False,
    device: Device = "auto",
    runtime: Runtime = "auto",
    threads: Threads = None,
) -> None:
    """Find the cars that look most like the one in a photo."""
    from carclf.tools.garage.similar import find_similar, write_similar
    from carclf.tools.garage.vectors import read_vectors
    from detection.common.files import check_output, write_table

    if output is not None:
        check_output(output)
    table = read_vectors(source)
    with quiet_stdout():
        found = find_similar(_recognizer(model, crops, device, runtime, threads), photo, table, count)
        if page is not None:
            write_similar(page, photo, found)
    if output is not None:
        write_table(output, found.rows)
        return
    for row in found.rows:
        typer.echo(f"{row['rank']:>3}  {row['similarity']:.3f}  {row['label'] or '-'}  {escape_name(row['file'])}")


def cluster(
    source: Annotated[
        Path, typer.Argument(metavar="ROWS|VECTORS", help="Rows of `carclf predict`, or vectors of `carclf embed`.")
    ],
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder for groups.csv and index.html.")],
    every: Annotated[bool, typer.Option("--all", help="Group every car, not only those that are unknown.")] = False,
    apart: Annotated[
        float | None, typer.Option(min=0, max=2, help="Mean cosine distance at which groups stay apart.")
    ] = None,
    least: Annotated[int, typer.Option(min=1, help="Cars that make a group.")] = 2,
    model: Model = "bundled",
    crops: Crops = False,
    device: Device = "auto",
    runtime: Runtime = "auto",
    threads: Threads = None,
) -> None:
    """Sort unknown cars into groups by their look, to be named and learnt.

    Write a name into the column class of DIR/groups.csv, once per group: carclf learn DIR/groups.csv --output GARAGE.
    """
    from carclf.tools.garage.groups import APART, GROUPS, PAGE, write_groups
    from carclf.tools.garage.vectors import embed_photos, read_vectors, rows_of_predictions

    with quiet_stdout():
        if (rows := rows_of_predictions(source, every)) is None:
            table = read_vectors(source)
        else:
            recognizer = _recognizer(model, crops, device, runtime, threads)
            table = embed_photos(recognizer, rows, len(rows), tracked("embedding"))
            every = True
        wanted = table.there
        if not every:
            wanted &= [row["status"] == "unknown" for row in table.rows]
        found = write_groups(output, table.only(wanted), APART if apart is None else apart, least)
    typer.echo(f"{counted(int(wanted.sum()), 'car')} in {counted(found, 'group')}: {output / PAGE}, {output / GROUPS}")


def _files(photos: list[str]) -> list[str]:
    import sys
    from typing import TYPE_CHECKING, cast

    from carclf.recognition.inputs import find_sources

    if TYPE_CHECKING:
        from io import BufferedIOBase
    sources = find_sources(photos, cast("BufferedIOBase", sys.stdin.buffer))
    for note in sources.notes:
        say(note)
    return [source.path for source in sources]


def _recognizer(model: str, crops: bool, device: str, runtime: str, threads: int | None, every_vehicle: bool = False):
    from carclf.recognition.recognizer import CarRecognizer

    return CarRecognizer(
        model, device=device, crops=crops, runtime=runtime, threads=threads, every_vehicle=every_vehicle
    )
