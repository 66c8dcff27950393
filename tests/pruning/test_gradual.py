"""Removing a little, learning, removing on: ends exactly at the slider's position."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from napari_topiary.annotations import Labels
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PruneConfig, TrainConfig
from napari_topiary.io.dataset import Sample
from napari_topiary.networks.base import Network
from napari_topiary.networks.patch_classifier import PatchClassifier
from napari_topiary.networks.pruning_schedule import (
    FixedShape,
    NetworkInTraining,
    PrunedShape,
)
from napari_topiary.pruning import (
    FilterPlan,
    GradualPruning,
    make_plan,
    pruning_schedule,
)
from napari_topiary.training import fit
from napari_topiary.types import Task, run


def trained(network: Network) -> NetworkInTraining:
    """A network with an optimizer that has momentum and decay."""
    return NetworkInTraining(network, torch.optim.AdamW(network.parameters(), lr=1e-2))


def learn(one: NetworkInTraining, seed: int) -> None:
    """One step, on noise."""
    torch.manual_seed(seed)
    one.network.train()
    # 8 pixels are enough where each has a patch of its own.
    side = 8 if isinstance(one.network, PatchClassifier) else 32
    logits = one.network(torch.randn(2, 1, side, side))
    target = torch.randint(0, logits.shape[1], (2, *logits.shape[2:]))
    one.optimizer.zero_grad()
    F.cross_entropy(logits, target).backward()
    one.optimizer.step()


def fine_tune(pruning: GradualPruning, network: Network, steps: int = 12) -> Network:
    one = trained(network)
    for index in range(steps):
        fraction = index / steps
        if pruning.due(fraction):
            pruning.update(fraction, one)
        learn(one, index)
        pruning.after_step(network)
    return network.eval()


def test_ends_exactly_at_the_position(
    checkpoint: Checkpoint, config: PruneConfig
) -> None:
    plan = make_plan(checkpoint, config)
    pruning = GradualPruning(plan, 0.8, stages=4)
    assert not pruning.settled
    network = fine_tune(pruning, checkpoint.build(), steps=6)
    assert pruning.settled
    goal, shape = plan.checkpoint_at(0.8), pruning.shape()
    assert shape.widths == goal.widths
    assert shape.masks.keys() == goal.masks.keys()
    state = network.state_dict()
    assert {n: t.shape for n, t in state.items()} == {
        n: t.shape for n, t in goal.state.items()
    }
    for name, mask in goal.masks.items():
        kept = shape.masks[name]
        assert int(kept.sum()) == int(mask.sum())
        assert not state[name][~kept].any()
        assert state[name][kept].any()
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
        pruning = GradualPruning(plan, 0.9, until=0.5, stages=5)
        network = checkpoint.build().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        positions, one = [], trained(network)
        for step in range(20):
            if pruning.due(step / 20):
                pruning.update(step / 20, one)
            pruning.after_step(network)
            positions.append(pruning.shape().pruning[-1]["share"])
        assert 4 <= len(set(positions)) <= 5  # small layers, big steps
        assert positions == sorted(positions)
        assert positions[0] > 0.4  # most goes early
        goal = plan.checkpoint_at(0.9).state
        assert all(torch.equal(t, goal[n]) for n, t in network.state_dict().items())


@pytest.mark.parametrize(
    ("kind", "criterion"), [("filters", "l1"), ("weights", "magnitude")]
)
def test_halving_halves_what_remains(
    fresh: Callable[..., Checkpoint], kind: str, criterion: str
) -> None:
    checkpoint = fresh("unet")
    plan = make_plan(checkpoint, PruneConfig(kind=kind, criterion=criterion))
    pruning = GradualPruning(plan, 1 - 1 / 10, schedule="halving")
    fractions = [0.0, 0.1, 0.24, 0.25, 0.49, 0.5, 0.74, 0.75, 1.0]
    left = [1 - plan.share(pruning.cursor_at(fraction)) for fraction in fractions]
    expected = [0.5, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.1, 0.1]
    assert left == pytest.approx(expected, abs=0.012)
    network = fine_tune(pruning, checkpoint.build())
    assert pruning.settled
    entry = pruning.shape().pruning[-1]
    assert (entry["stages"], entry["schedule"]) == (4, "halving")
    found = checkpoint.replaced(
        state=network.state_dict(),
        widths=pruning.shape().widths,
        masks=pruning.shape().masks,
    )
    assert found.sparsity == pytest.approx(0.9, abs=0.005)
    again = GradualPruning(make_plan(found), 0.95, schedule="halving")
    assert again.cursor_at(0.0) == make_plan(found).cursor(0.95)


def test_cut_on_a_copy(fresh: Callable[..., Checkpoint]) -> None:
    checkpoint = fresh("unet")
    before = {n: t.clone() for n, t in checkpoint.state.items()}
    pruning = GradualPruning(make_plan(checkpoint, PruneConfig()), 0.75)
    fine_tune(pruning, checkpoint.build())
    assert all(torch.equal(before[n], t) for n, t in checkpoint.state.items())


def test_ended_early_is_still_the_position(fresh: Callable[..., Checkpoint]) -> None:
    checkpoint = fresh("unet")
    plan = make_plan(checkpoint, PruneConfig())
    pruning = GradualPruning(plan, 0.9)
    network = checkpoint.build()
    one = trained(network)
    pruning.update(0.0, one)
    assert not pruning.settled
    assert pruning.due(1.0)
    pruning.update(1.0, one)
    assert pruning.settled
    assert not pruning.due(1.0)
    shapes = {n: t.shape for n, t in network.state_dict().items()}
    goal = plan.checkpoint_at(0.9)
    assert shapes == {n: t.shape for n, t in goal.state.items()}


def test_one_stage_removes_all_before_the_first_step(
    fresh: Callable[..., Checkpoint],
) -> None:
    checkpoint = fresh("unet")
    plan = make_plan(checkpoint, PruneConfig())
    pruning = GradualPruning(plan, 0.9, stages=1)
    network = checkpoint.build()
    pruning.update(0.0, trained(network))
    assert pruning.settled
    goal = plan.checkpoint_at(0.9).state
    assert all(torch.equal(t, goal[n]) for n, t in network.state_dict().items())


def test_masks_of_an_earlier_pruning_survive_a_later_one(
    fresh: Callable[..., Checkpoint],
) -> None:
    weights = PruneConfig(kind="weights", criterion="magnitude", scope="global")
    masked = make_plan(fresh("unet"), weights).checkpoint_at(0.5)
    for config in (PruneConfig(), weights):
        plan = make_plan(masked, config)
        pruning = GradualPruning(plan, 0.85, stages=3)
        network = fine_tune(pruning, masked.build(), steps=6)
        state = network.state_dict()
        for name, mask in pruning.shape().masks.items():
            assert not state[name][~mask].any()
        assert len(pruning.shape().pruning) == 2
        if isinstance(plan, FilterPlan):
            assert pruning.shape().masks  # cut, but not forgotten


def test_plain_fine_tuning_keeps_zeros(fresh: Callable[..., Checkpoint]) -> None:
    weights = PruneConfig(kind="weights", criterion="magnitude", scope="layer")
    pruned = make_plan(fresh("unet"), weights).checkpoint_at(0.9)
    network = pruned.build()
    one = trained(network)
    pruning = FixedShape(PrunedShape(pruned.widths, pruned.masks, pruned.pruning))
    for step in range(3):
        learn(one, step)
        pruning.after_step(network)
    state = network.state_dict()
    for name, mask in pruned.masks.items():
        assert not state[name][~mask].any()
        assert not torch.equal(state[name], pruned.state[name])


@pytest.mark.parametrize("gradual", [True, False])
def test_removed_weights_have_no_say_in_a_step(
    fresh: Callable[..., Checkpoint], gradual: bool
) -> None:
    weights = PruneConfig(kind="weights", criterion="magnitude", scope="layer")
    plan = make_plan(fresh("unet"), weights)
    pruned = plan.checkpoint_at(0.9)
    network = (plan.checkpoint if gradual else pruned).build()
    pruning: GradualPruning | FixedShape = FixedShape(
        PrunedShape(pruned.widths, pruned.masks, pruned.pruning)
    )
    if gradual:
        pruning = GradualPruning(plan, 0.9, stages=1)
        pruning.due(0.0)
        pruning.after_step(network)
    for weight in network.parameters():
        weight.grad = torch.ones_like(weight)
    pruning.before_step(network)
    for name, weight in network.named_parameters():
        assert weight.grad is not None
        kept = pruned.masks.get(name, torch.ones_like(weight, dtype=torch.bool))
        assert torch.equal(weight.grad, kept.to(weight.grad.dtype))


def test_memory_of_the_optimizer_is_cut_along(fresh: Callable[..., Checkpoint]) -> None:
    checkpoint = fresh("unet")
    plan = make_plan(checkpoint, PruneConfig(scope="layer"))
    assert isinstance(plan, FilterPlan)
    network = checkpoint.build()
    norm = torch.nn.BatchNorm2d(8)
    norm.weight.data = torch.arange(8.0)
    norm.running_mean = torch.arange(8.0) + 10
    handle = network.get_submodule("down0.conv1").register_forward_hook(
        lambda layer, inputs, output: norm(output)
    )
    parameters = [*network.parameters(), *norm.parameters()]
    one = NetworkInTraining(
        network, torch.optim.AdamW(parameters, lr=1e-3), {"down0.conv1": norm}
    )
    learn(one, 0)
    weight = network.get_parameter("down0.conv2.weight")
    memory = one.optimizer.state[weight]
    before = {"weight": weight.detach().clone(), "gains": norm.weight.detach().clone()}
    before |= {key: memory[key].clone() for key in ("exp_avg", "exp_avg_sq")}
    mean = norm.running_mean.clone()
    GradualPruning(plan, 0.7, stages=1).update(0.0, one)
    kept = plan.kept(plan.cursor(0.7))
    into, out = (torch.from_numpy(kept[group]) for group in (0, 1))
    new = network.get_parameter("down0.conv2.weight")
    assert torch.equal(new, before["weight"][out][:, into])
    for key in ("exp_avg", "exp_avg_sq"):
        assert torch.equal(one.optimizer.state[new][key], before[key][out][:, into])
    assert one.optimizer.state[new]["step"] == 1
    assert torch.equal(norm.weight, before["gains"][into])
    assert torch.equal(norm.running_mean, mean[into])
    assert weight not in one.optimizer.state
    known = {p for group in one.optimizer.param_groups for p in group["params"]}
    assert known == {*network.parameters(), *norm.parameters()}
    learn(one, 1)  # and it goes on
    handle.remove()


@pytest.mark.parametrize("kind", ["filters", "weights"])
def test_fine_tuning_from_end_to_end(kind: str) -> None:
    """The real training, on made-up virions, ends at the slider's position."""
    samples = [sample(seed) for seed in range(3)]
    task = Task("segment", ("background", "virus"))
    config = TrainConfig(
        sizes={"base": 8, "levels": 1}, epochs=4, patch=32, batch=2, device="cpu"
    )
    start = run(fit(samples, config, task=task))
    criterion = "l1" if kind == "filters" else "magnitude"
    plan = make_plan(start, PruneConfig(kind=kind, criterion=criterion))
    tuned = run(
        fit(
            samples,
            config,
            task=task,
            start=start,
            pruning=pruning_schedule(plan, 0.85),
        )
    )
    goal = plan.checkpoint_at(0.85)
    assert tuned.widths == goal.widths
    assert tuned.sparsity == pytest.approx(goal.sparsity)
    assert tuned.unpruned_parameters == start.unpruned_parameters
    assert tuned.pruning[-1]["share"] == pytest.approx(goal.sparsity)
    for name, mask in goal.masks.items():
        assert int(tuned.masks[name].sum()) == int(mask.sum())
        assert not tuned.state[name][~tuned.masks[name]].any()
    assert tuned.thresholds == {}  # so few patches choose none
    again = run(fit(samples, config, task=task, start=tuned))  # plain fine-tuning
    assert again.sparsity == tuned.sparsity
    for name, mask in tuned.masks.items():
        assert not again.state[name][~mask].any()


def sample(seed: int) -> Sample:
    rng = np.random.default_rng(seed)
    truth = np.zeros((48, 48), np.int64)
    for y, x in rng.integers(6, 42, (6, 2)):
        truth[y - 4 : y + 4, x - 4 : x + 4] = 1
    picture = rng.normal(0, 0.3, (1, 48, 48)) + truth
    labels = Labels(truth, instances=False)
    return Sample(picture.astype(np.float32), (labels,), None, str(seed))
