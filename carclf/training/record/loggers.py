"""Where Lightning sends the curves of a training besides its own tables: TensorBoard, and MLflow if wanted."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import LearningRateMonitor
from pytorch_lightning.loggers import Logger, MLFlowLogger, TensorBoardLogger

from carclf.runs.recipe import TrainConfig
from carclf.training.distributed import is_first
from detection.common.console import never_in_the_way
from detection.common.errors import UsageError
from detection.training.progress import spared
from detection.training.resume import RunState

FOLDER = "tensorboard"


def check_loggers(config: TrainConfig) -> None:
    """Raises `UsageError`, before the long work, when what the config asks for is not installed."""
    if config.mlflow is not None and importlib.util.find_spec("mlflow") is None:
        raise UsageError("MLflow is not installed: pip install mlflow, or leave the setting mlflow out.")


def make_loggers(config: TrainConfig, run: Path, number: int, state: RunState) -> list[Logger]:
    """The loggers of a stage. TensorBoard shows each stage as a line of its own; in MLflow the whole training is one
    run, also of a training that is resumed, and the stage is in front of each figure's name."""
    name = f"{number}-{config.stages[number - 1].name}"
    loggers: list[Logger] = []
    if config.tensorboard:
        logger = TensorBoardLogger(run, FOLDER, version=name, default_hp_metric=False)
        loggers.append(spared(logger, "TensorBoard"))
    if config.mlflow is not None and is_first():
        with never_in_the_way("MLflow gets nothing of this stage"):
            loggers.append(spared(_mlflow(config.mlflow, config, run, state, prefix=name), "MLflow"))
    return loggers


def rate_monitors(loggers: Sequence[Logger]) -> list[pl.Callback]:
    return [LearningRateMonitor(logging_interval="epoch")] if loggers else []


def log_result(config: TrainConfig, run: Path, state: RunState, metrics: Mapping[str, Any]) -> None:
    """The figures of the whole training, where MLflow is wanted."""
    if config.mlflow is None:
        return
    with never_in_the_way("MLflow does not get the figures of this training"):
        logger = _mlflow(config.mlflow, config, run, state)
        logger.log_metrics({name: float(value) for name, value in metrics.items() if isinstance(value, (int, float))})
        logger.experiment.log_artifact(logger.run_id, str(run / "metrics.json"))
        logger.finalize("success")


def _mlflow(place: str, config: TrainConfig, run: Path, state: RunState, prefix: str = "") -> MLFlowLogger:
    known = state.values.get("mlflow_run")
    logger = MLFlowLogger(
        experiment_name=config.name,
        run_name=run.name,
        **_where(place),
        prefix=prefix,
        run_id=known,
    )
    if known is None:
        state.update(mlflow_run=logger.run_id)
        logger.log_hyperparams(config.model_dump(mode="json"))
    return logger


def _where(place: str) -> dict[str, Any]:
    """A server's address as it is; in a folder a database, which MLflow keeps runs in without a server."""
    if "://" in place or place == "databricks":
        return {"tracking_uri": place}
    folder = Path(place).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return {"tracking_uri": f"sqlite:///{folder / 'mlflow.db'}", "artifact_location": (folder / "artifacts").as_uri()}
