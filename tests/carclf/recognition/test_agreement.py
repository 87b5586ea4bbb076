"""Folder runs and prediction find cars by one rule: the same photos have one, in the same place."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from carclf import CarRecognizer
from carclf.datasets.drawn.car_shapes import CAR_SHAPES
from carclf.datasets.drawn.scenes import draw_background, draw_scene
from detection import CutoutStyle, clean_folder, load_detector
from detection.images.write import save_image


class AnyName:
    """A classifier of one class: only what is found matters here."""

    classes = ("car", "other")
    style = CutoutStyle()
    detector = "compact"

    def predict(self, crops, batch_size=32):
        return np.tile(np.float32([0.9, 0.1]), (len(crops), 1))


def compare(photos: list[Path], root: Path, tmp_path: Path) -> dict[str, int]:
    """How many photos have which status, after both said the same of each, box and reason included."""
    source = tmp_path / "in"
    for photo in photos:
        link = source / photo.relative_to(root)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(photo)
    clean_folder(
        source, tmp_path / "out", load_detector("compact", device="cpu"), CutoutStyle(no_car="skip"), progress=False
    )
    with open(tmp_path / "out" / "manifest.csv", newline="") as file:
        rows = {row["source"]: row for row in csv.DictReader(file)}
    recognizer = CarRecognizer(AnyName(), device="cpu")
    counts: dict[str, int] = {}
    for found in recognizer([source / photo.relative_to(root) for photo in photos]):
        row = rows.pop(Path(found.file).relative_to(source).as_posix())
        assert row["status"] == found.status, found
        counts[found.status] = counts.get(found.status, 0) + 1
        if found.status == "ok":
            assert [float(row[corner]) for corner in ("x1", "y1", "x2", "y2")] == list(found.box), found
        else:
            assert row["reason"] in found.reason, found
    assert not rows
    return counts


def test_drawn_photos(tmp_path):
    photos = []
    for number, shape in enumerate([*CAR_SHAPES][:4]):
        rng = np.random.default_rng(number)
        scene = draw_scene(shape, rng, (240, 320)).image
        for name, picture in (
            ("scene", scene),
            ("dark", (scene * 0.2).astype(np.uint8)),
            ("empty", draw_background(rng)),
        ):
            photos.append(tmp_path / "drawn" / f"{name}-{number}.png")
            photos[-1].parent.mkdir(exist_ok=True)
            save_image(photos[-1], picture)
    counts = compare(photos, tmp_path / "drawn", tmp_path)
    assert counts["ok"] >= 6 and counts["no_car"] >= 3, counts


@pytest.mark.slow
def test_real_photos(shared_data, tmp_path):
    def every(step: int, *parts: str) -> list[Path]:
        return sorted(path for path in shared_data.joinpath(*parts).rglob("*") if path.suffix in (".jpg", ".png"))[
            ::step
        ]

    negatives = json.loads((shared_data / "car_masks" / "negatives.json").read_text())["images"]
    photos = [
        *every(8, "stanford_cars", "scenes"), *every(300, "stanford_cars", "images"), *every(40, "dealer20", "images"),
        *every(4, "weather", "images"), *every(2, "not_car"), *every(6, "plates", "images"),
        *(shared_data / "car_masks" / "images" / one["file_name"] for one in negatives[::8]),
    ]  # fmt: skip
    counts = compare(photos, shared_data, tmp_path)
    assert counts["ok"] > 100 and counts["no_car"] > 100, counts
