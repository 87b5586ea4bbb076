"""Whole processes, measured by the operating system, and the checkouts that are compared. Not on Windows."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BEFORE = "0558251"  # the commit of version 0.4.0
_UNIT = 2**20 if sys.platform == "darwin" else 2**10  # of ru_maxrss in a MiB


@dataclass(frozen=True)
class Checkout:
    """A checkout of carclf, and the Python that runs it."""

    name: str
    folder: Path
    python: str

    def command(self, *arguments: object) -> list[str]:
        return [self.python, "-W", "ignore", "-m", "carclf.cli", *map(str, arguments)]


@dataclass(frozen=True)
class Cost:
    """Of a whole process: seconds on the clock and of processors, and the most memory that it had at a time, MiB."""

    seconds: float
    processor: float
    peak: float

    @classmethod
    def median(cls, costs: Sequence[Cost]) -> Cost:
        return cls(
            *(statistics.median(getattr(cost, name) for cost in costs) for name in ("seconds", "processor", "peak"))
        )


def add_checkouts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--against", type=Path, help="a checkout of 0.4.0; without it, one is made by git worktree")
    parser.add_argument("--against-python", default=sys.executable, help="the Python that runs it (this one)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each, in turns (5)")


@contextlib.contextmanager
def checkouts(arguments: argparse.Namespace) -> Iterator[list[Checkout]]:
    """0.4.0 and today's, in that order; a worktree that was made goes away at the end."""
    today = Checkout("today", ROOT, sys.executable)
    if arguments.against is not None:
        yield [Checkout("0.4.0", arguments.against.resolve(), arguments.against_python), today]
        return
    with tempfile.TemporaryDirectory(prefix="carclf-before-") as name:
        folder = Path(name) / "carclf"
        subprocess.run(["git", "-C", ROOT, "worktree", "add", "--detach", "-q", folder, BEFORE], check=True)
        try:
            yield [Checkout("0.4.0", folder, arguments.against_python), today]
        finally:
            subprocess.run(["git", "-C", ROOT, "worktree", "remove", "--force", folder], check=True)


def measure(command: Sequence[str], folder: Path) -> Cost:
    """Runs a command in a folder. Raises SystemExit with its last lines when it fails."""
    with tempfile.TemporaryFile("w+", prefix="carclf-measured-") as log:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=environment(folder), stdout=log, stderr=log)
        cost = ended(process, began)
        if process.returncode != 0:
            log.seek(0)
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{log.read()[-2000:]}")
    return cost


def ended(process: subprocess.Popen, began: float) -> Cost:
    """Waits for a process; what it cost since `began` (of `time.perf_counter`)."""
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)  # nobody else can ask for it any more
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / _UNIT)


def environment(folder: Path) -> Mapping[str, str]:
    return os.environ | {"PYTHONPATH": str(folder)}


def start_service(checkout: Checkout, options: Sequence[str], log) -> tuple[subprocess.Popen, str, float]:
    """The process, its address, and the seconds from the command until it is ready. log: an open file, by name."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = checkout.command("serve", "--port", port, *options)
    began = time.perf_counter()
    server = subprocess.Popen(
        command, cwd=checkout.folder, stdout=log, stderr=log, env=environment(checkout.folder)
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    while server.poll() is None:
        asked = http.client.HTTPConnection("127.0.0.1", port, timeout=5)  # next to no work beside the server's
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(asked):
            asked.request("GET", "/readyz")
            if asked.getresponse().status == 200:
                return server, address, time.perf_counter() - began
        time.sleep(0.02)
    raise SystemExit(f"The server ended: {Path(log.name).read_text()}")


def in_turns(contestants: Mapping[str, Callable[[], Cost]], rounds: int) -> dict[str, Cost]:
    """The median of each, all in turns, so that other load on the machine meets all alike."""
    seen: dict[str, list[Cost]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            seen[name].append(run())
    return {name: Cost.median(costs) for name, costs in seen.items()}


def machine() -> str:
    """For the line above a table."""
    from benchmarks.training_speed import processor
    from detection.common.machine import usable_cores

    load = os.getloadavg()[0]
    return f"{processor()}, {usable_cores()} cores, load {load:.1f} before"
