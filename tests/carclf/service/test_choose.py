"""Which model the service takes: the export of the one that was asked for, where there is one."""

import pytest

from carclf.classifier.catalogue import find_model
from carclf.classifier.onnx.folder import kept_export
from carclf.service import choose as backends
from carclf.service.choose import runs_by_onnx, with_export
from carclf.service.settings import ServiceSettings
from detection.common.errors import UsageError
from detection.detectors.onnx.folder import EXPORT_FILE
from tests.carclf.classifier.test_garage import make_garage
from tests.carclf.tiny import save_tiny_model


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """The model's file, and the folder of its export, which looks like one."""
    monkeypatch.setenv("CARCLF_CACHE", str(tmp_path / "cache"))
    file = save_tiny_model(tmp_path / "tiny.safetensors")
    folder = kept_export(find_model(str(file)).weights)
    folder.mkdir(parents=True)
    (folder / EXPORT_FILE).write_text("{}")
    return file, folder


def test_the_export_stands_in_for_its_model(kept, monkeypatch):
    file, folder = kept
    assert with_export(ServiceSettings.of(model=str(file))).model == str(folder)
    assert folder.is_relative_to(folder.parents[1]) and "cache" in folder.parts
    assert with_export(ServiceSettings.of(model=str(folder))).model == str(folder)


@pytest.mark.parametrize("more", [{"device": "cuda"}, {"detector": "compact"}, {"broker": "amqp://localhost/"}])
def test_what_an_export_can_not_do_is_left_to_the_model(kept, more):
    file, _ = kept
    assert with_export(ServiceSettings.of(model=str(file), **more)).model == str(file)


def test_another_model_has_another_place(kept, tmp_path):
    file, folder = kept
    other = save_tiny_model(tmp_path / "other.safetensors", "mobilenetv3_small_075")
    assert kept_export(other) != folder == kept_export(file)
    assert with_export(ServiceSettings.of(model=str(other))).model == str(other)


def test_networks_of_an_export_have_one_thread_each_and_photos_share_the_cores(kept, monkeypatch):
    file, folder = kept
    monkeypatch.setattr(backends, "usable_cores", lambda: 4)
    assert backends.make_backend(ServiceSettings.of(model=str(folder)))._side_by_side == 4
    assert backends.make_backend(ServiceSettings.of(model=str(folder), threads=2))._side_by_side == 2
    assert backends.make_backend(ServiceSettings.of(model=str(file)))._side_by_side == 1


def test_bundled_models_need_no_export_and_share_the_cores(kept, monkeypatch):
    monkeypatch.setattr(backends, "usable_cores", lambda: 4)
    monkeypatch.setattr(backends, "may_have_gpu", lambda: False)
    settings = ServiceSettings.of()
    assert with_export(settings) is settings and not backends.wants_export(settings)
    for more in ({}, {"detector": "compact"}, {"device": "cpu"}, {"runtime": "onnx"}):
        assert backends.make_backend(ServiceSettings.of(**more))._side_by_side == 4, more
    for more in ({"runtime": "torch"}, {"device": "cuda"}, {"detector": "other.yaml"}, {"model": str(kept[0])}):
        assert backends.make_backend(ServiceSettings.of(**more))._side_by_side == 1, more
    monkeypatch.setattr(backends, "may_have_gpu", lambda: True)
    assert backends.make_backend(settings)._side_by_side == 1


def test_the_export_is_not_taken_where_torch_is_wanted(kept):
    file, _ = kept
    assert with_export(ServiceSettings.of(model=str(file), runtime="torch")).model == str(file)
    with pytest.raises(UsageError, match="runtime: .*'onnx', 'openvino' or 'torch'"):
        ServiceSettings.of(runtime="tensorflow")


def test_a_garage_is_served_as_it_is(tmp_path):
    """No export stands in for it, though torch runs its base."""
    path, _ = make_garage(save_tiny_model(tmp_path / "tiny.safetensors"), tmp_path / "garage")
    settings = ServiceSettings(model=str(path), device="cpu")
    assert with_export(settings) == settings and not runs_by_onnx(settings)
