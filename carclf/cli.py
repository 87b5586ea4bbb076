"""The `carclf` command: registers the verbs of `carclf.commands`, and nothing else."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated

import typer
from typer.core import TyperGroup

from carclf.commands import clean, data, evaluate, garage, models, predict, publish, runs, serve, setup, train
from carclf.commands.options import Verb
from detection.common.console import StdoutError, prepare_streams, say
from detection.common.errors import UsageError
from detection.common.files import expand_home
from detection.common.machine import collect_late
from detection.version import __version__


class Commands(TyperGroup):
    """The one place where a wrong usage becomes one sentence and exit code 2, Ctrl-C a quiet end, `~` the home."""

    def parse_args(self, ctx, args):
        return super().parse_args(ctx, [_at_home(argument) for argument in args])

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except UsageError as error:
            say(str(error))
            raise typer.Exit(2) from error
        except KeyboardInterrupt as error:
            say("Stopped.")
            raise typer.Exit(130) from error


def _at_home(argument: str) -> str:
    """`~` as the home folder, in an argument, in `--option=~/x` and in `key=~/x`: a shell leaves these as they are."""
    name, equals, value = argument.partition("=")
    if equals and "/" not in name:
        return f"{name}={expand_home(value)}"
    return expand_home(argument)


app = typer.Typer(
    cls=Commands,
    help="Name the make and model of the car in a photo.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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


for command in (
    clean.clean,
    publish.hide,
    publish.studio,
    publish.stock,
    train.train,
    train.train_detector,
    evaluate.evaluate,
    setup.demo,
    setup.doctor,
    predict.predict,
    models.models,
    evaluate.calibrate,
    models.combine,
    models.export,
    data.prepare,
    data.review,
    runs.report,
    serve.serve,
    evaluate.submit,
    serve.worker,
    serve.dead_letters,
    evaluate.compare_backgrounds,
    garage.learn,
    garage.embed,
    garage.similar,
    garage.cluster,
):
    app.command(cls=Verb)(command)
app.add_typer(data.app, name="data")
app.add_typer(runs.app, name="runs")
app.add_typer(setup.loop, name="loop")


def main() -> None:
    """Console script `carclf`."""
    collect_late()
    prepare_streams()
    if not sys.warnoptions:  # libraries' advice to their own developers would bury the lines that matter
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
    try:
        try:
            app(prog_name="carclf")
        finally:
            sys.stdout.flush()
    except StdoutError as error:
        say(str(error))
        sys.exit(1)
    except BrokenPipeError:  # `| head` has seen enough
        sys.exit(1)


if __name__ == "__main__":
    main()
