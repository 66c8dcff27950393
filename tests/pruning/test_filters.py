"""Which filters go, and in which order."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PruneConfig
from napari_topiary.networks import build_network, count_parameters, resolve_sizes
from napari_topiary.pruning import FilterPlan, make_plan
from napari_topiary.pruning.filter_plan import block_end
from napari_topiary.types import Task


def filter_plan(checkpoint: Checkpoint, scope: str) -> FilterPlan:
    plan = make_plan(checkpoint, PruneConfig(kind="filters", scope=scope))
    assert isinstance(plan, FilterPlan)
    return plan


@pytest.fixture(scope="module")
def two_million() -> Checkpoint:
    sizes = resolve_sizes("unet", "2m")
    torch.manual_seed(0)
    network = build_network("unet", sizes, 1, 2)
    return Checkpoint(
        network="unet",
        sizes=sizes,
        in_channels=1,
        task=Task("segment", ("background", "membrane")),
        state={k: v.detach().clone() for k, v in network.state_dict().items()},
        unpruned_parameters=count_parameters(network),
    )


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_weakest_filter_of_a_layer_goes_first(
    fresh: Callable[..., Checkpoint], scope: str
) -> None:
    checkpoint = fresh("unet")
    plan = filter_plan(checkpoint, scope)
    group = next(g for g in plan.coupling.groups if g.name == "up1.transpose")
    number = plan.coupling.groups.index(group)
    weight = checkpoint.state["up1.transpose.weight"]  # (in, out, y, x)
    norms = weight.abs().sum(dim=(0, 2, 3))
    order = [channel for index, channel in plan.steps if index == number]
    assert order == torch.argsort(norms)[:-1].tolist()


def test_score_of_a_sum_counts_all_its_producers(
    fresh: Callable[..., Checkpoint],
) -> None:
    checkpoint = fresh("residual")
    plan = filter_plan(checkpoint, "layer")
    number = next(
        i for i, g in enumerate(plan.coupling.groups) if "stem" in g.producers
    )
    state = checkpoint.state
    norms = (
        state["stem.weight"].abs().sum(dim=(1, 2, 3))
        + state["block2.weight"].abs().sum(dim=(1, 2, 3))
        + state["up.weight"].abs().sum(dim=(0, 2, 3))
    )
    order = [channel for index, channel in plan.steps if index == number]
    assert order == torch.argsort(norms)[:-1].tolist()


def test_layerwise_takes_the_same_share_of_every_layer(
    two_million: Checkpoint,
) -> None:
    plan = filter_plan(two_million, "layer")
    sizes = np.array([group.channels for group in plan.coupling.groups])
    for cursor in range(0, len(plan) + 1, 97):
        lost = sizes - [kept.sum() for kept in plan.kept(cursor)]
        share = lost / sizes
        # No layer is more than one filter ahead of or behind any other.
        assert (share.max() - share) @ np.ones(len(sizes)) <= (1 / sizes).sum() + 1
        assert np.all(np.abs(share - share.mean()) <= 1 / sizes + 1 / sizes.min())


def test_networkwide_starves_no_layer(two_million: Checkpoint) -> None:
    plan = filter_plan(two_million, "global")
    sizes = np.array([group.channels for group in plan.coupling.groups])
    for share in (0.5, 0.75, 0.9, 0.95):
        kept = np.array([k.sum() for k in plan.kept(plan.cursor(share))])
        average = kept.sum() / sizes.sum()
        assert np.all(kept / sizes >= 0.4 * average)
        assert kept.min() > 1


@pytest.mark.parametrize(("share", "most"), [(0.75, 0.42), (0.9, 0.19)])
def test_networkwide_saves_work_not_only_weights(
    two_million: Checkpoint, share: float, most: float
) -> None:
    plan = filter_plan(two_million, "global")
    whole = plan.statistics(0.0).macs_per_pixel
    assert plan.statistics(share).macs_per_pixel <= most * whole


def test_networkwide_takes_more_from_a_layer_of_weak_filters(
    fresh: Callable[..., Checkpoint],
) -> None:
    checkpoint = fresh("unet")
    weak = dict(checkpoint.state)
    scale = torch.ones(16)
    scale[:12] = 1e-3
    weak["down1.conv1.weight"] = weak["down1.conv1.weight"] * scale[:, None, None, None]
    plan = filter_plan(checkpoint.replaced(state=weak), "global")
    ordinary = filter_plan(checkpoint, "global")
    number = [g.name for g in plan.coupling.groups].index("down1.conv1")
    kept, before = (p.kept(p.cursor(0.5))[number] for p in (plan, ordinary))
    assert kept.sum() < before.sum()
    assert kept[12:].all()


def test_blocks_end_where_processors_gain() -> None:
    widths = [256]
    while widths[-1] > 1:
        widths.append(max(1, block_end(widths[-1])))
    assert widths[-5:] == [8, 4, 3, 2, 1]
    assert {32, 16, 12} <= set(widths)
    assert all(a > b for a, b in itertools.pairwise(widths))


def test_coupling_that_is_not_understood_is_left_whole(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A network that joins its raw image to its maps fools the tracer."""
    from napari_topiary.networks.base import Network, NetworkKind, networks

    class Joined(Network):
        stride, halo, output_layers = 1, 3, ("output",)

        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Conv2d(1, 6, 3, padding=1)
            self.two = nn.Conv2d(7, 8, 3, padding=1)
            self.three = nn.Conv2d(15, 5, 1)
            self.output = nn.Conv2d(5, 2, 1)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            maps = torch.cat([image, self.one(image).relu()], dim=1)
            maps = torch.cat([self.two(maps).relu(), maps], dim=1)
            logits: torch.Tensor = self.output(self.three(maps).relu())
            return logits

    kind = NetworkKind(
        build=lambda sizes, c, k: Joined(), presets={"only": {}}, default_preset="only"
    )
    monkeypatch.setitem(networks._things, "joined", kind)
    network = Joined()
    checkpoint = Checkpoint(
        network="joined",
        sizes={},
        in_channels=1,
        task=Task("segment", ("background", "membrane")),
        state={k: v.detach().clone() for k, v in network.state_dict().items()},
        unpruned_parameters=count_parameters(network),
    )
    plan = filter_plan(checkpoint, "layer")
    names = {group.name for group in plan.coupling.groups}
    assert "three" in names
    assert "one" not in names
    image = torch.randn(1, 1, 16, 16)
    with torch.no_grad():
        assert torch.isfinite(plan.network_at(0.99)(image)).all()
    assert plan.end < 0.99
    assert "cannot be reached" in plan.statistics(0.99).note
