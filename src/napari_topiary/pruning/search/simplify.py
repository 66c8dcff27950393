"""The same answer with less work: what max-pooling and single pixels make superfluous.

The largest of rectified values is the largest value, rectified: so pooling comes first,
and rectifies a quarter of the values. Where a map is not a multiple of the window, its
last rows and columns are never looked at. And where nobody asks which value was the
largest, it is found faster by comparing whole rows. Convolutions of single pixels are
products of matrices: faster on few pixels.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

Modules = Mapping[str, nn.Module]


def pool_first(nodes: Sequence[fx.Node], modules: Modules) -> None:
    """Exchange every rectification with the max-pooling that follows it, in place."""
    for node in nodes:
        if _windows(node, modules) is None:
            continue
        before = node.args[0]
        if not isinstance(before, fx.Node) or len(before.users) != 1:
            continue
        if not _rectifies(before, modules):
            continue
        source, *_ = before.args
        _, *window = node.args
        before.op, node.op = node.op, before.op
        before.target, node.target = node.target, before.target
        before.kwargs, node.kwargs = node.kwargs, before.kwargs
        before.args, node.args = (source, *window), (before,)


def compare_rows(nodes: Sequence[fx.Node], modules: Modules) -> None:
    """Let max-poolings whose windows do not overlap compare rows, in place."""
    for node in nodes:
        windows = _windows(node, modules)
        if windows is not None and windows[0] == windows[1]:
            node.op, node.target = "call_function", largest
            node.args, node.kwargs = (node.args[0], windows[0]), {}


def largest(maps: torch.Tensor, window: tuple[int, int]) -> torch.Tensor:
    """Max-pooling by windows that do not overlap.

    Parameters
    ----------
    maps
        `(b, c, y, x)`.
    window
        Its sides (y, x), in pixels.
    """
    (ky, kx), (height, width) = window, maps.shape[2:]
    last = maps.stride(1) == 1 and maps.shape[1] > 1
    if not last or maps.device.type != "cpu" or height < ky or width < kx:
        return F.max_pool2d(maps, window)
    rows = maps.permute(0, 2, 3, 1)[:, : height // ky * ky, : width // kx * kx]
    highest = rows[:, ::ky]
    for offset in range(1, ky):
        highest = torch.maximum(highest, rows[:, offset::ky])
    result = highest[:, :, ::kx]
    for offset in range(1, kx):
        result = torch.maximum(result, highest[:, :, offset::kx])
    return result.contiguous().permute(0, 3, 1, 2)


def positions_used(
    node: fx.Node, shape: Sequence[int], modules: Modules
) -> tuple[int, int] | None:
    """Rows and columns of a layer's maps that the next one uses.

    Parameters
    ----------
    node
        An operation.
    shape
        `(b, c, y, x)` of its answer.
    modules
        Layers by name.

    Returns
    -------
    tuple
        (y, x); None = all of them.
    """
    users = list(node.users)
    windows = _windows(users[0], modules) if len(users) == 1 else None
    if windows is None or len(shape) != 4:
        return None
    (kernel, stride), sides = windows, (shape[2], shape[3])
    y, x = (
        (side - k) // s * s + k
        for side, k, s in zip(sides, kernel, stride, strict=True)
    )
    return None if (y, x) == sides or y < 1 or x < 1 else (y, x)


def _rectifies(node: fx.Node, modules: Modules) -> bool:
    if node.op == "call_module":
        return isinstance(modules[str(node.target)], nn.ReLU)
    return node.target in (F.relu, torch.relu, "relu")


def _windows(
    node: fx.Node, modules: Modules
) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Kernel and stride of a plain max-pooling; None for anything else."""
    given: dict[str, Any]
    if node.op == "call_module":
        module = modules[str(node.target)]
        if not isinstance(module, nn.MaxPool2d):
            return None
        names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
        given = {name: getattr(module, name) for name in names}
        given["return_indices"] = module.return_indices
    elif node.op == "call_function" and node.target is largest:
        window = node.args[1]
        assert isinstance(window, tuple)
        given = {"kernel_size": window}
    elif node.op == "call_function" and node.target is F.max_pool2d:
        signature = inspect.signature(F.max_pool2d_with_indices)
        given = dict(signature.bind(*node.args, **node.kwargs).arguments)
    else:
        return None
    kernel, stride = given.get("kernel_size"), given.get("stride")
    kernel = _pair(kernel)
    stride = kernel if stride is None else _pair(stride)
    plain = (
        _pair(given.get("padding", 0)) == (0, 0)
        and _pair(given.get("dilation", 1)) == (1, 1)
        and not given.get("ceil_mode")
        and not given.get("return_indices")
    )
    return (kernel, stride) if plain and kernel and stride else None


def _pair(value: Any) -> tuple[int, int] | None:
    if isinstance(value, int):
        return value, value
    if isinstance(value, tuple | list) and len(value) == 2:
        y, x = value
        return (y, x) if isinstance(y, int) and isinstance(x, int) else None
    return None


def is_pointwise(module: nn.Module | None) -> bool:
    """Whether a layer looks at each pixel alone, all of them, and all its channels."""
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
