"""Takes the pictures of the service's page that docs/service.md shows: one of each state, of drawn scenes.

python scripts/take_screenshots.py demo-output/run docs/service
"""

import asyncio
import io
import shutil
import socket
import threading
import time
from pathlib import Path

import typer

DESKTOP, SMALL = {"width": 1100, "height": 760}, {"width": 860, "height": 760}
PHONE = {"width": 390, "height": 844}
SEEDS = {"suv": 3}
COLOURS = 255  # of a picture's palette: a third of the bytes


def take(model: str, output: Path, chromium: str = "chromium") -> None:
    from playwright.sync_api import sync_playwright

    output.mkdir(parents=True, exist_ok=True)
    photos = _photos()
    address, backend, stop = _serve(model)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which(chromium) or chromium, args=["--no-sandbox"]
            )
            _Shots(browser, address, backend, photos, output).all()
            browser.close()
    finally:
        stop()


class _Shots:
    """A page of its own for each state."""

    def __init__(self, browser, address: str, backend, photos: dict[str, bytes], output: Path):
        self.browser, self.address, self.backend = browser, address, backend
        self.photos, self.output = photos, output

    def all(self) -> None:
        self.take("empty", [])
        self.take("car", ["suv.jpg"])
        self.take("car-dark", ["coupe.jpg"], scheme="dark")
        self.take("phone", ["pickup.jpg"], phone=True)
        self.take("no-car", ["street.jpg"])
        self.take("several", ["van.jpg", "street.jpg", "half.jpg"], whole=True)
        self.backend.threshold(0.999)
        self.take("unknown", ["hatchback.jpg"])
        self.backend.threshold(None)
        self.take("unreadable", ["half.jpg"])
        self.backend.mood = "slow"
        self.take("waiting", ["suv.jpg"], state="waiting")
        self.backend.mood = "busy"
        self.take("busy", ["suv.jpg"], state="busy")
        self.backend.mood = "broken"
        self.take("error", ["suv.jpg"])
        self.backend.mood = "loading"
        self.take("loading", [])
        self.backend.mood = "well"
        self.take("key", [], html=lambda text: text.replace('data-key="none"', 'data-key="required"'))

    def take(self, name, files, state=None, phone=False, scheme="light", whole=False, html=None) -> None:
        from playwright.sync_api import expect

        context = self.browser.new_context(
            viewport=PHONE if phone else SMALL if whole else DESKTOP,
            color_scheme=scheme,
            has_touch=phone,
            is_mobile=phone,
            device_scale_factor=1.5 if phone else 1,
        )
        page = context.new_page()
        if html is not None:
            page.route(self.address + "/", lambda route: route.fulfill(
                response=(answer := route.fetch()), body=html(answer.text())
            ))  # fmt: skip
        page.goto(self.address)
        if self.backend.mood != "loading":
            page.wait_for_load_state("networkidle")
        if files:
            page.set_input_files("#files", [
                {"name": file, "mimeType": "image/jpeg", "buffer": self.photos[file]} for file in files
            ])  # fmt: skip
            busy = ":not([data-state=waiting]):not([data-state=busy])" if state is None else f"[data-state={state}]"
            expect(page.locator(f".card{busy}")).to_have_count(len(files), timeout=60_000)
            page.wait_for_timeout(400)
        elif self.backend.mood == "loading":
            page.wait_for_selector("#note:not([hidden])")
        _save(page.screenshot(full_page=phone or whole), self.output / f"{name}.png")
        context.close()


def _save(data: bytes, path: Path) -> None:
    from PIL import Image

    image = Image.open(io.BytesIO(data)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    image.save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def _photos() -> dict[str, bytes]:
    """Files of drawn scenes by name: one per car shape, a street without a car, a file that lost its end."""
    import cv2
    import numpy as np
    from PIL import Image

    from carclf.datasets.drawn.car_shapes import CAR_SHAPES
    from carclf.datasets.drawn.scenes import draw_background, draw_scene

    def encoded(image) -> bytes:
        file = io.BytesIO()
        # Without the camera's noise, which would be most of a picture's bytes.
        image = cv2.bilateralFilter(cv2.medianBlur(image, 5), 9, 30, 7)
        Image.fromarray(image).save(file, "JPEG", quality=90)
        return file.getvalue()

    size = (600, 800)
    photos = {
        f"{shape}.jpg": encoded(draw_scene(shape, np.random.default_rng(SEEDS.get(shape, 1)), size).image)
        for shape in CAR_SHAPES
    }
    photos["street.jpg"] = encoded(draw_background(np.random.default_rng(2), size))
    photos["half.jpg"] = photos["suv.jpg"][: len(photos["suv.jpg"]) // 2]
    return photos


def _serve(model: str):
    """A real service over a real model, which can be told to be busy, slow, broken or still loading."""
    import uvicorn

    from carclf.recognition.answers import Answers
    from carclf.service.choose import load_recognizer
    from carclf.service.contract import Answer, Busy
    from carclf.service.local.backend import LocalBackend
    from carclf.service.settings import ServiceSettings
    from carclf.service.web.app import create_app

    class Moody(LocalBackend):
        mood = "well"

        def ready(self) -> bool:
            return super().ready() and self.mood != "loading"

        def threshold(self, least: float | None) -> None:
            self._recognizer.answers = Answers(self._recognizer.classifier, threshold=least)

        async def recognize(self, uploads, pictures=False):
            if self.mood == "busy":
                raise Busy("64 photos wait already")
            if self.mood == "slow":
                await asyncio.sleep(5)
            if self.mood == "broken":
                return [Answer(file=one.name, status="error", reason="the detector failed") for one in uploads]
            return await super().recognize(uploads, pictures)

    settings = ServiceSettings.of(model=model)
    backend = Moody(lambda: load_recognizer(settings), settings)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(backend, settings), log_config=None))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    while not backend.ready():
        time.sleep(0.1)

    def stop() -> None:
        server.should_exit = True
        thread.join(20)

    return f"http://127.0.0.1:{listener.getsockname()[1]}", backend, stop


if __name__ == "__main__":
    typer.run(take)
