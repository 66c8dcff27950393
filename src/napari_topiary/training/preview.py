"""What the network of a running training says about the visible area."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from napari_topiary.networks.base import Network, in_shares
from napari_topiary.training.record import Record
from napari_topiary.training.reports import Preview, PreviewRequest

LARGEST_SIDE = 768
"""Larger windows are cut around their centre: a preview must not hold training up."""


@torch.inference_mode()
def preview(
    network: Network, record: Record, request: PreviewRequest, device: torch.device
) -> Preview | None:
    """Run the present network on the window of a request.

    Parameters
    ----------
    network
        In eval mode.
    record
        Knows normalisation, working pixel size and channels of the run.
    request
        Image and window.
    device
        Where the network is.

    Returns
    -------
    Preview or None
        None where the image does not fit the network (other channels, empty window).
    """
    material = record.material
    if request.image.shape[0] != material.in_channels:
        return None
    factor = material.factor
    if request.scale is not None and material.pixel_size_nm is not None:
        factor *= material.pixel_size_nm / request.scale
    side = min(LARGEST_SIDE, network.largest_side or LARGEST_SIDE)
    top, bottom, left, right = _window(request, round(side * factor))
    if bottom <= top or right <= left:
        return None
    image = record.normalisation.apply(request.image)[:, top:bottom, left:right]
    tensor = torch.from_numpy(np.ascontiguousarray(image))[None]
    size = tuple(max(1, round(n / factor)) for n in tensor.shape[2:])
    small = F.interpolate(tensor, size=size, mode="bilinear", antialias=True)
    stride = network.stride
    grow = (0, -size[1] % stride, 0, -size[0] % stride)
    padded = F.pad(small, grow, mode="replicate").to(
        device, memory_format=torch.channels_last
    )
    classes = len(record.task.classes)
    answer = in_shares(network, network(padded))
    probability = answer[:, :classes, : size[0], : size[1]]
    full = F.interpolate(probability.cpu(), size=tensor.shape[2:], mode="bilinear")
    return Preview(full[0].numpy(), (top, bottom, left, right), request.key)


def _window(request: PreviewRequest, largest: int) -> tuple[int, int, int, int]:
    """Clip the window to the image, and to `largest` pixels around its centre."""
    height, width = request.image.shape[1:]
    top, bottom, left, right = request.window or (0, height, 0, width)
    top, left = max(0, top), max(0, left)
    bottom, right = min(height, bottom), min(width, right)
    if bottom - top > largest:
        top = (top + bottom - largest) // 2
        bottom = top + largest
    if right - left > largest:
        left = (left + right - largest) // 2
        right = left + largest
    return top, bottom, left, right
