"""Training photos in memory: shrunk, within a budget, masks in step."""

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from detection.masks.records import MaskRecord
from detection.masks.store import PhotoStore


def record(folder, name="a.png", size=(400, 600), boxes=((100, 100, 300, 250),), stretch=1.0):
    """A grey photo whose instances are white boxes (x1, y1, x2, y2)."""
    photo = np.full((*size, 3), 60, np.uint8)
    masks = []
    for x1, y1, x2, y2 in boxes:
        mask = np.zeros(size, np.uint8)
        mask[y1:y2, x1:x2] = 1
        photo[mask > 0] = 255
        masks.append(coco_mask.encode(np.asfortranarray(mask)))
    cv2.imwrite(str(folder / name), photo)
    return MaskRecord("made", str(folder / name), size, tuple(masks), 1.0, False, stretch)


@pytest.mark.parametrize(
    ("side", "stretch", "shape"),
    [(1000, 1.0, (400, 600)), (300, 1.0, (200, 300)), (1000, 4 / 3, (400, 800)), (300, 4 / 3, (200, 400))],
)
def test_photo_and_masks_keep_in_step(side, stretch, shape, tmp_path):
    image, (mask,) = PhotoStore(side).get(record(tmp_path, stretch=stretch))
    assert image.shape == (*shape, 3) and mask.shape == shape and mask.dtype == bool
    agreement = (image[..., 0] > 157) == mask
    assert agreement.mean() > 0.99


def test_a_speck_that_vanishes_keeps_the_lists_parallel(tmp_path):
    _, masks = PhotoStore(40).get(record(tmp_path, boxes=((5, 5, 7, 7), (100, 100, 300, 250))))
    assert len(masks) == 2 and masks[0].sum() == 1 and masks[1].sum() > 100


def test_memory_stays_within_the_budget(tmp_path, monkeypatch):
    records = [record(tmp_path, f"{number}.png", (100, 100), ((10, 10, 60, 60),)) for number in range(5)]
    size = 100 * 100 * 4  # three colours and one mask
    store = PhotoStore(200, budget=3 * size)
    store.preload(records)
    assert store.used == 3 * size
    read = []
    real = MaskRecord.image
    monkeypatch.setattr(MaskRecord, "image", lambda self, *rest: read.append(self.path) or real(self, *rest))
    for one in records * 2:
        store.get(one)
    assert store.used == 3 * size and len(read) == 4, "three are kept, two are read each time"
