"""`carclf hide`: from arguments to files, and wrong usage."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from detection.images.read import load_image
from detection.publishing.hiding import private
from tests.detection.common.places.conftest import own_world, s3, s3_server  # noqa: F401
from tests.fakes import FakeDetector, FakePlates
from tests.folder_runs import rows, tree


@pytest.fixture(autouse=True)
def detector(monkeypatch):
    monkeypatch.setattr("detection.detectors.load.load_detector", lambda name, device, **_: FakeDetector())


def test_a_folder_and_its_exit_codes(carclf, photos, tmp_path):
    result = carclf("hide", photos, tmp_path / "out", "--what", "plates", "--review")
    assert result.exit_code == 0 and "3 photos: 2 ok, 1 no_car" in result.output
    assert {row["output"] for row in rows(tmp_path / "out").values()} == {"red.jpg", "sub/blue.png", "grey.jpg"}
    (photos / "bad.jpg").write_bytes(b"")
    assert carclf("hide", photos, tmp_path / "out", "--review").exit_code == 3
    assert "bad.jpg,not written" in (tmp_path / "out" / "review.csv").read_text()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--what", "hands"), "'hands' can't be hidden"),
        (("--way", "paint"), "The setting 'way'"),
        (("--margin", "9"), "The setting 'margin'"),
        (("--way", "logo"), "A logo picture and the way 'logo' belong together"),
        (("--logo", "LOGO", "--way", "fill"), "A logo picture and the way 'logo' belong together"),
        (("--logo", "SOLID"), "has no transparency"),
        (("--logo", "nowhere.png"), "The logo 'nowhere.png' can't be read"),
        (("--metadata", "none"), "The setting 'metadata'"),
    ],
)
def test_wrong_usage_is_a_sentence_and_writes_nothing(carclf, photos, tmp_path, more, words):
    Image.new("RGBA", (40, 20), (200, 0, 0, 100)).save(tmp_path / "logo.png")
    Image.new("RGB", (40, 20), (200, 0, 0)).save(tmp_path / "solid.png")
    files = {"LOGO": tmp_path / "logo.png", "SOLID": tmp_path / "solid.png"}
    result = carclf("hide", photos, tmp_path / "out", *(files.get(one, one) for one in more))
    assert result.exit_code == 2 and words in result.output and not (tmp_path / "out").exists()


def test_clean_hides_in_cutouts(carclf, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(private, "plate_finder", FakePlates)
    assert carclf("clean", photos, tmp_path / "plain", "--format", "png").exit_code == 0
    hidden = ("clean", photos, tmp_path / "out", "--format", "png", "--hide", "plates", "--margin", "0")
    assert carclf(*hidden).exit_code == 0
    assert rows(tmp_path / "out")["red.jpg"]["hidden"] == "1" and "hidden" not in rows(tmp_path / "plain")["red.jpg"]
    before, after = (load_image(tmp_path / folder / "red.png").astype(int) for folder in ("plain", "out"))
    changed = np.abs(before - after).max(axis=2) > 20
    assert 0.05 < changed.mean() < 0.2  # the plate, and not more
    result = carclf("clean", photos, tmp_path / "out", "--format", "png")
    assert result.exit_code == 2 and "made with hide" in result.output


@pytest.mark.parametrize("more", [("--way", "fill"), ("--logo", "x.png"), ("--margin", "0"), ("--hide-only-main",)])
def test_how_without_what_is_a_sentence(carclf, photos, tmp_path, more):
    result = carclf("clean", photos, tmp_path / "out", *more)
    assert result.exit_code == 2 and f"{more[0]} says how something is hidden" in result.output


def test_shards_of_hidden_photos_are_merged_and_reviewed(carclf, photos, tmp_path):
    for part in ("1/2", "2/2"):
        assert carclf("hide", photos, tmp_path / "out", "--shard", part).exit_code == 0
    assert carclf("hide", tmp_path / "out", "--merge").exit_code == 0
    result = carclf("hide", photos, tmp_path / "out", "--review", "--contact-sheet")
    assert result.exit_code == 0 and (tmp_path / "out" / "contact-sheet" / "index.html").is_file()
    assert (tmp_path / "out" / "review.csv").read_text().count("a vehicle without a plate") == 2


def test_hidden_photos_go_from_s3_to_s3(carclf, photos, tmp_path, s3):  # noqa: F811
    for name, data in tree(photos).items():
        s3.put(f"{s3.bucket}/in/{name}", data)
    there = f"s3://{s3.bucket}"
    assert carclf("hide", photos, tmp_path / "here").exit_code == 0
    assert carclf("hide", f"{there}/in", f"{there}/out").exit_code == 0
    again = carclf("hide", f"{there}/in", f"{there}/out")
    assert again.exit_code == 0, again.output
    own = ("settings.json", "journal.jsonl", "run.json")  # they name IN, or the time
    here, far = (tree(folder) for folder in (tmp_path / "here", s3.folder / s3.bucket / "out"))
    assert {name: data for name, data in here.items() if name not in own} == {
        name: data for name, data in far.items() if name not in own
    }


def test_the_photos_are_never_written_over(carclf, photos):
    before = {path: path.read_bytes() for path in photos.rglob("*") if path.is_file()}
    result = carclf("hide", photos, photos)
    assert result.exit_code == 2 and "are the same folder" in result.output
    assert {path: path.read_bytes() for path in photos.rglob("*") if path.is_file()} == before
