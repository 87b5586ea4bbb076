"""The brushes of Label Studio: runs in a stream of bits, of the red, green, blue and alpha of each pixel.

32 bits say how many values there are, 5 how many bits one has (less 1), four times 4 the sizes that a run's length may
have (less 1). Then runs: one bit for a repeated value or a row of single ones, two bits for which size the length has,
the length less 1, and the value or values.
"""

from __future__ import annotations

import numpy as np

from detection.masks.rle import runs_of

_SIZES = (3, 4, 8, 16)
_LONGEST = 1 << _SIZES[-1]


def write_brush(mask: np.ndarray) -> list[int]:
    """The bytes of a bool HxW mask; its pixels are white and opaque, all others nothing."""
    bits = [f"{mask.size * 4:032b}", f"{7:05b}", *(f"{size - 1:04b}" for size in _SIZES)]
    for place, run in enumerate((runs_of(mask.reshape(-1)) * 4).tolist()):
        value = "11111111" if place % 2 else "00000000"
        while run > 0:
            part = min(run, _LONGEST)
            bits.append(f"111{part - 1:016b}{value}")
            run -= part
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))


def read_brush(values: object, size: tuple[int, int]) -> np.ndarray:
    """The bool HxW mask of such bytes: where alpha is more than half. Raises ValueError unless they make up `size`."""
    total = size[0] * size[1] * 4
    if not isinstance(values, list) or not all(type(one) is int and 0 <= one <= 255 for one in values):
        raise ValueError("a brush is not a list of bytes")
    bits = np.unpackbits(np.array(values, np.uint8))
    weights = 1 << np.arange(32, dtype=np.int64)[::-1]
    place = 0

    def take(many: int) -> int:
        nonlocal place
        if place + many > len(bits):
            raise ValueError("a brush ends before its photo")
        found = int(bits[place : place + many] @ weights[32 - many :])
        place += many
        return found

    if take(32) != total:
        raise ValueError("a brush is of a photo of another size")
    word = take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    found = np.zeros(total, bool)
    done = 0
    while done < total:
        repeated = take(1)
        end = done + 1 + take(sizes[take(2)])
        if end > total:
            raise ValueError("a brush is longer than its photo")
        if repeated:
            found[done:end] = take(word) >= 1 << (word - 1)
        else:
            many = (end - done) * word
            if place + many > len(bits):
                raise ValueError("a brush ends before its photo")
            found[done:end] = bits[place : place + many : word]  # the highest bit of each
            place += many
        done = end
    return found.reshape(*size, 4)[..., 3]
