"""A folder run that hides: whole photos and cut-outs, names, rows, resume, places, review."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from detection.common.errors import UsageError
from detection.cutout.cut import CutoutStyle
from detection.folder.merge import merge_shards
from detection.folder.options import CleanOptions
from detection.folder.out.manifest import COLUMNS, HIDDEN_COLUMNS
from detection.images.read import load_image
from detection.publishing.hiding import private
from detection.publishing.hiding.cover import HideStyle, hide_style
from detection.publishing.hiding.faces import Face
from detection.publishing.hiding.plates import Plate
from tests import traps
from tests.fakes import PLATE, FakePlates, draw_car
from tests.folder_runs import ROOT, put, rows, run, times, tree


@pytest.fixture(autouse=True)
def plates(monkeypatch):
    monkeypatch.setattr(private, "plate_finder", FakePlates)


def hide(source, output, **options):
    return run(source, output, hide=HideStyle(**options.pop("style", {})), whole_photos=True, kinds="all", **options)


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
    assert json.loads(red["hidden_at"]) == [PLATE.tolist()] and red["nearly_hidden"] == "0"
    assert (blue["output"], blue["hidden"], blue["nearly_hidden"]) == ("sub/blue.png", "0", "1")
    assert json.loads(blue["nearly_at"]) == [PLATE.tolist()]
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
    put(photos / "green <b>.png", draw_car((20, 220, 20)))
    summary = hide(photos, tmp_path / "out", review=True, contact_sheet=True)
    with open(tmp_path / "out" / "review.csv", newline="") as file:
        lines = [(row["source"], row["why"]) for row in csv.DictReader(file)]
    assert lines == [
        ("bad.jpg", "not written"),
        ("sub/blue.png", "nearly hidden"),
        ("green <b>.png", "a vehicle without a plate"),
    ]
    assert any("3 photos to look at" in note for note in summary.notes)
    text = (tmp_path / "out" / "contact-sheet" / "index.html").read_text()
    parts = ("Nearly hidden: 1", "<b>1</b> sub/blue.png", "nothing hidden: 1", "<b>2</b> green &lt;b&gt;.png")
    parts = (*parts, "Hidden: 1", "<b>3</b> red.jpg, plate, 0.90")
    assert [text.index(part) for part in parts] == sorted(text.index(part) for part in parts)
    page = load_image(tmp_path / "out" / "contact-sheet" / "page-00001.jpg").astype(int)
    near, none, hidden = (page[:, start : start + 232] for start in (6, 244, 482))
    assert ((near[..., 0] > 180) & (near[..., 1] < 90)).any()  # the blue car's plate is outlined in red
    assert not ((none[..., 0] > 180) & (none[..., 1] < 90)).any()
    assert ((hidden[..., 1] > 120) & (hidden[..., 0] < 90)).any()  # and the red car's in green
    assert hide(photos, tmp_path / "out", review=True, contact_sheet=True).processed == 0


def test_only_the_main_car(photos, tmp_path, monkeypatch):
    hide(photos, tmp_path / "out", style={"only_main": True})
    assert rows(tmp_path / "out")["red.jpg"]["hidden"] == "1"
    shutil.rmtree(tmp_path / "out")
    monkeypatch.setattr(FakePlates, "shift", 30)  # below the car
    hide(photos, tmp_path / "out", style={"only_main": True})
    assert rows(tmp_path / "out")["red.jpg"]["hidden"] == "0"


def test_clean_writes_the_columns_that_it_wrote_before(photos, tmp_path):
    run(photos, tmp_path / "out")
    assert tuple(rows(tmp_path / "out")["red.jpg"]) == COLUMNS


def test_options_that_do_not_go_together():
    for more in ({"all_vehicles": True}, {"image_format": "png"}, {"max_size": 100}):
        with pytest.raises(UsageError, match="keep their names"):
            CleanOptions.of(hide=HideStyle(), whole_photos=True, **more)
    for alone in ({"review": True}, {"whole_photos": True}):
        with pytest.raises(UsageError, match="pass hide, too"):
            CleanOptions.of(**alone)


SLOW = """
import sys, time
from pathlib import Path
from detection.publishing.hiding import private
from detection.publishing.hiding.cover import HideStyle, hide_style
from detection.publishing.hiding.plates import Plate
from tests import traps
from tests.fakes import FakeDetector, FakePlates
from tests.folder_runs import run

class Slow(FakePlates):
    def find(self, *given):
        time.sleep(0.03)
        return super().find(*given)

private.plate_finder = Slow
run(Path(sys.argv[1]), Path(sys.argv[2]), hide=HideStyle(), whole_photos=True, kinds="all")
"""


def test_a_killed_run_resumes_and_ends_as_one_that_was_not(tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    for number in range(30):
        put(source / str(number % 3) / f"{number}.jpg", draw_car((220, 20, 20 + number), box=(20 + number, 30, 90, 70)))
    (source / "bad.jpg").write_bytes(b"")
    hide(source, tmp_path / "reference")
    for done in (4, 15):
        process = subprocess.Popen([sys.executable, "-c", SLOW, source, out], cwd=ROOT)
        journal = out / "journal.jsonl"
        while process.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") >= done):
            time.sleep(0.005)
        process.kill()
        assert process.wait() == -signal.SIGKILL and not (out / "manifest.csv").exists()
        for path in out.rglob("*.jpg"):
            load_image(path)  # whole, whenever it is looked at
    summary = hide(source, out)
    assert 0 < summary.processed <= 27 and summary.exit_code == 3
    assert tree(out) == tree(tmp_path / "reference")


class Everywhere(FakePlates):
    """A plate in any photo."""

    corners = PLATE

    def find(self, image, vehicles=(), least=0.0):
        return [Plate(self.corners, 0.9)]


def test_every_kind_of_file_is_written_as_it_is_or_has_a_row_that_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(private, "plate_finder", Everywhere)
    monkeypatch.setattr(Everywhere, "corners", PLATE - (34, 32))
    traps.write_traps(tmp_path / "in")
    hide(tmp_path / "in", tmp_path / "out", style={"way": "fill", "metadata": "strip"})
    found = rows(tmp_path / "out")
    files = {str(path.relative_to(tmp_path / "in")) for path in (tmp_path / "in").rglob("*.*")}
    assert set(found) == files
    refused = {name for name, row in found.items() if row["status"] == "error"}
    assert refused == {"plain.avif", "palette.gif", "animated.gif", "animated.webp", "animated.png"}
    for name, row in found.items():
        written = tmp_path / "out" / name
        if row["status"] in ("error", "unreadable"):
            assert row["reason"] and not row["output"] and not written.exists(), name
            continue
        before, after = load_image(tmp_path / "in" / name), load_image(written)
        assert row["hidden"] == "1" and before.shape == after.shape, name
        with Image.open(tmp_path / "in" / name) as one, Image.open(written) as other:
            assert (one.format, one.size) == (other.format, other.size), name
        far = np.abs(before.astype(int) - after).max(axis=2)
        far[18:42, 8:56] = 0
        assert far.max() < 60 and far.mean() < 2, name  # a lossy one has the colours of four pixels in one


def test_a_watched_folder(photos, tmp_path, monkeypatch):
    steps = [lambda: None, lambda: put(photos / "late.png", draw_car()), lambda: None, lambda: None]

    def sleep(seconds):
        if not steps:
            raise KeyboardInterrupt
        steps.pop(0)()

    monkeypatch.setattr("detection.folder.run.time.sleep", sleep)
    assert hide(photos, tmp_path / "out", watch=0.5).counts == {"ok": 3, "no_car": 1}
    assert rows(tmp_path / "out")["late.png"]["hidden"] == "1"


def test_from_and_to_other_places(photos, tmp_path):
    memory = pytest.importorskip("fsspec").filesystem("memory")
    shutil.make_archive(str(tmp_path / "photos"), "zip", photos)
    for path in photos.rglob("*.*"):
        memory.pipe_file(f"/hide-in/{path.relative_to(photos)}", path.read_bytes())
    hide(photos, tmp_path / "here")
    assert hide("memory://hide-in", "memory://hide-out").counts == {"ok": 2, "no_car": 1}
    assert hide("memory://hide-in", "memory://hide-out").processed == 0
    hide(tmp_path / "photos.zip", tmp_path / "there")
    own = ("settings.json", "journal.jsonl")  # they name IN
    here = {name: data for name, data in tree(tmp_path / "here").items() if name not in own}
    assert here == {name: data for name, data in tree(tmp_path / "there").items() if name not in own}
    assert here == {name: memory.cat_file(f"/hide-out/{name}") for name in here}
    memory.store.clear()


BLACK = CutoutStyle(background="black", padding=0.0)


def test_a_cutout_has_the_same_hidden_and_is_else_the_same(photos, tmp_path):
    run(photos, tmp_path / "plain", BLACK, image_format="png")
    summary = run(photos, tmp_path / "out", BLACK, image_format="png", hide=HideStyle(way="fill", margin=0.0))
    hide(photos, tmp_path / "whole")
    assert summary.counts == {"ok": 2, "no_car": 1}
    found, whole = rows(tmp_path / "out"), rows(tmp_path / "whole")
    assert tuple(found["red.jpg"]) == HIDDEN_COLUMNS
    for name, row in found.items():
        assert [row[column] for column in HIDDEN_COLUMNS[len(COLUMNS) :]] == [
            whole[name][column] for column in HIDDEN_COLUMNS[len(COLUMNS) :]
        ]
        assert [row[column] for column in COLUMNS] == [rows(tmp_path / "plain")[name][column] for column in COLUMNS]
    plain, hidden = (load_image(tmp_path / folder / "red.png").astype(int) for folder in ("plain", "out"))
    assert plain.shape == hidden.shape
    assert np.array_equal(load_image(tmp_path / "plain/sub/blue.png"), load_image(tmp_path / "out/sub/blue.png"))
    assert (
        run(photos, tmp_path / "out", BLACK, image_format="png", hide=HideStyle(way="fill", margin=0.0)).processed == 0
    )
    with pytest.raises(UsageError, match="made with hide"):
        run(photos, tmp_path / "out", BLACK, image_format="png")


def marked(folder):
    """A photo whose plate has a green and a blue half."""
    image = draw_car()
    image[58:66, 50:65], image[58:66, 65:80] = (20, 220, 20), (20, 20, 220)
    put(folder / "car.png", image)
    return folder


@pytest.mark.parametrize("background", ["keep", "white", "blur", "transparent"])
def test_no_cutout_shows_the_plate(tmp_path, background):
    source = marked(tmp_path / "in")
    style = CutoutStyle(background=background, padding=0.0)
    run(source, tmp_path / "plain", style, image_format="png")
    run(source, tmp_path / "out", style, image_format="png", hide=HideStyle(margin=0.0))
    plain, hidden = (load_image(tmp_path / folder / "car.png").astype(int) for folder in ("plain", "out"))
    plate = np.s_[19:25, 19:47]
    assert np.ptp(plain[plate][..., 1]) > 180 > 110 > np.ptp(hidden[plate][..., 1])
    if background != "blur":  # which holds a little of the plate's colour everywhere
        plain[16:28, 16:50] = hidden[16:28, 16:50] = 0
        assert np.abs(plain - hidden).max() <= 1


def test_every_vehicle_of_a_photo(tmp_path):
    run(marked(tmp_path / "in"), tmp_path / "out", all_vehicles=True, image_format="png", hide=HideStyle(margin=0.0))
    assert rows(tmp_path / "out")["car.png"]["hidden"] == "1"
    crop = load_image(tmp_path / "out" / "car-1.png").astype(int)
    assert not ((crop[..., 1] > 180) & (crop[..., 2] < 60)).any()


@pytest.mark.parametrize("no_car", ["keep", "quarantine"])
def test_photos_without_a_car_show_no_plate(tmp_path, monkeypatch, no_car):
    monkeypatch.setattr(private, "plate_finder", Everywhere)
    image = np.full((96, 128, 3), 128, np.uint8)
    image[58:66, 50:65], image[58:66, 65:80] = 0, 255
    put(tmp_path / "in" / "a.png", image)
    run(tmp_path / "in", tmp_path / "out", CutoutStyle(no_car=no_car), hide=HideStyle(), image_format="png")
    row = rows(tmp_path / "out")["a.png"]
    assert (row["status"], row["hidden"]) == ("no_car", "1")
    assert load_image(tmp_path / "out" / row["output"])[59:65, 52:78].std() < 60


def test_a_photo_that_can_not_be_put_aside_hidden_is_not_put_aside(tmp_path, monkeypatch):
    monkeypatch.setattr(private, "plate_finder", Everywhere)
    (tmp_path / "in").mkdir()
    Image.new("RGB", (128, 96), (128, 128, 128)).save(tmp_path / "in" / "a.gif")
    run(tmp_path / "in", tmp_path / "out", CutoutStyle(no_car="quarantine"), hide=HideStyle())
    row = rows(tmp_path / "out")["a.gif"]
    assert row["status"] == "error" and "convert it" in row["reason"]
    assert not (tmp_path / "out" / "quarantine").exists()


def test_a_look_that_fails_is_a_row_and_no_picture(photos, tmp_path, monkeypatch):
    class Broken(FakePlates):
        def find(self, *given):
            raise RuntimeError("no memory")

    monkeypatch.setattr(private, "plate_finder", Broken)
    assert run(photos, tmp_path / "out", hide=HideStyle()).counts == {"error": 3}
    assert not list((tmp_path / "out").rglob("*.jpg"))


def test_the_same_logo_elsewhere_is_the_same_run_and_another_one_is_not(photos, tmp_path):
    for name, colour in (("a.png", (255, 0, 0, 200)), ("b.png", (255, 0, 0, 200)), ("c.png", (0, 0, 255, 200))):
        Image.new("RGBA", (60, 20), colour).save(tmp_path / name)
    by = {name: hide_style("plates", logo=str(tmp_path / f"{name}.png")) for name in "abc"}
    run(photos, tmp_path / "out", hide=by["a"], whole_photos=True)
    assert run(photos, tmp_path / "out", hide=by["b"], whole_photos=True).processed == 0
    with pytest.raises(UsageError, match="made with hide"):
        run(photos, tmp_path / "out", hide=by["c"], whole_photos=True)


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
    assert "sub/blue.png, plate<" in text and "red.jpg, face, 0.80<" in text


def test_where_faces_alone_are_hidden_no_plate_is_missed(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(private, "face_finder", Faces)
    hide(photos, tmp_path / "out", style={"what": ("faces",)}, review=True)
    assert (tmp_path / "out" / "review.csv").read_text() == "source,why,hidden,nearly_hidden\n"
    with pytest.raises(UsageError, match="made with"):
        hide(photos, tmp_path / "out")
