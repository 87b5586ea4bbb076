"""One run at a time for an OUT in a place: other machines are stand-ins with tokens of their own."""

from __future__ import annotations

import json
import threading
import time

import pytest

from detection.common.errors import UsageError
from detection.common.places import lease
from detection.common.places.lease import Lease
from detection.common.places.paths import path_of, rooted
from tests.folder_runs import run, tree


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    for name, seconds in {"RENEW": 0.1, "STALE": 1.0, "LOOK": 0.02}.items():
        monkeypatch.setattr(lease, name, seconds)


@pytest.fixture
def machine(s3, tmp_path):
    """A function that gives the lease of another machine."""
    made = []

    def one(name: str, part: str = "1/1") -> Lease:
        made.append(Lease(rooted(path_of(f"s3://{s3.bucket}/out")), part, tmp_path / name))
        return made[-1]

    yield one
    for each in made:
        each.release()


def claims(s3) -> list[dict]:
    folder = s3.folder / s3.bucket / "out" / ".carclf-parts"
    return [json.loads(path.read_text()) for path in folder.rglob("*") if path.is_file()]


def test_a_second_machine_is_told(s3, machine, cars):
    first = machine("first")
    first.take()
    before = claims(s3)
    with pytest.raises(UsageError, match=r"A run on '.+' writes to 's3://.*/out': wait for it, choose another OUT, or"):
        run(cars, f"s3://{s3.bucket}/out")
    assert [one["host"] for one in claims(s3)] == [before[0]["host"]] and claims(s3) != before  # it was renewed
    first.release()
    assert run(cars, f"s3://{s3.bucket}/out").processed == 8
    assert not claims(s3)


def test_each_shard_has_a_lease_of_its_own(s3, machine, cars):
    machine("first", "1/2").take()
    assert run(cars, f"s3://{s3.bucket}/out", shard="2/2").processed > 0


def test_a_killed_run_is_taken_over_after_a_while(s3, machine, cars, capsys):
    first = machine("first")
    first._claim()  # and nobody renews it
    assert run(cars, f"s3://{s3.bucket}/out").processed == 8
    assert "Looking whether an earlier run still writes to" in capsys.readouterr().err
    assert not claims(s3)


def test_its_own_killed_run_is_waited_for_by_no_machine(s3, machine, monkeypatch, capsys):
    machine("first")._claim()
    monkeypatch.setattr(lease, "STALE", 600.0)
    machine("first").take()
    assert "Looking" not in capsys.readouterr().err


def test_of_an_old_claim_nobody_looks(s3, machine, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(lease.time, "time", lambda real=time.time: real() - 4000)
        machine("first")._claim()
    monkeypatch.setattr(lease, "STALE", 600.0)
    machine("second").take()


def test_who_was_taken_over_stops(s3, machine, cars):
    """As a machine that slept: its claim was removed by another one."""
    first = machine("first")
    first.take()
    claim = path_of(f"s3://{s3.bucket}/out") / ".carclf-parts/lock-1-1" / first._name
    end = time.monotonic() + 20
    while not first._lost and time.monotonic() < end:
        claim.unlink()  # again, where it was just being renewed
        time.sleep(0.15)
    with pytest.raises(UsageError, match="Another machine took over 's3://"):
        first.check()


def test_of_two_that_have_it_the_first_name_stays(s3, machine, monkeypatch):
    """As where one renewed its claim in the very moment in which it was taken over."""
    monkeypatch.setattr(lease, "STALE", 60.0)
    one, other = sorted([machine("first"), machine("second")], key=lambda each: each._name)
    with monkeypatch.context() as patch:
        patch.setattr(Lease, "_others", lambda self: {})
        other.take()
        one.take()
    end = time.monotonic() + 20
    while not other._lost and time.monotonic() < end:
        time.sleep(0.02)
    assert other._lost and not one._lost


def test_a_run_that_was_taken_over_writes_no_more(s3, cars, monkeypatch):
    real = Lease.take

    def taken(self):
        real(self)
        self._lost = True

    monkeypatch.setattr(Lease, "take", taken)
    with pytest.raises(UsageError, match="Another machine took over"):
        run(cars, f"s3://{s3.bucket}/out")
    assert not [name for name in tree(s3.folder / s3.bucket) if not name.startswith("out/.carclf-parts/")]


def test_of_many_that_begin_at_once_one_has_it(s3, machine, monkeypatch):
    # A busy machine is no killed one, and it must get round to reading a claim between two renewals of it.
    for name, seconds in {"RENEW": 0.5, "STALE": 600.0}.items():
        monkeypatch.setattr(lease, name, seconds)
    leases = [machine(f"{number}") for number in range(6)]
    holds, told = [], []

    def begin(one: Lease) -> None:
        try:
            one.take()
            holds.append(one)
        except UsageError as error:
            told.append(str(error))

    threads = [threading.Thread(target=begin, args=(one,)) for one in leases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert len(holds) == 1 and len(told) == 5 and not holds[0]._lost


def test_a_renewal_is_seen_in_a_place_that_answers_slowly(s3, machine, monkeypatch):
    monkeypatch.setattr(lease, "STALE", 600.0)
    machine("first").take()
    monkeypatch.setattr(lease, "SLOW", 0.0)  # every look is a slow one
    with pytest.raises(UsageError, match="writes to 's3://"):
        machine("second").take()
