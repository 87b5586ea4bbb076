"""`carclf data fetch` of an archive: cut downloads go on, and no secret is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from carclf.cli import app
from carclf.datasets import read_table
from carclf.tools.fetch import part
from tests.carclf.tools.fetch.fetched import carclf, names, refused, tarred, zipped
from tests.carclf.tools.file_server import file_server
from tests.detection.common.places.conftest import own_world, s3, s3_server  # noqa: F401


@pytest.mark.parametrize("pack", [zipped, tarred, lambda members: tarred(members, "w"), lambda m: tarred(m, "w:xz")])
def test_an_archive_becomes_a_folder_to_train_on(server, photos, tmp_path, pack):
    server.files["/cars"] = pack({f"./cars-1.2/{name}": data for name, data in photos.items()})
    result = carclf(f"{server.url}/cars?token=secret", tmp_path / "in" / "cars")
    assert result.exit_code == 0, result.output
    assert "6 labelled photos of 2 classes" in result.stdout and "secret" not in result.output
    table = read_table(tmp_path / "in" / "cars")
    got = {Path(file).relative_to(tmp_path / "in" / "cars").as_posix(): Path(file) for file in table["file"]}
    assert {name: path.read_bytes() for name, path in got.items()} == photos
    assert names(tmp_path / "in") == ["cars"]  # no part, no lock, no temporary folder
    assert b"secret" not in (tmp_path / "in" / "cars" / ".carclf-fetched.json").read_bytes()


def test_a_cut_download_goes_on_where_it_was(server, photos, tmp_path, pauses):
    data = server.files["/cars.zip"] = zipped(photos)
    server.cuts = [1000, 500]
    result = carclf(f"{server.url}/cars.zip", tmp_path / "cars")
    assert result.exit_code == 0
    assert server.ranges_asked() == [None, "bytes=1000-", "bytes=1500-"] and len(pauses) == 2
    assert len(read_table(tmp_path / "cars")) == 6 and len(data) > 1500


def test_a_command_that_was_ended_goes_on(server, photos, tmp_path, monkeypatch):
    """As if it were killed in its first pause: the part and its note stay, and the next command asks for the rest."""
    server.files["/cars.zip"], server.cuts = zipped(photos), [1000]

    class Killed(BaseException):
        pass

    def kill(_):
        raise Killed

    monkeypatch.setattr(part.time, "sleep", kill)
    with pytest.raises(Killed):
        CliRunner().invoke(app, ["data", "fetch", f"{server.url}/cars.zip", str(tmp_path / "cars")])
    assert names(tmp_path) == [".carclf-cars.fetch"]
    assert (tmp_path / ".carclf-cars.fetch" / "cars.archive").stat().st_size == 1000
    assert carclf(f"{server.url}/cars.zip", tmp_path / "cars").exit_code == 0
    assert server.ranges_asked() == [None, "bytes=1000-"]
    assert names(tmp_path) == ["cars"]


def test_a_file_that_changed_meanwhile_is_fetched_anew(server, photos, tmp_path, pauses):
    server.files["/cars.zip"], server.cuts = zipped(photos), [1000]
    original = part.Part._pause

    def change(self, error, tries):
        server.files["/cars.zip"] = zipped(dict(list(photos.items())[:4]))
        original(self, error, tries)

    part_pause = pytest.MonkeyPatch()
    part_pause.setattr(part.Part, "_pause", change)
    try:
        assert carclf(f"{server.url}/cars.zip", tmp_path / "cars").exit_code == 0
    finally:
        part_pause.undo()
    assert len(read_table(tmp_path / "cars")) == 4


def test_a_server_without_ranges_gives_all_again(server, photos, tmp_path, pauses):
    server.files["/cars.zip"], server.cuts, server.ranges = zipped(photos), [1000], False
    assert carclf(f"{server.url}/cars.zip", tmp_path / "cars").exit_code == 0
    assert len(read_table(tmp_path / "cars")) == 6


def test_a_server_that_never_gets_on_is_left_and_the_part_is_kept(server, photos, tmp_path, pauses):
    server.files["/cars.zip"] = zipped(photos)
    server.cuts = [1000] + [0] * 20
    said = refused(f"{server.url}/cars.zip", tmp_path / "cars")
    assert "closed before the end" in said and "1,000 bytes are kept" in said
    assert pauses == list(part.PAUSES)
    server.cuts = []
    assert carclf(f"{server.url}/cars.zip", tmp_path / "cars").exit_code == 0


def test_what_came_damaged_is_not_kept(server, photos, tmp_path):
    server.files["/cars.zip"], server.digest = zipped(photos), "Ojk9c3dhfxgoKVVHYwFbHQ=="
    assert "damaged on its way" in refused(f"{server.url}/cars.zip", tmp_path / "cars")
    assert list((tmp_path / ".carclf-cars.fetch").iterdir()) == []


@pytest.mark.parametrize(
    ("status", "headers", "said"),
    [
        (404, {}, "There is nothing at"),
        (403, {}, "is the address signed"),
        (429, {"Retry-After": "900"}, "again in 900 seconds"),
        (503, {}, "in trouble (status 503)"),
        (302, {"Location": "ftp://127.0.0.1/x"}, "not https"),
        (302, {"Location": "file:///etc/passwd"}, "not followed"),
        (400, {}, "status 400"),
    ],
)
def test_what_a_server_refuses(server, tmp_path, pauses, status, headers, said):
    server.failures["/cars.zip"] = [(status, headers, b"")] * 10
    assert said in refused(f"{server.url}/cars.zip?key=5ecret", tmp_path / "cars")
    assert not (tmp_path / "cars").exists()


def test_busy_servers_are_asked_again_when_they_say(server, photos, tmp_path, pauses):
    server.files["/cars.zip"] = zipped(photos)
    server.failures["/cars.zip"] = [(429, {"Retry-After": "7"}, b""), (502, {}, b"")]
    assert carclf(f"{server.url}/cars.zip", tmp_path / "cars").exit_code == 0
    assert pauses == [7, 2]


def test_nobody_there(tmp_path, pauses):
    with file_server() as server:
        url = server.url
    assert "can't be reached" in refused(f"{url}/cars.zip", tmp_path / "cars")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("https://user:5ecret@cars.example/a.zip", "holds a user or password"),
        ("https:///a.zip", "no address"),
        ("https://cars.example/a b.zip", "no address"),
        ("https://cars.example:99999/a.zip", "no address"),
        ("ftp://cars.example/a.zip", "can't be fetched: give kaggle:"),
        ("photos", "can't be fetched: give kaggle:"),
        ("kaggle:", "no name of Kaggle's"),
        ("kaggle:a/b/c", "no name of Kaggle's"),
        ("kaggle:../x", "no name of Kaggle's"),
    ],
)
def test_what_names_nothing(tmp_path, source, said):
    told = refused(source, tmp_path / "cars")
    assert said in told and "5ecret" not in told
    assert names(tmp_path) == []
