"""One stage of a training: one `Trainer.fit` over the network, from its data to the best weights."""

from __future__ import annotations

import gc
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import RichProgressBar

from carclf.classifier.info import ModelInfo, written
from carclf.classifier.network import CarNet
from carclf.runs.recipe import Stage, TrainConfig
from carclf.runs.tables import note_stage, read_epochs
from carclf.training.data.augmentation import Augmented, Plain
from carclf.training.data.crops import variant_column
from carclf.training.data.dataset import CropDataset, TrainOrder, balancing_weights, make_loader
from carclf.training.data.features import cache_features
from carclf.training.data.sampling import SAYINGS, sampling_weights
from carclf.training.distributed import is_launched, place, say_once, trainer_place
from carclf.training.metric import pair_groups
from carclf.training.module import StageModule
from carclf.training.record.checkpoints import BestEpoch, Patience
from carclf.training.record.log import EpochLog
from carclf.training.record.loggers import make_loggers, rate_monitors
from carclf.training.teacher import Teacher
from detection.common.errors import UsageError
from detection.common.networks.device import use_bfloat16
from detection.training.checkpoints import LAST, LastCheckpoint, fit, read_checkpoint, trainer_plugins
from detection.training.resume import RunState

_AT_ONCE = 64  # validation photos


@dataclass(frozen=True)
class TrainingJob:
    """What all stages of a training share. table: columns file, label, split, perhaps variants,
    doubt (see `carclf.training.data.sampling`) and weight (see `carclf.training.data.extra`)."""

    config: TrainConfig
    run: Path
    table: pd.DataFrame
    info: ModelInfo
    device: str
    state: RunState
    teacher: Teacher | None = None


def run_stage(net: CarNet, number: int, job: TrainingJob) -> float:
    """Trains `net` in place and leaves the stage's best weights in it; returns their validation accuracy.

    Resumes from the stage's last checkpoint where there is one. Raises `UsageError` when it can't be trained.
    """
    stage = job.config.stages[number - 1]
    net.freeze(stage.train)
    net.set_dropout(job.config.model.head.dropout if stage.dropout is None else stage.dropout)
    parts = f" ({stage.micro_batch} at once)" if stage.at_once < stage.batch_size else ""
    say_once(f"{_title(job, number)}: {net.describe()}; {stage.epochs} epochs at {written(stage.image_size)} px, "
             f"batch {stage.batch_size}{parts}, {stage.optimizer}, learning rate {stage.learning_rate:g} "
             f"({stage.schedule})")  # fmt: skip
    first = {name: value.detach().cpu().clone() for name, value in net.state_dict().items()}
    at_once = portion(stage, job.state.values.get("micro_batches", {}).get(stage.name, stage.at_once))
    while True:
        try:
            row = _fit(net, number, at_once, job)
            break
        except torch.OutOfMemoryError:
            smaller = _smaller(stage, at_once)  # and leave the block, whose exception holds on to the memory
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        at_once = smaller
        known = job.state.values.get("micro_batches", {})
        job.state.update(micro_batches=known | {stage.name: at_once})
        net.cpu().load_state_dict(first)
        whence = "the last epoch" if (checkpoints(job, number) / LAST).is_file() else "the beginning of the stage"
        say_once(f"{_title(job, number)}: out of memory; resumes from {whence} with {at_once} photos at once, "
                 f"gradients added up to batches of {stage.batch_size}")  # fmt: skip
    if place()[0] == 0:
        note_stage(job.run, row)
    return row["accuracy"]


def checkpoints(job: TrainingJob, number: int) -> Path:
    """The folder of a stage's checkpoints; whoever has saved its result may remove them."""
    return job.run / "checkpoints" / f"{number}-{job.config.stages[number - 1].name}"


def portion(stage: Stage, at_once: int) -> int:
    """How many photos of a batch each process takes at once: `at_once` in all, or the most below that which fit.

    Raises `UsageError` when the batch can't be shared out evenly.
    """
    processes = place()[1]
    share, rest = divmod(stage.batch_size, processes)
    # Not one alone, which norms can't be trained with; pairs where they are mixed or compared.
    paired = stage.mixes or stage.metric > 0
    sizes = [size for size in range(2, share + 1) if share % size == 0 and not (paired and size % 2)]
    if rest or not sizes:
        raise UsageError(
            f"The batch of {stage.batch_size} of stage '{stage.name}' can't be shared out among {processes} processes: "
            f"set stages.{stage.name}.batch_size to a multiple of {2 * processes}."
        )
    return max([size for size in sizes if size <= at_once // processes] or sizes[:1])


def _smaller(stage: Stage, at_once: int) -> int:
    """Half of the photos at once. Raises `UsageError` when no fewer can be taken."""
    processes = place()[1]
    if processes > 1:  # the others wait for gradients that do not come
        raise UsageError(
            f"Stage '{stage.name}' does not fit into memory with {at_once} photos at once in each process: "
            f"set stages.{stage.name}.micro_batch to {max(2, at_once * processes // 2)} and resume."
        )
    smaller = portion(stage, at_once // 2)
    if smaller >= at_once:
        raise UsageError(
            f"Stage '{stage.name}' does not fit into memory even with {at_once} photos at once: "
            "take a smaller image_size or architecture."
        )
    return smaller


def _fit(net: CarNet, number: int, at_once: int, job: TrainingJob) -> dict[str, Any]:
    """The entry of stages.json, but for what its epochs say. at_once: photos in memory of each process."""
    config, info, stage = job.config, job.info, job.config.stages[number - 1]
    processes = place()[1]
    seed = config.seed + 1000 * number
    pl.seed_everything(seed, workers=True, verbose=False)
    sets = _train_data(stage, seed, job), _validation_data(job)
    labels = sets[0].labels
    rows = job.table[job.table["split"] == "train"]
    sampling = stage.drawn(config.balance)
    weights, drawn = sampling_weights(sampling, rows, labels)
    if weights is not None:
        say_once(f"an epoch draws {drawn} of {len(labels)} photos, {SAYINGS[sampling]}")
    # Where the photos do not vary, the head alone, on features that the backbone has computed once.
    trained, data, workers = cache_features(net, stage, config, info, sets, job.device)
    module = StageModule(
        trained,
        stage,
        info,
        photos=drawn,
        seed=seed,
        weight_decay=config.weight_decay,
        label_smoothing=config.label_smoothing,
        class_weights=balancing_weights(labels, len(info.classes)) if config.balance == "weights" else None,
        ema=config.ema,
        teacher=job.teacher,
        teacher_weight=config.teacher_weight,
    )
    order = TrainOrder(len(labels), seed, weights, labels, drawn, pair_groups(stage, rows, labels))
    share = stage.batch_size // processes
    steps, parts = len(order) // share, min(share, max(len(order), at_once)) // at_once
    folder = checkpoints(job, number)
    best, last = BestEpoch(folder), LastCheckpoint(folder)
    if last.path.is_file():  # reader processes ask for their first batches before Lightning tells the epoch
        order.set_epoch(read_checkpoint(last.path)["epoch"] + 1)
    loggers = make_loggers(config, job.run, number, job.state)
    log = EpochLog(job.run, stage, _title(job, number), job.state, at_once * processes)
    bar = config.progress and os.isatty(2)
    trainer = pl.Trainer(
        **trainer_place(config, job.device),
        precision="bf16-mixed" if use_bfloat16(config.precision, job.device) else "32-true",
        max_epochs=stage.epochs,
        # Whole batches only, as without parts: the last one would else step with a part of the gradient.
        limit_train_batches=steps * parts if steps else None,
        accumulate_grad_batches=parts,
        callbacks=[
            log,
            *([Patience(stage.stop_patience)] if stage.stop_patience else []),
            *rate_monitors(loggers),
            *([RichProgressBar(leave=False)] if bar else []),
            best,
            last,
        ],
        plugins=trainer_plugins(is_launched()),
        logger=loggers,
        log_every_n_steps=1_000_000,  # the curves are those of the epochs; batches.csv has the rest
        enable_progress_bar=bar,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        gradient_clip_val=config.gradient_clip,
        deterministic=config.deterministic,
        use_distributed_sampler=False,  # TrainOrder shares the photos out
        default_root_dir=job.run,
    )

    def where() -> str:
        epoch = trainer.current_epoch
        return f"in epoch {epoch + 1}/{stage.epochs} of {_title(job, number)} (whole epochs kept: {epoch})"

    fit(
        trainer,
        last,
        where,
        module,
        train_dataloaders=make_loader(data[0], at_once, workers, order),
        # Fewer at once after training ran out of memory.
        val_dataloaders=make_loader(data[1], max(2, _AT_ONCE * at_once // portion(stage, stage.at_once)), workers),
    )
    if last.stopped:  # in its last epoch
        raise KeyboardInterrupt(f"after {_title(job, number)}")
    accuracy = best.best_model_score
    if accuracy is None or not math.isfinite(float(accuracy)):
        raise UsageError(f"Stage '{stage.name}' gave no finite result: lower its learning_rate.")
    path: str | Path = best.best_model_path
    if stage.keep == "last":
        path = folder / LAST
        accuracy = next(row["val_accuracy"] for row in reversed(read_epochs(job.run)) if row["stage"] == stage.name)
    kept = torch.load(path, map_location="cpu", weights_only=True)
    module.cpu()
    module.load_state_dict(kept["state_dict"])
    trained.load_state_dict(module.result.state_dict())
    return _about(net, number, at_once, job) | {"best_epoch": kept["epoch"] + 1, "accuracy": float(accuracy)}


def _train_data(stage: Stage, seed: int, job: TrainingJob) -> CropDataset:
    """The training photos, varied as the stage says."""
    variants = {variant_column(name): share for name, share in job.config.backgrounds.items()}
    augmented = Augmented(stage.image_size, stage.augmentation, job.config.augmentation)
    rows = job.table[job.table["split"] == "train"]
    return CropDataset(rows, job.info.classes, augmented, seed, variants)


def _validation_data(job: TrainingJob) -> CropDataset:
    """This process's part of the validation photos: each photo is measured once."""
    rank, processes = place()
    rows = job.table[job.table["split"] == "val"]
    if len(rows) < processes:
        raise UsageError(f"{len(rows)} validation photos are too few for {processes} processes: take fewer.")
    return CropDataset(rows[rank::processes], job.info.classes, Plain(job.info.image_size))


def _title(job: TrainingJob, number: int) -> str:
    return f"stage {number}/{len(job.config.stages)} {job.config.stages[number - 1].name}"


def _about(net: CarNet, number: int, at_once: int, job: TrainingJob) -> dict[str, Any]:
    stage = job.config.stages[number - 1]
    trained = sum(value.numel() for value in net.parameters() if value.requires_grad)
    return {
        "number": number,
        "name": stage.name,
        "description": net.describe(),
        "frozen_parameters": sum(value.numel() for value in net.parameters()) - trained,
        "trained_parameters": trained,
        "epochs": 0,
        "best_epoch": 0,
        "accuracy": 0.0,
        "seconds": 0.0,
        "photos_per_second": 0.0,
        "image_size": stage.image_size,
        "batch_size": stage.batch_size,
        "micro_batch": at_once * place()[1],
        "learning_rate": stage.learning_rate,
        "optimizer": stage.optimizer,
        "schedule": stage.schedule,
        "sampling": stage.drawn(job.config.balance),
    }
