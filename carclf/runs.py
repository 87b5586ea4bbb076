"""The run folder of a training: what is in it, how it is written and found again.

config.yaml          the resolved config                 best.safetensors   the best model of all stages
split.csv            file, label, split                  metrics.json       its figures, git state, versions
epochs.csv           one row an epoch                    validation/        report, confusion, predictions
curves.png           accuracy and loss over all stages   stages/            the best model of each stage
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from carclf.config import TrainConfig, read_config, write_config
from detection.errors import UsageError
from detection.files import replace_file

BEST = "best.safetensors"


def open_run(config: TrainConfig) -> Path:
    """Makes the run folder, or checks the one to go on with, and saves the resolved config there.

    Raises `UsageError` for a folder in use, one that can't be written, or one of another config.
    """
    folder = config.output or _fresh(config.runs, f"{config.name}-{time.strftime('%Y%m%d-%H%M%S')}")
    saved = folder / "config.yaml"
    if saved.exists():
        if not config.resume:
            raise UsageError(f"'{folder}' holds a run already: choose another output, or go on with resume=true.")
        _check_same(read_config(TrainConfig, saved), config, folder)
        return folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"'{folder}' exists and is no run folder: choose an empty or new one as output.")
    try:
        (folder / "stages").mkdir(parents=True)
        write_config(config.model_copy(update={"output": folder, "resume": False}), saved)
    except OSError as error:
        raise UsageError(f"The run folder '{folder}' can't be written: {error.strerror}.") from error
    return folder


def discard_run(folder: Path) -> None:
    """Removes the run folder of a training that never began; one that holds any result stays."""
    written = {path.name for path in folder.iterdir()}
    if written <= {"config.yaml", "stages"} and not any((folder / "stages").iterdir()):
        (folder / "stages").rmdir()
        (folder / "config.yaml").unlink()
        folder.rmdir()


def git_state(folder: Path | None = None) -> dict[str, str | bool | None]:
    """Commit hash of the source and whether it was changed since; None for both outside a git checkout."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *arguments], cwd=folder or Path(__file__).parent, capture_output=True, text=True, timeout=20
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    changes = git("status", "--porcelain", "--untracked-files=no") if commit else None
    return {"hash": commit or None, "dirty": None if changes is None else bool(changes)}


def write_text(path: Path, text: str) -> None:
    """Temp file in the same folder, then replace: a reader sees the old file or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, text.encode("utf-8", "surrogateescape"))


def write_json(path: Path, values: Mapping) -> None:
    write_text(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def write_table(path: Path, rows: Sequence[Mapping] | pd.DataFrame) -> None:
    write_text(path, pd.DataFrame(rows).to_csv(index=False))


def read_epochs(run: Path) -> list[dict]:
    """The rows of epochs.csv, oldest first; empty before the first epoch has ended."""
    path = run / "epochs.csv"
    return pd.read_csv(path).to_dict("records") if path.is_file() else []


def _fresh(parent: Path, name: str) -> Path:
    folder, number = parent / name, 2
    while folder.exists():
        folder, number = parent / f"{name}-{number}", number + 1
    return folder


def _check_same(saved: TrainConfig, config: TrainConfig, folder: Path) -> None:
    free = {"output", "resume", "runs", "progress", "workers", "threads", "device"}
    old, new = saved.model_dump(exclude=free), config.model_dump(exclude=free)
    changed = [key for key in old if old[key] != new[key]]
    if changed:
        raise UsageError(
            f"'{folder}' was started with other settings ({', '.join(changed)}): pass the same, or another output."
        )
