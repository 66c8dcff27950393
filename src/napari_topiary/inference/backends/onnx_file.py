"""A network as an ONNX file, which other back ends read."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import threading
import warnings
from copy import deepcopy

import torch

from napari_topiary.errors import TopiaryError
from napari_topiary.io.atomic import writing
from napari_topiary.io.user_folder import cache_folder
from napari_topiary.networks.base import Network
from napari_topiary.networks.layers import input_channels

PACKAGE = "onnx"
"""torch needs it to write such files."""
logger = logging.getLogger(__name__)
OPSET = 17
MOST_KEPT = 40
"""Converted networks on disk; the largest has 125 MB, the usual ones a few."""
_ONE_AT_A_TIME = threading.Lock()
"""Torch's exporter refuses a second thread; Compare converts several networks."""


def as_onnx(network: Network) -> bytes:
    """Return a network as ONNX: `image` `(1, c, y, x)` -> `logits` `(1, k, y, x)`.

    It is kept on disk: converting takes longer than reading.

    Parameters
    ----------
    network
        That answers for whole images, of any height and width.
    """
    path = cache_folder() / "converted" / f"{_fingerprint(network)}.onnx"
    try:
        found = path.read_bytes()
        os.utime(path)  # those that were not used for longest go first
        return found
    except OSError:
        made = _converted(network)
    try:
        with writing(path) as beside:
            beside.write_bytes(made)
        kept = sorted(path.parent.glob("*.onnx"), key=lambda one: one.stat().st_mtime)
        for old in kept[:-MOST_KEPT]:
            old.unlink(missing_ok=True)
    except (OSError, TopiaryError) as reason:
        logger.info("the converted network is not kept: %s", reason)
    return made


def _fingerprint(network: Network) -> str:
    """Stands for a network's layers and weights, and for what converts it."""
    digest = hashlib.sha256(f"{OPSET} {torch.__version__} {network!r}".encode())
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


def _converted(network: Network) -> bytes:
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
