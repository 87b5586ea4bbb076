"""How fast a model and its export answer, side by side."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from carclf.recognition.recognizer import CarRecognizer


def compare_times(model: CarRecognizer, export: CarRecognizer, files: Sequence[Path]) -> dict[str, float]:
    """Medians over the photos, one at a time and in turns: seconds of each (`model`, `export`), and the `ratio` of the
    model's to the export's."""
    pairs = []
    for both in ((model, export), (export, model)):  # whoever comes second finds the photo in the cache
        both[0](str(files[0])), both[1](str(files[0]))
        for file in files:
            seconds = {}
            for one in both:
                start = time.perf_counter()
                one(str(file))
                seconds[one] = time.perf_counter() - start
            pairs.append((seconds[model], seconds[export]))
    return {
        "photos": len(files),
        "model": round(median(one for one, _ in pairs), 5),
        "export": round(median(other for _, other in pairs), 5),
        "ratio": round(median(one / other for one, other in pairs), 3),
    }
