"""Takes the picture of the pages that docs/stock.md shows, of drawn cars, each seen from some sides.

python scripts/take_stock_screenshot.py docs [--folder DIR]
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

# Which way the nose points, and how far the car is turned to us: -1 shows the tail, 1 the nose.
VIEWS = {
    "front left": (False, 0.65),
    "left": (False, 0.0),
    "rear left": (False, -0.65),
    "front right": (True, 0.65),
    "right": (True, 0.0),
    "rear right": (True, -0.65),
}
CARS = (
    ("A 1041 sedan", "sedan", 3, tuple(VIEWS)),
    ("A 1042 suv", "suv", 5, ("front left", "left", "rear left", "front right", "right")),
    ("A 1043 hatchback", "hatchback", 8, ("front left", "rear right", "front right")),
    ("B 2001 coupe", "coupe", 13, tuple(VIEWS)),
)
SIZE = 360, 480  # of a photo, height and width
WINDOW = {"width": 1120, "height": 740}
COLOURS = 160  # of the picture's palette: a third of the bytes


def take(
    output: Path, folder: Annotated[Path | None, typer.Option(help="Keep the photos and their pages here.")] = None
) -> None:
    from PIL import Image
    from playwright.sync_api import sync_playwright

    from carclf.tools.stock.page import write_pages
    from carclf.tools.stock.stock import look_at_stock
    from detection.common.files import replace_file

    with tempfile.TemporaryDirectory() as made:
        home = folder or Path(made)
        if not (home / "cars").exists():
            _draw(home / "cars")
        page = write_pages(look_at_stock(home / "cars", home / "stock"), home / "stock")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            tab = browser.new_page(viewport=WINDOW)
            tab.goto(page.resolve().as_uri())
            shot = Image.open(io.BytesIO(tab.screenshot())).convert("RGB").quantize(COLOURS)
            browser.close()
        data = io.BytesIO()
        shot.save(data, "PNG", optimize=True)
        replace_file(output / "stock.png", data.getvalue())


def _draw(folder: Path) -> None:
    import cv2

    from detection.images.write import save_image

    for name, kind, seed, sides in CARS:
        (folder / name).mkdir(parents=True)
        for number, side in enumerate(sides):
            photo = _photo(kind, seed, *VIEWS[side], np.random.default_rng([seed, number]))
            if name.startswith("A 1043") and number == 1:
                photo = cv2.GaussianBlur(photo, (0, 0), 4)
            save_image(folder / name / f"{number + 1}.jpg", photo)


def _photo(kind: str, seed: int, flip: bool, yaw: float, rng: np.random.Generator) -> np.ndarray:
    """RGB uint8; cars of one seed have one body and one paint."""
    from carclf.datasets.drawn.car_painting import paint_car
    from carclf.datasets.drawn.car_shapes import BODIES, Camera, vary
    from carclf.datasets.drawn.streets import draw_street

    height, width = SIZE
    body = vary(BODIES[kind], np.random.default_rng(seed))
    camera = Camera(body, yaw, 900 + 350 * abs(yaw), 150, flip)
    corners = [(x, y, z) for x in (0, body.length) for y in (0, body.height) for z in (0, body.width)]
    seen = camera.project(np.array(corners, float))
    camera.focal = min(0.78 * width / np.ptp(seen[:, 0]), 0.6 * height / np.ptp(seen[:, 1]))
    camera.center = width / 2 - camera.focal * (seen[:, 0].min() + seen[:, 0].max()) / 2
    camera.horizon = 0.84 * height - camera.focal * seen[:, 1].max()
    canvas = draw_street(rng, height, width, camera.horizon, 0.66 * height, camera.height)
    paint_car(canvas, np.zeros((height, width), np.uint8), kind, camera, np.random.default_rng(seed))
    return canvas


if __name__ == "__main__":
    typer.run(take)
