"""Folders with photos on their side: the cut-out stands upright, and everything else is of the photo as it is."""

from __future__ import annotations

import json

import numpy as np
import pytest

from detection.common.errors import UsageError
from detection.cutout.cut import CutoutStyle
from detection.folder.out.detections import read_detections
from detection.images.read import load_image
from detection.vehicle import turned_array
from tests.folder_runs import put, rows, run
from tests.roofs import RoofCheck, Roofs, box_of, draw_roof, stands

STYLE = CutoutStyle(padding=0, feather=0, background="keep")


def roofs() -> Roofs:
    return Roofs(RoofCheck())


@pytest.fixture
def photos(tmp_path):
    """upright.png and on-its-side.png, which has to be turned by 270 degrees."""
    put(tmp_path / "in" / "upright.png", draw_roof())
    put(tmp_path / "in" / "on-its-side.png", turned_array(draw_roof(), 90))
    return tmp_path / "in"


def test_the_cut_out_stands_upright_and_the_row_says_why(photos, tmp_path):
    summary = run(photos, tmp_path / "out", STYLE, roofs(), image_format="png", save_detections=True)
    assert summary.counts == {"ok": 2}
    row, other = rows(tmp_path / "out")["on-its-side.png"], rows(tmp_path / "out")["upright.png"]
    assert row["reason"] == "the photo seems to lie on its side: turned by 270 degrees clockwise"
    assert other["reason"] == ""
    turned, upright = (load_image(tmp_path / "out" / one["output"]) for one in (row, other))
    assert stands(turned) == "top" and abs(np.subtract(turned.shape, upright.shape)).max() <= 2
    expected = box_of((load_image(photos / "on-its-side.png") != 128).any(axis=2))
    assert np.allclose([float(row[key]) for key in ("x1", "y1", "x2", "y2")], expected, atol=2)
    assert (row["width"], row["height"]) == ("120", "200")
    with read_detections(tmp_path / "out" / "detections.jsonl") as found:
        (vehicle,) = found.get("on-its-side.png")
        assert vehicle.turned == 270 and np.allclose(vehicle.box, expected) and vehicle.mask.shape == (200, 120)

    again = tmp_path / "again"  # without a detector, from what was saved
    run(photos, again, STYLE, image_format="png", detections=tmp_path / "out" / "detections.jsonl", check=False)
    assert rows(again)["on-its-side.png"]["reason"] == row["reason"]
    assert np.array_equal(load_image(again / row["output"]), turned)


def test_it_can_be_left_out(photos, tmp_path):
    detector = roofs()
    assert run(photos, tmp_path / "out", STYLE, detector, turned=False).counts == {"ok": 1, "no_car": 1}
    assert len(detector.seen) == 2


@pytest.mark.parametrize("rule", ["", "+check1"])
def test_a_folder_ends_by_the_rule_that_it_began_with(photos, tmp_path, rule):
    """Of version 0.4.0, which asked no check, and without the look at turned photos."""
    out = tmp_path / "out"
    run(photos, out, STYLE, roofs(), turned=False)
    settings = json.loads((out / "settings.json").read_text())
    assert settings["fingerprint"] == "roofs-0.8+check1"
    (out / "settings.json").write_text(json.dumps(settings | {"fingerprint": f"roofs-0.8{rule}"}))
    put(photos / "another.png", turned_array(draw_roof(), 270))
    assert run(photos, out, STYLE, roofs()).counts == {"ok": 1, "no_car": 2}
    assert json.loads((out / "settings.json").read_text())["fingerprint"] == f"roofs-0.8{rule}"
    assert run(photos, out, STYLE, roofs(), restart=True).counts == {"ok": 3}
    with pytest.raises(UsageError, match="made with fingerprint 'roofs-0.8"):
        run(photos, out, STYLE, roofs(), turned=False)
