"""Every back end says what torch says; one that is not installed is left out here."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PruneConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.inference.backends import backend_kind, backends
from napari_topiary.inference.backends import base as backends_base
from napari_topiary.inference.backends.pytorch import TorchBackend
from napari_topiary.inference.engine import Engine
from napari_topiary.inference.int8 import input_ranges, quantised
from napari_topiary.inference.tiles import infer
from napari_topiary.networks import Network, build_network, count_parameters
from napari_topiary.pruning import prune
from napari_topiary.types import Task, TaskKind, run

CPU = torch.device("cpu")
INSTALLED = pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name,
            marks=pytest.mark.skipif(
                not backends[name].installed, reason=f"no {backends[name].title} here"
            ),
        )
        for name in backends
    ],
)


def checkpoint(
    kind: str, sizes: Mapping[str, object], task: TaskKind = "segment"
) -> Checkpoint:
    torch.manual_seed(0)
    network = build_network(kind, sizes, 1, 2)
    for name, tensor in network.named_parameters():
        if "bias" in name:
            tensor.data.normal_(std=0.3)
    return Checkpoint(
        network=kind,
        sizes=dict(sizes),
        in_channels=1,
        task=Task(task, ("background", "thing")),
        state={name: t.detach().clone() for name, t in network.state_dict().items()},
        unpruned_parameters=count_parameters(network),
    )


def pruned(kind: str) -> Network:
    """Of odd widths, or with masked weights."""
    whole = checkpoint("unet", {"base": 10, "levels": 2, "batch_norm": True})
    config = PruneConfig(
        kind=kind,  # type: ignore[arg-type]
        criterion="l1" if kind == "filters" else "magnitude",
        remove=0.6,
    )
    return run(prune(whole, config)).build()


NETWORKS = {
    "unet": lambda: checkpoint("unet", {"base": 4, "levels": 2}).build(),
    "two branches": lambda: checkpoint(
        "nuclei", {"base": 4, "levels": 2}, "instances"
    ).build(),
    "filters": lambda: pruned("filters"),
    "weights": lambda: pruned("weights"),
}


def exactly(network: Network) -> Engine:
    """Runs a network in torch and float32, whatever else there is."""
    return Engine(network, "cpu", backend="torch", precision="float32")


@INSTALLED
@pytest.mark.parametrize("network", NETWORKS)
def test_labels_are_those_of_torch(name: str, network: str) -> None:
    made = NETWORKS[network]()
    image = np.random.default_rng(0).normal(size=(1, 77, 103)).astype(np.float32)
    expected = run(infer(exactly(made), image))
    engine = Engine(made, "cpu", backend=name)
    for tile in (32, 512):
        found = run(infer(engine, image, tile=tile))
        labels = found.probability.argmax(0) == expected.probability.argmax(0)
        assert labels.mean() >= 0.999
        if expected.regression is not None and found.regression is not None:
            assert np.abs(found.regression - expected.regression).max() < 0.05
    assert engine.backend == name


@INSTALLED
def test_rounded_networks_say_what_torch_imitates(name: str) -> None:
    made = NETWORKS["filters"]()
    image = np.random.default_rng(0).normal(size=(1, 96, 96)).astype(np.float32)
    ranges = input_ranges(made, [torch.from_numpy(image)[None]])
    rounded, whole = quantised(made, ranges), (slice(0, 96), slice(0, 96))
    assert len(ranges) > 3
    expected = TorchBackend(rounded, CPU)(image, *whole)
    exact = TorchBackend(made, CPU)(image, *whole)
    assert 0 < np.abs(expected - exact).max() < 0.1
    backend = backends[name].make(rounded, CPU, exact=True)
    assert np.abs(backend(image, *whole) - expected).max() < 0.05


@INSTALLED
def test_no_tile_shows_in_a_network_of_odd_widths(name: str) -> None:
    made, (height, width) = NETWORKS["filters"](), (777, 1031)
    widths = {module.out_channels for module in made.modules() if _convolves(module)}
    assert any(number % 2 for number in widths - {made.stride, 1})
    image = np.random.default_rng(0).normal(size=(1, height, width)).astype(np.float32)
    expected = run(infer(exactly(made), image, tile=2048)).probability
    # Where both classes are as good as equally likely, the last digit may decide.
    sure = np.abs(expected[0] - expected[1]) > 1e-4
    assert sure.mean() > 0.99
    engine = Engine(made, "cpu", backend=name)
    for tile in (64, 333, 1024):
        found = run(infer(engine, image, tile=tile)).probability
        same = found.argmax(0) == expected.argmax(0)
        assert same[sure].all()
        assert np.abs(found - expected).max() < (1e-4 if name == "torch" else 0.05)


def _convolves(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d)


@INSTALLED
def test_in_float32_where_it_has_to_be(name: str) -> None:
    made = NETWORKS["unet"]()
    exact = backends[name].make(made, CPU, exact=True)
    assert exact.precision == "float32"
    image = np.random.default_rng(0).normal(size=(1, 40, 52)).astype(np.float32)
    inside = slice(8, 32), slice(4, 50)
    np.testing.assert_allclose(
        exact(image, *inside),
        backends["torch"].make(made, CPU, exact=True)(image, *inside),
        atol=1e-4,
    )


@INSTALLED
def test_several_networks_are_converted_at_once(name: str) -> None:
    made = NETWORKS["unet"]()
    with ThreadPoolExecutor(3) as threads:
        jobs = [
            threads.submit(backends[name].make, made, CPU, exact=True) for _ in range(3)
        ]
        assert {job.result().precision for job in jobs} == {"float32"}


@INSTALLED
def test_networks_of_patches_are_refused_with_a_sentence(name: str) -> None:
    made = checkpoint("membrane_cnn", {}).build()
    if backends[name].processor_only:
        with pytest.raises(TopiaryError, match="middle of a patch"):
            Engine(made, backend=name)
    else:
        assert Engine(made, backend=name).backend == name
    assert Engine(made).backend == "torch"


def test_what_cannot_be_had_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    made = NETWORKS["unet"]()
    with pytest.raises(TopiaryError, match=r"'abacus': choose auto, .*torch"):
        Engine(made, "cpu", backend="abacus")
    monkeypatch.setattr(backends_base, "find_spec", lambda _: None)
    with pytest.raises(TopiaryError, match=r"pip install 'napari-topiary\[fast\]'"):
        Engine(made, "cpu", backend="openvino")
    monkeypatch.setattr(backends_base, "find_spec", lambda _: True)
    with pytest.raises(TopiaryError, match="not on cuda: choose the device cpu"):
        backend_kind("onnxruntime", made, torch.device("cuda"))
