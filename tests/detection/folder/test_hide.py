"""A folder run that hides: names, rows, resume, review."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from detection.common.errors import UsageError
from detection.folder.merge import merge_shards
from detection.folder.options import CleanOptions
from detection.folder.out.manifest import COLUMNS, HIDDEN_COLUMNS
from detection.images.read import load_image
from detection.publishing.hiding import private
from detection.publishing.hiding.cover import HideStyle
from detection.publishing.hiding.faces import Face
from detection.publishing.hiding.plates import Plate
from tests.folder_runs import rows, run, times, tree

QUAD = np.array([[50, 58], [80, 58], [80, 66], [50, 66]], np.float32)
SCORES = {"red": 0.9, "blue": 0.2}  # surely a plate, and nearly one


class Plates:
    """Says that there is a plate on each coloured car, as sure as its colour: what rows follow from is tested here."""

    def find(self, image, vehicles=(), least=0.0):
        if not vehicles:
            return []
        x1, y1, x2, y2 = (int(value) for value in vehicles[0].box)
        red, _, blue = image[y1:y2, x1:x2].reshape(-1, 3).mean(axis=0)
        return [Plate(QUAD, SCORES["red" if red > blue else "blue"])]


@pytest.fixture(autouse=True)
def plates(monkeypatch):
    monkeypatch.setattr(private, "plate_finder", Plates)


def hide(source, output, **options):
    return run(source, output, hide=HideStyle(**options.pop("style", {})), kinds="all", **options)


def test_each_photo_keeps_name_and_format_and_the_row_says_what_was_hidden(photos, tmp_path):
    (photos / "sub" / "bad.jpg").write_bytes(b"")
    before = times(photos)
    summary = hide(photos, tmp_path / "out")
    assert summary.counts == {"ok": 2, "no_car": 1, "unreadable": 1} and summary.exit_code == 3
    assert times(photos) == before
    found = rows(tmp_path / "out")
    assert tuple(found["red.jpg"]) == HIDDEN_COLUMNS
    red, blue, grey, bad = (found[name] for name in ("red.jpg", "sub/blue.png", "grey.jpg", "sub/bad.jpg"))
    assert (red["output"], red["hidden"], json.loads(red["hidden_scores"])) == ("red.jpg", "1", [0.9])
    assert json.loads(red["hidden_at"]) == [QUAD.tolist()] and red["nearly_hidden"] == "0"
    assert (blue["output"], blue["hidden"], blue["nearly_hidden"]) == ("sub/blue.png", "0", "1")
    assert json.loads(blue["nearly_at"]) == [QUAD.tolist()]
    assert (grey["output"], grey["hidden"], bad["output"], bad["hidden"]) == ("grey.jpg", "0", "", "")
    one, other = (load_image(folder / "red.jpg").astype(int) for folder in (photos, tmp_path / "out"))
    changed = np.abs(one - other).max(axis=2)
    assert (changed[59:65, 52:78] > 20).mean() > 0.9
    changed[48:76, 40:90] = 0
    assert changed.mean() < 1.5  # a JPEG's colours have half its resolution, and are rounded anew
    assert np.array_equal(load_image(photos / "sub/blue.png"), load_image(tmp_path / "out" / "sub/blue.png"))


def test_a_second_run_does_nothing_and_another_style_is_refused(photos, tmp_path):
    hide(photos, tmp_path / "out")
    before = times(tmp_path / "out")
    assert hide(photos, tmp_path / "out").processed == 0 and times(tmp_path / "out") == before
    (tmp_path / "out" / "red.jpg").unlink()
    assert hide(photos, tmp_path / "out").processed == 1
    with pytest.raises(UsageError, match="made with hide"):
        hide(photos, tmp_path / "out", style={"way": "fill"})
    with pytest.raises(UsageError, match="made with"):
        run(photos, tmp_path / "out")


def test_merged_shards_are_one_run(photos, tmp_path):
    hide(photos, tmp_path / "whole")
    for part in ("1/2", "2/2"):
        hide(photos, tmp_path / "out", shard=part)
    merge_shards([tmp_path / "out"])
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_what_cannot_be_written_anew_is_an_error_and_no_file(photos, tmp_path):
    Image.open(photos / "red.jpg").save(photos / "red.gif")
    summary = hide(photos, tmp_path / "out")
    row = rows(tmp_path / "out")["red.gif"]
    assert summary.counts["error"] == 1 and row["status"] == "error" and "convert it" in row["reason"]
    assert not (tmp_path / "out" / "red.gif").exists()


def test_review_names_what_a_person_should_look_at(photos, tmp_path):
    (photos / "bad.jpg").write_bytes(b"")
    summary = hide(photos, tmp_path / "out", review=True, contact_sheet=True)
    with open(tmp_path / "out" / "review.csv", newline="") as file:
        lines = [(row["source"], row["why"]) for row in csv.DictReader(file)]
    assert lines == [("bad.jpg", "not written"), ("sub/blue.png", "nearly hidden")]
    assert any("2 photos to look at" in note for note in summary.notes)
    page = load_image(tmp_path / "out" / "contact-sheet" / "page-00001.jpg")
    text = (tmp_path / "out" / "contact-sheet" / "index.html").read_text()
    assert text.index("sub/blue.png: nearly hidden") < text.index("red.jpg: hidden, 0.90")
    reds, greens = ((page[..., a].astype(int) - page[..., b] > 90).any(axis=0) for a, b in ((0, 1), (1, 0)))
    assert reds.any() and greens.any()
    assert hide(photos, tmp_path / "out", review=True, contact_sheet=True).processed == 0


def test_only_the_main_car(photos, tmp_path):
    hide(photos, tmp_path / "out", style={"only_main": True})
    assert rows(tmp_path / "out")["red.jpg"]["hidden"] == "1"
    shutil.rmtree(tmp_path / "out")
    global QUAD
    kept, QUAD = QUAD, QUAD + 30  # below the car
    try:
        hide(photos, tmp_path / "out", style={"only_main": True})
    finally:
        QUAD = kept
    assert rows(tmp_path / "out")["red.jpg"]["hidden"] == "0"


def test_clean_writes_the_columns_that_it_wrote_before(photos, tmp_path):
    run(photos, tmp_path / "out")
    assert tuple(rows(tmp_path / "out")["red.jpg"]) == COLUMNS


def test_options_that_do_not_go_together():
    for more in ({"all_vehicles": True}, {"image_format": "png"}, {"max_size": 100}):
        with pytest.raises(UsageError, match="keep their names"):
            CleanOptions.of(hide=HideStyle(), **more)
    with pytest.raises(UsageError, match="goes with hide"):
        CleanOptions.of(review=True)


class Faces:
    """Says that there is a face in the corner of each photo, surely one."""

    def find(self, image, vehicles=(), least=0.0):
        return [Face(np.array([[2, 2], [14, 2], [14, 16], [2, 16]], np.float32), 0.8)]


def test_rows_and_pages_say_what_was_hidden(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(private, "face_finder", Faces)
    hide(photos, tmp_path / "out", style={"what": ("plates", "faces")}, review=True, contact_sheet=True)
    red, blue = (rows(tmp_path / "out")[name] for name in ("red.jpg", "sub/blue.png"))
    assert json.loads(red["hidden_kinds"]) == ["plate", "face"] and red["hidden"] == "2"
    assert json.loads(blue["hidden_kinds"]) == ["face"] and json.loads(blue["nearly_kinds"]) == ["plate"]
    one, other = (load_image(folder / "sub" / "blue.png") for folder in (photos, tmp_path / "out"))
    assert (one[2:16, 2:14] != other[2:16, 2:14]).any() and np.array_equal(one[30:], other[30:])
    text = (tmp_path / "out" / "contact-sheet" / "index.html").read_text()
    assert "sub/blue.png: nearly hidden, plate" in text and "red.jpg: hidden, 0.80, face" in text


def test_where_faces_alone_are_hidden_no_plate_is_missed(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(private, "face_finder", Faces)
    hide(photos, tmp_path / "out", style={"what": ("faces",)}, review=True)
    assert (tmp_path / "out" / "review.csv").read_text() == "source,why,hidden,nearly_hidden\n"
    with pytest.raises(UsageError, match="made with"):
        hide(photos, tmp_path / "out")
