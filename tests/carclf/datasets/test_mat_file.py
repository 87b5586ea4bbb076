"""The reader of .mat files gives what SciPy's gives, and takes damaged ones for damaged."""

import contextlib

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from carclf.datasets.layouts.mat_file import NewerFormat, read_mat
from tests.carclf.datasets.mat_arrays import cell, structures

CONTENT = {
    "whole": np.arange(6, dtype=np.uint8).reshape(2, 3),
    "line": np.linspace(0, 1, 5),
    "one": np.array([[7]], np.int16),
    "text": "a plain text",
    "cyrillic": "Лада Нива",
    "cells": cell(["AM General Hummer SUV 2000", "Ram C/V", np.array([[3.0]])]),
    "several": structures([(1, "a.jpg", 2.5), (300, "b.jpg", -1.0)], ("class", "fname", "x")),
    "single": structures([(1, cell(["x", "yz"]))], ("class", "names")),
    "nothing": np.zeros((0, 0)),
}


@pytest.mark.parametrize("compressed", [False, True])
def test_it_reads_what_scipy_reads(tmp_path, compressed):
    path = tmp_path / "a.mat"
    savemat(path, CONTENT, do_compression=compressed)
    wanted = loadmat(path, simplify_cells=True)
    found = read_mat(path, CONTENT)
    assert found.keys() == CONTENT.keys()
    for name in CONTENT:
        np.testing.assert_equal(plain(found[name]), plain(wanted[name]))
    assert read_mat(path, ["one", "missing"]) == {"one": 7}


def plain(thing):
    """Lists where a reader may give an array, so that the values are compared and not their holders."""
    if isinstance(thing, dict):
        return {name: plain(value) for name, value in thing.items()}
    if isinstance(thing, list | np.ndarray) and np.ndim(thing):
        return [plain(one) for one in thing]
    return thing


def test_a_file_that_ends_anywhere_is_damaged_or_holds_less(tmp_path):
    path = tmp_path / "a.mat"
    savemat(path, CONTENT)
    data = path.read_bytes()
    for length in range(0, len(data), 37):
        path.write_bytes(data[:length])
        try:
            assert len(read_mat(path, CONTENT)) < len(CONTENT)
        except ValueError as error:
            assert str(error)


@pytest.mark.parametrize("compressed", [False, True])
def test_bytes_that_were_changed_raise_nothing_but_value_errors(tmp_path, compressed):
    path = tmp_path / "a.mat"
    savemat(path, {"several": CONTENT["several"], "cells": CONTENT["cells"]}, do_compression=compressed)
    data = path.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(100):
        changed = bytearray(data)
        changed[random.integers(128, len(data))] = random.integers(256)
        path.write_bytes(changed)
        with contextlib.suppress(ValueError):
            read_mat(path, CONTENT)


def test_a_packed_giant_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.mat"
    savemat(path, {"whole": np.zeros(5000)}, do_compression=True)
    monkeypatch.setattr("carclf.datasets.layouts.mat_file._LARGEST", 1000)
    with pytest.raises(ValueError, match="larger than"):
        read_mat(path, ["whole"])


def test_the_newer_format_is_told(tmp_path):
    path = tmp_path / "a.mat"
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(600))
    with pytest.raises(NewerFormat):
        read_mat(path, ["a"])
