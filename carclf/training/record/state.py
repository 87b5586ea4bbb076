"""What a classifier's training writes of itself into the state.json of its run folder."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytorch_lightning as pl
import timm
import torch

from carclf.runs.recipe import TrainConfig
from carclf.training.distributed import is_first
from detection.training.resume import RunState, locked, recorded
from detection.version import __version__


@contextmanager
def recorded_run(config: TrainConfig, run: Path) -> Iterator[RunState]:
    """The state of a run while it is trained; of one that is finished already, which stays as it is.

    Raises `UsageError` when another process of this machine trains it.
    """
    first = is_first()
    with locked(run, first):
        state = RunState(run, first)
        if state.finished:
            yield state
            return
        # Without an output of its own, the same command would make a new run.
        with recorded(state, versions(), verb="train", same_command=config.output is not None):
            yield state


def versions() -> dict[str, str]:
    """Of what a result depends on."""
    return {
        "carclf": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "pytorch_lightning": pl.__version__,
        "timm": timm.__version__,
    }
