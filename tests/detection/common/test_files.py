from contextlib import nullcontext
from pathlib import Path

import pytest

from carclf.classifier.onnx.folder import kept_export
from detection.common.errors import UsageError
from detection.common.files import cache_folder, check_format, escape_name, read_name, write_json, write_table
from detection.common.rows import json_line, parse_row
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


NAMES = (
    "caf\udce9.jpg", "\udcff\udc80", "plain.jpg", "車.jpg", "a\\b.jpg", "a\\\\b", "caf\\xe9.jpg", "\\\\xe9", "\\x41",
    "\\\udce9\\", "\\xe9\udce9", "", "\\\\\\xff\\",
)  # fmt: skip


def test_every_name_is_written_as_utf8_and_comes_back():
    assert escape_name("caf\udce9.jpg") == r"caf\xe9.jpg"
    written = [escape_name(name) for name in NAMES]
    assert len(set(written)) == len(NAMES)
    for name, text in zip(NAMES, written, strict=True):
        text.encode("utf-8")
        assert read_name(text) == name
        line = json_line({"id": name, "rows": [{"file": name}]})
        assert b"\\ud" not in line or not any("\udc80" <= char <= "\udcff" for char in name)
        assert parse_row(line) == {"id": name, "rows": [{"file": name}]}
    for name in ("plain.jpg", "車.jpg", "a\\b.jpg"):
        assert escape_name(name) == name


def test_files_of_before_with_raw_bytes_are_read():
    assert read_name("caf\udce9.jpg") == "caf\udce9.jpg"
    assert parse_row(b'{"id": "caf\\udce9.jpg"}') == {"id": "caf\udce9.jpg"}


def test_tables_and_json_are_utf8(tmp_path):
    import json

    import pandas as pd

    write_json(tmp_path / "a.json", {"files": list(NAMES)})
    assert [read_name(name) for name in json.loads((tmp_path / "a.json").read_text("utf-8"))["files"]] == list(NAMES)
    write_table(tmp_path / "a.csv", [{"file": name, "n": 1} for name in NAMES])
    table = pd.read_csv(tmp_path / "a.csv", keep_default_na=False)
    assert [read_name(name) for name in table["file"]] == list(NAMES) and table["n"].sum() == len(NAMES)


@pytest.mark.parametrize(
    ("found", "known", "version", "newer"),
    [(1, 1, "0.9.0", False), (2, 1, None, True), (1, 2, "0.4.0", False), (1, 1, "99.0.0", True), (None, 1, None, False),
     ("carclf-x-2", "carclf-x-1", "0.9", True), ("carclf-y-2", "carclf-x-1", None, False), (True, 0, None, False),
     ({}, 1, ["9"], False), ("2", 1, "new", True), (1, 1, "9" * 30, True), (1, 1, "", False)],
)  # fmt: skip
def test_files_of_a_newer_carclf(found, known, version, newer):
    with pytest.raises(UsageError, match="newer than this") if newer else nullcontext():
        check_format("x", found, known, version)
