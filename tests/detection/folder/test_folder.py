"""A folder run: the tree, the manifest, and what is refused."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detection.common.errors import UsageError
from detection.cutout.cut import CutoutStyle
from detection.folder.clashes import NameRules, name_rules
from detection.folder.dry_run import dry_run
from detection.folder.options import CleanOptions
from detection.folder.out.manifest import COLUMNS
from detection.folder.run import clean_folder
from detection.images.read import load_image
from detection.vehicle import Vehicle
from tests import traps
from tests.fakes import FakeDetector, draw_car, refuse_folders
from tests.folder_runs import BOX, STYLE, put, rows, run, tree

# pytest undoes the filter that detection.images.read sets when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore:Corrupt EXIF data")


def test_tree_and_manifest(photos, tmp_path):
    (photos / "notes.txt").write_text("not a photo")
    (photos / "sub" / "bad.jpg").write_bytes(b"")
    summary = run(photos, tmp_path / "out")
    assert summary.counts == {"ok": 2, "no_car": 1, "unreadable": 1}
    assert summary.exit_code == 3 and summary.manifest == tmp_path / "out" / "manifest.csv"
    assert set(tree(tmp_path / "out")) == {
        "red.jpg", "grey.jpg", "sub/blue.jpg", "manifest.csv", "settings.json", "journal.jsonl"
    }  # fmt: skip
    with open(summary.manifest, newline="") as file:
        header, *lines = csv.reader(file)
    assert tuple(header) == COLUMNS
    assert lines == [
        ["grey.jpg", "grey.jpg", "no_car", "no vehicle found", *[""] * 6, "0", "128", "96", ""],
        ["red.jpg", "red.jpg", "ok", "", lines[1][4], *BOX, lines[1][9], "1", "128", "96", "car"],
        ["sub/bad.jpg", "", "unreadable", "'bad.jpg' is empty (0 bytes).", *[""] * 10],
        ["sub/blue.png", "sub/blue.jpg", "ok", "", "1.0000", *BOX, "2048", "1", "128", "96", "car"],
    ]
    crop = load_image(tmp_path / "out" / "sub" / "blue.jpg")
    assert crop.shape == (38, 70, 3) and crop[0, 0].min() > 250
    assert np.abs(crop[19, 35].astype(int) - (20, 40, 220)).max() < 12


def test_every_trap_is_a_row_and_none_stops_the_run(tmp_path, capfd):
    traps.write_traps(tmp_path / "in")
    for path in sorted((tmp_path / "in").iterdir()):  # one suffix each, so that no names clash
        path.rename(path.with_name(f"{path.suffix[1:]} {path.name}"))
    os.mkfifo(tmp_path / "in" / "pipe.jpg")
    (tmp_path / "in" / os.fsdecode(b"caf\xe9.jpg")).write_bytes(traps.encoded(traps.scene()))
    summary = run(tmp_path / "in", tmp_path / "out")
    found = rows(tmp_path / "out")
    expected = len(traps.readable()) + len(traps.unreadable()) + 3
    assert len(found) == expected == sum(summary.counts.values())
    assert summary.counts["unreadable"] == len(traps.unreadable()) + 2 and set(summary.counts) == {"ok", "unreadable"}
    for name in traps.readable():
        row = found[f"{Path(name).suffix[1:]} {name}"]
        assert (row["status"], row["width"], row["height"]) == ("ok", "64", "48")
        assert (tmp_path / "out" / row["output"]).is_file()
    assert all(row["reason"] for row in found.values() if row["status"] == "unreadable")
    assert capfd.readouterr() == ("", "")
    assert run(tmp_path / "in", tmp_path / "out").processed == 0


@pytest.mark.parametrize(
    "no_car, files", [("keep", {"red.jpg", "grey.jpg"}), ("skip", {"red.jpg"}), ("quarantine", {"red.jpg"})]
)
def test_no_car(photos, tmp_path, no_car, files):
    shutil.rmtree(photos / "sub")
    summary = run(photos, tmp_path / "out", CutoutStyle(no_car=no_car))
    assert summary.exit_code == 0 and summary.counts["no_car"] == 1
    assert {path.name for path in (tmp_path / "out").glob("*.jpg")} == files
    output = rows(tmp_path / "out")["grey.jpg"]["output"]
    assert output == {"keep": "grey.jpg", "skip": "", "quarantine": "quarantine/grey.jpg"}[no_car]
    if no_car == "quarantine":
        assert (tmp_path / "out" / output).read_bytes() == (photos / "grey.jpg").read_bytes()
    assert run(photos, tmp_path / "out", CutoutStyle(no_car=no_car)).processed == 0


@pytest.mark.parametrize(
    "background, image_format, suffix, mode",
    [
        ("transparent", None, ".png", "RGBA"),
        ("transparent", "webp", ".webp", "RGBA"),
        ("white", "png", ".png", "RGB"),
        ("blur", None, ".jpg", "RGB"),
    ],
)
def test_formats(photos, tmp_path, background, image_format, suffix, mode):
    run(photos, tmp_path / "out", CutoutStyle(background=background), image_format=image_format)
    assert Image.open(tmp_path / "out" / f"red{suffix}").mode == mode
    assert rows(tmp_path / "out")["sub/blue.png"]["output"] == f"sub/blue{suffix}"


def test_exif_turned_photo(tmp_path):
    exif = Image.Exif()
    exif[traps.ORIENTATION] = 6
    (tmp_path / "in").mkdir()
    Image.fromarray(np.rot90(draw_car())).save(tmp_path / "in" / "x.jpg", quality=95, exif=exif)
    run(tmp_path / "in", tmp_path / "out")
    row = rows(tmp_path / "out")["x.jpg"]
    assert [row[key] for key in ("x1", "y1", "x2", "y2", "width", "height")] == [*BOX, "128", "96"]


def test_a_large_photo_is_detected_small_and_cut_large(tmp_path):
    class Sizes(FakeDetector):
        def detect(self, images):
            assert all(max(image.shape) <= 1600 for image in images)
            return super().detect(images)

    put(tmp_path / "in" / "x.png", draw_car((220, 20, 20), (2400, 3200), (800, 1000, 2400, 1800)))
    run(tmp_path / "in", tmp_path / "out", CutoutStyle(padding=0), Sizes())
    row = rows(tmp_path / "out")["x.png"]
    assert [float(row[key]) for key in ("x1", "y1", "x2", "y2")] == pytest.approx((800, 1000, 2400, 1800), abs=3)
    assert int(row["mask_area"]) == pytest.approx(1600 * 800, rel=0.01)
    assert load_image(tmp_path / "out" / "x.jpg").shape[1] == pytest.approx(1600, abs=4)


def test_ties_are_told(tmp_path):
    image = draw_car(box=(10, 40, 60, 72))
    image[40:72, 70:118] = (20, 40, 220)
    put(tmp_path / "in" / "x.png", image)
    assert run(tmp_path / "in", tmp_path / "out").counts == {"ok": 1}
    row = rows(tmp_path / "out")["x.png"]
    assert row["reason"].startswith("2 vehicles nearly equal: the runner-up weighs 9") and row["candidates"] == "2"


class Failing(FakeDetector):
    """Fails on every batch that holds a photo 77 pixels wide."""

    def detect(self, images):
        if any(image.shape[1] == 77 for image in images):
            raise RuntimeError("out of\nmemory")
        return super().detect(images)


class WrongMasks(FakeDetector):
    def detect(self, images):
        return [[Vehicle((0, 0, 5, 5), np.ones((5, 5), bool), 0.9)] for _ in images]


def test_a_photo_on_which_the_detector_fails_is_a_row(photos, tmp_path):
    put(photos / "bad.png", draw_car(size=(96, 77), box=(10, 10, 60, 60)))
    detector = Failing()
    summary = run(photos, tmp_path / "out", detector=detector, batch_size=4)
    assert summary.counts == {"ok": 2, "no_car": 1, "error": 1} and summary.exit_code == 3
    row = rows(tmp_path / "out")["bad.png"]
    assert (row["status"], row["reason"], row["output"]) == ("error", "RuntimeError: out of memory", "")
    assert detector.calls == [1, 1, 1]


def test_wrong_masks_and_too_few_results_are_rows(photos, tmp_path):
    assert run(photos, tmp_path / "out", detector=WrongMasks()).counts == {"error": 3}

    class Short(FakeDetector):
        def detect(self, images):
            return super().detect(images)[1:]

    assert run(photos, tmp_path / "out2", detector=Short()).counts == {"error": 3}


@pytest.mark.parametrize("batch_size, workers", [(1, 1), (2, 3), (8, 0)])
def test_batches_change_nothing(photos, tmp_path, batch_size, workers):
    for number in range(7):
        put(photos / f"{number}.png", draw_car(box=(20 + number, 30, 90, 70)))
    run(photos, tmp_path / "reference")
    detector = FakeDetector()
    run(photos, tmp_path / "out", detector=detector, batch_size=batch_size, workers=workers)
    assert tree(tmp_path / "out") == tree(tmp_path / "reference")
    assert max(detector.calls) <= batch_size and sum(detector.calls) == 10


@pytest.mark.parametrize(
    "source, output, match",
    [
        ("photos", "photos/out", "inside IN"),
        ("photos", "photos", "same folder"),
        ("photos/sub", "photos", "inside OUT"),
        ("photos", "link/out", "inside IN"),
        ("link", "photos", "same folder"),
        ("missing", "out", "There is no folder"),
        ("empty", "out", "holds no photo"),
        ("photos", "file", "is a file"),
        ("photos", "file/out", "can't be written"),
    ],
)
def test_folders_that_are_refused(photos, tmp_path, source, output, match):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(photos)
    before = tree(tmp_path)
    with pytest.raises(UsageError, match=match):
        run(tmp_path / source, tmp_path / output)
    assert tree(tmp_path) == before


def test_a_link_in_the_source_that_leads_to_the_output(photos, tmp_path):
    run(photos, tmp_path / "out")
    (photos / "again").symlink_to(tmp_path / "out")
    with pytest.raises(UsageError, match="leads into the output"):
        run(photos, tmp_path / "out")


@pytest.mark.parametrize(
    "names, match",
    [
        (("a.jpg", "a.png"), "'a.jpg' and 'a.png' would both become 'a.jpg'"),
        (("a.JPG", "a.jpg"), "would both become 'a.jpg'"),
        (("x/a.jpeg", "x/a.webp"), "'x/a.jpeg' and 'x/a.webp'"),
        (("b.gif", "b.jpg/c.png"), "'b.gif' would become 'b.jpg', the folder of 'b.jpg/c.png'"),
    ],
)
def test_name_clashes_are_rows_and_the_others_go_on(tmp_path, names, match):
    for name in names:
        put_as(tmp_path / "in" / name)
    put(tmp_path / "in" / "other.png", draw_car())
    summary = run(tmp_path / "in", tmp_path / "out")
    made = rows(tmp_path / "out")
    assert summary.exit_code == 3 and made["other.png"]["status"] == "ok"
    clashing = [name for name in names if made[name]["status"] == "error"]
    assert clashing == ([names[0]] if "folder of" in match else list(names))
    assert all(match in made[name]["reason"] and not made[name]["output"] for name in clashing)
    assert run(tmp_path / "in", tmp_path / "out").processed == 0
    os.remove(tmp_path / "in" / names[0])
    assert run(tmp_path / "in", tmp_path / "out").exit_code == 0  # it is over, so they are done


def put_as(path):
    """A PNG by whatever name."""
    put(path.parent / "made.png", draw_car())
    (path.parent / "made.png").rename(path)


def test_a_photo_that_cannot_be_read_clashes_with_none(tmp_path):
    put(tmp_path / "in" / "a.jpg", draw_car())
    (tmp_path / "in" / "a.png").write_bytes(b"")
    run(tmp_path / "in", tmp_path / "out")
    assert {name: row["status"] for name, row in rows(tmp_path / "out").items()} == {
        "a.jpg": "ok", "a.png": "unreadable"
    }  # fmt: skip


def test_keep_suffix_names_them_apart(tmp_path):
    put(tmp_path / "in" / "a.jpg", draw_car())
    put(tmp_path / "in" / "a.png", draw_car())
    assert run(tmp_path / "in", tmp_path / "out", keep_suffix=True).counts == {"ok": 2}
    assert {row["output"] for row in rows(tmp_path / "out").values()} == {"a.jpg.jpg", "a.png.jpg"}
    with pytest.raises(UsageError, match="keep_suffix"):
        run(tmp_path / "in", tmp_path / "out")


def test_a_cut_out_that_is_there_stays_when_a_clash_arrives(tmp_path):
    put(tmp_path / "in" / "a.jpg", draw_car())
    run(tmp_path / "in", tmp_path / "out")
    put(tmp_path / "in" / "a.png", draw_car())
    assert run(tmp_path / "in", tmp_path / "out").counts == {"ok": 1, "error": 1}
    assert (tmp_path / "out" / "a.jpg").is_file() and rows(tmp_path / "out")["a.jpg"]["status"] == "ok"


def test_exclude_leaves_out_names_and_paths(tmp_path):
    for name in ("a.png", "thumbs/b.png", "x/thumbs/c.png", "x/d.png", "y/old/e.png", "f_small.png"):
        put(tmp_path / "in" / name, draw_car())
    run(tmp_path / "in", tmp_path / "out", exclude=("thumbs", "y/*", "*_small.*"))
    assert list(rows(tmp_path / "out")) == ["a.png", "x/d.png"]
    assert run(tmp_path / "in", tmp_path / "out").processed == 4  # another choice of photos goes on in the same folder


def test_one_photo(tmp_path, monkeypatch):
    put(tmp_path / "a.png", draw_car())
    put(tmp_path / "b.png", draw_car())
    monkeypatch.chdir(tmp_path)
    assert run("a.png", "out").counts == {"ok": 1}
    summary = run("b.png", "out")
    assert summary.counts == {"ok": 2} and not summary.notes
    with pytest.raises(UsageError, match="lies inside OUT"):
        run("a.png", ".")
    with pytest.raises(UsageError, match="only a folder can be watched"):
        run("a.png", "out", watch=1)


def test_an_unreadable_folder_costs_a_line(tmp_path, monkeypatch):
    put(tmp_path / "in" / "a.png", draw_car())
    (tmp_path / "in" / "locked").mkdir()
    refuse_folders(monkeypatch, "locked")
    summary = run(tmp_path / "in", tmp_path / "out")
    assert (summary.counts, summary.exit_code) == ({"ok": 1}, 3)
    assert any("locked' can't be read: Permission denied" in note for note in summary.notes)


def test_files_passed_over_are_told_and_photos_known_by_their_content(tmp_path):
    source = tmp_path / "in"
    put_as(source / "scan")
    put_as(source / "photo.dat")
    (source / "raw.CR2").write_bytes(b"II*\0\x10\0\0\0CR\2\0" + bytes(64))  # has a row that says what to do
    (source / "edit.psd").write_bytes(b"8BPS" + bytes(64))
    (source / "notes.txt").write_text("nothing")
    (source / "other").write_bytes(b"")
    put_as(source / "half.part")
    summary = run(source, tmp_path / "out")
    done = rows(tmp_path / "out")
    assert {row["output"] for row in done.values()} == {"scan.jpg", "photo.dat.jpg", ""}
    assert done["raw.CR2"]["status"] == "unreadable"
    told = "4 files were passed over: 1 without suffix, 1 .part, 1 .psd, 1 .txt."
    assert told in summary.notes
    assert told in str(dry_run(source, tmp_path / "out2", STYLE, CleanOptions()))


@pytest.mark.parametrize(
    "rules, results",
    [
        (NameRules(), {"ok"}),
        (NameRules(case=True, form=True), {"error"}),
    ],
)
def test_an_output_that_folds_case(tmp_path, monkeypatch, rules, results):
    monkeypatch.setattr("detection.folder.clashes._probe", lambda folder, device: rules)
    for name in ("Car.png", "car.PNG", "Sub/x.png", "sub/x.png", "caf\u00e9.png", "cafe\u0301.png"):
        put(tmp_path / "in" / name, draw_car())
    summary = run(tmp_path / "in", tmp_path / "out")
    assert set(summary.counts) == results and summary.counts.popitem()[1] == 6
    reasons = [row["reason"] for row in rows(tmp_path / "out").values()]
    assert rules == NameRules() or all("the same name: rename one" in reason for reason in reasons)


def test_this_file_system_is_probed_and_left_as_it_was(tmp_path):
    (tmp_path / "CaseProbe").write_text("")
    found = name_rules(tmp_path / "not" / "there")
    assert found.case == (tmp_path / "caseprobe").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["CaseProbe"]


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mkfs.vfat"), reason="needs root and mkfs.vfat")
def test_a_real_disk_that_folds_case(tmp_path):
    image, disk = tmp_path / "disk.img", tmp_path / "disk"
    image.write_bytes(bytes(32 << 20))
    disk.mkdir()
    subprocess.run(["mkfs.vfat", image], check=True, capture_output=True)
    if subprocess.run(["mount", "-o", "loop", image, disk], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        for name in ("Car.png", "car.PNG", "Sub/x.png", "sub/x.png", "sure.png", "a:b.png"):
            put(tmp_path / "in" / name, draw_car())
        assert run(tmp_path / "in", disk / "out").counts == {"ok": 1, "error": 5}
    finally:
        subprocess.run(["umount", disk], check=True)


def test_other_wrong_usage(photos, tmp_path):
    out = tmp_path / "out"
    for style, options, match in [
        (CutoutStyle(background="transparent"), {"image_format": "jpg"}, "can't be transparent"),
        (STYLE, {"image_format": "tiff"}, "not an output format"),
        (STYLE, {"quality": 0}, "quality"),
        (STYLE, {"batch_size": 0}, "batch_size"),
    ]:
        with pytest.raises(UsageError, match=match):
            run(photos, out, style, **options)
    out.mkdir()
    (out / "red.jpg").write_bytes(b"a photo of mine")
    with pytest.raises(UsageError, match="in the way"):
        run(photos, out)
    (photos / "quarantine").mkdir()
    with pytest.raises(UsageError, match="rename it"):
        run(photos, tmp_path / "out2", CutoutStyle(no_car="quarantine"))


def test_a_full_disk_stops_the_run_and_is_no_row(photos, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("detection.folder.flow.writer.save_image", full)
    with pytest.raises(UsageError, match=r"No space left on device.*resumes from there"):
        run(photos, tmp_path / "out")
    assert (tmp_path / "out" / "journal.jsonl").read_bytes() == b""
    monkeypatch.undo()
    assert run(photos, tmp_path / "out").exit_code == 0


def test_progress_is_called_once_a_photo(photos, tmp_path):
    calls = []
    clean_folder(photos, tmp_path / "out", FakeDetector(), STYLE, progress=lambda *call: calls.append(call))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_no_bar_where_there_is_no_terminal(photos, tmp_path, capfd):
    clean_folder(photos, tmp_path / "out", FakeDetector(), STYLE, progress=True)
    assert capfd.readouterr() == ("", "")


def test_a_dry_run_takes_the_kinds_that_out_was_begun_with(photos, tmp_path):
    run(photos, tmp_path / "out", kinds="car")
    assert "0 to do" in str(dry_run(photos, tmp_path / "out", STYLE, CleanOptions()))
