"""What the registry knows of one run folder, read from its files without trusting any of them."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from carclf.runs.tables import read_epochs
from detection.common.errors import UsageError
from detection.common.files import check_written
from detection.training.resume import FORMAT

STATES = ("running", "finished", "stopped", "failed", "broken")
MARKS = ("config.yaml", "state.json", "epochs.csv")  # a folder with one of these is a run's
LARGEST = 4_000_000  # bytes of a settings or metrics file, and
MOST, DEEPEST = 50_000, 50  # values and levels in it: more is no such file
QUIET = 600.0  # seconds without a sign of life after which a run that says nothing else has stopped

Cell = str | int | float | bool | None

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same safe loader, ten times faster


@dataclass(frozen=True)
class RunEntry:
    """One run.

    settings: config.yaml with dotted keys, a stage by its name: `stages.head.learning_rate`.
    results: metrics.json with dotted keys, and what the epochs say: epochs, stage (the last), val_accuracy (the best).
    state: one of `STATES`; running means that its process lives or that it wrote something lately, failed that it said
        so itself, broken that its files can't be read; `reason` says why it is not running or finished.
    started, ended: ISO 8601 in UTC, so that they sort as text; ended is the last sign of life of a run that stopped.
    parent: the run or weights that it started from, as its settings name it.
    """

    folder: Path
    state: str
    reason: str = ""
    started: str | None = None
    ended: str | None = None
    parent: str | None = None
    settings: Mapping[str, Cell] = field(default_factory=dict)
    results: Mapping[str, Cell] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.folder.absolute().name


def is_run(folder: Path) -> bool:
    return any((folder / mark).is_file() for mark in MARKS)


def read_run(folder: Path) -> RunEntry | None:
    """The entry of a run folder, `broken` when it can't be read; None for a training that is not a classifier's."""
    broken: list[str] = []
    config = _read(folder / "config.yaml", broken)
    if config is None and not broken:
        broken.append("config.yaml is missing")
    if config and "sources" in config and "stages" not in config:
        return None  # `carclf train-detector` keeps its settings under the same name
    metrics = _read(folder / "metrics.json", broken)
    state = _read(folder / "state.json", broken) or {}
    epochs = _epochs(folder, broken)
    settings = dict(flatten(config or {}))
    last = _last_sign(folder)
    word, reason = _state(state, metrics is not None, epochs, last)
    started = _time(state.get("started")) or _written(folder / "config.yaml") or _written(folder / "epochs.csv")
    ended = None
    if word != "running":
        ended = _time(state.get("ended")) or _written(folder / "metrics.json") or _iso(last)
    try:
        check_written(folder / "state.json", state, FORMAT)
    except UsageError as error:
        broken.insert(0, str(error))
    if broken:
        word, reason = "broken", "; ".join(broken)
    return RunEntry(
        folder,
        word,
        reason,
        started,
        ended,
        parent=str(settings.get("init") or state.get("parent") or "") or None,
        settings=settings,
        results=_results(metrics or {}, state, epochs),
    )


def flatten(values: Any, key: str = "") -> Iterator[tuple[str, Cell]]:
    """Nested mappings as dotted keys.

    A list of mappings that have names (the stages) goes by these names, which are a value of their own; another list is
    one value, its JSON.

    >>> dict(flatten({"stages": [{"name": "head", "epochs": 2}], "size": [192, 320], "init": None}))
    {'stages': 'head', 'stages.head.epochs': 2, 'size': '[192, 320]', 'init': None}
    """
    if isinstance(values, Mapping):
        for name, inner in values.items():
            yield from flatten(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(values, list) and values and all(isinstance(one, Mapping) and "name" in one for one in values):
        yield key, ", ".join(str(one["name"]) for one in values)  # their order
        for one in values:
            yield from flatten({name: part for name, part in one.items() if name != "name"}, f"{key}.{one['name']}")
    elif isinstance(values, list):
        yield key, json.dumps(values, ensure_ascii=False, default=str)
    else:
        yield key, values if isinstance(values, (bool, int, float, str)) or values is None else str(values)


def duration(seconds: float) -> str:
    """For people: `34 seconds`, `12 minutes`, `3 hours`, `4 days`."""
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def _read(path: Path, broken: list[str]) -> dict | None:
    """A YAML or JSON file's mapping; None when there is none. What is wrong with it is added to `broken`."""
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError("it is too large")
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else yaml.load(text, Loader=_LOADER)
        if not isinstance(values, dict):
            raise ValueError("it holds no keys and values")
        _check_size(values)
        return values
    except FileNotFoundError:
        return None
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        broken.append(f"{path.name} can't be read: {reason}")
        return None


def _check_size(values: Any) -> None:
    """Raises ValueError for more than `MOST` values or `DEEPEST` levels: a few lines of YAML can stand for billions."""
    waiting, seen = [(values, 0)], 0
    while waiting:
        value, depth = waiting.pop()
        inner = list(value.values()) if isinstance(value, Mapping) else value if isinstance(value, list) else ()
        seen += len(inner)
        if seen > MOST or depth > DEEPEST:
            raise ValueError("it holds too much")
        waiting += [(one, depth + 1) for one in inner]


def _epochs(folder: Path, broken: list[str]) -> pd.DataFrame:
    """stage, and val_accuracy and seconds as numbers (nan for what is none); empty when there is nothing to read."""
    columns = ["stage", "val_accuracy", "seconds"]
    try:
        rows = pd.DataFrame(read_epochs(folder))
        if len(rows) and not set(columns) <= set(rows):
            raise ValueError(f"it lacks one of the columns {', '.join(columns)}")
    except pd.errors.EmptyDataError:
        rows = pd.DataFrame()
    except (OSError, ValueError) as error:
        broken.append(f"epochs.csv can't be read: {str(error).splitlines()[0]}")
        rows = pd.DataFrame()
    rows = rows.reindex(columns=columns)
    return rows.assign(**{name: pd.to_numeric(rows[name], errors="coerce") for name in columns[1:]})


def _results(metrics: dict, state: dict, epochs: pd.DataFrame) -> dict[str, Cell]:
    """The figures of metrics.json, and what the epochs tell of a run that has not ended, too."""
    results = dict(flatten(metrics))
    known = {"state", "error", "started", "ended", "parent"}
    for key, value in flatten({key: value for key, value in state.items() if key not in known}):
        results.setdefault(key, value)
    results["epochs"] = len(epochs)
    if len(epochs):
        best = epochs["val_accuracy"].max()
        results |= {"stage": str(epochs["stage"].iloc[-1]), "val_accuracy": None if pd.isna(best) else float(best)}
        results.setdefault("seconds", round(float(epochs["seconds"].sum()), 1))
    return results


def _state(state: dict, measured: bool, epochs: pd.DataFrame, last: float) -> tuple[str, str]:
    word = state.get("state")
    if word == "failed":
        error = str(state.get("error") or "")
        return ("stopped" if error == "stopped by hand" else "failed"), error
    if word == "finished" or (word is None and measured):
        return "finished", ""
    if word == "running" and state.get("host") == socket.gethostname() and isinstance(state.get("pid"), int):
        return ("running", "") if _alive(state["pid"]) else ("stopped", "its process has ended")
    slowest = epochs["seconds"].max() if epochs["seconds"].notna().any() else 0.0
    silent = time.time() - last
    if silent <= max(QUIET, 3 * slowest):
        return "running", ""
    return "stopped", f"nothing was written for {duration(silent)}"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # asks only
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return pid > 0


def _last_sign(folder: Path) -> float:
    """The newest time of a file that a training writes while it runs."""
    files = [*(folder / mark for mark in MARKS), *folder.glob("checkpoints/*/*"), folder / "stages"]
    return max((seconds for file in files if (seconds := _mtime(file)) is not None), default=0.0)


def _mtime(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _written(path: Path) -> str | None:
    return None if (seconds := _mtime(path)) is None else _iso(seconds)


def _iso(seconds: float) -> str | None:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds") if seconds else None


def _time(text: object) -> str | None:
    """ISO 8601 in UTC; None for what is no time. A time without a zone is one of this machine's."""
    try:
        time_there = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
        return time_there.astimezone(timezone.utc).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return None
