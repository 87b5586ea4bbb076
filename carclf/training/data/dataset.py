"""Labelled crops as a torch dataset, and the order in which training sees them."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import cv2
import numpy as np
import pandas as pd
import torch
import torch.distributed
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from carclf.classifier.preprocessing import stack
from carclf.datasets.content import OWN
from detection.common.places.ahead import fetched_ahead
from detection.common.places.paths import path_of
from detection.common.places.store import Keeper, Store
from detection.images.read import ImageError, load_image
from detection.training.readers import Packed, ignore_interrupts, possible_workers

Transform = Callable[[np.ndarray, int], np.ndarray]


class CropDataset(Dataset):
    """Items are (RGB uint8 HxWx3 array, class index).

    An item is asked for by its number, or by (epoch, number) in training: what is random about it depends on nothing
    else, so a run that was killed sees the same pictures when it is resumed, with however many worker processes.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        classes: Sequence[str],
        transform: Transform,
        seed: int = 0,
        variants: Mapping[str, float] | None = None,
    ):
        """table: columns file and label, every label among `classes`.

        variants: columns of the table that hold the same crops otherwise (on other backgrounds), and how often each is
        taken instead of `file`.
        """
        index = {label: number for number, label in enumerate(classes)}
        columns = variants or {"file": 1.0}
        self.files = [table[column].tolist() for column in columns]
        self.shares = np.cumsum(list(columns.values())) / sum(columns.values())
        self.labels = [index[label] for label in table["label"]]
        # What the photos must be, as any place may have another one by the next epoch.
        known = OWN in table and variants is None
        self.digests = table[OWN].tolist() if known else [""] * len(table)
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, key: int | tuple[int, int]) -> tuple[np.ndarray, int]:
        epoch, number = _split(key)
        file = self._file(epoch, number)
        try:
            image = load_image(file, digest=self.digests[number])
        except ImageError as error:  # it was whole when the training began
            raise ImageError(f"The training can't read the photo '{file}' any more: {error}") from None
        return self.transform(image, mixed_seed(self.seed, epoch, number)), self.labels[number]

    def __getitems__(self, keys: Sequence[int | tuple[int, int]]) -> list[tuple[np.ndarray, int]]:
        """A batch, for torch's loader: photos that lie far away are fetched side by side."""
        return [self[key] for key in fetched_ahead(keys, lambda key: path_of(self._file(*_split(key))))]

    def _file(self, epoch: int, number: int) -> str:
        column = 0
        if len(self.files) > 1:
            chance = np.random.default_rng(mixed_seed(self.seed, epoch, number)).random()
            column = int(np.searchsorted(self.shares, chance, side="right"))
        return self.files[column][number]


def _split(key: int | tuple[int, int]) -> tuple[int, int]:
    return key if isinstance(key, tuple) else (0, key)


class TrainOrder(Sampler):
    """(epoch, number) of the photos in the order of an epoch; each process of a distributed run gets its part.

    Without weights each photo comes once per epoch. With weights (float [N]), of an epoch's `drawn` photos (N if None)
    each comes as often as its share of them says, give or take one; with labels (int [N]) so does each class.
    With groups (int [N]) two photos of one group come next to each other, as far as there are two left, and go to the
    same process. The order depends on the seed and the epoch only. Lightning calls `set_epoch`.
    """

    def __init__(
        self,
        count: int,
        seed: int = 0,
        weights: np.ndarray | None = None,
        labels: Sequence[int] | None = None,
        drawn: int | None = None,
        groups: np.ndarray | None = None,
    ):
        self.groups = groups
        self.count, self.seed, self.weights = count, seed, weights
        self.labels = None if labels is None else np.asarray(labels)
        self.drawn = count if drawn is None or weights is None else drawn
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        random = np.random.default_rng(mixed_seed(self.seed, self.epoch, 0))
        order = random.permutation(self.count)
        if self.weights is not None:
            order = self._by_weight(order, random)
        rank, world = _place()
        if self.groups is not None:
            order = _paired(order, self.groups, random)
            if world > 1:  # so that the shares below take whole pairs
                order = order[: len(order) // (2 * world) * 2 * world].reshape(-1, world, 2).swapaxes(1, 2).ravel()
        # The same number for each process, or one would wait for ever for gradients that never come.
        return iter([(self.epoch, int(number)) for number in order[rank : len(self) * world : world]])

    def __len__(self) -> int:
        world = _place()[1]
        return self.drawn // world if self.groups is None or world == 1 else self.drawn // (2 * world) * 2

    def _by_weight(self, order: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Systematic sampling: photos lie on a line, each as long as its weight, and equal steps go along it. Drawing
        each photo by chance would leave more than a third of them out of an epoch."""
        assert self.weights is not None
        if self.labels is not None:
            order = order[np.argsort(self.labels[order], kind="stable")]
        ends = np.cumsum(self.weights[order])
        steps = (random.random() + np.arange(self.drawn)) * (ends[-1] / self.drawn)
        taken = np.minimum(np.searchsorted(ends, steps, side="right"), self.count - 1)  # beyond the end by rounding
        return random.permutation(order[taken])


def _paired(order: np.ndarray, groups: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """An order of photos in which two of one group follow each other. What is left over of each group comes in between,
    in twos as well; of an odd number the last one ends the order."""
    by_group = order[np.argsort(groups[order], kind="stable")]
    starts = np.flatnonzero(np.r_[True, np.diff(groups[by_group]) != 0])
    within = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    sizes = np.repeat(np.diff(np.r_[starts, len(order)]), np.diff(np.r_[starts, len(order)]))
    left = (sizes % 2 == 1) & (within == sizes - 1)
    rest = random.permutation(by_group[left])
    pairs = np.concatenate([by_group[~left], rest[: len(rest) // 2 * 2]]).reshape(-1, 2)
    return np.concatenate([random.permutation(pairs).ravel(), rest[len(rest) // 2 * 2 :]])


def _place() -> tuple[int, int]:
    """Rank and number of the processes that train together."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def mixed_seed(*numbers: int) -> int:
    """One seed, 32 bits, of several numbers: neighbours give unrelated ones.

    >>> mixed_seed(1, 0, 5) == mixed_seed(1, 0, 5), mixed_seed(1, 0, 5) == mixed_seed(1, 5, 0)
    (True, False)
    """
    return zlib.crc32(np.array(numbers, np.int64).tobytes())


def balancing_weights(labels: Sequence[int], classes: int) -> np.ndarray:
    """For each class, float [C]: the inverse of its count, scaled to a mean of 1 over the photos; 0 without photos."""
    counts = np.bincount(labels, minlength=classes)
    present = int((counts > 0).sum())
    return np.divide(len(labels) / present, counts, out=np.zeros(classes), where=counts > 0)


def collate(items: Sequence[tuple[np.ndarray | Tensor, int]]) -> tuple[Tensor, Tensor]:
    """A batch: uint8 [N, 3, H, W] (channels_last) and int64 [N]. Bytes, since they cross a process border.

    Features, float [F], become [N, F].
    """
    images, labels = zip(*items, strict=True)
    return torch.stack(images) if isinstance(images[0], Tensor) else stack(images), torch.tensor(labels)


def make_loader(dataset: Dataset, batch_size: int, workers: int, order: TrainOrder | None = None) -> DataLoader:
    """For validation as the dataset stands; for training in an order, without a last, smaller batch (one photo alone
    would break BatchNorm)."""
    workers = possible_workers(workers)
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=order,
        drop_last=order is not None and len(order) > batch_size,
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
        collate_fn=Packed(collate),
        worker_init_fn=partial(_start_worker, Store.keeper),
        pin_memory=torch.cuda.is_available(),
    )


def _start_worker(keeper: Keeper | None, number: int) -> None:
    Store.keeper = keeper  # a process that was not forked off knows none
    cv2.setNumThreads(0)  # the cores belong to the model
    ignore_interrupts(number)
