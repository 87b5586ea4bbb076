"""The parts of the classes' names that a training is told: by a table, by nested folders, or not at all."""

from __future__ import annotations

from collections.abc import Sequence

from carclf.classifier.levels.names import ClassName, make_names
from carclf.datasets import photo_root
from carclf.datasets.layouts.folders import folder_names
from carclf.datasets.layouts.names_csv import NAMES, read_names
from carclf.runs.recipe import BY_FOLDERS, NO_NAMES, TrainConfig
from detection.common.files import user_path


def class_names(config: TrainConfig, classes: Sequence[str]) -> tuple[ClassName, ...]:
    """One for each class; none where nothing says them. Raises `UsageError` for a table that is no tree of them."""
    if config.names == NO_NAMES:
        return ()
    if config.names == BY_FOLDERS:
        return make_names(folder_names(photo_root(config.data, config.images)), classes)
    if config.names is not None:
        return make_names(read_names(user_path(config.names)), classes)
    beside = photo_root(config.data) / NAMES
    return make_names(read_names(beside), classes) if beside.is_file() else ()
