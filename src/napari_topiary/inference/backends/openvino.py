"""Running a network in OpenVINO: the fastest on many processors, Intel's above all."""

from __future__ import annotations

import io

import numpy as np
import torch
from numpy.typing import NDArray

from napari_topiary.inference.backends.base import BackendKind, backends
from napari_topiary.inference.backends.onnx_file import PACKAGE, as_onnx
from napari_topiary.networks.base import Network, in_shares


class OpenVinoBackend:
    """Runs a network that answers for whole images.

    Parameters
    ----------
    network
        Converted as it is now.
    exact
        Compute in float32 also where the processor has something faster.
    """

    def __init__(self, network: Network, *, exact: bool) -> None:
        import openvino

        core = openvino.Core()
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        if exact:
            settings["INFERENCE_PRECISION_HINT"] = "f32"
        model = core.read_model(io.BytesIO(as_onnx(network)))
        self._compiled = core.compile_model(model, "CPU", settings)
        used = self._compiled.get_property("INFERENCE_PRECISION_HINT")
        names = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}
        self.precision = names.get(used.get_type_name(), used.get_type_name())
        self._network = network

    def __call__(
        self, image: NDArray[np.float32], rows: slice, columns: slice
    ) -> NDArray[np.float32]:
        """Probabilities, then values, `(k + r, rows, columns)` of a tile."""
        logits = self._compiled(image[None])[0][0, :, rows, columns]
        shares = in_shares(self._network, torch.from_numpy(logits.copy()))
        result: NDArray[np.float32] = shares.numpy()
        return result


def _make(network: Network, device: torch.device, *, exact: bool) -> OpenVinoBackend:
    return OpenVinoBackend(network, exact=exact)


backends.register("openvino")(
    BackendKind(make=_make, title="OpenVINO", packages=("openvino", PACKAGE))
)
