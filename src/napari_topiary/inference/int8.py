"""Networks whose convolutions multiply whole numbers of eight bits.

What a layer reads is rounded to one of 256 steps between the least and the most that it
has read on images like those learned from, and its weights to 127: processors do four
such multiplications in the time of one. OpenVINO and ONNX Runtime compute so what torch
can only imitate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import nn

from napari_topiary.networks.base import Network

Ranges = Mapping[str, tuple[float, float]]
"""Layer name -> the least and the most that it reads."""
WEIGHT_STEPS = 63
"""To each side. Processors without instructions for it add pairs of products in sixteen
bits, where 127 would be too many."""


def quantised(network: Network, ranges: Ranges) -> Network:
    """Return a copy that computes as with whole numbers.

    Parameters
    ----------
    network
        That does not change any more, its normalisations folded.
    ranges
        Of the layers that are rounded; others are left alone.
    """
    copy = deepcopy(network)
    for name, (low, high) in ranges.items():
        convolution = copy.get_submodule(name)
        if isinstance(convolution, nn.Conv2d):
            copy.set_submodule(name, _Rounded(convolution, low, high))
    return copy


def input_ranges(network: Network, images: Iterable[torch.Tensor]) -> Ranges:
    """Measure what the layers read that can be rounded.

    The first layer and those that answer are not among them: there little is gained
    and most is lost.

    Parameters
    ----------
    network
        In evaluation mode.
    images
        `(b, c, y, x)` like those that it learned from, as it sees them.
    """
    named = [n for n, m in network.named_modules() if isinstance(m, nn.Conv2d)]
    names = [name for name in named[1:] if name not in network.output_layers]
    found: dict[str, tuple[float, float]] = {}
    with _listening(network, names, found), torch.inference_mode():
        for image in images:
            network(image)
    return found


@contextmanager
def _listening(
    network: Network, names: list[str], found: dict[str, tuple[float, float]]
) -> Iterator[None]:
    def listen(name: str, read: torch.Tensor) -> None:
        low, high = found.get(name, (0.0, 0.0))
        found[name] = min(low, float(read.min())), max(high, float(read.max()))

    def hook(name: str) -> torch.utils.hooks.RemovableHandle:
        module = network.get_submodule(name)
        return module.register_forward_pre_hook(lambda _, read: listen(name, read[0]))

    hooks = [hook(name) for name in names]
    try:
        yield
    finally:
        for one in hooks:
            one.remove()


class _Rounded(nn.Module):
    """A convolution of rounded numbers, as ONNX describes it.

    `low`, `high`: range of what it reads; contains 0.
    """

    def __init__(self, convolution: nn.Conv2d, low: float, high: float) -> None:
        super().__init__()
        self.convolution = convolution
        self.step = max((high - low) / 255, 1e-8)
        self.zero = round(-low / self.step)
        most = convolution.weight.detach().abs().amax(dim=(1, 2, 3))
        self.register_buffer("steps", most.clamp(min=1e-8) / WEIGHT_STEPS)
        self.register_buffer("zeros", torch.zeros(len(most), dtype=torch.int32))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Convolve what is rounded."""
        one = self.convolution
        image = torch.fake_quantize_per_tensor_affine(
            image, self.step, self.zero, 0, 255
        )
        weight = torch.fake_quantize_per_channel_affine(
            one.weight, self.get_buffer("steps"), self.get_buffer("zeros"), 0, -128, 127
        )
        return F.conv2d(
            image, weight, one.bias, one.stride, one.padding, one.dilation, one.groups
        )
