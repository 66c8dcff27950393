"""What the engine chooses never shows in the answer."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from napari_topiary.errors import TopiaryError
from napari_topiary.inference import engine as engine_module
from napari_topiary.inference import tiles as tiles_module
from napari_topiary.inference.backends import BackendKind, backends, same_labels
from napari_topiary.inference.backends.pytorch import TorchBackend, folded
from napari_topiary.inference.engine import Engine
from napari_topiary.inference.tiles import (
    LARGEST_TILE,
    LEAST_TILE,
    USUAL_TILE,
    infer,
    tile_side,
)
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


def exactly(network: Network) -> Engine:
    """Runs a network in torch and float32, whatever else there is."""
    return Engine(network, "cpu", backend="torch", precision="float32")


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def has_norms(network: nn.Module) -> bool:
    return any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_normalisations_become_a_part_of_their_convolutions() -> None:
    network, image = unet(batch_norm=True), noise(1, 64, 48)
    ready = folded(network)
    assert has_norms(network)
    assert not has_norms(ready)
    expected = TorchBackend(network, CPU)(image, slice(0, 64), slice(0, 48))
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


@pytest.mark.usefixtures("with_bfloat16")
def test_reduced_precision_is_taken_where_labels_stay() -> None:
    network, image = unet(), noise(1, 96, 96)
    network.get_submodule("output").bias.data[0] = 50  # sure everywhere
    engine = Engine(network, "cpu")
    assert (engine.backend, engine.precision) == ("torch", "float32")
    expected = run(infer(exactly(network), image)).probability
    found = run(infer(engine, image, tile=32)).probability
    assert (engine.backend, engine.precision) == ("torch", "bfloat16")
    assert (found.argmax(0) == expected.argmax(0)).mean() > 0.999


@pytest.mark.usefixtures("with_bfloat16")
def test_reduced_precision_is_not_taken_where_labels_change() -> None:
    network, image = unet(steep=1e-4), noise(1, 96, 96)  # undecided everywhere
    network.get_submodule("output").bias.data[:] = 0
    engine = Engine(network, "cpu")
    expected = run(infer(exactly(network), image)).probability
    found = run(infer(engine, image, tile=32)).probability
    assert (engine.backend, engine.precision) == ("torch", "float32")
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.usefixtures("with_bfloat16")
def test_the_first_tile_is_computed_like_the_others() -> None:
    network, image = unet(), noise(1, 96, 96)
    network.get_submodule("output").bias.data[0] = 50  # sure everywhere
    first = slice(0, 96), slice(0, 96)
    engine = Engine(network, "cpu")
    np.testing.assert_array_equal(engine(image, *first), engine(image, *first))
    assert engine.precision == "bfloat16"
    alike = Engine(network, "cpu", precision=engine.checked_precision)
    np.testing.assert_array_equal(alike(image, *first), engine(image, *first))
    assert exactly(network).checked_precision == "float32"


@pytest.mark.usefixtures("with_bfloat16")
def test_in_float32_where_it_is_asked_for() -> None:
    network, image = unet(), noise(1, 96, 96)
    network.get_submodule("output").bias.data[0] = 50  # sure everywhere
    for backend in ("auto", "torch"):
        engine = Engine(network, "cpu", backend=backend, precision="float32")
        found = run(infer(engine, image, tile=32)).probability
        assert engine.precision == "float32"
        expected = run(infer(exactly(network), image)).probability
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
        monkeypatch.setattr(tiles_module, "free_memory", lambda: int(free))
        sizes = resolve_sizes("unet", preset)
        return tile_side(build_network("unet", sizes, 1, 2), CPU)

    assert side("tiny", 64e9) == side("2m", 64e9) == LARGEST_TILE["cpu"]
    assert side("original", 64e9) == USUAL_TILE
    assert LEAST_TILE < side("2m", 1e9) < USUAL_TILE
    assert side("2m", 0) == LEAST_TILE


def test_small_images_are_one_tile_and_nothing_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []
    monkeypatch.setattr(
        "napari_topiary.inference.tiles.tile_side",
        lambda *_: asked.append(True) or 32,
    )
    job = infer(exactly(unet()), noise(1, 40, 512))
    assert len(list(job)) == 1
    assert not asked
    assert len(list(infer(exactly(unet()), noise(1, 8, 520)))) > 1
    assert asked


class Other:
    """A back end that is right or wrong."""

    precision = "float32"

    def __init__(self, network: Network, wrong: bool) -> None:
        self.exact, self.wrong = TorchBackend(network, CPU), wrong
        self.lasts = 10**9

    def __call__(self, image: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        self.lasts -= 1
        if self.lasts < 0:
            raise RuntimeError("no memory for a primitive")
        maps = self.exact(image, rows, columns)
        return maps[::-1] if self.wrong else maps


@pytest.fixture
def another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Engine]:
    """Makes engines beside which another back end is installed."""
    monkeypatch.setenv("NAPARI_TOPIARY_HOME", str(tmp_path))
    for name in backends:
        if name != "torch":
            monkeypatch.delitem(backends._things, name)
    monkeypatch.setattr(engine_module, "PATIENCE_S", 0.0)

    def engine(*, faster: bool, wrong: bool = False, fails: bool = False) -> Engine:
        def make(network: Network, device: torch.device, *, exact: bool) -> Other:
            if fails:
                raise RuntimeError("no such instruction")
            return Other(network, wrong)

        kind = BackendKind(make=make, title="Abacus", packages=("torch",))
        monkeypatch.setitem(backends._things, "abacus", kind)
        # Whatever the clock says.
        monkeypatch.setattr(engine_module, "FASTER", 1e3 if faster else 1e-3)
        return Engine(unet(), "cpu")

    return engine


def tiles(engine: Engine) -> np.ndarray:
    """Run tiles until what is converted beside them has competed."""
    image = noise(1, 64, 64)
    for _ in range(200):
        found = run(infer(engine, image, tile=32)).probability
        if engine._search is None or not engine._search._names:
            break
        time.sleep(0.01)
    return found


def test_a_faster_back_end_is_taken_and_remembered(
    another: Callable[..., Engine], tmp_path: Path
) -> None:
    expected = run(infer(exactly(unet()), noise(1, 64, 64))).probability
    engine = another(faster=True)
    np.testing.assert_allclose(tiles(engine), expected, atol=1e-5)
    assert engine.backend == "abacus"
    assert list(_remembered(tmp_path).values()) == ["abacus"]


def test_what_is_measured_is_settled_at_once(
    another: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "PATIENCE_S", 1e9)
    for faster, expected in ((True, "abacus"), (False, "torch")):
        engine = another(faster=faster)
        engine.settle(noise(1, 32, 32))
        assert engine.backend == expected


def test_other_back_ends_too_compute_in_float32_where_it_is_asked_for(
    another: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    another(faster=True)
    asked: list[bool] = []

    def make(network: Network, device: torch.device, *, exact: bool) -> Other:
        asked.append(exact)
        return Other(network, wrong=False)

    kind = BackendKind(make=make, title="Abacus", packages=("torch",))
    monkeypatch.setitem(backends._things, "abacus", kind)
    for precision in ("checked", "float32"):
        engine = Engine(unet(), "cpu", precision=precision)
        engine.settle(noise(1, 32, 32))
    assert asked == [False, True]


def test_what_is_known_of_a_network_holds_after_more_training(
    another: Callable[..., Engine], tmp_path: Path
) -> None:
    tiles(another(faster=True))
    engine = another(faster=True)
    more = unet()
    more.get_submodule("output").bias.data += 1
    wider = unet(base=6)
    for network, known in ((more, 1), (wider, 2)):
        engine = Engine(network, "cpu")
        engine.settle(noise(1, 32, 32))
        assert engine.backend == "abacus"
        assert len(_remembered(tmp_path)) == known


def test_a_slower_one_is_not_taken_nor_converted_again(
    another: Callable[..., Engine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = another(faster=False)
    tiles(engine)
    assert engine.backend == "torch"
    assert list(_remembered(tmp_path).values()) == ["torch"]
    monkeypatch.setattr(engine_module, "PATIENCE_S", 1e9)
    again = another(faster=True)
    tiles(again)
    assert again._search is not None
    assert again._search._waiting is None
    assert again.backend == "torch"


def test_one_that_says_something_else_is_not_taken(
    another: Callable[..., Engine],
) -> None:
    engine = another(faster=True, wrong=True)
    tiles(engine)
    assert engine.backend == "torch"


def test_one_that_cannot_convert_is_no_loss(another: Callable[..., Engine]) -> None:
    expected = run(infer(exactly(unet()), noise(1, 64, 64))).probability
    engine = another(faster=True, fails=True)
    np.testing.assert_allclose(tiles(engine), expected, atol=1e-5)
    assert engine.backend == "torch"


def test_one_that_fails_later_is_replaced_by_torch(
    another: Callable[..., Engine],
) -> None:
    engine = another(faster=True)
    expected = tiles(engine)
    assert isinstance(engine._run, Other)
    engine._run.lasts = 1
    found = run(infer(engine, noise(1, 64, 64), tile=32)).probability
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert engine.backend == "torch"


def test_one_that_was_asked_for_and_cannot_is_a_sentence(
    another: Callable[..., Engine],
) -> None:
    another(faster=True, fails=True)
    engine = Engine(unet(), "cpu", backend="abacus")
    with pytest.raises(TopiaryError, match=r"Abacus cannot run .*no such instruction"):
        run(infer(engine, noise(1, 64, 64)))


def test_short_work_is_not_converted(
    another: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = another(faster=True)
    monkeypatch.setattr(engine_module, "PATIENCE_S", 1e9)
    run(infer(engine, noise(1, 64, 64), tile=32))
    assert engine._search is not None
    assert engine._search._waiting is None


def _remembered(home: Path) -> dict[str, str]:
    path = home / "cache" / "fastest_backends.json"
    known: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return known
