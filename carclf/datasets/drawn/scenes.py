"""Drawn street scenes with one car each and its exact mask: practice pictures that need no download.

The same generator gives `carclf demo` its labelled set and the detector a small synthetic part of its training.
Everything follows from a numpy Generator: the same seed draws the same pictures.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from carclf.datasets.drawn.car_painting import paint_car
from carclf.datasets.drawn.car_shapes import BODIES, CAR_SHAPES, Camera, vary
from carclf.datasets.drawn.streets import draw_street
from carclf.datasets.drawn.things import post
from detection.common.files import replace_file

__all__ = ["CAR_SHAPES", "NEGATIVES_FOLDER", "DrawnScene", "draw_background", "draw_scene", "write_dataset"]

SUPERSAMPLING = 2
JPEG_QUALITY = 92
NEGATIVES_FOLDER = "no_car"


@dataclass(frozen=True, eq=False)
class DrawnScene:
    """image RGB uint8 HxWx3; mask bool HxW, the car's visible pixels; box xyxy pixels, half open, tight on the mask."""

    image: np.ndarray
    mask: np.ndarray
    box: tuple[float, float, float, float]
    shape: str


def draw_scene(shape: str, rng: np.random.Generator, size: tuple[int, int] = (360, 480)) -> DrawnScene:
    """Draw one street with one car of this shape; size is (height, width) in pixels, at least 64 each.

    Raises KeyError for a shape that is not in CAR_SHAPES and ValueError for a smaller size.
    """
    h, w = _canvas_size(size)
    camera, ground, far_ground = _place(vary(BODIES[shape], rng), rng, h, w)
    kerb = camera.horizon + (far_ground - camera.horizon) * rng.uniform(0.72, 0.97)
    canvas = draw_street(rng, h, w, camera.horizon, kerb, camera.height)
    if rng.random() < 0.5:  # the lens is focused on the car
        canvas = cv2.blur(cv2.blur(canvas, (s := int(rng.integers(2, 9)), s)), (s, s))
    _shadow(canvas, camera, rng)
    mask = np.zeros((h, w), np.uint8)
    paint_car(canvas, mask, shape, camera, rng)
    if rng.random() < 0.22:
        _occlude(canvas, mask, camera, ground, rng)
    height, width = size
    small = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA) > 127
    ys, xs = np.flatnonzero(small.any(1)), np.flatnonzero(small.any(0))
    box = (float(xs[0]), float(ys[0]), float(xs[-1] + 1), float(ys[-1] + 1))
    return DrawnScene(_photograph(canvas, size, rng), small, box, shape)


def draw_background(rng: np.random.Generator, size: tuple[int, int] = (360, 480)) -> np.ndarray:
    """Draw a street of the same kind without any car: RGB uint8 HxWx3; size is (height, width) in pixels."""
    h, w = _canvas_size(size)
    horizon, eye = rng.uniform(0.25, 0.6) * h, rng.uniform(110, 260)
    kerb = horizon + rng.uniform(0.1, 0.35) * h
    canvas = draw_street(rng, h, w, horizon, kerb, eye)
    for _ in range(rng.integers(0, 4)):
        row = rng.uniform(kerb, 1.05 * h)
        kind = rng.choice(["person", "bollard", "lamp", "crates", "bin", "sign", "trunk", "bench"])
        post(canvas, rng, kind, rng.uniform(0, w), row, (row - horizon) / eye)
    return _photograph(canvas, size, rng)


def write_dataset(output: Path, per_class: int, seed: int, negatives: int = 0) -> Path:
    """Write `per_class` scenes of every shape and `negatives` streets without a car; returns the path of labels.csv.

    OUT/images/<shape>/<n>.jpg and OUT/images/no_car/<n>.jpg, OUT/labels.csv (file,class; the cars only, files relative
    to OUT/images) and OUT/annotations.json (COCO, one category car, RLE masks, file_name relative to OUT/images).
    Picture n of a shape depends on seed, shape and n alone, so a larger set contains the smaller one.
    """
    from pycocotools import mask as rle

    output = Path(output)
    images: list[dict] = []
    annotations: list[dict] = []
    labels = []

    def add(name: str, image: np.ndarray) -> int:
        ok, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        if not ok:
            raise OSError(f"OpenCV could not encode {name} as JPEG.")
        _write(output / "images" / name, data.tobytes())
        images.append({"id": len(images) + 1, "file_name": name, "height": image.shape[0], "width": image.shape[1]})
        return len(images)

    for index, shape in enumerate(CAR_SHAPES):
        for n in range(per_class):
            scene = draw_scene(shape, np.random.default_rng([seed, index, n]))
            name = f"{shape}/{n:04d}.jpg"
            code = rle.encode(np.asfortranarray(scene.mask.astype(np.uint8)))
            x0, y0, x1, y1 = scene.box
            annotations.append({
                "id": len(annotations) + 1, "image_id": add(name, scene.image), "category_id": 1, "iscrowd": 0,
                "bbox": [x0, y0, x1 - x0, y1 - y0], "area": int(scene.mask.sum()),
                "segmentation": {"size": [int(v) for v in code["size"]], "counts": code["counts"].decode("ascii")},
            })  # fmt: skip
            labels.append((name, shape))
    for n in range(negatives):
        add(f"{NEGATIVES_FOLDER}/{n:04d}.jpg", draw_background(np.random.default_rng([seed, len(CAR_SHAPES), n])))
    coco = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "car"}]}
    _write(output / "annotations.json", json.dumps(coco).encode())
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("file", "class"), *labels])
    _write(output / "labels.csv", text.getvalue().encode())
    return output / "labels.csv"


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, data)


def _canvas_size(size: tuple[int, int]) -> tuple[int, int]:
    if min(size) < 64:
        raise ValueError(f"A scene needs at least 64 pixels per side, not {size[0]}x{size[1]}: ask for a larger size.")
    return size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING


def _place(body, rng: np.random.Generator, h: int, w: int) -> tuple[Camera, float, float]:
    """A camera that shows the body 25-80 % of the frame wide, and the rows where its near and far side touch ground."""
    yaw = rng.normal(0, 0.05) if rng.random() < 0.3 else rng.choice([-1, 1]) * rng.uniform(0.1, 0.85)
    camera = Camera(body, yaw, rng.uniform(650, 1300) + 350 * abs(yaw), rng.uniform(95, 230), bool(rng.random() < 0.5))
    corners = np.array([(x, y, z) for x in (0, body.length) for y in (0, body.height) for z in (0, body.width)], float)
    p = camera.project(corners)
    span = np.ptp(p, axis=0)
    camera.focal = min(w * (0.25 + 0.55 * rng.beta(2, 1.3)) / span[0], 0.82 * h / span[1])
    wide = camera.focal * span[0]
    slack = max(w - wide, 0) / 2
    middle = w / 2 + rng.uniform(-0.85, 0.85) * slack
    if rng.random() < 0.12:  # cut by the frame
        middle = w / 2 + rng.choice([-1, 1]) * (slack + wide * rng.uniform(0.04, 0.16))
    camera.center = middle - camera.focal * (p[:, 0].min() + p[:, 0].max()) / 2
    top, bottom = camera.focal * p[:, 1].min(), camera.focal * p[:, 1].max()
    room = h - (bottom - top)
    camera.horizon = room * rng.uniform(0.35, 0.95) - top
    ground = camera.project(corners[corners[:, 1] == 0])[:, 1]
    return camera, float(ground.max()), float(ground.min())


def _shadow(canvas: np.ndarray, camera: Camera, rng: np.random.Generator) -> None:
    """Contact shadow under the car and, in sun, a cast shadow to one side; darkens the canvas in place."""
    h, w = canvas.shape[:2]
    body, dark = camera.shape, np.zeros((h // 4, w // 4), np.float32)

    def footprint(x0, x1, z0, z1):
        p = camera.project(np.array([(x0, 0, z0), (x1, 0, z0), (x1, 0, z1), (x0, 0, z1)], float)) / 4
        layer = np.zeros_like(dark)
        cv2.fillConvexPoly(layer, np.round(p * 16).astype(np.int32), 1.0, cv2.LINE_8, 4)
        return layer

    soft = max(0.8, 3.2 * camera.focal / camera.distance)  # cm to quarter-size pixels
    if rng.random() < 0.5:
        dx, dz = rng.uniform(-90, 90), rng.uniform(-70, 60)
        cast = footprint(max(-20, dx), body.length + min(20, dx) + max(dx, 0) * 0.6, dz, body.width + dz)
        dark = cv2.GaussianBlur(cast, (0, 0), soft * 0.35) * rng.uniform(0.3, 0.6)
    contact = cv2.GaussianBlur(footprint(4, body.length - 4, 6, body.width), (0, 0), soft)
    wheels = sum(footprint(x - 22, x + 22, -4, body.width + 4) for x in body.axles)
    dark = np.maximum(dark, contact * rng.uniform(0.65, 0.9))
    dark = np.maximum(dark, cv2.GaussianBlur(wheels, (0, 0), soft * 0.6) * 0.75)
    light = cv2.resize(((1 - np.clip(dark, 0, 0.92)) * 255).astype(np.uint8), (w, h))
    cv2.multiply(canvas, cv2.cvtColor(light, cv2.COLOR_GRAY2RGB), dst=canvas, scale=1 / 255)


def _occlude(canvas: np.ndarray, mask: np.ndarray, camera: Camera, ground: float, rng: np.random.Generator) -> None:
    """Stand something thin in front of the car and take its pixels out of the mask."""
    xs = np.flatnonzero(mask.any(0))
    x, foot = rng.uniform(xs[0], xs[-1]), ground + rng.uniform(0.01, 0.08) * canvas.shape[0]
    k = (foot - camera.horizon) / camera.height
    post(canvas, rng, rng.choice(["lamp", "bollard", "bollard", "sign", "trunk", "person"]), x, foot, k, mask)


def _photograph(canvas: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """What a camera does to a view: exposure, cast, vignette, softness, sensor noise, JPEG; RGB uint8 at size."""
    h, w = size
    image = cv2.resize(canvas, (w, h), interpolation=cv2.INTER_AREA)
    gain, gamma = rng.uniform(0.8, 1.2), rng.uniform(0.8, 1.2)
    if rng.random() < 0.08:  # dusk
        gain, gamma = rng.uniform(0.35, 0.55), 1.1
    cast = gain * (1 + rng.normal(0, 0.035, 3))
    ramp = (np.arange(256) / 255.0) ** gamma
    table = np.clip(255 * ramp[:, None] * cast + rng.uniform(0, 10), 0, 255).astype(np.uint8)
    image = cv2.LUT(image, table[None])
    light = 1 + rng.uniform(-0.18, 0.05) * np.add.outer(np.linspace(-1, 1, 9) ** 2, np.linspace(-1, 1, 9) ** 2)
    light += rng.uniform(-0.12, 0.12) * np.linspace(-1, 1, 9)[None]
    field = cv2.resize(light.astype(np.float32), (w, h), interpolation=cv2.INTER_CUBIC)
    pixels: np.ndarray = image.astype(np.float32) * field[..., None]
    if rng.random() < 0.35:
        pixels = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.4, 1.0))
    pixels += rng.standard_normal((h, w, 1), dtype=np.float32) * rng.uniform(1, 6)
    blotches = rng.standard_normal((h // 2 + 1, w // 2 + 1, 3), dtype=np.float32) * rng.uniform(0, 3)
    pixels += cv2.resize(blotches, (w, h), interpolation=cv2.INTER_NEAREST)
    image = np.clip(pixels, 0, 255).astype(np.uint8)
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(45, 96))])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None  # it was encoded just now
    return np.ascontiguousarray(decoded[..., ::-1])
