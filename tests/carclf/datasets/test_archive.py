import io
import multiprocessing
import stat
import zipfile
from pathlib import Path

import pytest

from carclf.datasets import photo_root, read_table
from carclf.datasets.layouts import archive
from detection.common.errors import UsageError
from tests.carclf.drawn import draw_folders


def pack(path, members, **options):
    """members: name -> bytes; None for a folder."""
    with zipfile.ZipFile(path, "w", **options) as content:
        for name, data in members.items():
            content.writestr(name + "/" if data is None else name, data or b"")
    return path


def packed(members, **options):
    buffer = io.BytesIO()
    pack(buffer, members, **options)
    return buffer.getvalue()


@pytest.fixture
def photos(tmp_path):
    """name -> bytes of a competition's photos: train/<Category>/<Id>, test_upload/<Id>."""
    drawn = draw_folders(tmp_path / "drawn", each=2, classes=("red", "blue"))
    category = {"red": 0, "blue": 9}
    train = {f"train/{category[file.parent.name]}/{category[file.parent.name]}{file.name}": file.read_bytes()
             for file in sorted(drawn.rglob("*.jpg"))}  # fmt: skip
    return train | {"test_upload/77.jpg": (drawn / "red" / "0.jpg").read_bytes()}


LISTED = b"Id,Category\n00.jpg,0\n01.jpg,0\n90.jpg,9\n91.jpg,9\n"


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "downloads"
    folder.mkdir()
    return folder


def flat(photos):
    return photos | {"train.csv": LISTED, "sample-submission.csv": b"Id,Category\n77.jpg,0\n"}


def nested(photos):
    train = {name: data for name, data in photos.items() if name.startswith("train/")}
    test = {name: data for name, data in photos.items() if name.startswith("test_upload/")}
    return {"train.zip": packed(train), "test.zip": packed(test), "train.csv": LISTED,
            "sample-submission.csv": b"Id,Category\n77.jpg,0\n"}  # fmt: skip


def nested_without_folders(photos):
    train = {name.removeprefix("train/"): data for name, data in photos.items() if name.startswith("train/")}
    test = {name.removeprefix("test_upload/"): data for name, data in photos.items() if "upload" in name}
    return {"train.zip": packed(train), "test_upload.zip": packed(test), "train.csv": LISTED,
            "sample-submission.zip": packed({"sample-submission.csv": b"Id,Category\n"})}  # fmt: skip


def in_a_folder(photos):
    inner = {f"sf-dl/{name}": data for name, data in flat(photos).items()}
    return {"sf-dl": None, "__MACOSX/._train.csv": b"x", **inner}


@pytest.mark.parametrize("layout", [flat, nested, nested_without_folders, in_a_folder])
def test_the_competition_as_downloaded(home, photos, layout, capsys):
    path = pack(home / "sf.zip", layout(photos))
    table = read_table(path)
    assert list(table["label"]) == ["0", "0", "9", "9"]
    root = photo_root(path)
    assert [Path(file).relative_to(root).as_posix() for file in table["file"]] == sorted(
        name for name in photos if name.startswith("train/")
    )
    assert (root / "test_upload" / "77.jpg").is_file()
    assert capsys.readouterr().err.count("unpacking") == 1  # once
    assert sorted(entry.name for entry in home.iterdir())[1:] == ["sf.zip"]  # no temporary folder stays


def test_a_zip_of_a_folder_per_class_and_one_for_the_images(home, photos):
    train = {name: data for name, data in photos.items() if name.startswith("train/")}
    table = read_table(pack(home / "classes.zip", train))
    assert list(table["label"]) == ["0", "0", "9", "9"] and set(table["split"]) == {"train"}
    (home / "labels.csv").write_text("file,class\n0/00.jpg,a\n9/90.jpg,b\n")
    inner = {name.removeprefix("train/"): data for name, data in train.items()}
    table = read_table(home / "labels.csv", pack(home / "photos.zip", inner))
    assert list(table["label"]) == ["a", "b"]


def test_another_version_of_a_zip_gets_another_folder_and_what_is_there_stays(home, photos):
    path = pack(home / "sf.zip", flat(photos))
    (home / "sf").mkdir()
    first = photo_root(path)
    path.unlink()
    pack(path, flat(photos) | {"more.txt": b"more"})
    second = photo_root(path)
    assert first != second and (second / "more.txt").is_file() and not (first / "more.txt").exists()
    assert not any((home / "sf").iterdir())


def test_a_folder_that_cannot_be_written_to_is_left_alone(home, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(archive.os, "access", lambda path, mode: False)
    monkeypatch.setenv("CARCLF_CACHE", str(tmp_path / "cache"))
    root = photo_root(pack(home / "sf.zip", flat(photos)))
    assert root.is_relative_to(tmp_path / "cache" / "archives")
    assert [entry.name for entry in home.iterdir()] == ["sf.zip"]


def symlink():
    member = zipfile.ZipInfo("red/link.jpg")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return {member: b"/etc/passwd"}


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"../outside.jpg": b"x"}, "'../outside.jpg', which leads out"),
        ({"red/../../outside.jpg": b"x"}, "leads out"),
        ({"/tmp/outside.jpg": b"x"}, "leads out"),
        ({"..\\outside.jpg": b"x"}, "leads out"),
        ({"C:/outside.jpg": b"x"}, "leads out"),
        ({"inner.zip": packed({"../outside.jpg": b"x"})}, r"inner.zip' holds '../outside.jpg'"),
        ({"inner.zip": b"no zip"}, "inner.zip' is not a zip file"),
        ({"red": b"x", "red/1.jpg": b"x"}, "can't be unpacked"),
        ({}, "holds no files"),
        ({"red": None}, "holds no files"),
        (symlink(), "holds the link 'red/link.jpg'"),
    ],
)
def test_what_is_not_to_be_trusted_is_refused(home, members, said):
    path = home / "bad.zip"
    with zipfile.ZipFile(path, "w") as content:
        for name, data in members.items():
            content.writestr(f"{name}/" if data is None else name, data or b"")
    with pytest.raises(UsageError, match=said) as raised:
        read_table(path)
    assert "\n" not in str(raised.value)
    assert [entry.name for entry in home.iterdir()] == ["bad.zip"]  # nothing of it stays
    assert not (home.parent / "outside.jpg").exists()


def test_bombs_are_refused(home, monkeypatch):
    monkeypatch.setattr(archive, "FREE_GROWTH", 100_000)
    bomb = packed({"a.csv": b"0" * 1_000_000}, compression=zipfile.ZIP_DEFLATED)
    for members in ({"a.csv": b"0" * 1_000_000}, {f"{number}.zip": bomb for number in range(3)}):
        path = pack(home / "bomb.zip", members, compression=zipfile.ZIP_DEFLATED)
        with pytest.raises(UsageError, match="more than 100 times"):
            read_table(path)
    monkeypatch.setattr(archive, "MOST_FILES", 2)
    with pytest.raises(UsageError, match="2 files"):
        read_table(pack(home / "many.zip", {f"{number}.jpg": b"" for number in range(3)}))
    assert {entry.suffix for entry in home.iterdir()} == {".zip"}


def test_a_full_disk_is_seen_before(home, photos, monkeypatch):
    from collections import namedtuple

    monkeypatch.setattr(archive.shutil, "disk_usage", lambda path: namedtuple("Usage", "free")(10))
    with pytest.raises(UsageError, match=r"needs 0.0 GiB .* make room"):
        read_table(pack(home / "sf.zip", flat(photos)))


def test_encrypted_damaged_and_unknown(home, photos):
    good = pack(home / "good.zip", {"red/1.jpg": b"0123456789" * 50}).read_bytes()
    encrypted = bytearray(good)
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        encrypted[good.index(mark) + offset] |= 1
    unknown = bytearray(good)
    for mark, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        unknown[good.index(mark) + offset] = 9  # Deflate64
    damaged = good.replace(b"0123456789", b"0123456780", 1)
    cases = (
        (bytes(encrypted), "is encrypted"),
        (bytes(unknown), "packed in a way"),
        (damaged, "damaged at 'red/1.jpg'"),
        (good[:-30], "is not a zip file"),
        (b"", "is not a zip file"),
    )
    for data, said in cases:
        (home / "bad.zip").write_bytes(data)
        with pytest.raises(UsageError, match=said):
            read_table(home / "bad.zip")
    assert {entry.name for entry in home.iterdir()} == {"good.zip", "bad.zip"}


def test_a_member_that_is_there_twice(home):
    with zipfile.ZipFile(home / "twice.zip", "w") as content, pytest.warns(UserWarning, match="Duplicate"):
        content.writestr("red/1.jpg", b"1")
        content.writestr("red/1.jpg", b"2")
    with pytest.raises(UsageError, match="'red/1.jpg' twice"):
        read_table(home / "twice.zip")


def test_what_a_killed_run_left_is_removed(home, photos):
    path = pack(home / "sf.zip", flat(photos))
    folder = photo_root(path)
    temp = folder.with_name(f".carclf-{folder.name}.tmp")
    folder.rename(temp)
    (temp / "train.csv").write_text("half")
    assert len(read_table(path)) == 4 and (folder / "train.csv").read_bytes() == LISTED and not temp.exists()


def test_several_processes_unpack_once(home, photos, tmp_path):
    path = pack(home / "sf.zip", flat(photos))
    with multiprocessing.get_context("fork").Pool(4) as pool:
        roots = pool.map(photo_root, [path] * 8, chunksize=1)
    assert len(set(roots)) == 1 and len(read_table(path)) == 4
    assert len(list(home.iterdir())) == 2


def test_names_of_another_system_are_unpacked_as_windows_takes_them(home, photos, monkeypatch):
    """On Linux nothing changes; on Windows a list that names them as they were still finds them."""
    red, blue = list(photos.values())[:2]
    listed = b"file,class\ns/10:30.jpg,red\ns/aux.jpg,blue\n"
    members = {"s/10:30.jpg": red, "s/aux.jpg": blue, "train.csv": listed}
    here = read_table(pack(home / "here.zip", members))
    assert [Path(file).name for file in here["file"]] == ["10:30.jpg", "aux.jpg"]
    for module in ("archive", "csv_file"):
        monkeypatch.setattr(f"carclf.datasets.layouts.{module}.ON_WINDOWS", True)
    there = read_table(pack(home / "there.zip", members))
    labels = {Path(file).name: label for file, label in zip(there["file"], there["label"], strict=True)}
    assert labels == {"10%3A30.jpg": "red", "%61ux.jpg": "blue"}
