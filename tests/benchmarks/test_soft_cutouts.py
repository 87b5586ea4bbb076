"""The soft cut-out of a car before white is read off the photo itself."""

import cv2
import numpy as np

from benchmarks.soft_cutouts import _before_white
from detection.images.write import save_image


def test_the_alpha_of_a_car_before_white(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels.csv").write_text("file,class,colour\na.png,x,Blue\nb.png,x,White\nc.png,x,Blue\n")
    large = np.zeros((800, 1200), np.float32)
    cv2.ellipse(large, (600, 400), (400, 250), 0, 0, 360, 1, -1)
    part = cv2.resize(large, (300, 200), interpolation=cv2.INTER_AREA)
    photo = 255 - part[..., None] * (255 - np.array([30, 40, 120], np.float32))
    photo[95:105, 140:160] = 255  # a lamp inside, which belongs to the car
    for name in ("a.png", "b.png"):
        save_image(tmp_path / "images" / name, np.rint(photo).astype(np.uint8))
    save_image(tmp_path / "images" / "c.png", np.full((200, 300, 3), 255, np.uint8))
    found = _before_white(tmp_path, "a.png")
    assert found is not None
    alpha = found[1]
    assert np.abs(alpha / 255 - part).max() < 0.02
    assert _before_white(tmp_path, "b.png") is None  # a white car has no edge there
    assert _before_white(tmp_path, "c.png") is None  # nor has nothing
