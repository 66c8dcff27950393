"""A network as an ONNX file, run in ONNX Runtime or in OpenVINO.

OpenVINO is the fastest on many processors, Intel's above all.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import threading
import warnings
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_topiary.errors import TopiaryError
from napari_topiary.inference.backends.base import Backend, BackendKind, backends
from napari_topiary.io.atomic import writing
from napari_topiary.io.own_files import cache_folder
from napari_topiary.networks.base import Network, in_shares, note_weights
from napari_topiary.networks.layers import input_channels

PACKAGE = "onnx"
"""torch needs it to write such files."""
logger = logging.getLogger(__name__)
OPSET = 17
INPUTS = ["image", "place"]
MOST_KEPT = 40
"""Converted networks on disk; the largest has 125 MB, the usual ones a few."""
_ONE_AT_A_TIME = threading.Lock()
"""Torch's exporter refuses a second thread; Compare converts several networks."""


def _as_onnx(network: Network) -> bytes:
    """Return a network as ONNX: `image` `(1, c, y, x)` -> `logits` of a part of it.

    The part, `(1, k, rows, columns)`, is given by `place`: top, bottom, left, right, as
    where a slice begins and ends. What only answers for the context is not computed.
    It is kept on disk: converting takes longer than reading.
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
    digest = hashlib.sha256(
        f"{OPSET} {INPUTS} {torch.__version__} {network!r}".encode()
    )
    note_weights(digest, network.state_dict().items())
    return digest.hexdigest()[:32]


def _converted(network: Network) -> bytes:
    side, axes = 4 * network.stride, {2: "y", 3: "x"}
    image = torch.zeros(1, input_channels(network), side, side)
    return converted(
        _Part(network),
        (image, torch.tensor([1, side - 1, 1, side - 1])),
        input_names=INPUTS,
        output_name="logits",
        dynamic_axes={"image": axes, "logits": {2: "rows", 3: "columns"}},
    )


def converted(
    module: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    *,
    input_names: list[str],
    output_name: str,
    dynamic_axes: dict[str, dict[int, str]],
) -> bytes:
    """Return a module as ONNX.

    Parameters
    ----------
    module
        In evaluation mode; it is left alone.
    inputs, input_names
        What it is tried on, and how they are called.
    output_name
        How its answer is called.
    dynamic_axes
        Name -> axis -> name of an axis that may have any length.
    """
    file = io.BytesIO()
    # Of its own: torch may be running the network meanwhile, in another thread.
    copy = deepcopy(module).to("cpu").eval()
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        # The exporter that torch recommends takes ten times as long and more packages.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            copy,
            inputs,
            file,  # type: ignore[arg-type]
            dynamo=False,
            input_names=input_names,
            output_names=[output_name],
            dynamic_axes=dynamic_axes,
            opset_version=OPSET,
        )
    return file.getvalue()


class _Part(nn.Module):
    """Answers for a part of an image, which is told by numbers in a tensor."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        """`(1, c, y, x)` -> `(1, k, rows, columns)`."""
        top, bottom, left, right = (place[i] for i in range(4))
        return self.network.within(image, slice(top, bottom), slice(left, right))


class _OnnxBackend:
    """Runs a network, as it is now, that answers for whole images."""

    precision = "float32"

    def __init__(self, network: Network) -> None:
        self._network = network

    def _logits(self, inputs: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        """`(1, k, rows, columns)` of what `_as_onnx` reads."""
        raise NotImplementedError

    def __call__(
        self, image: NDArray[np.float32], rows: slice, columns: slice
    ) -> NDArray[np.float32]:
        """Probabilities, then values, `(k + r, rows, columns)` of a tile."""
        ends = rows.start, rows.stop, columns.start, columns.stop
        inputs = dict(zip(INPUTS, (image[None], np.array(ends)), strict=True))
        logits = torch.from_numpy(self._logits(inputs)[0].copy())
        result: NDArray[np.float32] = in_shares(self._network, logits).numpy()
        return result


class _OnnxRuntimeBackend(_OnnxBackend):
    """Computes in ONNX Runtime, as the network is now."""

    def __init__(self, network: Network) -> None:
        import onnxruntime

        super().__init__(network)
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = torch.get_num_threads()
        # Threads that spin while they wait take the core that a window needs.
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            _as_onnx(network), settings, providers=["CPUExecutionProvider"]
        )

    def _logits(self, inputs: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        (logits,) = self._session.run(None, inputs)
        return np.asarray(logits)


class _OpenVinoBackend(_OnnxBackend):
    """Computes in OpenVINO, as the network is now.

    `exact`: in float32 also where the processor has something faster.
    """

    def __init__(self, network: Network, *, exact: bool) -> None:
        import openvino

        super().__init__(network)
        core = openvino.Core()
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        if exact:
            settings["INFERENCE_PRECISION_HINT"] = "f32"
        model = core.read_model(io.BytesIO(_as_onnx(network)))
        self._compiled = core.compile_model(model, "CPU", settings)
        used = self._compiled.get_property("INFERENCE_PRECISION_HINT")
        names = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}
        self.precision = names.get(used.get_type_name(), used.get_type_name())

    def _logits(self, inputs: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        return np.asarray(self._compiled(inputs)[0])


def _in_runtime(network: Network, device: torch.device, *, exact: bool) -> Backend:
    return _OnnxRuntimeBackend(network)


def _in_openvino(network: Network, device: torch.device, *, exact: bool) -> Backend:
    return _OpenVinoBackend(network, exact=exact)


backends.register("onnxruntime")(
    BackendKind(
        make=_in_runtime, title="ONNX Runtime", packages=("onnxruntime", PACKAGE)
    )
)
backends.register("openvino")(
    BackendKind(make=_in_openvino, title="OpenVINO", packages=("openvino", PACKAGE))
)
