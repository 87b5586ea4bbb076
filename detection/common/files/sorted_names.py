"""Names in order, of which any number takes hardly any memory: many of them lie in a temporary file."""

from __future__ import annotations

import tempfile
import weakref
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import chain, islice
from operator import itemgetter
from typing import Any, overload

from detection.common.errors import UsageError
from detection.common.files.placed import PlacedFile

_BLOCK = 256  # names that are read at once; of each such block one name and two numbers are in memory
_CHUNK = 64 * _BLOCK  # that are sorted in memory
_IN_MEMORY = 1 << 20  # bytes of names that need no file
_END = b"\0"  # no name holds it

Row = tuple[bytes, tuple[int, ...]]


def sorted_names(names: Iterable[str]) -> Sequence[str]:
    """The names in order, each as often as it is there. A few thousand are a list, more are `SortedNames`.

    Raises `UsageError` when there is no room for the file.
    """
    rest = iter(names)
    few = list(islice(rest, _CHUNK))
    if len(few) < _CHUNK:
        return sorted(few)
    return SortedNames((name, ()) for name in chain(few, rest))


def without(names: Iterable[str], others: Iterable[str]) -> Iterator[str]:
    """Those of `names` that are not among `others`; both in order.

    >>> list(without(["a", "b", "b", "c"], ["b", "d"]))
    ['a', 'c']
    """
    rest = iter(others)
    other = next(rest, None)
    for name in names:
        while other is not None and other < name:
            other = next(rest, None)
        if other != name:
            yield name


class SortedNames(Sequence[str]):
    """Names in order (as Python compares them), and with each some whole numbers below 2**63, the same many for all.

    To be read by any number of threads, and by processes that were forked off. Names may be there several times, and
    hold any character but NUL. Raises `UsageError` when there is no room for the file.
    """

    def __init__(self, rows: Iterable[tuple[str, tuple[int, ...]]], width: int = 0):
        """width: how many numbers there are with each name."""
        self._run = _sorted(((_encoded(name), numbers) for name, numbers in rows), width)

    def __len__(self) -> int:
        return self._run.size

    def __iter__(self) -> Iterator[str]:
        for block in range(len(self._run.heads)):
            yield from map(_decoded, self._run.names(block))

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        return _decoded(self._run.names(number // _BLOCK)[number % _BLOCK])

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.find(name) is not None

    def find(self, name: str) -> int | None:
        """The index of a name, the first one where it is there several times; None where it is not."""
        wanted, heads = _encoded(name), self._run.heads
        block = max(0, bisect_right(heads, wanted) - 1)
        while block and heads[block] == wanted:  # it may have begun in the block before
            block -= 1
        for number in range(block, min(block + 2, len(heads))):
            names = self._run.names(number)
            if wanted in names:
                return number * _BLOCK + names.index(wanted)
        return None

    def rows(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """The names with their numbers, in order."""
        return ((_decoded(name), numbers) for name, numbers in self._run.rows())

    def numbers(self, index: int) -> tuple[int, ...]:
        """The numbers that came with a name."""
        return self._run.numbers(index // _BLOCK)[index % _BLOCK]


class _Run:
    """Rows in order, block by block, in a pile that others may use, too."""

    def __init__(self, pile: _Pile, width: int):
        self._pile, self._width = pile, width
        self.size = 0
        self.heads: list[bytes] = []
        self._starts, self._ends = array("Q"), array("Q")
        self.last = b""
        self._read: tuple[int, list[bytes]] = (-1, [])

    def extend(self, rows: Sequence[Row]) -> None:
        """rows: as many as fill blocks, but at the end."""
        for start in range(0, len(rows), _BLOCK):
            some = rows[start : start + _BLOCK]
            numbers = array("q", chain.from_iterable(row[1] for row in some))
            data = _END.join([row[0] for row in some]) + _END + numbers.tobytes()
            self.heads.append(some[0][0])
            self._starts.append(self._pile.append(data))
            self._ends.append(self._pile.size - len(numbers) * numbers.itemsize)
        self.size += len(rows)
        self.last = rows[-1][0]

    def names(self, block: int) -> list[bytes]:
        read = self._read
        if read[0] != block:
            start, end = self._starts[block], self._ends[block]
            read = self._read = (block, self._pile.read(start, end - 1 - start).split(_END))
        return read[1]

    def numbers(self, block: int) -> list[tuple[int, ...]]:
        length = len(self.names(block))
        found = array("q")
        found.frombytes(self._pile.read(self._ends[block], length * self._width * found.itemsize))
        return [tuple(found[place * self._width : (place + 1) * self._width]) for place in range(length)]

    def rows(self) -> Iterator[Row]:
        for block in range(len(self.heads)):
            yield from zip(list(self.names(block)), self.numbers(block), strict=True)


class _Pile:
    """Bytes that are appended and read by place: in memory, and once there are many, in a file without a name."""

    def __init__(self) -> None:
        self._memory = bytearray()
        self._file: PlacedFile | None = None
        self.size = 0

    def append(self, data: bytes) -> int:
        """Returns its place."""
        place = self.size
        try:
            if self._file is None and place + len(data) > _IN_MEMORY:
                self._file = PlacedFile.unnamed()
                weakref.finalize(self, self._file.close)
                self._file.append(bytes(self._memory))
                self._memory.clear()
            if self._file is None:
                self._memory += data
            else:
                self._file.append(data)
        except OSError as error:
            raise UsageError(
                f"The names of the photos don't fit into '{tempfile.gettempdir()}' ({error.strerror or error}): make "
                "room, or name another folder in TMPDIR."
            ) from error
        self.size += len(data)
        return place

    def read(self, place: int, length: int) -> bytes:
        if self._file is None:
            return bytes(self._memory[place : place + length])
        data = b""
        while len(data) < length and (more := self._file.read(length - len(data), place + len(data))):
            data += more
        return data


def _sorted(rows: Iterator[Row], width: int) -> _Run:
    """By sorting what fits in memory, and merging that. Rows that come in order, as of a listing, are written once."""
    first: Any = itemgetter(0)
    pile = _Pile()
    runs: list[_Run] = []
    while chunk := sorted(islice(rows, _CHUNK), key=first):
        if not runs or chunk[0][0] < runs[-1].last:
            runs.append(_Run(pile, width))
        runs[-1].extend(chunk)
    if len(runs) == 1:
        return runs[0]
    whole = _Run(_Pile(), width)
    merged = merge(*(run.rows() for run in runs), key=first)
    while chunk := list(islice(merged, _CHUNK)):
        whole.extend(chunk)
    return whole


def _encoded(name: str) -> bytes:
    """In bytes that are in the same order as the names, whatever is in these."""
    return name.encode("utf-8", "surrogatepass")


def _decoded(name: bytes) -> str:
    return name.decode("utf-8", "surrogatepass")
