"""One self-contained HTML page of a run: what was done, how good it became, and where it errs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from carclf.classifier.info import written
from carclf.classifier.levels.names import LEVELS
from carclf.evaluation.mistakes import example_photos, rank_errors
from carclf.runs.curves import series
from carclf.runs.report.charts import reliability_chart
from carclf.runs.report.pages import Figure, confusion_cells, duration, learning_charts, png, render_page, write_page
from carclf.runs.report.record import RunRecord, changed_settings, read_record, stage_rows
from detection.common.errors import UsageError
from detection.common.files import escape_name
from detection.images.read import ImageError, load_image

NAME = "report.html"
PAIRS, ERRORS = 8, 12
_CELLS = 12  # classes of a confusion matrix that is shown with its numbers; of more it is a picture
_RIGHT, _WRONG = (37, 99, 235), (220, 38, 38)


def write_run_report(run: Path) -> Path:
    """Writes report.html into a run folder, finished or not, or into one of `carclf evaluate`; returns its path.

    Everything is read from that folder's files, but for the photos that they name: one that is gone is left out.
    Raises `UsageError` for another folder, a damaged file in it, or one that can't be written.
    """
    run = Path(run)
    text = render_report(read_record(run))
    try:
        return write_page(text, run / NAME)
    except OSError as error:
        raise UsageError(f"The report can't be written to '{run / NAME}': {error.strerror or error}.") from error


def render_report(record: RunRecord) -> str:
    """The page as HTML text."""
    stages = stage_rows(record)
    small = record.confusion if len(record.rows) <= _CELLS else None
    large = record.confusion if len(record.rows) > _CELLS else None
    photos = _Photos()
    return render_page(
        "report.html.j2",
        {"duration": duration, "size": _size},
        title=_title(record),
        lead=_lead(record),
        record=record,
        metrics=record.metrics,
        figures=_figures(record, stages),
        stages=stages,
        parent=record.state.get("parent") or record.config.get("init"),
        error=record.state.get("error") if record.state.get("state") == "failed" else None,
        charts=learning_charts(record.epochs, ("accuracy", "loss", "learning_rate", "seconds")),
        settings=changed_settings(record.config),
        pairs=_pairs(record, photos),
        errors=_errors(record, photos),
        wrong=sum(row["correct"] != "True" for row in record.predictions),
        levels_picture=png(record.levels_png) if record.levels_png else "",
        level_rows=_level_rows(record.metrics.get("levels")),
        reliability=reliability_chart(record.bins, "Reliability"),
        cells=[] if small is None else confusion_cells(small),
        matrix=None if large is None else _matrix(large),
        confused=None if large is None else _confused(record, large),
        facts=_facts(record),
    )


def _level_rows(levels: Any) -> list[dict[str, Any]]:
    """A row per level of a model that knows makes and models, the class first, and one of all together."""
    if not isinstance(levels, dict):
        return []
    rows = [{"level": name, **levels[name]} for name in LEVELS if isinstance(levels.get(name), dict)]
    if "answered" in levels:
        rows.append({"level": "at any level", "answered": levels["answered"], "right": levels.get("right")})
    return rows


class _Photos:
    """Photos by file name, small; None for one that can't be read. Some are shown twice."""

    def __init__(self) -> None:
        self._known: dict[str, np.ndarray | None] = {}

    def __call__(self, file: str | None) -> np.ndarray | None:
        if not file:
            return None
        if file not in self._known:
            try:
                self._known[file] = load_image(file, max_side=480)
            except (ImageError, OSError):
                self._known[file] = None
        return self._known[file]


def _title(record: RunRecord) -> str:
    model = record.metrics.get("model") or {}
    if record.config:
        return f"Training run {record.folder.resolve().name}"
    return f"Evaluation of {model.get('name', 'a model')}"


def _lead(record: RunRecord) -> str:
    metrics, config = record.metrics, record.config
    measured = f"measured on {metrics['n']} photos of {metrics['classes']} classes" if "n" in metrics else ""
    if metrics.get("note"):
        measured += f" ({metrics['note']})"
    if metrics.get("trained_on"):
        measured += f", {metrics['trained_on']} of which it was trained on"
    if not config:
        architecture = (metrics.get("model") or {}).get("architecture")
        return f"{architecture + ', ' if architecture else ''}{measured}."
    parts = [str((config.get("model") or {}).get("architecture", "A network"))]
    if record.split:
        parts.append(f"trained on {record.split.get('train', 0)} photos")
    return ", ".join([*parts, measured or "not measured yet: the training has not ended"]) + "."


def _figures(record: RunRecord, stages: list[dict]) -> list[Figure]:
    metrics = record.metrics
    figures = []
    if "accuracy" in metrics:
        right = round(metrics["accuracy"] * metrics.get("n", 0))
        notes = {"accuracy": f"{right} of {metrics.get('n', 0)} photos right"}
        for name, title in (("accuracy", "accuracy (top-1)"), ("top5", "top-5"), ("macro_f1", "macro F1")):
            if name in metrics:
                parts = [_interval(metrics, name), notes.get(name, "")]
                figures.append(Figure(f"{metrics[name]:.1%}", title, "; ".join(filter(None, parts))))
    else:
        accuracies = series(record.epochs, "accuracy").get("val")
        if accuracies:
            figures.append(
                Figure(f"{np.nanmax(accuracies):.1%}", "best validation accuracy so far", "of a single epoch")
            )
        done = sum(stage["state"] == "done" for stage in stages)
        figures.append(Figure(f"{done} of {len(stages)}", "stages done", f"{len(record.epochs)} epochs"))
    if "ece" in metrics:
        figures.append(Figure(f"{metrics['ece']:.3f}", "calibration error (ECE)", _leaning(record)))
    if report := metrics.get("report"):
        note = f"{report['n']} photos that nothing was chosen by; {_interval(report, 'accuracy')}"
        figures.append(Figure(f"{report['accuracy']:.1%}", "accuracy on report", note))
    if metrics.get("answered", 0) < metrics.get("n", 0):
        figures.append(Figure(str(metrics["n"] - metrics["answered"]), "photos without an answer", "counted as wrong"))
    seconds = (
        metrics.get("seconds") or record.state.get("seconds") or sum(stage.get("seconds") or 0 for stage in stages)
    )
    if seconds:
        note = f"{len(record.epochs)} epochs" if record.epochs else _speed(metrics)
        figures.append(Figure(duration(seconds), "time", note))
    return figures


def _interval(metrics: Mapping, name: str) -> str:
    bounds = (metrics.get("intervals") or {}).get(name)
    return f"95 % interval {bounds[0]:.1%} to {bounds[1]:.1%}" if bounds else ""


def _leaning(record: RunRecord) -> str:
    """Whether the model is surer or less sure than it is right."""
    photos = sum(row["photos"] for row in record.bins)
    if not photos:
        return ""
    sure, right = (
        sum(row[name] * row["photos"] for row in record.bins) / photos for name in ("confidence", "accuracy")
    )
    return f"mean confidence {sure:.1%}, right {right:.1%} of the answers"


def _speed(metrics: Mapping) -> str:
    speed = metrics.get("photos_per_second")
    return f"{speed:.1f} photos per second" if speed else ""


def _pairs(record: RunRecord, photos: _Photos) -> list[dict]:
    """The most confused pairs of classes: a photo that was mistaken, and one of the class it was taken for."""
    examples = example_photos(_answers(record))
    shown = []
    for pair in record.pairs[:PAIRS]:
        mistaken = [
            row for row in record.predictions if (row["label"], row["predicted"]) == (str(pair["a"]), str(pair["b"]))
        ]
        mistaken.sort(key=lambda row: -float(row["confidence"] or 0))
        shown.append(
            pair
            | {"left": photos(mistaken[0]["file"]) if mistaken else None, "right": photos(examples.get(str(pair["b"])))}
        )
    return shown


def _errors(record: RunRecord, photos: _Photos) -> list[dict]:
    errors = rank_errors(_answers(record)).head(ERRORS).to_dict("records")
    return [
        error
        | {
            "photo": photos(error["file"]),
            "short": escape_name("/".join(Path(error["file"]).parts[-2:])),
            "bars": [
                (error["predicted"], float(error["confidence"])),
                (error["label"], float(error["label_probability"])),
            ]
            if error["confidence"]
            else [],
        }
        for error in errors
    ]


def _answers(record: RunRecord) -> list[dict]:
    """The rows of predictions.csv, `correct` as a bool again."""
    return [row | {"correct": row["correct"] == "True"} for row in record.predictions]


def _matrix(counts: np.ndarray) -> np.ndarray:
    """RGBA uint8 [C, C or C + 1, 4], one pixel per cell: right answers blue, wrong ones red, transparent where none."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    pixels = np.zeros((*counts.shape, 4), np.uint8)
    right = np.eye(*counts.shape) > 0
    pixels[..., :3] = np.where(right[..., None], _RIGHT, _WRONG)
    pixels[..., 3] = np.where(counts > 0, 90 + 165 * shares, 0)
    return pixels


def _confused(record: RunRecord, counts: np.ndarray) -> dict:
    """What the page says when the pointer is on a cell."""
    cells = [[int(row), int(column), int(counts[row, column])] for row, column in np.argwhere(counts)]
    return {"rows": record.rows, "columns": record.columns, "cells": cells}


def _facts(record: RunRecord) -> list[tuple[str, str]]:
    """Model, command, source and versions, as (what, value)."""
    metrics, state = record.metrics, record.state
    facts = [(str(name), _size(value)) for name, value in (metrics.get("model") or {}).items() if value is not None]
    if metrics.get("best_stage"):
        facts.append(("best stage", str(metrics["best_stage"])))
    for name in ("ece_adaptive", "brier", "nll"):
        if name in metrics:
            facts.append((name.replace("_", " "), f"{metrics[name]:.4f}"))
    facts += [(name, str(state[name])) for name in ("command", "started", "ended", "host") if state.get(name)]
    git = metrics.get("git") or {}
    if git.get("hash"):
        facts.append(("source (git)", git["hash"] + (", changed since" if git.get("dirty") else "")))
    versions = metrics.get("versions") or state.get("versions") or {}
    return [*facts, *((str(name), str(version)) for name, version in versions.items())]


def _size(value: object) -> str:
    """An image size, or anything else, as text."""
    return written(tuple(value)) if isinstance(value, (list, tuple)) and len(value) == 2 else str(value)
