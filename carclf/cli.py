"""The `carclf` command: thin shells. What they call is imported inside them, so that `--help` is instant."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from carclf import __version__
from carclf.commands import calibrate as calibrate_command
from carclf.commands import combine as combine_command
from carclf.commands import compare as compare_command
from carclf.commands import data as data_commands
from carclf.commands import dead_letters as dead_letters_command
from carclf.commands import export as export_command
from carclf.commands import models as models_command
from carclf.commands import predict as predict_command
from carclf.commands import report as report_command
from carclf.commands import runs as runs_commands
from carclf.commands import serve as serve_command
from carclf.commands import submit as submit_command
from carclf.commands import worker as worker_command
from carclf.console import quiet_stdout, say, track
from detection.errors import UsageError


class Commands(TyperGroup):
    """The one place where a wrong usage becomes one sentence and exit code 2, and Ctrl-C a quiet end."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except UsageError as error:
            say(str(error))
            raise typer.Exit(2) from error
        except KeyboardInterrupt as error:
            say("Stopped.")
            raise typer.Exit(130) from error


app = typer.Typer(
    cls=Commands,
    help="From a photo of a car to its make and model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Settings = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings that win over the file.")
]
Model = Annotated[str, typer.Option(help="bundled, a run folder, or a .safetensors file.")]
DetectorName = Annotated[
    str | None,
    typer.Option("--detector", help="By default the one that the model was trained with."),
]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"carclf {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
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
        bool, typer.Option("--all-vehicles", help="A cut-out of each: name-1.jpg (the main one), name-2.jpg, ...")
    ] = False,
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
        from detection.merge import merge_shards

        _end(merge_shards(folders))
    if len(folders) != 2:
        raise UsageError(f"Give two folders, IN and OUT, not {len(folders)}: carclf clean IN OUT.")
    from detection.config import read_config
    from detection.cutout import CutoutStyle
    from detection.options import CleanOptions

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
        all_vehicles=all_vehicles,
        shard=shard or "1/1",
        restart=restart,
        retry_failed=retry_failed,
        detections=detections,
        save_detections=save_detections,
        contact_sheet=contact_sheet,
        watch=interval if watch else None,
    )
    if dry_run:
        from detection.dry_run import dry_run as describe

        typer.echo(str(describe(*folders, style, options)))
        raise typer.Exit()
    from functools import partial

    from detection.folder import clean_folder

    def load(place: str):
        from detection.loading import load_detector

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


@app.command()
def train(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CONFIG KEY=VALUE", help="For example configs/train/quick.yaml, and settings that win over it."
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="Go on with this run, which knows its config: no CONFIG then.", metavar="RUN"),
    ] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Try the recipe out: all its stages on a few drawn photos, in seconds.")
    ] = False,
) -> None:
    """Train a classifier in stages; prints the run folder.

    With --resume a run that was stopped or killed ends as it would have; settings then are those of the machine
    (device, devices, nodes, workers, threads, progress, tensorboard, mlflow).
    """
    from carclf.config import TrainConfig
    from carclf.runs import resumed_config
    from detection.config import read_config

    arguments = arguments or []
    if resume is not None:
        if arguments and "=" not in arguments[0]:
            raise UsageError(f"--resume takes the config from the run folder: leave '{arguments[0]}' out.")
        resolved = resumed_config(resume, arguments)
    elif not arguments or ("=" in arguments[0] and not Path(arguments[0]).is_file()):
        raise UsageError("Name a config, for example configs/train/quick.yaml, or a run to go on with: --resume RUN.")
    else:
        resolved = read_config(TrainConfig, arguments[0], arguments[1:])
    if smoke:
        from carclf.training.smoke import try_recipe

        typer.echo(try_recipe(resolved))
        return
    from carclf.training.loop import train as train_classifier

    typer.echo(str(train_classifier(resolved)))


@app.command()
def train_detector(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="For example configs/detector/compact.yaml.")],
    settings: Settings = None,
) -> None:
    """Train a detector, compact or from the model zoo, on photos with COCO-format masks; prints the weights' path.

    The same command goes on from the last checkpoint. See docs/detectors.md.
    """
    with quiet_stdout():
        from detection.training import train_detector as train_on_masks

        weights = train_on_masks(config, settings or ())
    typer.echo(str(weights))


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="bundled, a run folder, or a .safetensors file.")],
    data: Annotated[Path, typer.Option(help="A folder per class, or a csv (file,class or Id,Category).")],
    output: Annotated[Path, typer.Option(help="Folder for report.html, metrics.json, report.csv, errors.csv, ...")],
    images: Annotated[Path | None, typer.Option(help="Folder that the csv's file names are in.")] = None,
    crops: Annotated[bool, typer.Option("--crops", help="The photos are cut out already: no detector.")] = False,
    detector: DetectorName = None,
    device: Device = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Cut-outs a classifier batch.")] = 32,
    split: Annotated[str, typer.Option(help="auto (test, where the data have one), train, val, test or all.")] = "auto",
    tta: Annotated[int, typer.Option(min=1, max=100, help="Views of each cut-out that are averaged.")] = 1,
    darken: Annotated[
        float, typer.Option(min=0.01, max=1, help="Multiply the photos' values by this, to see what less light costs.")
    ] = 1.0,
) -> None:
    """Measure a model on labelled photos, by the chain that prediction uses."""
    from carclf.models import find_model
    from carclf.runs import check_no_run
    from carclf.sources import choose_split, read_table

    find_model(model)
    check_no_run(output)
    table = choose_split(read_table(data, images), split)
    from carclf.evaluation.chain import evaluate_chain
    from carclf.pipeline import CarRecognizer

    with quiet_stdout():
        recognizer = CarRecognizer(model, detector=detector, device=device, batch_size=batch_size, crops=crops, tta=tta)
        metrics = evaluate_chain(
            recognizer,
            table,
            output,
            track=lambda rows: track(rows, total=len(table), what="evaluating"),
            darken=darken,
        )
    for name, value in metrics.items():
        if isinstance(value, (int, float, str)):
            low, high = metrics["intervals"].get(name, (None, None))
            between = "" if low is None else f" (95 %: {low:.4f} to {high:.4f})"
            typer.echo(f"{name}: {value:.4f}{between}" if isinstance(value, float) else f"{name}: {value}")
    typer.echo(f"written to {output}; see {output / 'report.html'}")


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder for everything that the demo makes.")] = Path("demo-output"),
    seed: Annotated[int, typer.Option(help="Another seed draws other scenes.")] = 0,
) -> None:
    """The whole chain on drawn street scenes, without data or network; ends with one HTML page."""
    from carclf.demo.run import run_demo

    run_demo(output, seed=seed)


@app.command()
def doctor() -> None:
    """Check the set-up; prints what is missing and the command that mends it."""
    from carclf.doctor import doctor as check

    raise typer.Exit(check())


# commands of their own files
app.command("predict")(predict_command.predict)
app.command("models")(models_command.models)
app.command("calibrate")(calibrate_command.calibrate)
app.command("combine")(combine_command.combine)
app.command("export")(export_command.export)
app.add_typer(data_commands.data_app, name="data")
app.command("prepare")(data_commands.prepare)
app.command("report")(report_command.report)
app.add_typer(runs_commands.app, name="runs")
app.command("serve")(serve_command.serve)
app.command("submit")(submit_command.submit)
app.command("worker")(worker_command.worker)
app.command("dead-letters")(dead_letters_command.dead_letters)
app.command("compare-backgrounds")(compare_command.compare_backgrounds)


def main() -> None:
    """Console script `carclf`."""
    if not sys.warnoptions:  # libraries' advice to their own developers would bury the lines that matter
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
    app(prog_name="carclf")


if __name__ == "__main__":
    main()
