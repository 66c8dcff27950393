"""Removing a little, learning, removing on: ends exactly at the slider's position."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PruneConfig
from napari_topiary.networks.base import Network
from napari_topiary.pruning import FilterPlan, GradualPruning, make_plan
from napari_topiary.shaping import KeepShape, Shape


def learn(network: Network, seed: int) -> None:
    """One step of an optimizer with momentum and decay, on noise."""
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    network.train()
    for _ in range(2):
        logits = network(torch.randn(2, 1, 32, 32))
        target = torch.randint(0, logits.shape[1], (2, *logits.shape[2:]))
        optimizer.zero_grad()
        F.cross_entropy(logits, target).backward()
        optimizer.step()


def fine_tune(shaper: GradualPruning, network: Network, steps: int = 12) -> Network:
    for index in range(steps):
        fraction = index / steps
        if shaper.due(fraction):
            network = shaper.update(fraction, network)
        learn(network, index)
        shaper.after_step(network)
    return network.eval()


def test_ends_exactly_at_the_position(
    checkpoint: Checkpoint, config: PruneConfig
) -> None:
    plan = make_plan(checkpoint, config)
    shaper = GradualPruning(plan, 0.8, stages=4)
    assert not shaper.settled
    network = fine_tune(shaper, checkpoint.build())
    assert shaper.settled
    goal, shape = plan.checkpoint_at(0.8), shaper.shape()
    assert shape.widths == goal.widths
    assert shape.masks.keys() == goal.masks.keys()
    state = network.state_dict()
    assert {n: t.shape for n, t in state.items()} == {
        n: t.shape for n, t in goal.state.items()
    }
    for name, mask in goal.masks.items():
        assert torch.equal(shape.masks[name], mask)
        assert not state[name][~mask].any()
        assert state[name][mask].any()
    tuned = checkpoint.replaced(
        state=state, widths=shape.widths, masks=shape.masks, pruning=shape.pruning
    )
    assert tuned.sparsity == pytest.approx(goal.sparsity)
    assert {**tuned.pruning[-1], "stages": None} == {
        **goal.pruning[-1],
        "stages": None,
    }
    assert torch.isfinite(tuned.build()(torch.randn(1, 1, 32, 32))).all()


def test_weights_are_carried_over(fresh: Callable[..., Checkpoint]) -> None:
    """Without learning in between, walking there is the same as jumping there."""
    for config in (
        PruneConfig(),
        PruneConfig(kind="weights", criterion="magnitude", scope="layer"),
    ):
        checkpoint = fresh("unet-norm")
        plan = make_plan(checkpoint, config)
        shaper = GradualPruning(plan, 0.9, until=0.5, stages=5)
        network = checkpoint.build().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        positions = []
        for step in range(20):
            if shaper.due(step / 20):
                network = shaper.update(step / 20, network)
            shaper.after_step(network)
            positions.append(shaper.shape().pruning[-1]["share"])
        assert 4 <= len(set(positions)) <= 5  # small layers, big steps
        assert positions == sorted(positions)
        assert positions[0] > 0.4  # most goes early
        goal = plan.checkpoint_at(0.9).state
        assert all(torch.equal(t, goal[n]) for n, t in network.state_dict().items())


def test_cut_on_a_copy(fresh: Callable[..., Checkpoint]) -> None:
    checkpoint = fresh("unet")
    before = {n: t.clone() for n, t in checkpoint.state.items()}
    shaper = GradualPruning(make_plan(checkpoint, PruneConfig()), 0.75)
    fine_tune(shaper, checkpoint.build())
    assert all(torch.equal(before[n], t) for n, t in checkpoint.state.items())


def test_ended_early_is_still_the_position(fresh: Callable[..., Checkpoint]) -> None:
    checkpoint = fresh("unet")
    plan = make_plan(checkpoint, PruneConfig())
    shaper = GradualPruning(plan, 0.9)
    network = shaper.update(0.0, checkpoint.build())
    assert not shaper.settled
    assert shaper.due(1.0)
    network = shaper.update(1.0, network)
    assert shaper.settled
    assert not shaper.due(1.0)
    shapes = {n: t.shape for n, t in network.state_dict().items()}
    goal = plan.checkpoint_at(0.9)
    assert shapes == {n: t.shape for n, t in goal.state.items()}


def test_one_stage_removes_all_before_the_first_step(
    fresh: Callable[..., Checkpoint],
) -> None:
    checkpoint = fresh("unet")
    plan = make_plan(checkpoint, PruneConfig())
    shaper = GradualPruning(plan, 0.9, stages=1)
    network = shaper.update(0.0, checkpoint.build())
    assert shaper.settled
    goal = plan.checkpoint_at(0.9).state
    assert all(torch.equal(t, goal[n]) for n, t in network.state_dict().items())


def test_masks_of_an_earlier_pruning_survive_a_later_one(
    fresh: Callable[..., Checkpoint],
) -> None:
    weights = PruneConfig(kind="weights", criterion="magnitude", scope="global")
    masked = make_plan(fresh("unet"), weights).checkpoint_at(0.5)
    for config in (PruneConfig(), weights):
        plan = make_plan(masked, config)
        shaper = GradualPruning(plan, 0.85, stages=3)
        network = fine_tune(shaper, masked.build(), steps=6)
        state = network.state_dict()
        for name, mask in shaper.shape().masks.items():
            assert not state[name][~mask].any()
        assert len(shaper.shape().pruning) == 2
        if isinstance(plan, FilterPlan):
            assert shaper.shape().masks  # cut, but not forgotten


def test_plain_fine_tuning_keeps_zeros(fresh: Callable[..., Checkpoint]) -> None:
    weights = PruneConfig(kind="weights", criterion="magnitude", scope="layer")
    pruned = make_plan(fresh("unet"), weights).checkpoint_at(0.9)
    network = pruned.build()
    shaper = KeepShape(Shape(pruned.widths, pruned.masks, pruned.pruning))
    for step in range(3):
        learn(network, step)
        shaper.after_step(network)
    state = network.state_dict()
    for name, mask in pruned.masks.items():
        assert not state[name][~mask].any()
        assert not torch.equal(state[name], pruned.state[name])
