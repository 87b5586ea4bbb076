"""`carclf evaluate`, `calibrate`, `compare-backgrounds` and `submit`: what a model is worth on labelled photos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from carclf.commands.options import MODEL, TRAINING, Corrections, Detector, Device, Kinds, Levels, Only, Runtime, Sure
from detection.common.console import never_in_the_way, quiet_stdout, say, tracked
from detection.common.errors import UsageError, need

Parts = Annotated[
    Path | None,
    typer.Option(help="List (sha256,part) that says which photos fit, choose and report; see docs/data.md."),
]


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help=MODEL,
        ),
    ],
    data: Annotated[
        Path,
        typer.Option(
            help="One folder per class, a csv (file,class or Id,Category), or another layout of docs/data.md."
        ),
    ],
    output: Annotated[
        Path, typer.Option(help="Folder for the results: report.html, metrics.json, report.csv, errors.csv, ...")
    ],
    images: Annotated[Path | None, typer.Option(help="Folder that the file names in the csv are relative to.")] = None,
    crops: Annotated[bool, typer.Option("--crops", help="The photos are already cut out: run no detector.")] = False,
    detector: Detector = None,
    kinds: Kinds = None,
    device: Device = "auto",
    runtime: Runtime = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Cut-outs per classifier batch.")] = 32,
    split: Annotated[
        str,
        typer.Option(
            help="Photos to use: train, val, test, all, held-out (all that the model was not trained on), or "
            "auto (test if there is one, otherwise all). With --parts also fit, choose and report."
        ),
    ] = "auto",
    parts: Parts = None,
    tta: Annotated[
        int, typer.Option(min=1, max=100, help="Number of views per cut-out, whose answers are averaged.")
    ] = 1,
    levels: Levels = None,
    sure: Sure = None,
    only: Only = None,
    darken: Annotated[
        float, typer.Option(min=0.01, max=1, help="Multiply pixel values by this factor, to see what less light costs.")
    ] = 1.0,
    slices: Annotated[
        bool,
        typer.Option("--slices", help="Also the figures of each kind of photo: view, size, light, JPEG quality, ..."),
    ] = False,
    corrections: Corrections = None,
) -> None:
    """Measure a model on labelled photos, with the same steps as `carclf predict`.

    A photo without an answer counts as wrong.
    """
    from carclf.classifier.catalogue import find_model
    from carclf.datasets.corrections.apply import apply_corrections, read_corrections
    from carclf.datasets.table import read_table_of
    from carclf.evaluation.held_out import choose_photos
    from carclf.runs.folder import check_no_run

    found = find_model(model)
    check_no_run(output)
    table, applied = read_table_of(found.info().classes, data, images), None
    if corrections is not None:
        table, applied = apply_corrections(table, read_corrections(corrections))
        for line in applied.told:
            say(line)
    table = choose_photos(table, split, found.path, parts)
    from carclf.evaluation.chain import evaluate_chain
    from carclf.evaluation.levels.report import level_lines
    from carclf.recognition.recognizer import CarRecognizer
    from carclf.runs.report.page import write_run_report
    from detection.common.files import user_path
    from detection.common.machine import threads_for_many
    from detection.common.places.sink import results_at

    with quiet_stdout():
        recognizer = CarRecognizer(
            model,
            detector=detector,
            device=device,
            batch_size=batch_size,
            crops=crops,
            tta=tta,
            runtime=runtime,
            threads=threads_for_many(),
            kinds=kinds,
            levels=levels,
            sure=sure,
            only=only,
        )
        with results_at(output) as folder:
            metrics = evaluate_chain(
                recognizer,
                table,
                folder,
                track=tracked("evaluating"),
                darken=darken,
                slices=slices,
                corrections=applied,
            )
            with never_in_the_way(f"the report of {output} was not written"):
                write_run_report(folder)
    output = user_path(output)
    for name, value in metrics.items():
        if isinstance(value, (int, float, str)):
            low, high = metrics["intervals"].get(name, (None, None))
            between = "" if low is None else f" (95 %: {low:.4f} to {high:.4f})"
            typer.echo(f"{name}: {value:.4f}{between}" if isinstance(value, float) else f"{name}: {value}")
    for line in level_lines(metrics):
        typer.echo(line)
    typer.echo(f"written to {output}; see {output / 'report.html'}")


def calibrate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A run folder or a .safetensors file. With --dry-run also a bundled model."
        ),
    ],
    data: Annotated[
        Path, typer.Option(help="Labelled photos that the model was not trained on: one folder per class, or a csv.")
    ],
    images: Annotated[Path | None, typer.Option(help="Folder that the file names in the csv are relative to.")] = None,
    others: Annotated[
        list[Path] | None, typer.Option(help="Folder of photos that show none of the classes. May be repeated.")
    ] = None,
    lost: Annotated[
        float, typer.Option(min=0, max=0.5, help="Largest share of known cars that may become unknown.")
    ] = 0.03,
    split: Annotated[
        str,
        typer.Option(
            help="Photos to use: train, val, test, all, or auto (test if there is one, otherwise all). With --parts "
            "also fit, choose and report."
        ),
    ] = "auto",
    parts: Parts = None,
    detector: Annotated[
        str | None, typer.Option(help="Detector to use. Default: the one that the model was trained with.")
    ] = None,
    device: Annotated[str, typer.Option(help="Device that runs the models: auto, cpu, cuda or cuda:N.")] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only measure; leave the model's file unchanged.")] = False,
    names: Annotated[
        Path | None,
        typer.Option(help="A csv (class,make,model,body,years,trim) that the model is to know its classes' parts by."),
    ] = None,
    levels_only: Annotated[
        bool, typer.Option("--levels-only", help="Choose the levels, and keep temperature and threshold.")
    ] = False,
) -> None:
    """Fit a model's temperature, threshold and levels to photos it was not trained on, and write them into its file.

    The temperature makes its confidence true; below the threshold it answers unknown. Where it knows the makes and
    models of its classes, it also learns how sure each level must be. Training fits all to its validation crops. This
    command runs the detector too, and also reports how photos of other things are answered.
    """
    need(("torch", "timm"), "Calibration")
    from carclf.classifier.catalogue import find_model
    from carclf.datasets.layouts.names_csv import read_names
    from carclf.datasets.parts import choose_part
    from carclf.datasets.table import read_table_of
    from carclf.evaluation.calibrate import calibrate_chain
    from carclf.weights import BUNDLED

    path = find_model(model).weights
    if model in (*BUNDLED, "bundled") and not dry_run:
        raise UsageError(
            f"'{model}' comes with carclf and stays as it is: copy its file, or measure it with --dry-run."
        )
    known = None if names is None else read_names(names)
    table = choose_part(read_table_of(find_model(model).info().classes, data, images), split, parts)
    with quiet_stdout():
        trust = calibrate_chain(
            path,
            table,
            others or [],
            lost=lost,
            detector=detector,
            device=device,
            write=not dry_run,
            track=tracked("recognizing"),
            names=known,
            only_levels=levels_only,
        )
    typer.echo(f"temperature {trust.temperature:.3f}, threshold {trust.threshold:.4f}")
    if trust.levels is not None:
        usual, most = trust.levels.usual, trust.levels.rows[-1].right
        least = ", ".join(f"{level} {value:.4f}" for level, value in trust.levels.thresholds().items())
        typer.echo(f"levels for {usual:g} right answers: {least}; these photos promise at most {most:g}")
    for name, value in trust.figures.items():
        typer.echo(f"known cars, {name}: {value:.4g}")
    for name, figures in trust.others.items():
        typer.echo(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in figures.items()))
    typer.echo(f"measured only: {path}" if dry_run else f"written into {path}")


def compare_backgrounds(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Raw photos: a folder per class, a csv or a zip file.")],
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings that override the recipe.")
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Folder that the file names in the csv are relative to.")] = None,
    config: Annotated[Path, typer.Option(help="Recipe to train for each style and seed.")] = Path(
        "configs/train/short.yaml"
    ),
    styles: Annotated[str, typer.Option(help="Some of raw, box, white, gray, mean, blur, black. The others are "
                                             "compared with the first.")] = "raw,box,white,gray,mean,blur",
    seeds: Annotated[int, typer.Option(min=1, help="Number of trainings per style, each with another seed.")] = 3,
    output: Annotated[Path, typer.Option(help="Folder for the results; the same command resumes.")] = Path(
        "runs/backgrounds"
    ),
) -> None:  # fmt: skip
    """Train one recipe on raw photos, box crops and cut-outs, and print which background is best and how surely."""
    need(TRAINING, "A comparison of backgrounds")
    from carclf.runs.recipe import TrainConfig
    from detection.common.config import read_config

    given = [f"data={data}", *([f"images={images}"] if images else [])]
    resolved = read_config(TrainConfig, config, [*given, *(settings or ())])
    from rich.console import Console

    from carclf.tools.backgrounds.comparison import compare_backgrounds as compare
    from carclf.tools.backgrounds.output import terminal_table
    from detection.common.console import quiet_stdout, say

    with quiet_stdout():
        results = compare(resolved, output, [style.strip() for style in styles.split(",") if style.strip()], seeds)
    Console().print(terminal_table(results))
    say(f"written to {output}")


def submit(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A run folder, a .safetensors file, a bundled model or an export."),
    ],
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help="The competition's folder or zip: sample-submission.csv, test_upload/, ..."
        ),
    ],
    output: Annotated[Path, typer.Option(help="Submission file to write.")] = Path("submission.csv"),
    tta: Annotated[
        int, typer.Option(min=1, max=100, help="Number of views per cut-out, whose answers are averaged.")
    ] = 1,
    sample: Annotated[Path | None, typer.Option(help="The sample submission, if it is not in DATA.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of the photos, if they are not in DATA.")] = None,
    classes: Annotated[
        Path | None,
        typer.Option(help="Csv (Category,class) that maps numbers to names, for a model that answers with names."),
    ] = None,
    crops: Annotated[bool, typer.Option("--crops", help="The photos are already cut out: run no detector.")] = False,
    detector: Annotated[
        str | None, typer.Option(help="Detector to use. Default: the one that the model was trained with.")
    ] = None,
    device: Annotated[str, typer.Option(help="Device that runs the models: auto, cpu, cuda or cuda:N.")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Cut-outs per classifier batch.")] = 32,
    restart: Annotated[bool, typer.Option("--restart", help="Start over instead of resuming.")] = False,
) -> None:
    """Write a competition's submission: one answer per id of its sample. The same command resumes a stopped run.

    Exit code 0: every photo was answered; 3: photos that are missing, unreadable or failed got the most frequent class;
    2: wrong usage.
    """
    from carclf.classifier.catalogue import find_model, load_classifier
    from carclf.tools.competition.layout import read_competition
    from detection.common.files import check_output

    find_model(model)
    check_output(output)
    competition = read_competition(data, sample, images, classes)

    classifier = load_classifier(model, device)
    unanswered = sorted(set(competition.counts) - set(competition.categories(classifier.classes)))
    if unanswered:
        say(f"The model knows no class of {competition.columns[1]} {', '.join(unanswered)}: no photo will get it.")
    with quiet_stdout():
        from carclf.recognition.recognizer import CarRecognizer
        from carclf.tools.competition.submission import FAILED
        from carclf.tools.competition.submission import submit as answer

        recognizer = CarRecognizer(
            classifier,
            detector=detector,
            device=device,
            batch_size=batch_size,
            crops=crops,
            tta=tta,
            threshold=0,  # every id must be answered
        )
        summary = answer(recognizer, competition, output, restart=restart)
    say(f"{summary}; reasons are in {summary.details}")
    if summary.failed:
        statuses = ", ".join(status for status in FAILED if summary.counts[status])
        say(f"the {summary.failed} {statuses} got {summary.fallback}, {summary.source}")
    typer.echo(str(output))
    raise typer.Exit(summary.tally.exit_code)
