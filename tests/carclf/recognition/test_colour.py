"""The colour of the paint: every word in several lights, what is no paint, and the columns of every status."""

from __future__ import annotations

import csv
import io

import cv2
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from carclf.recognition.colour.pixels import FEATURES, vehicle_pixels, vehicle_view
from carclf.recognition.colour.reader import WORDS, Colour, ColourReader
from carclf.recognition.inputs import find_sources
from carclf.recognition.naming import Naming
from carclf.recognition.output.formats import encoded, row_of
from carclf.recognition.pictures.overlay import _texts
from carclf.recognition.prediction import COLOUR_COLUMNS, COLUMNS, Prediction, Predictions, row_columns
from carclf.recognition.recognizer import CarRecognizer
from detection.common.errors import UsageError
from detection.cutout.cut import CutoutStyle
from detection.vehicle import Vehicle
from tests.fakes import FakeDetector, draw_car

# The network has learnt from photos, where paint mirrors: black, silver and what is rare look otherwise there.
PAINTS = {
    "white": (236, 237, 238),
    "grey": (88, 90, 93),
    "red": (185, 18, 24),
    "blue": (22, 60, 165),
    "green": (24, 120, 50),
    "yellow": (240, 200, 20),
    "orange": (236, 112, 14),
}
GLASS, TYRE = (44, 50, 56), (24, 24, 25)
LIGHTS = {
    "noon": (1.0, 1.0, 1.0),
    "bright": (1.06, 1.06, 1.06),
    "shade": (0.85, 0.85, 0.85),
    "evening": (1.0, 0.95, 0.88),
    "overcast": (0.9, 0.93, 0.97),
}


def drawn(paint, glass=GLASS, tyre=TYRE, light=(1.0, 1.0, 1.0), size=(300, 480)) -> tuple[np.ndarray, Vehicle]:
    """A car from the side on a street, with glass, tyres, a highlight and a shaded sill; and the vehicle in it."""
    photo = np.full((*size, 3), 190, np.uint8)
    photo[200:] = 120
    mask = np.zeros(size, np.uint8)
    body = np.array([[40, 190], [45, 150], [120, 138], [170, 95], [300, 95], [360, 140], [435, 150], [440, 190]])
    cv2.fillPoly(mask, [body], 1)
    shade = np.interp(np.arange(size[0]), [90, 140, 150, 195], [1.1, 1.0, 0.95, 0.7])[:, None, None]
    car = np.clip(np.array(paint) * shade, 0, 255).astype(np.uint8) * np.ones((1, size[1], 1), np.uint8)
    photo[mask > 0] = car[mask > 0]
    cv2.fillPoly(photo, [np.array([[140, 138], [178, 102], [292, 102], [336, 138]])], glass)
    cv2.line(photo, (60, 152), (420, 156), (250, 250, 250), 1, cv2.LINE_AA)
    for x in (115, 370):
        cv2.circle(photo, (x, 190), 30, tyre, -1)
        cv2.circle(photo, (x, 190), 17, (150, 152, 154), -1)
        cv2.circle(mask, (x, 190), 30, 1, -1)
    photo = np.clip(photo * np.array(light), 0, 255).astype(np.uint8)
    down, across = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = (float(across[0]), float(down[0]), float(across[-1] + 1), float(down[-1] + 1))
    return photo, Vehicle(box, mask.astype(bool), 0.99)


@pytest.fixture(scope="module")
def reader() -> ColourReader:
    return ColourReader.load()


@pytest.mark.parametrize("light", LIGHTS)
@pytest.mark.parametrize("word", PAINTS)
def test_plain_paint_in_every_light(word, light, reader):
    told = reader(*drawn(PAINTS[word], light=LIGHTS[light]))
    alike = {"silver", "grey"}
    assert told.word == word or {told.word, word} == alike, told
    assert reader.least <= told.confidence <= 1


@pytest.mark.parametrize(
    ("word", "glass"),
    [
        *[(word, GLASS) for word in ("white", "red", "blue", "yellow")],
        *[(word, glass) for word in ("blue", "yellow") for glass in ((150, 175, 200), (60, 90, 60))],
    ],
)
def test_glass_and_tyres_do_not_count(word, glass, reader):
    photo, vehicle = drawn(PAINTS[word], glass=glass, tyre=(70, 60, 52))
    assert reader(photo, vehicle).word == word


def test_what_is_around_the_mask_is_no_paint(reader):
    photo, vehicle = drawn(PAINTS["blue"])
    photo[~vehicle.mask] = (200, 30, 30)
    assert reader(photo, vehicle).word == "blue"


def test_a_car_on_its_side_is_read_upright(reader):
    photo, vehicle = drawn(PAINTS["red"])
    size = photo.shape[0]
    x1, y1, x2, y2 = vehicle.box
    turned = Vehicle((y1, 480 - x2, y2, 480 - x1), np.rot90(vehicle.mask), 0.9, turned=90)
    (upright, mask), (view, view_mask) = vehicle_view(photo, vehicle), vehicle_view(np.rot90(photo), turned)
    assert size == 300 and mask.shape == view_mask.shape and (mask == view_mask).mean() > 0.99
    assert np.abs(upright.astype(int) - view).mean() < 1
    assert reader(np.rot90(photo), turned).word == "red"


@pytest.mark.parametrize("factor", [1, 4, 9])
def test_a_large_photo_is_seen_as_a_small_one(factor, reader):
    photo, vehicle = drawn(PAINTS["green"])
    large = np.repeat(np.repeat(photo, factor, axis=0), factor, axis=1)
    mask = np.repeat(np.repeat(vehicle.mask, factor, axis=0), factor, axis=1)
    one = Vehicle(tuple(factor * value for value in vehicle.box), mask, 0.9)
    view, _ = vehicle_view(large, one)
    assert max(view.shape) <= 256
    told = reader(large, one)
    assert told.word == "green" and told.confidence == pytest.approx(reader(photo, vehicle).confidence, abs=0.1)


@pytest.mark.parametrize(
    ("rows", "columns"), [(slice(0, 0), slice(0, 0)), (slice(5, 6), slice(5, 9)), (slice(0, 1), slice(0, 60)),
                          (slice(0, 60), slice(3, 4)), (slice(0, 60), slice(0, 60))],
)  # fmt: skip
def test_small_and_strange_masks_never_fail(rows, columns, reader):
    mask = np.zeros((60, 60), bool)
    mask[rows, columns] = True
    box = (float(columns.start), float(rows.start), float(columns.stop), float(rows.stop))
    told = reader(np.full((60, 60, 3), (200, 20, 20), np.uint8), Vehicle(box, mask, 0.9))
    pixels = vehicle_pixels(np.zeros((60, 60, 3), np.uint8), mask)
    if mask.sum() < 20:
        assert told == Colour(None, 0.0) and pixels is None
    else:
        assert 0 <= told.confidence <= 1 and (
            pixels is None or (pixels.shape[1] == FEATURES and np.isfinite(pixels).all())
        )


def probabilities(**shares) -> np.ndarray:
    return np.array([shares.get(word, 0.0) for word in WORDS])


@pytest.mark.parametrize(
    ("shares", "word", "confidence"),
    [
        ({"silver": 0.3, "grey": 0.35, "white": 0.35}, "grey", 0.65),
        ({"silver": 0.4, "grey": 0.2, "white": 0.4}, "silver", 0.6),
        ({"red": 0.5, "orange": 0.5}, "red", 0.5),
        ({"red": 0.4, "orange": 0.3, "brown": 0.3}, None, 0.4),
    ],
)
def test_silver_and_grey_count_as_one_and_an_unsure_word_is_not_told(shares, word, confidence):
    told = ColourReader({}, least=0.45).told(probabilities(**shares))
    assert told == Colour(word, pytest.approx(confidence))


def test_another_file_is_refused(tmp_path):
    path = tmp_path / "colour.safetensors"
    save_file({"first.weight": np.zeros((2, FEATURES), np.float16)}, path, {"words": "red,green"})
    with pytest.raises(UsageError, match="does not name the colours of this version"):
        ColourReader.load(path)


class TwoClasses:
    classes = ("car", "van")
    style = CutoutStyle()
    detector = "fake"
    fingerprint = "two-1"

    def __init__(self, share=0.9):
        self.share = share

    def predict(self, crops, batch_size=32):
        return np.tile(np.array([self.share, 1 - self.share], np.float32), (len(crops), 1))


def recognizer(share=0.9, **settings) -> CarRecognizer:
    return CarRecognizer(TwoClasses(share), settings.pop("detector", FakeDetector()), **settings)


def painted(paint=(200, 16, 20)) -> np.ndarray:
    return draw_car(paint, size=(200, 320), box=(60, 50, 260, 150))


@pytest.mark.parametrize(
    ("photo", "share", "status", "colour"),
    [
        (painted(), 0.9, "ok", "red"),
        (painted((20, 50, 190)), 0.5, "unknown", "blue"),
        (np.full((90, 90, 3), 128, np.uint8), 0.9, "no_car", None),
        (b"no photo", 0.9, "unreadable", None),
    ],
)
def test_every_status(photo, share, status, colour):
    one = recognizer(share, threshold=0.6)([photo])[0]
    assert (one.status, one.colour) == (status, colour)
    assert (one.colour_confidence is None) == (status in ("no_car", "unreadable"))
    row = row_of(one, row_columns(False, False, True))
    assert row["colour"] == colour and list(row)[-3:] == ["colour", "colour_confidence", "reason"]


def test_no_colour_gives_the_rows_of_earlier_versions():
    one = recognizer(colour=False)([painted()])[0]
    assert one.colour is None and set(one.row()) == set(COLUMNS)
    crops = recognizer(crops=True)([painted()])[0]
    assert crops.status == "ok" and crops.colour is None and set(crops.row()) == set(COLUMNS), "no mask, no colour"


def test_every_vehicle_has_its_own():
    photo = draw_car((200, 16, 20), size=(200, 420), box=(20, 50, 200, 150))
    photo[60:150, 230:400] = (20, 50, 190)
    found = recognizer(every_vehicle=True)([photo])
    assert [one.colour for one in found] == ["red", "blue"]


def test_all_formats_have_the_columns(tmp_path):
    found = Predictions([*recognizer()([painted()]), Prediction("b.jpg", "no_car", reason="none")])
    columns = row_columns(False, False, True)
    assert list(found.to_pandas().columns) == list(columns)
    rows = [row_of(one, columns) for one in found]
    read = list(csv.DictReader(io.StringIO(b"".join(encoded(rows, "csv", columns)).decode())))
    assert [row["colour"] for row in read] == ["red", ""] and float(read[0]["colour_confidence"]) > 0.5
    table = b"".join(encoded(rows, "table", columns)).decode().splitlines()
    assert (
        "colour" in table[0]
        and " red " in table[1]
        and "colour" not in b"".join(encoded(rows, "table", COLUMNS)).decode()
    )
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    (tmp_path / "rows.parquet").write_bytes(b"".join(encoded(rows, "parquet", columns)))
    parquet = pandas.read_parquet(tmp_path / "rows.parquet")
    assert parquet["colour_confidence"].dtype == np.float64 and list(parquet["colour"].fillna("")) == ["red", ""]


def test_the_overlay_says_it_behind_the_name():
    one = Prediction("a.jpg", "ok", "Audi S4", 0.9, (("Audi S4", 0.9),), colour="red", colour_confidence=0.8)
    assert _texts(one)[0] == ("Audi S4, red", "  90%")


def test_a_run_that_was_begun_without_colours_gets_them(tmp_path):
    for name in ("a.png", "b.png"):
        Image.fromarray(painted()).save(tmp_path / name)
    (tmp_path / "bad.png").write_bytes(b"no photo")  # so that the journal stays
    output = tmp_path / "rows.csv"

    def run(**settings):
        naming = Naming(
            recognizer(**settings), find_sources([str(tmp_path / name) for name in ("a.png", "b.png", "bad.png")])
        )
        naming.write(output, "csv")
        with output.open() as file:
            return naming.tally.before, list(csv.DictReader(file))

    before, rows = run(colour=False)
    assert before == 0 and not set(COLOUR_COLUMNS) & set(rows[0])
    before, rows = run()
    assert before == 0 and [row["colour"] for row in rows] == ["red", "red", ""]
    before, rows = run()
    assert before == 3 and [row["colour"] for row in rows] == ["red", "red", ""]
    before, rows = run(colour=False)
    assert before == 3 and "colour" not in rows[0]
