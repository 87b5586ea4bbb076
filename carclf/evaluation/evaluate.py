"""Measures a classifier on labelled photos, and writes the files that say where it errs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from carclf.evaluation.cars import car_numbers
from carclf.evaluation.confidence import calibration
from carclf.evaluation.metrics import (
    NO_ANSWER,
    bootstrap_intervals,
    class_report,
    confused_pairs,
    confusion_counts,
    overall,
)
from carclf.evaluation.mistakes import rank_errors, save_error_sheet
from carclf.evaluation.plots import save_confusion, save_reliability
from detection.common.console import never_in_the_way
from detection.common.errors import UsageError
from detection.common.files import write_json, write_table
from detection.images.lettering import tell_lacking

_PAIRS = 10  # of the most confused pairs in metrics.json; confused_pairs.csv has all


def evaluate(
    table: pd.DataFrame,
    probabilities: np.ndarray,
    classes: Sequence[str],
    output: Path,
    about: Mapping | None = None,
    cars: np.ndarray | None = None,
) -> dict:
    """Writes metrics.json and the files named in docs/evaluation.md into output, and returns the metrics.

    table: columns file and label, perhaps status, reason, trained_on (bool) and car; one row per photo.
    probabilities: float [N, C]; a row of NaN for a photo without an answer (no car, unreadable): it counts as wrong.
    about: more entries for metrics.json, for example which model it was.
    cars: what `car_numbers` gives for the table, if that is known already: it reads every photo.
    The metrics: accuracy, top5 (top C when there are fewer than five classes), macro_f1 (mean over the classes that
    occur), their 95 % `intervals` by cars (see `car_numbers`), ece, ece_adaptive, brier and nll of the photos with an
    answer, n, cars, answered, classes (that occur), the most confused pairs, how many rows have which status, and how
    many were trained_on.
    Raises `UsageError` for an empty table, an unknown label, or an output that can't be written.
    """
    classes = list(classes)
    table = table.reset_index(drop=True)
    truth = class_numbers(table["label"].tolist(), classes)
    probabilities = np.asarray(probabilities, dtype=np.float64)
    if probabilities.shape != (len(table), len(classes)):
        raise ValueError(f"probabilities have shape {probabilities.shape}, not {(len(table), len(classes))}")
    answered = np.isfinite(probabilities).all(axis=1)
    ranked = np.argsort(-np.where(answered[:, None], probabilities, 0.0), axis=1, kind="stable")
    rank = np.where(answered, (ranked == truth[:, None]).argmax(axis=1), len(classes))  # 0 is right
    predicted = np.where(answered, ranked[:, 0], len(classes))
    cars = car_numbers(table) if cars is None else cars
    in_top5 = rank < min(5, len(classes))

    counts = confusion_counts(truth, predicted, len(classes))
    pairs = confused_pairs(counts, classes)
    calibrated, bins = calibration(probabilities[answered], truth[answered])
    metrics = overall(truth, predicted, in_top5) | {
        "intervals": bootstrap_intervals(truth, predicted, in_top5, cars=cars),
        **calibrated,
        "n": len(table),
        "cars": len(np.unique(cars)),
        "answered": int(answered.sum()),
        "classes": len(np.unique(truth)),
        "most_confused": pairs.head(_PAIRS).to_dict("records"),
    }
    if "status" in table:
        metrics["status"] = {str(name): int(count) for name, count in table["status"].value_counts().items()}
    if "trained_on" in table:
        metrics["trained_on"] = int(table["trained_on"].sum())
    metrics |= about or {}
    rows = _rows(table, probabilities, answered, ranked, rank, classes)
    try:
        output.mkdir(parents=True, exist_ok=True)
        write_table(output / "predictions.csv", rows)
        write_table(output / "report.csv", class_report(truth, predicted, classes))
        write_table(output / "confused_pairs.csv", pairs)
        write_table(output / "errors.csv", rank_errors(rows))
        write_table(output / "calibration.csv", bins)
        columns = [*classes, NO_ANSWER][: counts.shape[1]]  # the last for photos without an answer, if there are any
        _write_confusion(counts, classes, columns, output / "confusion.csv")
        write_json(output / "metrics.json", metrics)  # last: it says that the others are there
    except OSError as error:
        raise UsageError(f"The results can't be written into '{output}': {error.strerror or error}.") from error
    tell_lacking(classes)
    for name, draw in (
        ("confusion.png", partial(save_confusion, counts, classes, columns)),
        ("reliability.png", partial(save_reliability, bins, calibrated)),
        ("errors.jpg", partial(save_error_sheet, rows)),
    ):
        with never_in_the_way(f"{output / name} was not drawn"):
            draw(output / name)
    return metrics


def class_numbers(labels: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """The place of each label among the classes, int [N]. Raises `UsageError` for no label, and for an unknown one."""
    if not len(labels):
        raise UsageError("There are no photos to evaluate.")
    index = {label: number for number, label in enumerate(classes)}
    unknown = sorted(set(labels) - set(index))
    if unknown:
        raise UsageError(
            f"{len(unknown)} labels are none of the model's {len(classes)} classes, the first is '{unknown[0]}'."
        )
    return np.array([index[label] for label in labels])


def _rows(table, probabilities, answered, ranked, rank, classes) -> list[dict]:
    """The rows of predictions.csv; what is not known is empty."""
    rows = []
    for number, photo in enumerate(table.to_dict("records")):
        row = {"file": photo["file"], "label": photo["label"], "predicted": "", "confidence": "", "correct": False}
        row |= {"rank": "", "label_probability": "", "top5": ""}
        if answered[number]:
            best = ranked[number, :5]
            row |= {
                "predicted": classes[best[0]],
                "confidence": round(float(probabilities[number, best[0]]), 6),
                "correct": bool(rank[number] == 0),
                "rank": int(rank[number]) + 1,
                "label_probability": round(float(probabilities[number, ranked[number, rank[number]]]), 6),
                "top5": "; ".join(classes[one] for one in best),
            }
        rows.append(row | {name: photo[name] for name in ("status", "reason", "trained_on") if name in photo})
    return rows


def _write_confusion(counts: np.ndarray, classes: list[str], columns: list[str], path: Path) -> None:
    table = pd.DataFrame(counts, columns=columns)
    # A class may be called so too, which neither a keyword nor a plain insertion would bear.
    table.insert(0, "true", classes, allow_duplicates=True)
    write_table(path, table)
