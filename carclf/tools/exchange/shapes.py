"""Masks as polygons and as runs of pixels, and from one to the other without a pixel's loss."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from detection.masks.coco_file import MOST_PIXELS, check_ring
from detection.masks.rle import checked_counts, decode_mask, encode_mask
from detection.vehicle import mask_box

Ring = tuple[tuple[float, float], ...]
Polygon = tuple[Ring, ...]


@dataclass(frozen=True)
class Shape:
    """A mask, as it was drawn. polygons: each an outline, then its holes, of (x, y) in pixels from the photo's corner.
    counts: of a mask in pixels, COCO's compressed runs at the photo's size. One of both is empty.
    """

    polygons: tuple[Polygon, ...] = ()
    counts: str = ""


def polygon_shape(polygons: Iterable[Iterable[Sequence[Sequence[float]]]], size: tuple[int, int]) -> Shape | None:
    """A shape of polygons with their holes, checked against the photo's (height, width); None where nothing has three
    corners. Raises ValueError."""
    kept = []
    for polygon in polygons:
        rings = []
        for ring in polygon:
            points = np.array(ring, np.float64).reshape(-1, 2)
            check_ring(points, size)
            rings.append(tuple((_short(x), _short(y)) for x, y in points.tolist()))
        if rings and len(rings[0]) >= 3:
            kept.append(tuple(ring for ring in rings if len(ring) >= 3))
    return Shape(tuple(kept)) if kept else None


def pixel_shape(counts: object, size: tuple[int, int]) -> Shape | None:
    """A shape of COCO's runs, compressed or not; None for a mask without a pixel. Raises ValueError."""
    if size[0] * size[1] > MOST_PIXELS:
        raise ValueError("larger than any photo")
    text = checked_counts(counts, size)
    return mask_shape(decode_mask(text, size))


def mask_shape(mask: np.ndarray) -> Shape | None:
    """A shape of a bool HxW mask; None for one without a pixel."""
    return Shape(counts=encode_mask(mask)) if mask.any() else None


def shape_mask(shape: Shape, size: tuple[int, int]) -> np.ndarray:
    """A bool HxW mask: the pixels whose centres lie in a polygon and in none of its holes."""
    if shape.counts:
        return decode_mask(shape.counts, size)
    mask = np.zeros(size, bool)
    for polygon in shape.polygons:
        mask |= _filled(polygon, size)
    return mask


def shape_counts(shape: Shape, size: tuple[int, int]) -> str:
    """COCO's compressed runs of it."""
    return shape.counts or encode_mask(shape_mask(shape, size))


def shape_polygons(shape: Shape, size: tuple[int, int]) -> tuple[Polygon, ...]:
    """Its polygons; of pixels those along their edges, which hold the same pixels."""
    return shape.polygons or outlines(decode_mask(shape.counts, size))


def shape_box(shape: Shape, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The smallest x1, y1, x2, y2 round it; zeros where it has no pixel."""
    if shape.polygons:
        points = np.array([point for polygon in shape.polygons for point in polygon[0]])
        (x1, y1), (x2, y2) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
        return x1, y1, x2, y2
    x1, y1, x2, y2 = mask_box(decode_mask(shape.counts, size)) or (0, 0, 0, 0)
    return float(x1), float(y1), float(x2), float(y2)


def one_ring(polygons: Sequence[Polygon]) -> Ring:
    """All outlines and holes as one line, joined there and back, so that the same pixels lie inside by the even-odd
    rule. Of a single outline, just that."""
    rings = [ring for polygon in polygons for ring in polygon]
    if len(rings) == 1:
        return rings[0]
    start = rings[0][0]
    line = [*rings[0], start]
    for ring in rings[1:]:
        line += [*ring, ring[0], start]
    return tuple(line[:-1])


def outlines(mask: np.ndarray) -> tuple[Polygon, ...]:
    """The polygons along the edges of the pixels of a bool HxW mask, each piece with its holes.

    Pixels that touch at a corner only are of different pieces.

    >>> outlines(np.ones((2, 3), bool))
    ((((0.0, 0.0), (3.0, 0.0), (3.0, 2.0), (0.0, 2.0)),),)
    """
    _, pieces = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    padded = np.pad(mask, 1)
    after: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    # Each edge of a pixel that its neighbour lacks, directed so that the pixel is on the right hand (y points down).
    sides = ((0, 1, (0, 0), (1, 0)), (1, 2, (1, 0), (1, 1)), (2, 1, (1, 1), (0, 1)), (1, 0, (0, 1), (0, 0)))
    for down, right, (x0, y0), (x1, y1) in sides:
        neighbour = padded[down : down + mask.shape[0], right : right + mask.shape[1]]
        rows, columns = np.nonzero(mask & ~neighbour)
        for y, x in zip(rows.tolist(), columns.tolist(), strict=True):
            after[(x + x0, y + y0)].append((x + x1, y + y1))
    found: dict[int, list[Ring]] = defaultdict(list)
    while after:
        ring = _walk(after, min(after))
        piece = int(pieces[_pixel(ring)])
        corners = _corners(ring)
        # An outline runs one way round, the holes in it the other.
        found[piece].insert(0 if _turn(corners) > 0 else len(found[piece]), corners)
    return tuple(tuple(rings) for _, rings in sorted(found.items()))


def _walk(after: dict[tuple[int, int], list[tuple[int, int]]], start: tuple[int, int]) -> list[tuple[int, int]]:
    """One closed line of the edges, which are taken out. start: the leftmost corner, where only two edges meet."""
    ring, before, here = [start], start, after.pop(start)[0]
    while here != start:
        ends = after[here]
        # Where two edges leave a corner, the one to the right stays with the same piece.
        right = (here[0] - (here[1] - before[1]), here[1] + (here[0] - before[0]))
        end = ends.pop(ends.index(right) if right in ends else 0)
        if not ends:
            del after[here]
        ring.append(here)
        before, here = here, end
    return ring


def _pixel(ring: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Row and column of the pixel to the right of the line's first edge."""
    (x0, y0), (x1, y1) = ring[0], ring[1]
    return (y0 if x1 > x0 else y0 - 1 if x1 < x0 else min(y0, y1)), (
        min(x0, x1) if x1 != x0 else x0 - 1 if y1 > y0 else x0
    )


def _corners(ring: Sequence[tuple[int, int]]) -> Ring:
    """The points where the line turns."""
    around = [ring[-1], *ring, ring[0]]
    return tuple(
        (float(x), float(y))
        for (x0, y0), (x, y), (x1, y1) in zip(around, ring, around[2:], strict=False)
        if (x - x0, y - y0) != (x1 - x, y1 - y)
    )


def _turn(ring: Ring) -> float:
    points = np.array(ring)
    following = np.roll(points, -1, axis=0)
    return float((points[:, 0] * following[:, 1] - following[:, 0] * points[:, 1]).sum())


def _filled(rings: Polygon, size: tuple[int, int]) -> np.ndarray:
    """The pixels whose centres are inside by the even-odd rule."""
    height, width = size
    starts = np.concatenate([np.array(ring, np.float64) for ring in rings])
    ends = np.concatenate([np.roll(np.array(ring, np.float64), -1, axis=0) for ring in rings])
    # From top to bottom, so that a line there and back crosses each row at the very same point.
    swap = (starts[:, 1] > ends[:, 1]) | ((starts[:, 1] == ends[:, 1]) & (starts[:, 0] > ends[:, 0]))
    top, bottom = np.where(swap[:, None], ends, starts), np.where(swap[:, None], starts, ends)
    first = np.clip(np.ceil(top[:, 1] - 0.5), 0, height).astype(np.int64)
    last = np.clip(np.ceil(bottom[:, 1] - 0.5), 0, height).astype(np.int64)
    many = np.maximum(last - first, 0)
    edge = np.repeat(np.arange(len(many)), many)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(many) - many, many) + first[edge]
    share = (row + 0.5 - top[edge, 1]) / (bottom[edge, 1] - top[edge, 1])
    across = top[edge, 0] + share * (bottom[edge, 0] - top[edge, 0])
    column = np.clip(np.ceil(across - 0.5), 0, width).astype(np.int64)
    toggles = np.bincount(row * (width + 1) + column, minlength=height * (width + 1)).reshape(height, width + 1)
    return np.cumsum(toggles, axis=1)[:, :width] % 2 == 1


def _short(value: float) -> float:
    """A millionth of a pixel is all that is kept: shares and per cents come back as they went."""
    if not math.isfinite(value):
        raise ValueError("not a number")
    return round(value, 6)
