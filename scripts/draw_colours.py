"""Draws the picture of docs/colour.md: drawn cars of twelve paints in three lights, and what their colour is told as.

python scripts/draw_colours.py docs/colour.png
"""

import sys
from pathlib import Path

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

LIGHTS = ("as it is", "warm", "dusk")
WIDTH, HEIGHT = 150, 100


def draw(output: Path, seed: int = 11) -> None:
    import cv2
    import numpy as np
    from colour_training.paints import LIGHTS as HOW
    from colour_training.paints import PLAIN, drawn, lit

    from carclf.classifier.colour.reader import ColourReader
    from detection import save_image

    reader, rng = ColourReader.load(), np.random.default_rng(seed)
    canvas = np.full((len(PLAIN) // 2 * HEIGHT, 2 * len(LIGHTS) * WIDTH, 3), 255, np.uint8)
    for number, word in enumerate(PLAIN):
        car = drawn(word, rng)
        for place, light in enumerate(LIGHTS):
            rgb = lit(car.rgb, **HOW[light])
            told = reader.told(reader.probabilities(rgb, car.mask))
            top, left = number // 2 * HEIGHT, (number % 2 * len(LIGHTS) + place) * WIDTH
            size = (WIDTH - 6, min(HEIGHT - 22, round(rgb.shape[0] * (WIDTH - 6) / rgb.shape[1])))
            canvas[top : top + size[1], left : left + size[0]] = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
            text = f"{told.word or '(empty)'} {told.confidence:.2f}"
            cv2.putText(canvas, text, (left + 2, top + size[1] + 15), 0, 0.42, (30, 30, 40), 1, cv2.LINE_AA)
    save_image(output, canvas)


if __name__ == "__main__":
    typer.run(draw)
