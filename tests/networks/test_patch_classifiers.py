"""Classifiers of centre pixels: published numbers, images equal to their patches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from napari_topiary.errors import TopiaryError
from napari_topiary.networks import (
    Network,
    activation_bytes,
    build_network,
    count_macs_per_pixel,
    count_parameters,
    networks,
    recipe_config,
    resolve_sizes,
)
from napari_topiary.networks.patch_classifier import PatchClassifier

DCNN = {  # share removed of every convolution's maps -> weights (Götz et al. 2022)
    0.0: 916_959, 0.1: 810_385, 0.2: 706_142, 0.3: 606_453, 0.4: 509_345,
    0.5: 416_541, 0.6: 326_568, 0.7: 240_649, 0.8: 157_811, 0.9: 78_777,
}  # fmt: skip
DCCN = {
    0.0: 4_794_754, 0.1: 3_936_757, 0.2: 3_132_549, 0.3: 2_422_197, 0.4: 1_801_096,
    0.5: 1_214_658, 0.6: 803_765, 0.7: 465_525, 0.8: 219_541, 0.9: 64_408,
}  # fmt: skip
MEMBRANE = {  # preset -> weights, % pruned, KiB, million MACs a patch (Roels 2017)
    "N": (236_977, 0.0, 653.6, 18.65),
    "N1": (206_817, 12.7, 593.5, 16.76),
    "N2": (158_692, 33.0, 444.9, 12.14),
    "N3": (167_652, 29.3, 583.0, 14.01),
    "N4": (198_557, 16.2, 593.1, 16.74),
    "N5": (205_097, 13.5, 593.2, 16.76),
    "N6": (120_672, 49.1, 433.8, 10.12),
    "N7": (18_462, 92.2, 196.6, 2.22),
}


def kept(maps: int, tenths: int) -> int:
    """What is left of so many maps when floor(δ·n) go."""
    return maps - maps * tenths // 10


def weights(name: str, sizes: dict[str, int], channels: int, classes: int = 2) -> int:
    """Count the built network, and hold the form's own count to it."""
    with torch.device("meta"):
        built = count_parameters(build_network(name, sizes, channels, classes))
    form = networks[name].sizes.from_mapping(sizes)
    assert form.parameters(channels, classes) == built
    return built


def small(name: str, channels: int, classes: int = 2) -> PatchClassifier:
    """A narrow one whose biases matter."""
    torch.manual_seed(1)
    preset = {"membrane_cnn": "N7"}.get(name, "small")
    network = build_network(name, resolve_sizes(name, preset), channels, classes)
    for parameter in network.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
    assert isinstance(network, PatchClassifier)
    return network.eval()


def patch_by_patch(network: Network, image: torch.Tensor) -> torch.Tensor:
    """The definition: cut every patch out of the image that numpy has mirrored."""
    side = network.patch
    before, after = side // 2, side - 1 - side // 2
    grow = ((0, 0), (before, after), (before, after))
    answers = []
    for one in image.numpy():
        grown = np.pad(one, grow, mode="reflect")
        for y in range(one.shape[1]):
            row = [grown[:, y : y + side, x : x + side] for x in range(one.shape[2])]
            answers.append(network.on_patches(torch.from_numpy(np.stack(row))))
    shape = (len(image), image.shape[2], image.shape[3], -1)
    return torch.cat(answers).reshape(shape).movedim(3, 1)


@pytest.mark.parametrize("tenths", range(10))
def test_dcnn_has_the_published_weights(tenths: int) -> None:
    maps = {"conv1": 25, "conv2": 50, "conv3": 80}
    sizes = {name: kept(n, tenths) for name, n in maps.items()}
    assert weights("dcnn", sizes, 3) == DCNN[tenths / 10]


def test_dcnn_with_one_output() -> None:
    assert weights("dcnn", {}, 3, classes=1) == 915_934


@pytest.mark.parametrize("tenths", range(10))
def test_dccn_has_the_published_weights(tenths: int) -> None:
    maps = {
        "stem": 64,
        "growth": 32,
        "bottleneck": 128,
        "transition1": 128,
        "transition2": 256,
        "transition3": 512,
    }
    sizes = {name: kept(n, tenths) for name, n in maps.items()}
    assert weights("dccn", sizes, 3) == DCCN[tenths / 10]


@pytest.mark.parametrize("preset", MEMBRANE)
def test_membrane_network_has_the_published_figures(preset: str) -> None:
    count, share, memory, macs = MEMBRANE[preset]
    sizes = resolve_sizes("membrane_cnn", preset)
    assert weights("membrane_cnn", sizes, 1) == count
    assert 100 * (1 - count / 236_977) == pytest.approx(share, abs=0.05)
    network = build_network("membrane_cnn", sizes, 1, 2)
    assert activation_bytes(network) / 1024 == pytest.approx(memory, abs=0.06)
    positions = {"conv1": 26**2, "conv2": 9**2, "conv3": 2**2, "fc1": 1, "output": 1}
    by_patch = sum(
        network.get_submodule(name).weight.numel() * n for name, n in positions.items()
    )
    assert by_patch / 1e6 == pytest.approx(macs, abs=0.005)


def test_activation_bytes_by_hand() -> None:
    network = build_network("unet", {"base": 4, "levels": 1}, 1, 2)
    fine, coarse = 32**2, 16**2
    maps = (
        1 + 8 + 8 + 4 + 8 + 8 + 8 + 2
    )  # input, convolutions and ReLUs, joined, output
    halved = 4 + 16 + 16
    assert activation_bytes(network) == 4 * (maps * fine + halved * coarse)
    assert activation_bytes(network, bytes_per_value=2, side=64) == 8 * (
        maps * fine + halved * coarse
    )
    assert network.training


@pytest.mark.parametrize(
    ("name", "layer", "shape"),
    [
        ("dcnn", "conv3", (80, 6, 6)),
        ("membrane_cnn", "conv3", (50, 2, 2)),
        ("membrane_cnn", "fc1", (200, 1, 1)),
        ("dccn", "transition3.conv", (512, 3, 3)),
    ],
)
def test_what_is_left_of_a_patch(
    name: str, layer: str, shape: tuple[int, int, int]
) -> None:
    """The last pooling then makes 80×3×3, 50×1×1 and 512×1×1 of it."""
    network = build_network(name, {}, 3, 2).eval()
    seen: dict[str, torch.Size] = {}
    for watched in (layer, "output" if name != "dcnn" else "fc1"):
        module = network.get_submodule(watched)
        module.register_forward_hook(
            lambda _m, into, out, key=watched: seen.update(
                {key: out.shape, f"{key} reads": into[0].shape}
            )
        )
    with torch.inference_mode():
        assert network.on_patches(
            torch.zeros(1, 3, network.patch, network.patch)
        ).shape == (1, 2, 1, 1)
    assert seen[layer][1:] == shape
    if name == "dcnn":
        assert seen["fc1 reads"][1:] == (80, 3, 3)
    if name == "dccn":
        assert seen["output reads"][1:] == (512, 1, 1)


@pytest.mark.parametrize("name", ["dcnn", "membrane_cnn", "dccn"])
@pytest.mark.parametrize("size", [(1, 1), (1, 3), (2, 9), (7, 5)])
def test_tiny_images_equal_their_patches(name: str, size: tuple[int, int]) -> None:
    """Smaller than a patch, mirrored again and again."""
    network = small(name, channels=2, classes=3)
    image = torch.randn(2, 2, *size)
    with torch.inference_mode():
        found, expected = network(image), patch_by_patch(network, image)
    assert found.shape == (2, 3, *size)
    assert (found - expected).abs().max() <= 1e-5


@pytest.mark.parametrize("name", ["dcnn", "membrane_cnn"])
@pytest.mark.parametrize("size", [(16, 24), (33, 21), (13, 70)])
def test_dense_equals_patch_by_patch(
    name: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every pixel, borders and seams between blocks included."""
    monkeypatch.setattr("napari_topiary.networks.patch_classifier.BLOCK", 16)
    network = small(name, channels=1)
    image = torch.randn(1, 1, *size)
    with torch.inference_mode():
        found, expected = network(image), patch_by_patch(network, image)
    assert (found - expected).abs().max() <= 1e-5
    assert expected.std() > 1e-2


@pytest.mark.parametrize("name", ["dcnn", "membrane_cnn"])
def test_full_size_networks_equal_their_patches(name: str) -> None:
    torch.manual_seed(0)
    # How float32 rounds sums of thousands of products differs between processors.
    network = build_network(name, {}, 3, 2).eval().double()
    image = torch.randn(1, 3, 9, 11).double()
    with torch.inference_mode():
        found, expected = network(image), patch_by_patch(network, image)
    assert (found - expected).abs().max() <= 1e-5


@pytest.mark.parametrize("name", ["dcnn", "membrane_cnn", "dccn"])
def test_a_rectangle_is_answered_alone(name: str) -> None:
    network = small(name, channels=1)
    image = torch.randn(1, 1, 20, 17)
    with torch.inference_mode():
        part = network.within(image, slice(3, 8), slice(11, 17))
        whole = network(image)
    assert (part - whole[:, :, 3:8, 11:17]).abs().max() <= 1e-5


def test_the_centre_is_at_half_the_side() -> None:
    """Only the centre of the middle layers' field decides: its pixel is answered."""
    network = build_network("membrane_cnn", resolve_sizes("membrane_cnn", "N7"), 1, 2)
    patch = torch.zeros(1, 1, 32, 32, requires_grad=True)
    network.on_patches(patch + torch.randn(1, 1, 32, 32))[0, 0].sum().backward()
    touched = patch.grad[0, 0].abs() > 0
    rows = torch.nonzero(touched.any(dim=1)).ravel()
    # Poolings with floor leave out the last rows: 30 of 32 are looked at at most.
    assert rows.min() == 0
    assert rows.max() <= 29
    assert network.halo == 16


def test_work_is_counted_as_it_is_done() -> None:
    dense = build_network("membrane_cnn", {}, 1, 2)
    layers = [m for m in dense.modules() if isinstance(m, nn.Conv2d)]
    assert count_macs_per_pixel(dense) == sum(m.weight.numel() for m in layers)
    patches = build_network("dccn", {}, 3, 2)
    assert not patches.dense
    assert count_macs_per_pixel(patches) == pytest.approx(159.7e6, rel=1e-3)


def test_the_published_loss_is_confined() -> None:
    """All-background patches give 0.495 at a prevalence of 18.2 % (Götz 2022)."""
    sizes = resolve_sizes("dccn", "small", {"published_loss": True})
    network = build_network("dccn", sizes, 3, 2).eval()
    with torch.inference_mode():
        network.output.bias.copy_(torch.tensor([60.0, -60.0]))
        logits = network.on_patches(torch.randn(2, 3, 55, 55))
    assert (logits[:, 0] == 1).all()
    assert (logits[:, 1] < 1e-20).all()
    losses = -logits.flatten(1).log_softmax(dim=1).mean(dim=0)
    assert losses @ torch.tensor([0.818, 0.182]) == pytest.approx(0.495, abs=5e-4)


def test_recipes() -> None:
    config = recipe_config("membrane_cnn", {"batch": 7})
    assert (config.optimizer, config.schedule) == ("sgd", "linear")
    assert (config.batch, config.weight_decay, config.balance) == (7, 5e-4, "classes")
    for name in ("dcnn", "dccn"):
        config = recipe_config(name, {})
        assert (config.optimizer, config.learning_rate) == ("adam", 1e-3)
        assert (config.batch, config.balance) == (256, "natural")
        assert config.problem() is None


@pytest.mark.parametrize(
    ("name", "sizes", "words"),
    [
        (
            "dcnn",
            {"conv9": 3},
            "A dcnn has no size called 'conv9': it has conv1, conv2",
        ),
        ("membrane_cnn", {"conv1": 0}, "Maps of layer 1 0 is not possible"),
        ("dcnn", {"fc": 2.5}, "2.5 .* from 1 to 8,192"),
        ("dccn", {"published_loss": 1}, "Loss as published is on or off, not 1"),
        ("dccn", {"layers3": 65}, "Layers of block 3 65 "),
    ],
)
def test_impossible_sizes_are_a_sentence(
    name: str, sizes: dict[str, object], words: str
) -> None:
    with pytest.raises(TopiaryError, match=words):
        build_network(name, sizes, 1, 2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ["dcnn", "membrane_cnn", "dccn"])
def test_a_gpu_says_the_same(name: str) -> None:
    network = small(name, channels=3)
    image = torch.randn(1, 3, 40, 33)
    with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
        expected = network(image)
        found = network.to("cuda")(image.to("cuda")).cpu()
    assert (found - expected).abs().max() <= 1e-4
