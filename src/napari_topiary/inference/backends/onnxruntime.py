"""Running a network in ONNX Runtime."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from napari_topiary.inference.backends.base import BackendKind, backends
from napari_topiary.inference.backends.onnx_file import PACKAGE, as_onnx
from napari_topiary.networks.base import Network, in_shares


class OnnxRuntimeBackend:
    """Runs a network that answers for whole images.

    Parameters
    ----------
    network
        Converted as it is now.
    """

    precision = "float32"

    def __init__(self, network: Network) -> None:
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = torch.get_num_threads()
        # Threads that spin while they wait take the core that a window needs.
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            as_onnx(network), settings, providers=["CPUExecutionProvider"]
        )
        self._network = network

    def __call__(
        self, image: NDArray[np.float32], rows: slice, columns: slice
    ) -> NDArray[np.float32]:
        """Probabilities, then values, `(k + r, rows, columns)` of a tile."""
        (logits,) = self._session.run(None, {"image": image[None]})
        wanted = np.ascontiguousarray(logits[0, :, rows, columns])
        shares = in_shares(self._network, torch.from_numpy(wanted))
        result: NDArray[np.float32] = shares.numpy()
        return result


def _make(network: Network, device: torch.device, *, exact: bool) -> OnnxRuntimeBackend:
    return OnnxRuntimeBackend(network)


backends.register("onnxruntime")(
    BackendKind(make=_make, title="ONNX Runtime", packages=("onnxruntime", PACKAGE))
)
