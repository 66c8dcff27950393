"""Orthogonal steps: what they are, for which weights, and that they go on when cut."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_topiary.config import TrainConfig
from napari_topiary.networks import build_network
from napari_topiary.training.optimizers import (
    Muon,
    ValidationRounds,
    is_orthogonal,
    optimizer_for,
    orthogonalised,
)


@settings(deadline=None, max_examples=25)
@given(
    rows=st.integers(1, 40),
    more=st.integers(0, 200),
    scale=st.sampled_from([1e-6, 1.0, 1e3]),
    seed=st.integers(0, 5),
)
def test_every_direction_becomes_about_as_long(rows, more, scale, seed):
    torch.manual_seed(seed)
    left, _, right = torch.linalg.svd(
        torch.randn(rows, rows + more, dtype=torch.float64), full_matrices=False
    )
    lengths = torch.linspace(0.2, 1.0, rows, dtype=torch.float64) * scale
    turned = orthogonalised(((left * lengths) @ right).float())
    assert torch.linalg.svdvals(turned).sub(1).abs().max() < 0.4
    # Only the lengths have changed: it still points to where it pointed.
    assert (left.T @ turned.double() @ right.T).diagonal().min() > 0.6


def test_nothing_to_learn_is_no_step():
    assert torch.equal(orthogonalised(torch.zeros(4, 9)), torch.zeros(4, 9))


@pytest.mark.parametrize(
    ("shape", "orthogonal"),
    [
        ((8, 8, 3, 3), True),
        ((16, 8, 2, 2), True),
        ((8, 1, 3, 3), False),
        ((2, 8, 1, 1), False),
        ((8,), False),
        ((10, 20), False),
    ],
)
def test_only_convolutions_between_maps_are_turned(shape, orthogonal):
    assert is_orthogonal(torch.zeros(shape)) == orthogonal


def test_length_of_a_step_is_set_by_the_rate_not_by_the_gradient():
    lengths = []
    for scale in (1e-3, 1e3):
        torch.manual_seed(0)
        weight = torch.nn.Parameter(torch.zeros(8, 8, 3, 3))
        weight.grad = torch.randn(8, 8, 3, 3) * scale
        Muon([{"params": [weight]}], lr=0.01, weight_decay=0.0).step()
        lengths.append(torch.linalg.svdvals(weight.detach().flatten(1)))
    assert torch.allclose(lengths[0], lengths[1], rtol=1e-4)
    assert lengths[0].sub(0.05).abs().max() < 0.02


def test_the_rest_is_stepped_as_adamw_steps():
    torch.manual_seed(0)
    start, gradients = torch.randn(5), torch.randn(20, 5)
    ends = []
    for kind in (Muon, torch.optim.AdamW):
        weight = torch.nn.Parameter(start.clone())
        optimizer = kind([{"params": [weight]}], lr=0.03, weight_decay=0.1)
        for gradient in gradients:
            weight.grad = gradient.clone()
            optimizer.step()
        ends.append(weight.detach())
    assert torch.allclose(*ends, rtol=1e-4, atol=1e-6)


def test_it_is_the_default_and_learns():
    torch.manual_seed(0)
    network = build_network("unet", {"base": 4, "multiplier": 2.0, "levels": 1}, 1, 2)
    optimizer = optimizer_for(TrainConfig(), [{"params": list(network.parameters())}])
    assert isinstance(optimizer, Muon)
    image = torch.randn(4, 1, 16, 16)
    target = (image[:, 0] > 0).long()
    losses = []
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(network(image), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_without_a_gradient_a_weight_stays():
    weight = torch.nn.Parameter(torch.ones(8, 8, 3, 3))
    Muon([{"params": [weight]}], lr=0.01, weight_decay=0.5).step()
    assert torch.equal(weight.detach(), torch.ones(8, 8, 3, 3))


def test_a_layer_that_is_cut_to_few_maps_goes_on_as_it_began():
    weight = torch.nn.Parameter(torch.randn(8, 8, 3, 3))
    optimizer = Muon([{"params": [weight]}], lr=0.01, weight_decay=0.0)
    weight.grad = torch.randn(8, 8, 3, 3)
    optimizer.step()
    cut = torch.nn.Parameter(weight.detach()[:2].clone())
    optimizer.state[cut] = {
        key: value[:2].clone() for key, value in optimizer.state.pop(weight).items()
    }
    optimizer.param_groups[0]["params"] = [cut]
    cut.grad = torch.randn(2, 8, 3, 3)
    before = cut.detach().clone()
    optimizer.step()
    lengths = torch.linalg.svdvals((cut.detach() - before).flatten(1))
    assert lengths.sub(0.05).abs().max() < 0.02


@pytest.mark.parametrize("slower", [1.0, 2.0, 4.0])
def test_judging_takes_a_tenth_also_where_the_machine_becomes_busier(slower):
    """Once and the figure were planned with a fiftieth each: four times is too much."""
    total, once, figure = 60.0, 1.2, 1.2
    rounds = ValidationRounds(None, once, total_s=total, figure_s=figure)
    judged, times, step = 0.0, 0, 0
    for now in range(int(total)):
        step += 1
        if rounds.due(step, float(now)):
            rounds.took(slower * once, now)
            judged, times = judged + slower * once, times + 1
    rounds_and_end = judged + slower * (once + figure)
    assert rounds_and_end <= 0.1 * total or times <= 1
    assert times >= (2 if slower == 1.0 else 1)


def test_epochs_are_judged_at_fixed_steps_however_long_that_takes():
    rounds = ValidationRounds(40, 100.0, total_s=math.inf, figure_s=100.0)
    rounds.took(1000.0, 0.0)
    assert [n for n in range(1, 9) if rounds.due(n, 0.0)] == [2, 4, 6, 8]
