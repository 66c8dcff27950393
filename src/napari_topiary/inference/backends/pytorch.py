"""Running a network in torch: the back end that is always there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_topiary.inference.backends.base import BackendKind, backends
from napari_topiary.inference.devices import autocast_dtype
from napari_topiary.networks.base import Network, in_shares
from napari_topiary.networks.layers import OnPatches


class TorchBackend:
    """Runs a network as it is now, in evaluation mode.

    Parameters
    ----------
    network
        Moved to the device.
    device
        Where to compute.
    dtype
        Reduced precision; None = exactly.
    """

    def __init__(
        self, network: Network, device: torch.device, dtype: torch.dtype | None = None
    ) -> None:
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network, self.device, self.dtype = network, device, dtype
        self.precision = str(dtype or torch.float32).removeprefix("torch.")

    def __call__(
        self, image: NDArray[np.float32], rows: slice, columns: slice
    ) -> NDArray[np.float32]:
        """Probabilities and values `(k + r, rows, columns)` of a tile `(c, y, x)`."""

        def within(tensor: torch.Tensor) -> torch.Tensor:
            return self.network.within(tensor, rows, columns)

        maps: NDArray[np.float32] = self._asked(within, image[None])[0]
        return maps

    def on_patches(self, patches: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities `(b, k)` of the middles of patches `(b, c, y, x)`."""
        return self._asked(self.network.on_patches, patches)[:, :, 0, 0]

    def _asked(
        self,
        network: Callable[[torch.Tensor], torch.Tensor],
        images: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """What a network says about images, in shares.

        The modes are entered and left here, never across a `yield`: they belong to the
        thread, and whoever drives the job would run on in them.
        """
        was_training = self.network.training
        if was_training:
            self.network.eval()
        try:
            with torch.inference_mode(), precision(self.device, self.dtype):
                tensor = torch.from_numpy(images).to(self.device)
                answer = network(tensor.contiguous(memory_format=torch.channels_last))
            result: NDArray[np.float32] = in_shares(self.network, answer).cpu().numpy()
            return result
        finally:
            if was_training:
                self.network.train()


def _make(network: Network, device: torch.device, *, exact: bool) -> TorchBackend:
    dtype = None if exact else autocast_dtype(device)
    return TorchBackend(folded(network), device, dtype)


backends.register("torch")(
    BackendKind(make=_make, title="PyTorch", packages=("torch",), processor_only=False)
)


def precision(
    device: torch.device, dtype: torch.dtype | None
) -> AbstractContextManager[object]:
    """How networks compute: in `dtype`, or exactly where it is None."""
    if dtype is not None:
        return torch.autocast(device.type, dtype=dtype)
    if device.type == "cuda":
        # TF32 rounds to ten bits: the tiles' seams would show in the last digits.
        return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    return nullcontext()


def folded(network: Network) -> Network:
    """Return a network with the same answer and fewer batch normalisations.

    A normalisation that reads nothing but a convolution is a part of it once training
    is over.

    Parameters
    ----------
    network
        In evaluation mode; it is left alone, and returned where there is nothing to do.
    """
    pairs = _normalised_convolutions(network)
    if not pairs:
        return network
    copy = deepcopy(network)
    for convolution, norm in pairs:
        fused = fuse_conv_bn_eval(
            copy.get_submodule(convolution),  # type: ignore[type-var]
            copy.get_submodule(norm),  # type: ignore[arg-type]
        )
        copy.set_submodule(convolution, fused)
        copy.set_submodule(norm, nn.Identity())
    return copy


def _normalised_convolutions(network: Network) -> list[tuple[str, str]]:
    """Names of convolutions and of the normalisations that alone read them."""
    norms = [n for n, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)]
    if not norms or network.training:
        return []
    probed = OnPatches(network)
    try:
        graph = fx.Tracer().trace(probed)
    except (AttributeError, RuntimeError, TypeError, ValueError):  # not traceable
        return []
    pairs = []
    for node in graph.nodes:
        if node.op != "call_module":
            continue
        norm, before = node.target, node.args[0]
        if not isinstance(probed.get_submodule(norm), nn.BatchNorm2d):
            continue
        convolution = before.op == "call_module" and isinstance(
            probed.get_submodule(before.target), nn.Conv2d
        )
        if convolution and len(before.users) == 1:
            pairs.append((before.target, norm))
    targets = [node.target for node in graph.nodes if node.op == "call_module"]
    return [
        (convolution.removeprefix("network."), norm.removeprefix("network."))
        for convolution, norm in pairs
        if targets.count(convolution) == targets.count(norm) == 1
    ]
