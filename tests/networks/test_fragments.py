"""Pooling at every offset, and putting the pieces back."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from napari_topiary.networks.patch_classifier import assembled, fragments


def test_one_pooling_is_pooling_with_stride_one() -> None:
    maps = torch.randn(3, 5, 9, 13)
    found = assembled(fragments(maps), 1)
    torch.testing.assert_close(found, F.max_pool2d(maps, 2, stride=1))


def test_three_poolings_are_spread_poolings() -> None:
    maps = torch.randn(2, 3, 31, 23)
    expected, spread = maps, maps
    for step in (1, 2, 4):
        expected = F.max_pool2d(expected, 2, stride=1, dilation=step)
        spread = fragments(spread)
    found = assembled(spread, 3)
    assert found.shape == (2, 3, 24, 16)
    torch.testing.assert_close(found, expected[:, :, :24, :16])


def test_rows_that_no_pooling_reaches_are_left_out() -> None:
    """Nine rows pool to four: that is what a patch's floor does."""
    maps = torch.randn(1, 1, 10, 9)
    assert fragments(maps).shape == (4, 1, 4, 4)
