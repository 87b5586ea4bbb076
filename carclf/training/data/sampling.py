"""Which photos an epoch draws more often: of rare classes, or hard ones, which other photos hardly speak for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from carclf.classifier.garage.folds import DOUBT, doubt, out_of_fold
from carclf.classifier.garage.kept import kept_vectors
from carclf.datasets.content import OWN, SOURCE, with_digests
from carclf.datasets.copies import picture_numbers
from carclf.runs.recipe import Sampling, TrainConfig
from detection.common.console import say
from detection.common.errors import UsageError
from detection.common.files import write_table
from detection.common.tally import counted
from detection.images.read import load_image

TABLE = "difficulty.csv"  # in the run folder
HARDEST = 2.0  # how often the hardest photo is drawn, compared with an easy one
SAYINGS = {
    "uniform": "pseudo-labels by their weight",
    "balanced": "of each class equally many",
    "hard": "hard ones more often",
}
_AT_ONCE = 64  # photos in memory


def sampling_weights(sampling: Sampling, rows: pd.DataFrame, labels: Sequence[int]) -> tuple[np.ndarray | None, int]:
    """The weight of each photo, float [N], for `TrainOrder`, and how many of them an epoch draws.

    rows: the photos, perhaps with the columns weight (of pseudo-labels) and doubt. labels: their class numbers. None
    where each photo comes once.
    """
    own = rows["weight"].to_numpy(float) if "weight" in rows else np.ones(len(rows))
    drawn = int(np.ceil(own.sum() - 1e-9))  # not fewer, or a photo with a label might be left out
    if sampling == "balanced":
        totals = np.bincount(labels, weights=own)
        return own / totals[np.asarray(labels)], drawn
    if sampling == "hard":
        return own * hardness(rows["doubt"].to_numpy(float)), drawn
    return (None if (own == 1).all() else own), drawn  # where none is extra, the order is that of any training


def hardness(doubts: np.ndarray) -> np.ndarray:
    """How often a photo is drawn, float [N], 1 to `HARDEST`: by how much speaks against its label (see `doubt`).

    Most often where its own class and another one are equally likely. Beyond that the audit calls the label wrong, and
    the surer it is of that, the less often: a photo that is surely wrong is drawn as seldom as an easy one. 1 for NaN.

    >>> hardness(np.array([0.0, 0.25, 0.5, 0.75, 1.0, np.nan])).tolist()
    [1.0, 1.5, 2.0, 1.5, 1.0, 1.0]
    """
    near = 1 - np.abs(np.nan_to_num(doubts) - DOUBT) / DOUBT
    return 1 + (HARDEST - 1) * near


def with_doubts(config: TrainConfig, run: Path, table: pd.DataFrame) -> pd.DataFrame:
    """The table with the column doubt, of its train photos, where a stage samples by it; NaN where nothing is known.

    It is computed once, by the photos that are trained on alone, and kept in the run's difficulty.csv, so that a
    resumed run draws as it would have. Raises `UsageError` for an audit that knows none of these photos.
    """
    if all(stage.drawn(config.balance) != "hard" for stage in config.stages):
        return table
    table = table if OWN in table else with_digests(table)
    path = run / TABLE
    if not path.is_file():
        train = table[table["split"] == "train"].reset_index(drop=True)
        write_table(path, _judged(config, train))
    known = pd.read_csv(path, dtype={"sha256": str}).drop_duplicates("sha256").set_index("sha256")["doubt"]
    doubts = table[OWN].map(known).where(table["split"] == "train")
    return table.assign(doubt=doubts.astype(float))


def _judged(config: TrainConfig, train: pd.DataFrame) -> pd.DataFrame:
    """The rows of difficulty.csv."""
    vectors = _looked_up(config.difficulty, train) if config.difficulty is not None else _looked_at(config, train)
    seen = [row for row, vector in enumerate(vectors) if vector is not None]
    doubts = np.full(len(train), np.nan)
    if seen:
        pictures = [-1 if number is None else number for number in picture_numbers(train["file"][seen].tolist())]
        numbers = np.unique(train["label"][seen], return_inverse=True)[1]
        dense = np.stack([vector for vector in vectors if vector is not None])
        doubts[seen] = doubt(out_of_fold(dense, numbers, np.array(pictures)), numbers)[0]
    wrong = int((np.nan_to_num(doubts) > DOUBT).sum())
    say(f"{counted(len(seen), 'photo')} judged by the others: {wrong} look more like another class; see {TABLE}")
    return pd.DataFrame(
        {
            "file": train["file"],
            "label": train["label"],
            "doubt": np.round(doubts, 4),
            "drawn": np.round(hardness(doubts), 3),
            "sha256": train[OWN],
        }
    )


def _looked_up(audit: Path, train: pd.DataFrame) -> list[np.ndarray | None]:
    """Vectors of an audit, by the content of the photos, or of those that they were cut out of."""
    kept = kept_vectors(audit)
    found = [kept.get(own, kept.get(source)) for own, source in zip(train[OWN], train[SOURCE], strict=True)]
    missing = sum(one is None for one in found)
    if missing == len(found):
        raise UsageError(f"'{audit}' knows none of the {len(found)} photos to train on: audit these photos.")
    if missing:
        say(f"{counted(missing, 'photo')} unknown to '{audit}', or without a car there: drawn as easy ones")
    return found


def _looked_at(config: TrainConfig, train: pd.DataFrame) -> list[np.ndarray | None]:
    """Vectors of the bundled classifier, which sees the crops as they are."""
    from carclf.classifier.catalogue import load_classifier

    say(f"the bundled classifier looks at {counted(len(train), 'photo')} to find the hard ones (difficulty=AUDIT takes "
        "what an audit has seen)")  # fmt: skip
    classifier = load_classifier("bundled", device=config.device)
    found: list[np.ndarray | None] = []
    for start in range(0, len(train), _AT_ONCE):
        crops = [load_image(file) for file in train["file"][start : start + _AT_ONCE]]
        found += list(classifier.predict_and_embed(crops)[1])
    return found
