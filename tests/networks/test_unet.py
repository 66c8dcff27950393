"""The U-Net: the published weight counts, what a pixel sees, any pruned widths."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_topiary.errors import TopiaryError
from napari_topiary.networks import (
    build_network,
    count_parameters,
    resize_layers,
    resolve_sizes,
)
from napari_topiary.networks.unet import UNet, UNetSizes, receptive_radius

# base, levels, weights with last = base, weights with last = 64 (1 channel, 16 classes)
PUBLISHED = [
    (64, 4, 31_031_568, 31_031_568),
    (32, 5, 31_094_416, 31_141_072),
    (16, 6, 31_109_968, 31_159_216),
    (32, 4, 7_760_016, 7_806_672),
    (16, 5, 7_775_568, 7_824_816),
    (8, 6, 7_779_376, 7_824_736),
    (64, 2, 1_862_672, 1_862_672),
    (32, 3, 1_925_520, 1_972_176),
    (16, 4, 1_941_072, 1_990_320),
    (8, 5, 1_944_880, 1_990_240),
    (4, 6, 1_945_792, 1_987_912),
]


def weights(in_channels: int, n_classes: int, **sizes: object) -> int:
    """Weights of the module itself, built without memory; checks the formula too."""
    with torch.device("meta"):
        built = count_parameters(build_network("unet", sizes, in_channels, n_classes))
    made = UNetSizes.from_mapping(sizes)
    assert made.parameters(in_channels, n_classes) == built
    return built


@pytest.mark.parametrize(("base", "levels", "plain", "last64"), PUBLISHED)
def test_published_counts(base: int, levels: int, plain: int, last64: int) -> None:
    assert weights(1, 16, base=base, levels=levels) == plain
    assert weights(1, 16, base=base, levels=levels, last=64) == last64


def test_further_published_counts() -> None:
    assert weights(1, 2, base=64, levels=4) == 31_030_658
    assert weights(3, 1, base=16, levels=4) == 1_941_105


@pytest.mark.parametrize(
    ("base", "multiplier", "levels", "last", "millions"),
    [
        (64, 1.6, 4, 32, 7.77),
        (24, 3, 3, 64, 7.76),
        (8, 3, 4, 64, 7.76),
        (96, 1.25, 5, 64, 7.79),
    ],
)
def test_fractional_multipliers(
    base: int, multiplier: float, levels: int, last: int, millions: float
) -> None:
    found = weights(1, 16, base=base, multiplier=multiplier, levels=levels, last=last)
    assert round(found / 1e6, 2) == millions


@pytest.mark.parametrize(
    ("preset", "count"),
    [
        ("original", 31_030_658),
        ("7.8m-wide", 7_759_554),
        ("7.8m-deep", 7_775_330),
        ("2m", 1_940_834),
        ("tiny", 120_690),
    ],
)
def test_presets(preset: str, count: int) -> None:
    assert weights(1, 2, **resolve_sizes("unet", preset)) == count


def test_batch_norm_adds_two_weights_per_map_of_a_pair() -> None:
    plain = weights(1, 2, base=4, levels=2)
    normed = weights(1, 2, base=4, levels=2, batch_norm=True)
    assert normed - plain == 2 * 2 * (4 + 8 + 16 + 8 + 4)


def test_widths_follow_base_and_multiplier() -> None:
    network = build_network("unet", {"base": 6, "multiplier": 1.5, "levels": 3}, 2, 5)
    assert isinstance(network, UNet)
    layers = dict(network.named_modules())
    outputs = [layers[f"{n}.conv2"].out_channels for n in ("down0", "down1", "down2")]
    assert [*outputs, layers["bottom.conv2"].out_channels] == [6, 9, 14, 20]
    assert layers["up0.transpose"].in_channels == 9
    assert layers["up0.transpose"].out_channels == 6
    assert layers["up0.conv1"].in_channels == 12
    assert layers["down0.conv1"].in_channels == 2
    assert layers[network.output_layers[0]].out_channels == 5


@pytest.mark.parametrize("levels", [0, 1, 3])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_logits_have_the_size_of_the_image(levels: int, batch_norm: bool) -> None:
    sizes = {"base": 2, "levels": levels, "batch_norm": batch_norm, "last": 3}
    network = build_network("unet", sizes, 3, 4)
    assert network.stride == 2**levels
    side = 2 * network.stride
    assert network(torch.zeros(2, 3, side, 3 * side)).shape == (2, 4, side, 3 * side)


@pytest.mark.parametrize("levels", [0, 1, 2, 3, 4])
def test_halo_is_exactly_how_far_a_pixel_sees(levels: int) -> None:
    """Not-a-number spreads along every path there is, whatever the weights are."""
    network = build_network("unet", {"base": 1, "levels": levels}, 1, 2).eval()
    stride, halo = network.stride, network.halo
    assert halo == receptive_radius(levels)
    length = -(-(2 * halo + 2 * stride) // stride) * stride
    middle = length // 2 // stride * stride
    places = range(middle, middle + stride)
    images = torch.zeros(stride, 1, stride, length)
    for image, place in zip(images, places, strict=True):
        image[..., place] = torch.nan
    with torch.inference_mode():
        answers = network(images).isnan().any(dim=1).any(dim=1)
    seen = set()
    for touched, place in zip(answers, places, strict=True):
        reached = torch.nonzero(touched).ravel()
        assert touched[reached[0] : reached[-1] + 1].all()
        seen |= {place - int(reached[0]), int(reached[-1]) - place}
    assert max(seen) == halo


def test_fresh_weights_keep_the_variance() -> None:
    torch.manual_seed(0)
    network = build_network("unet", {"base": 16, "levels": 3}, 1, 2)
    with torch.inference_mode():
        logits = network(torch.randn(1, 1, 64, 64))
    assert 0.1 < float(logits.std()) < 10
    assert all(
        float(p.detach().abs().sum()) == 0
        for n, p in network.named_parameters()
        if "bias" in n
    )


def test_the_same_seed_gives_the_same_network() -> None:
    made = []
    for _ in range(2):
        torch.manual_seed(3)
        made.append(build_network("unet", {"base": 2, "levels": 1}, 1, 2).state_dict())
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])


def test_cut_networks_equal_networks_with_silent_maps() -> None:
    """Remove a map of `down0`: it leaves the pooled path and the skip connection."""
    torch.manual_seed(0)
    network = build_network("unet", {"base": 3, "levels": 1}, 1, 2).eval()
    for parameter in network.parameters():
        parameter.data.normal_()
    keep = torch.tensor([0, 2])
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    silent = dict(state)
    silent["down0.conv2.weight"] = state["down0.conv2.weight"].clone()
    silent["down0.conv2.weight"][1] = 0
    silent["down0.conv2.bias"] = state["down0.conv2.bias"].clone()
    silent["down0.conv2.bias"][1] = 0
    cut = dict(state)
    for name in ("down0.conv2.weight", "down0.conv2.bias"):
        cut[name] = state[name][keep]
    cut["bottom.conv1.weight"] = state["bottom.conv1.weight"][:, keep]
    cut["up0.conv1.weight"] = state["up0.conv1.weight"][:, [0, 2, 3, 4, 5]]
    image = torch.randn(1, 1, 8, 8)
    with torch.inference_mode():
        network.load_state_dict(silent)
        expected = network(image)
        widths = {"down0.conv2": (2, 3), "bottom.conv1": (6, 2), "up0.conv1": (3, 5)}
        resize_layers(network, widths)
        network.load_state_dict(cut)
        found = network(image)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_channels_last_changes_nothing_but_speed() -> None:
    network = build_network("unet", {"base": 4, "levels": 2}, 1, 2).eval()
    image = torch.randn(1, 1, 16, 16)
    with torch.inference_mode():
        plain = network(image)
        network.to(memory_format=torch.channels_last)
        fast = network(image.contiguous(memory_format=torch.channels_last))
    np.testing.assert_allclose(fast, plain, atol=1e-5)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"base": 0}, "Maps at full size 0 .* from 1 to 512"),
        ({"base": 513}, "Maps at full size 513 "),
        ({"base": 8.0}, "whole number"),
        ({"base": True}, "Maps at full size True "),
        ({"levels": -1}, "Levels -1 "),
        ({"levels": 9}, "from 0 to 8"),
        ({"levels": "4"}, "Levels '4' "),
        ({"multiplier": 0.5}, r"Growth by level 0\.5 .* from 1 to 4"),
        ({"multiplier": float("nan")}, "Growth by level nan"),
        ({"last": 0}, "Maps at the end 0 "),
        ({"batch_norm": 1}, "on or off"),
        ({"depth": 3}, "no size called 'depth': it has base, multiplier"),
        ({"base": 512, "multiplier": 4, "levels": 8}, "billion weights"),
    ],
)
def test_impossible_sizes_are_a_sentence(sizes: dict[str, object], words: str) -> None:
    with pytest.raises(TopiaryError, match=words):
        build_network("unet", sizes, 1, 2)
    with pytest.raises(TopiaryError, match=words):
        resolve_sizes("unet", "tiny", sizes)
