import gc
import subprocess
import sys

import cv2
import pytest

from detection.common.machine import (
    collect_late,
    opencv_in_one_thread,
    photos_side_by_side,
    threads_for_many,
    usable_cores,
)

CODE = """
import resource, sys
import numpy as np
from detection.common.machine import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit(3)
def work():
    for _ in range(20):
        np.ones(10_000_000)  # 80 MB, mapped and unmapped each time
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_freed_memory_is_used_again_without_page_faults():
    faults = {}
    for how in ("leave", "keep"):
        done = subprocess.run([sys.executable, "-c", CODE, how], capture_output=True, text=True)
        if done.returncode == 3:
            pytest.skip("this C library has no mallopt")
        faults[how] = int(done.stdout)
    assert faults["keep"] < 0.1 * faults["leave"] or faults["leave"] < 1000


SERVICE = """
import re, sys
import numpy as np
from detection.common.machine import hand_back, return_freed_memory
if sys.argv[1] == "return" and not return_freed_memory():
    sys.exit(3)
def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read()).group(1)) // 1024
np.ones(3_000_000)  # 24 MB: from now on glibc would take smaller blocks from its heap
# Takes the holes that imports have left in the heap, whose places depend on the folder's name: pins that lay in them
# would not keep the heap from shrinking.
holes = [np.ones(12_500) for _ in range(100)]
before = resident()
blocks, pins = [], []
for _ in range(30):
    blocks.append(np.ones(800_000))  # 6.4 MB
    pins.append(np.ones(12_500))  # 100 kB that stay, and keep the heap from shrinking
blocks.clear()
print(resident() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_a_service_hands_large_blocks_back():
    kept = {}
    for how in ("leave", "return"):
        done = subprocess.run([sys.executable, "-c", SERVICE, how], capture_output=True, text=True)
        if done.returncode == 3:
            pytest.skip("this C library has no mallopt")
        kept[how] = int(done.stdout)
    assert kept["return"] < 20
    assert kept["leave"] > 100 or kept["leave"] < 20, "another allocator than glibc's"


def _tree(root, groups):
    """groups: path below the mount to (quota, period) in version 1, or the text of cpu.max in version 2."""
    for path, limit in groups.items():
        folder = root / path
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(limit, str):
            (folder / "cpu.max").write_text(limit + "\n")
        else:
            for name, value in zip(("quota", "period"), limit, strict=True):
                (folder / f"cpu.cfs_{name}_us").write_text(f"{value}\n")


ONE, NONE = "100000 100000", "max 100000"
V1_NONE = (-1, 100000)


@pytest.mark.parametrize(
    ("groups", "process", "cores"),
    [
        # systemd's CPUQuota: only the service's own group has a limit
        ({"system.slice": NONE, "system.slice/x.service": "150000 100000"}, "0::/system.slice/x.service", 2),
        # one above it is tighter, and one further up
        ({"a": "200000 100000", "a/b": "400000 100000", "a/b/c": NONE}, "0::/a/b/c", 2),
        ({"a": NONE, "a/b": "50000 100000", "a/b/c": "300000 100000"}, "0::/a/b/c", 1),
        ({"other": ONE, "mine": NONE}, "0::/mine", 8),
        # a container: the mount shows its own group as the root, the path is the host's
        ({"": "300000 100000"}, "0::/docker/0123", 3),
        ({"": NONE, "inner": ONE}, "0::/docker/0123/inner", 1),
        ({"": ONE}, "0::/../..", 1),
        ({"": NONE, "b": ONE}, "0::/../b", 1),
        # version 1, whatever controllers share the mount
        ({"cpu/mine": (250000, 100000)}, "4:memory:/else\n3:cpu:/mine\n0::/", 3),
        ({"cpu,cpuacct/a/b": V1_NONE, "cpu,cpuacct/a": (200000, 100000)}, "3:cpu,cpuacct:/a/b", 2),
        ({"cpu/a": (100000, 100000), "cpu/a/b": V1_NONE}, "2:cpuset:/a\n3:cpuacct,cpu:/a/b", 1),
        ({"cpu": (400000, 100000)}, "3:cpu:/docker/0123", 4),
        ({"cpu/mine": (100000, 100000)}, "3:cpuset:/mine\n2:cpuacct:/mine", 8),
        # both at once: version 2 beside version 1
        ({"unified/x": "500000 100000", "cpu/x": (300000, 100000)}, "1:cpu:/x\n0::/x", 3),
        # nothing that makes sense
        ({"x": "words"}, "0::/x", 8),
        ({"cpu/x": (100000, 0)}, "1:cpu:/x", 8),
        ({}, "nonsense", 8),
    ],
)
def test_every_quota_from_the_own_group_up_counts(tmp_path, monkeypatch, groups, process, cores):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)), raising=False)
    _tree(tmp_path / "cgroup", groups)
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "cgroup").write_text(process + "\n")
    assert usable_cores(tmp_path / "cgroup", tmp_path / "self") == cores
    assert usable_cores(tmp_path / "nowhere", tmp_path / "nothing") == 8


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (16, 1), (17, 2), (64, 4)])
def test_many_photos_fill_all_cores(monkeypatch, cores, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", str(cores))
    assert threads_for_many() == threads
    assert photos_side_by_side(None) == 1
    assert cores - threads < photos_side_by_side(threads) * threads <= cores
    assert photos_side_by_side(1) == min(cores, 16)


def test_the_collector_begins_late_and_is_as_usual_then():
    before, others = gc.get_threshold(), list(gc.callbacks)
    try:
        collect_late(1000)
        assert gc.get_threshold()[0] == 1000 and len(gc.callbacks) == len(others) + 1
        kept = [[] for _ in range(3000)]
        assert len(kept) == 3000 and gc.get_threshold() == before and gc.callbacks == others
    finally:
        gc.set_threshold(*before)


def test_opencv_gets_its_threads_back():
    before = cv2.getNumThreads()
    with pytest.raises(ZeroDivisionError), opencv_in_one_thread():
        assert cv2.getNumThreads() == 1
        raise ZeroDivisionError
    assert cv2.getNumThreads() == before
