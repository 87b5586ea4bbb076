"""Labelled crops as a torch dataset, and how they are varied in training."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from carclf.preprocessing import squash, stack
from detection.images import load_image

# Else importing it asks a server for newer versions.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations as A

Transform = Callable[[np.ndarray], np.ndarray]


class CropDataset(Dataset):
    """Items are (RGB uint8 SxSx3 array, class index)."""

    def __init__(self, table: pd.DataFrame, classes: Sequence[str], transform: Transform):
        """table: columns file and label, every label among `classes`."""
        index = {label: number for number, label in enumerate(classes)}
        self.files = table["file"].tolist()
        self.labels = [index[label] for label in table["label"]]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> tuple[np.ndarray, int]:
        return self.transform(load_image(self.files[number])), self.labels[number]


class Plain:
    """No variation: what prediction does."""

    def __init__(self, size: int):
        self.size = size

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return squash(image, self.size)


class Augmented:
    """Random variation of strength 0 (only mirrored) to 1."""

    def __init__(self, size: int, strength: float):
        # Squashed first, so that the aspect in training is the one in prediction; a little larger than needed, so
        # that cropping does not blur.
        self.canvas = round(size * 1.15)
        self.recipe = A.Compose(augmentations(size, strength))

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return self.recipe(image=squash(image, self.canvas))["image"]


def augmentations(size: int, strength: float) -> list[A.BasicTransform]:
    """The recipe; each line names the effect in real photos that it imitates."""
    s = strength
    return [
        A.RandomResizedCrop(  # boxes that are too tight or too wide, cars cut off by the border, other viewpoints
            (size, size),
            scale=(1 - 0.45 * s, 1.0),
            ratio=(1 - 0.2 * s, 1 + 0.25 * s),
            interpolation=cv2.INTER_LINEAR,
            area_for_downscale="image",
        ),
        A.HorizontalFlip(p=0.5),  # cars seen from the other side
        A.RandomBrightnessContrast(0.25 * s, 0.25 * s, p=0.6 if s else 0),  # exposure and weather
        A.HueSaturationValue(8 * s, 40 * s, 0, p=0.3 if s else 0),  # white balance and paint
        A.ToGray(p=0.1 * s),  # colour says nothing about the model
        A.GaussianBlur(blur_limit=(3, 5), p=0.08 * s),  # missed focus, small photos that were enlarged
    ]


def collate(items: Sequence[tuple[np.ndarray, int]]) -> tuple[Tensor, Tensor]:
    """A batch: uint8 [N, 3, S, S] (channels_last) and int64 [N]. Bytes, since they cross a process border."""
    images, labels = zip(*items, strict=True)
    return stack(images), torch.tensor(labels)


def make_loader(dataset: CropDataset, batch_size: int, workers: int, train: bool, seed: int = 0) -> DataLoader:
    """Shuffled and without a last, smaller batch when training (one photo alone would break BatchNorm)."""
    return DataLoader(
        dataset,
        batch_size=batch_size,
        shuffle=train,
        drop_last=train and len(dataset) > batch_size,
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
        collate_fn=collate,
        generator=torch.Generator().manual_seed(seed),
        worker_init_fn=_seed_worker if train else _quiet_worker,
        pin_memory=torch.cuda.is_available(),
    )


def _quiet_worker(number: int) -> None:
    cv2.setNumThreads(0)  # the cores belong to the model


def _seed_worker(number: int) -> None:
    """Gives each process its own, reproducible stream of random numbers, other in every epoch."""
    _quiet_worker(number)
    info = torch.utils.data.get_worker_info()
    transform = info.dataset.transform
    if isinstance(transform, Augmented):
        transform.recipe.set_random_seed(info.seed % 2**32)
