import subprocess
import sys

import pytest

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
before = resident()
blocks, pins = [], []
for _ in range(30):
    blocks.append(np.ones(800_000))  # 6.4 MB
    pins.append(np.ones(500))  # stays, and keeps the heap from shrinking
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
