"""How much memory a network's values take while it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from napari_topiary.networks.base import Network
from napari_topiary.networks.layers import (
    COUNTING_SIDE,
    input_channels,
    on_shapes,
    probe_side,
)

COUNTED = frozenset(
    "convolution addmm cat relu relu_ leaky_relu elu sigmoid avg_pool2d "
    "max_pool2d_with_indices native_batch_norm cudnn_batch_norm "
    "_native_batch_norm_legit_no_training".split()
)
"""Operations whose results are kept: what else there is only looks at them anew."""


class _Values(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the values that operations make."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Let an operation run, and note the size of its (first) result."""
        made = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ in COUNTED:
            first = made[0] if isinstance(made, tuple | list) else made
            self.count += int(first.numel())
        return made


def activation_bytes(
    network: Network, *, side: int = COUNTING_SIDE, bytes_per_value: int = 4
) -> int:
    """Bytes of the input and of all layers' outputs, for one image or patch.

    Counted as Roels et al. 2017 did: the input, every convolution's
    output, every activation's, every pooling's, and the fully connected ones, none of
    them freed.

    Parameters
    ----------
    network
        Any; pruned networks have less. Nothing is computed.
    side
        Of the image, in pixels, rounded up to the stride; classifiers of centre pixels
        read their patch.
    bytes_per_value
        4 for float32, 2 for bfloat16.
    """
    side = probe_side(network, side)
    channels = input_channels(network)
    image = torch.empty(1, channels, side, side, device="meta")
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad(), _Values() as values:
            on_shapes(network, image)
    finally:
        network.train(was_training)
    counted: int = values.count + image.numel()
    return counted * bytes_per_value
