"""Draws the picture of docs/studio.md: drawn photos, and the same cars in the studio's five rooms.

python scripts/draw_studio.py docs/studio.jpg
"""

from pathlib import Path

import typer

WIDTH, HEIGHT, GAP = 400, 300, 8
# Shape, seed of the drawn photo, and how the car is shown.
CARS = (
    ("sedan", 1, {"backdrop": "studio-white"}),
    ("suv", 3, {"backdrop": "studio-grey", "light": "left"}),
    ("hatchback", 5, {"backdrop": "showroom", "reflection": 0.2}),
    ("pickup", 2, {"backdrop": "dusk"}),
    ("van", 4, {"backdrop": "concrete"}),
    ("sedan", 9, {"backdrop": "#dfe6ee:#9aa6b4", "reflection": 0.15}),
)


def draw(output: Path) -> None:
    import cv2
    import numpy as np

    from carclf.datasets.drawn.scenes import draw_scene
    from detection import Vehicle, save_image
    from detection.publishing.studio.compose import set_in_studio
    from detection.publishing.studio.style import studio_style

    rows = []
    for start in range(0, len(CARS), 3):
        photos, pictures = [], []
        for shape, seed, values in CARS[start : start + 3]:
            scene = draw_scene(shape, np.random.default_rng(seed), (3 * HEIGHT, 3 * WIDTH))
            vehicle = Vehicle(scene.box, scene.mask, 1.0)
            made = set_in_studio(scene.image, vehicle, studio_style(f"{2 * WIDTH}x{2 * HEIGHT}", **values))
            for line, picture in ((photos, scene.image), (pictures, made)):
                small = cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
                line.append(np.pad(small, ((0, GAP), (0, GAP), (0, 0)), constant_values=255))
        rows += [np.concatenate(photos, axis=1), np.concatenate(pictures, axis=1)]
    save_image(output, np.concatenate(rows, axis=0)[:-GAP, :-GAP], 86)


if __name__ == "__main__":
    typer.run(draw)
