"""`carclf train` and `carclf train-detector`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from carclf.commands.options import Settings
from detection.common.console import quiet_stdout
from detection.common.errors import UsageError


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
    from carclf.runs.folder import resumed_config
    from carclf.runs.recipe import TrainConfig
    from detection.common.config import read_config

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
        from carclf.tools.smoke import try_recipe

        typer.echo(try_recipe(resolved))
        return
    from carclf.training.loop import train as train_classifier

    typer.echo(str(train_classifier(resolved)))


def train_detector(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="For example configs/detector/compact.yaml.")],
    settings: Settings = None,
) -> None:
    """Train a detector, compact or from the model zoo, on photos with COCO-format masks; prints the weights' path.

    The same command goes on from the last checkpoint. See docs/detectors.md.
    """
    with quiet_stdout():
        from detection.training.train import train_detector as train_on_masks

        weights = train_on_masks(config, settings or ())
    typer.echo(str(weights))
