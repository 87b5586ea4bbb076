"""The file of detections: what goes in comes out, and nothing that is damaged or hostile does harm."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from detection.common import rows
from detection.common.errors import UsageError
from detection.folder.out import detections
from detection.folder.out.detections import DetectionsWriter, read_detections
from detection.masks.rle import decode_mask, encode_mask
from detection.vehicle import Vehicle
from tests.folder_runs import ROOT

SIZE = (40, 60)
STAMP = (1234, 1_700_000_000_123_456_789)


def vehicle(seed: int = 0, size: tuple[int, int] = SIZE, kind: str = "car") -> Vehicle:
    random = np.random.default_rng(seed)
    mask = random.random(size) < 0.5
    box = tuple(sorted(random.random(2) * 20)) + tuple(sorted(20 + random.random(2) * 20))
    return Vehicle((box[0], box[1], box[2], box[3]), mask, float(random.random()), kind)


def write(path, photos: dict[str, list[Vehicle]], fingerprint="print-1"):
    with DetectionsWriter(path, "compact", fingerprint) as writer:
        for source, vehicles in photos.items():
            writer.append(source, STAMP, SIZE, vehicles)
    return path


def assert_same(found: list[Vehicle], expected: list[Vehicle]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert (one.box, one.score, one.kind) == (other.box, other.score, other.kind)
        assert one.mask.dtype == bool and one.mask.flags.c_contiguous and one.mask.flags.writeable
        np.testing.assert_array_equal(one.mask, other.mask)


def test_round_trip(tmp_path):
    photos = {"a.jpg": [vehicle(1), vehicle(2, kind="truck")], "sub/b.jpg": [], "c.jpg": [vehicle(3)]}
    write(tmp_path / "found.jsonl", photos)
    with read_detections(tmp_path / "found.jsonl") as found:
        assert (found.detector, found.fingerprint, found.damaged, len(found)) == ("compact", "print-1", 0, 3)
        for source, vehicles in photos.items():
            assert source in found
            assert_same(found.get(source), vehicles)
        assert found.get("d.jpg") is None and "d.jpg" not in found
        assert found.get("c.jpg", STAMP) is not None and found.get("c.jpg", (1234, 5)) is None
        assert found.damaged == 0


def test_what_the_detector_gives_is_written(tmp_path):
    given = Vehicle(tuple(np.float32([1, 2, 3, 4])), np.ones(SIZE, bool, order="F"), np.float32(0.75), np.str_("bus"))
    with DetectionsWriter(tmp_path / "f", "compact", "p") as writer:
        writer.append("a.jpg", None, np.array(SIZE), [given])
    found = read_detections(tmp_path / "f")
    assert_same(found.get("a.jpg"), [Vehicle((1.0, 2.0, 3.0, 4.0), np.ones(SIZE, bool), 0.75, "bus")])
    assert found.get("a.jpg", STAMP) is None  # nobody knows what file that was


def test_masks_are_coco_rle(tmp_path):
    write(tmp_path / "f", {"a.jpg": [vehicle(1)]})
    header, line = map(json.loads, (tmp_path / "f").read_text("ascii").splitlines())
    assert header == {"format": "carclf-detections", "version": 1, "detector": "compact", "fingerprint": "print-1"}
    decoded = coco_mask.decode(line["vehicles"][0]["segmentation"])
    np.testing.assert_array_equal(decoded.astype(bool), vehicle(1).mask)


@pytest.mark.parametrize(
    "name",
    ["ümlaut 車.jpg", os.fsdecode(b"caf\xe9.jpg"), 'line\nbreak "quoted" \\.jpg', "", "\u2028.jpg", "x" * 5000],
)
def test_odd_names(tmp_path, name):
    write(tmp_path / "f", {"before.jpg": [], name: [vehicle(1)], "after.jpg": [vehicle(2)]})
    found = read_detections(tmp_path / "f")
    assert len(found) == 3 and found.damaged == 0
    assert_same(found.get(name), [vehicle(1)])
    assert_same(found.get("after.jpg"), [vehicle(2)])


def test_a_run_goes_on_where_it_was_torn(tmp_path):
    path = write(tmp_path / "f", {"a.jpg": [vehicle(1)], "b.jpg": [vehicle(2)]})
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in [0, 5, first - 1, first, first + 1, first + 100, len(whole) - 1, len(whole)]:
        path.write_bytes(whole[:cut])
        if cut >= first:  # a reader passes over what is torn
            torn = read_detections(path)
            assert torn.damaged == (0 if whole[:cut].endswith(b"\n") else 1)
            assert torn.get("b.jpg") is None or cut == len(whole)
        write(path, {"b.jpg": [vehicle(5)], "c.jpg": [vehicle(3)]})
        found = read_detections(path)
        assert found.damaged == 0 and ("a.jpg" in found) == (whole[:cut].count(b"\n") > 1)
        assert_same(found.get("b.jpg"), [vehicle(5)])  # the last line about a photo holds
        assert_same(found.get("c.jpg"), [vehicle(3)])
        assert len(found) == 2 + ("a.jpg" in found)


def test_many_threads_append(tmp_path):
    names = [f"{number}.jpg" for number in range(200)]
    with DetectionsWriter(tmp_path / "f", "compact", "p") as writer, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: writer.append(name, STAMP, SIZE, [vehicle(int(name[:-4]))]), names))
    found = read_detections(tmp_path / "f")
    with ThreadPoolExecutor(8) as pool:
        for name, vehicles in zip(names, pool.map(found.get, names), strict=True):
            assert_same(vehicles, [vehicle(int(name[:-4]))])


def test_names_that_share_a_key(tmp_path, monkeypatch):
    monkeypatch.setattr(detections, "name_number", lambda source: 7)
    monkeypatch.setattr(rows, "name_number", lambda source: 7)
    found = read_detections(write(tmp_path / "f", {"a": [vehicle(1)], "b": [vehicle(2)]}))
    assert_same(found.get("a"), [vehicle(1)])
    assert_same(found.get("b"), [vehicle(2)])
    assert found.get("c") is None


def entry(**changes) -> dict:
    counts = encode_mask(vehicle(1).mask)
    one = {"kind": "car", "score": 0.5, "box": [1, 2, 3, 4], "segmentation": {"size": list(SIZE), "counts": counts}}
    one |= changes.pop("vehicle", {})
    return {"source": "bad.jpg", "stamp": None, "size": list(SIZE), "vehicles": [one]} | changes


def rle(counts, size=SIZE) -> dict:
    return {"segmentation": {"size": list(size), "counts": counts}}


# 10^9 pixels in one run of zeros: a few bytes that would decode to a gigabyte.
GIANT = coco_mask.frPyObjects({"size": [31_250, 32_000], "counts": [10**9]}, 31_250, 32_000)["counts"].decode()


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"\xff\x00\xfe", id="binary"),
        pytest.param(b"", id="empty line"),
        pytest.param(b"[1, 2]", id="a list"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b"9" * 10_000, id="a long number"),
        pytest.param(b'{"source": 5}', id="source is a number"),
        pytest.param(b'{"source": "bad.jpg"}', id="nothing but a source"),
        pytest.param(entry(vehicles=None), id="no list"),
        pytest.param(entry(vehicles=["car"]), id="a text for a vehicle"),
        pytest.param(entry(size=[40]), id="one side"),
        pytest.param(entry(size=[0, 0]), id="no pixels"),
        pytest.param(entry(size=[-40, -60]), id="negative"),
        pytest.param(entry(size=[40.0, 60]), id="a fraction of a pixel"),
        pytest.param(entry(size=[10**9, 10**9]), id="giant size"),
        pytest.param(entry(size=[31_250, 32_000], vehicle=rle(GIANT, (31_250, 32_000))), id="a giant RLE that agrees"),
        pytest.param(entry(vehicle=rle(GIANT)), id="a giant RLE in a small photo"),
        pytest.param(entry(vehicle=rle(GIANT, (31_250, 32_000))), id="another size than the photo"),
        pytest.param(entry(vehicle=rle("")), id="empty RLE"),
        pytest.param(entry(vehicle=rle("0")), id="too few pixels"),
        pytest.param(entry(vehicle=rle("é")), id="not ASCII"),
        pytest.param(entry(vehicle=rle("#!")), id="foreign characters"),
        pytest.param(entry(vehicle=rle("oooooooo")), id="a run that never ends"),
        pytest.param(entry(vehicle=rle("o" * 30 + "0")), id="a run of 150 bits"),
        pytest.param(entry(vehicle=rle([2400])), id="uncompressed"),
        pytest.param(entry(vehicle={"box": [1, 2, 3]}), id="three corners"),
        pytest.param(entry(vehicle={"box": [1, 2, float("nan"), 4]}), id="nan"),
        pytest.param(entry(vehicle={"box": [1, 2, float("inf"), 4]}), id="infinity"),
        pytest.param(entry(vehicle={"box": [10**400, 2, 3, 4]}), id="beyond floats"),
        pytest.param(entry(vehicle={"box": [9, 2, 3, 4]}), id="box the wrong way round"),
        pytest.param(entry(vehicle={"score": 2}), id="score"),
        pytest.param(entry(vehicle={"score": None}), id="no score"),
        pytest.param(entry(vehicle={"kind": 3}), id="kind"),
    ],
)
def test_damaged_lines_are_passed_over_and_counted(tmp_path, line):
    path = write(tmp_path / "f", {"a.jpg": [vehicle(1)]})
    with open(path, "ab") as file:
        file.write((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n")
    write(path, {"z.jpg": [vehicle(2)]})
    found = read_detections(path)
    tracemalloc.start()  # knows of NumPy's memory too
    assert found.get("bad.jpg") is None and found.get("bad.jpg") is None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000
    assert found.damaged == 1
    assert_same(found.get("a.jpg"), [vehicle(1)])
    assert_same(found.get("z.jpg"), [vehicle(2)])


def test_a_line_without_an_end_takes_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(detections, "_MAX_LINE", 1000)
    path = write(tmp_path / "f", {"a.jpg": []})
    with open(path, "ab") as file:
        file.write(b'{"source": "' + b"x" * 12_345 + b'"}\n')
    write(path, {"b.jpg": []})
    found = read_detections(path)
    assert (found.get("a.jpg"), found.get("b.jpg"), found.damaged, len(found)) == ([], [], 1, 2)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "not a file of detections"),
        (b"\xff\xd8\xff\xe0" * 100, "not a file of detections"),
        (b"\x89PNG\r\n\x1a\n" * 9, "not a file of detections"),
        (b'{"source": "a.jpg"}\n', "not a file of detections"),
        (b"[" * 50_000 + b"\n", "not a file of detections"),
        (b"x" * 200_000, "not a file of detections"),
        (b'{"format": "carclf-detections", "version": 2}\n', "by a carclf that is newer than this"),
        (b'{"format": "carclf-detections", "version": 0}\n', "of version '0', and this carclf reads version 1"),
        (b'{"format": "carclf-detections"}\n', "of version 'None'"),
        (b'{"format": "carclf-detections", "version": 1}\n', "which detector"),
    ],
)
def test_other_files_are_refused_and_left_alone(tmp_path, content, message):
    path = tmp_path / "f"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_detections(path)
    if content:
        with pytest.raises(UsageError, match=message):
            DetectionsWriter(path, "compact", "p")
        assert path.read_bytes() == content


def test_what_cannot_be_opened(tmp_path):
    with pytest.raises(UsageError, match=r"There is no detections file .*nothing"):
        read_detections(tmp_path / "nothing")
    with pytest.raises(UsageError, match="There is no detections file"):
        read_detections(tmp_path)
    with pytest.raises(UsageError, match="can't be written"):
        DetectionsWriter(tmp_path, "compact", "p")
    with pytest.raises(UsageError, match="can't be written"):
        DetectionsWriter(tmp_path / "no" / "folder", "compact", "p")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="not a regular file"):
        DetectionsWriter(tmp_path / "pipe", "compact", "p")


def test_another_detector_or_another_run_is_refused(tmp_path):
    path = write(tmp_path / "f", {"a.jpg": [vehicle(1)]})
    content = path.read_bytes()
    with pytest.raises(UsageError, match="what 'compact' found with other weights"):
        DetectionsWriter(path, "compact", "print-2")
    with (
        DetectionsWriter(path, "compact", "print-1"),
        pytest.raises(UsageError, match="Another run writes to"),
    ):
        DetectionsWriter(path, "compact", "print-1")
    assert path.read_bytes() == content


def test_a_mask_of_another_size_is_refused(tmp_path):
    with DetectionsWriter(tmp_path / "f", "compact", "p") as writer:
        with pytest.raises(ValueError, match=r"The mask is \(40, 60\), not \(40, 61\)"):
            writer.append("a.jpg", STAMP, (40, 61), [vehicle(1)])
        writer.append("a.jpg", STAMP, SIZE, [vehicle(1)])
    found = read_detections(tmp_path / "f")
    assert len(found) == 1 and found.damaged == 0


def test_a_full_disk_leaves_whole_lines(tmp_path, monkeypatch):
    real, room = os.write, 700

    def write_some(file, data):
        nonlocal room
        if room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = real(file, bytes(data)[:room])
        room -= done
        return done

    with DetectionsWriter(tmp_path / "f", "compact", "p") as writer:
        writer.append("a.jpg", STAMP, SIZE, [])
        monkeypatch.setattr(os, "write", write_some)
        with pytest.raises(OSError, match="No space left"):
            writer.append("b.jpg", STAMP, SIZE, [vehicle(1)])
        monkeypatch.setattr(os, "write", real)
        writer.append("c.jpg", STAMP, SIZE, [vehicle(2)])
    found = read_detections(tmp_path / "f")
    assert (found.damaged, len(found), found.get("a.jpg"), found.get("b.jpg")) == (0, 2, [], None)
    assert_same(found.get("c.jpg"), [vehicle(2)])


LIMITED = """
import sys
from detection.folder.out.detections import read_detections
def peak():  # not ru_maxrss, which counts the parent before exec
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
before = peak()
found = read_detections(sys.argv[1])
found.get("folder/0.jpg")
opened = peak()
total = sum(len(found.get(f"folder/{number}.jpg")) for number in range(3000))
print(total, found.damaged, opened - before, peak() - opened)
"""


@pytest.mark.slow
def test_memory_stays_flat(tmp_path):
    one = vehicle(1, (300, 400))  # noise: 120 kB decoded, 36 MB if all were kept
    with DetectionsWriter(tmp_path / "f", "compact", "p") as writer:
        for number in range(3000):
            writer.append(f"folder/{number}.jpg", STAMP, (300, 400), [] if number % 10 else [one])
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "f")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    total, damaged, opening, asking = map(int, done.stdout.split())
    assert (total, damaged) == (300, 0) and opening < 5_000 and asking < 2_000  # KiB


@settings(max_examples=150, deadline=None, derandomize=True)
@given(arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_any_mask_comes_back(mask):
    np.testing.assert_array_equal(decode_mask(encode_mask(mask), mask.shape), mask)
    assert encode_mask(mask) == coco_mask.encode(np.asfortranarray(mask, np.uint8))["counts"].decode("ascii")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=30), st.integers(1, 30), st.integers(1, 30))
def test_any_text_is_a_mask_or_a_value_error(counts, height, width):
    try:
        mask = decode_mask(counts, (height, width))
    except ValueError:
        return
    assert mask.shape == (height, width) and mask.dtype == bool and mask.view(np.uint8).max() <= 1
