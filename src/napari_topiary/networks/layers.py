"""What all networks have in common: counting weights, work and memory; new widths."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.utils._python_dispatch import TorchDispatchMode

from napari_topiary.networks.base import Network

COUNTING_SIDE = 32
"""Pixels of the image that multiplications are counted on, at least."""
COUNTED = frozenset(
    "convolution addmm cat relu relu_ leaky_relu elu sigmoid avg_pool2d "
    "max_pool2d_with_indices native_batch_norm cudnn_batch_norm "
    "_native_batch_norm_legit_no_training".split()
)
"""Operations whose results are kept: what else there is only looks at them anew."""


def count_parameters(network: nn.Module) -> int:
    """Count the weights of a network (running statistics are not weights)."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs_per_pixel(network: Network) -> float:
    """Multiply-accumulates per pixel of the input.

    Nothing is computed: shapes alone run through the network. Classifiers of centre
    pixels are counted as they answer an image: with a dense form every weight is used
    once a pixel, without one a pixel costs what its patch costs.

    Parameters
    ----------
    network
        On any device; left as it was found.
    """
    side = probe_side(network, COUNTING_SIDE)
    macs = 0.0

    def count(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal macs
        kernel = sum(p.numel() for n, p in module.named_parameters() if n == "weight")
        linear = isinstance(module, nn.Linear)
        applied = inputs[0] if isinstance(module, _ConvTransposeNd) else output
        positions = applied.numel() // applied.shape[-1 if linear else 1]
        macs += kernel * per_pixel(network, positions, side)

    counted = [m for m in network.modules() if isinstance(m, _ConvNd | nn.Linear)]
    hooks = [module.register_forward_hook(count) for module in counted]
    image = torch.empty(1, input_channels(network), side, side, device="meta")
    try:
        with torch.no_grad():
            _on_shapes(network, image)
    finally:
        for hook in hooks:
            hook.remove()
    return macs


def _on_shapes(network: Network, image: torch.Tensor) -> torch.Tensor:
    """Run `on_patches` on the device "meta", without computing anything."""
    probed = OnPatches(network)
    shapes = {
        name: torch.empty_like(tensor, device="meta")
        for name, tensor in [*probed.named_parameters(), *probed.named_buffers()]
    }
    logits: torch.Tensor = torch.func.functional_call(probed, shapes, (image,))
    return logits


class OnPatches(nn.Module):
    """Calls what training calls, `on_patches`, as a module."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """What the network says about patches `(b, c, y, x)`."""
        return self.network.on_patches(patches)


def probe_side(network: Network, smallest: int) -> int:
    """Side of an image that `on_patches` of this network can be tried on, in pixels.

    Parameters
    ----------
    network
        Any.
    smallest
        Pixels that the side has at least, unless the network reads a fixed patch.
    """
    if network.patch is not None:
        return network.patch
    return -(-smallest // network.stride) * network.stride


def per_pixel(network: Network, positions: float, side: int) -> float:
    """How often a layer is applied per pixel that the network answers.

    Parameters
    ----------
    network
        Any.
    positions
        How often it was applied in `on_patches` of one image.
    side
        Of that image, from `probe_side`.
    """
    if network.patch is None:
        return positions / side**2
    return 1.0 if network.dense else positions


def input_channels(network: Network) -> int:
    """Channels of the image: what the first convolution reads."""
    for module in network.modules():
        if isinstance(module, _ConvNd):
            return module.in_channels
    raise ValueError(f"{type(network).__name__} has no convolution.")


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
            _on_shapes(network, image)
    finally:
        network.train(was_training)
    counted: int = values.count + image.numel()
    return counted * bytes_per_value


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


def resize_layers(network: nn.Module, shapes: Mapping[str, tuple[int, int]]) -> None:
    """Give layers other widths, in place; their values are zeros afterwards.

    Parameters
    ----------
    network
        Any module made of convolutions, linear layers and normalisations.
    shapes
        Layer name -> (outputs, inputs); for a normalisation both are its maps.

    Raises
    ------
    ValueError
        If a layer does not exist or its width cannot be changed.
    """
    layers = dict(network.named_modules())
    for name, (out, into) in shapes.items():
        layer = layers.get(name)
        if layer is None:
            raise ValueError(f"The network has no layer called {name!r}.")
        if isinstance(layer, _ConvNd):
            _resize_convolution(name, layer, out, into)
        elif isinstance(layer, nn.Linear):
            layer.out_features, layer.in_features = out, into
            _replace(layer, {"weight": (out, into), "bias": (out,)})
        elif isinstance(layer, _NormBase):
            layer.num_features = out
            names = ("weight", "bias", "running_mean", "running_var")
            _replace(layer, dict.fromkeys(names, (out,)))
        else:
            raise ValueError(
                f"The layer {name!r} is a {type(layer).__name__}: its width cannot "
                "be changed."
            )


def _resize_convolution(name: str, layer: _ConvNd, out: int, into: int) -> None:
    if layer.groups != 1:
        depthwise = layer.groups == layer.in_channels == layer.out_channels
        if not depthwise or out != into:
            raise ValueError(
                f"The grouped convolution {name!r} cannot have {out} outputs and "
                f"{into} inputs."
            )
        layer.groups = out
    layer.out_channels, layer.in_channels = out, into
    fan = into // layer.groups
    widths = (out, fan)
    if isinstance(layer, _ConvTransposeNd):
        widths = (into, out // layer.groups)
    _replace(layer, {"weight": (*widths, *layer.kernel_size), "bias": (out,)})


def _replace(layer: nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Put zeros of a new shape in the place of those tensors that the layer has."""
    for name, shape in shapes.items():
        old = getattr(layer, name, None)
        if old is None:
            continue
        new = old.detach().new_zeros(shape)
        if isinstance(old, nn.Parameter):
            new = nn.Parameter(new, old.requires_grad)
        setattr(layer, name, new)


def initialise(module: nn.Module, gain: float | None = None) -> None:
    """He initialisation: keeps the variance through ReLUs, so that depth can learn.

    `module`: a layer; what is no convolution is left alone · `gain`: 2 before a ReLU,
    else 1; None = 3×3 convolutions are before one.
    """
    if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        return
    if module.weight.is_meta:  # only shapes are wanted
        return
    # Each output of a doubling reads a single kernel position per map.
    doubling = isinstance(module, nn.ConvTranspose2d)
    fan = module.in_channels * (1 if doubling else math.prod(module.kernel_size))
    if gain is None:
        # A ReLU halves the mean square of what it gets; doublings and output have none.
        gain = 2 if module.kernel_size == (3, 3) else 1
    nn.init.normal_(module.weight, std=math.sqrt(gain / fan))
    if module.bias is not None:
        nn.init.zeros_(module.bias)
