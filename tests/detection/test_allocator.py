import subprocess
import sys

import pytest

CODE = """
import resource, sys
import numpy as np
from detection.allocator import keep_freed_memory
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
