"""Photos that come together go to the models together; those that nobody waits for do not go."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from carclf.service.contract import Busy, Upload
from carclf.service.local.backend import LocalBackend, seen_size
from carclf.service.local.batching import Batcher
from carclf.service.room import Room
from carclf.service.settings import ServiceSettings
from tests.carclf.service.stand_ins import BLUE, GREY, RED, make_recognizer, photo


async def with_batcher(work, function, size=4, wait=0.05, **more):
    batcher = Batcher(function, size, wait, **more)
    batcher.start()
    try:
        return await work(batcher)
    finally:
        await batcher.stop()


def test_each_thing_gets_its_own_result_and_its_own_failure():
    def function(things):
        return [ValueError(str(thing)) if thing % 2 else thing * 10 for thing in things]

    async def work(batcher):
        return await asyncio.gather(*[batcher.submit(thing) for thing in range(6)], return_exceptions=True)

    results = asyncio.run(with_batcher(work, function))
    assert [result if isinstance(result, int) else str(result) for result in results] == [0, "1", 20, "3", 40, "5"]


def test_a_lone_thing_does_not_wait_and_others_that_are_expected_do():
    batches, coming = [], 0

    def function(things):
        batches.append(list(things))
        return things

    async def work(batcher):
        nonlocal coming
        began = time.perf_counter()
        await batcher.submit(0)
        lone = time.perf_counter() - began
        coming = 1
        first = asyncio.create_task(batcher.submit(1))
        await asyncio.sleep(0.05)
        coming = 0
        await asyncio.gather(first, batcher.submit(2))
        return lone

    lone = asyncio.run(with_batcher(work, function, wait=5, expected=lambda: coming))
    assert lone < 2
    assert batches == [[0], [1, 2]]


def test_batches_are_full_while_the_models_are_busy_and_no_larger():
    batches, leave = [], threading.Event()

    def function(things):
        batches.append(len(things))
        leave.wait(5)
        return things

    async def work(batcher):
        tasks = [asyncio.create_task(batcher.submit(0))]
        await asyncio.sleep(0.05)
        tasks += [asyncio.create_task(batcher.submit(thing)) for thing in range(1, 7)]
        await asyncio.sleep(0.05)
        leave.set()
        return await asyncio.gather(*tasks)

    assert asyncio.run(with_batcher(work, function)) == list(range(7))
    assert batches == [1, 4, 2]


def test_what_is_cancelled_in_the_queue_is_never_worked_on():
    worked, leave = [], threading.Event()

    def function(things):
        worked.extend(things)
        leave.wait(5)
        return things

    async def work(batcher):
        first = asyncio.create_task(batcher.submit("first"))
        await asyncio.sleep(0.05)
        dropped, kept = (asyncio.create_task(batcher.submit(name)) for name in ("dropped", "kept"))
        await asyncio.sleep(0)
        dropped.cancel()
        leave.set()
        assert await kept == "kept"
        await first
        assert dropped.cancelled()

    asyncio.run(with_batcher(work, function))
    assert worked == ["first", "kept"]


def test_a_function_that_breaks_breaks_its_batch_only():
    def function(things):
        if "bad" in things:
            raise RuntimeError("broken")
        return things

    async def work(batcher):
        with pytest.raises(RuntimeError, match="broken"):
            await batcher.submit("bad")
        return await batcher.submit("good")

    assert asyncio.run(with_batcher(work, function)) == "good"


def test_room_is_shared_in_turns_and_a_large_thing_goes_alone():
    most = 0

    async def work():
        room, order = Room(10), []

        async def one(units):
            nonlocal most
            async with room.waiting(units):
                most = max(most, room.taken if units <= 10 else 0)
                order.append(units)
                await asyncio.sleep(0.01)

        await asyncio.gather(*[one(units) for units in (6, 6, 50, 3, 3)])
        assert room.taken == 0
        return order

    order = asyncio.run(work())
    assert sorted(order) == [3, 3, 6, 6, 50]
    assert most <= 10


async def with_backend(work, seconds: float = 0, **settings):
    backend = LocalBackend(lambda: make_recognizer(seconds), ServiceSettings.of(**settings))
    await backend.start()
    try:
        return await work(backend)
    finally:
        await backend.stop()


def test_requests_that_arrive_together_share_batches():
    async def work(backend):
        requests = [backend.recognize([Upload(f"{n}.jpg", photo(RED if n % 2 else BLUE))]) for n in range(12)]
        answers = await asyncio.gather(*requests)
        return answers, backend._recognizer.classifier.sizes

    answers, sizes = asyncio.run(with_backend(work, seconds=0.05, batch_size=4))
    assert [answer.label for (answer,) in answers] == ["Blue Sedan 2012", "Red Coupe 2011"] * 6
    assert [answer.file for (answer,) in answers] == [f"{n}.jpg" for n in range(12)]
    assert sum(sizes) == 12 and max(sizes) <= 4 and len(sizes) <= 6


def test_answers_do_not_depend_on_the_company(tmp_path):
    photos = [photo(RED), photo(GREY), b"junk", photo(BLUE, (300, 200)), photo(RED, (64, 64), "PNG")]

    async def work(backend):
        together = await backend.recognize([Upload("x", data) for data in photos], pictures=True)
        alone = [(await backend.recognize([Upload("x", data)], pictures=True))[0] for data in photos]
        return together, alone

    together, alone = asyncio.run(with_backend(work))
    assert together == alone
    assert [answer.status for answer in alone] == ["ok", "no_car", "unreadable", "ok", "ok"]


def test_a_full_queue_is_busy_and_then_not():
    async def work(backend):
        first = asyncio.create_task(backend.recognize([Upload("x", photo())] * 3))
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="3 photos wait"):
            await backend.recognize([Upload("x", photo())] * 2)
        await first
        return await backend.recognize([Upload("x", photo())] * 2)

    assert len(asyncio.run(with_backend(work, seconds=0.05, queue_length=4, max_files=2))) == 2


def test_stopping_answers_what_was_taken_and_takes_no_more():
    async def work():
        backend = LocalBackend(lambda: make_recognizer(0.1), ServiceSettings())
        with pytest.raises(Busy, match="not loaded"):
            await backend.recognize([Upload("x", photo())])
        await backend.start()
        taken = asyncio.create_task(backend.recognize([Upload("x", photo())] * 5))
        await asyncio.sleep(0.05)
        stopping = asyncio.create_task(backend.stop())
        await asyncio.sleep(0)
        assert not backend.ready()
        with pytest.raises(Busy, match="stopping"):
            await backend.recognize([Upload("x", photo())])
        await stopping
        return await taken

    assert [answer.status for answer in asyncio.run(work())] == ["ok"] * 5


def test_a_request_that_is_cancelled_leaves_nothing_behind():
    async def work(backend):
        slow = asyncio.create_task(backend.recognize([Upload("x", photo())] * 8))
        await asyncio.sleep(0.05)
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)
        assert backend._taken == 0 and backend._decoding == 0
        await asyncio.sleep(0.3)
        assert backend._room.taken == 0
        return sum(backend._recognizer.classifier.sizes)

    assert asyncio.run(with_backend(work, seconds=0.2, batch_size=2)) <= 4


@pytest.mark.parametrize(
    ("shape", "declared", "seen"),
    [
        ((96, 128), (128, 96), (128, 96)),
        ((128, 96), (128, 96), (96, 128)),  # turned, not shrunk
        ((150, 200), (4000, 3000), (4000, 3000)),
        ((200, 150), (4000, 3000), (3000, 4000)),  # turned and shrunk
        ((96, 128), None, (128, 96)),
    ],
)
def test_size_of_the_photo_as_it_is_seen(shape, declared, seen):
    import numpy as np

    assert seen_size(np.zeros((*shape, 3), np.uint8), declared, 200) == seen


def test_several_batches_at_a_time():
    together, most, lock = 0, 0, threading.Lock()

    def work(things):
        nonlocal together, most
        with lock:
            together += 1
            most = max(most, together)
        time.sleep(0.05)
        with lock:
            together -= 1
        return [2 * thing for thing in things]

    async def run():
        batcher = Batcher(work, 1, 0.01, side_by_side=2)
        batcher.start()
        results = await asyncio.gather(*(batcher.submit(number) for number in range(6)))
        await batcher.stop()
        return results

    assert asyncio.run(run()) == [0, 2, 4, 6, 8, 10]
    assert most == 2
