"""Which engine runs a network, and on what: ONNX Runtime, OpenVINO or torch. Imports none of them at once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal, get_args

from detection.common.errors import UsageError, has_module, need
from detection.common.networks.providers import check_onnx_device

Engine = Literal["onnx", "torch"]
Runtime = Literal["auto", "onnx", "openvino", "torch"]
RUNTIMES: tuple[str, ...] = get_args(Runtime)
# Where a GPU that torch can use shows itself: NVIDIA's, that of a Windows host, AMD's.
_GPU_FILES = ("nvidia[0-9]*", "dxg", "kfd")


def choose_engine(what: str, runtime: str, device: str, hindrance: str = "") -> Engine:
    """The engine for a network. ONNX Runtime wherever it can run it and no GPU is to be used; `onnx` stands for
    whatever runs ONNX graphs, OpenVINO, too.

    what: is to be run, as messages name it. runtime: one of `RUNTIMES`. device: auto, cpu, cuda or cuda:N.
    hindrance: why only torch can run it, as the rest of a sentence; "" where ONNX Runtime can. Raises `UsageError`
    for a choice that can't be had, and where torch is needed and not installed.
    """
    check_runtime(runtime)
    if runtime in ("onnx", "openvino"):
        if hindrance:
            raise UsageError(f"The runtime {runtime} can't run {what}, {hindrance}: take the runtime auto or torch.")
        check_onnx_device(runtime, device)
        return "onnx"
    if runtime == "auto" and not hindrance and (device == "cpu" or (device == "auto" and not finds_gpu())):
        return "onnx"
    why = f"The device '{device}'" if not hindrance and device not in ("auto", "cpu") else f"Running {what}"
    need("torch", why)
    return "torch"


def check_runtime(runtime: str) -> None:
    """Raises `UsageError` for anything but one of `RUNTIMES`."""
    if runtime not in RUNTIMES:
        raise UsageError(f"'{runtime}' is not a runtime: choose {', '.join(RUNTIMES[:-1])} or {RUNTIMES[-1]}.")


def check_export_runtime(folder: str, runtime: str, device: str = "auto") -> None:
    """Raises `UsageError` where an export is to be run by torch, or on what there is not."""
    check_runtime(runtime)
    if runtime == "torch":
        raise UsageError(
            f"The export '{folder}' is not run by torch: take the runtime auto, onnx or openvino, or the model itself."
        )
    check_onnx_device(runtime, device)


def finds_gpu() -> bool:
    """Whether `auto` means a GPU. torch is asked, and imported, only where one may be there."""
    if not may_have_gpu():
        return False
    from detection.common.networks.device import choose_device

    return choose_device("auto") != "cpu"


def may_have_gpu(devices: Path = Path("/dev")) -> bool:
    """Whether torch is installed and a GPU for it may be there, without importing torch."""
    if not has_module("torch"):
        return False
    return shutil.which("nvidia-smi") is not None or any(any(devices.glob(pattern)) for pattern in _GPU_FILES)
