"""What the files of a run folder say, whatever state the run is in: the ground of its report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from carclf.runs.curves import as_number
from carclf.runs.recipe import Stage, TrainConfig
from carclf.runs.tables import read_epochs
from detection.common.errors import UsageError
from detection.common.files import names_read

_SHOWN_AS_STAGES = {"name", "train", "epochs", "learning_rate", "batch_size", "image_size", "schedule", "optimizer"}
_TEXTS: dict[str, Any] = {"dtype": str, "keep_default_na": False}
_NOT_SETTINGS = {"stages", "output", "resume", "name"}


@dataclass(frozen=True, eq=False)
class RunRecord:
    """A run folder, or one of `carclf evaluate` (which has no config, epochs or stages); what is missing is empty.

    epochs: rows of epochs.csv; stages: entries of stages.json; state: state.json; batch_seconds: median of each stage;
    split: photos by side; predictions: rows of predictions.csv, as text; report, pairs, bins, slices: rows of
    report.csv, confused_pairs.csv, calibration.csv and slices.csv; levels_png: the picture of that name; confusion:
    int [C, C or C + 1] with the names of its rows and columns.
    """

    folder: Path
    config: dict[str, Any] = field(default_factory=dict)
    epochs: list[dict] = field(default_factory=list)
    stages: list[dict] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)
    batch_seconds: dict[str, float] = field(default_factory=dict)
    split: dict[str, int] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    predictions: list[dict] = field(default_factory=list)
    report: list[dict] = field(default_factory=list)
    pairs: list[dict] = field(default_factory=list)
    bins: list[dict] = field(default_factory=list)
    slices: list[dict] = field(default_factory=list)
    levels_png: bytes = b""
    confusion: np.ndarray | None = None
    rows: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)


def read_record(folder: Path) -> RunRecord:
    """Raises `UsageError` for a folder that is none of a run, and for files in it that can't be read."""
    folder = Path(folder)
    results = folder / "validation" if (folder / "config.yaml").is_file() else folder
    metrics = _json(folder / "metrics.json") or _json(results / "metrics.json") or {}
    config = _yaml(folder / "config.yaml")
    if not (config or metrics):
        raise UsageError(
            f"'{folder}' is neither a run folder nor one that `carclf evaluate` wrote: it has no config.yaml and no "
            "metrics.json."
        )
    split = _csv(folder / "split.csv", ("split",), **_TEXTS)
    return RunRecord(
        folder=folder,
        config=config,
        epochs=[row for row in read_epochs(folder) if "stage" in row],
        stages=_entries(_json(folder / "stages.json")),
        state=_json(folder / "state.json") or {},
        batch_seconds=_batch_seconds(folder / "batches.csv"),
        split={} if split is None else {str(side): number for side, number in split["split"].value_counts().items()},
        metrics=metrics,
        **(_results(results) if metrics else {}),
    )


def _results(folder: Path) -> dict[str, Any]:
    """The fields of `RunRecord` that `carclf.evaluation.evaluate` wrote the files of."""
    counts = _csv(folder / "confusion.csv", header=None, **_TEXTS)  # no header, as it may hold a name twice
    cells = np.empty((1, 1), object) if counts is None else counts.to_numpy()
    answers = ("file", "label", "predicted", "confidence", "label_probability", "correct")
    report = ("class", "precision", "recall", "f1")
    pairs = ("a", "b", "a_as_b", "b_as_a", "share")
    bins = ("low", "high", "photos", "confidence", "accuracy", "accuracy_low", "accuracy_high")
    slices = ("slice", "value", "photos", "accuracy", "accuracy_low", "accuracy_high")
    empty = {"as_is": [""], "ece": [""]}
    return {
        "predictions": _records(_csv(folder / "predictions.csv", answers, **_TEXTS)),
        "report": _records(_csv(folder / "report.csv", report, **_names("class", "taken_for"))),
        "pairs": _records(_csv(folder / "confused_pairs.csv", pairs, **_names("a", "b"))),
        "bins": _records(_csv(folder / "calibration.csv", bins)),
        "slices": _records(_csv(folder / "slices.csv", slices, **_names("slice", "value"), na_values=empty)),
        "levels_png": _bytes(folder / "levels.png"),
        "confusion": None if counts is None else cells[1:, 1:].astype(int),
        "rows": names_read(cells[1:, 0].tolist()),
        "columns": names_read(cells[0, 1:].tolist()),
    }


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def stage_rows(record: RunRecord) -> list[dict]:
    """One row per stage: what was planned (config), what its epochs say, and what stages.json says, which wins.

    Keys: those of stages.json, planned (epochs), batch_seconds and state: done, running, stopped or planned.
    """
    planned = record.config.get("stages") or []
    planned = [{"name": name} | (one or {}) for name, one in planned.items()] if isinstance(planned, dict) else planned
    planned = [Stage(name="x").model_dump(mode="json") | one for one in planned]
    known = {one["name"] for one in planned}
    planned += [{"name": one["name"]} for one in record.stages if "name" in one and one["name"] not in known]
    said = {one.get("name"): one for one in record.stages}
    begun = {str(row["stage"]) for row in record.epochs} | set(said)
    last = max((number for number, stage in enumerate(planned) if stage["name"] in begun), default=-1)
    rows = []
    for number, stage in enumerate(planned):
        epochs = [row for row in record.epochs if str(row["stage"]) == stage["name"]]
        row = {key: stage.get(key) for key in _SHOWN_AS_STAGES} | {"number": number + 1, "planned": stage.get("epochs")}
        row |= {"description": stage.get("train", ""), "epochs": len(epochs)}
        if epochs:
            accuracies = np.array([as_number(epoch.get("val_accuracy")) for epoch in epochs])
            if np.isfinite(accuracies).any():
                best = int(np.nanargmax(accuracies))
                row |= {"best_epoch": epochs[best].get("epoch"), "accuracy": float(accuracies[best])}
            row["seconds"] = float(np.nansum([as_number(epoch.get("seconds")) for epoch in epochs]))
        row["batch_seconds"] = record.batch_seconds.get(stage["name"])
        row |= {key: value for key, value in said.get(stage["name"], {}).items() if value is not None}
        row["state"] = "stopped" if record.state.get("state") == "failed" else "running"
        if stage["name"] not in begun:
            row["state"] = "planned"
        elif stage["name"] in said or number < last or "accuracy" in record.metrics:
            row["state"] = "done"
        rows.append(row)
    return rows


def changed_settings(config: Mapping) -> list[tuple[str, str, str]]:
    """(setting, value, default) of each that differs from the default; those in the table of stages are left out.

    `stages.*.NAME` stands for one that all stages share.
    """
    defaults = TrainConfig(data=Path("-")).model_dump(mode="json") | {"data": ""}
    changed = _changes({key: value for key, value in config.items() if key not in _NOT_SETTINGS}, defaults)
    stages = [stage for stage in config.get("stages") or [] if isinstance(stage, dict)]
    usual = Stage(name="x").model_dump(mode="json")
    told = [
        _changes({key: value for key, value in stage.items() if key not in _SHOWN_AS_STAGES}, usual) for stage in stages
    ]
    everywhere = [one for one in told[0] if all(one in others for others in told)] if len(told) > 1 else []
    changed += [(f"stages.*.{name}", value, default) for name, value, default in everywhere]
    for stage, own in zip(stages, told, strict=True):
        changed += [(f"stages.{stage.get('name', '?')}.{one[0]}", *one[1:]) for one in own if one not in everywhere]
    return changed


def _changes(values: Mapping, defaults: Mapping, prefix: str = "") -> list[tuple[str, str, str]]:
    changed = []
    for key, value in values.items():
        usual = defaults.get(key, "")
        if isinstance(value, dict) and isinstance(usual, dict):
            changed += _changes(value, usual, f"{prefix}{key}.")
        elif value != usual:
            changed.append((f"{prefix}{key}", _said(value), _said(usual)))
    return changed


def _said(value: object) -> str:
    if value is None or value == "":
        return "none"
    if isinstance(value, (dict, list, tuple, bool)):
        return json.dumps(value, ensure_ascii=False)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _names(*columns: str) -> dict:
    """For `_csv`: columns of class names, of which one may be NA, or 911."""
    return {"dtype": dict.fromkeys(columns, str), "keep_default_na": False}


def _batch_seconds(path: Path) -> dict[str, float]:
    """The median of each stage; the last row of a run that was killed may be torn."""
    batches = _csv(path, ("stage", "seconds"), **_TEXTS)
    if batches is None:
        return {}
    seconds = pd.to_numeric(batches["seconds"], errors="coerce")
    return {str(stage): median for stage, median in seconds.groupby(batches["stage"]).median().dropna().items()}


def _records(table: pd.DataFrame | None) -> list[dict]:
    return [] if table is None else names_read(table.to_dict("records"))


def _entries(values: object) -> list[dict]:
    return [one for one in values if isinstance(one, dict)] if isinstance(values, Sequence) else []


def _json(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _yaml(path: Path) -> dict:
    if not path.is_file():
        return {}
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise _damaged(path, error) from error
    return values if isinstance(values, dict) else {}


def _csv(path: Path, needs: Sequence[str] = (), **how: Any) -> pd.DataFrame | None:
    if not path.is_file():
        return None
    try:
        table = pd.read_csv(path, encoding="utf-8", encoding_errors="surrogateescape", **how)
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise _damaged(path, error) from error
    missing = [name for name in needs if name not in table]
    if missing:
        raise _damaged(path, f"it has no column {missing[0]}")
    return table


def _damaged(path: Path, error: Exception | str) -> UsageError:
    reason = str(error).splitlines()[0]
    return UsageError(f"'{path}' can't be read ({reason}): repair or remove it.")
