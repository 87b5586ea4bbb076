"""Test-time augmentation: which views there are, that they are what they say, and that their answers are averaged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from carclf.classifier.preprocessing import normalise
from carclf.classifier.tta.network import TestTimeAugmentation
from carclf.classifier.tta.views import TtaConfig, View, make_views
from detection import UsageError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WIDE = (40, 56)


class Halves(nn.Module):
    """Logits that tell left from right and bright from dark: what a mirrored or brighter view changes."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def forward(self, images):
        self.batches.append(len(images))
        images = images.float()
        middle = images.shape[3] // 2
        left, right = images[..., :middle].mean((1, 2, 3)), images[..., middle:].mean((1, 2, 3))
        return torch.stack([left, right, (left + right) / 4], 1)


@pytest.fixture
def images():
    return torch.rand(3, 3, *WIDE, generator=torch.Generator().manual_seed(0))


def test_one_pass_is_the_model_itself(images):
    torch.testing.assert_close(TestTimeAugmentation(Halves(), 1)(images), Halves()(images).softmax(1))


def test_two_passes_are_the_mean_with_the_mirror_image(images):
    net = Halves()
    expected = (net(images).softmax(1) + net(images.flip(3)).softmax(1)) / 2
    torch.testing.assert_close(TestTimeAugmentation(net, "mirror")(images), expected)
    geometric = TtaConfig(passes=2, reduce="geometric")
    logs = (net(images).log_softmax(1) + net(images.flip(3)).log_softmax(1)) / 2
    torch.testing.assert_close(TestTimeAugmentation(net, geometric)(images), logs.softmax(1))


@pytest.mark.parametrize("passes", [1, 3, 10, 25])
def test_rows_are_probabilities_of_as_many_views_as_asked_for(images, passes):
    net = Halves()
    wrapped = TestTimeAugmentation(net, passes, MEAN, STD)
    rows = wrapped(normalise((images * 255).to(torch.uint8), MEAN, STD))
    assert rows.shape == (3, 3) and rows.dtype == torch.float32
    torch.testing.assert_close(rows.sum(1), torch.ones(3))
    assert sum(net.batches) == 3 * passes and max(net.batches) <= 32
    assert len(set(wrapped.views)) == passes, "each view is another one"
    assert wrapped.views == make_views(TtaConfig(passes=passes)), "always the same ones"


def test_a_large_batch_is_not_made_larger():
    net = Halves()
    TestTimeAugmentation(net, 10)(torch.rand(70, 3, 8, 8))
    assert net.batches == [70] * 10


def test_half_of_the_ten_views_are_mirrored_and_each_kind_is_among_them():
    views = make_views(TtaConfig(passes=10))
    assert sum(view.mirror for view in views) == 5 and views[0] == View()
    assert {view.angle for view in views} == {-4, 0, 4} and {view.crop for view in views} == {0.95, 1}
    assert {view.brightness for view in views} == {0.85, 1, 1.15}
    more = make_views(TtaConfig(passes=60))[10:]
    assert all(abs(view.angle) <= 4 and 0.85 <= view.brightness <= 1.15 for view in more)
    assert all(abs(part) <= 0.05 + 1e-9 for view in more for part in view.shift), "a crop stays inside the image"
    assert min(view.angle for view in more) < -2.5 and max(view.angle for view in more) > 2.5


def _look(image: torch.Tensor, **view) -> torch.Tensor:
    return TestTimeAugmentation(Halves(), 1).look(image, View(**view))


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("moves", [{"crop": 0.8}, {"angle": 7.0}, {"crop": 0.9, "shift": (0.1, -0.1)}])
def test_moving_a_plain_colour_or_white_border_changes_nothing(moves, mirror):
    plain = torch.full((2, 3, *WIDE), 255, dtype=torch.uint8)
    seen = _look(plain, mirror=mirror, **moves)
    assert seen.dtype == torch.uint8 and torch.equal(seen, plain), "nothing black comes in"


def test_a_crop_shows_the_middle_larger():
    image = torch.zeros(1, 3, *WIDE)
    image[..., 10:30, 14:42] = 1  # the middle half of each side
    assert _look(image, crop=0.5).mean() > 0.97


def test_a_shifted_crop_looks_right_and_down():
    image = torch.zeros(1, 3, *WIDE)
    image[..., 20:, 28:] = 1
    assert _look(image, crop=0.5, shift=(0.5, 0.5)).mean() > 0.9
    assert _look(image, crop=0.5, shift=(-0.5, -0.5)).mean() < 0.1
    mirrored = _look(image, mirror=True, crop=0.5, shift=(0.5, 0.5))
    assert mirrored.mean() > 0.9, "the same part, mirrored"


@pytest.mark.parametrize("size", [(41, 61), (61, 41)])
def test_a_turn_keeps_a_disc_round_and_moves_a_point_as_far_as_it_should(size):
    height, width = size
    y, x = torch.meshgrid(torch.arange(height) - height // 2, torch.arange(width) - width // 2, indexing="ij")
    disc = ((x**2 + y**2) < 15**2).float().expand(1, 3, -1, -1)
    assert (_look(disc, angle=30.0) - disc).abs().mean() < 0.02, "an oblong image is not sheared"
    point = ((x - 14) ** 2 + y**2 < 3**2).float().expand(1, 3, -1, -1)
    turned = _look(point, angle=30.0)[0, 0]
    middle = (turned * x).sum() / turned.sum(), (turned * y).sum() / turned.sum()
    assert np.allclose(middle, (14 * np.cos(np.pi / 6), -14 * np.sin(np.pi / 6)), atol=0.3)


def test_a_mirrored_turn_is_the_turn_seen_in_the_mirror(images):
    seen, other = _look(images, mirror=True, angle=5.0), _look(images, angle=5.0).flip(3)
    torch.testing.assert_close(seen, other, atol=1e-4, rtol=0)


def test_brightness_is_the_same_for_normalised_and_uint8_images():
    pixels = torch.randint(0, 256, (2, 3, *WIDE), dtype=torch.uint8)
    wrapped = TestTimeAugmentation(Halves(), 1, MEAN, STD)
    brighter = wrapped.look(pixels, View(brightness=1.3))
    assert brighter.dtype == torch.uint8 and brighter.max() == 255
    torch.testing.assert_close(
        wrapped.look(normalise(pixels, MEAN, STD), View(brightness=1.3)),
        normalise(brighter, MEAN, STD),
        atol=0.02,
        rtol=0,
    )


@pytest.mark.parametrize("wrong", ["three", 0, 101, "-1", 2.5])
def test_wrong_numbers_of_passes_are_one_sentence(wrong):
    with pytest.raises(UsageError, match="1 to 100"):
        TtaConfig.of(wrong)


def test_the_wrapper_is_a_module_with_the_weights_of_its_net():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    wrapped = TestTimeAugmentation(net, 4, MEAN, STD)
    assert {name.removeprefix("net.") for name in wrapped.state_dict()} == set(net.state_dict())
    assert not wrapped.eval().net.training
