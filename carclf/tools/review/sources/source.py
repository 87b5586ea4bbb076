"""Tells what a source is, and reads it."""

from __future__ import annotations

from pathlib import Path

from carclf.datasets.corrections.journal import journal_folder
from carclf.tools.audit.audit import TABLE
from carclf.tools.audit.photos import PHOTOS
from carclf.tools.review.photos import Photos
from carclf.tools.review.sources.answers import read_evaluation, read_predictions
from carclf.tools.review.sources.audit import read_audit
from carclf.tools.review.sources.clusters import is_clusters, read_clusters
from carclf.tools.review.sources.labelled import read_labelled
from carclf.tools.review.sources.rows import read_rows
from detection.common.console import Track, untracked
from detection.common.errors import UsageError
from detection.common.files import user_path

ANSWERS, GROUPS = "predictions.csv", "groups.csv"


def read_source(
    source: str | Path, images: Path | None = None, vectors: Path | None = None, track: Track = untracked
) -> Photos:
    """The photos of an audit, of a result of `carclf predict`, of a run's or an evaluation's answers, of clusters, or
    labelled ones as `read_table` takes them.

    images: where photos with relative names lie, or those of an audit now. vectors: a file of `carclf embed`; an audit
    has its own. Raises `UsageError` for anything else, and for a source without photos.
    """
    photos = _read(source, images, vectors, track)
    if not len(photos):
        raise UsageError(f"'{source}' has no photos: there is nothing to review.")
    if vectors is not None:
        photos.vectors = user_path(vectors)
        if not photos.vectors.is_file():
            raise UsageError(f"There is no file of vectors '{vectors}': make it with carclf embed.")
    return photos


def _read(source: str | Path, images: Path | None, vectors: Path | None, track: Track) -> Photos:
    journal_folder(source)
    path = user_path(source)
    images = None if images is None else user_path(images)
    if path.is_dir():
        if (path / PHOTOS).is_file() and (path / TABLE).is_file():
            return read_audit(path, images)
        if (path / TABLE).is_file() and (path / "looks.jsonl").is_file():
            raise UsageError(
                f"'{source}' was audited by an earlier carclf: run the same `carclf data audit` again, it looks at "
                "no photo twice."
            )
        for folder in (path, path / "validation"):
            if (folder / ANSWERS).is_file():
                return read_evaluation(folder / ANSWERS, path, images)
        if (path / GROUPS).is_file() and is_clusters(path / GROUPS):
            return read_clusters(path / GROUPS, path)
        return read_labelled(path, images, track)
    if not path.exists():
        raise UsageError(f"There is no '{source}': name a folder or file to review.")
    if path.suffix.lower() == ".csv" and is_clusters(path):
        return read_clusters(path, path)
    rows = read_rows(path)
    if rows is not None and "predicted" in rows[0]:
        return read_evaluation(path, path, images)
    if rows is not None:
        return read_predictions(rows, path, images)
    return read_labelled(path, images, track)
