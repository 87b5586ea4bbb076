"""A recipe tried out in seconds: all of its stages, on a few drawn photos, at small sizes, without network."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import timm
import torch

from carclf.classifier.info import LEAST, Size, pair
from carclf.classifier.network import SHARES
from carclf.runs.recipe import Stage, TrainConfig
from detection.common.console import say
from detection.common.errors import UsageError
from detection.images.write import save_image

TINTS = {"red": (127, 0, 0), "green": (0, 127, 0), "blue": (0, 0, 127)}  # one per class
EACH, VALIDATION = 6, 1 / 3  # 12 photos to train, 6 to validate
BATCH = 4
SMALLEST = 96  # pixels of the shorter side of the smallest stage: few architectures need more


def try_recipe(config: TrainConfig) -> str:
    """Trains the recipe with `smoke_config`, and says in a sentence what ran. Raises what the training raises.

    The run is thrown away, unless the config names an output.
    """
    from carclf.training.loop import train

    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="carclf-smoke-") as folder:
        small = smoke_config(config, Path(folder))
        draw_photos(small.data)
        train(small)
    stages = ", ".join(stage.name for stage in small.stages)
    return (
        f"{config.name} runs: {len(small.stages)} stages ({stages}) of {small.model.architecture} "
        f"on drawn photos in {time.perf_counter() - started:.0f} s"
    )


def smoke_config(config: TrainConfig, folder: Path) -> TrainConfig:
    """The recipe, shortened: one epoch per stage, three steps each, small images, weights by
    chance, and its photos in `folder`/photos, as `draw_photos` writes them.

    What is trained, how, in which order and with which head stays, and so do the proportions of the sizes. Stage 1 has
    no part in it: the photos are taken as crops.
    """
    sizes = _small_sizes(config)
    stages = [_smoke_stage(stage, sizes, config) for stage in config.stages]
    model = config.model.model_copy(
        update={"pretrained": "none", "image_size": sizes[pair(config.model.image_size)]},
    )
    changes: dict[str, Any] = {
        "data": folder / "photos",
        "images": None,
        "crops": True,
        "crops_dir": None,
        "backgrounds": {},
        "output": config.output or folder / "run",
        "resume": False,
        "init": None,
        "teachers": (),
        "difficulty": None,
        "extra": None,
        "validation": VALIDATION,
        "report": 0.0,
        "split": None,
        "corrections": None,
        "workers": 0,
        "progress": False,
        "devices": 1,
        "nodes": 1,
        "tensorboard": False,
        "mlflow": None,
        "model": model,
        "stages": stages,
    }
    return TrainConfig.model_validate(dict(config) | changes)


def draw_photos(folder: Path) -> None:
    """Coloured clouds, 96x128, with a tint for each class: folder/<class>/<number>.jpg."""
    for name, tint in TINTS.items():
        (folder / name).mkdir(parents=True)
        for number in range(EACH):
            random = np.random.default_rng([*tint, number])
            clouds = random.integers(0, 128, (9, 12, 3), dtype=np.uint8) + np.array(tint, np.uint8)
            save_image(folder / name / f"{number}.jpg", cv2.resize(clouds, (128, 96), interpolation=cv2.INTER_LINEAR))


def _smoke_stage(stage: Stage, sizes: dict[Size, Size], config: TrainConfig) -> Stage:
    changes = {"epochs": 1, "image_size": sizes[pair(stage.image_size)], "batch_size": BATCH, "step_epochs": 1}
    changes["micro_batch"] = None if stage.micro_batch is None else BATCH // 2
    if stage.train not in SHARES and not _has_module(config, stage.train):
        say(f"{config.model.architecture} has no '{stage.train}': stage '{stage.name}' trains half of it instead")
        changes["train"] = "half"
    return stage.model_copy(update=changes)


def _small_sizes(config: TrainConfig) -> dict[Size, Size]:
    """The small size for each (height, width) of the recipe; transformers of one size only get that one."""
    wanted = [pair(size) for size in (config.model.image_size, *(stage.image_size for stage in config.stages))]
    known = timm.get_pretrained_cfg(config.model.architecture, allow_unregistered=True)
    if known is not None and known.fixed_input_size:
        _, height, width = known.input_size
        return dict.fromkeys(wanted, (height, width))
    scale = min(1.0, SMALLEST / min(min(size) for size in wanted))

    def small(side: int) -> int:
        return max(LEAST, round(side * scale / LEAST) * LEAST)

    return {size: (small(size[0]), small(size[1])) for size in wanted}


def _has_module(config: TrainConfig, name: str) -> bool:
    from carclf.classifier.network import CarNet

    with torch.device("meta"):  # shapes without numbers
        net = CarNet(config.model.architecture, config.model.head, len(TINTS))
    try:
        net.freeze(name)
    except UsageError:
        return False
    return True
