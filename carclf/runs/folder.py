"""The run folder of a training: what is in it, how it is written and found again.

config.yaml          the resolved config                 best.safetensors   the best model of all stages
split.csv            file, label, split, digests         metrics.json       its figures, git state, versions
epochs.csv           one row per epoch                   validation/        report, confusion, predictions
batches.csv          one row per batch                   stages/            the best model of each stage
stages.json          one entry per finished stage        report.html        all of it on one page
curves.png           accuracy and loss over all stages   tensorboard/       the same for TensorBoard
state.json           running, finished or failed         checkpoints/       of the stage that runs: to resume from
corrections-applied.jsonl   what people had decided about the photos, where `corrections` named it
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from carclf.datasets.corrections.apply import APPLIED
from carclf.runs.recipe import TrainConfig
from carclf.runs.resume import check_resumable
from detection.common.config import read_config, write_config
from detection.common.errors import UsageError
from detection.common.files import TEMP_PREFIX, user_path
from detection.common.output_folder import OutputFolder
from detection.training.resume import CONFIG, LOCK, STATE, check_version, saved_config


def open_run(config: TrainConfig) -> Path:
    """Makes the run folder, or checks the one to resume, and saves the resolved config there.

    Raises `UsageError` for a folder of something else, one that can't be written, or a run with other settings.
    """
    folder = config.output or _fresh(config.runs, f"{config.name}-{time.strftime('%Y%m%d-%H%M%S')}")
    saved = folder / CONFIG
    if _output(folder).check(f"'{folder}' exists and is not a run folder: choose an empty or new one as output."):
        check_version(folder)
        before = read_config(TrainConfig, saved)
        check_resumable(folder, before, config)
        return folder
    _output(folder).make(lambda: write_config(config.model_copy(update={"output": folder, "resume": False}), saved))
    return folder


def resumed_config(folder: Path, settings: Sequence[str] = ()) -> TrainConfig:
    """The config of a run to resume, settings (`key=value`) over it. Raises `UsageError` for no run folder."""
    config = saved_config(TrainConfig, folder, settings)
    return config.model_copy(update={"output": Path(folder), "resume": True})


def check_no_run(folder: Path) -> None:
    """Raises `UsageError` for a run folder: figures on other photos would replace those of the run."""
    if (user_path(folder) / CONFIG).is_file():
        raise UsageError(f"'{folder}' is the folder of a training: name another one for the evaluation.")


def discard_run(folder: Path) -> None:
    """Removes the run folder of a training that never began; one that holds any result stays."""
    output = _output(folder)
    if not output.others(CONFIG, STATE, APPLIED):
        output.empty()
        folder.rmdir()


def _output(folder: Path) -> OutputFolder:
    return OutputFolder(folder, CONFIG, _is_leftover, f"The run folder '{folder}' can't be written")


def _is_leftover(path: Path) -> bool:
    """Nothing that anyone would miss: what a process that was killed at its start has left."""
    empty = path.name == "stages" and path.is_dir() and not any(path.iterdir())
    return empty or path.name == LOCK or path.name.startswith(TEMP_PREFIX)


class GitState(TypedDict):
    hash: str | None
    dirty: bool | None


def git_state(folder: Path | None = None) -> GitState:
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
