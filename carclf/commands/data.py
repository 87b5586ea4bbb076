"""`carclf data check`, `audit`, `fetch`, `export` and `import`, and `carclf prepare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from carclf.commands.options import Corrections, Device, Runtime, Verb
from detection.common.console import quiet_stdout, say, tracked
from detection.common.tally import exit_code

Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="One folder per class (also below train/, val/, test/), a csv, a zip file, or the Stanford devkit.",
    ),
]
Images = Annotated[Path | None, typer.Option(help="Folder that the file names in the csv are relative to.")]

app = typer.Typer(help="Inspect and fetch labelled photos.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    pass


@app.command("check", cls=Verb)
def check(
    data: Data,
    images: Images = None,
    corrections: Corrections = None,
    json: Annotated[
        Path | None, typer.Option(help="Write everything to this JSON file, with one row per photo.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write one row per photo to this csv file.")] = None,
) -> None:
    """Count the classes, and report unreadable, duplicated and mislabelled photos and boxes outside their photo.

    Exit code 0: nothing to report; 3: something needs attention; 2: DATA can't be read at all.
    """
    from detection.common.files import check_output

    check_output(json)
    check_output(csv)
    from carclf.datasets.check.check import check_data
    from carclf.datasets.check.report import report
    from carclf.datasets.corrections.apply import read_corrections
    from detection.common.files import write_json, write_table

    decided = None if corrections is None else read_corrections(corrections)
    found = check_data(data, images, tracked("looking"), decided)
    if json:
        write_json(json, found.as_json())
    if csv:
        write_table(csv, found.rows)
    typer.echo(report(found), nl=False)
    raise typer.Exit(exit_code(not found.clean))


@app.command("audit", cls=Verb)
def audit(
    data: Data,
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder for audit.html and audit.csv.")],
    images: Images = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="A model that judges the labels, if it knows all classes: a run folder, a .safetensors file, an "
            "export, a garage. Default: the photos judge each other, by the vectors of the bundled one."
        ),
    ] = None,
    crops: Annotated[bool, typer.Option("--crops", help="The photos are cut out already: use no detector.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Look at every photo anew.")] = False,
    device: Device = "auto",
    runtime: Runtime = "auto",
) -> None:
    """Find wrong labels, photos without a car, copies, and dark, blurred, small or cut-off cars, worst first.

    Needs no training. The same command resumes, and photos that have not changed are not looked at again. Exit code 3:
    some photos could not be looked at.
    """
    from carclf.tools.audit.audit import TABLE, audit_data
    from carclf.tools.audit.overview import summary
    from carclf.tools.audit.page import NAME, write_audit_page

    with quiet_stdout():
        found = audit_data(
            data, output, images, model, crops, restart, device, runtime, tracked("checking"), tracked("looking")
        )
        page = write_audit_page(found, output / NAME, tracked("drawing"))
    for line in summary(found):
        typer.echo(line)
    typer.echo(f"{page}, {output / TABLE}")
    raise typer.Exit(exit_code(found.failed))


@app.command("fetch", cls=Verb)
def fetch(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="kaggle:COMPETITION, kaggle:OWNER/DATASET, the https:// or s3:// address of a zip or tar file, or the "
            "s3:// address of a folder of photos.",
        ),
    ],
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder to create, for `carclf train CONFIG data=DIR`.")
    ],
    max_gb: Annotated[float, typer.Option(min=0.001, help="Largest download, in gigabytes.")] = 200,
) -> None:
    """Download labelled photos and unpack them. The same command resumes where it stopped.

    Exit code 0: ready to train on; 3: fetched, but some files were left out, or in no
    layout that training knows; 2: it can't be fetched.
    """
    from carclf.tools.fetch.fetch import fetch

    fetched = fetch(source, folder, round(max_gb * 1e9))
    typer.echo(str(fetched))
    raise typer.Exit(exit_code(fetched.trouble or fetched.missed))


Format = Annotated[
    str, typer.Option(help="coco, yolo, voc, label-studio, cvat, fiftyone, csv or folders.", show_default=False)
]
Output = Annotated[Path, typer.Option(help="Folder to create.", show_default=False)]


@app.command("export", cls=Verb)
def export(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="Labelled photos, or what `clean` or `predict` or an import wrote.")
    ],
    format: Format,
    output: Output,
    images: Annotated[Path | None, typer.Option(help="Folder of the photos that SOURCE names.")] = None,
) -> None:
    """Write labels, boxes, masks, splits and confidences in another program's format.

    Exit code 0: done, and what the format can't hold is said; 3: some photos can't be read; 2: wrong usage.
    """
    from carclf.tools.exchange.exchange import export_data

    _exchanged(export_data(source, format, output, images, tracked("reading")))


@app.command("import", cls=Verb)
def import_(
    source: Annotated[str, typer.Argument(metavar="FILE_OR_DIR", help="What another program exported; a zip, too.")],
    format: Format,
    output: Output,
    images: Annotated[Path | None, typer.Option(help="Folder of the photos that FILE_OR_DIR names.")] = None,
) -> None:
    """Read another program's labels into a folder for `carclf train data=DIR` and `carclf train-detector`.

    Exit code 0: done; 3: some photos can't be read; 2: wrong usage, or a file that can't be trusted.
    """
    from carclf.tools.exchange.exchange import import_data

    _exchanged(import_data(source, format, output, images))


def _exchanged(made: Any) -> None:
    for note in made.notes:
        say(note)
    typer.echo(str(made))
    raise typer.Exit(made.exit_code)


def prepare(
    data: Data,
    output: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder to create, with train/<class>/, test/<class>/, ...")
    ],
    images: Images = None,
    test: Annotated[
        float,
        typer.Option(min=0, max=0.9, help="Share of each class that goes to test/ if DATA has no split. 0: none."),
    ] = 0.1,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the test split: another seed puts other photos in test/.")
    ] = 1,
    crop_to_boxes: Annotated[bool, typer.Option("--crop-to-boxes", help="Crop each photo to its box.")] = False,
    padding: Annotated[
        float, typer.Option(min=0, max=10, help="Margin around the box, as a fraction of its longer side.")
    ] = 0.0,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the photos instead of linking them.")] = False,
) -> None:
    """Arrange labelled photos in one folder per class below train/, test/ and, if DATA has one, val/, by hard links.

    OUT/prepared.csv has one row per photo. The same command resumes where it stopped.
    Exit code 0: every photo has its place; 3: some could not be read or cropped; 2: wrong usage.
    """
    from carclf.datasets.prepare.prepare import PrepareOptions, prepare_data

    options = PrepareOptions(test=test, seed=seed, crop_to_boxes=crop_to_boxes, padding=padding, copy_files=copy)
    made = prepare_data(data, output, images, options, tracked("preparing"))
    for note in made.notes:
        say(note)
    typer.echo(str(made))
    raise typer.Exit(made.exit_code)


def review(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="What to look through: a folder of carclf data audit, cluster or evaluate, a run folder, rows of "
            "carclf predict, or labelled photos.",
        ),
    ],
    images: Annotated[Path | None, typer.Option(help="Folder of the photos that SOURCE names.")] = None,
    vectors: Annotated[
        Path | None, typer.Option(help="Vectors of carclf embed, to show look-alikes. An audit has its own.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Any but one of this machine asks for a token, which is printed.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on. 0 takes a free one.")] = 8010,
    name: Annotated[
        str | None, typer.Option(help="Who decides, until the page is told otherwise. Default: the user's name.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token to ask for. Default: one by chance where one is needed.")
    ] = None,
) -> None:
    """Look through photos on a local page, and decide which labels are right; each decision is on disk at once.

    Decisions are lines in SOURCE/corrections.jsonl (of a file: FILE.review/corrections.jsonl). train, evaluate, learn
    and data check take them by corrections=SOURCE or --corrections SOURCE. See docs/review.md.
    """
    from carclf.service.server import check_installed

    check_installed()
    from carclf.tools.review.web.app import review as review_photos

    def ready(address: str) -> None:
        say(f"listening on {address}: open it in a browser; Ctrl-C ends it")

    person = name if name is not None else _user()
    review_photos(source, images, vectors, host, port, person, token_file, tracked("reading"), ready)


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may know no name
        return ""
