"""A training's folder, for both trainings: who works in it, how far it is, and with which settings it resumes.

The same command resumes the unfinished run in its output folder, and `--resume RUN` does so by the folder alone. A
finished run stays as it is, and one with other settings is refused. No torch here: every command may look at a run.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from detection.common.config import Config, read_config
from detection.common.console import say
from detection.common.errors import UsageError
from detection.common.files import TEMP_PREFIX, check_written, write_json, written_by
from detection.common.files.locks import Lock, NoLocks
from detection.common.places.address import without_secrets

FORMAT = 1  # of the folder, noted in state.json
CONFIG, STATE, LOCK = "config.yaml", "state.json", ".lock"
# What a disk says that is full, or not to be written any more.
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.ESTALE}


def saved_config(schema: type[Config], run: Path, settings: Sequence[str] = ()) -> Config:
    """The config of a run to resume, settings (`key=value`) over it. Raises `UsageError` for no run folder."""
    saved = Path(run) / CONFIG
    if not saved.is_file():
        raise UsageError(f"'{run}' is no run folder, as it holds no {CONFIG}: check the path.")
    check_version(run)
    return read_config(schema, saved, settings)


def check_version(run: Path) -> None:
    """Raises `UsageError` for the folder of a newer carclf, before anything else in it is found wrong."""
    path = Path(run) / STATE
    check_written(path, _read(path), FORMAT)


def check_same_settings(
    run: Path, before: Mapping[str, Any], now: Mapping[str, Any], free: Collection[str] = ()
) -> None:
    """Raises `UsageError` where a run was started with other settings than those that are `free` to change.

    before, now: the dumped configs.
    """
    changed = [key for key in now if key not in free and before.get(key) != now[key]]
    if changed:
        raise UsageError(
            f"'{run}' was started with other settings ({', '.join(changed)}): pass the same, name another output, or"
            " delete that folder to begin again."
        )


class RunState:
    """The values of state.json; of several processes that train together, the first one writes them.

    state (running, finished, failed), started, resumed (a list), ended, seconds (worked so far, over all starts),
    error (of a failed one), parent (the run or file whose weights a classifier began with), command, host, pid,
    versions, written_by; micro_batches: of stages that had to take less than their config says.
    """

    def __init__(self, run: Path, first: bool = True):
        self.run, self.first = Path(run), first
        self.path = self.run / STATE
        self.values = _read(self.path)
        self._before = float(self.values.get("seconds") or 0.0)
        self._started = time.monotonic()

    @property
    def finished(self) -> bool:
        return self.values.get("state") == "finished"

    @property
    def resumed(self) -> bool:
        """Whether this is not the run's first start."""
        return bool(self.values.get("resumed"))

    @property
    def seconds(self) -> float:
        """Of work, over all starts; of one that was killed, up to its last `update`."""
        return round(self._before + time.monotonic() - self._started, 1)

    def update(self, **values: Any) -> None:
        self.values |= {**values, "seconds": self.seconds}
        if self.first:
            write_json(self.path, self.values)

    def begin(self, versions: Mapping[str, str]) -> None:
        now = _now()
        again = {"resumed": [*self.values.get("resumed", []), now]} if "started" in self.values else {"started": now}
        about = {"command": _command(), "host": socket.gethostname(), "pid": os.getpid(), "versions": dict(versions)}
        self.values = written_by(FORMAT) | self.values | written_by(FORMAT)
        self.values.setdefault("parent", None)
        self.update(**{"state": "running", "ended": None, "error": None} | again | about)

    def finish(self) -> None:
        self.update(state="finished", ended=_now())

    def fail(self, error: BaseException) -> None:
        """By whichever process fails: the first may be ended before it can say anything."""
        said = "stopped by hand" if isinstance(error, KeyboardInterrupt) else str(error).strip() or type(error).__name__
        self.values |= {"state": "failed", "ended": _now(), "error": said.splitlines()[0], "seconds": self.seconds}
        if self.path.exists():  # not when the run folder was discarded
            with suppress(OSError):  # the disk may be what failed
                write_json(self.path, self.values)


@contextmanager
def recorded(state: RunState, versions: Mapping[str, str], verb: str, same_command: bool = True) -> Iterator[None]:
    """Keeps state.json while a run is trained, under its lock; says how to resume the run when it is stopped.

    versions: of what the result depends on. verb: of the command that takes `--resume`. same_command: whether the same
    command resumes the run, too. A photo that can't be read any more, and a disk that takes no more, are raised as
    `UsageError`.
    """
    command = f"carclf {verb} --resume {shlex.quote(str(state.run))}"
    try:
        if state.first:
            remove_leftovers(state.run)
        state.begin(versions)
        yield
        state.finish()
    except BaseException as error:
        told = _told(error, state.run, command)
        state.fail(told)
        if isinstance(error, KeyboardInterrupt) and state.first:
            where = f" {error}" if str(error) else ""
            say(f"Stopped{where}: {f'the same command, or {command},' if same_command else command} resumes it.")
        if told is error:
            raise
        raise told from error


def _told(error: BaseException, run: Path, command: str) -> BaseException:
    """What a training ends with, as a sentence where it is nobody's bug; else the error as it is."""
    from detection.images.read import ImageError

    if isinstance(error, ImageError):
        return UsageError(f"{_own_words(error)} Put that photo back as it was; then `{command}` resumes the run.")
    if isinstance(error, UsageError):
        own = _own_words(error)
        return error if own == str(error) else UsageError(own)
    if isinstance(error, OSError) and error.errno in _DISK:
        return UsageError(
            f"The run folder '{run}' can't be written ({error.strerror}): make room, or mend that; then `{command}` "
            "resumes the run from its last checkpoint."
        )
    if isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker"):
        return UsageError(
            f"A process that reads photos has been killed ({_own_words(error)}), perhaps as memory ran out: set fewer "
            f"workers; `{command} workers=0` resumes the run without any."
        )
    return error


def _own_words(error: Exception) -> str:
    """The message; a reader process of torch's wraps it into its traceback, of which it is the end."""
    text = str(error).strip()
    if not text.startswith("Caught "):
        return text
    name = f"{type(error).__name__}: "
    return text[text.rindex(name) + len(name) :] if name in text else text.splitlines()[-1]


@contextmanager
def locked(run: Path, first: bool = True) -> Iterator[None]:
    """Two trainings in one folder would spoil each other's files. Makes the folder; one that stays empty goes again.

    first: whether this process locks for those that train with it. Raises `UsageError` when another process of this
    machine trains the run, or the folder can't be written.
    """
    if not first:
        yield
        return
    lock, new = Lock(run / LOCK), not run.exists()
    try:
        run.mkdir(parents=True, exist_ok=True)
        free = lock.take()
    except NoLocks as error:
        if error.errno in _DISK:
            raise UsageError(f"The run folder '{run}' can't be written: {error.strerror}.") from error
        free = True  # a file system without locks
    except OSError as error:
        raise UsageError(f"The run folder '{run}' can't be written: {error.strerror}.") from error
    if not free:
        raise UsageError(f"'{run}' is being trained by another process: wait for it, or stop it first.")
    try:
        yield
    finally:
        lock.release()
        if new and run.is_dir() and not any(run.iterdir()):
            run.rmdir()


def say_finished(run: Path) -> None:
    say(f"{run} is finished already")


def remove_leftovers(run: Path) -> None:
    """What a killed process was writing. Only where trainings write: a run folder may hold 100,000 cut-outs as well."""
    for file in run.glob("hpc_ckpt_*.ckpt"):
        file.unlink(missing_ok=True)
        say(
            f"{file.name} is removed: version 0.4 wrote it at a signal of SLURM, and stages that began later started"
            f" from it. Where there were any, delete '{run}' to begin again."
        )
    checkpoints = run / "checkpoints"
    for folder in (run, run / "stages", run / "validation", checkpoints, *checkpoints.glob("*/")):
        for file in folder.glob(f"{TEMP_PREFIX}*"):
            if file.suffix in (".tmp", ".ckpt"):  # .ckpt: of version 0.4
                file.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _command() -> str:
    program = Path(sys.argv[0]).name
    told = map(without_secrets, sys.argv[1:])
    return shlex.join([program if program.startswith("carclf") else sys.argv[0], *told])
