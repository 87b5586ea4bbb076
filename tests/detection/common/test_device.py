import pytest
import torch
from torch import nn

from detection.common.networks.device import keep_depthwise_float32


@pytest.mark.parametrize(("frozen", "before", "wanted"), [
    (False, False, torch.float32),  # a gradient for its weights
    (True, True, torch.float32),  # frozen itself, but gradients pass through
    (True, False, torch.bfloat16),
])  # fmt: skip
def test_depthwise_convolutions_stay_in_float32_where_gradients_flow(frozen, before, wanted):
    net = keep_depthwise_float32(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, groups=4)))
    net[0].requires_grad_(before)
    net[1].requires_grad_(not frozen)
    with torch.autocast("cpu", torch.bfloat16):
        assert net(torch.zeros(1, 3, 8, 8)).dtype == wanted


def test_dense_convolutions_follow_the_autocast():
    net = keep_depthwise_float32(nn.Sequential(nn.Conv2d(3, 4, 1)))
    with torch.autocast("cpu", torch.bfloat16):
        assert net(torch.zeros(1, 3, 8, 8)).dtype == torch.bfloat16
