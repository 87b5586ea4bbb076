"""Trains a detector, compact or from the model zoo, on photos with vehicle masks; Lightning runs the loop."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from pathlib import Path

import detectron2
import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging
from pytorch_lightning.loggers import TensorBoardLogger

from detection.common.config import read_config, write_config
from detection.common.console import say
from detection.common.errors import UsageError
from detection.common.files import replace_file
from detection.common.machine import keep_freed_memory
from detection.common.networks.device import choose_device, use_bfloat16
from detection.detectors.contract import Detector
from detection.detectors.load import load_detector
from detection.detectors.trained import COMPACT_FILE, ZOO_FILE, save_detector
from detection.evaluation.evaluate import evaluate_detector
from detection.masks.parts import CHOOSE
from detection.masks.records import MaskRecord
from detection.training.checkpoints import (
    LAST,
    LastCheckpoint,
    ResumedCurves,
    fit,
    quiet_lightning,
    read_checkpoint,
    trainer_plugins,
)
from detection.training.config import DetectorTraining, check_same_training
from detection.training.examples import DetectorData, check_held_out, check_records, read_records, records_digest
from detection.training.module import DetectorModule, build_start, plan_model
from detection.training.progress import TrainingBar, spared
from detection.training.resume import CONFIG, RunState, locked, recorded, saved_config, say_finished
from detection.vehicle import Vehicle


def train_detector(config_path: str | Path, overrides: Sequence[str] = ()) -> Path:
    """Trains as the config says, resuming from the output folder's last checkpoint if there is one.

    The output folder gets config.yaml, split.json, state.json, csv and TensorBoard curves, a checkpoint every few
    minutes, the weights (compact.safetensors, or model.safetensors and model.yaml) and metrics.json (figures on the
    held-out photos). Returns the path of the weights. Raises `UsageError` for settings or data that can't be used, and
    KeyboardInterrupt after Ctrl-C, with a checkpoint of the step that it ended.
    """
    return _train(read_config(DetectorTraining, config_path, overrides))


def resume_detector(run: str | Path, overrides: Sequence[str] = ()) -> Path:
    """The same for a run by its folder alone, which knows its config; `overrides` win over that."""
    run = Path(run)
    return _train(saved_config(DetectorTraining, run, overrides).model_copy(update={"output": str(run)}))


def _train(config: DetectorTraining) -> Path:
    device = choose_device(config.device)
    if device == "cpu":
        keep_freed_memory()
    quiet_lightning()
    kinds, train, held_out = read_records(config)
    if not any(any(record.drawn) if record.drawn else record.masks for record in train):
        raise UsageError("The training has no photo with a mask: name at least one source with annotations.")
    blueprint = plan_model(config, kinds)
    if not blueprint.takes_boxes and any(not all(record.drawn) for record in train):
        raise UsageError(
            f"'{config.model}' can't learn from boxes alone: leave out sources of kind boxes, or name an FPN."
        )
    config = blueprint.settings
    output, digest = Path(config.output), records_digest(train)
    weights = output / (COMPACT_FILE if config.compact else ZOO_FILE)
    with locked(output):
        last, state = output / "checkpoints" / LAST, RunState(output)
        # A run that left nothing to resume from, as it ran out of memory for example, may begin with other settings.
        same_result = (last.is_file() or state.finished) and _check_same(output, config, digest)
        if state.finished and same_result and weights.is_file() and (output / "metrics.json").is_file():
            say_finished(output)
            return weights
        held = [record for records in held_out.values() for record in records]
        check_records([*train, *held])
        check_held_out(held)
        for source in config.sources:
            if source.holds_out and source.name not in held_out:
                say(f"No photo of '{source.name}' could be held out: there are too few.")
        checkpoint = read_checkpoint(last) if last.is_file() else None
        done = checkpoint["global_step"] if checkpoint else 0
        if checkpoint:
            say(f"Resuming from step {done} of {config.steps}.")
        pl.seed_everything(config.seed, verbose=False)
        module = DetectorModule(blueprint, build_start(blueprint, start=checkpoint is None))
        # Not before now: a training that can't begin leaves no folder.
        _describe(output, config, digest, train, held_out)
        with recorded(state, versions(), verb="train-detector"):
            if checkpoint is not None and done >= config.steps:  # only the figures are missing
                module.load_state_dict(checkpoint["state_dict"])
            else:
                del checkpoint
                _fit(module, DetectorData(config, train, held_out, kinds), state, device, done)
            save_detector(module.model, blueprint.cfg, config, kinds, output)
            _measure(weights, config, held_out, device)
    return weights


def versions() -> dict[str, str]:
    """Of what a result depends on."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "pytorch_lightning": pl.__version__,
        "detectron2": detectron2.__version__,
    }


def _measure(weights: Path, config: DetectorTraining, held_out: dict[str, list[MaskRecord]], device: str) -> None:
    """Writes metrics.json, and says the most important figures of each source."""
    figures = {}
    if held_out:
        # From the files, so that the figures are those of the half-precision weights that ship.
        name = "compact" if config.compact else str(weights.with_suffix(".yaml"))
        detector = load_detector(name, device=device, weights=weights)
        figures = {source: evaluate_detector(detector, records) for source, records in held_out.items()}
    for name, found in figures.items():
        shown = (f"{key} {found[key]:.3f}" for key in ("main_iou", "boundary_f", "ap", "false_share") if key in found)
        missed = f", {found['missed']} missed" if "missed" in found else ""
        say(f"{name}, {found['photos']} held-out photos: {', '.join(shown)}{missed}")
    replace_file(weights.parent / "metrics.json", json.dumps(figures, indent=2).encode())


def evaluate_held_out(
    detector: Detector,
    config_path: str | Path,
    overrides: Sequence[str] = (),
    only: Sequence[str] | None = None,
    finish: Callable[[np.ndarray, Vehicle], Vehicle] | None = None,
    part: str = CHOOSE,
) -> dict[str, dict]:
    """Figures of a detector on the photos that the training of this config holds out, by source (`only` these).

    part: of sources with a split, choose or report. finish: as for `evaluate_detector`. Raises `UsageError` when
    nothing is held out.
    """
    config = read_config(DetectorTraining, config_path, overrides)
    wanted = tuple(source for source in config.sources if source.holds_out and (only is None or source.name in only))
    if not wanted:
        raise UsageError(f"'{config_path}' holds no photos out: give a source 'validation: 0.2', for example.")
    _, _, held_out = read_records(config.model_copy(update={"sources": wanted}), part)
    return {name: evaluate_detector(detector, records, finish) for name, records in held_out.items()}


def _check_same(output: Path, config: DetectorTraining, digest: str) -> bool:
    """Whether the run there would end as this one. Raises `UsageError` when it is of another training."""
    same_result = check_same_training(output, config)
    try:
        before = json.loads((output / "split.json").read_text(encoding="utf-8")).get("digest", digest)
    except (OSError, ValueError):
        before = digest
    if before != digest:
        raise UsageError(
            f"The photos or masks changed since the training in '{output}' began: name another output, or delete that"
            " folder to begin again."
        )
    return same_result


def _describe(
    output: Path,
    config: DetectorTraining,
    digest: str,
    train: Sequence[MaskRecord],
    held_out: dict[str, list[MaskRecord]],
) -> None:
    """Writes what the output folder says of the training: its settings and its photos."""
    names = {name: [Path(record.path).name for record in records] for name, records in held_out.items()}
    split = {"held_out": names, "train": len(train), "digest": digest}
    try:
        output.mkdir(parents=True, exist_ok=True)
        write_config(config, output / CONFIG)
        replace_file(output / "split.json", json.dumps(split, indent=1).encode())
    except OSError as error:
        raise UsageError(f"The output folder '{output}' can't be written: {error.strerror}.") from error


def _fit(module: DetectorModule, data: DetectorData, state: RunState, device: str, done: int) -> None:
    """Runs the training from step `done` to its end; afterwards the module holds the averaged weights."""
    config, output = module.config, state.run
    last = LastCheckpoint(output / "checkpoints", config.checkpoint_minutes, saved=state.update)
    trainer = pl.Trainer(
        default_root_dir=output,
        accelerator="gpu" if device.startswith("cuda") else "cpu",
        devices=[torch.device(device).index or 0] if device.startswith("cuda") else 1,
        max_steps=config.steps,
        max_epochs=-1,
        precision="bf16-mixed" if use_bfloat16(config.precision, device) else "32-true",
        gradient_clip_val=config.clip,
        check_val_every_n_epoch=config.validate_every,
        limit_val_batches=1.0 if data.held_out else 0,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        log_every_n_steps=min(25, max(1, config.steps // 20)),
        callbacks=[EMAWeightAveraging(decay=config.averaging), TrainingBar(config.steps), last],
        plugins=trainer_plugins(),
        logger=[
            ResumedCurves(output, "curves", done),
            spared(TensorBoardLogger(output, name="", version="tensorboard"), "TensorBoard"),
        ],
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    try:
        fit(trainer, last, lambda: f"at step {trainer.global_step} of {config.steps}", module, datamodule=data)
    except FloatingPointError as error:
        raise UsageError("The training diverged (losses are no numbers any more): lower learning_rate.") from error
    except torch.cuda.OutOfMemoryError as error:
        raise UsageError("The GPU's memory is too small for this training: lower batch_size or short_side.") from error
