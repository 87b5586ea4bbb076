"""One reader of weights, one set of messages."""

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from detection import UsageError
from detection.common.networks.arrays import read_arrays, read_metadata
from detection.common.networks.weights import is_matrix, is_wide_matrix, read_safetensors, write_safetensors


def test_tensors_and_metadata_come_back(tmp_path):
    save_file({"a": torch.arange(3).half()}, tmp_path / "a.safetensors", metadata={"format": "x"})
    tensors, metadata = read_safetensors(tmp_path / "a.safetensors")
    assert tensors["a"].dtype == torch.float16 and tensors["a"].tolist() == [0, 1, 2]
    assert metadata == {"format": "x"} == read_metadata(tmp_path / "a.safetensors")


def test_file_without_metadata_has_none(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    assert read_metadata(tmp_path / "a.safetensors") == {}


@pytest.mark.parametrize("read", [read_safetensors, read_arrays, read_metadata])
def test_missing_and_damaged_files_are_one_sentence(tmp_path, read):
    with pytest.raises(UsageError, match="There is no weights file"):
        read(tmp_path / "none.safetensors")
    save_file({"a": torch.zeros(100)}, tmp_path / "a.safetensors")
    (tmp_path / "a.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes()[:-20])
    with pytest.raises(UsageError, match="not a whole safetensors file"):
        read(tmp_path / "a.safetensors")


def test_tensors_are_halved_where_they_are_to_be(tmp_path):
    state = {
        "layer.weight": torch.rand(3, 2, dtype=torch.float32).T,
        "norm.running_var": torch.tensor([1e6, 1e-9]),
        "norm.num_batches_tracked": torch.tensor(7),
        "order": torch.tensor([[1, 2]]),
    }
    path = tmp_path / "new" / "weights.safetensors"
    write_safetensors(path, state, {"format": "x"}, half=is_matrix)
    tensors, metadata = read_safetensors(path)
    assert metadata == {"format": "x"} and set(tensors) == {"layer.weight", "norm.running_var", "order"}
    assert [tensors[name].dtype for name in sorted(tensors)] == [torch.float16, torch.float32, torch.int64]
    assert torch.equal(tensors["layer.weight"], state["layer.weight"].half())
    assert torch.equal(tensors["norm.running_var"], state["norm.running_var"])
    write_safetensors(path, state)
    assert torch.equal(read_safetensors(path)[0]["layer.weight"], state["layer.weight"])
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_eight_bits_are_read_as_what_was_written_up_to_half_a_step(tmp_path):
    generator = torch.Generator().manual_seed(0)
    state = {
        "wide": torch.randn(5, 200, generator=generator) * torch.tensor([1e-6, 1e-3, 1, 50, 0]).reshape(-1, 1),
        "kernel": torch.randn(4, 64, 1, 1, generator=generator),
        "narrow": torch.randn(6, 9, generator=generator),
        "vector": torch.randn(300, generator=generator),
    }
    write_safetensors(tmp_path / "w.safetensors", state, {"a": "b"}, half=is_matrix, eight_bits=is_wide_matrix)
    tensors, metadata = read_safetensors(tmp_path / "w.safetensors")
    arrays, same = read_arrays(tmp_path / "w.safetensors")
    assert metadata == same == {"a": "b"} and set(tensors) == set(arrays) == set(state)
    for name, tensor in state.items():
        assert np.array_equal(arrays[name], tensors[name].float().numpy())
        assert tensors[name].shape == tensor.shape
    for name in ("wide", "kernel"):
        step = state[name].flatten(1).abs().amax(dim=1) / 127
        off = (tensors[name] - state[name]).flatten(1).abs().amax(dim=1)
        assert (off <= 0.501 * step + 1e-12).all()
    assert torch.equal(tensors["narrow"], state["narrow"].half()) and torch.equal(tensors["vector"], state["vector"])
    with safe_open(tmp_path / "w.safetensors", "np") as file:
        assert file.get_tensor("wide").dtype == file.get_tensor("kernel").dtype == np.int8
