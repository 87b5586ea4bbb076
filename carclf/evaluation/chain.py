"""A model measured on labelled raw photos, by the very chain of prediction."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from carclf.classifier.levels.names import MAKE, MODEL
from carclf.classifier.levels.only import among
from carclf.evaluation.brightness import by_brightness, darkened
from carclf.evaluation.cars import car_numbers
from carclf.evaluation.evaluate import class_numbers, evaluate
from carclf.evaluation.levels.report import LevelResults
from carclf.evaluation.slices import Renderings, slice_table
from carclf.recognition.prediction import OK
from detection.common.console import Track, say, untracked
from detection.common.errors import UsageError
from detection.common.files import write_table

if TYPE_CHECKING:
    import pandas

    from carclf.datasets.corrections.apply import Applied
    from carclf.recognition.prediction import Recognition
    from carclf.recognition.recognizer import CarRecognizer


def evaluate_chain(
    recognizer: CarRecognizer,
    table: pandas.DataFrame,
    output: Path,
    track: Track = untracked,
    darken: float = 1.0,
    slices: bool = False,
    corrections: Applied | None = None,
) -> dict:
    """Recognizes every file of a table (file, label) and writes `carclf.evaluation`'s figures into a folder.

    The model and the time that it took are in metrics.json too. It is the very chain of prediction. Photos without an
    answer count as wrong. track: the results go through it.
    darken: the photos' values are multiplied by it first, to see what less light costs. brightness.csv has the accuracy
    of the photos as they are, from the darkest to the brightest.
    Of a model whose classes have names with parts, the figures of each level are in metrics.json, levels.csv and
    levels.png, too. Photos of classes that the recognizer's `only` leaves out are left out.
    slices: the figures slice by slice, too, in slices.csv (see `slice_table`); the classifier sees each cut-out seven
    times more. corrections: those that the table's labels have gone through; they are noted in the folder.
    Raises `UsageError` for labels that the model does not know.
    """
    check_labels(sorted(set(table["label"])), recognizer.classes)
    table = _leave_out_unlisted(recognizer, table)
    renderings = Renderings(partial(_predict, recognizer))
    started = time.perf_counter()
    files = list(table["file"])
    results = recognizer.recognize_fully(files if darken == 1 else darkened(files, darken), pictures=slices)
    rows = list(track(renderings.through(results) if slices else results, len(files)))
    seconds = time.perf_counter() - started
    probabilities = all_probabilities(rows, len(recognizer.classes))
    answered = table.assign(
        status=[row.prediction.status for row in rows],
        reason=[row.prediction.reason for row in rows],
    )
    about = {
        "model": _about(recognizer),
        **_named(rows, table["label"].tolist(), recognizer),
        "seconds": round(seconds, 2),
        "photos_per_second": round(len(rows) / seconds, 2),
    }
    if darken != 1:
        about["darken"] = darken
    if corrections is not None:
        about["corrections"] = corrections.about()
        corrections.write(Path(output))
    right = [
        row.probabilities is not None and recognizer.classes[row.probabilities.argmax()] == label
        for row, label in zip(rows, table["label"], strict=True)
    ]
    light = np.array([np.nan if row.brightness is None else row.brightness for row in rows])
    cars = car_numbers(table)
    levels = None
    if recognizer.classifier.names:
        truth = class_numbers(table["label"].tolist(), recognizer.classes)
        levels = LevelResults(recognizer, probabilities, truth)
        about |= levels.metrics
    metrics = evaluate(answered, probabilities, recognizer.classes, Path(output), about, cars)
    if slices:
        parts = slice_table(table, rows, renderings, recognizer.classes, recognizer.threshold, cars)
        write_table(Path(output) / "slices.csv", parts)
    if levels is not None:
        levels.write(Path(output))
    write_table(Path(output) / "brightness.csv", by_brightness(light, np.array(right)))
    return metrics


def all_probabilities(rows: Iterable[Recognition], classes: int) -> np.ndarray:
    """Float32 [N, C], a row of NaN for a photo without an answer."""
    nothing = np.full(classes, np.nan, dtype=np.float32)
    return np.stack([nothing if row.probabilities is None else row.probabilities for row in rows])


def _predict(recognizer: CarRecognizer, crops: Sequence[np.ndarray]) -> np.ndarray:
    """As the recognizer tells it: of the classes that there can be."""
    seen = recognizer.classifier.predict(crops, tta=recognizer.tta)
    return np.stack([among(row, recognizer.answers.listed) for row in seen]) if len(seen) else seen


def _leave_out_unlisted(recognizer: CarRecognizer, table: pandas.DataFrame) -> pandas.DataFrame:
    """The table without the classes that `only` leaves out: they could but be wrong. Raises `UsageError` for none."""
    listed = recognizer.answers.listed
    if listed is None:
        return table
    kept = table["label"].isin([one for one, named in zip(recognizer.classes, listed, strict=True) if named])
    if not kept.any():
        raise UsageError(f"None of the {len(table)} photos shows a class that --only lists: list others.")
    if not kept.all():
        say(f"{int((~kept).sum())} of the {len(table)} photos show classes that --only leaves out, and are left out.")
    return table[kept].reset_index(drop=True)


def _named(rows: Sequence[Recognition], labels: Sequence[str], recognizer: CarRecognizer) -> dict:
    """What a user sees of it: only answers of the status `ok` name a car. A make or model is right if it is the one of
    the car's class."""
    names = dict(zip(recognizer.classes, recognizer.classifier.names, strict=False))
    right = []
    for row, label in zip(rows, labels, strict=True):
        if row.prediction.status == OK:
            upper = row.prediction.level in (MODEL, MAKE)
            true = getattr(names[label], str(row.prediction.level)) if upper else label
            right.append(row.prediction.label == true)
    named = {"named": round(len(right) / len(rows), 6)}
    if right:
        named["accuracy_of_named"] = round(sum(right) / len(right), 6)
    return named


def _about(recognizer: CarRecognizer) -> dict:
    """Which model it was, for metrics.json; what a classifier does not say about itself is left out."""
    classifier = recognizer.classifier
    facts = {
        "architecture": classifier.architecture,
        "image_size": classifier.image_size,
        "fingerprint": classifier.fingerprint,
        "background": classifier.style.background,
        "detector": recognizer.detector.name if recognizer.detector else None,
        "threshold": recognizer.threshold,
        "temperature": classifier.temperature,
        "tta": recognizer.tta.passes if recognizer.tta else None,
    }
    return {"name": recognizer.name or "a loaded model"} | {name: fact for name, fact in facts.items() if fact}


def check_labels(labels: Sequence[str], classes: Sequence[str]) -> None:
    """Raises `UsageError` when the data has labels that the model was not trained on."""
    unknown = [label for label in labels if label not in set(classes)]
    if not unknown:
        return
    some = ", ".join(f"'{label}'" for label in unknown[:5]) + (", ..." if len(unknown) > 5 else "")
    raise UsageError(
        f"{len(unknown)} of the data's {len(labels)} labels are unknown to the model ({some}): its {len(classes)} "
        f"classes are named like '{classes[0]}'; rename the labels, leave them out, or choose another model."
    )
