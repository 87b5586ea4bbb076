"""state.json of a run folder: whether its training runs, has ended or failed, where, since when, from what."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import timm
import torch

from carclf.training.distributed import is_first
from carclf.training.record.checkpoints import remove_leftovers
from carclf.version import __version__
from detection.common.errors import UsageError
from detection.common.files import write_json

NAME = "state.json"
LOCK = ".lock"


class RunState:
    """The values of state.json; the first process of a training writes them.

    state (running, finished, failed), started, resumed (a list), ended, seconds (worked so far, over all starts),
    error (of a failed one), parent (the run or file whose weights it began with), command, host, pid, versions;
    micro_batches: of stages that had to take less than their config says.
    """

    def __init__(self, run: Path):
        self.path = run / NAME
        self.values = _read(self.path)
        self._before = float(self.values.get("seconds") or 0.0)
        self._started = time.monotonic()

    @property
    def finished(self) -> bool:
        return self.values.get("state") == "finished"

    @property
    def seconds(self) -> float:
        """Of work, over all starts; of one that was killed, up to its last `update`."""
        return round(self._before + time.monotonic() - self._started, 1)

    def update(self, **values: Any) -> None:
        self.values |= {**values, "seconds": self.seconds}
        if is_first():
            write_json(self.path, self.values)

    def begin(self) -> None:
        now = _now()
        again = {"resumed": [*self.values.get("resumed", []), now]} if "started" in self.values else {"started": now}
        about = {"command": _command(), "host": socket.gethostname(), "pid": os.getpid(), "versions": versions()}
        self.values.setdefault("parent", None)
        self.update(**{"state": "running", "ended": None, "error": None} | again | about)

    def fail(self, error: BaseException) -> None:
        """By whichever process fails: the first may be ended before it can say anything."""
        said = "stopped by hand" if isinstance(error, KeyboardInterrupt) else str(error).strip() or type(error).__name__
        self.values |= {"state": "failed", "ended": _now(), "error": said.splitlines()[0], "seconds": self.seconds}
        if self.path.exists():  # not when the run folder was discarded
            write_json(self.path, self.values)


@contextmanager
def recorded(run: Path) -> Iterator[RunState]:
    """The state of a run while it is trained; of one that is finished already, which stays as it is.

    Raises `UsageError` when another process of this machine trains it.
    """
    with _locked(run):
        state = RunState(run)
        if state.finished:
            yield state
            return
        if is_first():
            remove_leftovers(run)
        state.begin()
        try:
            yield state
        except BaseException as error:
            state.fail(error)
            raise
        state.update(state="finished", ended=_now())


def versions() -> dict[str, str]:
    """Of what a result depends on."""
    return {
        "carclf": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "pytorch_lightning": pl.__version__,
        "timm": timm.__version__,
    }


@contextmanager
def _locked(run: Path) -> Iterator[None]:
    """Two trainings in one folder would spoil each other's files."""
    if not is_first():
        yield
        return
    path = run / LOCK
    with open(path, "a+b") as file:
        try:
            # A record lock: it ends with this process, even where reader processes that it forked live on for seconds.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise UsageError(f"'{run}' is being trained by another process: wait for it, or stop it first.") from None
        except OSError:
            pass  # a file system without locks
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _read(path: Path) -> dict:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _command() -> str:
    program = Path(sys.argv[0]).name
    return shlex.join([program if program.startswith("carclf") else sys.argv[0], *sys.argv[1:]])
