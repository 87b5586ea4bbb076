"""One contestant of training_speed.py in a process of its own: answers each line on stdin with an epoch's figures."""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path

# contestant: share of the blocks that is trained, and strength of the augmentation
STAGES = {"all": ("all", 1.0), "half": ("half", 1.0), "head": ("head", 1.0), "cached": ("head", 0.0)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contestant", choices=[*STAGES, "plain", "timm"])
    parser.add_argument("photos", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--precision", required=True)
    parser.add_argument("--device", required=True)
    arguments = parser.parse_args()
    # What is printed goes to stderr; stdout belongs to the figures.
    answers, sys.stdout = sys.stdout, sys.stderr
    (_ours if arguments.contestant in STAGES else _plain)(arguments, _Gate(answers))


class _Gate:
    """Lets one epoch pass for each line on stdin. The first one, which loads and warms up, needs no line."""

    def __init__(self, answers):
        self.answers = answers
        self.figures: dict | None = None
        self.extra: dict = {}

    def wait(self) -> None:
        if self.figures is not None:
            print(json.dumps(self.figures | self.extra), file=self.answers, flush=True)
            if not sys.stdin.readline():
                raise SystemExit(0)
        self.start = time.perf_counter()

    def passed(self, photos: int) -> None:
        import torch

        gpu = 0.0
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            gpu = torch.cuda.max_memory_allocated() / 2**20
        seconds = time.perf_counter() - self.start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
        self.figures = {"photos": photos, "seconds": seconds, "peak_mib": peak, "gpu_mib": gpu}


def _config(arguments: argparse.Namespace):
    """A config of `carclf train` with its defaults; a stage lasts until nobody asks for another epoch."""
    from carclf.runs.recipe import TrainConfig

    train, augmentation = STAGES.get(arguments.contestant, STAGES["all"])
    stage = {
        "name": arguments.contestant, "train": train, "augmentation": augmentation, "epochs": 1_000_000,
        "image_size": arguments.size, "batch_size": arguments.batch, "schedule": "constant",
    }  # fmt: skip
    return TrainConfig.model_validate({
        "data": arguments.photos, "crops": True, "output": arguments.output, "stages": [stage],
        "model": {"architecture": arguments.model, "pretrained": "none", "image_size": arguments.size},
        "workers": arguments.workers, "precision": arguments.precision, "device": arguments.device, "progress": False,
    })  # fmt: skip


def _ours(arguments: argparse.Namespace, gate: _Gate) -> None:
    """`train` as the command runs it, with one callback more."""
    config = _config(arguments)
    import pytorch_lightning as pl

    from carclf.training import stage as stage_run
    from carclf.training.loop import train

    class Timed(pl.Callback):
        def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
            gate.wait()

        def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
            gate.passed(trainer.num_training_batches * arguments.batch)

    class Trainer(pl.Trainer):
        def __init__(self, *values, callbacks, **named):
            super().__init__(*values, callbacks=[*callbacks, Timed()], **named)

    cache_features = stage_run.cache_features

    def timed(*values, **named):
        start = time.perf_counter()
        result = cache_features(*values, **named)
        gate.extra = {"before": time.perf_counter() - start, "cached": result[0] is not values[0]}
        return result

    pl.Trainer, stage_run.cache_features = Trainer, timed
    train(config)


def _plain(arguments: argparse.Namespace, gate: _Gate) -> None:
    config = _config(arguments)
    import timm
    import torch

    from benchmarks.plain_loop import make_epoch, make_loader
    from carclf.training.start import build_model, mean_and_std
    from detection.common.networks.device import choose_device, use_bfloat16

    device = torch.device(choose_device(config.device))
    mean, std = mean_and_std(arguments.model)
    loader = make_loader(
        arguments.photos, arguments.size, arguments.batch, arguments.workers, device, config.augmentation, mean, std
    )
    classes = len(loader.dataset.reader.class_to_idx)
    if arguments.contestant == "timm":
        net = timm.create_model(arguments.model, num_classes=classes, drop_rate=config.model.head.dropout)
    else:
        net = build_model(config.model, classes)
    epoch = make_epoch(
        net, loader, device, bf16=use_bfloat16(config.precision, str(device)), rate=config.stages[0].learning_rate,
        decay=config.weight_decay, smoothing=config.label_smoothing, clip=config.gradient_clip,
    )  # fmt: skip
    while True:
        gate.wait()
        gate.passed(epoch())


if __name__ == "__main__":
    main()
