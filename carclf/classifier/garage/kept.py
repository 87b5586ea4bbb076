"""Vectors of cars as an audit keeps them: by the photo's content, in the lines of looks.jsonl."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np

from detection.common.errors import UsageError
from detection.common.files import user_path
from detection.common.rows import RowLog, parse_row

LOOKS = "looks.jsonl"


def packed(values: np.ndarray) -> str:
    """Float [N] as text, in half precision."""
    return base64.b64encode(np.asarray(values, "<f2").tobytes()).decode("ascii")


def unpacked(text: str | None) -> np.ndarray | None:
    """float32 [N] of what `packed` gave; None for None."""
    return None if text is None else np.frombuffer(base64.b64decode(text), "<f2").astype(np.float32)


def kept_vectors(audit: str | Path) -> dict[str, np.ndarray]:
    """The vectors that an audit has kept: digest of a photo's content -> float32 [F], of length 1.

    audit: its folder, or a file in it (audit.csv, looks.jsonl). Photos without a car have none. Raises `UsageError`
    where no vectors are kept.
    """
    path = user_path(audit)
    path = (path if path.is_dir() else path.parent) / LOOKS
    if not path.is_file():
        raise UsageError(f"'{audit}' has no {LOOKS}: name the output folder of a `carclf data audit`.")
    log = RowLog(path, read_only=True)
    try:
        rows = [parse_row(line) for _, line in log.lines()]
        # The last line of a photo counts: an earlier look may have failed.
        texts = {row["id"]: row.get("vector") for row in rows if row is not None and isinstance(row.get("id"), str)}
        found = {digest: unpacked(text) for digest, text in texts.items()}
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"'{path}' can't be read: audit the photos again with --restart.") from error
    finally:
        log.close()
    vectors = {digest: vector for digest, vector in found.items() if vector is not None and len(vector)}
    if not vectors:
        raise UsageError(f"'{path}' holds no vector of a car.")
    if len({len(vector) for vector in vectors.values()}) > 1:
        raise UsageError(f"'{path}' holds vectors of several models: audit the photos again with --restart.")
    return vectors
