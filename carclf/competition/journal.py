"""The answers that a submission has so far: a file of lines that survives kill -9, and is the run's lock."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path

from detection.errors import UsageError


class SubmissionJournal:
    """The first line holds the settings, each further one an answer; a later one to the same id replaces the earlier.

    `answers` holds those that are there: id -> row. Raises `UsageError` for answers of other settings, while another
    run has the file open, and where it can't be written.
    """

    def __init__(self, path: Path, settings: Mapping, restart: bool = False):
        self.path = path
        self.answers: dict[str, dict] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise UsageError(f"'{path}' can't be written: {error.strerror}.") from error
        try:
            self._lock()
            self._recover(json.loads(json.dumps(settings)), restart)
        except BaseException:
            os.close(self._file)
            raise

    def add(self, id: str, row: Mapping) -> None:
        self.answers[id] = dict(row)
        self._append({"id": id, **row})

    def close(self, done: bool) -> None:
        """done: the submission is written, so the file goes away."""
        if done:
            self.path.unlink(missing_ok=True)
        os.close(self._file)

    def _append(self, values: Mapping) -> None:
        # ASCII with escapes: one write a line, and also ids that are not UTF-8 come back.
        line = json.dumps(values).encode("ascii") + b"\n"
        try:
            if os.write(self._file, line) == len(line):
                return
            reason = "the disk is full"
        except OSError as error:
            reason = error.strerror
        raise UsageError(f"'{self.path}' can't be written: {reason}; the same command goes on from here.")

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"Another run writes to '{self.path}': wait for it, or choose another output.") from error
        except OSError:  # a file system without locks
            pass

    def _recover(self, settings: dict, restart: bool) -> None:
        with os.fdopen(os.dup(self._file), "rb") as content:
            content.seek(0)
            lines = content.read().splitlines(keepends=True)
        if lines and not lines[-1].endswith(b"\n"):  # torn by a kill
            os.ftruncate(self._file, sum(map(len, lines[:-1])))
            lines.pop()
        if restart or not lines:
            os.ftruncate(self._file, 0)
            self._append(settings)
            return
        rows = [row for line in lines if (row := _parsed(line)) is not None]
        before = rows[0] if rows else {}
        other = [key for key in settings if before.get(key) != settings[key]]
        if other:
            raise UsageError(
                f"'{self.path}' holds answers of a run with another {', '.join(other)}: pass the same to go on, "
                "--restart to begin again, or another output."
            )
        self.answers = {row.pop("id"): row for row in rows[1:] if isinstance(row.get("id"), str)}


def _parsed(line: bytes) -> dict | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None
