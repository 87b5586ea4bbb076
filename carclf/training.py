"""Trains a classifier in stages: one Lightning `Trainer.fit` a stage, each from the best weights of the one before."""

from __future__ import annotations

import logging
import math
import os
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import timm
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint, RichProgressBar

from carclf.augmentation import Augmented, Plain
from carclf.checkpoint import ModelInfo, load_model, save_model
from carclf.classifier import Classifier
from carclf.config import TrainConfig
from carclf.console import say
from carclf.crops import prepare_crops, variant_column
from carclf.dataset import CropDataset, TrainOrder, balancing_weights, make_loader
from carclf.evaluation import evaluate
from carclf.fitting import EpochLog, StageModule
from carclf.model import CarNet, build_model, mean_and_std
from carclf.plots import save_curves
from carclf.runs import BEST, discard_run, git_state, open_run, read_epochs, write_json, write_table
from carclf.sizes import written
from carclf.sources import split_table
from carclf.stages import Stage
from detection.allocator import keep_freed_memory
from detection.device import choose_device
from detection.errors import UsageError
from detection.images import load_image
from detection.precision import use_bfloat16


def train(config: TrainConfig) -> Path:
    """Runs every stage and returns the run folder. Raises `UsageError` for data or settings that can't be trained."""
    started = time.time()
    _quiet()
    if config.threads:
        torch.set_num_threads(config.threads)
    pl.seed_everything(config.seed, workers=True, verbose=False)
    device = choose_device(config.device)
    if device == "cpu":
        keep_freed_memory()
    run = open_run(config)
    try:
        table, style, detector = prepare_crops(config, run)
        table = _split(table, config, run)
    except UsageError:
        discard_run(run)  # or the corrected command would be told that the folder is taken
        raise
    classes = sorted(table["label"].unique())
    counts = table["split"].value_counts()
    say(f"{len(classes)} classes, {counts['train']} photos to train, {counts['val']} to validate; run folder {run}")

    net = build_model(config.model, len(classes))
    mean, std = mean_and_std(config.model.architecture)
    info = ModelInfo(
        classes=tuple(classes),
        architecture=config.model.architecture,
        head=config.model.head,
        image_size=config.model.image_size,
        mean=mean,
        std=std,
        style=style,
        detector=detector,
        git=git_state()["hash"],
    )
    best = -1.0
    for number, stage in enumerate(config.stages, 1):
        file = run / "stages" / f"{number}-{stage.name}.safetensors"
        if file.is_file():  # only a resumed run has one
            done, stage_info = load_model(file)
            net.load_state_dict(done.state_dict())
            accuracy = stage_info.metrics["accuracy"]
            say(f"stage {number}/{len(config.stages)} {stage.name}: done before (accuracy {accuracy:.3f})")
        else:
            accuracy = _run_stage(net, stage, number, table, info, config, run, device)
            stage_info = info.model_copy(update={"stage": stage.name, "metrics": {"accuracy": accuracy}})
            if accuracy > best:
                save_model(net, stage_info, run / BEST)
            # Last and in full precision: this file says that the stage is done, and the next one starts from it.
            save_model(net, stage_info, file, half=False)
        best = max(best, accuracy)
        save_curves(read_epochs(run), run / "curves.png")
    metrics = _judge(run, table, config, started)
    say(f"accuracy {metrics['accuracy']:.4f}, top-5 {metrics['top5']:.4f} on {metrics['n']} validation photos; {run}")
    return run


def _run_stage(
    net: CarNet, stage: Stage, number: int, table: pd.DataFrame, info: ModelInfo, config: TrainConfig, run: Path,
    device: str,
) -> float:  # fmt: skip
    """Trains `net` in place and leaves the stage's best weights in it; returns their validation accuracy."""
    net.freeze(stage.train)
    if stage.dropout is not None:
        net.set_dropout(stage.dropout)
    title = f"stage {number}/{len(config.stages)} {stage.name}"
    say(f"{title}: {net.describe()}; {stage.epochs} epochs at {written(stage.image_size)} px, batch "
        f"{stage.batch_size}, {stage.optimizer}, learning rate {stage.learning_rate:g} ({stage.schedule})")  # fmt: skip
    seed = config.seed + 1000 * number
    pl.seed_everything(seed, workers=True, verbose=False)
    train_rows, val_rows = table[table["split"] == "train"], table[table["split"] == "val"]
    variants = {variant_column(name): share for name, share in config.backgrounds.items()}
    augmented = Augmented(stage.image_size, stage.augmentation, config.augmentation)
    dataset = CropDataset(train_rows, info.classes, augmented, seed, variants)
    balance = balancing_weights(dataset.labels, len(info.classes))
    weights = balance[dataset.labels] if config.balance == "sampling" else None
    module = StageModule(
        net,
        stage,
        info,
        photos=len(dataset),
        seed=seed,
        weight_decay=config.weight_decay,
        label_smoothing=config.label_smoothing,
        class_weights=balance if config.balance == "weights" else None,
        ema=config.ema,
    )
    folder = run / "checkpoints" / f"{number}-{stage.name}"
    keeper = ModelCheckpoint(folder, "best", monitor="val_accuracy", mode="max", save_last=True)
    callbacks = [keeper, EpochLog(run, stage, title)]
    if stage.stop_patience:
        callbacks.append(EarlyStopping("val_accuracy", mode="max", patience=stage.stop_patience))
    bar = config.progress and os.isatty(2)
    if bar:
        callbacks.append(RichProgressBar(leave=False))
    trainer = pl.Trainer(
        accelerator="gpu" if device.startswith("cuda") else "cpu",
        devices=1,
        precision="bf16-mixed" if use_bfloat16(config.precision, device) else "32-true",
        max_epochs=stage.epochs,
        callbacks=callbacks,
        enable_progress_bar=bar,
        enable_model_summary=False,
        logger=False,
        num_sanity_val_steps=0,
        gradient_clip_val=config.gradient_clip,
        accumulate_grad_batches=stage.batch_size // stage.at_once,
        use_distributed_sampler=False,  # TrainOrder shares the photos out
        default_root_dir=run,
    )
    last = folder / "last.ckpt"
    trainer.fit(
        module,
        make_loader(dataset, stage.at_once, config.workers, TrainOrder(len(dataset), seed, weights)),
        make_loader(CropDataset(val_rows, info.classes, Plain(info.image_size)), 64, config.workers),
        ckpt_path=last if last.is_file() else None,
        weights_only=True,
    )
    if trainer.interrupted:
        raise KeyboardInterrupt
    accuracy = keeper.best_model_score
    if accuracy is None or not math.isfinite(float(accuracy)):
        raise UsageError(f"Stage '{stage.name}' gave no finite result: lower its learning_rate.")
    state = torch.load(keeper.best_model_path, map_location="cpu", weights_only=True)["state_dict"]
    module.load_state_dict(state)
    net.cpu()
    net.load_state_dict(module.result.state_dict())
    for file in folder.glob("*.ckpt"):  # 50 MB each; the stage's safetensors file takes their place
        file.unlink()
    folder.rmdir()
    return float(accuracy)


def _split(table: pd.DataFrame, config: TrainConfig, run: Path) -> pd.DataFrame:
    """The split of a resumed run is read back, so that no validation photo slips into training."""
    path = run / "split.csv"
    if config.resume and path.is_file():
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    table = split_table(table, config.validation, config.seed)
    write_table(path, table)
    return table


def _judge(run: Path, table: pd.DataFrame, config: TrainConfig, started: float) -> dict:
    """Measures the written file, not the network in memory, on the validation photos; writes metrics.json."""
    classifier = Classifier.load(run, config.device)
    rows = table[table["split"] == "val"].reset_index(drop=True)
    batches = (rows["file"][start : start + 64] for start in range(0, len(rows), 64))
    probabilities = [classifier.predict([load_image(file) for file in batch]) for batch in batches]
    metrics = evaluate(rows.assign(status="ok"), np.concatenate(probabilities), classifier.classes, run / "validation")
    epochs = read_epochs(run)
    metrics = metrics | {
        "best_stage": classifier.info.stage,
        "epochs": len(epochs),
        "seconds": round(time.time() - started, 1),
        "git": git_state(),
        "versions": {"torch": torch.__version__, "pytorch_lightning": pl.__version__, "timm": timm.__version__},
    }
    write_json(run / "metrics.json", metrics)
    return metrics


def _quiet() -> None:
    """Lightning's banners and its advice on worker counts would bury the lines that matter."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for message in (
        ".*does not have many workers.*",
        ".*Consider increasing the value of the `num_workers`.*",
        ".*exists and is not empty.*",
        ".*log_every_n_steps.*",
        ".*You are using `torch.load`.*",
        ".*in eval mode at the start of training.*",  # the frozen blocks, on purpose
        ".*LeafSpec.*",
    ):
        warnings.filterwarnings("ignore", message)
