"""A RabbitMQ server of its own, and workers that it feeds."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("faststream", reason="the queue is not installed: pip install 'carclf[queue]'")

from tests.carclf.service.broker.runs import purge
from tests.carclf.service.rabbitmq import Server, start_server
from tests.conftest import ROOT


@pytest.fixture(scope="session")
def node(tmp_path_factory) -> Iterator[Server]:
    server = start_server(tmp_path_factory.mktemp("rabbitmq"))
    yield server
    server.end()


@pytest.fixture
def rabbit(node) -> Server:
    """A running server whose queues are empty."""
    asyncio.run(purge(node.url))
    return node


@pytest.fixture
def worker(rabbit) -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts a worker process; `seconds` a batch, hung after `stalled`; another `threshold` is another model."""
    processes = []

    def start(seconds: float = 0.0, stalled: float = 900.0, threshold: float = 0.5, **popen) -> subprocess.Popen:
        module = "tests.carclf.service.queue_worker"
        command = [sys.executable, "-m", module, rabbit.url, str(seconds), str(stalled), str(threshold)]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, **popen)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
