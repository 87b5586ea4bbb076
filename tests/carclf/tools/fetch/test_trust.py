"""Archives that lie are refused, and a folder is there only when all of it is."""

from __future__ import annotations

import hashlib
import tarfile

import pytest

from carclf.tools.fetch import part
from tests.carclf.tools.fetch.fetched import carclf, names, refused, tarred, zipped
from tests.detection.common.places.conftest import own_world, s3, s3_server  # noqa: F401


def test_too_large_is_told_before_and_while_it_comes(server, photos, tmp_path, monkeypatch):
    server.files["/cars.zip"] = zipped(photos | {"big": bytes(1_100_000)})
    assert "raise --max-gb" in refused(f"{server.url}/cars.zip", tmp_path / "cars", "--max-gb", "0.001")
    assert server.ranges_asked() == [None]
    from collections import namedtuple

    monkeypatch.setattr(part.shutil, "disk_usage", lambda path: namedtuple("Usage", "free")(10))
    assert "make room" in refused(f"{server.url}/cars.zip", tmp_path / "cars")


def test_a_length_that_is_not_told(server, photos, tmp_path):
    """Chunked: no resume, but a limit."""
    data = zipped(photos | {"big": bytes(1_100_000)})
    body = b"".join(
        b"%x\r\n%b\r\n" % (len(data[at : at + 9999]), data[at : at + 9999]) for at in range(0, len(data), 9999)
    )
    chunked = (200, {"Transfer-Encoding": "chunked", "Content-Length": ""}, body + b"0\r\n\r\n")
    server.failures["/cars.zip"] = [chunked] * 2
    assert "raise --max-gb" in refused(f"{server.url}/cars.zip", tmp_path / "cars", "--max-gb", "0.001")
    assert carclf(f"{server.url}/cars.zip", tmp_path / "cars").exit_code == 0


def test_a_page_for_people_is_no_archive(server, tmp_path):
    server.files["/cars.zip"], server.kind = b"<html>sign in</html>", "text/html; charset=utf-8"
    assert "gives a web page" in refused(f"{server.url}/cars.zip", tmp_path / "cars")
    server.kind = "application/zip"
    assert "neither a zip nor a tar" in refused(f"{server.url}/cars.zip", tmp_path / "cars")
    assert names(tmp_path) == []


BOMB = tarred({"a.csv": bytes(3_000_000)})


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (zipped({"../out.jpg": b"x"}), "leads out"),
        (tarred({"../out.jpg": b"x"}), "leads out"),
        (tarred({"/tmp/out.jpg": b"x"}), "leads out"),
        (tarred({"red/../../out.jpg": b"x"}), "leads out"),
        (tarred({"red/1.jpg": b"x"}, **{"red/2.jpg": tarfile.SYMTYPE}), "holds the link 'red/2.jpg'"),
        (tarred({"red/1.jpg": b"x"}, **{"red/2.jpg": tarfile.LNKTYPE}), "holds the link 'red/2.jpg'"),
        (tarred({"red/1.jpg": b"x"}, **{"red/2.jpg": tarfile.CHRTYPE}), "holds the device 'red/2.jpg'"),
        (tarred({"red/1.jpg": b"x"}, **{"red/2.jpg": tarfile.FIFOTYPE}), "holds the device 'red/2.jpg'"),
        (tarred({"red/1.jpg": b"0123456789" * 500})[:-30], "its end is missing"),
        (tarred({"red/1.jpg": bytes(5000)}, "w")[:3000], "is damaged"),
        (tarred({"red/1.jpg": bytes(100), "red/2.jpg": b"x"}, "w")[:1024], "is damaged"),
        (tarred({"red/1.jpg": b"x"}, "w")[:1024] + b"no header " * 200, "is damaged"),
        (tarred({"red/1.jpg": b"x", "red/./1.jpg": b"y"}), "twice"),
        (BOMB, "more than 100 times"),
    ],
    ids=range(14),
)
def test_what_is_not_to_be_trusted_is_refused(server, tmp_path, monkeypatch, data, said):
    from carclf.datasets.layouts import archive

    monkeypatch.setattr(archive, "FREE_GROWTH", 100_000)
    server.files["/cars.tar.gz"] = data
    assert said in refused(f"{server.url}/cars.tar.gz", tmp_path / "in" / "cars")
    kept = [".carclf-cars.fetch"] if "holds the" in said else []  # to be unpacked by hand, as it says
    assert names(tmp_path / "in") == kept and names(tmp_path) == ["in"]


def test_a_header_that_wants_all_memory_is_refused(server, tmp_path):
    """The size of a tar's extended header is read at once."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 8_000_000_000
    server.files["/cars.tar"] = tarred({"red/1.jpg": b"x"}, "w")[:1024] + info.tobuf() + bytes(2048)
    assert "is damaged" in refused(f"{server.url}/cars.tar", tmp_path / "cars")


def test_no_room_to_unpack_keeps_the_download(server, photos, tmp_path, monkeypatch):
    from carclf.datasets.layouts import archive

    server.files["/cars.zip"] = zipped(photos)
    with monkeypatch.context() as patch:
        patch.setattr(
            archive._Allowance, "check_room", lambda *_: (_ for _ in ()).throw(archive.Unpackable("make room."))
        )
        assert "make room" in refused(f"{server.url}/cars.zip", tmp_path / "cars")
    assert carclf(f"{server.url}/cars.zip", tmp_path / "cars").exit_code == 0
    assert server.ranges_asked() == [None]


def test_the_folder(server, photos, tmp_path):
    """A finished one stays as it is, an empty one is taken, and what is another's is not touched."""
    server.files["/cars.zip"] = server.files["/vans.zip"] = zipped(photos)
    (tmp_path / "cars").mkdir()
    assert carclf(f"{server.url}/cars.zip", tmp_path / "cars").exit_code == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cars").rglob("*")}
    again = carclf(f"{server.url}/cars.zip", tmp_path / "cars")
    assert again.exit_code == 0 and "fetched before" in again.stderr and len(server.asked) == 1
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "cars").rglob("*")}
    assert "another address" in refused(f"{server.url}/vans.zip", tmp_path / "cars")
    assert "another address" in refused(f"{server.url}/cars.zip?version=2", tmp_path / "cars")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert "holds other files" in refused(f"{server.url}/cars.zip", tmp_path / "mine")
    assert "is a file" in refused(f"{server.url}/cars.zip", tmp_path / "mine" / "notes.txt")


def test_two_at_a_time_do_not_mix(server, photos, tmp_path):
    from detection.common.files.locks import Lock

    server.files["/cars.zip"] = zipped(photos)
    other = Lock.beside(tmp_path / ".carclf-cars.fetch")
    assert other.take()
    assert "Another process fetches" in refused(f"{server.url}/cars.zip", tmp_path / "cars")
    other.release()
    assert server.asked == []


def test_a_layout_that_training_does_not_know_is_told(server, photos, tmp_path):
    server.files["/cars.zip"] = zipped({f"{number}.jpg": data for number, data in enumerate(photos.values())})
    result = carclf(f"{server.url}/cars.zip", tmp_path / "cars")
    assert result.exit_code == 3 and "not in class folders" in result.stdout
    assert len(names(tmp_path / "cars")) == 7


def test_names_are_kept_apart_by_a_digest_alone():
    from carclf.tools.fetch.web import WebFile

    url = "https://cars.example:8443/a/b.zip?sig=5ecret"
    source = WebFile(url)
    assert source.name == "https://cars.example:8443/a/b.zip"
    assert source.key == hashlib.sha256(url.encode()).hexdigest()[:16]


def test_a_python_without_a_way_to_unpack(server, photos, tmp_path, monkeypatch):
    import sys

    server.files["/cars.tar.xz"] = tarred(photos, "w:xz")
    monkeypatch.setitem(sys.modules, "lzma", None)
    assert "packed by lzma" in refused(f"{server.url}/cars.tar.xz", tmp_path / "cars")
