"""`carclf runs` and `carclf report`: what trainings left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from carclf.commands.options import Verb
from detection.common.console import say
from detection.common.errors import UsageError

app = typer.Typer(
    help="List, filter, sort and compare training runs.",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Folders = Annotated[
    list[Path] | None,
    typer.Option("--folder", help="Folder with runs, up to 4 levels deep; may be repeated. Default: runs."),
]
Names = Annotated[
    list[str], typer.Argument(metavar="RUN...", help="The folder of a run, its name, or the end of its path.")
]
DEFAULT = (
    *("run", "state", "accuracy", "top5", "val_accuracy", "epochs", "seconds", "started"),
    *("reason", "config.model.architecture", "parent"),
)


@app.callback(invoke_without_command=True)
def runs(
    context: typer.Context,
    folder: Folders = None,
    sort: Annotated[
        str, typer.Option(help="Column to sort by: accuracy, started, run, stages.head.epochs, ...")
    ] = "started",
    descending: Annotated[
        bool | None,
        typer.Option(
            "--descending/--ascending", help="Sort order. Default: best figure, newest time or first name on top."
        ),
    ] = None,
    filter: Annotated[
        list[str] | None,
        typer.Option(
            help='Such as "accuracy>0.8", "state=finished", "run=best*", "config.init=none"; repeated, all must hold.'
        ),
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="Columns to show, separated by commas: run,accuracy,stages.head.learning_rate.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write all columns (or those of --columns) to a .csv, .parquet or .json file.")
    ] = None,
) -> None:
    """List training runs with their states, results and settings."""
    if context.invoked_subcommand is not None:
        return
    from carclf.runs.registry.listing import Registry
    from carclf.runs.registry.output import check_suffix, export, show_table
    from carclf.runs.registry.table import Filter, find_column, make_table, sort_table

    conditions = [Filter.of(text) for text in filter or ()]
    if output is not None:
        check_suffix(output)
    folders = _folders(context)
    found = Registry.read(folders).runs
    if not found:
        say(f"There is no run in {', '.join(map(str, folders))} yet.")
        return
    table = make_table(found)
    for condition in conditions:
        table = condition.keep(table)
    table = sort_table(table, sort, descending)
    if columns is not None:
        table = table[list(dict.fromkeys(find_column(table, name) for name in columns.split(",")))]
    elif output is None:
        shown = [name for name in DEFAULT if name in table and table[name].notna().any()]
        table = table[shown]
    if output is not None:
        export(table, output)
        say(f"{len(table)} runs, {len(table.columns)} columns written to {output}")
    elif len(table):
        show_table(table, {name: name.rpartition(".")[2] for name in DEFAULT} if columns is None else None)
    if len(table) < len(found):
        say(f"{len(table)} of {len(found)} runs pass the filter")


@app.command(cls=Verb)
def show(
    context: typer.Context,
    names: Names,
    folder: Folders = None,
    everything: Annotated[bool, typer.Option("--all", help="Also show what is the same in all runs.")] = False,
    output: Annotated[Path | None, typer.Option(help="Write the rows to a .csv, .parquet or .json file.")] = None,
) -> None:
    """Show one run in full, or the differences between several, and which run each one continued."""
    from carclf.runs.registry.comparison import compare
    from carclf.runs.registry.output import check_suffix, export, show_table

    if output is not None:
        check_suffix(output)
    registry, chosen = _find(context, folder, names)
    rows = compare(chosen, everything=everything or len(chosen) == 1)
    if output is not None:
        export(rows, output)
        say(f"{len(rows)} rows written to {output}")
        return
    if len(rows):
        show_table(rows, {"what": ""}, fold=True)
    else:
        typer.echo("All settings and results are equal.")
    for run in chosen:
        typer.echo(_story(registry, run))


@app.command(cls=Verb)
def compare(
    context: typer.Context,
    names: Names,
    output: Annotated[Path, typer.Option(help="Picture to write: .png, .svg or .pdf.")],
    folder: Folders = None,
    by: Annotated[str, typer.Option(help="Draw the curves over epoch or time.")] = "epoch",
) -> None:
    """Draw the learning curves of several runs in one picture."""
    if by not in ("epoch", "time"):
        raise UsageError(f"Curves are drawn by epoch or by time, not by '{by}'.")
    from carclf.runs.curves import SUFFIXES, read_curves, save_comparison
    from carclf.runs.registry.comparison import titles
    from carclf.runs.registry.output import check_suffix

    check_suffix(output, SUFFIXES)
    _, chosen = _find(context, folder, names)
    curves = {title: read_curves(run.folder) for title, run in zip(titles(chosen), chosen, strict=True)}
    save_comparison(curves, output, by_time=by == "time")
    typer.echo(str(output))


def _folders(context: typer.Context, folder: list[Path] | None = None) -> list[Path]:
    """`--folder` of the command itself, or of `carclf runs` before it."""
    above = context.parent.params.get("folder") if context.parent else None
    return folder or context.params.get("folder") or above or [Path("runs")]


def _find(context: typer.Context, folder: list[Path] | None, names: list[str]):
    from carclf.runs.registry.entry import is_run
    from carclf.runs.registry.listing import Registry

    folders = _folders(context, folder)
    if folders == [Path("runs")] and not folders[0].is_dir() and all(is_run(Path(name)) for name in names):
        folders = []  # paths say where the runs are
    registry = Registry.read(folders)
    chosen = {run.folder.resolve(): run for run in map(registry.find, names)}
    if len(chosen) < len(names):
        raise UsageError("A run is named twice: name different ones.")
    return registry, list(chosen.values())


def _story(registry, run) -> str:
    """Which run this one started from and which runs continued it, one line each."""
    from carclf.runs.registry.comparison import titles

    chain = registry.chain(run)
    first = chain[-1]
    line = " <- ".join(titles(chain))
    if first.parent is None:
        line += "" if len(chain) > 1 else " started from no other run"
    elif registry.parent(first) is None:
        line += f" <- {first.parent} (not among these runs)"
    else:
        line += " <- (a circle)"
    children = registry.children(run)
    return line + (f"\n{run.name} was continued by {', '.join(titles(children))}" if children else "")


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or a folder that `carclf evaluate` wrote.")],
) -> None:
    """Write RUN/report.html, one self-contained page with the results of a run, and print its path.

    It also works for a run that is still training or was stopped.
    """
    from carclf.runs.report.page import write_run_report

    typer.echo(str(write_run_report(run)))
