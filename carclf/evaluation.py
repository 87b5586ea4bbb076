"""Figures of a classifier on labelled photos, and the files that say where it errs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_fscore_support

from carclf.plots import save_confusion
from carclf.runs import write_json, write_table
from detection.errors import UsageError

NO_ANSWER = "(no answer)"


def evaluate(table: pd.DataFrame, probabilities: np.ndarray, classes: Sequence[str], output: Path) -> dict:
    """Writes metrics.json, report.csv, confusion.csv, confusion.png and predictions.csv into output.

    table: columns file and label, perhaps status and reason; one row a photo.
    probabilities: float [N, C]; a row of NaN for a photo without an answer (no car, unreadable): it counts as wrong.
    Returns the metrics: accuracy, top5 (top C when there are fewer than five classes), macro_f1 (mean over the classes
    that occur), n, answered, and how many rows have which status. Raises `UsageError` for an empty table, an unknown
    label, or an output that can't be written.
    """
    classes = list(classes)
    table = table.reset_index(drop=True)
    truth = _numbers(table["label"], classes)
    probabilities = np.asarray(probabilities, dtype=np.float64)
    if probabilities.shape != (len(table), len(classes)):
        raise ValueError(f"probabilities have shape {probabilities.shape}, not {(len(table), len(classes))}")
    answered = np.isfinite(probabilities).all(axis=1)
    ranked = np.argsort(-np.where(answered[:, None], probabilities, 0.0), axis=1, kind="stable")
    rank = np.where(answered, (ranked == truth[:, None]).argmax(axis=1), len(classes))  # 0 is right
    predicted = np.where(answered, ranked[:, 0], len(classes))

    report, macro_f1 = _report(truth, predicted, classes)
    metrics = {
        "accuracy": float((rank == 0).mean()),
        "top5": float((rank < min(5, len(classes))).mean()),
        "macro_f1": macro_f1,
        "n": len(table),
        "answered": int(answered.sum()),
        "classes": len(np.unique(truth)),
    }
    if "status" in table:
        metrics["status"] = {str(name): int(count) for name, count in table["status"].value_counts().items()}
    try:
        output.mkdir(parents=True, exist_ok=True)
        write_table(output / "predictions.csv", _rows(table, probabilities, answered, ranked, rank, classes))
        write_table(output / "report.csv", report)
        _confusion(truth, predicted, classes, output)
        write_json(output / "metrics.json", metrics)  # last: it says that the others are there
    except OSError as error:
        raise UsageError(f"The results can't be written into '{output}': {error.strerror or error}.") from error
    return metrics


def _numbers(labels: pd.Series, classes: Sequence[str]) -> np.ndarray:
    if not len(labels):
        raise UsageError("There are no photos to evaluate.")
    index = {label: number for number, label in enumerate(classes)}
    unknown = sorted(set(labels) - set(index))
    if unknown:
        raise UsageError(
            f"{len(unknown)} labels are none of the model's {len(classes)} classes, the first is '{unknown[0]}'."
        )
    return np.array([index[label] for label in labels])


def _report(truth: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> tuple[pd.DataFrame, float]:
    """Per class that occurs: precision, recall, f1, photos, and what it is most often taken for; worst first."""
    present = np.unique(truth)
    precision, recall, f1, support = precision_recall_fscore_support(truth, predicted, labels=present, zero_division=0)
    names = [*classes, NO_ANSWER]
    rows = []
    for number, values in zip(present, zip(precision, recall, f1, support, strict=True), strict=True):
        wrong = predicted[(truth == number) & (predicted != number)]
        others = np.bincount(wrong, minlength=1)
        rows.append(
            {"class": classes[number]}
            | dict(zip(("precision", "recall", "f1"), (round(float(value), 4) for value in values[:3]), strict=True))
            | {"photos": int(values[3]), "taken_for": names[others.argmax()] if len(wrong) else ""}
            | {"times": int(others.max()) if len(wrong) else 0}
        )
    return pd.DataFrame(rows).sort_values(["f1", "class"], ignore_index=True), float(f1.mean())


def _rows(table, probabilities, answered, ranked, rank, classes) -> list[dict]:
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
        rows.append(row | {name: photo[name] for name in ("status", "reason") if name in photo})
    return rows


def _confusion(truth: np.ndarray, predicted: np.ndarray, classes: Sequence[str], output: Path) -> None:
    """All classes as rows and columns; a last column for photos without an answer when there are any."""
    width = len(classes) + bool((predicted == len(classes)).any())
    counts = np.zeros((len(classes), width), dtype=int)
    np.add.at(counts, (truth, predicted), 1)
    columns = [*classes, NO_ANSWER][:width]
    write_table(
        output / "confusion.csv", pd.DataFrame(counts, columns=columns).assign(true=classes)[["true", *columns]]
    )
    save_confusion(counts, list(classes), columns, output / "confusion.png")
