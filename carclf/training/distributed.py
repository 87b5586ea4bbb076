"""Several processes that train as one: how they start and meet, and what only the first of them does.

Each process runs the whole of a training. Lightning's DDP adds up their gradients; whatever writes, cuts out or
measures is done by the first alone, while the others wait for its answer.
"""

from __future__ import annotations

import logging
import os
import shlex
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from pytorch_lightning.plugins.environments import TorchElasticEnvironment
from pytorch_lightning.strategies import DDPStrategy
from torch import distributed

from carclf.runs.recipe import TrainConfig
from detection.common.console import say
from detection.common.errors import UsageError
from detection.common.machine import usable_cores

Answer = TypeVar("Answer")

# Stage 1 may cut out photos for days while the other processes wait; the launcher ends them if the first one dies.
_PATIENCE = timedelta(days=30)
_GRACE = 5.0  # seconds
# What the libraries say in a process whose partner has gone.
_LOST = (
    "Connection reset by peer",
    "Connection closed by peer",
    "Broken pipe",
    "NCCL communicator was aborted",
    "Timed out waiting",
    "remote process exited",
)
_waiting: list[distributed.ProcessGroup] = []


def is_launched() -> bool:
    """Whether this process is one of those that `launch`, or torchrun, has started."""
    return distributed.is_available() and distributed.is_torchelastic_launched()


def wants_launch(config: TrainConfig) -> bool:
    """Whether this process has to start others before it can train."""
    return local_processes(config) * config.nodes > 1 and not is_launched()


def local_processes(config: TrainConfig) -> int:
    """How many processes the config asks for on each machine."""
    return config.devices if isinstance(config.devices, int) else len(config.devices)


def place() -> tuple[int, int]:
    """Rank of this process, and how many train together."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def is_first() -> bool:
    return place()[0] == 0


def say_once(text: str) -> None:
    if is_first():
        say(text)


def on_first(function: Callable[..., Answer], *arguments: Any) -> Answer:
    """Calls the function in the first process only; all get its answer, or its `UsageError`."""
    if not _waiting:
        return function(*arguments)
    answer: list = [None, None]
    if is_first():
        try:
            answer[0] = function(*arguments)
        except UsageError as error:
            answer[1] = str(error)
    distributed.broadcast_object_list(answer, src=0, group=_waiting[-1])
    if answer[1] is not None:
        raise UsageError(answer[1])
    return answer[0]


@contextmanager
def joined(config: TrainConfig, device: str) -> Iterator[None]:
    """Meets the other processes of this training, where there are any. device: as `choose_device` gives it."""
    if not is_launched():
        yield
        return
    local, on_machine = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    if device.startswith("cuda"):
        cards = config.devices if not isinstance(config.devices, int) else range(torch.cuda.device_count())
        if on_machine > len(cards):
            raise UsageError(f"{on_machine} processes on this machine need as many GPUs, and there are {len(cards)}.")
        torch.cuda.set_device(cards[local])
    elif config.threads is None and on_machine > 1 and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, usable_cores() // on_machine))
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    # Every process is in this group, so none gets the number that stands for no group.
    _waiting.append(cast("distributed.ProcessGroup", distributed.new_group(backend="gloo", timeout=_PATIENCE)))
    try:
        yield
    finally:
        _waiting.clear()
        distributed.destroy_process_group()


class LostProcess(UsageError, RuntimeError):
    """A process of the training has ended without a sentence of its own, and the others with it."""


@contextmanager
def partners_told(config: TrainConfig) -> Iterator[None]:
    """Raises `LostProcess` where the libraries say, at length, that another process of this training has gone."""
    try:
        yield
    except RuntimeError as error:
        if not _waiting or not any(sign in str(error) for sign in _LOST):
            raise
        raise LostProcess(_lost(config, "Another process of this training has ended")) from error


def _lost(config: TrainConfig, what: str) -> str:
    run = "RUN" if config.output is None else shlex.quote(str(config.output))
    return (
        f"{what}, so all have: it was killed, perhaps as memory ran out, or it said above what went wrong; "
        f"`carclf train --resume {run}` resumes the run from its last whole epoch."
    )


def trainer_place(config: TrainConfig, device: str) -> dict[str, Any]:
    """What Lightning's `Trainer` must be told of devices and processes."""
    accelerator = "gpu" if device.startswith("cuda") else "cpu"
    devices = config.devices if isinstance(config.devices, int) or accelerator == "cpu" else list(config.devices)
    if not _waiting:
        return {"accelerator": accelerator, "devices": 1 if accelerator == "cpu" else devices}
    on_machine = int(os.environ["LOCAL_WORLD_SIZE"])
    return {
        "accelerator": accelerator,
        "devices": on_machine if isinstance(devices, int) or accelerator == "cpu" else devices,
        "num_nodes": place()[1] // on_machine,
        # Buffers go out once per epoch (`StageModule.on_validation_epoch_start`), not with every batch: processes have
        # unequal numbers of validation batches, and one would wait for ever for the other.
        "strategy": DDPStrategy(broadcast_buffers=False, cluster_environment=TorchElasticEnvironment()),
    }


def launch(config: TrainConfig, work: Callable[[TrainConfig], Answer]) -> Answer:
    """Runs `work(config)` in each of the processes that the config asks for on this machine; returns one's answer.

    With several machines, the same command runs on each, with the first one's address in MASTER_ADDR (and a free port
    there in MASTER_PORT), and its own number, from 0, in NODE_RANK. Raises the `UsageError` of a process that failed,
    and KeyboardInterrupt after a signal, at which all end at once.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for name in ("torch.distributed.elastic", "torch.distributed.elastic.agent.server.api", "torch.multiprocessing"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # their tables would bury our sentence
    processes = local_processes(config)
    with tempfile.TemporaryDirectory() as folder:
        settings = LaunchConfig(
            min_nodes=config.nodes,
            max_nodes=config.nodes,
            nproc_per_node=processes,
            max_restarts=0,
            **_meeting(config.nodes),
        )
        try:
            with _stopped_by_slurm():
                answers = elastic_launch(settings, _work)(work, config, Path(folder))
        except SignalException:
            resume = f"--resume {shlex.quote(str(config.output))}" if config.output else "--resume RUN"
            say(f"Stopped: carclf train {resume} resumes it from its last whole epoch.")
            raise KeyboardInterrupt from None
        except ChildFailedError as error:
            said = sorted(Path(folder).glob("*.txt"))
            if said:
                raise UsageError(said[0].read_text(encoding="utf-8")) from None
            rank, failure = error.get_first_failure()
            ended = "ended with exit code" if failure.exitcode >= 0 else "was ended by signal"
            what = f"Process {rank} of {processes} {ended} {abs(failure.exitcode)}"
            raise LostProcess(_lost(config, what)) from None
    return next(iter(answers.values()))


@contextmanager
def _stopped_by_slurm() -> Iterator[None]:
    """SIGUSR1, which SLURM can send before a job's time is over, counts as SIGTERM, which the launcher knows."""
    if not hasattr(signal, "SIGUSR1") or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGUSR1, lambda *_: signal.raise_signal(signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def _meeting(nodes: int) -> dict[str, Any]:
    """Where the processes find each other."""
    if nodes == 1:
        here = {"rdzv_endpoint": "localhost:0", "local_addr": "localhost"}  # any free port
        return {"rdzv_backend": "c10d", "run_id": uuid.uuid4().hex, **here}
    try:
        address, number = os.environ["MASTER_ADDR"], int(os.environ["NODE_RANK"])
    except (KeyError, ValueError):
        raise UsageError(
            f"nodes={nodes} needs the same command on each machine, with MASTER_ADDR (the first one's address) and "
            "NODE_RANK (this one's number, from 0) in its environment; or start it by torchrun."
        ) from None
    return {
        "rdzv_backend": "static",
        "rdzv_endpoint": f"{address}:{os.environ.get('MASTER_PORT', '29500')}",
        "rdzv_configs": {"rank": number, "timeout": 900},
        "run_id": "carclf",
    }


def _work(work: Callable[[TrainConfig], Answer], config: TrainConfig, folder: Path) -> Answer:
    """In a process of its own: leaves its `UsageError` as a file, since exceptions do not cross over whole."""
    try:
        return work(config)
    except UsageError as error:
        if isinstance(error, LostProcess):
            time.sleep(_GRACE)  # the launcher ends this one as soon as it has seen which one went first
        else:
            (folder / f"{os.environ['RANK']}.txt").write_text(str(error), encoding="utf-8")
        sys.exit(2)
