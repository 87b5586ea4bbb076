"""How many processor cores there are for this process."""

from __future__ import annotations

import os
from pathlib import Path


def chosen_threads() -> int:
    """Threads that a network may compute in: `OMP_NUM_THREADS` where it is set, else the usable cores."""
    named = os.environ.get("OMP_NUM_THREADS", "")
    return int(named) if named.isdecimal() and int(named) > 0 else usable_cores()


def usable_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """The cores that this process may use: those it is bound to, and no more than its container's quota; at least 1."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroup)
    return max(1, bound if quota is None else min(bound, int(quota + 0.5)))


def _quota(cgroup: Path) -> float | None:
    """Cores by the control group, version 2 or 1; None without a limit."""
    try:
        if (cgroup / "cpu.max").is_file():
            most, period = (cgroup / "cpu.max").read_text().split()
        else:
            most, period = ((cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return float(most) / float(period) if most.strip() not in {"max", "-1"} else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
