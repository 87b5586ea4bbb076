"""What this process may use of the machine: processor cores, and what the C library does with freed memory."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path


def chosen_threads() -> int:
    """Threads that a network may compute in: `OMP_NUM_THREADS` where it is set, else the usable cores."""
    named = os.environ.get("OMP_NUM_THREADS", "")
    return int(named) if named.isdecimal() and int(named) > 0 else usable_cores()


# Between its networks a photo needs Python's lock for some milliseconds: more photos than this would only wait for it.
MOST_SIDE_BY_SIDE = 16


def threads_for_many() -> int:
    """Threads of each network for a job of many photos: one, up to `MOST_SIDE_BY_SIDE` cores. Networks of this size
    gain little by a second thread, and photos that are looked at side by side gain all of it."""
    return -(-chosen_threads() // MOST_SIDE_BY_SIDE)


def photos_side_by_side(threads: int | None) -> int:
    """How many photos networks of so many threads (None: `chosen_threads`) look at at a time, so that no core idles."""
    return max(1, min(MOST_SIDE_BY_SIDE, chosen_threads() // (threads or chosen_threads())))


def usable_cores(cgroup: Path = Path("/sys/fs/cgroup"), process: Path = Path("/proc/self")) -> int:
    """The cores that this process may use: those it is bound to, and no more than the least CPU quota of its control
    group and of all groups above it (a container's, systemd's CPUQuota); at least 1."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for folder in _groups(cgroup, process) if (quota := _quota(folder)) is not None]
    return max(1, min([bound, *(int(quota + 0.5) for quota in quotas)]))


def _groups(cgroup: Path, process: Path) -> set[Path]:
    """The folders of the control groups that limit the process's time, version 2 and 1, from its own up to the root."""
    folders = {cgroup, cgroup / "cpu"}
    try:
        lines = (process / "cgroup").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        for mounted in (cgroup / controllers, cgroup / "cpu") if controllers else (cgroup, cgroup / "unified"):
            parts = [part for part in path.split("/") if part not in ("", ".", "..")]
            # A container may see its own group at the mount's root, and its path as the host has it.
            while parts and not mounted.joinpath(*parts).is_dir():
                del parts[0]
            folders.update(mounted.joinpath(*parts[:depth]) for depth in range(len(parts) + 1))
    return folders


def _quota(folder: Path) -> float | None:
    """Cores by one control group, version 2 or 1; None without a limit."""
    try:
        if (folder / "cpu.max").is_file():
            most, period = (folder / "cpu.max").read_text().split()
        else:
            most, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return float(most) / float(period) if most.strip() not in {"max", "-1"} else None
    except (OSError, ValueError, ZeroDivisionError):
        return None


@contextlib.contextmanager
def opencv_in_one_thread() -> Iterator[None]:
    """For work on photos side by side: OpenCV's own threads would only be in their way."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def collect_late(objects: int = 200_000) -> None:
    """For a program's start: the search for cyclic garbage begins once so many objects are there, and is then as usual.

    Imports build that many and leave no garbage; to go through them again and again takes a tenth of a short command.
    """
    usual = gc.get_threshold()

    def begin(phase: str, facts: dict) -> None:
        gc.set_threshold(*usual)
        gc.callbacks.remove(begin)

    gc.callbacks.append(begin)
    gc.set_threshold(objects, *usual[1:])


# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -3, -4, -8


def keep_freed_memory() -> bool:
    """For a process that trains on the CPU; returns whether the C library took it (glibc does, others are left alone).

    glibc maps every large block anew and unmaps it when it is freed, so each step pays for zeroed pages: measured on
    an EfficientNet-Lite0 at 192 px, batch 32, that was 15 of 57 ms of processor time per photo, and 2 ms with this.
    The process then keeps its peak memory until it ends.
    """
    return _set((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 64 * 2**20))


def return_freed_memory() -> bool:
    """For a process that runs for months and is to stay small; to be called before it starts threads. Returns whether
    the C library took it.

    glibc gives each thread a heap of its own, up to eight per core, and raises the size from which blocks are mapped by
    themselves to that of the largest block that was freed: what a large photo took stays in the heaps for good.
    """
    # A photo of one megapixel is mapped by itself. A lower threshold costs more time than it gives back memory.
    return _set((_M_ARENA_MAX, 1), (_M_MMAP_THRESHOLD, 11 * 2**18), (_M_TRIM_THRESHOLD, 16 * 2**20))


def _set(*options: tuple[int, int]) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has no mallopt
        return False
    done = [mallopt(option, value) for option, value in options]
    return all(done)


def hand_back() -> None:
    """Gives the system what is free by now, once; after models are loaded it is a tenth of the process."""
    gc.collect()
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):  # musl has no malloc_trim
            ctypes.CDLL(None).malloc_trim(0)
