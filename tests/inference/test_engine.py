"""What the engine chooses never shows in the answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from napari_topiary.inference import engine as engine_module
from napari_topiary.inference.backends.pytorch import folded
from napari_topiary.inference.engine import (
    LARGEST_TILE,
    SMALLEST_TILE,
    USUAL_TILE,
    Engine,
    same_labels,
    tile_side,
)
from napari_topiary.inference.tiles import infer
from napari_topiary.networks import Network, build_network, networks, resolve_sizes
from napari_topiary.networks.layers import OnPatches
from napari_topiary.types import run

CPU = torch.device("cpu")


def unet(*, steep: float = 1.0, **sizes: object) -> Network:
    torch.manual_seed(0)
    network = build_network("unet", {"base": 4, "levels": 2, **sizes}, 1, 2)
    network.get_submodule("output").weight.data *= steep
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2)
            module.bias.data.normal_(std=0.3)
    return network.eval()


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def has_norms(network: nn.Module) -> bool:
    return any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_normalisations_become_a_part_of_their_convolutions() -> None:
    network, image = unet(batch_norm=True), noise(1, 64, 48)
    ready = folded(network)
    assert has_norms(network)
    assert not has_norms(ready)
    expected = run(infer(network, image, device="cpu")).probability
    found = run(infer(Engine(network, "cpu"), image)).probability
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert folded(unet()) is not None
    plain = unet()
    assert folded(plain) is plain


@pytest.mark.parametrize("kind", list(networks))
def test_folding_changes_no_network(kind: str) -> None:
    torch.manual_seed(0)
    sizes = {name: resolve_sizes(kind, name) for name in networks[kind].presets}
    least = min(sizes.values(), key=lambda one: sum(map(len, map(str, one.values()))))
    network = build_network(kind, least, 1, 2).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
    side = network.patch or 2 * network.stride
    image = torch.randn(2, 1, side, side)
    with torch.inference_mode():
        expected = OnPatches(network)(image)
        found = OnPatches(folded(network))(image)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


@pytest.fixture
def with_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that gains from it; here it is emulated."""
    monkeypatch.setattr(engine_module, "autocast_dtype", lambda _: torch.bfloat16)


@pytest.mark.usefixtures("with_bfloat16")
def test_reduced_precision_is_taken_where_labels_stay() -> None:
    network, image = unet(), noise(1, 96, 96)
    network.get_submodule("output").bias.data[0] = 50  # sure everywhere
    engine = Engine(network, "cpu")
    assert engine.label == "torch, float32"
    expected = run(infer(network, image, device="cpu")).probability
    found = run(infer(engine, image, tile=32)).probability
    assert engine.label == "torch, bfloat16"
    assert (found.argmax(0) == expected.argmax(0)).mean() > 0.999


@pytest.mark.usefixtures("with_bfloat16")
def test_reduced_precision_is_not_taken_where_labels_change() -> None:
    network, image = unet(steep=1e-4), noise(1, 96, 96)  # undecided everywhere
    network.get_submodule("output").bias.data[:] = 0
    engine = Engine(network, "cpu")
    expected = run(infer(network, image, device="cpu")).probability
    found = run(infer(engine, image, tile=32)).probability
    assert engine.label == "torch, float32"
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_counts_as_the_same() -> None:
    network, exact = unet(), np.full((2, 100, 100), 0.5, np.float32)
    exact[0] = 0.9
    for change, same in ((0.01, True), (0.06, False), (np.nan, False)):
        assert same_labels(exact, exact + np.float32(change), network) is same
    few = exact.copy()
    few[:, 0, :10] = [[0.1], [0.9]]
    assert same_labels(exact, few, network)
    few[:, 1, 0] = [0.1, 0.9]
    assert not same_labels(exact, few, network)


def test_tiles_are_as_large_as_memory_and_time_allow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def side(preset: str, free: float) -> int:
        monkeypatch.setattr(engine_module, "free_memory", lambda: int(free))
        sizes = resolve_sizes("unet", preset)
        return tile_side(build_network("unet", sizes, 1, 2), CPU)

    assert side("tiny", 64e9) == LARGEST_TILE
    assert USUAL_TILE < side("2m", 64e9) < LARGEST_TILE
    assert side("original", 64e9) == USUAL_TILE
    assert SMALLEST_TILE < side("2m", 1e9) < USUAL_TILE
    assert side("2m", 0) == SMALLEST_TILE


def test_small_images_are_one_tile_and_nothing_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []
    monkeypatch.setattr(
        "napari_topiary.inference.tiles.tile_side",
        lambda *_: asked.append(True) or 32,
    )
    job = infer(unet(), noise(1, 40, 512), device="cpu")
    assert len(list(job)) == 1
    assert not asked
    assert len(list(infer(unet(), noise(1, 8, 520), device="cpu"))) > 1
    assert asked
