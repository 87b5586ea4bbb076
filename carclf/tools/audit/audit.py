"""The whole audit: every photo looked at once, what seems wrong, and the files that say so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from carclf.classifier.catalogue import find_model
from carclf.classifier.garage.folds import out_of_fold
from carclf.datasets.check.check import DataCheck, check_data
from carclf.datasets.content import content_digests, known_photos
from carclf.datasets.names import file_below
from carclf.datasets.table import photo_root
from carclf.recognition.prediction import ERROR
from carclf.recognition.recognizer import CarRecognizer
from carclf.tools.audit.issues import ISSUES, Issue, find_issues
from carclf.tools.audit.looks import NAME, Look, look_at, vectors_of
from carclf.tools.audit.photos import PHOTOS, write_photos
from detection.common.console import Track, untracked
from detection.common.files import write_table
from detection.common.machine import threads_for_many
from detection.common.output_folder import OutputFolder, check_apart
from detection.common.tally import counted

TABLE = "audit.csv"
COLUMNS = ("file", "class", "issue", "score", "suggestion")


@dataclass(frozen=True, eq=False)
class Audit:
    """check: the rows of the photos. looks: one per row, None for what can't be read. classes: that `probabilities`
    (float32 [N, C]) are of; a row of zeros is one that nothing is known of. notes: sentences on how it was judged."""

    check: DataCheck
    looks: Sequence[Look | None]
    classes: Sequence[str]
    probabilities: np.ndarray
    notes: list[str] = field(default_factory=list)

    @cached_property
    def issues(self) -> list[Issue]:
        return find_issues(self.check, self.looks, self.probabilities, self.classes)

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many photos have each issue, in the order of `ISSUES`."""
        found = Counter(one.issue for one in self.issues)
        return {name: found[name] for name in ISSUES}

    @property
    def failed(self) -> int:
        """Photos that could not be looked at."""
        return sum(look is None or look.status == ERROR for look in self.looks)

    def file(self, photo: int) -> str:
        """The path of a photo by its number."""
        return file_below(self.check.root, self.check.rows["file"][photo])

    def rows(self) -> pd.DataFrame:
        """What audit.csv holds."""
        photos = self.check.rows
        rows = [
            (photos["file"][one.photo], photos["label"][one.photo], one.issue, f"{one.score:.4f}", one.suggestion)
            for one in self.issues
        ]
        return pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)


def audit_data(
    data: str | Path,
    output: Path,
    images: str | Path | None = None,
    model: str | None = None,
    crops: bool = False,
    restart: bool = False,
    device: str = "auto",
    runtime: str = "auto",
    checking: Track = untracked,
    looking: Track = untracked,
) -> Audit:
    """Looks at every photo of `read_table(data, images)`; writes output/audit.csv, and photos.jsonl of all photos.

    A second run resumes.

    model: whose vectors are used, None for the bundled one. One that is named and knows all classes of the data judges
    the labels itself, but for photos that it was trained on. crops: the photos are cut out already. checking, looking:
    photos go through them. Raises `UsageError` for data that can't be read, for a folder that holds something else, and
    where the looks in it are of another model, unless `restart`.
    """
    root = photo_root(data, images)
    taken = f"'{output}' holds the photos themselves, or lies among them: name a folder beside them."
    check_apart(root, output, same=taken, inside=taken, around=taken)
    folder = OutputFolder(output, NAME)
    folder.check(f"'{output}' exists and holds no audit: name a new folder.")
    found = find_model(model or "bundled")
    recognizer = CarRecognizer(
        model or "bundled", device=device, crops=crops, runtime=runtime, threads=threads_for_many()
    )
    recognizer.classifier.predict_and_embed([])  # raises where there are no vectors
    check = check_data(data, images, checking)
    folder.make(lambda: None)
    looks, digests = _looks(check, recognizer, output, restart, looking)
    if model is None:
        audit = _by_vectors(check, looks)
    else:
        weights = None if found.is_export or found.is_garage else found.path
        audit = _by_model(check, looks, recognizer.classes, weights)
    write_photos(output / PHOTOS, check, looks, digests, audit.probabilities, audit.classes)
    write_table(output / TABLE, audit.rows())
    return audit


def _looks(
    check: DataCheck, recognizer: CarRecognizer, output: Path, restart: bool, track: Track
) -> tuple[list[Look | None], list[str]]:
    """One look per row, and the digest of its content; None and empty for what can't be read."""
    readable = np.flatnonzero(check.rows["status"] == "ok")
    files = [file_below(check.root, check.rows["file"][photo]) for photo in readable]
    looks: list[Look | None] = [None] * len(check.rows)
    # One that has vanished meanwhile has no content: its look says so.
    known = content_digests(files)
    digests = [""] * len(check.rows)
    for photo, digest in zip(readable, known, strict=True):
        digests[photo] = digest
    keys = [digest or file for digest, file in zip(known, files, strict=True)]
    for photo, look in zip(readable, look_at(recognizer, files, keys, output, restart, track), strict=True):
        looks[photo] = look
    return looks, digests


def _by_vectors(check: DataCheck, looks: Sequence[Look | None], notes: Sequence[str] = ()) -> Audit:
    classes = sorted(check.rows["label"].unique())
    numbers = np.array([classes.index(label) for label in check.rows["label"]], int)
    seen, vectors = vectors_of(looks)
    probabilities = np.zeros((len(looks), len(classes)), np.float32)
    if len(seen):
        present, dense = np.unique(numbers[seen], return_inverse=True)
        pictures = check.rows["picture"][seen].to_numpy(int)
        probabilities[np.ix_(seen, present)] = out_of_fold(vectors, dense, pictures)
    untold = sum(not probabilities[photo].any() for photo in seen)
    told = [f"{counted(untold, 'photo')} could not be judged: no other photo of the class."] if untold else []
    return Audit(check, looks, classes, probabilities, [*notes, *told])


def _by_model(check: DataCheck, looks: Sequence[Look | None], classes: Sequence[str], weights: Path | None) -> Audit:
    """By the model's own answers; by vectors where it was trained on the photo, or does not know all classes."""
    unknown = sorted(set(check.rows["label"]) - set(classes))
    if unknown:
        some = counted(len(unknown), "class", "classes")
        return _by_vectors(
            check, looks, [f"The model does not know {some} of these data: the vectors judge the labels."]
        )
    probabilities = np.zeros((len(looks), len(classes)), np.float32)
    for photo, look in enumerate(looks):
        if look is not None and look.probabilities is not None:
            probabilities[photo] = look.probabilities
    known = None if weights is None else known_photos(weights)
    trained = np.zeros(len(looks), bool)
    if known is not None:
        trained[:] = known.trained_on([file_below(check.root, name) for name in check.rows["file"]])
    if not trained.any():
        return Audit(check, looks, classes, probabilities, ["The model's answers judge the labels."])
    vectors = _by_vectors(check, looks)
    places = np.array([list(classes).index(name) for name in vectors.classes], int)
    probabilities[trained] = 0
    probabilities[np.ix_(trained, places)] = vectors.probabilities[trained]
    told = f"The model was trained on {counted(int(trained.sum()), 'photo')}: their labels are judged by the vectors."
    return Audit(check, looks, classes, probabilities, [told])
