"""Normalising few maps quickly is the same as normalising them."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from napari_topiary.training.narrow_norm import NarrowNorm, merged_pixels


def pair(maps, momentum=0.1):
    torch.manual_seed(maps)
    usual = nn.BatchNorm2d(maps, eps=1e-3, momentum=momentum)
    with torch.no_grad():
        usual.weight.uniform_(-2, 2)
        usual.bias.normal_()
    narrow = NarrowNorm(maps, eps=1e-3, momentum=momentum)
    narrow.load_state_dict(copy.deepcopy(usual.state_dict()))
    return usual, narrow


def draw(maps, width, dtype=torch.float32):
    image = torch.randn(2, maps, 6, width) * 2 + 5
    return image.to(dtype).contiguous(memory_format=torch.channels_last)


def answered(norm, image, gradient):
    image = image.clone().requires_grad_()
    norm.zero_grad()
    # What follows a normalisation in our networks works in place.
    answer = norm(image).mul_(2.0)
    answer.backward(gradient)
    return answer.detach(), image.grad, norm.weight.grad, norm.bias.grad


@settings(deadline=None, max_examples=25)
@given(maps=st.integers(1, 40), width=st.sampled_from([4, 5, 8, 16, 24, 48]))
def test_narrow_norm_is_batch_norm(maps, width):
    usual, narrow = pair(maps)
    usual.double()  # torch's own sums are rounded more than ours
    for _ in range(3):
        image, gradient = draw(maps, width), draw(maps, width)
        for ours, theirs in zip(
            answered(narrow, image, gradient),
            answered(usual, image.double(), gradient.double()),
            strict=True,
        ):
            furthest = (ours.double() - theirs).abs().max()
            assert furthest <= 1e-3 * theirs.abs().max()
    for name, value in usual.state_dict().items():
        kept = narrow.state_dict()[name].double()
        assert torch.allclose(kept, value.double(), rtol=1e-4, atol=1e-5)
    usual.eval()
    narrow.eval()
    assert torch.allclose(narrow(image).double(), usual(image.double()), atol=1e-4)


def test_statistics_may_be_a_plain_average():
    usual, narrow = pair(6, momentum=None)
    for _ in range(4):
        image = draw(6, 16)
        usual(image)
        narrow(image)
    assert torch.allclose(narrow.running_mean, usual.running_mean, atol=1e-5)
    assert torch.allclose(narrow.running_var, usual.running_var, rtol=1e-4)


def test_reduced_precision_stays_reduced_and_close():
    usual, narrow = pair(8)
    image, gradient = draw(8, 32, torch.bfloat16), draw(8, 32, torch.bfloat16)
    ours, theirs = (answered(n, image, gradient) for n in (narrow, usual))
    assert ours[0].dtype == torch.bfloat16
    assert torch.allclose(ours[0].float(), theirs[0].float(), atol=0.05)
    assert torch.allclose(ours[1].float(), theirs[1].float(), rtol=0.02, atol=0.1)


@pytest.mark.parametrize(
    ("shape", "merged"),
    [
        ((2, 8, 4, 32), 16),
        ((2, 8, 4, 24), 8),
        ((2, 8, 4, 12), 4),
        ((2, 8, 4, 7), 1),
        ((2, 64, 4, 32), 1),
        ((2, 1, 4, 32), 1),
    ],
)
def test_pixels_are_merged_where_it_pays(shape, merged):
    image = torch.zeros(shape).contiguous(memory_format=torch.channels_last)
    assert merged_pixels(image) == merged


def test_maps_that_lie_one_after_the_other_are_left_to_torch():
    assert merged_pixels(torch.zeros(2, 8, 4, 32)) == 1
