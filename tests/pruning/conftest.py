"""Networks to prune: every registered one, and four built to be awkward."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PruneConfig
from napari_topiary.networks import build_network, count_parameters
from napari_topiary.networks.base import Network, NetworkKind, networks
from napari_topiary.networks.patch_classifier import PatchClassifier
from napari_topiary.pruning import criteria
from napari_topiary.types import Task

TASK = Task("segment", ("background", "virus", "membrane"))
COMBINATIONS = [
    PruneConfig(kind=criteria[name].removes, criterion=name, scope=scope)
    for name in criteria
    # One that measures on images is held to the naive procedure (`test_search`).
    if not criteria[name].needs_samples
    for scope in ("layer", "global")
]


class Residual(Network):
    """Sums of branches: one group of channels has several producers."""

    stride, halo, output_layers = 2, 12, ("output",)

    def __init__(self, in_channels: int, n_classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, 6, 3, padding=1)
        self.stem_norm = nn.BatchNorm2d(6)
        self.block1 = nn.Conv2d(6, 9, 3, padding=1)
        self.block2 = nn.Conv2d(9, 6, 3, padding=1, bias=False)
        self.down = nn.Conv2d(6, 10, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(10, 6, 2, stride=2)
        self.output = nn.Conv2d(6, n_classes, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        maps = F.relu(self.stem_norm(self.stem(image)))
        maps = F.relu(maps + self.block2(F.leaky_relu(self.block1(maps))))
        maps = maps + self.up(torch.sigmoid(self.down(maps)))
        logits: torch.Tensor = self.output(maps)
        return logits


class Dense(Network):
    """Growing concatenations, a depthwise convolution, normalisation before ReLU."""

    stride, halo, output_layers = 1, 8, ("output",)

    def __init__(self, in_channels: int, n_classes: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, 5, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(5 + in_channels)
        self.grow1 = nn.Conv2d(5 + in_channels, 4, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(9 + in_channels)
        self.squeeze = nn.Conv2d(9 + in_channels, 7, 1)
        self.depthwise = nn.Conv2d(7, 7, 3, padding=1, groups=7)
        self.output = nn.Conv2d(7, n_classes, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        maps = torch.cat([self.first(image), image], dim=1)
        maps = torch.cat([self.grow1(F.relu(self.norm1(maps))), maps], dim=1)
        maps = F.relu(self.squeeze(F.relu(self.norm2(maps))))
        logits: torch.Tensor = self.output(F.elu(self.depthwise(maps)))
        return logits


class Flat(Network):
    """A patch classifier: one map becomes several inputs of a linear layer."""

    stride, halo, output_layers, patch = 32, 32, ("output",), 32

    def __init__(self, in_channels: int, n_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 6, 5, stride=2)
        self.conv2 = nn.Conv2d(6, 8, 3)
        self.hidden = nn.Linear(8 * 9, 12)
        self.output = nn.Linear(12, n_classes)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        maps = F.max_pool2d(F.relu(self.conv1(image)), 2)
        maps = F.adaptive_max_pool2d(F.relu(self.conv2(maps)), 3)
        hidden = F.relu(self.hidden(maps.flatten(1)))
        logits: torch.Tensor = self.output(hidden)[:, :, None, None]
        return logits


class Membrane(Network):
    """A classifier of centre pixels: convolutions, poolings, fully connected layers."""

    stride, halo, output_layers, patch = 12, 6, ("output",), 12

    def __init__(self, in_channels: int, n_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 10, 3)
        self.conv2 = nn.Conv2d(10, 7, 3)
        self.hidden = nn.Linear(7, 12)
        self.output = nn.Linear(12, n_classes)

    def on_patches(self, patches: torch.Tensor) -> torch.Tensor:
        maps = F.max_pool2d(F.relu(self.conv1(patches)), 2)
        maps = F.max_pool2d(F.relu(self.conv2(maps)), 3)
        logits: torch.Tensor = self.output(F.relu(self.hidden(maps.flatten(1))))
        return logits[:, :, None, None]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.on_patches(image[:, :, :12, :12])


def _kind(made: type[Network]) -> NetworkKind:
    def build(sizes: Mapping[str, Any], in_channels: int, n_classes: int) -> Network:
        return made(in_channels, n_classes)  # type: ignore[call-arg]

    return NetworkKind(build=build, presets={"only": {}}, default_preset="only")


AWKWARD = {
    "residual": _kind(Residual),
    "dense": _kind(Dense),
    "flat": _kind(Flat),
    "membrane": _kind(Membrane),
}


@pytest.fixture(autouse=True)
def _awkward_networks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    list(networks)  # entry points are loaded before anything is added
    for name, kind in AWKWARD.items():
        monkeypatch.setitem(networks._things, name, kind)
    yield


SMALL: dict[str, dict[str, Any]] = {
    "nuclei": {"base": 4, "levels": 2},
    "dccn": {
        "stem": 8,
        "growth": 4,
        "bottleneck": 6,
        "layers1": 2,
        "layers2": 2,
        "layers3": 2,
        "transition1": 7,
        "transition2": 6,
        "transition3": 9,
    },
}
"""Sizes for networks whose smallest preset would take the tests long."""


def _smallest(kind: NetworkKind) -> dict[str, Any]:
    with torch.device("meta"):
        return dict(
            min(
                kind.presets.values(),
                key=lambda sizes: count_parameters(kind.build(sizes, 1, 2)),
            )
        )


def _cases() -> dict[str, tuple[str, dict[str, Any]]]:
    cases = {
        name: (name, SMALL.get(name) or _smallest(networks[name])) for name in networks
    }
    small = {"base": 6, "levels": 2, "multiplier": 1.5}
    cases["unet-norm"] = ("unet", small | {"batch_norm": True})
    cases["thin"] = ("unet", {"base": 3, "levels": 2, "multiplier": 1.5})
    cases["nuclei-thin"] = ("nuclei", {"base": 2, "levels": 1, "shared_encoder": True})
    cases["unet-last"] = ("unet", small | {"last": 9})
    return cases | {name: (name, {}) for name in AWKWARD}


CASES = _cases()


def fresh_checkpoint(case: str, seed: int = 0) -> Checkpoint:
    """A network with random weights of uneven filters, and used norm statistics."""
    name, sizes = CASES[case]
    torch.manual_seed(seed)
    network = build_network(name, sizes, 1, len(TASK.classes))
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            axis = 1 if isinstance(module, nn.ConvTranspose2d) else 0
            size = [1] * module.weight.dim()
            size[axis] = module.weight.shape[axis]
            module.weight.data *= torch.rand(size) + 0.5
            if module.bias is not None:
                module.bias.data.normal_(std=0.1)
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean):
                tensor.data.uniform_(0.2, 1.0)
            module.running_var.uniform_(0.5, 2.0)
    return Checkpoint(
        network=name,
        sizes=sizes,
        in_channels=1,
        task=TASK,
        state={k: v.detach().clone() for k, v in network.state_dict().items()},
        unpruned_parameters=count_parameters(network),
        thresholds={"virus": 0.4, "common": 0.4},
        metrics={"quality": 0.9},
    )


@pytest.fixture
def fresh() -> Callable[..., Checkpoint]:
    """Make the checkpoint of a named case: `fresh("unet", seed=0)`."""
    return fresh_checkpoint


@pytest.fixture(params=CASES)
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    """One of every network."""
    return fresh_checkpoint(request.param)


@pytest.fixture(
    params=COMBINATIONS, ids=[f"{c.criterion}-{c.scope}" for c in COMBINATIONS]
)
def config(request: pytest.FixtureRequest) -> PruneConfig:
    """One of every kind and scope."""
    found: PruneConfig = request.param
    return found


@pytest.fixture
def image(request: pytest.FixtureRequest) -> torch.Tensor:
    """`(2, 1, 32, 32)` noise; 8 pixels are enough where each has a patch of its own."""
    side = 32
    if "checkpoint" in request.fixturenames:
        made = request.getfixturevalue("checkpoint").build()
        side = 8 if isinstance(made, PatchClassifier) else 32
    return torch.randn(2, 1, side, side, generator=torch.Generator().manual_seed(1))
