"""The mask head of the compact detector: shapes, a quiet start, and that each of its inputs counts."""

from __future__ import annotations

import pytest
import torch
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage

from detection.detectors.compact.mask_head import DetailMaskHead

CELLS, CONTEXT = 16, 4


@pytest.fixture
def head():
    torch.manual_seed(0)
    return DetailMaskHead(12, 5, 7, convs=4, width=8, detail_width=6, context_side=CONTEXT, classes=1)


def inputs(boxes=3):
    generator = torch.Generator().manual_seed(1)
    shapes = (12, CELLS), (5, 2 * CELLS), (7, CONTEXT)
    return [torch.randn(boxes, channels, side, side, generator=generator) for channels, side in shapes]


def targets(boxes=3):
    instances = Instances((40, 60))
    instances.proposal_boxes = Boxes(torch.tensor([[5.0, 5.0, 45.0, 35.0]]).repeat(boxes, 1))
    instances.gt_classes = torch.zeros(boxes, dtype=torch.long)
    masks = torch.zeros(boxes, 40, 60, dtype=torch.bool)
    masks[:, 10:30, 10:30] = True
    instances.gt_masks = BitMasks(masks)
    return [instances]


@pytest.mark.parametrize("boxes", [0, 1, 3])
def test_shapes(head, boxes):
    coarse, fine = head.layers(*inputs(boxes))
    assert coarse.shape == (boxes, 1, CELLS, CELLS)
    assert fine.shape == (boxes, 1, 2 * CELLS, 2 * CELLS)


def test_at_first_the_fine_mask_is_the_coarse_one_enlarged(head):
    coarse, fine = head.layers(*inputs())
    enlarged = torch.nn.functional.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)
    torch.testing.assert_close(fine, enlarged)


def test_masks_of_instances_are_probabilities(head):
    head.eval()
    instances = Instances((40, 60))
    instances.pred_boxes = Boxes(torch.rand(3, 4) * 20)
    instances.pred_classes = torch.zeros(3, dtype=torch.long)
    (result,) = head(*inputs(), [instances])
    assert result.pred_masks.shape == (3, 1, 2 * CELLS, 2 * CELLS)
    assert (result.pred_masks >= 0).all() and (result.pred_masks <= 1).all()


def test_it_learns_a_mask_and_uses_every_input(head):
    features, *rest = inputs()
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    head.train()
    losses = []
    for _ in range(40):
        with EventStorage(0):
            found = head(features, *rest, targets())
        loss = sum(found.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.5 * losses[0]
    # The silent parts have found their voice: without any of the three inputs the mask is another.
    head.eval()
    whole = head.layers(features, *rest)[1]
    for index in range(3):
        given = [features, *rest]
        given[index] = torch.zeros_like(given[index])
        assert (head.layers(*given)[1] - whole).abs().max() > 1e-3
    assert head.place.abs().max() > 0
