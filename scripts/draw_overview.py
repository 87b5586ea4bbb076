"""Draws the README's picture: a drawn photo, the car cut out of it, and the name that a trained run gives it.

python scripts/draw_overview.py demo-output/run docs/overview.png
"""

from pathlib import Path

import typer

SIDE = 360
GAP = 16


def draw(model: str, output: Path, shape: str = "suv", seed: int = 3) -> None:
    import cv2
    import numpy as np

    from carclf import CarRecognizer
    from carclf.datasets.drawn.scenes import draw_scene
    from detection import choose_main, cut_out, save_image

    photo = draw_scene(shape, np.random.default_rng(seed), (SIDE, SIDE * 4 // 3)).image
    recognizer = CarRecognizer(model)
    main = choose_main(recognizer.detector.detect([photo])[0], photo.shape[:2])
    crop = cut_out(photo, main, recognizer.classifier.style)
    scale = min(SIDE / crop.shape[0], SIDE * 4 / 3 / crop.shape[1])
    crop = cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    canvas = np.full((SIDE + 2 * GAP, 2 * photo.shape[1] + 300 + 4 * GAP, 3), 255, np.uint8)
    canvas[GAP : GAP + SIDE, GAP : GAP + photo.shape[1]] = photo
    left, top = 2 * GAP + photo.shape[1], GAP + (SIDE - crop.shape[0]) // 2
    canvas[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
    left += photo.shape[1] + GAP
    for row, (label, probability) in enumerate(recognizer(photo).top[:4]):
        y = GAP + 70 + 58 * row
        cv2.rectangle(canvas, (left, y + 10), (left + 270, y + 24), (230, 230, 235), -1)
        cv2.rectangle(canvas, (left, y + 10), (left + max(2, round(270 * probability)), y + 24), (46, 110, 190), -1)
        text = f"{label}  {probability:.2f}"
        cv2.putText(canvas, text, (left, y), cv2.FONT_HERSHEY_SIMPLEX, 0.62, (30, 30, 40), 1, cv2.LINE_AA)
    save_image(output, canvas)


if __name__ == "__main__":
    typer.run(draw)
