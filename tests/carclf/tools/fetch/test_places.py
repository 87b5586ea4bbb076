"""`carclf data fetch` of archives and folders in places."""

from __future__ import annotations

import os
from itertools import islice

import pytest
from typer.testing import CliRunner

from carclf.cli import app
from carclf.datasets import read_table
from carclf.tools.fetch.fetch import fetch
from carclf.tools.fetch.place import PlaceFile
from detection.common.errors import UsageError
from detection.common.places import paths
from detection.common.places.faults import PlaceError
from detection.common.places.paths import path_of
from detection.common.places.remote.store import RemoteStore
from tests.carclf.tools.fetch.fetched import carclf, names, refused, zipped
from tests.detection.common.places.conftest import own_world, s3, s3_server  # noqa: F401


@pytest.fixture
def in_memory(photos, monkeypatch):
    """A zip in a place, which reads it in small chunks; the offsets that were read."""
    monkeypatch.setattr(paths, "_open", {})
    monkeypatch.setattr("carclf.tools.fetch.place._CHUNK", 700)
    place = paths.path_of("memory://fetched/cars.zip")
    place.write_bytes(zipped(photos))
    real, offsets = RemoteStore.read, []
    monkeypatch.setattr(
        RemoteStore,
        "read",
        lambda self, key, start=None, end=None: offsets.append(start) or real(self, key, start, end),
    )
    yield place, offsets
    place.unlink(missing_ok=True)


def test_an_archive_in_a_place_is_fetched_and_goes_on_where_it_was(in_memory, tmp_path, monkeypatch):
    place, offsets = in_memory

    class Killed(BaseException):
        pass

    def kill(self, entry, start, real=PlaceFile._chunks):
        yield from islice(real(self, entry, start), 2)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(PlaceFile, "_chunks", kill)
        with pytest.raises(Killed):
            CliRunner().invoke(app, ["data", "fetch", str(place), str(tmp_path / "cars")])
    assert carclf(place, tmp_path / "cars").exit_code == 0
    assert offsets[:4] == [0, 700, 1400, 2100] and len(set(offsets)) == len(offsets)
    assert len(read_table(tmp_path / "cars")) == 6 and names(tmp_path) == ["cars"]


def test_an_archive_that_changes_in_its_place_is_fetched_anew(in_memory, photos, tmp_path, pauses, monkeypatch):
    place, offsets = in_memory
    real = PlaceFile.open

    def change(self, headers):
        answer = real(self, headers)
        if len(offsets) == 0:
            place.write_bytes(zipped(dict(list(photos.items())[:4])))
        return answer

    monkeypatch.setattr(PlaceFile, "open", change)
    assert carclf(place, tmp_path / "cars").exit_code == 0
    assert offsets[:3] == [0, 0, 700] and len(read_table(tmp_path / "cars")) == 4


def test_a_place_that_stays_away_is_waited_for_once(in_memory, tmp_path, pauses, monkeypatch):
    """By the clock of places (`CARCLF_PATIENCE`), and not again by that of downloads."""
    place, offsets = in_memory
    real = RemoteStore.read

    def away(self, key, start=None, end=None):
        if len(offsets) == 2:
            raise PlaceError(111, "connection refused", passing=True)
        return real(self, key, start, end)

    with monkeypatch.context() as patch:
        patch.setattr(RemoteStore, "read", away)
        said = refused(place, tmp_path / "cars")
    assert "can't be fetched now: connection refused. Run the same command again later; 1,400 bytes are kept" in said
    assert pauses == [] and len(offsets) == 2
    assert carclf(place, tmp_path / "cars").exit_code == 0 and offsets[2] == 1400


def test_from_s3_and_what_is_no_archive_there(s3, photos, tmp_path):  # noqa: F811
    s3.put(f"{s3.bucket}/sets/cars.zip", zipped(photos))
    assert carclf(f"s3://{s3.bucket}/sets/cars.zip", tmp_path / "cars").exit_code == 0
    assert len(read_table(tmp_path / "cars")) == 6
    assert "was fetched before" in carclf(f"s3://{s3.bucket}/sets/cars.zip", tmp_path / "cars").stderr
    assert "There is nothing at" in refused(f"s3://{s3.bucket}/sets/none.zip", tmp_path / "other")
    secret = os.environ["AWS_SECRET_ACCESS_KEY"]
    assert not any(secret in file.read_text("latin-1") for file in tmp_path.rglob("*") if file.is_file())


@pytest.fixture
def folder(photos):
    """The photos, one by one, in a place."""
    for name, data in photos.items():
        path_of(f"memory://single/{name}").write_bytes(data)
    paths._open.clear()
    yield "memory://single"
    paths.path_of("memory://single").store.fs.store.clear()


def test_a_folder_of_single_photos_becomes_one_to_train_on(s3, photos, tmp_path):  # noqa: F811
    for name, data in {**photos, "labels of mine.txt": b"none", "red/empty.txt": b""}.items():
        s3.put(f"{s3.bucket}/cars/{name}", data)
    result = carclf(f"s3://{s3.bucket}/cars/", tmp_path / "cars")
    assert result.exit_code == 0 and "6 labelled photos of 2 classes, ready" in result.stdout
    for name, data in photos.items():
        assert (tmp_path / "cars" / name).read_bytes() == data
    assert names(tmp_path) == ["cars"] or set(names(tmp_path)) == {"cars", "s3"}
    assert "was fetched before" in carclf(f"s3://{s3.bucket}/cars/", tmp_path / "cars").stderr
    assert "another address" in refused(f"s3://{s3.bucket}", tmp_path / "cars")
    assert "There is nothing at" in refused(f"s3://{s3.bucket}/none/", tmp_path / "other")


def test_a_folder_that_was_cut_goes_on_where_it_was(folder, photos, tmp_path, monkeypatch):
    real, read = RemoteStore.read, []

    class Killed(BaseException):
        pass

    def kill(self, key, *rest):
        if len(read) == 3:
            raise Killed
        read.append(key)
        return real(self, key, *rest)

    monkeypatch.setattr("detection.common.places.remote.store.RemoteStore.threads", 1)
    with monkeypatch.context() as patch:
        patch.setattr(RemoteStore, "read", kill)
        with pytest.raises(Killed):
            CliRunner().invoke(app, ["data", "fetch", folder, str(tmp_path / "cars")])
    assert not (tmp_path / "cars").exists()
    changed, gone = read[0], read[1]
    path_of(f"{folder}/{changed}").write_bytes(photos[sorted(photos)[-1]])
    path_of(f"{folder}/{gone}").unlink()
    paths._open.clear()
    monkeypatch.setattr(RemoteStore, "read", lambda self, key, *rest: read.append(key) or real(self, key, *rest))
    assert carclf(folder, tmp_path / "cars").exit_code == 0
    assert sorted(read[3:]) == sorted({*photos} - {gone, read[2]})
    assert names(tmp_path) == ["cars"] and len(read_table(tmp_path / "cars")) == 5
    assert (tmp_path / "cars" / changed).read_bytes() == photos[sorted(photos)[-1]]


def test_a_folder_that_is_too_large_or_has_names_that_are_none(folder, tmp_path):
    with pytest.raises(UsageError, match="more than the 1e-08 GB allowed: raise --max-gb"):
        fetch(folder, tmp_path / "cars", 10)
    store = path_of(folder).store
    for key in ("../up.jpg", "red", "red//twice.jpg"):
        store.fs.store[f"/single/{key}"] = store.fs.store[next(iter(store.fs.store))]
    paths._open.clear()
    result = carclf(folder, tmp_path / "cars")
    assert result.exit_code == 3 and result.stderr.count("is left out") == 3 and len(read_table(tmp_path / "cars")) == 6
    assert names(tmp_path) == ["cars"]
