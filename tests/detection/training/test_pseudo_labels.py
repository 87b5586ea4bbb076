"""Masks kept where several looks agree: with a detector that finds red rectangles, sometimes wrongly."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from detection.common.errors import UsageError
from detection.evaluation.evaluate import iou
from detection.images.write import save_image
from detection.masks.records import MaskSource, read_source
from detection.training.pseudo_labels import LOOKS, label_folder, pseudo_label


class RedFinder:
    """Finds red pieces; `errors[i]` is what its i-th look adds to the lower edge of each, in rows."""

    def __init__(self, errors=(0, 0, 0, 0), missing=()):
        self.errors, self.missing, self.looks = errors, missing, 0

    def soft_masks(self, image, scale):
        look = self.looks % len(LOOKS)
        self.looks += 1
        red = ((image[..., 0] > 150) & (image[..., 1] < 100)).astype(np.uint8)
        count, labels = cv2.connectedComponents(red)
        pieces = [(labels == index).astype(np.float32) for index in range(1, count)]
        if look in self.missing:
            return pieces[1:]
        return [self._grown(piece, self.errors[look]) for piece in pieces]

    @staticmethod
    def _grown(piece, rows):
        bottom = np.flatnonzero(piece.any(axis=1))[-1]
        grown = piece.copy()
        grown[bottom + 1 : bottom + 1 + rows] = piece[bottom]
        return grown


def photo(*boxes, size=(120, 200)):
    image = np.full((*size, 3), 80, np.uint8)
    truth = []
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = 200, 30, 30
        mask = np.zeros(size, bool)
        mask[y1:y2, x1:x2] = True
        truth.append(mask)
    return image, truth


def test_agreeing_looks_give_their_mean():
    image, (truth,) = photo((20, 40, 120, 100))
    label = pseudo_label(RedFinder(errors=(0, 1, 0, 1)), image)
    assert label.agreement > 0.97 and iou(label.masks[0], truth) > 0.97


def test_mirrored_looks_are_turned_back():
    image, (truth,) = photo((5, 40, 60, 100))
    assert np.array_equal(pseudo_label(RedFinder(), image).masks[0], truth)


@pytest.mark.parametrize("finder", [RedFinder(errors=(0, 0, 0, 9)), RedFinder(missing=(2,))])
def test_disagreement_is_no_label(finder):
    image, _ = photo((20, 40, 120, 100))
    assert pseudo_label(finder, image) is None


def test_nothing_found_is_no_label():
    assert pseudo_label(RedFinder(), photo()[0]) is None


def test_each_vehicle_keeps_its_own_mask():
    image, truth = photo((10, 40, 80, 100), (100, 50, 190, 110))
    masks = pseudo_label(RedFinder(), image).masks
    assert sorted(mask.sum() for mask in masks) == sorted(mask.sum() for mask in truth)


def test_a_folder_becomes_a_coco_file_that_training_reads(tmp_path):
    images = tmp_path / "images"
    (images / "a").mkdir(parents=True)
    save_image(images / "a" / "one.png", photo((20, 40, 120, 100))[0])
    save_image(images / "two.png", photo()[0])
    save_image(images / "known.png", photo((20, 40, 120, 100))[0])
    (images / "broken.png").write_bytes(b"no photo")
    target = tmp_path / "out" / "labels.json"
    kept, seen = label_folder(RedFinder(), images, target, skip=lambda name: name == "known.png")
    assert (kept, seen) == (1, 3)
    content = json.loads(target.read_text())
    assert content["annotations"][0]["bbox"] == [20, 40, 100, 60]
    records = read_source(MaskSource(name="pseudo", images=str(images), annotations=str(target)))
    assert [len(record.masks) for record in records] == [1]
    assert coco_mask.area(records[0].masks[0]) == 6000


def test_squeezed_photos_are_looked_at_unsqueezed_and_labelled_squeezed(tmp_path):
    save_image(tmp_path / "one.png", photo((20, 40, 120, 100), size=(120, 160))[0])
    target = tmp_path / "labels.json"
    label_folder(RedFinder(), tmp_path, target, stretch=4 / 3)
    annotation = json.loads(target.read_text())["annotations"][0]
    assert annotation["segmentation"]["size"] == [120, 160]
    assert np.abs(np.array(annotation["bbox"]) - [20, 40, 100, 60]).max() <= 1


def test_an_empty_folder(tmp_path):
    with pytest.raises(UsageError, match="no photo to label"):
        label_folder(RedFinder(), tmp_path, tmp_path / "labels.json")
