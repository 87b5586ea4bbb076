"""With which other settings an unfinished run of a classifier resumes: where they only touch what is still to come."""

from __future__ import annotations

import shlex
from pathlib import Path

from carclf.runs.recipe import Stage, TrainConfig
from carclf.runs.tables import read_epochs
from carclf.weights import BEST
from detection.common.config import read_config, write_config
from detection.common.errors import UsageError
from detection.training.resume import CONFIG, RunState, check_same_settings

# Settings that may differ when a run is resumed: where and how it is computed, not what.
FREE = {
    "output", "resume", "runs", "progress", "workers", "threads", "device", "devices", "nodes", "tensorboard", "mlflow",
    "cache_size",
}  # fmt: skip
# Photos may have moved; `carclf.training.data.split` sees to it that they are the same.
_PLACES = ("data", "images", "crops_dir")


def check_resumable(run: Path, before: TrainConfig, now: TrainConfig) -> None:
    """Raises `UsageError` where a run can't go on with these settings.

    Stages that have not begun may be any; one that has begun may get other `epochs`; what is done stays.
    """
    check_same_settings(run, before.model_dump(), now.model_dump(), FREE | {"stages", *_PLACES})
    if before.stages == now.stages:
        return
    if RunState(run).finished:
        raise UsageError(f"'{run}' is finished, so its stages can't be changed: {further(run)}.")
    for number, stage in enumerate(before.stages, 1):
        done = (run / "stages" / f"{number}-{stage.name}.safetensors").is_file()
        if not done and not (run / "checkpoints" / f"{number}-{stage.name}" / "last.ckpt").is_file():
            return
        wanted = now.stages[number - 1] if number <= len(now.stages) else None
        if wanted != stage:
            why = "is done" if done else _kept_from(run, stage, wanted)
            if why:
                raise UsageError(
                    f"Stage '{stage.name}' of '{run}' {why}, so {_changes(stage, wanted)}: pass the same, or "
                    f"{further(run)}."
                )
        if not done:
            return


def note_resumed(run: Path, now: TrainConfig) -> None:
    """Saves the stages and the places of the photos with which a run resumes, once both have proved right."""
    before = read_config(TrainConfig, run / CONFIG)
    changed = before.model_copy(update={name: getattr(now, name) for name in ("stages", *_PLACES)})
    if changed != before:
        write_config(changed, run / CONFIG)


def further(run: Path) -> str:
    """What to do where a run can't go on as it is wanted."""
    init = f" init={shlex.quote(str(run))}" if (run / BEST).is_file() else ""
    return f"begin a new run{' with its weights' if init else ''} by `carclf train CONFIG{init} output=NEW`"


def _kept_from(run: Path, stage: Stage, wanted: Stage | None) -> str:
    """Why a stage that has begun can't become the wanted one; empty where it can."""
    if wanted is None or wanted.model_copy(update={"epochs": stage.epochs}) != stage:
        return "has begun"
    if stage.schedule in ("cosine", "onecycle") or stage.rising:
        curve = "warmup" if stage.schedule not in ("cosine", "onecycle") else f"schedule '{stage.schedule}'"
        return f"has begun, and its {curve} follows from its number of epochs"
    trained = sum(row["stage"] == stage.name for row in read_epochs(run))
    if trained >= min(stage.epochs, wanted.epochs + 1) or min(stage.epochs, wanted.epochs) < 2:
        return f"has trained {trained} epochs"
    return ""


def _changes(stage: Stage, wanted: Stage | None) -> str:
    if wanted is None or wanted.name != stage.name:
        return "it must stay where it is"
    before, now = stage.model_dump(), wanted.model_dump()
    names = [key for key in before if before[key] != now[key]]
    told = ", ".join(f"{key} {before[key]}, now {now[key]}" for key in names)
    return f"its settings can't be changed ({told})"
