"""Windows of photos in which plates are learnt: each time another part, size and light, now and then other plates."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from detection.images.read import load_image
from detection.masks.parts import FIT, file_digest, part_of, read_parts
from detection.publishing.hiding.plates import HEIGHT, WIDTH
from detection.publishing.hiding.view import GROUND
from scripts.plates.drawn import Random, set_plate, set_words
from scripts.plates.labels import Quads, read_labels

# Of a batch how much is of which photos; "nothing" has no vehicle in it.
SHARES = {"plates": 0.2, "street": 0.14, "stanford_cars": 0.34, "dealer20": 0.1, "porsche": 0.08, "nothing": 0.14}
CARS = ("stanford_cars", "dealer20", "porsche")
STREETS = ("car_masks", "weather")
# Photos of dealer20 are stored squeezed to a square; most were 4:3.
_STRETCHED = {"dealer20": 4 / 3}
_MOST_SIDE = 640  # longer photos are kept smaller, there is nothing to be seen of them in a window
_WIDTHS = 9, 190  # of plates in pixels of a window
_MOSAIC, _DRAWN_OVER, _DRAWN, _WORDS, _REAL = 0.12, 0.3, 0.16, 0.06, 0.25
_AGAIN = 0.6  # how often a photo without a plate is drawn anew
Window = tuple[np.ndarray, Quads]


@dataclass(frozen=True)
class Photo:
    """quads: kind (quad, box, unsure) and corners, float 4x2, of all plates. stretch: its width is to be seen so much
    larger."""

    path: Path
    quads: Quads
    stretch: float = 1.0


def labelled_photos(data: Path, splits: Path, labels: Path, part: str = FIT) -> dict[str, list[Photo]]:
    """The photos of a part whose plates are known, by the names of `SHARES`."""
    known = read_labels(labels)
    boxes = json.loads((data / "plates" / "boxes.json").read_text())
    photos: dict[str, list[Photo]] = {name: [] for name in SHARES}
    for name in CARS:
        for path in photos_of(data, splits, name, part):
            if (quads := known.get(file_digest(path))) is not None:
                photos[name].append(Photo(path, quads, _STRETCHED.get(name, 1.0)))
    for path in photos_of(data, splits, "plates", part):
        photos["plates"].append(Photo(path, [("box", box_quad(box)) for box in boxes.get(path.name, ())]))
    for name in STREETS:
        for path in photos_of(data, splits, name, part):
            if (quads := known.get(file_digest(path))) is not None:
                photos["street"].append(Photo(path, quads))
    photos["nothing"] = [Photo(path, []) for path in photos_of(data, splits, "not_car", part)]
    parts = read_parts(splits / "car_masks.csv")
    photos["nothing"] += [Photo(path, []) for path in _negatives(data) if part_of(path, parts) == part]
    return photos


def photos_of(data: Path, splits: Path, name: str, part: str = FIT) -> list[Path]:
    """The photos of a part of a data set, in order; of car_masks those with vehicles."""
    parts = read_parts(splits / f"{name}.csv")
    folder = data / name if name == "not_car" else data / name / "images"
    without = set(_negatives(data)) if name == "car_masks" else set()
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".jpg", ".jpeg", ".png"))
    return [path for path in paths if path not in without and part_of(path, parts) == part]


def _negatives(data: Path) -> list[Path]:
    images = json.loads((data / "car_masks" / "negatives.json").read_text())["images"]
    return [data / "car_masks" / "images" / image["file_name"] for image in images]


class Windows:
    """An endless supply of windows of HEIGHT x WIDTH pixels. Photos stay in memory once they were read."""

    def __init__(self, rng: Random, photos: Mapping[str, Sequence[Photo]]):
        self._rng, self._photos = rng, {name: list(found) for name, found in photos.items() if found}
        self._names = list(self._photos)
        shares = np.array([SHARES[name] for name in self._names])
        self._shares = shares / shares.sum()
        self._read: dict[Path, np.ndarray] = {}
        self._textures: list[np.ndarray] = []

    def draw(self) -> Window:
        """Pixels (RGB uint8) and what is in them: kind (quad, box, unsure) and corners in pixels."""
        if self._rng.random() >= _MOSAIC:
            pixels, quads = self._part(*self._one(), (HEIGHT, WIDTH))
            return spoilt(self._rng, pixels), quads
        whole, quads = np.empty((HEIGHT, WIDTH, 3), np.uint8), []
        for top in (0, HEIGHT // 2):
            for left in (0, WIDTH // 2):
                pixels, found = self._part(*self._one(), (HEIGHT // 2, WIDTH // 2))
                whole[top : top + HEIGHT // 2, left : left + WIDTH // 2] = pixels
                # What lies beyond its quarter is not seen: clipped, so that `targets` measures what is.
                most = np.array([WIDTH // 2, HEIGHT // 2])
                for kind, quad in found:
                    shown = np.clip(quad, 0, most)
                    if (np.ptp(shown, axis=0) > 0.35 * np.ptp(quad, axis=0)).all():
                        quads.append((kind, shown + np.array([left, top])))
                    elif (np.ptp(shown, axis=0) > 1).all():
                        quads.append(("unsure", shown + np.array([left, top])))
        return spoilt(self._rng, whole), quads

    def _one(self) -> tuple[str, Photo]:
        name = self._names[self._rng.choice(len(self._names), p=self._shares)]
        photos = self._photos[name]
        photo = photos[self._rng.integers(len(photos))]
        if not photo.quads and self._rng.random() < _AGAIN:
            photo = photos[self._rng.integers(len(photos))]
        return name, photo

    def _image(self, photo: Photo) -> np.ndarray:
        image = self._read.get(photo.path)
        if image is None:
            image = load_image(photo.path)
            scale = _MOST_SIDE / max(image.shape[:2])
            if scale < 1:
                image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            self._read[photo.path] = image
        return image

    def _part(self, name: str, photo: Photo, size: tuple[int, int]) -> Window:
        rng, image = self._rng, self._image(photo)
        scale = self._scale(photo, image)
        quads = [(kind, quad * scale) for kind, quad in photo.quads]
        height, width = image.shape[:2]
        plates = [quad for kind, quad in quads if kind != "unsure"]
        stretch = photo.stretch * np.exp(rng.normal(0, 0.06))
        if plates and rng.random() < (0.7 if name in ("plates", "street") else 0.4):  # round a plate of a chosen width
            quad = plates[rng.integers(len(plates))]
            wanted = np.exp(rng.uniform(*np.log(_WIDTHS)))
            wide = np.clip(np.ptp(quad[:, 0]) * size[1] / wanted, 40, 2.2 * max(width, height))
            reach = rng.uniform(-0.45, 0.45, 2) * [wide, wide * size[0] / size[1]]
            middle = quad.mean(axis=0) + reach
        elif name in ("plates", "street", "nothing"):
            wide, middle = rng.uniform(0.3, 1.3) * width, rng.uniform(0.1, 0.9, 2) * [width, height]
        else:  # the car as a whole, as it is looked at
            wide = max(width, height * size[1] / size[0] / stretch) * np.exp(rng.uniform(np.log(0.7), np.log(1.6)))
            middle = (0.5 + rng.uniform(-0.15, 0.15, 2)) * [width, height]
        window, moved = cut(rng, image, middle, wide, stretch, quads, size)
        if name == "nothing":
            return (self._worded(window) if rng.random() < 3 * _WORDS else window), moved
        return self._redrawn(window, moved)

    def _scale(self, photo: Photo, image: np.ndarray) -> float:
        """Of labels, which are in pixels of the file: how much smaller the photo is kept."""
        if max(image.shape[:2]) < _MOST_SIDE:
            return 1.0
        from PIL import Image

        with Image.open(photo.path) as opened:
            return max(image.shape[:2]) / max(opened.size)

    def _redrawn(self, window: np.ndarray, quads: Quads) -> Window:
        """The window with some drawn plates, in place of its own and elsewhere."""
        rng = self._rng
        real = [quad for kind, quad in quads if kind == "quad" and np.ptp(quad[:, 0]) > 28 and _inside(quad, window)]
        if real and len(self._textures) < 3000:
            self._textures += [_straight(window, quad) for quad in real if np.ptp(quad[:, 0]) > 45]
        over, more, words = (rng.random() < share for share in (_DRAWN_OVER, _DRAWN, _WORDS))
        if not ((over and real) or more or words):
            return window, quads
        image = window.astype(np.float32)
        if over:
            others = [(kind, quad) for kind, quad in quads if not any(quad is one for one in real)]
            set_over = [set_plate(rng, image, over=quad) for quad in real]
            quads = others + [("quad", old if new is None else new) for old, new in zip(real, set_over, strict=True)]
        if more:
            height, width = window.shape[:2]
            plate = np.exp(rng.uniform(np.log(12), np.log(0.4 * width)))
            x, y = rng.uniform(0.05, 0.95) * width, rng.uniform(0.2, 0.95) * height
            if not any(
                abs(x - q[:, 0].mean()) < plate + np.ptp(q[:, 0]) and abs(y - q[:, 1].mean()) < plate for _, q in quads
            ):
                texture = (
                    self._textures[rng.integers(len(self._textures))]
                    if self._textures and rng.random() < _REAL
                    else None
                )
                quad = set_plate(rng, image, (x, y), plate, real=texture)
                quads = quads if quad is None else [*quads, ("quad", quad)]
        window = np.clip(image, 0, 255).astype(np.uint8)
        return (self._worded(window, quads) if words else window), quads

    def _worded(self, window: np.ndarray, quads: Quads = ()) -> np.ndarray:
        """Lettering that is no plate, where there is none."""
        image = window.astype(np.float32)
        set_words(self._rng, image, [quad for _, quad in quads])
        return np.clip(image, 0, 255).astype(np.uint8)


def cut(
    rng: Random,
    image: np.ndarray,
    middle: np.ndarray,
    wide: float,
    stretch: float,
    quads: Quads,
    size: tuple[int, int],
) -> Window:
    """A part of a photo, `wide` of its pixels, as (height, width) `size`; a little turned and perhaps mirrored."""
    scale = size[1] / wide
    angle = np.deg2rad(rng.normal(0, 12 if rng.random() < 0.1 else 4))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([stretch, 1]) * scale
    mirrored = rng.random() < 0.5
    if mirrored:
        turn[0] *= -1
    shift = np.array(size[::-1]) / 2 - turn @ np.asarray(middle)
    source = cv2.GaussianBlur(image, (0, 0), 0.45 / scale) if scale < 0.7 else image
    ground = (GROUND,) * 3 if rng.random() < 0.7 else (0, 0, 0)
    window = cv2.warpAffine(source, np.hstack([turn, shift[:, None]]), size[::-1], borderValue=ground)
    moved = [(kind, np.asarray(quad) @ turn.T + shift) for kind, quad in quads]
    return window, [(kind, quad[[1, 0, 3, 2]] if mirrored else quad) for kind, quad in moved]


def spoilt(rng: Random, image: np.ndarray) -> np.ndarray:
    """Another light, blur, noise and JPEG. RGB uint8."""
    if rng.random() < 0.75:
        levels = np.arange(256, dtype=np.float32)[None, :, None].repeat(3, axis=2)
        if rng.random() < 0.6:
            levels = 255 * (levels / 255) ** np.exp(rng.normal(0, 0.3))
        levels = levels * rng.uniform(0.75, 1.2, 3 if rng.random() < 0.3 else 1).astype(np.float32)
        image = cv2.LUT(image, np.clip(levels, 0, 255).astype(np.uint8))
    if rng.random() < 0.25:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.3))
    if rng.random() < 0.2:
        noise = np.empty(image.shape, np.int16)
        cv2.randn(noise, 0, rng.uniform(1, 9))
        image = cv2.add(image, noise, dtype=cv2.CV_8U)
    if rng.random() < 0.3:
        coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 90))])[1]
        image = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    if rng.random() < 0.07:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return image


def box_quad(box: Sequence[float]) -> np.ndarray:
    x1, y1, x2, y2 = box
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], float)


def _inside(quad: np.ndarray, window: np.ndarray) -> bool:
    return bool((quad.min(axis=0) >= 2).all() and (quad.max(axis=0) <= np.array(window.shape[1::-1]) - 2).all())


def _straight(window: np.ndarray, quad: np.ndarray) -> np.ndarray:
    """The picture of a plate, as seen from before it: float32."""
    wide = int(np.linalg.norm(quad[1] - quad[0])), int(max(8, np.linalg.norm(quad[3] - quad[0])))
    square = box_quad((0, 0, *wide)).astype(np.float32)
    matrix = cv2.getPerspectiveTransform(quad.astype(np.float32), square)
    return cv2.warpPerspective(window, matrix, wide).astype(np.float32)
