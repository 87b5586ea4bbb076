"""Tensors of .safetensors files as NumPy arrays. Imports no torch; nothing in a file is ever run."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from detection.common.errors import UsageError
from detection.common.files import replace_file

# A tensor in 8 bits has its scales beside it, under its own name with this ending: one for each of its rows.
SCALES = ".scales"


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """All tensors of a file, floating-point ones and those in 8 bits as float32, others in their own dtypes; and its
    metadata.

    Raises `UsageError` with one sentence for a file that is missing, damaged or of another kind.
    """
    with opened(path, "numpy") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return {name: _widened(name, stored) for name in stored if not is_scales(name, stored)}, file.metadata() or {}


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata alone, without reading the tensors. Raises `UsageError` as `read_arrays` does."""
    with opened(path, "numpy") as file:
        return file.metadata() or {}


def write_metadata(path: Path, metadata: Mapping[str, str]) -> None:
    """Gives a file other metadata; its tensors stay, byte for byte. By way of a temp file and a rename.

    Raises `UsageError` as `read_arrays` does.
    """
    read_metadata(path)
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start]) | {"__metadata__": dict(metadata)}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8 bytes
    replace_file(path, len(text).to_bytes(8, "little") + text + data[start:])


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


def is_scales(name: str, stored: Collection[str]) -> bool:
    """Whether a tensor holds the scales of another one in the same file."""
    return name.endswith(SCALES) and name.removesuffix(SCALES) in stored


def _widened(name: str, stored: Mapping[str, np.ndarray]) -> np.ndarray:
    array, scales = stored[name], stored.get(name + SCALES)
    if scales is not None:
        return array * scales.astype(np.float32).reshape(-1, *[1] * (array.ndim - 1))
    return array.astype(np.float32, copy=False) if np.issubdtype(array.dtype, np.floating) else array
