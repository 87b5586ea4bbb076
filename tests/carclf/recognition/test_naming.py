"""Long runs: rows that stream, rows that survive a kill, pictures beside them, and memory that stays flat."""

from __future__ import annotations

import json
import os
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from carclf.recognition.inputs import Source, find_sources
from carclf.recognition.naming import JOURNAL, Naming
from carclf.recognition.pictures.folders import Pictures
from carclf.recognition.recognizer import CarRecognizer
from detection.common.errors import UsageError
from detection.cutout.cut import CutoutStyle
from detection.folder.out.detections import DetectionsWriter, read_detections
from tests.fakes import FakeDetector, draw_car

RED, BLUE = (220, 20, 20), (20, 40, 220)


class CountingClassifier:
    """Says whether a crop is more red or more blue; `seen` is how many it was given. Ctrl-C comes after `until`."""

    classes = ("blue", "red")
    style = CutoutStyle()
    detector = "fake"
    fingerprint = "counting-1"

    def __init__(self, until=None):
        self.seen, self.until = 0, until

    def predict(self, crops, batch_size=32):
        if self.until is not None and self.seen >= self.until:
            raise KeyboardInterrupt
        self.seen += len(crops)
        red = np.array([0.9 if crop[..., 0].sum() > crop[..., 2].sum() else 0.2 for crop in crops], np.float32)
        return np.stack([1 - red, red], axis=1)


@pytest.fixture
def many(tmp_path):
    """20 photos, red and blue, below many/ and many/sub/."""
    folder = tmp_path / "many"
    (folder / "sub").mkdir(parents=True)
    for number in range(20):
        name = f"{'sub/' if number % 3 == 0 else ''}{number:02d}.png"
        Image.fromarray(draw_car(RED if number % 2 else BLUE)).save(folder / name)
    return folder


def recognizer(until=None, **settings):
    return CarRecognizer(CountingClassifier(until), settings.pop("finder", FakeDetector()), batch_size=4, **settings)


def run(folder, output, until=None, restart=False, retry_failed=False, pictures=None, **settings):
    """Names the photos of a folder, or of several arguments; returns the number of classified crops and the tally."""
    made = recognizer(until, **settings)
    sources = find_sources([str(folder)])
    if pictures:
        pictures = Pictures(sources, **pictures)
    naming = Naming(made, sources, pictures)
    naming.write(output, "csv", restart, retry_failed)
    return made.classifier.seen, naming.tally


def test_a_stopped_run_goes_on_and_ends_with_the_same_bytes(many, tmp_path):
    whole, output = tmp_path / "whole.csv", tmp_path / "rows.csv"
    assert run(many, whole)[0] == 20
    with pytest.raises(KeyboardInterrupt):
        run(many, output, until=8)
    journal = tmp_path / f"rows.csv{JOURNAL}"
    assert not output.exists() and len(journal.read_bytes().splitlines()) == 1 + 8
    journal.write_bytes(journal.read_bytes() + b'{"id": "torn')
    seen, tally = run(many, output)
    assert (seen, tally.before, tally.photos) == (12, 8, 20)
    assert output.read_bytes() == whole.read_bytes() and not journal.exists()
    assert str(tally) == "20 photos: 20 ok (8 done before)" and tally.exit_code == 0


def test_other_settings_are_refused_and_restart_begins_again(many, tmp_path):
    output = tmp_path / "rows.csv"
    with pytest.raises(KeyboardInterrupt):
        run(many, output, until=8)
    for change, said in [
        ({"threshold": 0.95}, "another threshold"),
        ({"every_vehicle": True}, "another every-vehicle"),
    ]:
        with pytest.raises(UsageError, match=f"{said}: pass the same"):
            run(many, output, **change)
    other = FakeDetector()
    other.fingerprint = "fake-2"
    with pytest.raises(UsageError, match="another detector"):
        run(many, output, finder=other)
    seen, tally = run(many, output, restart=True, threshold=0.95)
    assert (seen, tally.before) == (20, 0) and tally.counts == {"unknown": 20}


def test_changed_photos_are_done_again_and_failed_ones_when_asked(many, tmp_path):
    output = tmp_path / "rows.csv"
    broken = many / "01.png"
    image = broken.read_bytes()
    broken.write_bytes(b"x" * len(image))
    stamp = os.stat(broken)
    seen, tally = run(many, output)
    assert (seen, tally.exit_code) == (19, 3) and tally.counts["unreadable"] == 1
    assert (tmp_path / f"rows.csv{JOURNAL}").exists(), "kept for those that failed"
    Image.fromarray(draw_car(BLUE)).save(many / "07.png", compress_level=1)
    broken.write_bytes(image)
    os.utime(broken, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # size and time are as they were
    assert run(many, output)[0] == 1
    assert ",unreadable," in output.read_text()
    seen, tally = run(many, output, retry_failed=True)
    assert (seen, tally.before, tally.exit_code) == (1, 19, 0)
    assert ",unreadable," not in output.read_text() and not (tmp_path / f"rows.csv{JOURNAL}").exists()


def test_an_ended_run_with_failures_does_not_refuse_another_model(many, tmp_path):
    (many / "bad.png").write_bytes(b"")
    assert run(many, tmp_path / "rows.csv")[1].exit_code == 3
    seen, tally = run(many, tmp_path / "rows.csv", top=1)
    assert (seen, tally.before) == (20, 0)


def test_rows_keep_the_order_of_the_photos_when_some_are_known(many, tmp_path):
    output = tmp_path / "rows.csv"
    with pytest.raises(KeyboardInterrupt):
        run(many, output, until=8)
    done = json.loads((tmp_path / f"rows.csv{JOURNAL}").read_bytes().splitlines()[3])["id"]
    Image.fromarray(draw_car(RED)).save(many / "aaa.png")  # comes first now
    os.unlink(done)
    run(many, output)
    names = [line.split(",")[0] for line in output.read_text().splitlines()[1:]]
    assert names == sorted(map(str, many.rglob("*.png")))


def test_pictures_are_made_for_each_photo_once_and_again_when_they_are_gone(many, tmp_path):
    Image.fromarray(np.full((96, 128, 3), 128, np.uint8)).save(many / "grey.png")
    cut, seen = tmp_path / "cut", tmp_path / "seen"
    pictures = {"cutouts": cut, "overlays": seen}
    with pytest.raises(KeyboardInterrupt):
        run(many, tmp_path / "rows.csv", until=8, pictures=pictures)
    assert len(list(seen.rglob("*.jpg"))) == 8
    (seen / "01.jpg").unlink()
    count, tally = run(many, tmp_path / "rows.csv", pictures=pictures)
    assert (count, tally.before) == (13, 7)
    names = {str(path.relative_to(many).with_suffix(".jpg")) for path in many.rglob("*.png")}
    assert {str(path.relative_to(seen)) for path in seen.rglob("*.jpg")} == names
    assert {str(path.relative_to(cut)) for path in cut.rglob("*.jpg")} == names - {"grey.jpg"}
    with Image.open(cut / "01.jpg") as image:
        red = np.asarray(image)
    assert red.shape[0] < 96 and red[red.shape[0] // 2, red.shape[1] // 2, 0] > 200


def test_every_vehicle_has_a_row_and_a_cutout_of_its_own(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    two = draw_car(RED, size=(96, 256), box=(16, 40, 126, 80))
    two[40:72, 160:240] = BLUE
    Image.fromarray(two).save(folder / "a.png")
    Image.fromarray(np.full((96, 128, 3), 128, np.uint8)).save(folder / "b.png")
    Image.fromarray(draw_car(BLUE)).save(folder / "c.png")
    (folder / "d.png").write_text("no photo")
    pictures = {"cutouts": tmp_path / "cut", "overlays": tmp_path / "seen"}
    _, tally = run(folder, tmp_path / "rows.csv", every_vehicle=True, pictures=pictures)
    lines = [line.split(",")[1:4] for line in (tmp_path / "rows.csv").read_text().splitlines()]
    assert lines == [
        ["vehicle", "status", "label"], ["1", "ok", "red"], ["2", "ok", "blue"], ["", "no_car", ""],
        ["1", "ok", "blue"], ["", "unreadable", ""],
    ]  # fmt: skip
    assert str(tally) == "4 photos, 3 vehicles: 3 ok, 1 no_car, 1 unreadable"
    assert sorted(path.name for path in (tmp_path / "cut").glob("*.jpg")) == ["a-1.jpg", "a-2.jpg", "c-1.jpg"]
    assert sorted(path.name for path in (tmp_path / "seen").glob("*.jpg")) == ["a.jpg", "b.jpg", "c.jpg"]


@pytest.mark.parametrize("way", ["folder", "files", "pattern", "absolute"])
def test_detections_of_a_cleaned_folder_are_found_however_its_photos_are_named(many, tmp_path, monkeypatch, way):
    detector = FakeDetector()
    with DetectionsWriter(tmp_path / "d.jsonl", "fake", "f") as writer:
        for path in sorted(many.rglob("*.png")):
            stamp = path.stat().st_size, path.stat().st_mtime_ns
            found = detector.detect([np.asarray(Image.open(path))])[0]
            writer.append(str(path.relative_to(many)), stamp, (96, 128), found)
    monkeypatch.chdir(tmp_path)
    arguments = {"folder": ["many"], "files": ["many/01.png", "many/sub/00.png"], "pattern": ["*/sub/*.png"]}
    arguments["absolute"] = [str(many / "sub")]
    with read_detections("d.jsonl") as detections:
        naming = Naming(recognizer(finder=None, detections=detections), find_sources(arguments[way]))
        rows = list(naming.rows())
    assert rows and {row["status"] for row in rows} == {"ok"}


@pytest.mark.parametrize("kept", [False, True])
def test_rows_are_not_held(tmp_path, kept):
    """Of many photos memory holds a few batches, whether rows stream out or go by way of the journal."""
    file = tmp_path / "small.png"
    Image.fromarray(draw_car(RED, size=(24, 32), box=(8, 10, 24, 18))).save(file)
    held = []

    def watch():
        if naming.tally.photos == 150:
            tracemalloc.start()
        elif naming.tally.photos in (250, 599):
            held.append(tracemalloc.get_traced_memory()[0])

    sources = (Source(str(file), "small.png") for _ in range(600))
    naming = Naming(CarRecognizer(CountingClassifier(), crops=True, batch_size=4), sources, advance=watch)
    try:
        if kept:
            naming.write(tmp_path / "rows.jsonl", "jsonl")
        else:
            assert sum(row["status"] == "ok" for row in naming.rows()) == 600
    finally:
        tracemalloc.stop()
    assert naming.tally.counts["ok"] == 600
    # A row is more than a kilobyte: 350 of them would be half a megabyte.
    assert held[1] - held[0] < 150_000


def test_sources_are_taken_no_further_ahead_than_needed(many):
    taken = []

    def sources():
        for source in find_sources([str(many)]):
            taken.append(source)
            yield source

    stream = Naming(recognizer(), sources()).rows()
    next(stream)
    assert len(taken) < 20
    stream.close()


def test_rows_of_photos_elsewhere_resume_and_are_those_of_a_folder(many, tmp_path, monkeypatch):
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.setenv("CARCLF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("detection.common.places.paths._open", {})
    files = fsspec.filesystem("memory")
    for path in many.rglob("*.png"):
        files.pipe_file(f"/far/{path.relative_to(many).as_posix()}", path.read_bytes())
    try:
        with pytest.raises(KeyboardInterrupt):
            run("memory://far", "memory://out/rows.csv", until=8)
        seen, tally = run("memory://far", "memory://out/rows.csv")
        assert 0 < seen < 20 and tally.photos == 20 and tally.before > 0
        run(many, tmp_path / "rows.csv")
        here = (tmp_path / "rows.csv").read_text().replace(str(many), "memory://far")
        assert files.cat_file("/out/rows.csv").decode() == here
    finally:
        files.store.clear()
