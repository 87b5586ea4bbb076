"""Which engine runs a network, and on what: ONNX Runtime, OpenVINO or torch. Imports none of them at once."""

from __future__ import annotations

import functools
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from detection.common.console import say
from detection.common.errors import UsageError, has_module, need

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


def check_onnx_device(runtime: str, device: str) -> None:
    """Raises `UsageError` where OpenVINO or the device is not there."""
    if runtime == "openvino":
        need("openvino", "The runtime openvino", "openvino")
        if device not in ("auto", "cpu"):
            raise UsageError(
                f"The runtime openvino runs on the CPU only: leave '{device}' out, or take another runtime."
            )
    onnx_providers(device)


def onnx_providers(device: str) -> list[Any]:
    """What ONNX Runtime is to compute with, first choice first. device: auto, cpu, cuda or cuda:N; auto is CUDA where
    this build of ONNX Runtime has it. Raises `UsageError` for a device that can't be had, as torch's devices do."""
    cpu, cuda = "CPUExecutionProvider", "CUDAExecutionProvider"
    if device == "cpu":
        return [cpu]
    named = re.fullmatch(r"cuda(?::(\d+))?", device)
    if device != "auto" and named is None:
        raise UsageError(f"'{device}' is not a device: write auto, cpu, cuda or cuda:1.")
    import onnxruntime

    if cuda not in onnxruntime.get_available_providers():
        if named:
            raise _no_gpu(device)
        return [cpu]
    number = int(named[1] or 0) if named else 0
    return [(cuda, {"device_id": number, "use_tf32": 0}), cpu]  # TF32 rounds: boxes would move


def check_provider(taken: Sequence[str], device: str) -> None:
    """What a session says that it took, after `onnx_providers`: CUDA can be built in without a GPU that works.

    Raises `UsageError` where a GPU was named; with `auto` there is a sentence on stderr, and the CPU.
    """
    if any(name.startswith("CUDA") for name in taken) or len(onnx_providers(device)) == 1:
        return
    if device != "auto":
        raise _no_gpu(device)
    _say_once("ONNX Runtime finds no GPU that works, so it runs on the CPU.")


def _no_gpu(device: str) -> UsageError:
    return UsageError(
        f"The device '{device}' is not there for ONNX Runtime: write cpu or auto, take the runtime torch, or install "
        "onnxruntime-gpu in place of onnxruntime."
    )


@functools.cache
def _say_once(text: str) -> None:
    say(text)


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
