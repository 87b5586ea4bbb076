"""The settings of a detector's training: what `carclf train-detector CONFIG` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, field_validator

from detection.common.errors import UsageError
from detection.common.places.address import scheme_of
from detection.detectors.trained import ModelChoice, Positive
from detection.masks.records import MaskSource
from detection.training.resume import CONFIG, check_same_settings, check_version
from detection.training.scenes.scene import SceneSettings

Part = Literal["backbone", "pyramid", "proposals", "boxes", "masks"]
PARTS: tuple[Part, ...] = ("backbone", "pyramid", "proposals", "boxes", "masks")
Rate = Annotated[float, Field(ge=0)]
# The compact model's sides and threshold; the sizes in `SceneSettings` are made for this short side.
COMPACT_SIDES, COMPACT_THRESHOLD = (320, 480), 0.8
ZOO_THRESHOLD = 0.5


class DetectorTraining(ModelChoice):
    """A training run of a detector.

    `init`, the weights to start from: imagenet (backbone only), bundled (the compact detector that comes with the
    package), zoo (the zoo model's own), random, or a .safetensors file.
    `kinds`: one (every mask is a car), categories (as the COCO files name them), or a mapping from their names to
    kinds, where null leaves a category out.
    `refit`: of sources with a split every part is fitted to, and nothing is held out. For weights that go out after
    the recipe was chosen by `choose` and measured on `report`; the figures stay those of the model before.
    `unfrozen` names the parts that learn. Model, sides, threshold and `detectron2` are those of `ModelChoice`.
    """

    output: str
    init: str = "imagenet"
    kinds: Literal["one", "categories"] | dict[str, str | None] = "one"
    refit: bool = False
    unfrozen: tuple[Part, ...] = PARTS
    data: str = "data"  # for ${data} in the paths of the sources
    drawn: str = "data/drawn"  # likewise: scenes made by scripts/draw_scenes.py
    pseudo: str = "data/pseudo"  # likewise: masks made by scripts/label_photos.py
    splits: str = "data/splits"  # likewise: lists of what is fitted to, chosen by and reported on
    photos: str = "photos"  # likewise: your own photos, and the COCO file of their masks
    masks: str = "photos/annotations.json"
    sources: tuple[MaskSource, ...]
    scenes: SceneSettings = SceneSettings()
    steps: Positive = 4000
    steps_per_epoch: Positive = 250
    batch_size: Positive = 6
    learning_rate: Rate = 6e-4
    backbone_learning_rate: Rate = 2e-4
    warmup_steps: Annotated[int, Field(ge=0)] = 150  # at most a fifth of the steps
    weight_decay: Rate = 0.02
    clip: float = 5.0
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.998  # at most 1 - 5 / steps, so that a short training counts
    validate_every: Positive = 4  # epochs
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 3.0  # at most this much work is lost by a kill
    workers: Annotated[int, Field(ge=0)] = 1
    device: str = "auto"
    precision: Literal["auto", "float32", "bf16"] = "auto"
    seed: int = 0

    @field_validator("output", "data", "drawn", "pseudo", "splits", "photos", "masks")
    @classmethod
    def _on_this_machine(cls, path: str) -> str:
        if scheme_of(path):
            raise ValueError("a training of a detector reads and writes folders of this machine: copy them there")
        return path

    @property
    def averaging(self) -> float:
        """The decay of the average of the weights."""
        return min(self.ema, max(0.0, 1 - 5 / self.steps))

    @property
    def warmup(self) -> int:
        return min(self.warmup_steps, self.steps // 5)


def resolve_sizes(config: DetectorTraining, sides: tuple[int, int], threshold: float) -> DetectorTraining:
    """The config with sides, threshold and example sizes filled in.

    sides: (short, long) of the model by itself. Where the config names no `scenes.sizes`, those of the compact model
    are scaled by the short side and rounded to multiples of 32.
    """
    short = config.short_side or sides[0]
    long = config.long_side or max(short, round(short * sides[1] / sides[0]))
    if long < short:
        raise UsageError(f"The setting 'long_side' ({long}) is smaller than 'short_side' ({short}): swap them.")
    scenes = config.scenes
    if "sizes" not in scenes.model_fields_set and short != COMPACT_SIDES[0]:
        scale = short / COMPACT_SIDES[0]
        sizes = [tuple(max(32, round(side * scale / 32) * 32) for side in size) for size in scenes.sizes]
        scenes = scenes.model_copy(update={"sizes": tuple(dict.fromkeys(sizes))})
    values = {
        "short_side": short,
        "long_side": long,
        "score_threshold": threshold if config.score_threshold is None else config.score_threshold,
        "scenes": scenes,
    }
    return config.model_copy(update=values)


# What may change between two starts of one training: where and how it is computed, and what only its result tells;
# anything else would make it another training.
MACHINE = {"output", "data", "drawn", "pseudo", "splits", "photos", "masks", "validate_every", "checkpoint_minutes",
           "workers", "device", "precision"}  # fmt: skip
CHANGEABLE = MACHINE | {"steps", "warmup_steps", "ema", "score_threshold", "learning_rate", "backbone_learning_rate",
                        "weight_decay", "clip"}  # fmt: skip


def check_same_training(run: Path, config: DetectorTraining) -> bool:
    """Whether a run, by the config that it holds, ends with the very result of this config.

    Raises `UsageError` when the run is not of this training.
    """
    check_version(run)
    try:
        saved = DetectorTraining.model_validate(yaml.safe_load((run / CONFIG).read_text(encoding="utf-8")))
    except (OSError, ValueError, yaml.YAMLError):
        return False  # the folder of an older version: its checkpoint still tells by its shapes
    now, before = config.model_dump(mode="json"), saved.model_dump(mode="json")
    for source in (*now["sources"], *before["sources"]):  # photos may move
        source |= {"images": None, "annotations": None, "split": None, "measure": None}
    check_same_settings(run, before, now, CHANGEABLE)
    return all(now[key] == before[key] for key in now if key not in MACHINE)
