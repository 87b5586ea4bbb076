"""A small COCO data set made on the spot: bright blocks on noise, for tests that train or evaluate."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from detection.masks.records import MaskSource

COLOURS = ((220, 60, 60), (60, 60, 220), (60, 220, 60))


def make_coco(folder: Path, cars: int = 12, empties: int = 4, categories=("car",)) -> MaskSource:
    """Photos of 120x160 pixels with one block of 60x80 each, and some without; writes images/ and a.json.

    The block's colour tells its category. The masks are compressed run-length encodings.
    """
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    images, annotations = [], []
    for index in range(cars + empties):
        photo = rng.integers(0, 90, (120, 160, 3), dtype=np.uint8)
        mask = np.zeros((120, 160), np.uint8)
        if index < cars:
            x, y = rng.integers(10, 60), rng.integers(10, 40)
            kind = index % len(categories)
            mask[y : y + 60, x : x + 80] = 1
            photo[mask > 0] = COLOURS[kind]
            rle = coco_mask.encode(np.asfortranarray(mask))
            rle["counts"] = rle["counts"].decode()
            annotations.append(
                {"id": index, "image_id": index, "segmentation": rle, "category_id": kind + 1, "iscrowd": 0}
            )
        images.append({"id": index, "file_name": f"{index}.jpg", "height": 120, "width": 160})
        cv2.imwrite(str(folder / "images" / f"{index}.jpg"), photo[..., ::-1])
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": index + 1, "name": name} for index, name in enumerate(categories)],
    }
    (folder / "a.json").write_text(json.dumps(content))
    return MaskSource(name="made", images=str(folder / "images"), annotations=str(folder / "a.json"))


def tiny_training(folder: Path, source: MaskSource, **settings) -> Path:
    """A training config for a few steps on tiny examples; `settings` win. Its output is `folder`/run."""
    values = {
        "output": str(folder / "run"),
        "sources": [source.model_dump(mode="json")],
        "steps": 12,
        "steps_per_epoch": 6,
        "batch_size": 2,
        "warmup_steps": 2,
        "ema": 0.5,
        "workers": 0,
        "validate_every": 100,
        "precision": "float32",
        "device": "cpu",
        "scenes": {"sizes": [[64, 96]]},
        "short_side": 64,
        "long_side": 96,
        **settings,
    }
    path = folder / "training.yaml"
    path.write_text(json.dumps(values))  # JSON is YAML
    return path
