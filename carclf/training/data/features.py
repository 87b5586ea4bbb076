"""A head's stage on features: where nothing about its photos varies, the frozen backbone sees each of them once."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from carclf.classifier.info import LEAST, ModelInfo
from carclf.classifier.network import CarNet
from carclf.classifier.preprocessing import normalise
from carclf.runs.recipe import Stage, TrainConfig
from carclf.training.data.augmentation import Augmented, Plain
from carclf.training.data.dataset import CropDataset, Transform, make_loader, mixed_seed
from carclf.training.distributed import say_once
from detection.common.console import photo_bar
from detection.common.networks.device import use_bfloat16
from detection.training.readers import reader_deaths_told

_BATCH = 64


class HeadNet(CarNet):
    """Features, float [N, F], to logits [N, classes]: the head that it shares with a whole network, and nothing else.

    Without the backbone, checkpoints and an average of the weights are as small as what the stage changes.
    """

    def __init__(self, net: CarNet):
        nn.Module.__init__(self)
        self.backbone = nn.Identity()
        self.head = net.head
        self.blocks: list[list[str]] = []
        self.first_trained = 0
        self._held: list[nn.Module] = []


class FeatureDataset(Dataset):
    """What the backbone made of the photos of a `CropDataset`, asked for in the same way.

    Items are (float [F], class index).
    """

    def __init__(self, features: Tensor, dataset: CropDataset, mirrors: Callable[[int], bool]):
        """features: [views, photos, F]; the second view, where there is one, is of the mirrored photos."""
        self.features = features
        self.labels = dataset.labels
        self.seed = dataset.seed
        self.mirrors = mirrors

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, key: int | tuple[int, int]) -> tuple[Tensor, int]:
        epoch, number = key if isinstance(key, tuple) else (0, key)
        view = len(self.features) > 1 and self.mirrors(mixed_seed(self.seed, epoch, number))
        return self.features[int(view), number], self.labels[number]


def inputs_vary(net: CarNet, stage: Stage, config: TrainConfig) -> bool:
    """Whether the head gets something else of a photo in each epoch; a mirrored photo is not something else.

    A teacher has to see the photo too.
    """
    trained = any(parameter.requires_grad for parameter in net.backbone.parameters())
    return trained or stage.augmentation > 0 or stage.mixes or len(config.backgrounds) > 1 or bool(config.teachers)


def cache_features(
    net: CarNet,
    stage: Stage,
    config: TrainConfig,
    info: ModelInfo,
    sets: tuple[CropDataset, CropDataset],
    device: str,
) -> tuple[CarNet, tuple[Dataset, Dataset], int]:
    """What to train, on which data (to train and to validate), with how many worker processes.

    That is the network and the sets as they are given, unless the backbone can do its part beforehand. Then it is the
    head, which `net` shares, and features in memory: for each photo one vector, or two when half of them are mirrored.
    Of several processes each keeps the features of all photos to train on.
    """
    augmented = Augmented(LEAST, stage.augmentation, config.augmentation)
    views = 2 if config.augmentation.mirror else 1
    if inputs_vary(net, stage, config) or stage.epochs < views:
        return net, sets, config.workers
    start = time.time()
    bf16 = use_bfloat16(config.precision, device)
    cached = []
    coins: tuple[Transform, Transform] = (augmented, Plain(LEAST))
    for dataset, coin in zip(sets, coins, strict=True):
        seeds = _seeds(coin)
        with photo_bar("features", len(dataset) * len(seeds)) if config.progress else nullcontext(int) as advance:
            features = [_features(net, _fixed(dataset, seed), info, config.workers, device, bf16, advance)
                        for seed in seeds]  # fmt: skip
        cached.append(FeatureDataset(torch.stack(features), dataset, _Mirrors(coin)))
    say_once(f"its photos do not vary: the backbone computed features of {len(sets[0])} + {len(sets[1])} photos once, "
             f"in {time.time() - start:.0f} s, and the head trains on these")  # fmt: skip
    return HeadNet(net).train(net.training), (cached[0], cached[1]), 0


class _Mirrors:
    """Whether a transform mirrors under a seed: asked of the transform itself, with a picture that is half white."""

    def __init__(self, coin: Transform):
        self.coin = coin
        self.picture = np.zeros((2, 2, 3), np.uint8)
        self.picture[:, 1] = 255

    def __call__(self, seed: int) -> bool:
        return bool(self.coin(self.picture, seed)[0, 0, 0] > 127)


class _Fixed:
    """A transform that always gets the same seed."""

    def __init__(self, transform: Transform, seed: int):
        self.transform, self.seed = transform, seed

    def __call__(self, image: np.ndarray, seed: int) -> np.ndarray:
        return self.transform(image, self.seed)


def _seeds(coin: Transform) -> list[int]:
    """A seed under which the transform leaves photos as they are, and one under which it mirrors them, if any does."""
    first: dict[bool, int] = {}
    mirrors = _Mirrors(coin)
    for seed in range(64):  # each time one half: none of 64 happens never
        first.setdefault(mirrors(seed), seed)
    return [first[view] for view in sorted(first)]


def _fixed(dataset: CropDataset, seed: int) -> CropDataset:
    dataset = copy.copy(dataset)
    dataset.transform = _Fixed(dataset.transform, seed)
    return dataset


def _features(
    net: CarNet, dataset: CropDataset, info: ModelInfo, workers: int, device: str, bf16: bool, advance: Callable
) -> Tensor:
    """[photos, F] on the CPU, as the backbone gives them in validation (bfloat16 or float32)."""
    training = net.training
    net.eval().to(device)
    found = []
    with reader_deaths_told():
        for images, _ in make_loader(dataset, _BATCH, workers):
            with torch.inference_mode(), torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bf16):
                batch = normalise(images.to(device), info.mean, info.std).contiguous(memory_format=torch.channels_last)
                found.append(_computed(net, batch).cpu())
            for _ in images:
                advance()
    net.train(training).cpu()
    return torch.cat(found)


def _computed(net: CarNet, batch: Tensor) -> Tensor:
    """Features of a batch, in halves where it does not fit into memory."""
    try:
        return net.backbone(batch)
    except torch.OutOfMemoryError:
        if len(batch) == 1:
            raise
    return torch.cat([_computed(net, half) for half in batch.chunk(2)])
