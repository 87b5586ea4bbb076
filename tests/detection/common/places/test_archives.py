"""Archives, tables and lists as folders of photos; hostile ones among them."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import zipfile

import numpy as np
import pytest

from detection.common.errors import UsageError
from detection.images.read import load_image
from tests.fakes import draw_car
from tests.folder_runs import put, rows, run, tree
from tests.servers import WebServer

OWN = ("settings.json", "journal.jsonl")


def _same(one, other) -> bool:
    first, second = tree(one), tree(other)
    return first.keys() == second.keys() and all(first[name] == second[name] for name in first if name not in OWN)


def _zipped(folder, path, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder).as_posix())
    return path


def _tarred(folder, path, format=tarfile.PAX_FORMAT):
    with tarfile.open(path, "w", format=format) as archive:
        for file in sorted(folder.rglob("*")):
            archive.add(file, file.relative_to(folder).as_posix(), recursive=False)
    return path


@pytest.mark.parametrize(
    "pack",
    [_zipped, lambda folder, path: _zipped(folder, path, zipfile.ZIP_STORED),
     lambda folder, path: _tarred(folder, path.with_suffix(".tar")),
     lambda folder, path: _tarred(folder, path.with_suffix(".tar"), tarfile.GNU_FORMAT)],
)  # fmt: skip
def test_an_archive_is_a_folder(cars, tmp_path, pack):
    archive = pack(cars, tmp_path / "photos.zip")
    run(cars, tmp_path / "here")
    summary = run(archive, tmp_path / "there")
    assert summary.notes == ("1 file was passed over: 1 .txt.",)
    assert _same(tmp_path / "here", tmp_path / "there")
    assert run(archive, tmp_path / "there").processed == 0
    assert (load_image(f"{archive}/car1.png") == load_image(cars / "car1.png")).all()


def test_a_member_that_has_changed_is_done_again(cars, tmp_path):
    archive = _zipped(cars, tmp_path / "photos.zip")
    run(archive, tmp_path / "out")
    put(cars / "car1.png", draw_car((1, 200, 40)))
    _zipped(cars, archive)
    assert run(archive, tmp_path / "out").processed == 1


def test_archives_with_numbers_are_folders_of_a_folder(cars, tmp_path):
    for number in range(9, 12):
        folder = tmp_path / "in" / f"{number:03d}.tar"
        shutil.copytree(cars, folder)
        (tmp_path / "shards").mkdir(exist_ok=True)
        (folder / "car1.json").write_text("{}")
        _tarred(folder, tmp_path / "shards" / f"{number:03d}.tar")
    run(tmp_path / "in", tmp_path / "here")
    summary = run(tmp_path / "shards" / "{009..012}.tar", tmp_path / "there")
    assert _same(tmp_path / "here", tmp_path / "there")
    assert any("012.tar' is left out: it is not there" in note for note in summary.notes) and summary.exit_code == 3
    assert run(tmp_path / "shards" / "{009..012}.tar", tmp_path / "there").processed == 0


def test_an_archive_on_a_web_server_is_read_by_ranges(cars, tmp_path):
    pytest.importorskip("aiohttp")
    (tmp_path / "www").mkdir()
    _zipped(cars, tmp_path / "www" / "photos.zip")
    server = WebServer(tmp_path / "www")
    try:
        run(f"{server.url}/photos.zip", tmp_path / "there")
    finally:
        server.close()
    run(cars, tmp_path / "here")
    assert _same(tmp_path / "here", tmp_path / "there")


def test_hostile_names_and_links_are_told_and_written_nowhere(tmp_path):
    data = io.BytesIO()
    from PIL import Image

    Image.fromarray(draw_car()).save(data, "PNG")
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        for name in ("good.png", "../up.png", "/root.png", "a/../../b.png", "C:/c.png", "d//e.png"):
            archive.writestr(name, data.getvalue())
        link = zipfile.ZipInfo("link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        for name in ("good.png", "../up.png", "/root.png"):
            member = tarfile.TarInfo(name)
            member.size = len(data.getvalue())
            archive.addfile(member, io.BytesIO(data.getvalue()))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
            member = tarfile.TarInfo("link.png")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    for name, bad in (("bad.zip", 6), ("bad.tar", 5)):
        summary = run(tmp_path / name, tmp_path / "out" / name)
        assert summary.counts == {"ok": 1} and summary.exit_code == 3 and summary.missed == bad
        assert all("is left out" in note or "more are left out" in note for note in summary.notes)
    made = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.jpg")}
    assert made == {"out/bad.zip/good.jpg", "out/bad.tar/good.jpg"}


def test_bombs_damage_and_passwords_are_rows(cars, tmp_path):
    path = tmp_path / "odd.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(cars / "car0.png", "car0.png")
        archive.writestr("bomb.png", b"\0" * (80 << 20))
        archive.write(cars / "car1.png", "damaged.png", zipfile.ZIP_STORED)
        archive.write(cars / "car2.png", "packed.png", zipfile.ZIP_LZMA)
        archive.write(cars / "car3.png", "secret.png")
    data = bytearray(path.read_bytes())
    content = (cars / "car1.png").read_bytes()
    data[data.find(content) + 40] ^= 255
    directory = data.rfind(b"PK\1\2")
    data[directory + 8] |= 1  # the flag of encryption, of the last one
    path.write_bytes(data)
    summary = run(path, tmp_path / "out")
    found = rows(tmp_path / "out")
    assert summary.counts == {"ok": 1, "unreadable": 4}
    assert "more than 100 times its size" in found["bomb.png"]["reason"]
    assert "damaged there" in found["damaged.png"]["reason"]
    assert "packed in a way" in found["packed.png"]["reason"]
    assert "encrypted" in found["secret.png"]["reason"]


@pytest.mark.parametrize("name", ["broken.zip", "broken.tar", "packed.tar"])
def test_what_is_no_archive_is_a_sentence(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x1f\x8b compressed" if name.startswith("packed") else b"no archive at all" * 99)
    with pytest.raises(UsageError, match=r"(is not a (zip|tar) file|is compressed)"):
        run(tmp_path / name, tmp_path / "out")


def test_a_tar_that_ends_early_keeps_what_is_whole(cars, tmp_path):
    path = _tarred(cars, tmp_path / "cut.tar")
    data = path.read_bytes()
    path.write_bytes(data[: data.find(b"car2.png") + 700])
    summary = run(path, tmp_path / "out")
    assert summary.counts["ok"] == 2 and summary.exit_code == 3


def test_a_table_with_bytes_is_a_folder(cars, tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    names = sorted(path.relative_to(cars).as_posix() for path in cars.rglob("*") if path.suffix in (".png", ".jpg"))
    images = [{"bytes": (cars / name).read_bytes(), "path": name} for name in names]
    pq.write_table(pa.table({"image": images, "label": [1] * len(names)}), tmp_path / "a.parquet", row_group_size=3)
    pq.write_table(pa.table({"jpg": [image["bytes"] for image in images]}), tmp_path / "b.parquet")
    run(tmp_path / "a.parquet", tmp_path / "a")
    (cars / "notes.txt").unlink()
    run(cars, tmp_path / "here")
    assert _same(tmp_path / "here", tmp_path / "a")
    assert run(tmp_path / "b.parquet", tmp_path / "b").counts == {"ok": 5, "no_car": 1, "unreadable": 2}
    assert set(rows(tmp_path / "b")) == {f"{number:07d}.jpg" for number in range(8)}
    pq.write_table(pa.table({"label": [1]}), tmp_path / "c.parquet")
    with pytest.raises(UsageError, match="needs a column of bytes, or one of paths"):
        run(tmp_path / "c.parquet", tmp_path / "c")


def test_lists_name_photos_anywhere(cars, tmp_path):
    pytest.importorskip("fsspec")
    import fsspec

    fsspec.filesystem("memory").pipe_file("/far/away.png", (cars / "car4.png").read_bytes())
    there = ["car0.png", str(cars / "sub" / "grey ü+%25 #1.png"), "memory://far/away.png", "missing.png", "car0.png"]
    (cars / "list.txt").write_text("\n".join(there) + "\n\n")
    (cars / "list.csv").write_text("file,label\n" + "".join(f'"{name}",x\n' for name in there))
    (cars / "list.jsonl").write_text("".join(json.dumps({"path": name}) + "\n" for name in there))
    for suffix in ("txt", "csv", "jsonl"):
        summary = run(cars / f"list.{suffix}", tmp_path / suffix)
        assert summary.counts == {"ok": 2, "no_car": 1, "unreadable": 1}, suffix
        assert any("listed twice" in note for note in summary.notes)
        assert run(cars / f"list.{suffix}", tmp_path / suffix).processed == 0
        ends = sorted(name.rpartition("/")[2] for name in rows(tmp_path / suffix))
        assert ends == ["away.png", "car0.png", "grey ü+%25 #1.png", "missing.png"]


def test_a_table_with_paths_is_a_list_of_photos_anywhere(cars, tmp_path):
    pa = pytest.importorskip("pyarrow")
    import fsspec
    import pyarrow.parquet as pq

    fsspec.filesystem("memory").pipe_file("/far/away.png", (cars / "car4.png").read_bytes())
    _zipped(cars, cars / "more.zip")
    there = ["memory://far/away.png", "car0.png", "more.zip/car1.png", str(cars / "car2.png"), "missing.png"]
    table = pa.table({"url": there, "class": ["x", "y"] * 2 + ["z"], "vector": [[0.5]] * 5})
    pq.write_table(table, cars / "list.parquet", row_group_size=2)
    fsspec.filesystem("memory").pipe_file("/far/list.parquet", (cars / "list.parquet").read_bytes())
    for given, missing in ((cars / "list.parquet", 1), ("memory://far/list.parquet", 3)):  # beside it lies one alone
        summary = run(given, tmp_path / str(missing))
        assert summary.counts == {"ok": 5 - missing, "unreadable": missing}
        assert run(given, tmp_path / str(missing)).processed == 0
    assert sorted(name.rpartition("/")[2] for name in rows(tmp_path / "1")) == [
        *("away.png", "car0.png", "car1.png", "car2.png", "missing.png"),
    ]


def test_a_list_of_one_folder_names_photos_below_it(cars, tmp_path):
    (tmp_path / "list.txt").write_text("cars/car0.png\ncars/sub/broken.jpg\n")
    run(tmp_path / "list.txt", tmp_path / "out")
    assert set(rows(tmp_path / "out")) == {"car0.png", "sub/broken.jpg"}
    for content in ("", "{}\n", "[1]\n"):
        (tmp_path / "list.jsonl").write_text(content)
        with pytest.raises(UsageError, match="names no photo"):
            run(tmp_path / "list.jsonl", tmp_path / "out2")


def test_an_array_of_every_kind_is_the_same(cars, tmp_path):
    archive = _zipped(cars, tmp_path / "x.zip")
    assert np.array_equal(load_image(str(archive) + "/car0.png"), load_image(cars / "car0.png"))
