"""Photos to train on that lie in a place elsewhere: their copies here, and what each process must know of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pandas as pd

from carclf.datasets import photo_root
from carclf.runs.recipe import TrainConfig
from carclf.training.distributed import is_first, on_first
from detection.common.errors import UsageError
from detection.common.files import cache_folder
from detection.common.places.kept import photos_kept, size_of_copy
from detection.common.places.paths import path_of
from detection.common.places.place import Place
from detection.common.places.store import Entry


@contextmanager
def copies_kept(config: TrainConfig) -> Iterator[None]:
    """Meanwhile each photo of a place is fetched once by all processes of this machine, as far as `cache_size` goes."""
    with photos_kept(cache_folder() / "photos", config.cache_size):
        yield


def check_cache(config: TrainConfig, table: pd.DataFrame) -> None:
    """Raises `UsageError` where the copies of a batch find no room, so that none would be there when it is wanted."""
    batch = max(stage.at_once for stage in config.stages)
    sizes = sorted((size_of_copy(entry.size) for _, entry in _entries(table["file"].tolist())), reverse=True)
    needed = sum(sizes[:batch])
    if needed > config.cache_size:
        raise UsageError(
            f"cache_size={config.cache_size} is smaller than a batch of {batch} photos, which may have {needed} bytes: "
            f"set cache_size={needed} or more, best the size of all photos ({sum(sizes)})."
        )


def share_entries(config: TrainConfig, table: pd.DataFrame) -> None:
    """What the first process has learnt of the photos by listing their place, the others need not ask for."""
    known = on_first(_entries, table["file"].tolist())
    if known and not is_first():
        photo_root(config.data, config.images)  # with what opens it, which no file's name says
        for file, entry in known:
            path = path_of(file)
            if isinstance(path, Place):
                path.store.note(entry)


def _entries(files: Sequence[str]) -> list[tuple[str, Entry]]:
    """Of the photos in places."""
    found = []
    for file in files:
        path = path_of(file)
        stamp = path.stamp() if isinstance(path, Place) else None
        if isinstance(path, Place) and stamp is not None:
            found.append((file, Entry(path.key, *stamp)))
    return found
