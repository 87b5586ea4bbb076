"""One reader of weights, one set of messages."""

import pytest
import torch
from safetensors.torch import save_file

from detection import UsageError
from detection.common.weights import read_metadata, read_safetensors


def test_tensors_and_metadata_come_back(tmp_path):
    save_file({"a": torch.arange(3).half()}, tmp_path / "a.safetensors", metadata={"format": "x"})
    tensors, metadata = read_safetensors(tmp_path / "a.safetensors")
    assert tensors["a"].dtype == torch.float16 and tensors["a"].tolist() == [0, 1, 2]
    assert metadata == {"format": "x"} == read_metadata(tmp_path / "a.safetensors")


def test_file_without_metadata_has_none(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    assert read_metadata(tmp_path / "a.safetensors") == {}


@pytest.mark.parametrize("read", [read_safetensors, read_metadata])
def test_missing_and_damaged_files_are_one_sentence(tmp_path, read):
    with pytest.raises(UsageError, match="There is no weights file"):
        read(tmp_path / "none.safetensors")
    save_file({"a": torch.zeros(100)}, tmp_path / "a.safetensors")
    (tmp_path / "a.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes()[:-20])
    with pytest.raises(UsageError, match="not a whole safetensors file"):
        read(tmp_path / "a.safetensors")
