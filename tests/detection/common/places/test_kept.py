"""Copies of photos that are kept on this machine: bounded, fetched once, and never of another content."""

import io
import multiprocessing
import os
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from detection.common.places.kept import KeptPhotos, photos_kept
from detection.common.places.paths import folder_of, path_of
from detection.common.places.store import Store


def put(name: str, data: bytes) -> None:
    path = path_of(f"memory://kept/{name}")
    path.write_bytes(data)
    path.store.forget(path.key)  # as if another process had written it


def tar_of(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return target.getvalue()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "kept"


def taken(folder) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))


@pytest.fixture
def reads(monkeypatch):
    """What was read of a place, by key."""
    from detection.common.places.remote.store import RemoteStore

    real, keys = RemoteStore.read, []
    monkeypatch.setattr(
        RemoteStore,
        "read",
        lambda self, key, *rest: keys.append(key) or real(self, key, *rest),
    )
    return keys


def test_a_photo_is_fetched_once_and_again_when_it_is_another_one(folder, reads):
    put("a.jpg", b"first")
    place = folder_of("memory://kept") / "a.jpg"
    assert place.read_bytes() == b"first" and not folder.exists()
    with photos_kept(folder, 1000):
        for _ in range(3):
            assert place.read_bytes() == b"first"
        put("a.jpg", b"another")
        place.store.remember(place.store.walk().entries)
        assert place.read_bytes() == b"another"
    assert reads == ["a.jpg"] * 3 and Store.keeper is None


def test_the_bound_is_kept_and_the_oldest_go_first(folder, reads):
    for number in range(6):
        put(f"{number}.jpg", bytes([number]) * 84)  # a copy has 100 bytes
    root = folder_of("memory://kept")
    root.store.remember(root.store.walk().entries)
    with photos_kept(folder, 450):
        for number in (0, 1, 2, 3, 0, 4):
            assert (root / f"{number}.jpg").read_bytes() == bytes([number]) * 84
            assert taken(folder) <= 450
            time.sleep(0.01)  # times of files may be coarse
        (root / "0.jpg").read_bytes()
        assert reads == [f"{number}.jpg" for number in (0, 1, 2, 3, 4)]
        (root / "1.jpg").read_bytes()
        assert reads[-1] == "1.jpg"
    put("large.jpg", b"x" * 500)
    with photos_kept(folder, 450):
        assert (root / "large.jpg").read_bytes() == b"x" * 500 and taken(folder) <= 450
    with photos_kept(folder, 150):  # of a run that wants less
        put("new.jpg", b"n" * 84)
        (root / "new.jpg").read_bytes()
    assert taken(folder) <= 150


def test_a_damaged_copy_and_what_a_killed_process_left_do_no_harm(folder, reads):
    put("a.jpg", b"content")
    place = folder_of("memory://kept") / "a.jpg"
    with photos_kept(folder, 1000):
        place.read_bytes()
        copy = next(file for file in folder.glob("*/*") if not file.name.startswith("."))
        copy.write_bytes(copy.read_bytes()[:-1])
        (copy.parent / ".carclf-half-1.tmp").write_bytes(b"x" * 900)
        (folder / ".carclf-size").write_text("nonsense")
        assert place.read_bytes() == b"content" and len(reads) == 2
        assert place.read_bytes() == b"content" and len(reads) == 2
    assert not list(folder.rglob("*.tmp"))


def test_threads_fetch_a_photo_once(folder, reads, monkeypatch):
    put("a.jpg", b"content")
    place = folder_of("memory://kept") / "a.jpg"
    place.stat()
    with photos_kept(folder, 1000), ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: place.store.whole("a.jpg"), range(8))) == {b"content"}
    assert reads == ["a.jpg"]


def test_a_folder_that_takes_no_copies_is_told_once(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for name in "ab":
        put(f"{name}.jpg", b"content")
    root = folder_of("memory://kept")
    with photos_kept(tmp_path / "file", 1000):
        assert [(root / f"{name}.jpg").read_bytes() for name in "ab"] == [b"content"] * 2
    assert capsys.readouterr().err.count("each is fetched whenever it is read") == 1


def _read(folder, addresses, start) -> None:
    Store.keeper = KeptPhotos(folder, 10**6)
    start.wait()
    for address in addresses:
        assert len(path_of(address).read_bytes()) == 2000


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_processes_fetch_from_s3_once(s3, proxy, folder, method):
    """Forked ones too, though the connection that they came with is another process's."""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    names = [f"{number}.jpg" for number in range(6)]
    for number, name in enumerate(names):
        s3.put(f"{s3.bucket}/photos/{name}", bytes([number]) * 2000)
    root = folder_of(f"s3://{s3.bucket}/photos")
    root.store.remember(root.store.walk().entries)
    context = multiprocessing.get_context(method)
    start = context.Barrier(2)
    work = [context.Process(target=_read, args=(folder, [str(root / name) for name in names], start)) for _ in "ab"]
    for one in work:
        one.start()
    for one in work:
        one.join(60)
        assert one.exitcode == 0
    fetched = sorted(os.path.basename(path) for how, path in proxy.requests if how == "GET" and path.endswith(".jpg"))
    assert fetched == names


def test_what_is_in_a_shard_is_found_out_once(folder, reads, tmp_path, monkeypatch):
    """By whichever process; its photos are read as they are wanted, and each once."""
    put("shard.tar", tar_of({"a.jpg": b"A" * 700, "b.jpg": b"B" * 700}))
    from detection.common.places import paths

    with photos_kept(folder, 10**6):
        assert path_of("memory://kept/shard.tar/a.jpg").read_bytes() == b"A" * 700
        before = len(reads)
        monkeypatch.setattr(paths, "_open", {})  # as in another process
        assert path_of("memory://kept/shard.tar/a.jpg").read_bytes() == b"A" * 700
        assert len(reads) == before
        assert path_of("memory://kept/shard.tar/b.jpg").read_bytes() == b"B" * 700
        assert len(reads) == before + 1
