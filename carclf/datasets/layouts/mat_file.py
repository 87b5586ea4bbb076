"""MATLAB's .mat files of version 5 to 7: numbers, texts, cells and structures, as the Stanford devkit holds them.

Read here in a page, as SciPy would be a quarter of what the light install takes.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np

_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CELL, _STRUCTURE, _TEXT, _ARRAYS = 1, 2, 4, range(6, 16)
_DEEPEST = 16  # of cells within cells
_LARGEST = 2**28  # bytes of a variable, unpacked; the devkit's have 1 MB


class NewerFormat(ValueError):
    """Saved with -v7.3: an HDF5 file."""


def read_mat(path: Path, wanted: Collection[str]) -> dict[str, Any]:
    """The variables of these names that the file holds.

    A structure is a dict, an array of them a list of dicts; a cell array is a list, a text a str, one number a number,
    several are an array without dimensions of length one. Nothing is unpickled or run.
    Raises `NewerFormat`, `ValueError` for what is no such file or is damaged, and OSError.
    """
    data = path.read_bytes()
    if len(data) < 128 or data[126:128] not in (b"IM", b"MI"):
        raise ValueError("it has no header of MATLAB 5 to 7")
    order = "<" if data[126:128] == b"IM" else ">"
    if _number(data[124:126], f"{order}u2") >= 0x200:
        raise NewerFormat("it is of MATLAB 7.3")
    found = {}
    for kind, content in _elements(data[128:], order):
        if kind == _COMPRESSED:
            kind, content = _next(_elements(_unpacked(content), order))
        if kind == _MATRIX and content and (named := _variable(content, order, wanted)):
            found[named[0]] = named[1]
    return found


def _variable(content: bytes, order: str, wanted: Collection[str]) -> tuple[str, Any] | None:
    parts = _elements(content, order)
    flags = _next(parts)[1]
    if _class(flags, order) not in (_CELL, _STRUCTURE, _TEXT, *_ARRAYS):
        return None  # an object: its parts are of another order
    _next(parts)
    name = _next(parts)[1].decode("latin-1")
    return (name, _value(content, order, _DEEPEST)) if name in wanted else None


def _value(content: bytes, order: str, depth: int) -> Any:
    """What a matrix element holds."""
    if not content:
        return np.zeros(0)  # a field that was never set
    if depth == 0:
        raise ValueError("its cells are nested too deep")
    parts = _elements(content, order)
    kind, shape = _class(_next(parts)[1], order), np.frombuffer(_next(parts)[1], f"{order}i4")
    count = math.prod(int(size) for size in shape)
    _next(parts)  # the name
    if not 0 <= count <= _LARGEST:
        raise ValueError("it says of an array that it is larger than can be")
    if kind == _CELL:
        return [_value(_matrix(parts), order, depth - 1) for _ in range(count)]
    if kind == _STRUCTURE:
        length = _number(_next(parts)[1], f"{order}i4")
        if length <= 0:
            raise ValueError("its structures have no names")
        names = _next(parts)[1]
        starts = range(0, len(names), length)
        fields = [names[start : start + length].split(b"\0")[0].decode("latin-1") for start in starts]
        if not fields and count > 1:
            raise ValueError("its structures are empty")
        rows = [{field: _value(_matrix(parts), order, depth - 1) for field in fields} for _ in range(count)]
        return rows[0] if count == 1 else rows
    stored, data = _next(parts)
    if kind == _TEXT:
        return _text(stored, data, order, shape)
    if kind not in _ARRAYS or stored not in _NUMBERS:
        raise ValueError("it holds something else than numbers, texts, cells and structures")
    values = np.frombuffer(data, f"{order}{_NUMBERS[stored]}")
    if len(values) != count:
        raise ValueError("it ends in the middle of an array")
    squeezed = values.reshape(shape, order="F").squeeze()
    return squeezed if squeezed.ndim else squeezed.item()


def _text(stored: int, data: bytes, order: str, shape: np.ndarray) -> str | list[str]:
    """MATLAB's rows of letters, which are stored column by column."""
    if stored not in _TEXTS:
        raise ValueError("it holds a text in an unknown code")
    code = _TEXTS[stored]
    text = data.decode(f"{code}-{'le' if order == '<' else 'be'}" if code in ("utf-16", "utf-32") else code)
    rows = int(shape[0])
    if rows <= 1:
        return text
    return [text[number::rows] for number in range(rows)]


def _matrix(parts: Iterator[tuple[int, bytes]]) -> bytes:
    kind, content = _next(parts)
    if kind != _MATRIX:
        raise ValueError("an array of it holds no arrays")
    return content


def _next(parts: Iterator[tuple[int, bytes]]) -> tuple[int, bytes]:
    for part in parts:
        return part
    raise ValueError("it ends in the middle of an array")


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """The kind and the content of each element. Raises ValueError where one ends beyond the data."""
    place = 0
    while place + 8 <= len(data):
        kind, size = (_number(data[place + start : place + start + 4], f"{order}u4") for start in (0, 4))
        if kind >> 16:  # up to four bytes lie in the tag itself
            kind, size, start, step = kind & 0xFFFF, kind >> 16, place + 4, 8
        else:
            start, step = place + 8, 8 + size if kind == _COMPRESSED else 8 + -(-size // 8) * 8
        if start + size > len(data):
            raise ValueError("it ends in the middle of an array")
        yield kind, data[start : start + size]
        place += step


def _unpacked(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(data, _LARGEST)
    except zlib.error as error:
        raise ValueError("its compressed data are damaged") from error
    if unpacker.unconsumed_tail:
        raise ValueError("a variable of it is larger than 256 MB")
    return content


def _class(flags: bytes, order: str) -> int:
    return _number(flags[:4], f"{order}u4") & 0xFF


def _number(data: bytes, code: str) -> int:
    """Raises ValueError where there are too few bytes."""
    return int(np.frombuffer(data, code, 1)[0])
