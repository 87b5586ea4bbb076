"""Clusters of several nodes on this machine, and detectors that die in their workers.

`python -m tests.clusters IN OUT ADDRESS MOMENT [NOTES]` is a driver that kills itself after so many photos, 0 for
never; its workers leave their numbers in the folder NOTES.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from detection.cluster.connect import Cluster
from detection.folder.run import clean_folder
from tests.fakes import FakeDetector, draw_car
from tests.folder_runs import ROOT, STYLE, put, tree

KILLER = (20, 20, 220)
_TRIES = 4
# What Ray's processes inherit. A machine with forty other processes answers late: it must not pass for a dead one. One
# that is dead refuses at once, and is found as fast as ever.
VARIABLES = {
    "PYTHONPATH": str(ROOT),  # for the workers, which unpickle what is defined here
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # else all other work on this machine comes first
    "RAY_health_check_timeout_ms": "120000",
    "RAY_gcs_server_port_wait_time_s": "300",
    "RAY_gcs_server_request_timeout_seconds": "300",
    "RAY_worker_register_timeout_seconds": "300",
}


class Worker(FakeDetector):
    """Takes its time; leaves its process's number in a folder; a photo in the killer's colour ends the process."""

    def __init__(self, notes: Path | None, deadly: bool = True):
        super().__init__()
        self.deadly = deadly
        if notes is not None:
            (notes / str(os.getpid())).touch()

    def detect(self, images):
        time.sleep(0.02)
        for image in images:
            if self.deadly and np.abs(image[56, 64].astype(int) - KILLER).max() < 12:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().detect(images)


def loader(notes: Path | None = None, deadly: bool = True) -> partial[Worker]:
    return partial(Worker, notes, deadly)


def far(source: Path, output: Path, detector: Any, cluster: Cluster, **options: Any):
    options.setdefault("progress", False)
    return clean_folder(source, output, detector, STYLE, cluster=cluster, **options)


def local(source: Path, output: Path, deadly: bool = True) -> dict[str, bytes]:
    """The files of a run on this machine alone."""
    clean_folder(source, output, loader(deadly=deadly), STYLE, progress=False)
    return tree(output)


def draw_photos(folder: Path, count: int, killers: tuple[int, ...] = ()) -> Path:
    for number in range(count):
        colour = KILLER if number in killers else (220, 20 + number // 256, number % 256)
        put(folder / f"{number:03d}.png", draw_car(colour))
    (folder / "bad.jpg").write_bytes(b"no photo")
    (folder / "000.png").rename(folder / os.fsdecode(b"n\xf6t UTF-8.png"))
    put(folder / "empty.png", np.full((96, 128, 3), 128, np.uint8))
    return folder


class Nodes:
    """A head, and nodes of so many cores each. head: cores of the head, which can't be removed."""

    def __init__(self, count: int, cores: int, head: int = 0):
        from ray.cluster_utils import Cluster as RayCluster

        self._cluster = RayCluster()
        self.nodes: list[Any] = []
        self._cores = cores
        try:
            self._start(num_cpus=head, include_dashboard=False)
            self.address = self._cluster.address
            for _ in range(count):
                self.add()
        except BaseException:
            self.close()
            raise

    def add(self) -> None:
        self.nodes.append(self._start(num_cpus=self._cores))

    def _start(self, **options: Any) -> Any:
        """Ray gives a node 30 seconds, which a busy machine may need for its imports alone: then another one is
        started, and what is left of the first ends with this process, if not before."""
        for _ in range(_TRIES - 1):
            with suppress(Exception):
                return self._cluster.add_node(**options)
        return self._cluster.add_node(**options)

    def remove(self) -> None:
        self._cluster.remove_node(self.nodes.pop(0), allow_graceful=False)

    def close(self) -> None:
        self._cluster.shutdown()


@contextmanager
def nodes(count: int, cores: int = 1, head: int = 0) -> Iterator[Nodes]:
    before = {name: os.environ.get(name) for name in VARIABLES}
    os.environ.update(VARIABLES)
    try:
        made = Nodes(count, cores, head)
        try:
            yield made
        finally:
            made.close()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def kill_a_worker(notes: Path) -> bool:
    """One that has begun and lives; whether there is any."""
    for note in sorted(notes.iterdir()):
        note.unlink()
        with suppress(ProcessLookupError):
            if _is_worker(int(note.name)):
                os.kill(int(note.name), signal.SIGKILL)
                return True
    return False


def _is_worker(process: int) -> bool:
    """The number of one that has ended may be another's by now."""
    told = Path(f"/proc/{process}/cmdline")
    with suppress(OSError):
        return b"ray::" in told.read_bytes()
    return not Path("/proc/self").exists()


def driver(source: Path, output: Path, address: str, moment: int, notes: Path | None = None) -> list[str]:
    """The command of a driver in a process of its own, to be run in `ROOT`."""
    command = [sys.executable, "-m", "tests.clusters", str(source), str(output), address, str(moment)]
    return [*command, *([] if notes is None else [str(notes)])]


def main() -> None:
    source, output, address, moment, *notes = sys.argv[1:]

    def die(done: int, total: int) -> None:
        if 0 < int(moment) <= done:
            os.kill(os.getpid(), signal.SIGKILL)

    detector = loader(Path(notes[0]) if notes else None)
    far(Path(source), Path(output), detector, Cluster(address=address), progress=die)


if __name__ == "__main__":
    main()
