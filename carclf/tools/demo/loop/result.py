"""What a circle of `carclf loop demo` came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from carclf.tools.backgrounds.paired import Estimate
from carclf.tools.demo.loop.faults import Verdict

FAULTY, CORRECTED, RIGHT = "faulty", "corrected", "right"
TRAININGS = (FAULTY, CORRECTED, RIGHT)


@dataclass(frozen=True, eq=False)
class LoopResult:
    """planted: faults among the labels that were learnt from, of `photos`. decisions: of the person, in order.
    accuracies: of each training, on the `held` photos; gain: of the corrected labels over the faulty ones."""

    page: Path
    photos: int
    held: int
    planted: int
    decisions: Sequence[Verdict]
    accuracies: dict[str, float]
    gain: Estimate

    @property
    def found(self) -> int:
        return sum(one.corrected for one in self.decisions)

    def __str__(self) -> str:
        before, after, best = (f"{self.accuracies[name]:.1%}" for name in TRAININGS)
        return (
            f"{self.planted} of {self.photos} labels were wrong; of the {len(self.decisions)} that the audit listed "
            f"first, {self.found} were, and were corrected. Accuracy on {self.held} other photos, all rightly "
            f"labelled: {before} before, {after} after, a gain of {100 * self.gain.value:+.1f} points (95 % interval "
            f"{100 * self.gain.low:+.1f} to {100 * self.gain.high:+.1f}); {best} with no wrong label at all."
        )
