"""The photos of a training: read, checked, split, and served as examples in an order that a resumed run repeats."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, TensorDataset

from detection.common.console import say
from detection.common.errors import UsageError
from detection.common.machine import usable_cores
from detection.masks.parts import CHOOSE, FIT, part_of, read_parts
from detection.masks.records import MaskRecord, MaskSource, photo_size, read_source, split_records
from detection.training.config import DetectorTraining
from detection.training.readers import Packed, ignore_interrupts, possible_workers
from detection.training.scenes.scene import SceneMaker


def read_records(
    config: DetectorTraining, part: str = CHOOSE
) -> tuple[tuple[str, ...], list[MaskRecord], dict[str, list[MaskRecord]]]:
    """The kinds of vehicle, the training records, and the held-out ones by source; categories are kinds already.

    part: of sources with a split, which of its parts is held out; the others are in neither but `fit`.
    """
    train: list[MaskRecord] = []
    held_out: dict[str, list[MaskRecord]] = {}
    for source in config.sources:
        if config.refit and source.split is not None:
            source = source.model_copy(update={"split": None})
        kept, held = _split(source, config.seed, part)
        train += kept
        if held:
            held_out[source.name] = held
    everything = [train, *held_out.values()]
    names = sorted({name for records in everything for record in records for name in record.categories})
    mapping = _mapping(config, names)
    kinds = tuple(dict.fromkeys(kind for kind in mapping.values() if kind is not None))
    if not kinds:
        raise UsageError("The setting 'kinds' leaves no kind to learn: map at least one category to a kind.")
    train = [_renamed(record, mapping) for record in train]
    return kinds, train, {name: [_renamed(record, mapping) for record in records] for name, records in held_out.items()}


def _split(source: MaskSource, seed: int, part: str) -> tuple[list[MaskRecord], list[MaskRecord]]:
    """The records to train on, and those to measure on."""
    if source.optional and not Path(source.annotations or "").exists():
        say(f"'{source.name}' is left out: there is no '{source.annotations}'.")
        return [], []
    records = read_source(source)
    if source.split is None:
        return split_records(records, source.validation, seed)
    parts = read_parts(source.split)
    placed = [(record, part_of(record.path, parts)) for record in records]
    held = [record for record, its in placed if its == part] if source.measure else []
    return [record for record, its in placed if its == FIT], held


def _mapping(config: DetectorTraining, names: Sequence[str]) -> dict[str, str | None]:
    """From the categories' names to kinds; masks of sources without categories go by the name car."""
    if config.kinds == "one":
        return dict.fromkeys([*names, "car"], "car")
    if config.kinds == "categories":
        return {name: name for name in names or ["car"]}
    unknown = [name for name in names if name not in config.kinds]
    if unknown:
        raise UsageError(
            f"The masks' category '{unknown[0]}' is not in the setting 'kinds': add '{unknown[0]}: KIND', or"
            f" '{unknown[0]}: null' to leave it out."
        )
    return dict(config.kinds)


def _renamed(record: MaskRecord, mapping: dict[str, str | None]) -> MaskRecord:
    names = record.categories or ("car",) * len(record.masks)
    drawn = record.drawn or (True,) * len(names)
    kept = [
        (mask, kind, real)
        for mask, name, real in zip(record.masks, names, drawn, strict=True)
        if (kind := mapping.get(name, name))
    ]
    masks, kinds, real = zip(*kept, strict=True) if kept else ((), (), ())
    return replace(record, masks=masks, categories=kinds, drawn=() if all(real) else real)


def check_records(records: Sequence[MaskRecord]) -> None:
    """Raises `UsageError` where masks were not drawn on the photo as it is shown; reads the photos' headers only."""
    for record in records:
        if not record.masks:
            continue
        height, width = photo_size(record.source, record.path)
        stated = record.size[1] / record.size[0]
        # An export at another size is fine; one of other proportions is not.
        if abs(width / height / stated - 1) > 0.02:
            raise UsageError(
                f"The masks of '{Path(record.path).name}' were drawn on {record.size[1]}x{record.size[0]} pixels, but"
                f" the photo is {width}x{height}, turned as its EXIF says: export the masks again from this photo."
            )


def check_held_out(records: Sequence[MaskRecord]) -> None:
    """Raises `UsageError` for a photo that can't be decoded: the first measurement would end a training of hours.

    The photos to train on are decoded before the first step, too, as many as memory holds (`PhotoStore`).
    """
    with ThreadPoolExecutor(usable_cores()) as threads:
        for _ in threads.map(_decode, records):
            pass


def _decode(record: MaskRecord) -> None:
    record.image(64)  # a JPEG is decoded at reduced size, which shows damage all the same


def records_digest(records: Sequence[MaskRecord]) -> str:
    """Changes when photos or masks are added, taken away or drawn anew."""
    digest = hashlib.sha256()
    for record in records:
        counts = [mask["counts"] for mask in record.masks]
        about = record.source, Path(record.path).name, counts, record.categories
        digest.update(repr((*about, record.drawn) if record.drawn else about).encode())
    return digest.hexdigest()[:16]


class DetectorData(pl.LightningDataModule):
    """Examples for training, and the held-out records for the figures."""

    def __init__(
        self, config: DetectorTraining, train: Sequence[MaskRecord], held_out: dict[str, list[MaskRecord]], kinds
    ):
        super().__init__()
        self.config, self.held_out, self.kinds = config, held_out, tuple(kinds)
        self.maker = SceneMaker(train, config.scenes)
        self.maker.store.preload(train)

    def train_dataloader(self) -> DataLoader:
        """What is left of this epoch: Lightning counts on from the checkpoint's step, and so do the examples."""
        config = self.config
        assert self.trainer is not None  # it is what asks for the loader
        epoch, done = divmod(self.trainer.global_step, config.steps_per_epoch)
        batches = min(config.steps_per_epoch, config.steps - epoch * config.steps_per_epoch)
        workers = possible_workers(config.workers)
        return DataLoader(
            _Examples(self.maker, config, epoch, self.kinds),
            batch_sampler=_RemainingBatches(batches, config.batch_size, done),
            num_workers=workers,
            collate_fn=Packed(list),
            prefetch_factor=4 if workers else None,
            worker_init_fn=ignore_interrupts,
        )

    def val_dataloader(self) -> DataLoader:
        # Lightning wants one; the photos of all sizes are read by evaluate_detector itself.
        return DataLoader(TensorDataset(torch.zeros(1)))


class _RemainingBatches(Sampler):
    """Batches of indices of one epoch from batch `first` on; its length is still that of the whole epoch."""

    def __init__(self, batches: int, size: int, first: int):
        self.batches, self.size, self.first = batches, size, first

    def __iter__(self) -> Iterator[list[int]]:
        for batch in range(self.first, self.batches):
            yield list(range(batch * self.size, (batch + 1) * self.size))

    def __len__(self) -> int:
        return self.batches


class _Examples(Dataset):
    """One epoch of examples: each is a function of (seed, epoch, index) alone, so a resumed run sees the same."""

    def __init__(self, maker: SceneMaker, config: DetectorTraining, epoch: int, kinds: tuple[str, ...]):
        self.maker, self.config, self.epoch, self.kinds = maker, config, epoch, kinds

    def __len__(self) -> int:
        return self.config.steps_per_epoch * self.config.batch_size

    def __getitem__(self, index: int) -> dict:
        # One size per batch: no pixel is spent on padding.
        batch_rng = np.random.default_rng((self.config.seed, self.epoch, index // self.config.batch_size))
        size = self.config.scenes.sizes[int(batch_rng.integers(len(self.config.scenes.sizes)))]
        rng = np.random.default_rng((self.config.seed, self.epoch, index, 1))
        scene = self.maker.make(size, rng)
        classes = [self.kinds.index(kind) for kind in scene.categories]
        return {
            "image": torch.from_numpy(np.ascontiguousarray(scene.image.transpose(2, 0, 1))),
            "masks": scene.masks,
            "classes": torch.tensor(classes, dtype=torch.long),
            "drawn": torch.from_numpy(scene.drawn),
        }
