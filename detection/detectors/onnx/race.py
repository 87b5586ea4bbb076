"""Whether OpenVINO is faster than ONNX Runtime on this machine: measured by `carclf doctor`, and kept."""

from __future__ import annotations

import functools
import json
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

import numpy as np

from detection.common.errors import has_module
from detection.common.files import cache_folder, write_json
from detection.common.machine import chosen_threads
from detection.detectors.contract import Detector
from detection.version import __version__

SECONDS = 10.0
# Less is not worth the memory and the slower start of a second engine.
LEAST_GAIN = 1.05


@dataclass(frozen=True)
class Race:
    """Milliseconds per photo of the bundled detector, medians in turns. where: it was measured, see `_here`."""

    where: dict
    openvino: float
    onnx: float

    @property
    def openvino_wins(self) -> bool:
        return self.onnx >= LEAST_GAIN * self.openvino

    def __str__(self) -> str:
        taken = "OpenVINO" if self.openvino_wins else "ONNX Runtime"
        return (
            f"{taken} (self-test: OpenVINO {self.openvino:.0f} ms, ONNX Runtime {self.onnx:.0f} ms per photo, "
            f"{self.where['threads']} threads)"
        )


@functools.cache
def openvino_wins() -> bool:
    """Whether `auto` takes OpenVINO: where it is installed, and `self_test` has found it faster.

    Nothing is measured here: a service that starts several processes would measure them against each other.
    """
    if not has_module("openvino"):
        return False
    try:
        race = _read(_here())
    except ImportError:  # a folder of that name, or an ONNX Runtime that is broken, which whoever opens it says
        return False
    return race is not None and race.openvino_wins


def self_test(load: Callable[[str], Detector], seconds: float = SECONDS) -> Race:
    """The kept result for this machine and these versions, else a new one, which takes `seconds` and is kept.

    load: the bundled detector by a runtime, openvino or onnx.

    Raises whatever a broken installation of OpenVINO may raise, and OSError where the result can't be kept.
    """
    where = _here()
    kept = _read(where)
    if kept is None:
        kept = measure(load, where, seconds)
        _place().parent.mkdir(parents=True, exist_ok=True)
        write_json(_place(), asdict(kept))
        openvino_wins.cache_clear()
    return kept


def measure(load: Callable[[str], Detector], where: dict, seconds: float) -> Race:
    """Runs what `load` gives by both engines in turns, each at least three times."""
    photo = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    end = time.perf_counter() + seconds
    detectors = {runtime: load(runtime) for runtime in ("openvino", "onnx")}
    times: dict[str, list[float]] = {runtime: [] for runtime in detectors}
    for detector in detectors.values():
        detector.detect([photo])
    while time.perf_counter() < end or len(times["onnx"]) < 3:
        for runtime, detector in detectors.items():
            start = time.perf_counter()
            detector.detect([photo])
            times[runtime].append(1e3 * (time.perf_counter() - start))
    return Race(where, **{runtime: round(median(values), 2) for runtime, values in times.items()})


def _place() -> Path:
    return cache_folder() / "engines.json"


def _read(where: dict) -> Race | None:
    """What was kept, if it was measured on such a machine with the same versions."""
    try:
        race = Race(**json.loads(_place().read_text(encoding="utf-8")))
        return race if race.where == where and min(race.openvino, race.onnx) > 0 else None
    except (OSError, ValueError, TypeError):
        return None


def _here() -> dict:
    import onnxruntime

    return {
        "processor": _processor(),
        "threads": chosen_threads(),
        "openvino": version("openvino"),
        "onnxruntime": onnxruntime.__version__,  # of whatever brings it: there is onnxruntime-gpu, too
        "carclf": __version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Hardware"))]
    return names[0] if names else f"{platform.machine()} {platform.processor()}".strip()
