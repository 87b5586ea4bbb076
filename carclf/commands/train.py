"""`carclf train` and `carclf train-detector`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from carclf.commands.options import TRAINING
from detection.common.console import quiet_stdout
from detection.common.errors import UsageError, need

Resume = Annotated[
    Path | None,
    typer.Option(help="Resume this run, which knows its config: no CONFIG then.", metavar="RUN"),
]


def train(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CONFIG KEY=VALUE", help="For example configs/train/quick.yaml, and settings that win over it."
        ),
    ] = None,
    resume: Resume = None,
    cache_size: Annotated[
        str | None,
        typer.Option(
            help="Most bytes, as 20GB, of photos that are kept here where DATA lies elsewhere.", metavar="SIZE"
        ),
    ] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Try the recipe out: all its stages on a few drawn photos, in seconds.")
    ] = False,
) -> None:
    """Train a classifier in stages; prints the run folder.

    With --resume, or with the same command where it names an output, a run that was stopped or killed ends as it would
    have; settings then are those of the machine (device, devices, nodes, workers, threads, progress, tensorboard,
    mlflow, cache_size).
    """
    need(TRAINING, "Training")
    from carclf.runs.folder import resumed_config
    from carclf.runs.recipe import TrainConfig
    from detection.common.config import read_config

    config, settings = _config_of(arguments, resume, example="configs/train/quick.yaml")
    settings += [f"cache_size={cache_size}"] if cache_size else []
    resolved = read_config(TrainConfig, config, settings) if resume is None else resumed_config(resume, settings)
    if smoke:
        from carclf.tools.smoke import try_recipe

        typer.echo(try_recipe(resolved))
        return
    from carclf.training.loop import train as train_classifier

    typer.echo(str(train_classifier(resolved)))


def train_detector(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CONFIG KEY=VALUE", help="For example configs/detector/compact.yaml, and settings that win over it."
        ),
    ] = None,
    resume: Resume = None,
) -> None:
    """Train a detector, compact or from the model zoo, on photos with COCO-format masks; prints the weights' path.

    The same command, or --resume with its output folder, resumes from the last checkpoint. See docs/detectors.md.
    """
    need((*TRAINING, "detectron2"), "Training a detector")
    config, settings = _config_of(arguments, resume, example="configs/detector/compact.yaml")
    with quiet_stdout():
        from detection.training.train import resume_detector
        from detection.training.train import train_detector as train_on_masks

        weights = train_on_masks(config, settings) if resume is None else resume_detector(resume, settings)
    typer.echo(str(weights))


def _config_of(arguments: Sequence[str] | None, resume: Path | None, example: str) -> tuple[str, list[str]]:
    """The config to train by, empty with `resume`, and the settings over it. Raises `UsageError` for none or both."""
    arguments = list(arguments or ())
    if resume is not None:
        if arguments and "=" not in arguments[0]:
            raise UsageError(f"--resume takes the config from the run folder: leave '{arguments[0]}' out.")
        return "", arguments
    if not arguments or ("=" in arguments[0] and not Path(arguments[0]).is_file()):
        raise UsageError(f"Name a config, for example {example}, or a run to resume: --resume RUN.")
    return arguments[0], arguments[1:]
