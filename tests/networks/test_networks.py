"""What every registered network has to keep to, and the tools for all of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from napari_topiary.errors import TopiaryError
from napari_topiary.networks import (
    Network,
    build_network,
    count_macs_per_pixel,
    count_parameters,
    networks,
    resize_layers,
    resolve_sizes,
)


@pytest.fixture(params=list(networks))
def network(request: pytest.FixtureRequest) -> Network:
    """Every registered network in its default size."""
    torch.manual_seed(0)
    return build_network(request.param, resolve_sizes(request.param), 1, 3).eval()


def test_output_has_the_shape_of_the_input(network: Network) -> None:
    height, width = 2 * network.stride, 3 * network.stride
    logits = network(torch.randn(2, 1, height, width))
    assert logits.shape == (2, 3 + network.regressions, height, width)
    assert logits.isfinite().all()


def test_context_of_halo_is_enough(network: Network) -> None:
    """A window with that much context says the same as the whole image."""
    stride = network.stride
    context = -(-network.halo // stride) * stride
    height = 2 * context + 2 * stride
    image = torch.randn(1, 1, height, 2 * stride)
    with torch.inference_mode():
        whole = network(image)
        window = network(image[:, :, stride:])
        kept = slice(stride + context, None)
        np.testing.assert_allclose(window[:, :, context:], whole[:, :, kept], atol=1e-5)


def test_output_layer_makes_the_classes(network: Network) -> None:
    layers = [network.get_submodule(name) for name in network.output_layers]
    made = sum(layer.weight.shape[0] for layer in layers) - network.regressions
    assert made in (3, 2)  # the background's logit may be fixed at 0


def test_macs_agree_with_torchs_own_counter(network: Network) -> None:
    """Counted as what a larger image costs more: borders may cost something too."""
    step = 8 * network.stride
    network = network.to("meta")
    macs = []
    for side in (step, 2 * step, 3 * step):
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            network(torch.zeros(1, 1, side, side, device="meta"))
        macs.append(counter.get_total_flops() / 2)
    expected = (macs[2] - 2 * macs[1] + macs[0]) / (2 * step**2)
    assert count_macs_per_pixel(network) == expected


def test_counting_leaves_the_network_alone(network: Network) -> None:
    before = {name: t.clone() for name, t in network.state_dict().items()}
    count_macs_per_pixel(network)
    assert all(not m._forward_hooks for m in network.modules())
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_every_preset_builds() -> None:
    for name in networks:
        for preset in networks[name].presets:
            with torch.device("meta"):
                made = build_network(name, resolve_sizes(name, preset), 1, 2)
            assert count_parameters(made) > 0


def test_macs_by_hand() -> None:
    sizes = {"base": 4, "multiplier": 2, "levels": 1}
    made = build_network("unet", sizes, 3, 2)
    fine = 9 * (3 * 4 + 4 * 4 + 8 * 4 + 4 * 4) + 4 * 2
    coarse = 9 * (4 * 8 + 8 * 8) + 4 * 8 * 4
    assert count_macs_per_pixel(made) == fine + coarse / 4


@pytest.mark.parametrize(
    ("preset", "overrides", "words"),
    [
        ("tinny", {}, "no preset called 'tinny'. Did you mean 'tiny'"),
        ("tiny", {"bass": 3}, "no size called 'bass'"),
        ("2m", {"levels": 12}, "Levels 12 is not possible"),
    ],
)
def test_wrong_sizes_are_a_sentence(
    preset: str, overrides: dict[str, object], words: str
) -> None:
    with pytest.raises(TopiaryError, match=words):
        resolve_sizes("unet", preset, overrides)


def test_wrong_networks_are_a_sentence() -> None:
    with pytest.raises(TopiaryError, match="Did you mean 'unet'"):
        resolve_sizes("unett")
    with pytest.raises(TopiaryError, match="0 image channels"):
        build_network("unet", {}, 0, 2)
    with pytest.raises(TopiaryError, match="'2' classes"):
        build_network("unet", {}, 1, "2")  # type: ignore[arg-type]


def test_sizes_of_a_preset_can_be_replaced() -> None:
    assert resolve_sizes("unet", "2m", {"levels": 2}) == {
        "base": 16,
        "multiplier": 2.0,
        "levels": 2,
    }
    assert resolve_sizes("unet", "") == resolve_sizes("unet", "tiny")


class Mixed(Network):
    """One layer of each kind whose width can change."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.depthwise = nn.Conv2d(4, 4, 3, groups=4, bias=False)
        self.up = nn.ConvTranspose2d(4, 6, 2)
        self.linear = nn.Linear(6, 3)
        self.grouped = nn.Conv2d(4, 4, 1, groups=2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Run them in order."""
        maps = self.up(self.depthwise(self.norm(self.conv(image))))
        result: torch.Tensor = self.linear(maps.movedim(1, -1)).movedim(-1, 1)
        return result


def test_any_kind_of_layer_can_be_resized() -> None:
    network = Mixed().eval()
    network.conv.weight.requires_grad_(False)
    resize_layers(
        network,
        {
            "conv": (3, 2),
            "norm": (3, 3),
            "depthwise": (3, 3),
            "up": (5, 3),
            "linear": (3, 5),
        },
    )
    assert network.conv.weight.shape == (3, 2, 3, 3)
    assert not network.conv.weight.requires_grad
    assert network.norm.running_mean.shape == network.norm.bias.shape == (3,)
    assert network.depthwise.weight.shape == (3, 1, 3, 3)
    assert network.depthwise.bias is None
    assert network.up.weight.shape == (3, 5, 2, 2)
    assert network.up.weight.requires_grad
    assert network.linear.weight.shape == (3, 5)
    assert network(torch.zeros(1, 2, 9, 9)).shape == (1, 3, 6, 6)


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({"nothing": (1, 1)}, "no layer called 'nothing'"),
        ({"grouped": (2, 2)}, "grouped"),
        ({"depthwise": (2, 3)}, "depthwise"),
        ({"": (2, 3)}, "Mixed: its width cannot be changed"),
    ],
)
def test_layers_that_cannot_be_resized(
    shapes: dict[str, tuple[int, int]], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        resize_layers(Mixed(), shapes)
