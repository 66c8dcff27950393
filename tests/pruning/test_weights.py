"""Which single weights go, and in which order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PruneConfig
from napari_topiary.pruning import WeightPlan, make_plan
from napari_topiary.pruning.weight_plan import GONE, weight_places


def weight_plan(checkpoint: Checkpoint, scope: str, **more: bool) -> WeightPlan:
    config = PruneConfig(kind="weights", criterion="magnitude", scope=scope, **more)
    plan = make_plan(checkpoint, config)
    assert isinstance(plan, WeightPlan)
    return plan


def test_global_is_one_threshold(fresh: Callable[..., Checkpoint]) -> None:
    checkpoint = fresh("unet")
    plan = weight_plan(checkpoint, "global")
    masks = plan.masks(plan.cursor(0.8))
    removed = [checkpoint.state[n][~m].abs() for n, m in masks.items()]
    threshold = max(float(values.max()) for values in removed if len(values))
    for name, mask in masks.items():
        kept = checkpoint.state[name][mask].abs()
        # The largest weight of a layer stays, whatever the threshold.
        assert len(kept) == 1 or float(kept.min()) >= threshold


@pytest.mark.parametrize("share", [0.5, 0.8, 0.9375, 0.95])
def test_layerwise_takes_the_same_share_of_every_layer(
    fresh: Callable[..., Checkpoint], share: float
) -> None:
    checkpoint = fresh("unet")
    plan = weight_plan(checkpoint, "layer")
    masks = plan.masks(plan.cursor(share))
    gone = {n: 1 - float(m.float().mean()) for n, m in masks.items()}
    values = np.array(list(gone.values()))
    sizes = np.array([m.numel() for m in masks.values()])
    assert np.all(np.abs(values - values.mean()) <= 1.5 / sizes + 1e-3)
    for name, mask in masks.items():
        weights = checkpoint.state[name].abs()
        assert weights[~mask].max() <= weights[mask].min()


def test_output_layer_only_when_asked(fresh: Callable[..., Checkpoint]) -> None:
    checkpoint = fresh("unet")
    spared = weight_plan(checkpoint, "layer").checkpoint_at(0.9)
    assert torch.equal(spared.state["output.weight"], checkpoint.state["output.weight"])
    asked = weight_plan(checkpoint, "layer", include_output=True).checkpoint_at(0.9)
    assert "output.weight" in asked.masks
    assert int(asked.masks["output.weight"].sum()) >= 1


def test_biases_and_norms_stay_dense(fresh: Callable[..., Checkpoint]) -> None:
    checkpoint = fresh("unet-norm")
    pruned = weight_plan(checkpoint, "global").checkpoint_at(0.95)
    for name, tensor in checkpoint.state.items():
        if tensor.dim() < 2:
            assert torch.equal(pruned.state[name], tensor)
    assert all(tensor.dim() == 4 for tensor in pruned.masks.values())


def test_shape_and_work_do_not_change(fresh: Callable[..., Checkpoint]) -> None:
    plan = weight_plan(fresh("unet"), "global")
    whole, pruned = plan.statistics(0.0), plan.statistics(0.9)
    assert pruned.parameters == whole.parameters
    assert pruned.macs_per_pixel == whole.macs_per_pixel
    assert pruned.file_bytes < 0.3 * whole.file_bytes
    assert plan.checkpoint_at(0.9).widths == {}


def test_exactly_the_share_to_one_weight(fresh: Callable[..., Checkpoint]) -> None:
    plan = weight_plan(fresh("unet"), "global")
    whole = plan.checkpoint.unpruned_parameters
    for share in (0.5, 0.75, 0.8, 0.875, 0.9375, 0.95):
        assert 0 <= plan.statistics(share).share - share < 1 / whole + 1e-12


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    scope=st.sampled_from(["layer", "global"]),
    seed=st.integers(0, 10_000),
)
def test_places_are_an_order(sizes: list[int], scope: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = {  # few distinct values: many ties
        str(i): torch.randint(0, 5, (n,), generator=generator).float()
        for i, n in enumerate(sizes)
    }
    masks = {
        name: torch.rand(len(values), generator=generator) < 0.7
        for name, values in scores.items()
        if int(name) % 2 == 0
    }
    places, count = weight_places(scores, masks, scope)  # type: ignore[arg-type]
    pieces = dict(zip(scores, torch.split(places, sizes), strict=True))
    going = sorted(p for p in places.tolist() if 0 <= p < count)
    assert going == list(range(count))
    for name, piece in pieces.items():
        alive = masks.get(name, torch.ones(len(piece)) > 0)
        assert torch.equal(piece == GONE, ~alive)
        if alive.any():
            stays = piece >= count
            assert int(stays.sum()) == 1
            assert scores[name][stays] == scores[name][alive].max()
            ranked = scores[name][alive][torch.argsort(piece[alive])]
            assert torch.equal(ranked, ranked.sort().values)


def test_a_mask_that_is_there_already_stays(fresh: Callable[..., Checkpoint]) -> None:
    once = weight_plan(fresh("unet"), "layer").checkpoint_at(0.6)
    plan = weight_plan(once, "global")
    assert plan.cursor(0.3) == 0
    assert "gone already" in plan.statistics(0.3).note
    twice = plan.checkpoint_at(0.7)
    for name, mask in once.masks.items():
        assert not (twice.masks[name] & ~mask).any()


@given(
    sizes=st.lists(st.integers(2, 30), min_size=2, max_size=5),
    seed=st.integers(0, 10_000),
)
def test_branches_lose_the_same_share(sizes: list[int], seed: int) -> None:
    """Weights of one branch are a hundred times as large: that must not matter."""
    generator = torch.Generator().manual_seed(seed)
    names = [f"{'ab'[i % 2]}.layer{i}.weight" for i in range(len(sizes))]
    scores = {
        name: torch.rand(n, generator=generator) * (100 if name[0] == "a" else 1)
        for name, n in zip(names, sizes, strict=True)
    }
    places, count = weight_places(scores, {}, "global", ("a", "b"))
    pieces = dict(zip(names, torch.split(places, sizes), strict=True))
    for branch in "ab":
        mine = {n: p for n, p in pieces.items() if n.startswith(branch)}
        alone, _ = weight_places({n: scores[n] for n in mine}, {}, "global")
        order = torch.argsort(torch.cat(list(mine.values())))
        going = len(order) - len(mine)  # one of each parameter stays
        assert torch.equal(order[:going], torch.argsort(alone)[:going])
        total, other = len(order), len(places) - len(order)
        for cursor in range(count + 1):
            gone = sum(int((piece < cursor).sum()) for piece in mine.values())
            away = cursor - gone
            if gone < going and away < count - going:
                assert abs(gone / total - away / other) <= 1 / total + 1 / other


@pytest.mark.parametrize("ratio", [2, 5, 16, 32])
def test_both_branches_of_the_nuclei_network_have_the_same_ratio(
    fresh: Callable[..., Checkpoint], ratio: int
) -> None:
    checkpoint = fresh("nuclei")
    state = {
        name: tensor * (10 if name.startswith("distance") else 1)
        for name, tensor in checkpoint.state.items()
    }
    plan = weight_plan(checkpoint.replaced(state=state), "global")
    masks = plan.masks(plan.cursor(1 - 1 / ratio))
    kept = {"segmentation": [0, 0], "distance": [0, 0]}
    for name, mask in masks.items():
        branch = kept[name.partition(".")[0]]
        branch[0] += int(mask.sum())
        branch[1] += mask.numel()
    shares = [left / whole for left, whole in kept.values()]
    assert shares[0] == pytest.approx(shares[1], abs=2 / kept["distance"][1])
    assert all(mask.any() for mask in masks.values())
