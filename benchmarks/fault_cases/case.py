"""One case: a folder with cmd.sh and its files, copied to where it can do no harm, and run with this carclf."""

from __future__ import annotations

import csv
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHECKS: dict[str, Callable[[Case], None]] = {}


class Broken(Exception):
    """The case does not hold; the text says what was found."""


class Skipped(Exception):
    """The case can't be run here; the text says what is missing."""


@dataclass
class Done:
    """What a command wrote (stdout and stderr in their order) and its exit code."""

    text: str
    code: int

    def has(self, *patterns: str) -> None:
        """Raises `Broken` unless each regular expression is found."""
        for pattern in patterns:
            if not re.search(pattern, self.text):
                raise Broken(f"{pattern!r} is not in: {self.text[-700:]}")

    def lacks(self, *patterns: str) -> None:
        for pattern in patterns:
            if re.search(pattern, self.text):
                raise Broken(f"{pattern!r} is in: {self.text[-700:]}")


@dataclass
class Case:
    """source: the folder of the case. work: an empty folder of its own; /tmp in a command means this one."""

    source: Path
    work: Path
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for other in self.source.parent.iterdir():
            if other.is_dir() and other.name != self.source.name:
                (self.work / other.name).symlink_to(other)
        shutil.copytree(self.source, self.folder)
        binaries = self.work / "bin"
        binaries.mkdir()
        program = binaries / "carclf"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m carclf "$@"\n')
        program.chmod(0o755)
        (self.work / "home").mkdir()
        self.variables |= {
            "PATH": f"{binaries}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "CARCLF": "carclf",
            "HOME": str(self.work / "home"),
            "XDG_CACHE_HOME": str(self.work / "home" / ".cache"),
            "TMPDIR": str(self.work),
            "PYTHONPATH": str(ROOT),
        }

    @property
    def folder(self) -> Path:
        """The copy, where commands run."""
        return self.work / self.source.name

    def script(self, *arguments: str, seconds: float = 600) -> Done:
        """Runs cmd.sh."""
        script = self.folder / "cmd.sh"
        text = script.read_text(encoding="utf-8", errors="surrogateescape").replace("/tmp/", f"{self.work}/")
        script.write_text(text, encoding="utf-8", errors="surrogateescape")
        return self.shell(f"bash ./cmd.sh {' '.join(arguments)}", seconds)

    def shell(self, command: str, seconds: float = 600) -> Done:
        """Runs one line of bash in the folder."""
        done = subprocess.run(
            ["timeout", "-k", "10", str(seconds), "bash", "-c", command],
            cwd=self.folder,
            env=os.environ | self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        text = done.stdout.decode("utf-8", "replace")
        if "Traceback (most recent call last)" in text:
            raise Broken(f"a traceback: {text[-700:]}")
        return Done(text, done.returncode)

    def rows(self, pattern: str) -> list[dict[str, str]]:
        """The rows of the one csv file below `work` that fits the pattern."""
        (path,) = self.work.glob(pattern)
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    @contextmanager
    def running(self, command: str) -> Iterator[Path]:
        """A process in the background, ended afterwards. Yields the file of what it says."""
        log = self.work / f"{len(list(self.work.glob('*.log')))}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.folder,
                env=os.environ | self.variables,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            yield log
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    @contextmanager
    def serving(self, options: str = "") -> Iterator[int]:
        """A ready `carclf serve`; yields its port."""
        port = free_port()
        self.variables["PORT"] = str(port)
        with self.running(f"carclf serve --port {port} {options}") as log:
            wait_until(lambda: status(port, "/readyz") == 200, 180, lambda: log.read_text()[-500:])
            yield port


def check(name: str) -> Callable[[Callable[[Case], None]], Callable[[Case], None]]:
    """Registers what is right for the case of this name."""

    def register(function: Callable[[Case], None]) -> Callable[[Case], None]:
        CHECKS[name] = function
        return function

    return register


def need(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            raise Skipped(f"needs {program}")


def equal(found: object, wanted: object) -> None:
    if found != wanted:
        raise Broken(f"found {found!r}, wanted {wanted!r}")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def status(port: int, path: str, seconds: float = 5) -> int | None:
    """The HTTP status of a GET on this machine; None without an answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=seconds) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def wait_until(holds: Callable[[], bool], seconds: float, what: Callable[[], str]) -> None:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise Broken(f"not within {seconds:.0f} s: {what()}")
        time.sleep(0.2)
