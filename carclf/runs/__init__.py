"""Run folders of trainings: their recipe, tables, curves, report and registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detection.common.lazy import hand_on

if TYPE_CHECKING:
    from carclf.runs.folder import open_run, resumed_config
    from carclf.runs.recipe import TrainConfig
    from carclf.runs.tables import read_epochs

_HOMES = {
    "TrainConfig": "carclf.runs.recipe",
    "open_run": "carclf.runs.folder",
    "resumed_config": "carclf.runs.folder",
    "read_epochs": "carclf.runs.tables",
}
__all__ = ["TrainConfig", "open_run", "read_epochs", "resumed_config"]

__getattr__, __dir__ = hand_on(__name__, _HOMES)
