"""What people write first, for comparison: one photo at a time through Detectron2's DefaultPredictor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

VEHICLES = (2, 5, 7)


def make_predictor(model: str, weights: Path, device: str):
    """DefaultPredictor of a model-zoo model with weights from a .safetensors file."""
    from detectron2 import model_zoo
    from detectron2.engine import DefaultPredictor
    from safetensors.torch import load_file

    cfg = model_zoo.get_config(f"{model}.yaml")
    cfg.MODEL.WEIGHTS = ""
    cfg.MODEL.DEVICE = device
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.5
    predictor = DefaultPredictor(cfg)
    state = {name: value.float() for name, value in load_file(weights).items()}
    predictor.model.load_state_dict(state, strict=False)
    return predictor


def clean(predictor, files: Sequence[Path], output: Path) -> int:
    """Cuts out the largest vehicle of each photo on white; returns how many boxes the model found."""
    boxes = 0
    for file in files:
        instances = predictor(cv2.imread(str(file)))["instances"].to("cpu")
        boxes += len(instances)
        photo = Image.open(file).convert("RGB")
        vehicles = torch.isin(instances.pred_classes, torch.tensor(VEHICLES))
        masks = instances.pred_masks[vehicles].numpy()
        if len(masks):
            mask = max(masks, key=np.sum)
            pixels = np.array(photo)
            pixels[~mask] = 255
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            if len(rows):
                photo = Image.fromarray(pixels).crop((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
        target = output / file.name
        photo.save(target.with_suffix(".jpg"), quality=95)
    return boxes
