"""The tables of a run folder: epochs, batches and stages, written and read back."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detection.common.files import write_json, write_table, write_text

if TYPE_CHECKING:
    pass


def read_epochs(run: Path) -> list[dict]:
    """The rows of epochs.csv, oldest first; empty before the first epoch has ended."""
    path = run / "epochs.csv"
    if not path.is_file():
        return []
    import pandas as pd

    # A stage may be called 1, or NA.
    return pd.read_csv(path, dtype={"stage": str}, keep_default_na=False, na_values=[]).to_dict("records")


BATCHES = "batches.csv"
STAGES = "stages.json"
_COLUMNS = ("stage", "epoch", "batch", "seconds", "loss", "learning_rate")


def forget_later(run: Path, stage: str, epochs: int) -> None:
    """Drops the rows of a stage's epochs after the first `epochs`, and a row that a kill has torn."""
    kept = [row for row in read_epochs(run) if row["stage"] != stage or row["epoch"] <= epochs]
    if (run / "epochs.csv").exists():
        if kept:
            write_table(run / "epochs.csv", kept)
        else:
            (run / "epochs.csv").unlink()
    path = run / BATCHES
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n") and line.count(",") == len(_COLUMNS) - 1]
    write_text(path, "".join(line for line in whole if not _is_later(line.split(","), stage, epochs)))


def _is_later(cells: Sequence[str], stage: str, epochs: int) -> bool:
    return cells[0] == stage and cells[1].isdigit() and int(cells[1]) > epochs


def read_batches(run: Path) -> list[dict[str, Any]]:
    """The rows of batches.csv; empty before the first epoch has ended."""
    path = run / BATCHES
    if not path.is_file():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    number = {"epoch": int, "batch": int, "seconds": float, "loss": float, "learning_rate": float}
    return [row | {name: kind(row[name]) for name, kind in number.items()} for row in rows if row["learning_rate"]]


def note_stage(run: Path, row: dict[str, Any]) -> None:
    """Adds a stage that is done to stages.json, with what its rows in epochs.csv say about time."""
    epochs = [one for one in read_epochs(run) if one["stage"] == row["name"]]
    training = sum(one["train_seconds"] for one in epochs)
    row = row | {
        "epochs": len(epochs),
        "seconds": round(sum(one["seconds"] for one in epochs), 2),
        "photos_per_second": round(sum(one["photos"] for one in epochs) / training, 2) if training else None,
    }
    rows = [one for one in read_stages(run) if one["name"] != row["name"]]
    write_json(run / STAGES, sorted([*rows, row], key=lambda one: one["number"]))


def read_stages(run: Path) -> list[dict[str, Any]]:
    """The entries of stages.json; empty before the first stage is done."""
    path = run / STAGES
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
