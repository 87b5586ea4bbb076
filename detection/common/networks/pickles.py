"""Arrays in pickles, by an unpickler that can build nothing else. Imports no torch."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

# The names under which old and new NumPy write the same functions.
_NUMPY = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
_TORCH_MAGIC, _TORCH_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_TORCH_TYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _Unpickler(pickle.Unpickler):
    """known: what a pickle may name, as (module, name), and what stands for it here."""

    def __init__(self, file: BinaryIO, known: Mapping[tuple[str, str], Any], encoding: str = "ASCII"):
        super().__init__(file, encoding=encoding)
        self._known = known

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in self._known:
            return self._known[module, name]
        raise pickle.UnpicklingError(f"{module}.{name} is not an array")


def read_pickled_arrays(path: Path) -> Any:
    """What a pickle of NumPy arrays holds. Raises `pickle.UnpicklingError` for anything else in it."""
    from numpy._core import multiarray, numeric

    parts = {
        "_reconstruct": multiarray._reconstruct,
        "_frombuffer": numeric._frombuffer,  # type: ignore[attr-defined]
        "scalar": multiarray.scalar,
        "ndarray": np.ndarray,
        "dtype": np.dtype,
    }
    known: dict[tuple[str, str], Any] = {(module, name): part for module in _NUMPY for name, part in parts.items()}
    known |= {("numpy._core.numeric", "_frombuffer"): parts["_frombuffer"], ("collections", "OrderedDict"): OrderedDict}
    known["_codecs", "encode"] = _encode
    with path.open("rb") as file:
        return _Unpickler(file, known, encoding="latin1").load()


def read_torch_arrays(path: Path) -> dict[str, np.ndarray]:
    """The tensors (float32 or int64) of a file that torch wrote before its release 1.6, in their order.

    Raises `pickle.UnpicklingError`, `ValueError` or `EOFError` for any other file.
    """
    known: dict[tuple[str, str], Any] = {("torch", name): dtype for name, dtype in _TORCH_TYPES.items()}
    known |= {("torch._utils", "_rebuild_tensor_v2"): _Part, ("collections", "OrderedDict"): OrderedDict}
    with path.open("rb") as file:
        if _Unpickler(file, {}).load() != _TORCH_MAGIC or _Unpickler(file, {}).load() != _TORCH_PROTOCOL:
            raise pickle.UnpicklingError("it is no such file of torch")
        _Unpickler(file, {}).load()  # of which machine it is
        reader = _TorchUnpickler(file, known)
        parts = reader.load()
        data = {}
        for key in _Unpickler(file, {}).load():
            dtype, count = reader.storages[key]
            if int.from_bytes(file.read(8), "little") != count:
                raise pickle.UnpicklingError(f"the storage {key} has another length")
            data[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype)
    return {name: part.array(data) for name, part in parts.items()}


class _TorchUnpickler(_Unpickler):
    """Notes the storages that tensors ask for, which follow after the pickle."""

    def __init__(self, file: BinaryIO, known: Mapping[tuple[str, str], Any]):
        super().__init__(file, known)
        self.storages: dict[str, tuple[np.dtype, int]] = {}

    def persistent_load(self, pid: Any) -> str:
        _, dtype, key, _, count, _ = pid
        self.storages[key] = dtype, count
        return key


class _Part:
    """A tensor's place in its storage; stands for torch's function of the same arguments."""

    def __init__(self, storage: str, start: int, shape: tuple[int, ...], strides: tuple[int, ...], *rest: Any):
        self._storage, self._start, self._shape, self._strides = storage, start, shape, strides

    def array(self, data: Mapping[str, np.ndarray]) -> np.ndarray:
        whole = data[self._storage][self._start :]
        last = sum((side - 1) * step for side, step in zip(self._shape, self._strides, strict=True))
        if min((*self._shape, *self._strides), default=1) < 0 or (0 not in self._shape and last >= len(whole)):
            raise pickle.UnpicklingError("a tensor lies outside its storage")
        steps = [step * whole.itemsize for step in self._strides]
        return np.array(np.lib.stride_tricks.as_strided(whole, self._shape, steps), order="C")


def _encode(text: str, encoding: str = "utf-8") -> bytes:
    """As `codecs.encode`, for the one encoding that NumPy's pickles use."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"text in {encoding} is not an array")
    return text.encode("latin1")
