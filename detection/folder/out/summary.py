"""How a folder run ended."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from detection.common.files import written_by
from detection.common.tally import StatusCounts, counted, exit_code
from detection.folder.out.manifest import FAILED, STATUSES
from detection.folder.plan import FORMAT


@dataclass(frozen=True)
class CleanSummary:
    """`counts` is of all rows by status, `processed` of the photos that this run did itself.

    `busy` is the share of its threads' time (0..1) that each of read, detect, cut and write worked; empty when
    nothing was to do. `what` tells of a run that did something else than photos. `missed` is the number of folders
    below IN that could not be read.
    """

    counts: dict[str, int]
    processed: int
    seconds: float
    manifest: Path
    notes: tuple[str, ...] = ()
    busy: Mapping[str, float] = field(default_factory=dict)
    what: str = ""
    missed: int = 0

    @property
    def photos_per_second(self) -> float:
        return self.processed / self.seconds if self.seconds > 0 else 0.0

    @property
    def bound_by(self) -> str:
        """The part that bounded the run: read, detect, cut or write; empty when nothing was to do."""
        return bound_by(self.busy) if self.busy else ""

    @property
    def tally(self) -> StatusCounts:
        return StatusCounts(self.counts, STATUSES, FAILED)

    @property
    def exit_code(self) -> int:
        """0, or 3 when some photos or folders failed; a photo without a car is an answer, not a failure."""
        return self.tally.exit_code or exit_code(self.missed)

    def __str__(self) -> str:
        tally = self.tally
        earlier = tally.total - self.processed
        done = self.what or "nothing to do"
        if self.processed:
            done = f"{self.processed} now at {self.photos_per_second:.1f} photos/s"
        before = f", {earlier} earlier" if earlier and not self.what else ""
        text = f"{counted(tally.total, 'photo')}: {str(tally) or 'none'} ({done}{before})."
        if not self.busy:
            return text
        shares = ", ".join(f"{part} {self.busy[part]:.0%}" for part in PARTS)
        return f"{text} Bound by {self.bound_by}: busy were {shares}."

    def as_json(self) -> bytes:
        """The content of run.json."""
        values = {
            "counts": self.counts,
            "processed": self.processed,
            "seconds": round(self.seconds, 3),
            "photos_per_second": round(self.photos_per_second, 3),
            "bound_by": self.bound_by,
            "busy": {part: round(share, 4) for part, share in self.busy.items()},
            "peak_memory_mb": peak_memory(),
            **written_by(FORMAT),
        }
        return json.dumps(values, indent=2).encode("ascii") + b"\n"


def peak_memory() -> int | None:
    """The most memory that this process has held so far, in MB; None where Python can't ask for it, as on Windows."""
    try:
        import resource
    except ImportError:
        return None
    if sys.platform == "win32":  # said for type checkers: the import has failed
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most // (1 << 20 if sys.platform == "darwin" else 1 << 10)


PARTS = ("read", "detect", "cut", "write")


def bound_by(busy: Mapping[str, float]) -> str:
    """The part that bounds a run: the one whose threads are the busiest.

    >>> bound_by({"read": 0.2, "detect": 0.9, "cut": 0.5, "write": 0.3})
    'detect'
    """
    finishing = busy["cut"] + busy["write"]  # in the same threads, one after the other
    if finishing > max(busy["read"], busy["detect"]):
        return "cut" if busy["cut"] >= busy["write"] else "write"
    return "read" if busy["read"] > busy["detect"] else "detect"
