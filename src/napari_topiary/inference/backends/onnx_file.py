"""A network as an ONNX file, which other back ends read."""

from __future__ import annotations

import io
import threading
import warnings
from copy import deepcopy

import torch

from napari_topiary.networks.base import Network
from napari_topiary.networks.layers import input_channels

PACKAGE = "onnx"
"""torch needs it to write such files."""
OPSET = 17
_ONE_AT_A_TIME = threading.Lock()
"""Torch's exporter refuses a second thread; Compare converts several networks."""


def as_onnx(network: Network) -> bytes:
    """Return a network as ONNX: `image` `(1, c, y, x)` -> `logits` `(1, k, y, x)`.

    Parameters
    ----------
    network
        That answers for whole images, of any height and width.
    """
    side, file = 2 * network.stride, io.BytesIO()
    axes = {2: "y", 3: "x"}
    # Of its own: torch may be running the network meanwhile, in another thread.
    copy = deepcopy(network).to("cpu").eval()
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        # The exporter that torch recommends takes ten times as long and more packages.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            copy,
            (torch.zeros(1, input_channels(network), side, side),),
            file,  # type: ignore[arg-type]
            dynamo=False,
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": axes, "logits": axes},
            opset_version=OPSET,
        )
    return file.getvalue()
