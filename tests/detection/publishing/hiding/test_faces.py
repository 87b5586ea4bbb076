"""The bundled face network on real photos, on their sides, and on what it must not take for faces."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from detection.common.files import file_sha256
from detection.images.read import load_image
from detection.publishing.hiding import private
from detection.publishing.hiding.cover import HideStyle, cover_face
from detection.publishing.hiding.faces import Face, FaceFinder, scales
from detection.publishing.hiding.private import find_private, hide_in
from detection.vehicle import MainChoice, Vehicle, turned_array
from tests.folder_runs import ROOT

NO_CAR = MainChoice(None, (), False)
LABELS = ROOT / "benchmarks" / "faces.csv"


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    return FaceFinder(threads=1)


@pytest.fixture(scope="module")
def real(shared_data):
    """A photo that chooses, and the box of its only face, which is small."""
    boxes: dict[str, list[list[float]]] = {}
    with LABELS.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["part"] == "choose":
                box = [float(row[name]) for name in ("x1", "y1", "x2", "y2")]
                boxes.setdefault(row["sha256"], []).append(box)
    wanted = {
        name: found[0] for name, found in boxes.items() if len(found) == 1 and 20 < found[0][3] - found[0][1] < 40
    }
    for path in sorted((shared_data / "plates" / "images").iterdir()):
        if (name := file_sha256(path).hex()[:16]) in wanted:
            return load_image(path), wanted[name]
    for path in sorted((shared_data / "car_masks" / "images").glob("coco*")):
        if (name := file_sha256(path).hex()[:16]) in wanted:
            return load_image(path), wanted[name]
    pytest.skip("no photo with one small face")


def overlap(one, other) -> float:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    both = max(0.0, across) * max(0.0, down)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return both / (sum(areas) - both)


def whole(image: np.ndarray, turned: int = 0) -> Vehicle:
    height, width = image.shape[:2]
    return Vehicle((0, 0, width, height), np.ones((height, width), bool), 0.9, turned=turned)


def test_nothing_is_found_where_there_is_nothing(finder):
    assert finder.find(np.full((90, 1600, 3), 128, np.uint8)) == []
    assert finder.find(np.zeros((1, 1, 3), np.uint8)) == []


@pytest.mark.parametrize("longer", [1, 200, 640, 1024, 1025, 4000, 30000])
def test_the_finest_look_is_at_full_size_or_finer(longer):
    found = scales(longer)
    assert found == sorted(found) and found[-1] == (2.0 if longer <= 1024 else 1.0) and found[0] * longer <= 640


def test_a_small_face_is_found_however_the_photo_lies(finder, real):
    image, box = real
    for turned in (0, 90, 180, 270):
        lying = turned_array(image, (360 - turned) % 360)
        best = max(finder.find(lying, [whole(lying, turned)]), key=lambda face: face.score)
        spot = np.zeros(lying.shape[:2], np.uint8)
        x1, y1, x2, y2 = (round(value) for value in best.box)
        spot[max(0, y1) : y2, max(0, x1) : x2] = 1
        rows, columns = np.nonzero(turned_array(spot, turned))
        upright = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert best.score > 0.5 and overlap(upright, box) > 0.4


def test_a_hidden_face_is_found_no_more(finder, real):
    image, box = real
    style = HideStyle(what=("faces",), way="fill")  # a blur keeps a head's outline, which may look like one
    found = find_private(image, NO_CAR, [], style, faces=finder)
    assert found.corners("face") and not found.corners("plate")
    after = finder.find(hide_in(image, found, style))
    assert not [face for face in after if face.score > style.face_threshold and overlap(face.box, box) > 0.3]


class Faces:
    """Says that there is a face at one place: what follows from where it is is tested here."""

    def __init__(self, y: float, score: float):
        corners = np.array([[40, y - 5], [50, y - 5], [50, y + 5], [40, y + 5]], np.float32)
        self.found = [Face(corners, score)]

    def find(self, image, vehicles=(), least=0.0):
        return self.found


@pytest.mark.parametrize(
    "y, score, hidden, near",
    [(25, 0.6, 1, 0), (75, 0.6, 0, 1), (75, 0.9, 1, 0), (25, 0.4, 0, 1), (25, 0.2, 0, 0)],
    ids=["window", "wheel", "surely a face", "nearly", "nothing"],
)
def test_below_the_windows_a_face_has_to_be_surer(y, score, hidden, near):
    image = np.zeros((100, 100, 3), np.uint8)
    found = find_private(image, NO_CAR, [whole(image)], HideStyle(what=("faces",)), faces=Faces(y, score))
    assert (len(found.hidden), len(found.near)) == (hidden, near)
    assert found.cells()[-2:] == ('["face"]' if hidden else "[]", '["face"]' if near else "[]")


def test_plates_are_not_looked_for_where_faces_alone_are_asked_for(monkeypatch):
    monkeypatch.setattr(private, "plate_finder", lambda: pytest.fail("plates were looked for"))
    image, style = np.zeros((20, 20, 3), np.uint8), HideStyle(what=("faces",))
    assert len(find_private(image, NO_CAR, [], style, faces=Faces(9, 0.9)).hidden) == 1


@pytest.mark.parametrize("way", ["blur", "mosaic", "fill"])
def test_no_feature_of_a_face_is_left(way):
    image = np.random.default_rng(0).integers(0, 256, (60, 50, 3), dtype=np.uint8)
    corners = np.array([[10, 10], [40, 10], [40, 50], [10, 50]], np.float32)
    cover_face(image, corners, HideStyle(what=("faces",), way=way))
    inside = image[10:50, 10:40].astype(float)
    assert np.abs(np.diff(inside, axis=0)).mean() < 12  # of noise it is some 85


def test_faces_get_the_fill_where_plates_get_a_logo(tmp_path):
    style = HideStyle(what=("plates", "faces"), way="logo", logo=str(tmp_path / "none.png"))
    assert style.for_faces().way == "fill" and style.for_faces().logo is None
