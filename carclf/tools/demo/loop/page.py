"""index.html of the loop demo: what was wrong, what was found, what was gained; in one file with its pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from carclf.datasets.names import file_below
from carclf.runs.report.pages import Figure, learning_charts, render_page
from carclf.runs.tables import read_epochs
from detection.common.files import escape_name
from detection.images.read import ImageError, load_image

if TYPE_CHECKING:
    from carclf.tools.demo.loop.faults import Verdict
    from carclf.tools.demo.loop.result import LoopResult

_MOST = 60  # pictures of a kind
_HIGH = 110  # pixels


@dataclass(frozen=True, eq=False)
class Shown:
    """judged: the photos that judge: columns file and label, and the answers of each training. runs: by name."""

    result: LoopResult
    root: Path
    folder: Path
    judged: pd.DataFrame
    runs: Mapping[str, Path]


def render(shown: Shown) -> str:
    """The page as HTML text."""
    result = shown.result
    return render_page(
        "loop.html.j2",
        title="The closed loop: look, correct, learn again",
        lead=str(result),
        figures=_figures(result),
        corrected=[_card(shown, one) for one in result.decisions if one.corrected][:_MOST],
        agreed=[_card(shown, one) for one in result.decisions if not one.corrected][:_MOST],
        won=_changed(shown, "faulty", "corrected"),
        lost=_changed(shown, "corrected", "faulty"),
        charts=[
            (said, learning_charts(read_epochs(shown.runs[name])))
            for name, said in (("faulty", "Before"), ("corrected", "After"))
        ],
        high=_HIGH,
        commands=[
            ("What seems wrong with your photos", "carclf data audit PHOTOS --output AUDIT"),
            ("Train where hard photos come more often", "carclf train CONFIG data=PHOTOS difficulty=AUDIT "
             "stages.NAME.sampling=hard"),
        ],
        places=[
            ("Photos, if they were drawn", "scenes"),
            ("What the audit says of them", "audit/audit.html"),
            ("What was decided", "audit/corrections.jsonl"),
            ("The trainings: wrong labels, corrected, all right", "faulty, corrected, right"),
            ("Answers on the photos that judge", "held_out.csv"),
        ],
    )  # fmt: skip


def _figures(result: LoopResult) -> list[Figure]:
    gain = result.gain
    held = f"top-1 on {result.held} photos with right labels"
    most = f"{held}; {result.accuracies['right']:.1%} with no wrong label at all"
    return [
        Figure(f"{result.planted}", "wrong labels", f"planted among {result.photos}"),
        Figure(f"{result.found}", "found and corrected", f"in {len(result.decisions)} photos looked at"),
        Figure(f"{result.accuracies['faulty']:.1%}", "before", held),
        Figure(f"{result.accuracies['corrected']:.1%}", "after", most),
        Figure(
            f"{100 * gain.value:+.1f}",
            "points gained",
            f"95 % interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f}",
        ),
    ]


def _card(shown: Shown, one: Verdict) -> dict:
    image = _image(file_below(shown.root, one.file))
    return {"image": image, "label": one.label, "right": one.right, "score": one.score, "suspected": one.suspected,
            "file": escape_name(one.file)}  # fmt: skip


def _changed(shown: Shown, before: str, after: str) -> list[dict]:
    """Photos that one training names wrong and the other one right."""
    rows = shown.judged
    changed = rows[(rows[before] != rows["label"]) & (rows[after] == rows["label"])]
    return [
        {"image": _image(row["file"]), "label": row["label"], "answer": row[before]}
        for row in changed.to_dict("records")
    ][:_MOST]


def _image(file: str) -> np.ndarray | None:
    try:
        return load_image(file, max_side=3 * _HIGH)
    except (ImageError, OSError):
        return None
