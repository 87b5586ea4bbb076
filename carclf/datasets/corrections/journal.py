"""The journal of decisions in a folder: a line each, on the disk before it counts, and nothing is ever taken back.

`corrections.jsonl`: the first line says the format, each further one is a `Decision`. An undo is a line, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from carclf.datasets.corrections.decision import UNDO, Decision, History
from detection.common.errors import UsageError
from detection.common.files import check_written, replace_file, user_path, written_by
from detection.common.places.address import scheme_of
from detection.common.rows import RowLog, json_line, parse_row

NAME = "corrections.jsonl"
BESIDE = ".review"  # the folder of a source that is a file is called as the file, with this ending
FORMAT = 1
_HEAD = 65536  # bytes of the first line, at most


def journal_folder(source: str | Path) -> Path:
    """Where the journal of a source lies: in the folder itself, or in one beside the file. Raises `UsageError`."""
    if scheme_of(str(source)):
        raise UsageError(f"'{source}' is not on this machine: copy it here, decisions are kept beside it.")
    path = user_path(source)
    return path if path.is_dir() else path.with_name(path.name + BESIDE)


def journal_file(corrections: str | Path) -> Path:
    """The journal that a person means: the file itself, one in a folder, or the one of a reviewed file or folder.

    Raises `UsageError` where there is none.
    """
    folder = journal_folder(corrections)
    path = user_path(corrections)
    if path.is_file() and path.suffix == ".jsonl" and _is_journal(path):
        return path
    found = folder / NAME
    if not found.is_file():
        what = "is not there" if not path.exists() else f"has no {NAME}"
        raise UsageError(f"'{corrections}' {what}: name a folder or file that was reviewed with `carclf review`.")
    return found


def read_decisions(path: Path) -> list[Decision]:
    """All lines of a journal, oldest first; one that a kill has torn is left out. Raises `UsageError`."""
    log = RowLog(path, read_only=True)
    try:
        return list(_decisions(path, log))
    except OSError as error:
        raise UsageError(f"'{path}' can't be read: {error.strerror}.") from error
    finally:
        log.close()


def journal_hash(path: Path) -> str:
    """The SHA-256 of a journal's bytes, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Journal:
    """A journal that this process writes; no other one does meanwhile. Not for several threads at once."""

    def __init__(self, folder: Path):
        """Raises `UsageError` where it can't be written, is no journal, or another process has it."""
        self.path = folder / NAME
        self.histories: dict[str, History] = {}
        self._known: set[str] = set()
        self._last_of: dict[str, list[str]] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            new = not self.path.exists()
            self._log = RowLog(self.path)
        except BlockingIOError as error:
            raise UsageError(f"Another `carclf review` has '{folder}' open: use its page, or end it.") from error
        except OSError as error:
            raise UsageError(f"'{self.path}' can't be written: {error.strerror}.") from error
        try:
            for decision in _decisions(self.path, self._log):
                self._take(decision)
            self._log.repair()
            if not self._log.end:
                self._log.append(json_line({"corrections": FORMAT, **written_by(FORMAT)}))
            self._log.sync(folder if new else None)
        except OSError as error:
            self._log.close()
            raise UsageError(f"'{self.path}' can't be written: {error.strerror}.") from error
        except BaseException:
            self._log.close()
            raise

    def knows(self, id: str) -> bool:
        """Whether a line has that id: one that was sent twice is written once."""
        return id in self._known

    def history(self, digest: str) -> History:
        """Of the photo with that content; an empty one where nothing was decided."""
        return self.histories.get(digest) or History()

    def add(self, decisions: Sequence[Decision]) -> None:
        """Appends lines, all or none, and returns when they are on the disk. Raises OSError.

        What a program decides about a photo that a human has decided on is left out.
        """
        kept = [one for one in decisions if one.human or not self._by_human(one.sha256)]
        if not kept:
            return
        self._log.append(b"".join(json_line(one.row()) for one in kept))
        self._log.sync()
        for one in kept:
            self._take(one)

    def last_batch(self, by: str) -> list[Decision]:
        """What this person decided last, and has not undone: the lines of one batch."""
        batches = self._last_of.get(by, [])
        while batches:
            found = [
                one for history in self.histories.values() for one in history.standing
                if one.by == by and (one.batch or one.id) == batches[-1]
            ]  # fmt: skip
            if found:
                return found
            batches.pop()
        return []

    def close(self) -> None:
        self._log.close()

    def _by_human(self, digest: str) -> bool:
        found = self.history(digest).in_force
        return found is not None and found.human

    def _take(self, decision: Decision) -> None:
        self._known.add(decision.id)
        self.histories.setdefault(decision.sha256, History()).add(decision)
        if decision.decision != UNDO:
            batches = self._last_of.setdefault(decision.by, [])
            batch = decision.batch or decision.id
            if not batches or batches[-1] != batch:
                batches.append(batch)


def _decisions(path: Path, log: RowLog) -> Iterator[Decision]:
    lines = log.lines()
    first = next(lines, None)
    if first is None:
        return
    head = parse_row(first[1])
    if head is None or "corrections" not in head:
        raise UsageError(f"'{path}' is no journal of decisions: move it away.")
    check_written(path, head, FORMAT)
    for _, line in lines:
        decision = Decision.of_row(parse_row(line) or {})
        if decision is not None:
            yield decision


def _is_journal(path: Path) -> bool:
    with open(path, "rb") as file:
        head = parse_row(file.readline(_HEAD))
    return head is not None and "corrections" in head


def read_about(path: Path) -> dict[str, Any] | None:
    """What `write_decisions` noted; None where there is no such file, or it says nothing."""
    if not path.is_file():
        return None
    with open(path, "rb") as file:
        about = (parse_row(file.readline(_HEAD)) or {}).get("about")
    return about if isinstance(about, dict) else None


def write_decisions(path: Path, decisions: Iterable[Decision], about: Mapping[str, Any]) -> None:
    """A journal of just these lines, by temp file and rename; `read_about` gives back what its first line says."""
    head = json_line({"corrections": FORMAT, "about": about, **written_by(FORMAT)})
    replace_file(path, head + b"".join(json_line(one.row()) for one in decisions))
