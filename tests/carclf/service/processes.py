"""Servers as processes of their own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


class Server:
    """A server that listens: `address` ('' if it ended before), its `process`, what it said on stderr in `lines`."""

    def __init__(self, *command: str, environment: Mapping[str, str] | None = None, folder: Path = ROOT):
        environment = os.environ | {"PYTHONPATH": str(ROOT)} if environment is None else environment
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, *command], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
        )
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._listening.wait(60), self.log
        found = re.search(r"http://[\d.:]+", self.log)
        self.address = found.group() if found else ""

    def _read(self) -> None:
        for line in self.process.stderr:
            self.lines.append(line)
            if "listening on" in line:
                self._listening.set()
        self._listening.set()  # it has ended

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def rss(self) -> int:
        """Resident memory, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) * 1024

    def end(self) -> int:
        code = self.process.wait(40)
        self._reader.join(10)
        return code

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *error) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def stand_in(seconds: float = 0, loading: float = 0, **settings) -> Server:
    """A server with stand-ins for models, on a free port."""
    code = "tests.carclf.service.stand_in_server"
    return Server("-m", code, json.dumps({"port": 0} | settings), str(seconds), str(loading))
