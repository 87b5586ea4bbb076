"""The reader of sides: mirrors, sizes, its file, and real photos where there are some."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from carclf.classifier.colour.view import vehicle_view
from carclf.datasets.drawn.scenes import draw_scene
from carclf.tools.stock.side.features import FEATURES, features_of
from carclf.tools.stock.side.reader import WEIGHTS_FILE, SideReader
from carclf.tools.stock.side.sides import KINDS, MIRRORED
from detection.common.errors import UsageError
from detection.vehicle import Vehicle

SIDES_BY_EYE = Path(__file__).resolve().parents[4] / "data" / "splits" / "sides.csv"


@pytest.fixture(scope="module")
def reader() -> SideReader:
    return SideReader.load()


@pytest.fixture(scope="module")
def view() -> tuple[np.ndarray, np.ndarray]:
    scene = draw_scene("sedan", np.random.default_rng(4))
    return vehicle_view(scene.image, Vehicle(box=scene.box, mask=scene.mask, score=1.0, kind="car"))


def test_a_mirror_image_shows_the_mirrored_side(reader, view):
    rgb, mask = view
    plain = reader.probabilities(rgb, mask)
    mirrored = reader.probabilities(np.ascontiguousarray(rgb[:, ::-1]), mask[:, ::-1])
    assert plain is not None and mirrored is not None
    assert plain.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(mirrored, plain[list(MIRRORED)], atol=1e-5)


def test_features_do_not_see_what_is_not_the_car(view):
    rgb, mask = view
    other = rgb.copy()
    other[~mask] = (0, 255, 0)
    np.testing.assert_array_equal(features_of(rgb, mask), features_of(other, mask))
    assert features_of(rgb, mask).shape == (FEATURES,) and features_of(rgb, mask).dtype == np.float32


def test_of_what_is_too_small_nothing_is_said(reader):
    rgb, mask = np.zeros((40, 40, 3), np.uint8), np.zeros((40, 40), bool)
    assert reader.probabilities(rgb, mask) is None
    mask[5:15, 5:35] = True
    assert reader.probabilities(rgb, mask) is None
    mask[5:35] = True
    assert np.isfinite(reader.probabilities(rgb, mask)).all()  # a plain black square


def test_a_file_of_another_kind_is_a_sentence(tmp_path):
    from carclf.classifier.colour.reader import COLOURS

    for path in (tmp_path / "missing.safetensors", COLOURS):
        with pytest.raises(UsageError):
            SideReader.load(path)


def test_the_weights_are_small():
    assert WEIGHTS_FILE.stat().st_size < 300_000


@pytest.mark.slow
def test_real_photos_that_chose_are_read_as_measured(reader, shared_data):
    """Far below what was measured, far above chance: catches a broken chain, not a bad draw."""
    from carclf.recognition.recognizer import CarRecognizer
    from carclf.tools.stock.photo import stock_measures
    from detection.masks.parts import file_digest

    with SIDES_BY_EYE.open(newline="", encoding="utf-8") as file:
        sides = {row["sha256"]: row["side"] for row in csv.DictReader(file) if row["part"] == "choose"}
    found = []
    for path in sorted((shared_data / "porsche" / "images").rglob("*.jpg")):
        if (side := sides.get(file_digest(path))) is not None and len(found) < 24:
            found.append((str(path), side))
    measure = stock_measures(reader).measure
    seen = CarRecognizer(threads=1, colour=False).recognize_fully([path for path, _ in found], pictures=True)
    told = [measure(one).get("side") for one in seen]
    right = [
        some is not None and KINDS[int(np.argmax(some))] == side for some, (_, side) in zip(told, found, strict=True)
    ]
    assert np.mean(right) > 0.75
