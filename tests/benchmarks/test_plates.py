"""What the benchmark of hidden plates counts, on a photo whose plates are known."""

import numpy as np
import pytest

from benchmarks.plates import Photo, hidden_in, report
from detection.publishing.hiding.cover import HideStyle
from detection.publishing.hiding.plates import Plate

BOX = (40, 30, 80, 42)
STYLE = HideStyle(threshold=0.5, elsewhere=0.7)


def plate(box, score, on_vehicle=True):
    x1, y1, x2, y2 = box
    return Plate(np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.float32), score, on_vehicle)


def photo(*found):
    return Photo((120, 200), [BOX], found, 0.01, 1)


def test_a_plate_is_hidden_by_one_that_is_sure_enough():
    assert hidden_in(photo(plate(BOX, 0.6)), STYLE).plates == [(40, True, 1.0)]
    assert hidden_in(photo(plate(BOX, 0.4)), STYLE).plates == [(40, False, 0.0)]
    assert not hidden_in(photo(plate(BOX, 0.6, on_vehicle=False)), STYLE).plates[0][1]
    ((_, hidden, share),) = hidden_in(photo(plate((40, 30, 52, 42), 0.9)), STYLE).plates
    assert not hidden and 0.2 < share < 0.6


def test_what_is_hidden_elsewhere_is_counted_beyond_a_plate_height():
    assert hidden_in(photo(plate(BOX, 0.9)), STYLE).others == 0
    assert hidden_in(photo(plate((150, 90, 180, 100), 0.9)), STYLE).others == pytest.approx(500 / 24000, rel=0.3)


def test_the_lines_that_it_prints(capsys):
    report([hidden_in(photo(plate(BOX, 0.6)), STYLE), hidden_in(photo(), STYLE)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("plates of 20 px and more hidden, n 2: 0.500 (0.000 to 1.000)")
    assert lines[3] == "plates of 10 to 20 px hidden, n 0: none"
    assert lines[-1].startswith("photos with anything hidden beside plates: 0.000 (0.000 to 0.6")
