"""Which photos are handed out when, and which one is to blame: without a cluster."""

from __future__ import annotations

import itertools
import socket

import pytest

from detection.cluster.connect import Cluster, connected
from detection.cluster.crew import _Flow
from detection.cluster.work import Done, Fault
from detection.common.errors import UsageError


def flow(items, total=None, ordered=False):
    return _Flow(items, str.upper, total, ordered)


def done(numbers, made):
    return Done([(place, made.items[number] * 2) for place, number in enumerate(numbers)])


def test_results_come_as_they_are_made_or_in_order():
    for ordered, expected in ((False, ["bb"]), (True, [])):
        made = flow("abc", ordered=ordered)
        first, second = made.more(1, 1), made.more(1, 1)
        made.take(second, done(second, made))
        assert [result for _, result in made.finished()] == expected
        made.take(first, done(first, made))
        assert [result for _, result in made.finished()] == (["aa", "bb"] if ordered else ["aa"])
        last = made.more(9, 1)
        made.take(last, done(last, made))
        assert list(made.finished()) == [("c", "cc")]
        assert made.more(1, 1) == [] and made.empty


def test_an_endless_stream_is_taken_in_pieces():
    made = flow((str(number) for number in itertools.count()), ordered=True)
    taken = 0
    while numbers := made.more(4, 3):
        taken += len(numbers)
    assert 12 <= taken <= 60  # the first of them is not done yet


def test_the_last_batches_are_small():
    made = flow(list("x" * 40), total=40)
    sizes = []
    while numbers := made.more(16, 2):
        sizes.append(len(numbers))
    assert sum(sizes) == 40 and sizes[0] > 4 and sizes[-4:] == [1, 1, 1, 1]


def test_only_what_was_alone_twice_is_to_blame():
    made = flow("abc")
    numbers = made.more(3, 1)
    made.suspect(numbers, True)
    assert list(made.suspects) == [0, 1, 2]
    made.suspects.clear()
    made.suspect([1], True)
    made.suspects.clear()
    made.suspect([1], False)  # its machine died
    assert list(made.suspects) == [1] and list(made.finished()) == []
    made.suspects.clear()
    made.suspect([1], True)
    assert not made.suspects and list(made.finished()) == [("b", "B")]


def test_a_lost_result_is_no_silence():
    made = flow("ab")
    numbers = made.more(2, 1)
    with pytest.raises(RuntimeError, match="1 of 2"):
        made.take(numbers, Done([(0, "aa")]))


def test_a_fault_comes_over_as_it_was():
    assert isinstance(Fault.of(UsageError("Look here.")).error(), UsageError)
    error = Fault.of(OSError(28, "No space left on device")).error()
    assert isinstance(error, OSError) and (error.errno, error.strerror) == (28, "No space left on device")


def test_an_address_where_nobody_listens_is_told_at_once():
    pytest.importorskip("ray", reason="no Ray here: install the extra dev")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
        with pytest.raises(UsageError, match=f"No Ray cluster answers at '{address}'"), connected(address):
            pass
    with pytest.raises(UsageError, match="is not the address of a cluster"), connected("head"):
        pass


def test_without_ray_the_install_is_named(monkeypatch):
    monkeypatch.setattr("detection.common.errors.has_module", lambda module: module != "ray")
    with pytest.raises(UsageError, match=r'--engine ray needs ray.*pip install "\.\[ray\]"'), connected(None):
        pass


def test_sizes_are_at_least_one():
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        Cluster(cores=0)
