"""Draws the picture of docs/colour.md: drawn cars, and what the colour of each is told as.

python scripts/draw_colours.py docs/colour.png
"""

import sys
from pathlib import Path

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

SIZE = (150, 220)
ROWS, COLUMNS = 3, 5


def draw(output: Path, seed: int = 4) -> None:
    import cv2
    import numpy as np

    from carclf.classifier.colour.reader import ColourReader
    from carclf.datasets.drawn.scenes import CAR_SHAPES, draw_scene
    from detection import save_image
    from detection.vehicle import Vehicle

    reader, rng = ColourReader.load(), np.random.default_rng(seed)
    height, width = SIZE
    canvas = np.full((ROWS * (height + 30), COLUMNS * (width + 8), 3), 255, np.uint8)
    for place in range(ROWS * COLUMNS):
        scene = draw_scene(list(CAR_SHAPES)[place % len(CAR_SHAPES)], rng, SIZE)
        told = reader(scene.image, Vehicle(scene.box, scene.mask, 1.0))
        top, left = place // COLUMNS * (height + 30), place % COLUMNS * (width + 8)
        canvas[top : top + height, left : left + width] = scene.image
        text = f"{told.word or '(empty)'}  {told.confidence:.2f}"
        cv2.putText(canvas, text, (left + 2, top + height + 19), 0, 0.5, (30, 30, 40), 1, cv2.LINE_AA)
    save_image(output, canvas)


if __name__ == "__main__":
    typer.run(draw)
