"""Takes the pictures of the page that docs/review.md shows, of drawn cars, some of them in a wrong class.

python scripts/take_review_screenshots.py docs [--folder DIR]
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

SHAPES, EACH = ("coupe", "hatchback", "pickup", "sedan", "suv", "van"), 24
WRONG = {("coupe", 2): "sedan", ("van", 5): "suv", ("pickup", 3): "van", ("suv", 7): "hatchback", ("van", 1): "coupe"}
DESKTOP = {"viewport": {"width": 1120, "height": 700}}
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
COLOURS = 128  # of a picture's palette: a third of the bytes


def take(
    output: Path, folder: Annotated[Path | None, typer.Option(help="Keep the photos and their audit here.")] = None
) -> None:
    with tempfile.TemporaryDirectory() as made:
        home = folder or Path(made)
        if not (home / "cars").exists():
            _draw(home / "cars")
        carclf = [sys.executable, "-m", "carclf"]
        subprocess.run([*carclf, "data", "audit", home / "cars", "--output", home / "audit"], check=True)
        (home / "audit" / "corrections.jsonl").unlink(missing_ok=True)
        command = [*carclf, "review", str(home / "audit"), "--port", "0", "--name", "ann"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
            try:
                assert server.stderr is not None
                found = re.search(r"http://[\d.:]+/", server.stderr.readline())
                assert found, "the server has ended"
                _shoot(found.group(), output)
            finally:
                server.terminate()


def _draw(cars: Path) -> None:
    from carclf.datasets.drawn.scenes import draw_scene
    from detection.images.write import save_image

    for shape in SHAPES:
        for number in range(EACH):
            path = cars / WRONG.get((shape, number), shape) / f"{shape[:2]}{number:02}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            save_image(path, draw_scene(shape, np.random.default_rng([number, SHAPES.index(shape)])).image)


def _shoot(address: str, output: Path) -> None:
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(**DESKTOP)
        page.set_default_timeout(60_000)
        page.goto(address)
        page.locator(".cell.seen").nth(9).wait_for()
        page.locator("#photo-0").focus()
        for place, key in enumerate("sasn"):
            page.keyboard.press(key)
            page.wait_for_selector(f"#photo-{place}[data-state]:not([data-state=''])")
        page.wait_for_timeout(3000)
        _save(page, output / "review.png")
        page.select_option("#issue", "label")
        page.wait_for_timeout(1000)
        page.locator("#photo-0").click()
        page.locator("#likes img").first.wait_for()
        page.wait_for_timeout(3000)
        _save(page, output / "review-large.png")
        phone = browser.new_context(**PHONE).new_page()
        phone.goto(address)
        phone.locator(".cell.seen").nth(5).wait_for()
        phone.wait_for_timeout(3000)
        phone.locator("#photo-1").tap()
        phone.locator("#likes img").first.wait_for(state="attached")
        phone.wait_for_timeout(3000)
        _save(phone, output / "review-phone.png")
        browser.close()


def _save(page, path: Path) -> None:
    from PIL import Image

    Image.open(io.BytesIO(page.screenshot())).convert("RGB").quantize(COLOURS).save(path, optimize=True)


if __name__ == "__main__":
    typer.run(take)
