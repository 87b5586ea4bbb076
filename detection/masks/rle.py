"""Masks as COCO's compressed run-length encoding (RLE), which `pycocotools.mask.decode` reads too."""

from __future__ import annotations

import numpy as np

_MOST_LETTERS = 7  # of a number: 34 bits and a sign, for more pixels than any picture has


def encode_mask(mask: np.ndarray) -> str:
    """The counts of a bool HxW mask; its size is to be kept beside them.

    >>> encode_mask(np.array([[True, False], [False, True]]))
    '0120'
    """
    # Down the columns; the first run is of zeros, and may have none.
    return encode_runs(runs_of(np.asarray(mask, bool).T.reshape(-1)))


def runs_of(flat: np.ndarray) -> np.ndarray:
    """How long the runs of a row of bools are (int64): of False and of True by turns, of False first.

    >>> runs_of(np.array([True, True, False])).tolist()
    [0, 2, 1]
    """
    flat = np.concatenate([[False], flat])
    return np.diff(np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]), [len(flat) - 1]])).astype(np.int64)


def encode_runs(runs: np.ndarray) -> str:
    """The counts of runs (int64) as they lie down the columns."""
    rest = runs.astype(np.int64)
    rest[3:] -= runs[1:-2]
    letters = np.zeros((len(runs), _MOST_LETTERS), np.uint8)
    used = np.zeros(letters.shape, bool)
    going = np.ones(len(runs), bool)
    for place in range(_MOST_LETTERS):
        bits = rest & 31
        rest >>= 5
        more = rest != np.where(bits & 16, -1, 0)
        letters[:, place], used[:, place] = bits + 32 * more + 48, going
        going &= more
    return letters[used].tobytes().decode("ascii")


def decode_mask(counts: str, size: tuple[int, int]) -> np.ndarray:
    """A bool HxW mask from COCO's compressed RLE; `size` is (height, width).

    Not by pycocotools: its C decoder believes what it is given. Raises ValueError unless the runs make up that size.
    """
    height, width = size
    if not isinstance(counts, str):
        raise ValueError("not a compressed run-length encoding")
    runs = check_runs(_runs(counts.encode("ascii")), height * width)
    # Runs go down the columns, those of zeros and of ones by turns, zeros first.
    columns = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height)
    return np.ascontiguousarray(columns.T)


def checked_counts(counts: object, size: tuple[int, int]) -> str:
    """The compressed counts of compressed or plain ones that make up `size` (height, width). Raises ValueError.

    >>> checked_counts([1, 2, 1], (2, 2))
    '121'
    """
    total = size[0] * size[1]
    if isinstance(counts, bytes):
        counts = counts.decode("ascii")
    if isinstance(counts, str):
        check_runs(_runs(counts.encode("ascii")), total)
        return counts
    if not isinstance(counts, list) or not all(type(run) is int and 0 <= run <= total for run in counts):
        raise ValueError("not a run-length encoding")
    return encode_runs(check_runs(np.array(counts, np.int64), total))


def check_runs(runs: np.ndarray, total: int) -> np.ndarray:
    """The runs (int64), if they make up so many pixels. Raises ValueError."""
    if (runs < 0).any() or (runs > total).any() or int(runs.sum()) != total:
        raise ValueError(f"the runs do not make up {total} pixels")
    return runs


def _runs(text: bytes) -> np.ndarray:
    """The run lengths (int64) of COCO's compressed RLE.

    Each character holds 5 bits, low ones first, and whether more follow; the last one's highest bit is the sign. From
    the fourth on, a number is the difference to the one two places before.
    """
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise ValueError("not a run-length encoding")
    starts = np.concatenate([[0], np.flatnonzero(codes & 32 == 0)[:-1] + 1])
    lengths = np.diff(np.append(starts, len(codes)))
    if lengths.max() > _MOST_LETTERS:
        raise ValueError("a run is longer than any picture")
    places = np.arange(len(codes)) - np.repeat(starts, lengths)
    values = np.add.reduceat((codes & 31) << (5 * places), starts)
    negative = codes[starts + lengths - 1] & 16 > 0
    values[negative] -= np.int64(1) << (5 * lengths[negative])
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values
