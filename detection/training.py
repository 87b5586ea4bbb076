"""Trains the compact detector from photos with car masks; Lightning runs the loop."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytorch_lightning as pl
import torch
from detectron2.modeling import build_model
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from torch.utils.data import DataLoader, Dataset

from detection.allocator import keep_freed_memory
from detection.compact import KINDS, compact_config
from detection.config import StrictConfig, read_config, write_config
from detection.device import choose_device
from detection.errors import UsageError
from detection.evaluation import evaluate_detector
from detection.files import replace_file
from detection.mask_rcnn import Detector, DetectorSettings, load_detector, save_compact
from detection.masks_data import Record, Source, read_source, split_records
from detection.precision import keep_depthwise_float32, use_bfloat16
from detection.scenes_data import SceneMaker, SceneSettings, preload
from detection.vehicle import mask_box


class DetectorTraining(StrictConfig):
    """A training run of the compact detector."""

    output: str
    data: str = "data"  # for ${data} in the paths of the sources
    drawn: str = "data/drawn"  # likewise: scenes made by scripts/draw_scenes.py
    sources: tuple[Source, ...]
    scenes: SceneSettings = SceneSettings()
    steps: int = 4000
    steps_per_epoch: int = 250
    batch_size: int = 6
    learning_rate: float = 6e-4
    backbone_learning_rate: float = 2e-4
    warmup_steps: int = 150
    weight_decay: float = 0.02
    clip: float = 5.0
    ema: float = 0.998
    validate_every: int = 4  # epochs
    workers: int = 1
    precision: Literal["auto", "float32", "bf16"] = "auto"
    short_side: int = 320
    long_side: int = 480
    score_threshold: float = 0.8
    seed: int = 0


class _Scenes(Dataset):
    """One epoch of examples: each is a function of (seed, epoch, index) alone, so a resumed run sees the same."""

    def __init__(self, maker: SceneMaker, config: DetectorTraining, epoch: int):
        self.maker, self.config, self.epoch = maker, config, epoch

    def __len__(self) -> int:
        return self.config.steps_per_epoch * self.config.batch_size

    def __getitem__(self, index: int) -> dict:
        # One size a batch: no pixel is spent on padding.
        batch_rng = np.random.default_rng((self.config.seed, self.epoch, index // self.config.batch_size))
        size = self.config.scenes.sizes[int(batch_rng.integers(len(self.config.scenes.sizes)))]
        rng = np.random.default_rng((self.config.seed, self.epoch, index, 1))
        image, masks = self.maker.make(tuple(size), rng)
        return {"image": torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))), "masks": masks}


def _instances(masks: np.ndarray) -> Instances:
    instances = Instances(masks.shape[1:])
    boxes = [mask_box(mask) for mask in masks]
    instances.gt_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    instances.gt_classes = torch.zeros(len(masks), dtype=torch.long)
    instances.gt_masks = BitMasks(torch.from_numpy(masks))
    return instances


class _Module(pl.LightningModule):
    def __init__(self, config: DetectorTraining, maker: SceneMaker, held_out: dict[str, list[Record]]):
        super().__init__()
        self.config, self.maker, self.held_out = config, maker, held_out
        self.model = build_model(compact_config(imagenet=True)).to(memory_format=torch.channels_last)
        keep_depthwise_float32(self.model)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(
            _Scenes(self.maker, self.config, self.current_epoch),
            batch_size=self.config.batch_size,
            num_workers=self.config.workers,
            collate_fn=list,
            prefetch_factor=4 if self.config.workers else None,
        )

    def val_dataloader(self) -> DataLoader:
        # Lightning wants one; the photos of all sizes are read by evaluate_detector itself.
        return DataLoader([0])

    def training_step(self, batch: list[dict], _index: int):
        inputs = [{"image": one["image"], "instances": _instances(one["masks"])} for one in batch]
        with EventStorage(self.global_step):
            losses = self.model(inputs)
        total = sum(losses.values())
        for name, value in losses.items():
            self.log(f"train/{name}", value, batch_size=len(batch), on_step=True, on_epoch=False)
        self.log("train/loss", total, batch_size=len(batch), prog_bar=True, on_step=True, on_epoch=False)
        return total

    def validation_step(self, _batch, _index: int) -> None:
        detector = self.detector()
        for name, records in self.held_out.items():
            for figure, value in evaluate_detector(detector, records).items():
                self.log(f"{name}/{figure}", float(value), batch_size=1)

    def detector(self) -> Detector:
        """The model as it stands, as a detector."""
        config = self.config
        self.model.roi_heads.box_predictor.test_score_thresh = config.score_threshold
        settings = DetectorSettings(
            "compact",
            dict(enumerate(KINDS)),
            config.short_side,
            config.long_side,
            config.score_threshold,
            True,
            "training",
        )
        return Detector(self.model, settings)

    def configure_optimizers(self):
        config = self.config
        groups: dict[tuple[bool, bool], list] = {}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                groups.setdefault((".body." in name, parameter.ndim > 1), []).append(parameter)
        optimizer = torch.optim.AdamW(
            [
                {
                    "params": parameters,
                    "lr": config.backbone_learning_rate if body else config.learning_rate,
                    "weight_decay": config.weight_decay if decays else 0.0,
                }
                for (body, decays), parameters in groups.items()
            ]
        )

        def factor(step: int) -> float:
            if step < config.warmup_steps:
                return (step + 1) / config.warmup_steps
            done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
            return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def train_detector(config_path: str | Path, overrides: Sequence[str] = ()) -> Path:
    """Trains as the config says, continuing from the output folder's last checkpoint if there is one.

    The output folder gets config.yaml, split.json, csv and TensorBoard curves, checkpoints, compact.safetensors and
    metrics.json (figures on the held-out photos). Returns the path of the weights.
    """
    config = read_config(DetectorTraining, config_path, overrides)
    device = choose_device("auto")
    if device == "cpu":
        keep_freed_memory()
    pl.seed_everything(config.seed, verbose=False)
    train, held_out = _split(config)
    if not any(record.masks for record in train):
        raise UsageError("The training has no photo with a mask: name at least one source with annotations.")
    output = Path(config.output)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"The output folder '{output}' can't be written: {error.strerror}.") from error
    write_config(config, output / "config.yaml")
    names = {name: [Path(record.path).name for record in records] for name, records in held_out.items()}
    replace_file(output / "split.json", json.dumps({"held_out": names, "train": len(train)}, indent=1).encode())
    preload(train)
    module = _Module(config, SceneMaker(train, config.scenes), held_out)
    epochs = math.ceil(config.steps / config.steps_per_epoch)
    checkpoints = ModelCheckpoint(
        output / "checkpoints",
        filename="last",
        save_top_k=1,
        every_n_epochs=1,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    trainer = pl.Trainer(
        default_root_dir=output,
        max_epochs=epochs,
        precision="bf16-mixed" if use_bfloat16(config.precision, device) else "32-true",
        gradient_clip_val=config.clip,
        check_val_every_n_epoch=config.validate_every,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        log_every_n_steps=25,
        callbacks=[checkpoints, EMAWeightAveraging(decay=config.ema)],
        logger=[
            CSVLogger(output, name="", version="curves"),
            TensorBoardLogger(output, name="", version="tensorboard"),
        ],
        enable_model_summary=False,
    )
    last = output / "checkpoints" / "last.ckpt"
    trainer.fit(module, ckpt_path=str(last) if last.is_file() else None, weights_only=True)
    return _finish(module, output)


def evaluate_held_out(
    detector: Detector, config_path: str | Path, overrides: Sequence[str] = (), only: Sequence[str] | None = None
) -> dict[str, dict]:
    """Figures of a detector on the photos that the training of this config holds out, by source (`only` these)."""
    config = read_config(DetectorTraining, config_path, overrides)
    wanted = tuple(
        source for source in config.sources if source.validation > 0 and (only is None or source.name in only)
    )
    _, held_out = _split(config.model_copy(update={"sources": wanted}))
    return {name: evaluate_detector(detector, records) for name, records in held_out.items()}


def _finish(module: _Module, output: Path) -> Path:
    """Writes the weights and their figures on the held-out photos."""
    config = module.config
    details = {
        "short_side": config.short_side,
        "long_side": config.long_side,
        "score_threshold": config.score_threshold,
        "kinds": list(KINDS),
    }
    weights = output / "compact.safetensors"
    save_compact(module.model, weights, details)
    # From the file, so that the figures are those of the half-precision weights that ship.
    detector = load_detector("compact", device="cpu", weights=weights)
    figures = {name: evaluate_detector(detector, records) for name, records in module.held_out.items()}
    replace_file(output / "metrics.json", json.dumps(figures, indent=2).encode())
    return weights


def _split(config: DetectorTraining) -> tuple[list[Record], dict[str, list[Record]]]:
    """Training records, and the held-out ones by source."""
    train, held_out = [], {}
    for source in config.sources:
        kept, held = split_records(read_source(source), source.validation, config.seed)
        train += kept
        if held:
            held_out[source.name] = held
    return train, held_out
