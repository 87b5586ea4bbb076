"""Clusters of several nodes on this machine, and detectors that die in their workers.

`python -m tests.clusters IN OUT ADDRESS MOMENT` is a driver that kills itself after so many photos.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from detection.cluster.connect import Cluster
from detection.folder.run import clean_folder
from tests.fakes import FakeDetector, draw_car
from tests.folder_runs import ROOT, STYLE, put

KILLER = (20, 20, 220)


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


def draw_photos(folder: Path, count: int, killers: tuple[int, ...] = ()) -> Path:
    for number in range(count):
        put(folder / f"{number:03d}.png", draw_car(KILLER if number in killers else (220, 20, number)))
    (folder / "bad.jpg").write_bytes(b"no photo")
    (folder / "000.png").rename(folder / os.fsdecode(b"n\xf6t UTF-8.png"))
    put(folder / "empty.png", np.full((96, 128, 3), 128, np.uint8))
    return folder


class Nodes:
    """A head without cores, and nodes of so many each."""

    def __init__(self, count: int, cores: int):
        from ray.cluster_utils import Cluster as RayCluster

        self._cluster = RayCluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "include_dashboard": False},
        )
        self.address = self._cluster.address
        self.nodes: list[Any] = []
        self._cores = cores
        for _ in range(count):
            self.add()

    def add(self) -> None:
        self.nodes.append(self._cluster.add_node(num_cpus=self._cores))

    def remove(self) -> None:
        self._cluster.remove_node(self.nodes.pop(0), allow_graceful=False)

    def close(self) -> None:
        self._cluster.shutdown()


@contextmanager
def nodes(count: int, cores: int = 1) -> Iterator[Nodes]:
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(ROOT)  # for the workers, which unpickle what is defined here
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 Ray's own spelling; else all other work on this machine comes first
    made = Nodes(count, cores)
    try:
        yield made
    finally:
        made.close()
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before


def kill_a_worker(notes: Path) -> None:
    """One that has begun and lives."""
    for note in sorted(notes.iterdir()):
        note.unlink()
        try:
            os.kill(int(note.name), signal.SIGKILL)
            return
        except ProcessLookupError:
            pass


def main() -> None:
    source, output, address, moment = sys.argv[1:]

    def die(done: int, total: int) -> None:
        if done >= int(moment):
            os.kill(os.getpid(), signal.SIGKILL)

    far(Path(source), Path(output), loader(), Cluster(address=address), progress=die)


if __name__ == "__main__":
    main()
