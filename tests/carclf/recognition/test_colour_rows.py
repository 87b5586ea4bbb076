"""The columns of the colour: in rows of every status and format, in journals, on pictures."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from PIL import Image

from carclf.recognition.inputs import find_sources
from carclf.recognition.naming import Naming
from carclf.recognition.output.formats import encoded, row_of
from carclf.recognition.pictures.overlay import _texts
from carclf.recognition.prediction import COLOUR_COLUMNS, COLUMNS, Prediction, Predictions, row_columns
from carclf.recognition.recognizer import CarRecognizer
from detection.cutout.cut import CutoutStyle
from tests.fakes import FakeDetector, draw_car


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


def test_a_run_that_was_begun_without_colours_keeps_its_rows(tmp_path):
    for name in ("a.png", "b.png"):
        Image.fromarray(painted()).save(tmp_path / name)
    (tmp_path / "bad.png").write_bytes(b"no photo")  # so that the journal stays
    output, names = tmp_path / "rows.csv", ["a.png", "b.png", "bad.png"]

    def run(**settings):
        naming = Naming(recognizer(**settings), find_sources([str(tmp_path / name) for name in names]))
        naming.write(output, "csv")
        with output.open() as file:
            return naming.tally.before, list(csv.DictReader(file))

    before, rows = run(colour=False)
    assert before == 0 and not set(COLOUR_COLUMNS) & set(rows[0])
    Image.fromarray(painted()).save(tmp_path / "c.png")
    names.append("c.png")
    before, rows = run()
    assert before == 3 and [row["colour"] for row in rows] == ["", "", "", "red"], "no new look at the old ones"
    assert [row["colour_confidence"] != "" for row in rows] == [False, False, False, True]
    before, rows = run(colour=False)
    assert before == 4 and "colour" not in rows[0]
