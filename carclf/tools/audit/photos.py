"""photos.jsonl: what an audit knows of every photo, suspicious or not, for `carclf review`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from carclf.datasets.check.check import DataCheck
from carclf.tools.audit.looks import Look
from detection.common.files import replace_chunks, written_by
from detection.common.rows import json_line

PHOTOS = "photos.jsonl"
FORMAT = 1
_BEST = 5


def write_photos(
    path: Path,
    check: DataCheck,
    looks: Sequence[Look | None],
    digests: Sequence[str],
    probabilities: np.ndarray,
    classes: Sequence[str],
) -> None:
    """The first line names the folder of the photos (`root`); then one line per row of `check`, in its order: file
    (below root), class, split, sha256 (16 digits, empty for what can't be read), reason (why it can't), size (width and
    height), box and outline (as in `Look`), top ([class, probability], best first). What is not known is left out.

    probabilities: float32 [N, C] of `classes`, rows of zeros where nothing is known. By temp file and rename.
    """

    def lines() -> Iterator[bytes]:
        yield json_line({"root": str(check.root), "audit": FORMAT, **written_by(FORMAT)})
        for photo, row in enumerate(check.rows.to_dict("records")):
            look = looks[photo]
            seen = {} if look is None else {"size": look.size, "box": look.box, "outline": look.outline}
            best = np.argsort(-probabilities[photo], kind="stable")[:_BEST]
            top = [[classes[one], round(float(probabilities[photo, one]), 4)] for one in best]
            told = {
                "file": row["file"],
                "class": row["label"],
                "split": row["split"],
                "sha256": digests[photo],
                "reason": row["reason"],
                **seen,
                "top": [pair for pair in top if pair[1] > 0],
            }
            yield json_line({key: value for key, value in told.items() if value not in (None, "", [])} | {"n": photo})

    replace_chunks(path, lines())
