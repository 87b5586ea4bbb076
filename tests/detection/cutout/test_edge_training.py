"""What the network of the trained edge learns from, and that its files are those of the network."""

import numpy as np
import pytest

from benchmarks.soft_cutouts import SoftCutout
from detection.cutout.edge_network import EDGE_NETWORK
from detection.detectors.compact.files import bundled_path
from scripts.edges.patches import SIDE, Patches
from tests.detection.cutout.test_edge import scene

torch = pytest.importorskip("torch")
network = pytest.importorskip("scripts.edges.network")


@pytest.fixture(scope="module")
def drawn():
    photo, truth, coarse = scene()
    one = SoftCutout("drawn", photo, truth.astype(np.uint8) * 255, coarse)
    behind = [np.random.default_rng(1).integers(0, 256, (200, 300, 3), dtype=np.uint8)]
    patches = Patches(np.random.default_rng(0), [one], behind)
    return [patches.draw() for _ in range(12)]


def test_patches_lie_along_the_edge(drawn):
    for given, alpha, weights in drawn:
        assert given.shape == (network.CHANNELS, SIDE, SIDE) and alpha.shape == weights.shape == (1, SIDE, SIDE)
        assert given.dtype == alpha.dtype == weights.dtype == np.float32
        assert given.min() >= 0 and given.max() <= 1 and set(np.unique(given[3])) <= {0.0, 1.0}
        assert 0.02 < alpha.mean() < 0.98 and weights.max() > 0.3
        assert np.abs(given[4] - alpha[0])[weights[0] == 0].max() < 0.5  # what counts nothing is right already


def test_a_new_network_gives_the_guided_edge(drawn):
    given = torch.from_numpy(np.stack([one for one, _, _ in drawn[:2]]))
    with torch.no_grad():
        assert torch.equal(network.EdgeNet()(given), given[:, 4:])


@pytest.mark.slow
def test_the_network_learns(drawn):
    torch.manual_seed(0)
    given, alpha, weights = (torch.from_numpy(np.stack(part)) for part in zip(*drawn, strict=True))
    net = network.EdgeNet()
    before = network.loss(given[:, 4:], alpha, weights).item()
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    for _ in range(25):
        error = network.loss(net(given), alpha, weights)
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    assert error.item() < 0.9 * before


def test_what_is_beyond_the_right_end_is_no_error():
    one = torch.ones(1, 1, 2, 2)
    assert network.loss(one * 1.5, one, one).item() == 0 and network.loss(one * -0.5, one * 0, one).item() == 0
    assert network.loss(one * 1.5, one * 0, one).item() == pytest.approx(1.5)


def test_the_bundled_graph_computes_what_the_network_does():
    from detection.common.networks.weights import read_safetensors

    tensors = read_safetensors(bundled_path(network.WEIGHTS))[0]
    net = network.EdgeNet().eval()
    net.load_state_dict({name.removeprefix(network.PREFIX): one for name, one in tensors.items()}, strict=False)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 56, 3), dtype=np.uint8)
    mask, guided = rng.random((40, 56)) > 0.5, rng.integers(0, 256, (40, 56), dtype=np.uint8)
    given = np.concatenate([image.transpose(2, 0, 1), np.stack([mask * np.uint8(255), guided])])
    with torch.no_grad():
        wanted = net(torch.from_numpy(given[None].astype(np.float32) / 255))[0, 0].clamp(0, 1).numpy()
    assert np.abs(EDGE_NETWORK.correct(image, mask, guided) - wanted).max() < 1e-4
    whole = EDGE_NETWORK.correct(image[:37, :50], mask[:37, :50], guided[:37, :50])  # sides need be no multiples
    assert whole.shape == (37, 50)


@pytest.mark.slow
def test_files_are_written_that_can_be_opened(tmp_path):
    from detection.common.networks.arrays import read_arrays
    from detection.detectors.onnx.session import open_graphs

    network.write(network.EdgeNet(), tmp_path)
    weights = tmp_path / network.WEIGHTS
    assert weights.stat().st_size + (tmp_path / network.GRAPH).stat().st_size < 300_000
    (session,) = open_graphs([tmp_path / network.GRAPH], weights, read_arrays(weights)[0], 1)
    given = np.random.default_rng(0).random((1, 5, 24, 48), np.float32)
    assert np.allclose(session.run(None, {"image": given})[0], given[:, 4:], atol=1e-6)
