"""Masks as polygons and as runs: no pixel is lost on the way."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from carclf.tools.exchange.formats.brush import read_brush, write_brush
from carclf.tools.exchange.shapes import (
    Shape,
    mask_shape,
    one_ring,
    outlines,
    pixel_shape,
    polygon_shape,
    shape_box,
    shape_mask,
    shape_polygons,
)

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9))


@given(MASKS)
@settings(deadline=None)
def test_outlines_hold_the_same_pixels_with_their_holes_apart_or_in_one_line(mask):
    polygons = outlines(mask)
    assert (shape_mask(Shape(polygons), mask.shape) == mask).all()
    if polygons:
        assert (shape_mask(Shape(((one_ring(polygons),),)), mask.shape) == mask).all()


@given(MASKS)
@settings(deadline=None)
def test_others_read_the_same_pixels(mask):
    from pycocotools import mask as coco_mask

    shape = mask_shape(mask)
    assert (shape is None) == (not mask.any())
    if shape is not None:
        rle = {"size": list(mask.shape), "counts": shape.counts.encode()}
        assert (coco_mask.decode(rle).astype(bool) == mask).all()
    for polygon in outlines(mask):
        flat = [value for point in polygon[0] for value in point]
        theirs = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects([flat], *mask.shape))).astype(bool)
        assert (theirs == shape_mask(Shape((polygon[:1],)), mask.shape)).all()


@given(MASKS, st.integers(1, 40))
@settings(deadline=None)
def test_brushes_come_back(mask, larger):
    mask = np.kron(mask, np.ones((larger, larger), bool))
    assert (read_brush(write_brush(mask), mask.shape) == mask).all()


def test_a_ring_has_one_hole_and_pieces_at_a_corner_are_apart():
    mask = np.zeros((6, 8), bool)
    mask[1:4, 1:4] = True
    mask[2, 2] = False
    mask[4, 4] = True
    ring, corner = sorted(outlines(mask), key=len, reverse=True)
    assert len(ring) == 2 and len(corner) == 1
    assert shape_box(Shape((ring,)), mask.shape) == (1, 1, 4, 4)
    assert shape_polygons(mask_shape(mask), mask.shape) == outlines(mask)


@pytest.mark.parametrize(
    "ring",
    [
        [(0, 0), (float("nan"), 1), (2, 2)],
        [(0, 0), (float("inf"), 1), (2, 2)],
        [(0, 0), (1e9, 1), (2, 2)],
        [(0, 0), (9, 9)] * 2000,
    ],
)
def test_polygons_that_can_be_none_are_refused(ring):
    with pytest.raises(ValueError, match="corner|outline"):
        polygon_shape([[ring]], (10, 10))


@pytest.mark.parametrize(
    ("counts", "size"),
    [([1 << 60], (10, 10)), ([101], (10, 10)), ([-1, 101], (10, 10)), ("~~~", (10, 10)), (None, (10, 10)),
     ([1 << 40], (1 << 20, 1 << 20)), ([1.5, 98.5], (10, 10))],
)  # fmt: skip
def test_runs_that_can_be_none_are_refused(counts, size):
    with pytest.raises(ValueError, match="pixels|run-length|larger"):
        pixel_shape(counts, size)


@pytest.mark.parametrize("values", [[], [0] * 3, [255] * 400, [300], "abc", [0, 0, 1, 144, 57, 27, 224]])
def test_damaged_brushes_are_refused(values):
    with pytest.raises(ValueError, match="brush"):
        read_brush(values, (10, 10))
