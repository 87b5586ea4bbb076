"""Tensors of .safetensors files as NumPy arrays. Imports no torch; nothing in a file is ever run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from detection.common.errors import UsageError


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """All tensors of a file, floating-point ones as float32 and others in their own dtypes, and its metadata.

    Raises `UsageError` with one sentence for a file that is missing, damaged or of another kind.
    """
    with opened(path, "numpy") as file:
        arrays = {name: _widened(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
        return arrays, file.metadata() or {}


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata alone, without reading the tensors. Raises `UsageError` as `read_arrays` does."""
    with opened(path, "numpy") as file:
        return file.metadata() or {}


@contextmanager
def opened(path: Path, framework: str) -> Iterator[Any]:
    """The open file, by safetensors' name of the framework that its tensors come as. Raises `UsageError`."""
    if not path.is_file():
        raise UsageError(f"There is no weights file '{path}': check the path.")
    try:
        with safe_open(path, framework=framework) as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise UsageError(f"'{path}' is not a whole safetensors file: fetch or train it again.") from error


def _widened(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32, copy=False) if np.issubdtype(array.dtype, np.floating) else array
