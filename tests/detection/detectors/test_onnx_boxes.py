"""Each step against the one of Detectron2 or torchvision that it stands for."""

import numpy as np
import pytest
import torch
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.poolers import assign_boxes_to_levels
from detectron2.structures import Boxes
from torchvision.ops import batched_nms

from detection.detectors.onnx.boxes import apply_deltas, best_anchors, box_levels, clip_boxes, suppress, widen_boxes
from detection.detectors.outputs import padded_shape, resized_shape


def _boxes(count, seed=0, side=300):
    random = np.random.default_rng(seed)
    corner = random.uniform(0, side, (count, 2))
    return np.concatenate([corner, corner + random.uniform(1, side, (count, 2))], axis=1).astype(np.float32)


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)])
def test_deltas_move_boxes_as_in_detectron2(weights):
    boxes = _boxes(50)
    deltas = np.random.default_rng(1).normal(0, 4, (50, 4)).astype(np.float32)  # some beyond the limit of growth
    wanted = Box2BoxTransform(weights).apply_deltas(torch.from_numpy(deltas), torch.from_numpy(boxes)).numpy()
    np.testing.assert_allclose(apply_deltas(deltas, boxes, weights), wanted, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("threshold", [0.3, 0.7])
def test_suppression_keeps_what_torchvision_keeps(threshold):
    boxes, scores = _boxes(400, side=120), np.random.default_rng(2).random(400, np.float32)
    groups = np.random.default_rng(3).integers(0, 3, 400)
    wanted = batched_nms(*(torch.from_numpy(one) for one in (boxes, scores, groups)), threshold).tolist()
    assert suppress(boxes, scores, groups, threshold, 400).tolist() == wanted
    assert suppress(boxes, scores, groups, threshold, 7).tolist() == wanted[:7]
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, int)
    assert suppress(*nothing, threshold, 5).tolist() == []


def test_boxes_are_read_from_the_same_level_as_in_detectron2():
    boxes = np.concatenate([_boxes(200, side=500), np.array([[5, 5, 5, 9]], np.float32)])  # one without area
    wanted = assign_boxes_to_levels([Boxes(torch.from_numpy(boxes))], 3, 5, 224, 4).numpy()
    assert box_levels(boxes, 224, 4, (3, 5)).tolist() == wanted.tolist()
    assert set(wanted) == {0, 1, 2}


@pytest.mark.parametrize("most", [10, 1000])
def test_the_best_anchors_are_those_of_the_whole_grid(most):
    generator = DefaultAnchorGenerator(sizes=[[28]], aspect_ratios=[[0.4, 0.65, 1.1]], strides=[8], offset=0.0)
    random = np.random.default_rng(4)
    logits = random.normal(size=(3, 5, 7)).astype(np.float32)
    deltas = random.normal(size=(12, 5, 7)).astype(np.float32)
    (grid,) = generator([torch.zeros(1, 1, 5, 7)])
    moves = torch.from_numpy(deltas).view(3, 4, 5, 7).permute(2, 3, 0, 1).reshape(-1, 4)
    everything = Box2BoxTransform((1.0, 1.0, 1.0, 1.0)).apply_deltas(moves, grid.tensor)
    values, order = torch.from_numpy(logits).permute(1, 2, 0).reshape(-1).sort(descending=True)
    boxes, best = best_anchors(logits, deltas, next(iter(generator.cell_anchors)).numpy(), 8, most)
    assert len(boxes) == min(most, 105)
    np.testing.assert_array_equal(best, values[:most].numpy())
    np.testing.assert_allclose(boxes, everything[order[:most]].numpy(), rtol=1e-5, atol=1e-3)


def test_boxes_grow_and_end_with_the_photo():
    boxes = np.array([[10, 20, 30, 60], [0, 0, 100, 50]], np.float32)
    np.testing.assert_allclose(widen_boxes(boxes, 0.1, (60, 100)), [[8, 16, 32, 60], [0, 0, 100, 55]])
    np.testing.assert_array_equal(clip_boxes(boxes, (40, 25)), [[10, 20, 25, 40], [0, 0, 25, 40]])


@pytest.mark.parametrize(
    ("size", "seen", "padded"),
    [((480, 640), (352, 469), (352, 480)), ((100, 1000), (53, 528), (64, 544)), ((1, 9999), (1, 528), (32, 544))],
)
def test_photos_are_seen_at_the_sides_of_the_detector(size, seen, padded):
    assert resized_shape(*size, 352, 528) == seen
    assert padded_shape(seen, 32) == padded
