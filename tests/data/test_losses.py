"""Losses: worked by hand, and blind to the unknown."""

import math

import pytest
import torch

from napari_topiary.data.losses import (
    masked_cross_entropy,
    masked_dice_loss,
    training_loss,
)


def hand_made():
    logits = torch.zeros(1, 2, 1, 3)
    logits[0, 1] = torch.tensor([0.0, math.log(3.0), 50.0])
    target = torch.tensor([[[0, 1, -1]]])
    return logits, target, torch.ones(1, 1, 3)


def test_cross_entropy_is_the_mean_over_known_pixels():
    logits, target, weight = hand_made()
    # p(true) is 1/2 and 3/4; the third pixel is unknown.
    expected = -(math.log(0.5) + math.log(0.75)) / 2
    assert float(masked_cross_entropy(logits, target, weight)) == pytest.approx(
        expected
    )


def test_weights_of_pixels_and_classes_multiply():
    logits, target, weight = hand_made()
    weight[..., 1] = 3.0
    expected = -(2.0 * math.log(0.5) + 3.0 * math.log(0.75)) / 5.0
    loss = masked_cross_entropy(
        logits, target, weight, class_weight=torch.tensor([2.0, 1.0])
    )
    assert float(loss) == pytest.approx(expected)


def test_nothing_known_costs_nothing_and_has_a_gradient():
    logits = torch.randn(1, 2, 4, 4, requires_grad=True)
    target = torch.full((1, 4, 4), -1)
    loss = training_loss(logits, target, torch.ones(1, 4, 4), dice_weight=0.5)
    loss.backward()
    assert torch.isfinite(loss)
    assert float(logits.grad.abs().sum()) == pytest.approx(0.0)


def test_dice_of_a_perfect_answer_is_zero_and_of_the_opposite_near_one():
    target = torch.tensor([[[0, 1], [1, 0]]]).repeat(1, 10, 10)
    sure = torch.stack([1.0 - target, target.float()], dim=1) * 60 - 30
    assert float(masked_dice_loss(sure, target)) == pytest.approx(0.0, abs=1e-6)
    assert float(masked_dice_loss(-sure, target)) > 0.99


def test_unknown_pixels_do_not_move_the_dice():
    target = torch.tensor([[[0, 1, -1, -1]]])
    logits = torch.randn(1, 2, 1, 4)
    changed = logits.clone()
    changed[..., 2:] = 9.0
    assert torch.equal(
        masked_dice_loss(logits, target), masked_dice_loss(changed, target)
    )
