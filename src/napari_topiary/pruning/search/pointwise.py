"""Convolutions of single pixels, as products of matrices: faster on few pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


def is_pointwise(module: nn.Module | None) -> bool:
    """Whether a layer looks at each pixel alone, all of them, and all its channels.

    Parameters
    ----------
    module
        Any layer.
    """
    return (
        isinstance(module, nn.Conv2d)
        and set(module.kernel_size) == {1}
        and set(module.stride) == {1}
        and module.groups == 1
        and module.padding in ("same", "valid", (0, 0))
    )


def pointwise(
    maps: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """Convolve pixel by pixel.

    Parameters
    ----------
    maps
        `(b, c, y, x)`.
    weight
        `(k, c, 1, 1)`.
    bias
        `(k,)`, if any.

    Returns
    -------
    Tensor
        `(b, k, y, x)`, laid out with channels last.
    """
    return F.linear(maps.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(
        0, 3, 1, 2
    )
