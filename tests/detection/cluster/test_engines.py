"""The engines do the same: each ends what the other began, with the rows and bytes of a run of its own."""

from __future__ import annotations

import os

import pytest

from detection.cluster.connect import Cluster
from detection.folder.run import clean_folder
from detection.publishing.hiding.cover import HideStyle
from tests.clusters import draw_photos, far, loader, local, nodes
from tests.folder_runs import STYLE, tree

pytest.importorskip("ray", reason="no Ray here: install the extra dev")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="Ray makes no cluster of several nodes on Windows")


@pytest.fixture(autouse=True)
def no_network():
    """In place of the one of all tests: Ray's nodes meet at this machine's own address, not at loopback's."""


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of one core, the head one of them."""
    with nodes(1, head=1) as made:
        yield Cluster(address=made.address)


def test_as_a_local_run(cluster, tmp_path):
    source = draw_photos(tmp_path / "in", 20)
    expected = local(source, tmp_path / "reference")
    summary = far(source, tmp_path / "out", loader(), cluster)
    assert tree(tmp_path / "out") == expected
    assert (summary.processed, summary.exit_code) == (22, 3)
    again = far(source, tmp_path / "out", loader(), cluster)
    assert again.processed == 0 and tree(tmp_path / "out") == expected


@pytest.mark.parametrize("first", ["local", "ray"])
def test_either_engine_ends_what_the_other_began(cluster, tmp_path, first):
    source, out = draw_photos(tmp_path / "in", 20), tmp_path / "out"
    expected = local(source, tmp_path / "reference")
    begins, ends = (None, cluster) if first == "local" else (cluster, None)
    with pytest.raises(KeyboardInterrupt):
        clean_folder(source, out, loader(), STYLE, cluster=begins, progress=interrupt)
    summary = clean_folder(source, out, loader(), STYLE, cluster=ends, progress=False)
    assert summary.processed == 12 and tree(out) == expected


def test_workers_hide_as_one_machine_does(cluster, tmp_path):
    """By the network itself, which each worker opens; how many it finds on drawn cars is no matter here."""
    source = draw_photos(tmp_path / "in", 6)
    options = {"hide": HideStyle(way="fill"), "whole_photos": True, "kinds": "all"}
    clean_folder(source, tmp_path / "reference", loader(), STYLE, progress=False, **options)
    far(source, tmp_path / "out", loader(), cluster, **options)
    assert tree(tmp_path / "out") == tree(tmp_path / "reference")
    assert b"hidden_at" in tree(tmp_path / "out")["manifest.csv"]


def interrupt(done, total):
    if done == 10:
        raise KeyboardInterrupt
