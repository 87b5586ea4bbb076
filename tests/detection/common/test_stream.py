"""Work side by side: in order, in bounded memory, and nothing left behind."""

import threading
from dataclasses import dataclass

import pytest

from detection.common.stream import PIXELS_AHEAD, side_by_side


@dataclass
class Thing:
    number: int
    cost: int = 1


def test_results_come_in_order_whichever_is_done_first():
    second = threading.Event()

    def work(thing):
        if thing.number == 0:
            assert second.wait(30)
        if thing.number == 1:
            second.set()
        return thing.number

    assert list(side_by_side(work, map(Thing, range(9)), 2)) == list(range(9))


@pytest.mark.parametrize(("cost", "most"), [(1, 4), (PIXELS_AHEAD // 3, 3), (2 * PIXELS_AHEAD, 1)])
def test_few_things_wait_and_fewer_large_ones(cost, most):
    taken, given, ahead = 0, 0, []

    def things():
        nonlocal taken
        for number in range(12):
            taken += 1
            ahead.append(taken - given)
            yield Thing(number, cost)

    go = threading.Event()
    results = side_by_side(lambda thing: go.wait(30), things(), 2)
    threading.Timer(0.05, go.set).start()
    for _ in results:
        given += 1
    assert given == 12
    assert max(ahead) <= most + 2  # the one that is yielded, and the one that asks for room


def test_what_fails_is_raised_in_its_turn_and_the_rest_is_left():
    done = []

    def work(thing):
        if thing.number == 1:
            raise ValueError("one")
        done.append(thing.number)

    results = side_by_side(work, map(Thing, range(1000)), 2)
    assert next(results) is None
    with pytest.raises(ValueError, match="one"):
        list(results)
    assert len(done) < 10
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("carclf-work")]
