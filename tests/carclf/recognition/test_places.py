"""predict, data check, prepare and the Python API with photos that lie elsewhere."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile

import numpy as np
import pandas as pd
import pytest

from carclf.datasets.check.check import check_data
from carclf.datasets.prepare.prepare import PrepareOptions, prepare_data
from carclf.datasets.table import read_table
from carclf.recognition.inputs import find_sources
from carclf.recognition.photo import read_photo
from detection.common.errors import UsageError
from detection.common.files import check_output, write_json, write_table
from detection.common.places import paths
from tests.fakes import draw_car
from tests.folder_runs import put


@pytest.fixture
def memory(monkeypatch, tmp_path):
    """A file system in memory, with labelled photos in it; the same are in `tmp_path / "photos"`."""
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.setattr(paths, "_open", {})
    files = fsspec.filesystem("memory")
    rng = np.random.default_rng(1)
    for name in ("Audi A4/1.png", "Audi A4/2.png", "BMW 3/1.png", "BMW 3/2 ü.png"):
        put(tmp_path / "photos" / name, draw_car(tuple(rng.integers(0, 255, 3))) ^ rng.integers(0, 9, 1, np.uint8))
        files.pipe_file(f"/data/{name}", (tmp_path / "photos" / name).read_bytes())
    yield files
    files.store.clear()


def test_predict_takes_folders_files_archives_and_lists(memory, tmp_path):
    with zipfile.ZipFile(tmp_path / "cars.zip", "w") as archive:
        archive.write(tmp_path / "photos" / "BMW 3" / "1.png", "x/1.png")
    (tmp_path / "list.txt").write_text(f"memory://data/Audi A4/1.png\n{tmp_path}/photos/BMW 3/1.png\n")
    given = ["memory://data", "memory://data/BMW 3/1.png", str(tmp_path / "cars.zip"), str(tmp_path / "list.txt")]
    found = list(find_sources(given))
    assert [source.below for source in found[:4]] == ["Audi A4/1.png", "Audi A4/2.png", "BMW 3/1.png", "BMW 3/2 ü.png"]
    assert [source.path for source in found[4:6]] == ["memory://data/BMW 3/1.png", f"{tmp_path}/cars.zip/x/1.png"]
    assert len(found) == 8
    assert all(read_photo(source.path).shape == (96, 128, 3) for source in found)
    with pytest.raises(UsageError, match="memory://data/none' does not exist"):
        find_sources(["memory://data/none"])


def test_labelled_photos_elsewhere_are_read_checked_and_prepared(memory, tmp_path):
    here, there = read_table(tmp_path / "photos"), read_table("memory://data")
    assert list(here["label"]) == list(there["label"]) and len(there) == 4
    near, far = check_data(tmp_path / "photos").rows, check_data("memory://data").rows
    pd.testing.assert_frame_equal(near, far)
    options = PrepareOptions(test=0.0)
    one, other = (prepare_data(data, tmp_path / name, None, options) for data, name in
                  ((tmp_path / "photos", "near"), ("memory://data", "far")))  # fmt: skip
    assert list(one.rows["file"]) == list(other.rows["file"])
    assert set(other.rows["status"]) == {"copied"}
    assert set(prepare_data("memory://data", tmp_path / "far", None, options).rows["status"]) == {"copied"}
    for file in one.rows["file"]:
        assert (tmp_path / "near" / file).read_bytes() == (tmp_path / "far" / file).read_bytes()


def test_a_table_of_addresses_and_classes_is_labelled_photos(memory, tmp_path):
    pytest.importorskip("pyarrow")
    files = ["memory://data/Audi A4/1.png", f"{tmp_path}/photos/BMW 3/1.png"]
    listed = pd.DataFrame({"url": files, "class": ["one", "two"], "split": ["train", "test"]})
    listed.to_parquet(tmp_path / "list.parquet")
    listed.to_csv(tmp_path / "list.csv", index=False)
    expected = read_table(tmp_path / "list.csv")
    assert list(expected["file"]) == sorted(files) and set(expected["label"]) == {"one", "two"}
    pd.testing.assert_frame_equal(read_table(tmp_path / "list.parquet"), expected)
    listed[:1].to_parquet(tmp_path / "one.parquet")
    memory.pipe_file("/lists/list.parquet", (tmp_path / "one.parquet").read_bytes())
    assert list(read_table("memory://lists/list.parquet")["file"]) == files[:1]
    listed.drop(columns="class").to_parquet(tmp_path / "list.parquet")
    with pytest.raises(UsageError, match="must have the columns file,class"):
        read_table(tmp_path / "list.parquet")


def test_tables_and_json_are_written_elsewhere(memory):
    check_output("memory://out/rows.csv")
    write_json("memory://out/all.json", {"a": 1})
    write_table("memory://out/rows.csv", [{"a": 1}])
    assert json.loads(memory.cat_file("/out/all.json")) == {"a": 1}
    assert memory.cat_file("/out/rows.csv") == b"a\n1\n"
    with pytest.raises(UsageError, match="can be read, and not written"):
        check_output("https://127.0.0.1:9/rows.csv")


def test_shards_say_the_class_beside_each_photo(memory, tmp_path):
    (tmp_path / "shards").mkdir()
    names = ["Audi A4/1.png", "Audi A4/2.png", "BMW 3/1.png"]
    for number, name in enumerate(names):
        label = name.split("/")[0]
        with tarfile.open(tmp_path / "shards" / f"{number}.tar", "w") as archive:
            archive.add(tmp_path / "photos" / name, f"{number:06d}.png")
            beside = (".cls", label) if number else (".json", json.dumps({"label": label, "id": 7}))
            member = tarfile.TarInfo(f"{number:06d}{beside[0]}")
            member.size = len(beside[1])
            archive.addfile(member, io.BytesIO(beside[1].encode()))
    table = read_table(tmp_path / "shards" / "{0..2}.tar")
    assert list(table["label"]) == ["Audi A4", "Audi A4", "BMW 3"]
    assert check_data(tmp_path / "shards" / "{0..2}.tar").rows["status"].tolist() == ["ok"] * 3
    assert list(read_table(tmp_path / "shards" / "1.tar")["label"]) == ["Audi A4"]
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        archive.add(tmp_path / "photos" / names[0], "a.png")
        archive.addfile(tarfile.TarInfo("a.json"), io.BytesIO())
    with pytest.raises(UsageError, match="a.json' names no class"):
        read_table(tmp_path / "bad.tar")
