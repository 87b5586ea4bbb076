"""The run folder of a training: what is in it, how it is written and found again.

config.yaml          the resolved config                 best.safetensors   the best model of all stages
split.csv            file, label, split                  metrics.json       its figures, git state, versions
epochs.csv           one row an epoch                    validation/        report, confusion, predictions
batches.csv          one row a batch                     stages/            the best model of each stage
stages.json          one entry a stage that is done      report.html        all of it on one page
curves.png           accuracy and loss over all stages   tensorboard/       the same for TensorBoard
state.json           running, finished or failed         checkpoints/       of the stage that runs: to go on from
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from carclf.runs.recipe import TrainConfig
from detection.common.config import read_config, write_config
from detection.common.errors import UsageError
from detection.common.files import TEMP_PREFIX

if TYPE_CHECKING:
    pass


# Settings that may differ when a run goes on: where and how it is computed, not what.
FREE = {
    "output", "resume", "runs", "progress", "workers", "threads", "device", "devices", "nodes", "tensorboard", "mlflow"
}  # fmt: skip


def open_run(config: TrainConfig) -> Path:
    """Makes the run folder, or checks the one to go on with, and saves the resolved config there.

    Raises `UsageError` for a folder in use, one that can't be written, or one of another config.
    """
    folder = config.output or _fresh(config.runs, f"{config.name}-{time.strftime('%Y%m%d-%H%M%S')}")
    saved = folder / "config.yaml"
    if saved.exists():
        if not config.resume:
            raise UsageError(
                f"'{folder}' already holds a run: choose another output, or resume it with --resume {folder}."
            )
        _check_same(read_config(TrainConfig, saved), config, folder)
        return folder
    if folder.exists() and (not folder.is_dir() or any(not _is_leftover(path) for path in folder.iterdir())):
        raise UsageError(f"'{folder}' exists and is not a run folder: choose an empty or new one as output.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_config(config.model_copy(update={"output": folder, "resume": False}), saved)
    except OSError as error:
        raise UsageError(f"The run folder '{folder}' can't be written: {error.strerror}.") from error
    return folder


def resumed_config(folder: Path, settings: Sequence[str] = ()) -> TrainConfig:
    """The config of a run to go on with, settings (`key=value`) over it. Raises `UsageError` for no run folder."""
    saved = Path(folder) / "config.yaml"
    if not saved.is_file():
        raise UsageError(f"'{folder}' is not a run folder: it holds no config.yaml: check the path.")
    return read_config(TrainConfig, saved, settings).model_copy(update={"output": Path(folder), "resume": True})


def check_no_run(folder: Path) -> None:
    """Raises `UsageError` for a run folder: figures on other photos would replace those of the run."""
    if (Path(folder) / "config.yaml").is_file():
        raise UsageError(f"'{folder}' is the folder of a training: name another one for the evaluation.")


def discard_run(folder: Path) -> None:
    """Removes the run folder of a training that never began; one that holds any result stays."""
    inside = list(folder.iterdir())
    if all(path.name in ("config.yaml", "state.json") or _is_leftover(path) for path in inside):
        for path in inside:
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink(missing_ok=True)
        folder.rmdir()


def _is_leftover(path: Path) -> bool:
    """Nothing that anyone would miss: what a process that was killed at its start has left."""
    empty = path.name == "stages" and path.is_dir() and not any(path.iterdir())
    return empty or path.name == ".lock" or path.name.startswith(TEMP_PREFIX)


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


def _fresh(parent: Path, name: str) -> Path:
    folder, number = parent / name, 2
    while folder.exists():
        folder, number = parent / f"{name}-{number}", number + 1
    return folder


def _check_same(saved: TrainConfig, config: TrainConfig, folder: Path) -> None:
    old, new = saved.model_dump(exclude=FREE), config.model_dump(exclude=FREE)
    changed = [key for key in old if old[key] != new[key]]
    if changed:
        raise UsageError(
            f"'{folder}' was started with other settings ({', '.join(changed)}): pass the same, or another output."
        )
