from pathlib import Path

import pytest

from carclf.classifier.onnx.folder import kept_export
from detection.common.files import cache_folder
from detection.detectors.zoo import download


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("CARCLF_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize(
    ("named", "caches", "expected"),
    [
        (None, None, "home/.cache/carclf"),
        ("", "", "home/.cache/carclf"),
        (None, "xdg", "xdg/carclf"),
        ("own", "xdg", "own"),
        ("own", None, "own"),
    ],
)
def test_the_cache_folder_is_named_or_the_users(home, tmp_path, monkeypatch, named, caches, expected):
    for name, value in (("CARCLF_CACHE", named), ("XDG_CACHE_HOME", caches)):
        if value is not None:
            monkeypatch.setenv(name, value and str(tmp_path / value))
    assert cache_folder() == tmp_path / expected


def test_all_that_is_cached_lies_in_the_one_folder(home, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    weights = tmp_path / "weights"
    weights.write_bytes(b"x")
    assert kept_export(weights).is_relative_to(tmp_path / "xdg" / "carclf")
    assert download._in_cache(Path("zoo/a.safetensors")) == tmp_path / "xdg" / "carclf" / "zoo" / "a.safetensors"


def test_zoo_weights_of_an_earlier_version_are_found(home, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    name = "COCO-Detection/faster_rcnn_R_50_FPN_3x"
    before = home / ".cache" / "carclf" / "zoo" / f"{name}.safetensors"
    before.parent.mkdir(parents=True)
    before.write_bytes(b"fetched before")
    assert download.fetch_zoo_weights(name) == before
    now = tmp_path / "xdg" / "carclf" / "zoo" / f"{name}.safetensors"
    now.parent.mkdir(parents=True)
    now.write_bytes(b"fetched since")
    assert download.fetch_zoo_weights(name) == now
    monkeypatch.setenv("CARCLF_CACHE", str(tmp_path / "own"))
    assert download._in_cache(Path("zoo/a")) == tmp_path / "own" / "zoo" / "a"
