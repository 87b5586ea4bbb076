"""`carclf submit`: a competition's submission.csv from its download and a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from carclf.console import quiet_stdout, say


def submit(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A run folder, or a .safetensors file.")],
    data: Annotated[
        Path,
        typer.Argument(metavar="DATA", help="The competition's folder or zip: sample-submission.csv, test_upload/."),
    ],
    output: Annotated[Path, typer.Option(help="The file to write.")] = Path("submission.csv"),
    tta: Annotated[int, typer.Option(min=1, max=100, help="Views of each cut-out that are averaged.")] = 1,
    sample: Annotated[Path | None, typer.Option(help="The sample, if it is elsewhere.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of the photos, if it is elsewhere.")] = None,
    classes: Annotated[
        Path | None, typer.Option(help="A csv of Category,class that names the numbers, for a model that knows names.")
    ] = None,
    crops: Annotated[bool, typer.Option("--crops", help="The photos are cut out already: no detector.")] = False,
    detector: Annotated[str | None, typer.Option(help="By default the one that the model was trained with.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Cut-outs a classifier batch.")] = 32,
    restart: Annotated[bool, typer.Option("--restart", help="Begin again instead of going on.")] = False,
) -> None:
    """Answer every id of a competition's sample; a run that was stopped goes on where it was.

    Exit code 0, or 3 when photos were missing or unreadable: these get the most frequent class.
    """
    from carclf.competition.layout import read_competition
    from carclf.models import find_model
    from detection.files import check_output

    find_model(model)
    check_output(output)
    competition = read_competition(data, sample, images, classes)
    from carclf.classifier import Classifier

    classifier = Classifier.load(model, device)
    unanswered = sorted(set(competition.counts) - set(competition.categories(classifier.classes)))
    if unanswered:
        say(f"The model knows no class of {competition.columns[1]} {', '.join(unanswered)}: no photo will get it.")
    with quiet_stdout():
        from carclf.competition.submission import FAILED
        from carclf.competition.submission import submit as answer
        from carclf.pipeline import CarRecognizer

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
    raise typer.Exit(3 if summary.failed else 0)
