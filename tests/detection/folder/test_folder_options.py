"""What a folder run can be told: kinds, all vehicles, formats and sizes, detections of an earlier run, a dry run."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from carclf.datasets import read_manifest as read_crops
from detection.common.errors import UsageError
from detection.cutout.cut import CutoutStyle
from detection.folder.dry_run import dry_run
from detection.folder.options import CleanOptions
from detection.folder.out.detections import read_detections
from detection.images.read import load_image
from detection.vehicle import Vehicle
from tests.fakes import FakeDetector, draw_car
from tests.folder_runs import STYLE, put, rows, run, times, tree

RED, BLUE = (220, 20, 20), (20, 40, 220)


class Kinds(FakeDetector):
    """Red is a car, blue a truck."""

    kinds = ("car", "truck")

    def detect(self, images):
        return [
            [
                Vehicle(one.box, one.mask, one.score, "truck" if image[one.mask].mean(axis=0)[2] > 150 else "car")
                for one in found
            ]
            for image, found in zip(images, super().detect(images), strict=True)
        ]


class Unused(FakeDetector):
    def detect(self, images):
        raise AssertionError("no detector is needed")


@pytest.fixture
def street(tmp_path):
    """street.png: a large blue and a small red rectangle; sub/none.png: nothing; a.png: a red one."""
    image = draw_car(BLUE, size=(120, 200), box=(10, 10, 110, 100))
    image[20:80, 130:180] = RED
    put(tmp_path / "in" / "street.png", image)
    put(tmp_path / "in" / "a.png", draw_car(RED))
    put(tmp_path / "in" / "sub" / "none.png", draw_car(box=(0, 0, 0, 0)))
    return tmp_path / "in"


def vehicles(output) -> list[dict[str, str]]:
    with open(output / "vehicles.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_only_some_kinds(street, tmp_path):
    run(street, tmp_path / "all", detector=Kinds(), kinds="all")
    assert rows(tmp_path / "all")["street.png"]["x1"] == "10.0"
    run(street, tmp_path / "cars", detector=Kinds())  # the default
    run(street, tmp_path / "cars", detector=Kinds(), only="car")  # an older name
    row = rows(tmp_path / "cars")["street.png"]
    assert (row["x1"], row["candidates"]) == ("130.0", "1")
    run(street, tmp_path / "trucks", detector=Kinds(), only=["truck"])
    assert {name: row["status"] for name, row in rows(tmp_path / "trucks").items()} == {
        "a.png": "no_car", "street.png": "ok", "sub/none.png": "no_car"
    }  # fmt: skip
    with pytest.raises(UsageError, match=r"made with only '\['car'\]', and now it is '\['truck'\]'"):
        run(street, tmp_path / "cars", detector=Kinds(), only="truck")


def test_an_unknown_kind_is_refused_before_anything_is_written(street, tmp_path):
    with pytest.raises(UsageError, match="'fake' knows no 'tram': its kinds are car, truck"):
        run(street, tmp_path / "out", detector=Kinds(), only="car,tram")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="kind of vehicle is empty"):
        run(street, tmp_path / "out", only="car,,truck")


def test_all_vehicles(street, tmp_path):
    out = tmp_path / "out"
    summary = run(street, out, detector=Kinds(), all_vehicles=True, kinds="all")
    assert summary.counts == {"ok": 2, "no_car": 1}
    assert {name for name in tree(out) if name.endswith(".jpg")} == {
        "a-1.jpg", "street-1.jpg", "street-2.jpg", "sub/none-0.jpg"
    }  # fmt: skip
    assert {name: row["output"] for name, row in rows(out).items()} == {
        "a.png": "a-1.jpg", "street.png": "street-1.jpg", "sub/none.png": "sub/none-0.jpg"
    }  # fmt: skip
    found = [(row["source"], row["output"], row["rank"], row["kind"], row["x1"]) for row in vehicles(out)]
    assert found == [
        ("a.png", "a-1.jpg", "1", "car", "32.0"),
        ("street.png", "street-1.jpg", "1", "truck", "10.0"),
        ("street.png", "street-2.jpg", "2", "car", "130.0"),
    ]
    colour = load_image(out / "street-2.jpg")[30, 25]
    assert np.abs(colour.astype(int) - RED).max() < 20
    assert read_crops(out)["street.png"] == (out / "street-1.jpg").absolute()
    before = times(out)
    assert run(street, out, detector=Kinds(), all_vehicles=True, kinds="all").processed == 0 and times(out) == before


def test_all_vehicles_names_never_meet_and_lost_crops_are_made_again(street, tmp_path):
    out = tmp_path / "out"
    put(street / "street-1.png", draw_car(box=(0, 0, 0, 0)))
    put(street / "street-2.png", draw_car(RED))
    run(street, out, detector=Kinds(), all_vehicles=True, kinds="all")
    reference = tree(out)
    assert {"street-1.jpg", "street-2.jpg", "street-1-0.jpg", "street-2-1.jpg"} <= set(reference)
    (out / "street-2.jpg").unlink()
    assert run(street, out, detector=Kinds(), all_vehicles=True, kinds="all").processed == 1
    assert tree(out) == reference
    put(street / "street.png", draw_car(RED))  # now there is one vehicle
    run(street, out, detector=Kinds(), all_vehicles=True, kinds="all")
    assert not (out / "street-2.jpg").exists() and (out / "street-1.jpg").exists()


def test_detections_of_an_earlier_run_give_the_same_files(street, tmp_path):
    first, file = tmp_path / "first", tmp_path / "first" / "detections.jsonl"
    (street / "bad.jpg").write_bytes(b"")
    run(street, first, detector=Kinds(), save_detections=True)
    black = CutoutStyle(background="black", padding=0.2)
    run(street, tmp_path / "expected", black, Kinds())
    run(street, tmp_path / "again", black, Unused, detections=file)  # not even made: a class would be called
    assert tree(tmp_path / "again") == tree(tmp_path / "expected")
    run(street, tmp_path / "cars", detector=None, detections=file, all_vehicles=True)
    assert [row["kind"] for row in vehicles(tmp_path / "cars")] == ["car", "car"]
    run(street, tmp_path / "trucks", detector=None, detections=file, only="truck", all_vehicles=True)
    assert [row["kind"] for row in vehicles(tmp_path / "trucks")] == ["truck"]
    with pytest.raises(UsageError, match="knows no 'tram'"):
        run(street, tmp_path / "trams", detector=None, detections=file, kinds="tram")


def test_a_folder_that_was_begun_with_every_kind_ends_so(street, tmp_path):
    """As version 0.4.0 did, which named none."""
    out = tmp_path / "out"
    run(street, out, detector=Kinds(), kinds="all")
    put(street / "new.png", draw_car(RED))
    assert run(street, out, detector=Kinds()).processed == 1
    assert rows(out)["street.png"]["x1"] == "10.0"
    with pytest.raises(UsageError, match="made with only 'None', and now it is"):
        run(street, out, detector=Kinds(), kinds="car")


def test_photos_that_the_detections_do_not_know_are_rows(street, tmp_path):
    file = tmp_path / "first" / "detections.jsonl"
    run(street, tmp_path / "first", save_detections=True)
    put(street / "new.png", draw_car())
    put(street / "a.png", draw_car(BLUE))
    assert run(street, tmp_path / "out", detector=None, detections=file).counts == {"ok": 1, "no_car": 1, "error": 2}
    found = rows(tmp_path / "out")
    assert found["new.png"]["reason"] == "LookupError: 'detections.jsonl' knows nothing of it"
    assert found["a.png"]["reason"] == "LookupError: 'detections.jsonl' is of an earlier state of the photo"
    assert run(street, tmp_path / "out", retry_failed=True).processed == 2  # now with the detector
    assert {row["status"] for row in rows(tmp_path / "out").values()} == {"ok", "no_car"}


def test_saved_detections_are_completed_by_a_later_run(street, tmp_path):
    out = tmp_path / "out"
    run(street, out)
    assert run(street, out, save_detections=True).processed == 3
    assert run(street, out, save_detections=True).processed == 0
    with read_detections(out / "detections.jsonl") as found:
        assert len(found) == 3 and len(found.get("street.png")) == 2 and found.get("sub/none.png") == []
    run(street, out, save_detections=True, restart=True)
    assert (out / "detections.jsonl").read_bytes().count(b"\n") == 4


@pytest.mark.parametrize("background, mode", [("white", "RGB"), ("transparent", "RGBA")])
def test_max_size(tmp_path, background, mode):
    put(tmp_path / "in" / "x.png", draw_car(RED, (300, 400), (50, 50, 350, 250)))
    put(tmp_path / "in" / "small.png", draw_car(RED, (40, 40), (10, 10, 30, 30)))
    run(tmp_path / "in", tmp_path / "out", CutoutStyle(background=background), max_size=64, image_format="png")
    crop = Image.open(tmp_path / "out" / "x.png")
    assert (crop.mode, crop.size) == (mode, (64, 45))
    assert max(Image.open(tmp_path / "out" / "small.png").size) < 40
    pixels = np.asarray(crop).astype(int)
    edge = pixels[20, :12]  # from the background over the soft edge into the car
    if mode == "RGBA":
        seen = edge[edge[:, 3] > 8]
        assert len(seen) and np.abs(seen[:, :3] - RED).max() < 12  # no white, no old background in the colours
        assert edge[0, 3] == 0 and edge[-1, 3] == 255


@pytest.mark.parametrize(
    "options, match",
    [
        ({"max_size": 0}, "max_size is wrong: input should be greater than or equal to 1 .given: 0."),
        ({"quality": 101}, "quality is wrong"),
        ({"workers": -1}, "workers is wrong"),
        ({"image_format": "gif"}, "'gif' is not an output format: choose jpg, png, webp"),
        ({"restart": True, "retry_failed": True}, "choose one"),
        ({"bogus": 1}, "'bogus' is not an option of a folder run"),
        ({"shard": "3/2"}, "'3/2' is not a shard: write i/n"),
        ({"watch": 0}, "watch is wrong"),
        ({"detections": "nowhere.jsonl"}, "no detections file 'nowhere.jsonl'"),
    ],
)
def test_wrong_options_are_one_sentence(photos, tmp_path, options, match):
    with pytest.raises(UsageError, match=match) as error:
        run(photos, tmp_path / "out", **options)
    assert str(error.value).count("\n") == 0 and str(error.value).endswith(".")
    assert not (tmp_path / "out").exists()


def test_retry_failed_does_only_those_again(photos, tmp_path):
    class Broken(FakeDetector):
        def detect(self, images):
            if any(image[60, 60, 2] > 150 for image in images):  # sub/blue.png
                raise MemoryError("not now")
            return super().detect(images)

    out = tmp_path / "out"
    (photos / "bad.jpg").write_bytes(b"")
    assert run(photos, out, detector=Broken()).counts == {"ok": 1, "no_car": 1, "unreadable": 1, "error": 1}
    before = times(out)
    assert run(photos, out).processed == 0
    summary = run(photos, out, retry_failed=True)
    assert summary.processed == 2 and summary.counts == {"ok": 2, "no_car": 1, "unreadable": 1}
    assert {name for name, time in times(out).items() if before.get(name) != time} == {
        str(out / name) for name in ("sub/blue.jpg", "manifest.csv", "journal.jsonl", "run.json")
    }


def test_a_dry_run_writes_nothing(photos, tmp_path):
    out = tmp_path / "out"
    text = str(dry_run(photos, out, STYLE, CleanOptions(max_size=99)))
    assert text.startswith(f"3 photos in '{photos}': 3 to do, 0 done earlier.\n") and "at most 99 pixels" in text
    assert "  sub/blue.png -> sub/blue.jpg" in text and not out.exists()
    (photos / "bad.jpg").write_bytes(b"")
    run(photos, out)
    (out / "red.jpg").unlink()
    put(photos / "new.png", draw_car())
    before = times(out)
    found = dry_run(photos, out, STYLE, CleanOptions())
    assert (found.todo, found.earlier, found.failed) == (["new.png", "red.jpg"], 3, 1)
    assert dry_run(photos, out, STYLE, CleanOptions(retry_failed=True)).todo == ["bad.jpg", "new.png", "red.jpg"]
    assert len(dry_run(photos, out, STYLE, CleanOptions(restart=True)).todo) == 5
    with pytest.raises(UsageError, match="background 'white'"):
        dry_run(photos, out, CutoutStyle(background="black"), CleanOptions())
    assert times(out) == before


def test_the_contact_sheet_is_made_at_the_end(photos, tmp_path):
    summary = run(photos, tmp_path / "out", contact_sheet=True, save_detections=True)
    assert "1 page to look at" in summary.notes[-1]
    assert (tmp_path / "out" / "contact-sheet" / "index.html").is_file()
    assert run(photos, tmp_path / "out").processed == 0
    (photos / "contact-sheet").mkdir()
    with pytest.raises(UsageError, match="folder 'contact-sheet' of its own"):
        run(photos, tmp_path / "out2", contact_sheet=True)


def test_the_summary_says_what_bounds_the_run(photos, tmp_path):
    class Slow(FakeDetector):
        def detect(self, images):
            import time

            time.sleep(0.2)
            return super().detect(images)

    summary = run(photos, tmp_path / "out", detector=Slow())
    assert summary.bound_by == "detect" and "Bound by detect: busy were read " in str(summary)
    told = json.loads((tmp_path / "out" / "run.json").read_text())
    assert told["bound_by"] == "detect" and told["processed"] == 3 and told["busy"]["detect"] > 0.5
    assert run(photos, tmp_path / "out").bound_by == ""
