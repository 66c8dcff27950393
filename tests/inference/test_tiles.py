"""Tiles never show: stitched equals whole, whatever the sizes, memory or Stop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from napari_topiary.errors import TopiaryError
from napari_topiary.inference.engine import Engine, Precision
from napari_topiary.inference.tiles import InferResult, infer
from napari_topiary.networks import Network, build_network
from napari_topiary.types import Progress, Stop, run


def unet(levels: int, channels: int = 1, classes: int = 2) -> Network:
    """A tiny U-Net whose answer depends on everything within its reach."""
    torch.manual_seed(levels)
    sizes = {"base": 2, "multiplier": 1.5, "levels": levels}
    network = build_network("unet", sizes, channels, classes).eval()
    for name, parameter in network.named_parameters():
        if "bias" in name:
            parameter.data.normal_(std=0.2)
    return network


UNETS = {(n, c): unet(n, channels=c) for n in range(4) for c in (1, 3)}


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def whole(network: Network, image: np.ndarray) -> np.ndarray:
    """The definition: the image repeated at its edge up to the stride, in one go."""
    height, width = image.shape[1:]
    grow = [(0, 0), (0, -height % network.stride), (0, -width % network.stride)]
    padded = torch.from_numpy(np.pad(image, grow, mode="edge"))[None]
    with torch.inference_mode():
        probability = network(padded)[0].softmax(dim=0).numpy()
    return probability[:, :height, :width]


def exactly(network: Network) -> Engine:
    """Runs a network in torch and float32, whatever else there is."""
    return Engine(network, "cpu", backend="torch", precision="float32")


def on_cpu(network: Network, image: np.ndarray, tile: int = 512) -> InferResult:
    return run(infer(exactly(network), image, tile=tile))


@given(
    key=st.sampled_from(sorted(UNETS)),
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    tile=st.integers(1, 100),
)
def test_stitched_equals_whole(
    key: tuple[int, int], height: int, width: int, tile: int
) -> None:
    network = UNETS[key]
    image = noise(key[1], height, width, seed=height * width + tile)
    found = on_cpu(network, image, tile)
    assert found.probability.shape == (2, height, width)
    assert found.probability.dtype == np.float32
    assert np.abs(found.probability - whole(network, image)).max() <= 1e-5
    assert found.done.all()
    assert found.notes == ()


def test_deep_networks_too() -> None:
    network, image = unet(4), noise(1, 130, 333)
    expected = whole(network, image)
    for tile in (32, 100, 512):
        found = on_cpu(network, image, tile).probability
        assert np.abs(found - expected).max() <= 1e-5


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [
        ("unet", {"base": 3, "levels": 4}),
        ("unet", {"base": 2, "levels": 2, "last": 5, "batch_norm": True}),
        ("nuclei", {"base": 2, "levels": 3}),
        ("nuclei", {"base": 2, "levels": 2, "shared_encoder": True}),
    ],
)
def test_a_part_of_a_tile_is_the_same_as_all_of_it(
    kind: str, sizes: dict[str, object]
) -> None:
    """What the decoder leaves out of the context is not missed."""
    torch.manual_seed(1)
    network = build_network(kind, sizes, 1, 2).eval()
    image = torch.randn(1, 1, 96, 128)
    with torch.inference_mode():
        expected = network(image)
        for rows, columns in (
            (slice(0, 96), slice(0, 128)),
            (slice(33, 50), slice(7, 8)),
            (slice(0, 1), slice(127, 128)),
            (slice(94, 96), slice(16, 112)),
        ):
            part = network.within(image, rows, columns)
            torch.testing.assert_close(
                part, expected[:, :, rows, columns], atol=1e-5, rtol=1e-4
            )


def test_context_is_needed() -> None:
    """With a halo one grid step short the seams would show: the test can see them."""
    network, image = unet(2), 3 * noise(1, 64, 256)
    expected = whole(network, image)
    network.halo = network.halo - 2 * network.stride
    worse = on_cpu(network, image, 32).probability
    assert np.abs(worse - expected).max() > 1e-5


def test_several_classes_sum_to_one() -> None:
    found = on_cpu(unet(2, classes=5), noise(1, 50, 41), 16).probability
    assert found.shape == (5, 50, 41)
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)


def test_views_and_other_types_are_read() -> None:
    network, image = unet(1), noise(1, 40, 40)
    expected = on_cpu(network, np.ascontiguousarray(image[:, ::2, ::-2]))
    found = on_cpu(network, image[:, ::2, ::-2].astype(np.float64))
    np.testing.assert_array_equal(found.probability, expected.probability)


def test_progress_counts_up_to_the_end() -> None:
    job = infer(exactly(unet(1)), noise(1, 64, 96), tile=32)
    seen: list[Progress] = []
    run(job, on_progress=seen.append)
    fractions = [progress.fraction for progress in seen]
    np.testing.assert_allclose(fractions, np.arange(1, 7) / 6)
    assert seen[-1].eta_s == 0
    assert all(p.eta_s is not None and p.eta_s > 0 for p in seen[:-1])


def test_stop_keeps_what_is_done() -> None:
    network, image = unet(1), noise(1, 64, 96)
    job = infer(exactly(network), image, tile=32)
    next(job)
    job.send(None)
    with pytest.raises(StopIteration) as end:
        job.send(Stop)
    found: InferResult = end.value.value
    assert found.done.sum() == 2 * 32 * 32
    np.testing.assert_allclose(
        found.probability[:, found.done],
        whole(network, image)[:, found.done],
        atol=1e-5,
    )
    assert (found.probability[:, ~found.done] == 0).all()
    assert found.notes == (
        "Stopped early: 33% of the image was predicted, the rest of its results is 0.",
    )


def test_stop_after_the_last_tile_is_no_loss() -> None:
    found = run(infer(exactly(unet(1)), noise(1, 20, 20)), should_stop=lambda: True)
    assert found.done.all()
    assert found.notes == ()


def test_nothing_leaks_into_whoever_drives_the_job() -> None:
    reduced = Engine(unet(1), "cpu", precision="reduced")
    job = infer(reduced, noise(1, 64, 64), tile=32)
    for _ in job:
        assert not torch.is_inference_mode_enabled()
        assert torch.is_grad_enabled()
        assert not torch.is_autocast_enabled("cpu")


def test_a_network_in_training_mode_is_put_back() -> None:
    torch.manual_seed(0)
    sizes = {"base": 2, "levels": 1, "batch_norm": True}
    network = build_network("unet", sizes, 1, 2).eval()
    image = noise(1, 30, 30)
    expected = on_cpu(network, image, 16).probability
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.train()
    found = on_cpu(network, image, 16).probability
    assert network.training
    np.testing.assert_allclose(found, expected, atol=1e-6)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


class Hungry(Network):
    """Runs out of memory above some number of pixels."""

    output_layers = ("network.output",)

    def __init__(
        self, network: Network, most: int, error: Exception | None = None
    ) -> None:
        super().__init__()
        self.network, self.most = network, most
        self.stride, self.halo = network.stride, network.halo
        self.error = error or torch.OutOfMemoryError("CUDA out of memory.")
        self.sides: list[tuple[int, ...]] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Fail where the image is too large."""
        if image.shape[2] * image.shape[3] > self.most:
            raise self.error
        self.sides.append(tuple(image.shape[2:]))
        return self.network(image)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
        MemoryError(),
    ],
)
def test_out_of_memory_halves_the_tile(error: Exception) -> None:
    network, image = unet(1), noise(1, 200, 130)
    hungry = Hungry(network, 80 * 80, error)
    seen: list[Progress] = []
    found = run(infer(exactly(hungry), image, tile=512), seen.append)
    assert np.abs(found.probability - whole(network, image)).max() <= 1e-5
    assert found.done.all()
    assert len(found.notes) == 1
    assert "ran out of memory: smaller tiles of 50 pixels" in found.notes[0]
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_memory_that_runs_out_later_keeps_the_finished_tiles() -> None:
    network, image = unet(1), noise(1, 64, 256)
    hungry = Hungry(network, 100**2)
    job = infer(exactly(hungry), image, tile=64)
    next(job)
    finished = len(hungry.sides)
    hungry.most = 70**2
    found = run(job)
    assert finished == 1
    assert np.abs(found.probability - whole(network, image)).max() <= 1e-5
    assert "32 pixels" in found.notes[0]


def test_no_memory_at_all_is_a_sentence() -> None:
    with pytest.raises(TopiaryError, match="not enough even for a tile of"):
        on_cpu(Hungry(unet(1), 100), noise(1, 200, 200))


def test_other_errors_are_passed_on() -> None:
    hungry = Hungry(unet(1), 0, RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="multiplied"):
        on_cpu(hungry, noise(1, 20, 20))


def test_an_empty_image_is_a_sentence() -> None:
    with pytest.raises(TopiaryError, match="no pixels"):
        on_cpu(unet(1), noise(1, 0, 20))


class Pixelwise(Network):
    """One pixel at a time: stride 1, no context."""

    stride, halo, output_layers = 1, 0, ("output",)

    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Conv2d(1, 2, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits of each pixel by itself."""
        result: torch.Tensor = self.output(image)
        return result


def test_networks_without_context() -> None:
    network, image = Pixelwise(), noise(1, 33, 70)
    found = on_cpu(network, image, 32).probability
    np.testing.assert_allclose(found, whole(network, image), atol=1e-6)


def test_tiles_are_of_about_equal_size() -> None:
    """A sliver at the edge would need as much context as a whole tile."""
    hungry = Hungry(Pixelwise(), 10**6)
    on_cpu(hungry, noise(1, 520, 1030), 512)
    assert {height for height, _ in hungry.sides} == {260}
    assert {width for _, width in hungry.sides} <= {343, 344}


@pytest.mark.usefixtures("with_bfloat16")
def test_reduced_precision_is_close() -> None:
    network, image = unet(2), noise(1, 64, 64)
    found = run(infer(Engine(network, "cpu", precision="reduced"), image)).probability
    error = np.abs(found - whole(network, image)).max()
    assert 0 < error < 0.05
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["float32", "reduced"])
def test_on_a_gpu(precision: Precision) -> None:
    network, image = unet(3), noise(1, 300, 410)
    expected = whole(network, image)
    for tile in (64, 512):
        engine = Engine(network, "cuda", precision=precision)
        found = run(infer(engine, image, tile=tile)).probability
        largest = 1e-4 if precision == "float32" else 0.05
        assert np.abs(found - expected).max() <= largest
    engine = Engine(network, "cuda", precision="float32")
    parts = [run(infer(engine, image, tile=tile)).probability for tile in (64, 512)]
    assert np.abs(parts[0] - parts[1]).max() <= 1e-5
