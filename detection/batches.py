"""Calling a model on a batch so that one bad picture costs one result and not the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def try_batch(function: Callable[[list[np.ndarray]], Sequence[Any]], images: list[np.ndarray]) -> list[Any]:
    """One result an image: of the whole batch, or one by one when that fails; an image's result may be its exception.

    >>> try_batch(lambda batch: [10 // int(image) for image in batch], [np.int64(5), np.int64(2)])
    [2, 5]
    """
    if not images:
        return []
    try:
        results = list(function(images))
        if len(results) != len(images):
            raise RuntimeError(f"{len(results)} results for {len(images)} photos")
        return results
    except Exception as error:
        if len(images) == 1:
            return [error]
        return [try_batch(function, [image])[0] for image in images]
