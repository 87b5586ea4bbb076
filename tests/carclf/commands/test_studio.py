"""`carclf studio`: from arguments to files, and wrong usage."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from carclf.commands.publish import MAX_UPSCALE, studio
from detection.images.write import save_image
from detection.publishing.studio.style import StudioStyle
from tests.fakes import FakeDetector
from tests.folder_runs import rows


@pytest.fixture(autouse=True)
def detector(monkeypatch):
    monkeypatch.setattr("detection.detectors.load.load_detector", lambda name, device, **_: FakeDetector())


def test_a_folder_and_its_exit_codes(carclf, photos, tmp_path):
    result = carclf("studio", photos, tmp_path / "out", "--size", "320x240", "--light", "left", "--reflection", "0.15")
    assert result.exit_code == 0 and "3 photos: 2 ok, 1 no_car" in result.output
    assert {row["output"] for row in rows(tmp_path / "out").values()} == {"red.jpg", "sub/blue.jpg", ""}
    (photos / "bad.jpg").write_bytes(b"")
    again = ("studio", photos, tmp_path / "out", "--size", "320x240", "--light", "left", "--reflection", "0.15")
    assert carclf(*again).exit_code == 3


def test_a_marketplace_and_a_format(carclf, photos, tmp_path):
    out = tmp_path / "out"
    assert carclf("studio", photos, out, "--market", "Google", "--format", "webp", "--no-car", "keep").exit_code == 0
    assert {row["output"] for row in rows(out).values()} == {"red.webp", "sub/blue.webp", "grey.webp"}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--backdrop", "studio-whit"), "did you mean studio-white"),
        (("--backdrop", "nowhere.jpg"), "is neither a room nor a colour nor a picture"),
        (("--backdrop", "{small}"), "is 64 x 48 pixels, smaller than the pictures (1600 x 1200)"),
        (("--backdrop", "{text}"), "notes.jpg' is not a photo"),
        (("--backdrop", "{folder}"), "is neither a room nor a colour nor a picture"),
        (("--backdrop", "red:green:blue"), "is neither a room nor a colour nor a picture"),
        (("--market", "mobil.de"), "did you mean mobile.de"),
        (("--market", "?"), "known are 4:3"),
        (("--market", "ebay", "--size", "800x600"), "leave one out"),
        (("--size", "big"), "'big' is not a size"),
        (("--size", "0x600"), "can't be 0 x 600 pixels"),
        (("--size", "99999x600"), "can't be 99999 x 600 pixels"),
        (("--light", "below"), "The setting 'light'"),
        (("--reflection", "2"), "The setting 'reflection'"),
        (("--reflection", "nan"), "The setting 'reflection'"),
        (("--horizon", "1.5"), "The setting 'horizon'"),
        (("--max-upscale", "0.5"), "The setting 'max_upscale'"),
        (("--no-car", "burn"), "The setting 'no_car'"),
        (("--format", "gif"), "'gif' is not an output format"),
    ],
)
def test_wrong_usage_is_a_sentence_and_writes_nothing(carclf, photos, tmp_path, more, words):
    save_image(tmp_path / "small.png", np.zeros((48, 64, 3), np.uint8))
    (tmp_path / "notes.jpg").write_text("not a picture")
    places = {"small": tmp_path / "small.png", "text": tmp_path / "notes.jpg", "folder": photos}
    result = carclf("studio", photos, tmp_path / "out", *(word.format(**places) for word in more))
    assert result.exit_code == 2 and words in " ".join(result.output.split()), result.output
    assert not (tmp_path / "out").exists()


def test_the_photos_are_never_written_over(carclf, photos):
    before = {path: path.read_bytes() for path in photos.rglob("*") if path.is_file()}
    result = carclf("studio", photos, photos)
    assert result.exit_code == 2 and "are the same folder" in result.output
    assert {path: path.read_bytes() for path in photos.rglob("*") if path.is_file()} == before


def test_the_defaults_are_those_of_the_style():
    """They are written twice, as `carclf --help` is to load no OpenCV; here they are compared."""
    options = inspect.signature(studio).parameters
    for name, field in StudioStyle.model_fields.items():
        if name not in ("digest", "width", "height"):
            assert options[name].default == field.default, name
    assert StudioStyle().max_upscale == MAX_UPSCALE
