"""A model measured on labelled raw photos, by the very chain of prediction."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from carclf.evaluation.brightness import by_brightness, darkened
from carclf.evaluation.cars import car_numbers
from carclf.evaluation.evaluate import evaluate
from carclf.evaluation.slices import Renderings, slice_table
from carclf.recognition.prediction import OK
from detection.common.console import Track, untracked
from detection.common.errors import UsageError
from detection.common.files import write_table

if TYPE_CHECKING:
    import pandas

    from carclf.recognition.prediction import Recognition
    from carclf.recognition.recognizer import CarRecognizer


def evaluate_chain(
    recognizer: CarRecognizer,
    table: pandas.DataFrame,
    output: Path,
    track: Track = untracked,
    darken: float = 1.0,
    slices: bool = False,
) -> dict:
    """Recognizes every file of a table (file, label) and writes `carclf.evaluation`'s figures into a folder.

    The model and the time that it took are in metrics.json too. It is the very chain of prediction. Photos without an
    answer count as wrong. track: the results go through it.
    darken: the photos' values are multiplied by it first, to see what less light costs. brightness.csv has the accuracy
    of the photos as they are, from the darkest to the brightest.
    slices: the figures slice by slice, too, in slices.csv (see `slice_table`); the classifier sees each cut-out seven
    times more.
    Raises `UsageError` for labels that the model does not know.
    """
    check_labels(sorted(set(table["label"])), recognizer.classes)
    renderings = Renderings(partial(recognizer.classifier.predict, tta=recognizer.tta))
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
        **_named(rows, table["label"].tolist()),
        "seconds": round(seconds, 2),
        "photos_per_second": round(len(rows) / seconds, 2),
    }
    if darken != 1:
        about["darken"] = darken
    right = [
        row.probabilities is not None and recognizer.classes[row.probabilities.argmax()] == label
        for row, label in zip(rows, table["label"], strict=True)
    ]
    light = np.array([np.nan if row.brightness is None else row.brightness for row in rows])
    cars = car_numbers(table)
    metrics = evaluate(answered, probabilities, recognizer.classes, Path(output), about, cars)
    if slices:
        parts = slice_table(table, rows, renderings, recognizer.classes, recognizer.threshold, cars)
        write_table(Path(output) / "slices.csv", parts)
    write_table(Path(output) / "brightness.csv", by_brightness(light, np.array(right)))
    return metrics


def all_probabilities(rows: Iterable[Recognition], classes: int) -> np.ndarray:
    """Float32 [N, C], a row of NaN for a photo without an answer."""
    nothing = np.full(classes, np.nan, dtype=np.float32)
    return np.stack([nothing if row.probabilities is None else row.probabilities for row in rows])


def _named(rows: Sequence[Recognition], labels: Sequence[str]) -> dict:
    """What a user sees of it: only answers of the status `ok` name a car."""
    pairs = [
        (row.prediction.label, label) for row, label in zip(rows, labels, strict=True) if row.prediction.status == OK
    ]
    named = {"named": round(len(pairs) / len(rows), 6)}
    if pairs:
        named["accuracy_of_named"] = round(sum(said == label for said, label in pairs) / len(pairs), 6)
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
