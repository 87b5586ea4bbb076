"""The threads of a folder run: batches of like photos, several detectors, bounded queues, and a clean end."""

from __future__ import annotations

import itertools
import threading
import time

import numpy as np
import pytest

from detection.common.errors import UsageError
from detection.folder.flow.meter import Meter
from detection.folder.flow.reader import Photo, like_batches
from detection.folder.out.summary import bound_by
from tests.fakes import FakeDetector, MeetingDetector, draw_car
from tests.folder_runs import put, rows, run, tree


class Shaped(FakeDetector):
    """Says which photos may share a batch, and notes the shapes of each batch."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def input_shape(self, height, width):
        return height, width

    def detect(self, images):
        self.batches.append([image.shape[:2] for image in images])
        return super().detect(images)


@pytest.fixture
def two_shapes(tmp_path):
    """40 photos, upright and lying ones by turns, and one that can't be read."""
    for number in range(40):
        size = (96, 128) if number % 2 else (128, 96)
        put(tmp_path / "in" / f"{number:02d}.png", draw_car((220, 20, number), size, (20, 30, 60 + number % 20, 70)))
    (tmp_path / "in" / "20a.png").write_bytes(b"no photo")
    return tmp_path / "in"


def test_photos_of_like_shape_share_batches(two_shapes, tmp_path):
    run(two_shapes, tmp_path / "reference", batch_size=1)
    detector = Shaped()
    run(two_shapes, tmp_path / "out", detector=detector, batch_size=4)
    assert all(len(set(batch)) == 1 for batch in detector.batches)
    assert sorted(map(len, detector.batches)) == [4] * 10
    assert tree(tmp_path / "out") == tree(tmp_path / "reference")


def test_a_detector_may_be_shown_photos_side_by_side(two_shapes, tmp_path):
    run(two_shapes, tmp_path / "reference", batch_size=1)
    detector = MeetingDetector()
    run(two_shapes, tmp_path / "out", detector=detector, batch_size=4)
    assert detector.calls == [1] * 40
    assert tree(tmp_path / "out") == tree(tmp_path / "reference")


def photo(number: int, size: tuple[int, int], cost: int = 100) -> Photo:
    array = np.zeros((*size, 3), np.uint8)
    return Photo(str(number), None, array, array, size, cost=cost)


def test_the_window_of_like_batches_is_bounded_and_deterministic():
    sizes = [(10, 20), (20, 10), (10, 10), (20, 20), (30, 10)]
    photos = [photo(number, sizes[(number * 7) % 5]) for number in range(100)]
    held = most = 0

    def stream():
        nonlocal held, most
        for one in photos:
            held += 1
            most = max(most, held)
            yield one

    def batches():
        nonlocal held
        for batch in like_batches(stream(), 8, lambda small: small.shape):
            held -= len(batch)
            yield [one.source for one in batch]

    first, second = list(batches()), list(batches())
    assert first == second and most <= 4 * 8 + 1
    assert sorted(itertools.chain(*first), key=int) == [str(number) for number in range(100)]
    large = [photo(number, sizes[number % 5], cost=40_000_000) for number in range(6)]
    assert max(len(batch) for batch in like_batches(large, 8, lambda small: None)) == 2


def test_several_detectors_give_the_same_files(two_shapes, tmp_path):
    run(two_shapes, tmp_path / "reference")

    class Slow(FakeDetector):
        def detect(self, images):
            time.sleep(0.02)
            self.thread = threading.current_thread()
            return super().detect(images)

    detectors = [Slow(), Slow()]
    run(two_shapes, tmp_path / "out", detector=[detectors[0], lambda: detectors[1]], batch_size=2)
    assert tree(tmp_path / "out") == tree(tmp_path / "reference")
    assert all(sum(detector.calls) > 4 for detector in detectors)
    assert detectors[0].thread is not detectors[1].thread
    detectors[1].fingerprint = "other"
    with pytest.raises(UsageError, match="same model, weights and threshold"):
        run(two_shapes, tmp_path / "out2", detector=detectors)


@pytest.mark.slow
def test_reading_stops_when_the_detector_does_not_follow(tmp_path, monkeypatch):
    from detection.folder.flow import reader

    for number in range(100):
        put(tmp_path / "in" / f"{number:03d}.png", draw_car())
    read, most = [], []
    load = reader.load_image
    monkeypatch.setattr(reader, "load_image", lambda path: read.append(path) or load(path))

    class Slow(FakeDetector):
        def detect(self, images):
            time.sleep(0.03)
            most.append(len(read) - sum(self.calls))
            return super().detect(images)

    run(tmp_path / "in", tmp_path / "out", detector=Slow(), batch_size=2, workers=1)
    assert len(read) == 100 and max(most) <= 3 * 2 + 2 + 4 * 2 + 2 + 1  # on their way, in the window, read ahead


def test_an_unexpected_error_ends_the_run_and_its_threads(photos, tmp_path, monkeypatch):
    def broken(*_):
        raise KeyError("a bug")

    monkeypatch.setattr("detection.folder.flow.engine.finish_photo", broken)
    before = threading.active_count()
    with pytest.raises(KeyError, match="a bug"):
        run(photos, tmp_path / "out")
    assert threading.active_count() == before
    monkeypatch.undo()
    run(photos, tmp_path / "out")
    assert len(rows(tmp_path / "out")) == 3


def test_a_detector_thread_that_dies_ends_the_run(photos, tmp_path):
    class Dying(FakeDetector):
        def detect(self, images):
            raise SystemExit("gone")

    with pytest.raises(SystemExit, match="gone"):
        run(photos, tmp_path / "out", detector=Dying())


def test_the_meter_adds_up_over_threads():
    meter = Meter()

    def work():
        with meter.part("cut"):
            time.sleep(0.05)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0.2 <= meter.seconds["cut"] < 2
    busy = meter.busy(0.4, {"read": 1, "detect": 1, "cut": 2, "write": 2})
    assert busy["cut"] == pytest.approx(meter.seconds["cut"] / 0.8) and busy["read"] == 0


@pytest.mark.parametrize(
    "busy, part",
    [
        ((0.9, 0.5, 0.1, 0.1), "read"),
        ((0.5, 0.9, 0.4, 0.4), "detect"),
        ((0.1, 0.6, 0.5, 0.4), "cut"),
        ((0.1, 0.6, 0.3, 0.4), "write"),
    ],
)
def test_the_busiest_part_bounds_the_run(busy, part):
    assert bound_by(dict(zip(("read", "detect", "cut", "write"), busy, strict=True))) == part
