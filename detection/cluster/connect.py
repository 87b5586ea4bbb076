"""Into a cluster: one that is there, or one of this machine alone that ends with the run."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import Field

from detection.common.config import StrictConfig
from detection.common.errors import UsageError, brief, need

ENGINES = ("local", "ray")
_PATIENCE = 10.0  # seconds until a machine must have answered
# A result is a row: all of them together fit in little.
_STORE = 200 << 20


class Cluster(StrictConfig):
    """Which cluster, and how it is divided.

    address: HOST:PORT of its head, or `auto` for the one that runs on this machine; None takes that of
    the environment's RAY_ADDRESS, and without it starts one on this machine. cores: of a worker; None takes four, or
    fewer where no machine has four. workers: how many; None takes as many as there is room for. gpu:
    whether each takes a GPU where the cluster has any.
    """

    address: str | None = None
    cores: int | None = Field(None, ge=1)
    workers: int | None = Field(None, ge=1)
    gpu: bool = True


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """The module `ray`, connected. Raises `UsageError` where it is not installed or nothing answers."""
    need("ray", "--engine ray", "ray")
    # Before its import, which reads them: it would tell its makers of each cluster, and the scheduler's doings.
    for name, value in {"RAY_USAGE_STATS_ENABLED": "0", "RAY_SCHEDULER_EVENTS": "0"}.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    if ray.is_initialized():  # by the program that calls
        yield ray
        return
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        options |= {"include_dashboard": False, "object_store_memory": _STORE}
    elif address != "auto":
        _knock(address)
    try:
        ray.init(address=address, **options)
    except Exception as error:
        raise _unreachable(address, brief(error)) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raises `UsageError` at once where nobody listens: Ray would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(
            f"'{address}' is not the address of a cluster: write HOST:PORT, or auto for the one that runs here."
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, getattr(error, "strerror", None) or str(error)) from error


def _unreachable(address: str, why: str) -> UsageError:
    if address == "local":
        return UsageError(f"Ray can't be started on this machine ({why}).")
    return UsageError(
        f"No Ray cluster answers at '{address}' ({why}): check the address, which `ray start --head` has shown, or "
        "leave it out to use this machine alone."
    )
