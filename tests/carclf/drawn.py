"""Small drawn photos for the tests of stage 2: each class has a colour and a shape that a tiny network can learn."""

from pathlib import Path

import cv2
import numpy as np

from detection.images.write import save_image

COLOURS = {"red": (210, 40, 40), "green": (40, 180, 60), "blue": (40, 60, 210)}


def draw(colour: tuple[int, int, int], random: np.random.Generator, size: tuple[int, int] = (40, 60)) -> np.ndarray:
    """RGB uint8 HxWx3: noise with a box of the colour."""
    height, width = size
    image = random.integers(150, 255, (height, width, 3), dtype=np.uint8)
    left, top = int(random.integers(4, width // 3)), int(random.integers(4, height // 3))
    cv2.rectangle(image, (left, top), (left + width // 2, top + height // 2), colour, -1)
    return image


def draw_folders(root: Path, each: int = 8, classes=tuple(COLOURS), seed: int = 0) -> Path:
    """root/<class>/<number>.jpg."""
    random = np.random.default_rng(seed)
    for name in classes:
        (root / name).mkdir(parents=True)
        for number in range(each):
            save_image(root / name / f"{number}.jpg", draw(COLOURS[name], random))
    return root
