"""`carclf hide`: from arguments to files, and wrong usage."""

from __future__ import annotations

import pytest

from tests.fakes import FakeDetector
from tests.folder_runs import rows


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
        (("--logo", "nowhere.png"), "The logo 'nowhere.png' can't be read"),
        (("--metadata", "none"), "The setting 'metadata'"),
    ],
)
def test_wrong_usage_is_a_sentence_and_writes_nothing(carclf, photos, tmp_path, more, words):
    result = carclf("hide", photos, tmp_path / "out", *more)
    assert result.exit_code == 2 and words in result.output and not (tmp_path / "out").exists()


def test_the_photos_are_never_written_over(carclf, photos):
    before = {path: path.read_bytes() for path in photos.rglob("*") if path.is_file()}
    result = carclf("hide", photos, photos)
    assert result.exit_code == 2 and "are the same folder" in result.output
    assert {path: path.read_bytes() for path in photos.rglob("*") if path.is_file()} == before
