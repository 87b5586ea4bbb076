"""Windows of photos in which plates are learnt: real ones with their boxes, and drawn ones on cars."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from detection.images.read import load_image
from detection.masks.parts import part_of, read_parts
from detection.publishing.hiding.plates import GROUND, HEIGHT, WIDTH
from scripts.plates.drawn import Random, set_plate

Box = tuple[float, float, float, float]


@dataclass
class Window:
    """pixels: uint8 HxWx3. quads: kind (quad, box, ignore) and corners in its pixels. labelled: whether all plates in
    it are known. real: whether its plates are those of the photo."""

    pixels: np.ndarray
    quads: list[tuple[str, np.ndarray]] = field(default_factory=list)
    labelled: bool = True
    real: bool = False


def cut(
    rng: Random, image: np.ndarray, box: Box, quads: Sequence[np.ndarray] = ()
) -> tuple[np.ndarray, list, np.ndarray]:
    """The box (perhaps beyond the photo) as a window, a little turned and perhaps mirrored; its quads; the matrix."""
    x1, y1, x2, y2 = box
    scale, angle = WIDTH / (x2 - x1), np.deg2rad(rng.normal(0, 4))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale
    mirrored = rng.random() < 0.5
    if mirrored:
        turn[0] *= -1
    shift = np.array([WIDTH / 2, HEIGHT / 2]) - turn @ [(x1 + x2) / 2, (y1 + y2) / 2]
    matrix = np.hstack([turn, shift[:, None]])
    source = cv2.GaussianBlur(image, (0, 0), 0.45 / scale) if scale < 0.7 else image
    ground = (GROUND,) * 3 if rng.random() < 0.7 else (0, 0, 0)
    window = cv2.warpAffine(source, matrix, (WIDTH, HEIGHT), borderValue=ground)
    moved = [np.asarray(quad) @ turn.T + shift for quad in quads]
    return window, [quad[[1, 0, 3, 2]] if mirrored else quad for quad in moved], matrix


def spoilt(rng: Random, image: np.ndarray) -> np.ndarray:
    """Another light, blur, noise and JPEG: uint8."""
    image = np.clip(image, 0, 255).astype(np.float32)
    if rng.random() < 0.5:
        image = 255 * (image / 255) ** rng.uniform(0.65, 1.6)
    if rng.random() < 0.5:
        image = image * rng.uniform(0.75, 1.2, 3 if rng.random() < 0.3 else 1).astype(np.float32)
    if rng.random() < 0.25:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.3))
    if rng.random() < 0.3:
        image = image + rng.normal(0, rng.uniform(1, 9), image.shape).astype(np.float32)
    spoilt = np.clip(image, 0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        coded = cv2.imencode(".jpg", spoilt, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 90))])[1]
        spoilt = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    if rng.random() < 0.07:
        spoilt = np.repeat(spoilt.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    return spoilt


def box_quad(box: Box) -> np.ndarray:
    x1, y1, x2, y2 = box
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], float)


def real_windows(rng: Random, data: Path, splits: Path, each: int, textures: list[np.ndarray]) -> Iterator[Window]:
    """Of the photos whose plates are all labelled, `each` windows; puts pictures of plates into `textures`."""
    parts = read_parts(splits / "plates.csv")
    for name, boxes in sorted(json.loads((data / "plates" / "boxes.json").read_text()).items()):
        path = data / "plates" / "images" / name
        if part_of(path, parts) != "fit":
            continue
        image = load_image(path)
        height, width = image.shape[:2]
        textures += [
            image[round(y1) : round(y2), round(x1) : round(x2)].astype(np.float32)
            for x1, y1, x2, y2 in boxes
            if x2 - x1 > 45
        ]
        for number in range(each):
            if number < each * 0.7 and boxes:  # round a plate that is 16 to 110 pixels wide
                x1, y1, x2, y2 = boxes[rng.integers(len(boxes))]
                wanted = np.exp(rng.uniform(np.log(16), np.log(110)))
                wide = np.clip((x2 - x1) * WIDTH / wanted, 40, 1.6 * max(width, height))
                reach = rng.uniform(-0.42, 0.42, 2) * [wide, wide * HEIGHT / WIDTH]
                middle = np.array([(x1 + x2) / 2, (y1 + y2) / 2]) + reach
            else:
                wide, middle = rng.uniform(0.3, 1.3) * width, rng.uniform(0.1, 0.9, 2) * [width, height]
            window, quads, _ = cut(rng, image, around(middle, wide), [box_quad(box) for box in boxes])
            yield Window(spoilt(rng, window), [("box", quad) for quad in quads], real=True)


def drawn_windows(
    rng: Random, photos: Sequence[tuple[Path, Box | None]], textures: Sequence[np.ndarray], cars: bool
) -> Iterator[Window]:
    """One window of each photo, round the box of its car. cars: false for photos without any, which get no plate."""
    for path, box in photos:
        image = load_image(path)
        height, width = image.shape[:2]
        x1, y1, x2, y2 = box or (0, 0, width, height)
        wide = max(x2 - x1, (y2 - y1) * WIDTH / HEIGHT) * np.exp(rng.uniform(np.log(0.75), np.log(1.9)))
        reach = rng.uniform(-0.15, 0.15, 2) * [wide, wide * HEIGHT / WIDTH]
        middle = np.array([(x1 + x2) / 2, (y1 + y2) / 2]) + reach
        window, _, matrix = cut(rng, image, around(middle, wide))
        window, quads = window.astype(np.float32), []
        corners = box_quad((x1, y1, x2, y2)) @ matrix[:, :2].T + matrix[:, 2]
        (x1, y1), (x2, y2) = corners.min(axis=0), corners.max(axis=0)
        for _ in range((1 + (rng.random() > 0.8)) * (cars and rng.random() < 0.62)):
            plate = np.clip((x2 - x1) * np.exp(rng.uniform(np.log(0.10), np.log(0.34))), 13, 130)
            x = rng.uniform(x1 + 0.08 * (x2 - x1), x2 - 0.08 * (x2 - x1))
            y = y1 + (y2 - y1) * rng.uniform(0.42, 0.93)
            if any(abs(x - q[:, 0].mean()) < 1.3 * plate and abs(y - q[:, 1].mean()) < plate for q in quads):
                continue
            real = textures[rng.integers(len(textures))] if rng.random() < 0.3 else None
            quad = set_plate(rng, window, (x, y), plate, real)
            quads += [] if quad is None else [quad]
        yield Window(spoilt(rng, window), [("quad", quad) for quad in quads], labelled=not cars)


def around(middle: np.ndarray, wide: float) -> Box:
    across, down = wide / 2, wide / 2 * HEIGHT / WIDTH
    return middle[0] - across, middle[1] - down, middle[0] + across, middle[1] + down
